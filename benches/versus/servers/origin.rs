//! Where all fetch from: an nginx that answers from memory, and counts; or an origin that lets requests wait.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tempfile::TempDir;

use super::slow::Slow;
use super::{home, started};
use crate::Result;
use crate::client;
use crate::packages;
use crate::processes::Process;

/// What it has that is always the same: the path, and how long the body is.
pub(crate) const SMALL: (&str, u64) = ("/files/1-kib", 1 << 10);
pub(crate) const MEDIUM: (&str, u64) = ("/files/64-kib", 64 << 10);
pub(crate) const LARGE: (&str, u64) = ("/files/1-mib", 1 << 20);
pub(crate) const HUGE: (&str, u64) = ("/files/60-mib", 60 << 20);

#[derive(Debug)]
pub(crate) struct Origin {
    pub(crate) address: SocketAddr,
    by: By,
    /// The file of the certificate that it shows, if it speaks TLS.
    authority: Option<PathBuf>,
    home: TempDir,
}

/// Who answers.
#[derive(Debug)]
enum By {
    /// And how often it was asked for its count, which it counts too.
    Nginx(Process, u64),
    Slow(Slow),
}

impl Origin {
    /// Under it, with any number after it, is a body as long as that of [`SMALL`]: each a URL of its own.
    pub(crate) const DISTINCT: &str = "/miss/";

    /// Under it, with the path of a file and any number after it, is what that file has: each a URL of its own.
    pub(crate) const NUMBERED: &str = "/numbered";

    /// Under it, with any number after it, is an event stream without an end.
    pub(crate) const STREAM: &str = "/stream/";

    /// An event of a stream, and the time between two of them.
    pub(crate) const EVENT: &str = "data: tick\n\n";
    pub(crate) const EVENTS: Duration = Duration::from_millis(500);

    pub(crate) fn start() -> Result<Self> {
        let (process, address, home) = started("the origin", launch)?;
        Ok(Self { address, by: By::Nginx(process, 0), authority: None, home })
    }

    /// One that takes that long for each of [`DISTINCT`](Self::DISTINCT), over TLS or not, and has
    /// [`STREAM`](Self::STREAM) too. Of the others it has [`SMALL`], at once.
    pub(crate) fn slow(delay: Duration, is_tls: bool) -> Result<Self> {
        let home = home()?;
        let authority = is_tls.then(|| home.path().join("certificate.pem"));
        let slow = Slow::start(delay, authority.as_deref())?;
        Ok(Self { address: slow.address, by: By::Slow(slow), authority, home })
    }

    pub(crate) fn scheme(&self) -> &'static str {
        if self.authority.is_some() { "https" } else { "http" }
    }

    /// Its scheme, host and port.
    pub(crate) fn url(&self) -> String {
        format!("{}://{}", self.scheme(), self.address)
    }

    /// The file of the certificate to trust, if it speaks TLS.
    pub(crate) fn authority(&self) -> Option<&Path> {
        self.authority.as_deref()
    }

    /// A folder for what is needed as long as the origin is.
    pub(crate) fn home(&self) -> &Path {
        self.home.path()
    }

    /// How many requests it was sent so far, without this question and those like it.
    pub(crate) fn asked(&mut self) -> Result<u64> {
        let (process, questions) = match &mut self.by {
            By::Nginx(process, questions) => (process, questions),
            By::Slow(slow) => return Ok(slow.asked()),
        };
        if process.has_ended() {
            return Err(format!("the origin has ended:\n{}", process.last_words()).into());
        }
        let answer = client::get(self.address, "/count")?;
        *questions += 1;
        // The third number of the third line: "server accepts handled requests", and then their numbers.
        let text = String::from_utf8(answer.body)?;
        let numbers = text.lines().nth(2).unwrap_or_default();
        let requests: u64 = numbers.split_whitespace().nth(2).ok_or("the origin does not count")?.parse()?;
        Ok(requests - *questions)
    }
}

fn launch(home: &Path, port: u16) -> Result<Process> {
    fs::create_dir_all(home.join("files"))?;
    for (path, length) in [SMALL, MEDIUM, LARGE, HUGE] {
        fs::write(home.join(path.trim_start_matches('/')), vec![b'x'; usize::try_from(length)?])?;
    }
    let folder = home.display();
    let body = "x".repeat(usize::try_from(SMALL.1)?);
    let config = format!(
        r#"
daemon off;
user root;
worker_processes 2;
worker_rlimit_nofile 16384;
pid {folder}/nginx.pid;
error_log stderr;
events {{ worker_connections 8192; }}
http {{
    access_log off;
    client_body_temp_path {folder}/client_body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    sendfile on;
    open_file_cache max=100;
    keepalive_requests 100000000;
    keepalive_timeout 600s;
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
}}
"#,
        distinct = Origin::DISTINCT,
        numbered = Origin::NUMBERED,
    );
    let file = home.join("nginx.conf");
    fs::write(&file, config)?;
    let arguments = ["-e", "stderr", "-p", &folder.to_string(), "-c", &file.display().to_string()];
    Process::start(&packages::path_of("nginx")?, arguments, &home.join("log"))
}
