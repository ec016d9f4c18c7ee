//! A real nginx with a folder per caching behaviour.

use std::fs;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::process::Command;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, UNIX_EPOCH};

use tempfile::TempDir;

use super::port::Port;
use super::process::Process;
use super::raw;

/// Another process may take a port between its release and nginx's `bind`.
const ATTEMPTS: usize = 5;

/// A separate nginx process on a loopback port, stopped when dropped. It serves:
///
/// | path | behaviour |
/// |---|---|
/// | `/` | files without `Cache-Control` |
/// | `/fresh/` | `max-age=3600` |
/// | `/limited/` | the same, at the `rate` of the query in bytes per second; the log also has the bytes sent, `Range` and `If-Range` |
/// | `/stale/` | `max-age=0` |
/// | `/no-cache/`, `/no-store/` | the directive of that name |
/// | `/private/` | `private, max-age=3600` |
/// | `/immutable/` | `max-age=31536000, immutable` |
/// | `/chunked/` | chunked, `max-age=3600`; `<!--#` in a file starts an include directive |
/// | `/until-close/` | body delimited by the end of the connection, otherwise like `/chunked/` |
/// | `/status/404`, `/status/410`, `/status/500` | that status |
/// | `/status/301` | a redirect to `/fresh/moved.txt` |
///
/// Every file has an `ETag` and a `Last-Modified`. All folders except `/chunked/` and `/until-close/` support ranges,
/// and gzip `.txt`, `.html`, `.css` and `.json` files of at least 20 bytes if the client accepts it.
pub(crate) struct Nginx {
    process: Process,
    home: TempDir,
    address: SocketAddr,
    writes: AtomicU64,
    markers: AtomicU64,
}

impl Nginx {
    /// # Panics
    ///
    /// If nginx is not installed or does not start: no scenario is skipped.
    pub(crate) fn start() -> Self {
        let home = tempfile::Builder::new().prefix("nginx-").tempdir().expect("a folder can be made");
        fs::create_dir(home.path().join("files")).expect("a folder can be made in a new one");
        let mut last_stderr = String::new();
        for _ in 0..ATTEMPTS {
            let port = Port::hold().release();
            let process = launch(&home, port);
            // nginx prints this line after it has bound the address and listens.
            if process.line("getrlimit(").is_some() {
                let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
                return Self {
                    process,
                    home,
                    address,
                    writes: AtomicU64::new(0),
                    markers: AtomicU64::new(0),
                };
            }
            last_stderr = process.stderr();
        }
        panic!("nginx did not start:\n{last_stderr}");
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Returns the URL of a path, which starts with `/`.
    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// Atomically replaces the file at `path`. Each write gets a new `ETag` and `Last-Modified`, several years in the
    /// past, no matter how quickly writes follow each other.
    pub(crate) fn write(&self, path: &str, content: impl AsRef<[u8]>) {
        self.write_from(path, &mut content.as_ref());
    }

    /// Like [`write`](Self::write), for content that is not in memory.
    pub(crate) fn write_from(&self, path: &str, content: &mut dyn io::Read) {
        let number = self.writes.fetch_add(1, Ordering::Relaxed);
        let modified = UNIX_EPOCH + Duration::from_secs(1_600_000_000 + 60 * number);
        let file = self.file(path);
        let unfinished = self.home.path().join(format!("unfinished-{number}"));
        fs::create_dir_all(file.parent().expect("a file is in a folder")).expect("a folder can be made");
        let mut opened = fs::File::create(&unfinished).expect("a file can be made");
        io::copy(content, &mut opened).expect("a file can be written");
        opened.set_modified(modified).expect("the time of an own file can be set");
        fs::rename(&unfinished, file).expect("a file can be moved in a folder");
    }

    /// Returns the request lines logged so far. nginx logs a request after sending the response, so the client may
    /// have the response first; [`settle`](Self::settle) waits for the log line.
    pub(crate) fn served(&self) -> Vec<String> {
        let log = self.process.stdout();
        let requests = log.lines().filter(|line| !line.starts_with("GET /settled?"));
        requests.map(str::to_owned).collect()
    }

    /// Returns the number of logged requests for this target (path and query), with any method.
    pub(crate) fn count_of(&self, target: &str) -> usize {
        self.served().iter().filter(|line| line.split(' ').nth(1) == Some(target)).count()
    }

    /// Like [`count_of`](Self::count_of), but waits until every request answered before this call is logged.
    pub(crate) fn settled_count_of(&self, target: &str) -> usize {
        self.settle();
        self.count_of(target)
    }

    /// Blocks until every request answered before this call is logged. A single process logs requests in the order in
    /// which it finishes their responses, so the log line of a new request comes last.
    pub(crate) fn settle(&self) {
        let marker = format!("GET /settled?{} HTTP/1.1", self.markers.fetch_add(1, Ordering::Relaxed));
        raw::exchange(self.address, format!("{marker}\r\nHost: settled\r\nConnection: close\r\n\r\n"));
        self.process.wait_for_line(&marker);
    }

    fn file(&self, path: &str) -> PathBuf {
        self.home.path().join("files").join(path.trim_start_matches('/'))
    }
}

fn launch(home: &TempDir, port: u16) -> Process {
    let folder = home.path().to_str().expect("the temporary folder has a name in UTF-8");
    let config = include_str!("nginx.conf").replace("@HOME@", folder).replace("@PORT@", &port.to_string());
    let file = home.path().join("nginx.conf");
    fs::write(&file, config).expect("a file can be written in a new folder");
    // Debian installs nginx in a folder that is not in the PATH of ordinary users.
    for program in ["nginx", "/usr/sbin/nginx"] {
        let mut command = Command::new(program);
        command.args(["-e", "stderr", "-p", folder, "-c"]).arg(&file);
        match Process::start(command) {
            Ok(process) => return process,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => panic!("cannot start {program}: {error}"),
        }
    }
    panic!("nginx is not installed, which these tests require: see `tests/run`")
}
