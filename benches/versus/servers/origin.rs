//! The origin: an nginx that responds from memory and counts requests, or one with a fixed latency.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tempfile::TempDir;

use super::slow::Slow;
use super::{home, nginx, start_process};
use crate::Result;
use crate::client;
use crate::processes::Process;

/// The static files: path and length.
pub(crate) const SMALL: (&str, u64) = ("/files/1-kib", 1 << 10);
pub(crate) const MEDIUM: (&str, u64) = ("/files/64-kib", 64 << 10);
pub(crate) const LARGE: (&str, u64) = ("/files/1-mib", 1 << 20);
pub(crate) const GIANT: (&str, u64) = ("/files/100-mib", 100 << 20);
pub(crate) const HUGE: (&str, u64) = ("/files/60-mib", 60 << 20);

#[derive(Debug)]
pub(crate) struct Origin {
    pub(crate) address: SocketAddr,
    backend: Backend,
    /// The file with its certificate if it uses TLS.
    authority: Option<PathBuf>,
    home: TempDir,
}

/// The implementation.
#[derive(Debug)]
enum Backend {
    /// An nginx process, and the number of requests for its counter, which it counts too.
    Nginx(Process, u64),
    Slow(Slow),
}

impl Origin {
    /// The prefix of distinct URLs: each number appended to it gives a URL with a body as long as that of [`SMALL`].
    pub(crate) const DISTINCT: &str = "/miss/";

    /// Followed by the path of a file and any number: a URL of its own with the content of that file.
    pub(crate) const NUMBERED: &str = "/numbered";

    /// The prefix of event streams: each number appended to it gives a stream without end.
    pub(crate) const STREAM: &str = "/stream/";

    /// An event of a stream, and the interval between events.
    pub(crate) const EVENT: &str = "data: tick\n\n";
    pub(crate) const EVENTS: Duration = Duration::from_millis(500);

    pub(crate) fn start() -> Result<Self> {
        let (process, address, home) = start_process("the origin", false, launch)?;
        Ok(Self { address, backend: Backend::Nginx(process, 0), authority: None, home })
    }

    /// Starts an origin with this latency for [`DISTINCT`](Self::DISTINCT), with or without TLS. It also serves
    /// [`STREAM`](Self::STREAM), and [`SMALL`] without latency.
    pub(crate) fn slow(delay: Duration, is_tls: bool) -> Result<Self> {
        let home = home()?;
        let authority = is_tls.then(|| home.path().join("certificate.pem"));
        let slow = Slow::start(delay, authority.as_deref())?;
        Ok(Self { address: slow.address, backend: Backend::Slow(slow), authority, home })
    }

    pub(crate) fn scheme(&self) -> &'static str {
        if self.authority.is_some() { "https" } else { "http" }
    }

    /// Returns the scheme, host and port.
    pub(crate) fn url(&self) -> String {
        format!("{}://{}", self.scheme(), self.address)
    }

    /// Returns the file with the certificate to trust if the origin uses TLS.
    pub(crate) fn authority(&self) -> Option<&Path> {
        self.authority.as_deref()
    }

    /// Returns a folder that exists as long as the origin.
    pub(crate) fn home(&self) -> &Path {
        self.home.path()
    }

    /// Returns the number of requests received so far, without those for the counter.
    pub(crate) fn request_count(&mut self) -> Result<u64> {
        let (process, counter_requests) = match &mut self.backend {
            Backend::Nginx(process, counter_requests) => (process, counter_requests),
            Backend::Slow(slow) => return Ok(slow.request_count()),
        };
        if process.has_ended() {
            return Err(format!("the origin has ended:\n{}", process.output_tail()).into());
        }
        let answer = client::get(self.address, "/count")?;
        *counter_requests += 1;
        // The third line contains the numbers of "server accepts handled requests".
        let text = String::from_utf8(answer.body)?;
        let numbers = text.lines().nth(2).unwrap_or_default();
        let requests: u64 =
            numbers.split_whitespace().nth(2).ok_or("the origin's counter cannot be parsed")?.parse()?;
        Ok(requests - *counter_requests)
    }
}

fn launch(home: &Path, port: u16) -> Result<Process> {
    fs::create_dir_all(home.join("files"))?;
    for (path, length) in [SMALL, MEDIUM, LARGE, HUGE, GIANT] {
        fs::write(home.join(path.trim_start_matches('/')), vec![b'x'; usize::try_from(length)?])?;
    }
    let folder = home.display();
    let body = "x".repeat(usize::try_from(SMALL.1)?);
    let config = format!(
        r#"
    sendfile on;
    open_file_cache max=100;
    default_type application/octet-stream;
    server {{
        listen 127.0.0.1:{port} backlog=4096;
        root {folder};
        location /files/ {{
            add_header Cache-Control "public, max-age=3600";
            add_header X-Content-Type-Options nosniff;
        }}
        location ~ ^{numbered}(/files/[^/]*)/ {{
            add_header Cache-Control "public, max-age=3600";
            try_files $1 =404;
        }}
        location {distinct} {{
            default_type "text/html; charset=utf-8";
            add_header Cache-Control "public, max-age=3600";
            add_header ETag '"33a64df551425fcc55e4d42a148795d9f25f89d4"';
            add_header Last-Modified "Thu, 14 Jan 2021 08:00:00 GMT";
            add_header X-Content-Type-Options nosniff;
            return 200 "{body}";
        }}
        location = /count {{ stub_status; }}
    }}
"#,
        distinct = Origin::DISTINCT,
        numbered = Origin::NUMBERED,
    );
    nginx::start(home, &config)
}
