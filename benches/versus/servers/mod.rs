//! The servers, each on a free loopback port, with all that it writes in a folder in memory.
//!
//! | file | what it starts |
//! |---|---|
//! | `origin` | where all fetch from: an nginx, or what `slow` holds |
//! | `slow` | an origin of this process, which lets each request wait, and has event streams |
//! | `forwardcache` | the command of this crate |
//! | `nginx`, `varnish`, `squid` | what it is measured against, each as a cache before the origin |

pub(crate) mod forwardcache;
mod nginx;
mod origin;
mod slow;
mod squid;
mod varnish;

use std::fmt;
use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use clap::ValueEnum;
use rustls::ClientConfig;
use tempfile::TempDir;

use crate::Result;
use crate::client::{self, Answer};
use crate::processes::{Process, Usage};
use crate::tls;

pub(crate) use origin::{HUGE, LARGE, MEDIUM, Origin, SMALL};

/// The memory that each may use for what it stores.
pub(crate) const MEMORY: u64 = 1 << 30;

/// Between the choice of a free port and the server's `bind` another process may take it.
const ATTEMPTS: u32 = 3;

const PATIENCE: Duration = Duration::from_secs(30);

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Kind {
    Forwardcache,
    Nginx,
    Varnish,
    Squid,
}

impl Kind {
    pub(crate) const ALL: [Self; 4] = [Self::Forwardcache, Self::Nginx, Self::Varnish, Self::Squid];
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Forwardcache => "forwardcache",
            Self::Nginx => "nginx",
            Self::Varnish => "Varnish",
            Self::Squid => "Squid",
        })
    }
}

/// A cache before the origin. Dropping it ends it.
#[derive(Debug)]
pub(crate) struct Server {
    pub(crate) kind: Kind,
    pub(crate) address: SocketAddr,
    /// Its scheme, host and port.
    origin: String,
    /// How it is asked, if it speaks TLS.
    tls: Option<Arc<ClientConfig>>,
    // Ended before its folder is removed.
    process: Process,
    _home: TempDir,
}

impl Server {
    pub(crate) fn start(kind: Kind, origin: &Origin) -> Result<Self> {
        Self::start_with(kind, origin, None, false)
    }

    /// As [`start`](Self::start); with the file of a certificate and its key it speaks TLS, which forwardcache and nginx
    /// do.
    /// On disk, what it stores is in files: of nginx it always is, and forwardcache has little memory then.
    pub(crate) fn start_with(
        kind: Kind,
        origin: &Origin,
        certificate: Option<&Path>,
        is_on_disk: bool,
    ) -> Result<Self> {
        let launch = |home: &Path, port| match kind {
            Kind::Forwardcache => forwardcache::launch(home, port, origin, certificate, is_on_disk),
            Kind::Nginx => nginx::launch(home, port, origin, certificate),
            Kind::Varnish => varnish::launch(home, port, origin),
            Kind::Squid => squid::launch(home, port, origin),
        };
        let (process, address, home) = started(&kind.to_string(), launch)?;
        let tls = certificate.map(|_| tls::config(false)).transpose()?;
        Ok(Self { kind, address, origin: origin.url(), tls, process, _home: home })
    }

    pub(crate) fn is_tls(&self) -> bool {
        self.tls.is_some()
    }

    pub(crate) fn scheme(&self) -> &'static str {
        if self.is_tls() { "https" } else { "http" }
    }

    /// Where this server has what the origin has at that path.
    pub(crate) fn path(&self, path: &str) -> String {
        match self.kind {
            Kind::Forwardcache => forwardcache::path(&self.origin, path),
            _ => path.to_owned(),
        }
    }

    pub(crate) fn get(&self, path: &str) -> Result<Answer> {
        let path = self.path(path);
        match &self.tls {
            None => Ok(client::get(self.address, &path)?),
            Some(config) => Ok(tls::connect(self.address, config)?.get(&path)?),
        }
    }

    /// Whether it says that an answer came from its cache.
    pub(crate) fn is_hit(&self, answer: &Answer) -> bool {
        match self.kind {
            Kind::Forwardcache => answer.field("x-from-cache") == Some("1"),
            _ => answer.field("x-cache").is_some_and(|value| value.starts_with("HIT")),
        }
    }

    pub(crate) fn usage(&self) -> Usage {
        self.process.usage()
    }

    pub(crate) fn whole_resident(&self) -> u64 {
        self.process.whole_resident()
    }

    pub(crate) fn last_words(&self) -> String {
        self.process.last_words()
    }
}

/// A process that `launch` starts, once it can be connected to.
fn started(
    name: &str,
    launch: impl Fn(&Path, u16) -> Result<Process>,
) -> Result<(Process, SocketAddr, TempDir)> {
    let mut complaints = String::new();
    for _ in 0..ATTEMPTS {
        let home = home()?;
        let address = free_address()?;
        let mut process = launch(home.path(), address.port())?;
        let begun = Instant::now();
        while begun.elapsed() < PATIENCE && !process.has_ended() {
            if TcpStream::connect_timeout(&address, PATIENCE).is_ok() {
                return Ok((process, address, home));
            }
            thread::sleep(Duration::from_millis(5));
        }
        complaints = process.last_words();
    }
    Err(format!("{name} does not start:\n{complaints}").into())
}

pub(crate) fn free_address() -> Result<SocketAddr> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?)
}

/// A folder in memory, if there is room in one, so that nobody is measured by the disk. Servers that change their
/// user can write there.
pub(crate) fn home() -> Result<TempDir> {
    let mut builder = tempfile::Builder::new();
    builder.prefix("versus-");
    // Containers often have but 64 MiB there.
    let memory = Path::new("/dev/shm");
    let has_room = free_bytes(memory).is_ok_and(|free| free >= 2 * MEMORY);
    let folder = if has_room { builder.tempdir_in(memory)? } else { builder.tempdir()? };
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o777))?;
    Ok(folder)
}

fn free_bytes(folder: &Path) -> Result<u64> {
    let output = Command::new("df").args(["-B1", "--output=avail"]).arg(folder).output()?;
    let text = String::from_utf8_lossy(&output.stdout);
    Ok(text.lines().nth(1).ok_or("df says nothing")?.trim().parse()?)
}
