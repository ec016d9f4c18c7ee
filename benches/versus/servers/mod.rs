//! The servers, each on a free loopback port with a temporary folder in memory.
//!
//! | module | server |
//! |---|---|
//! | `origin` | the origin: an nginx, or the one in `slow` |
//! | `slow` | an origin in this process with a fixed latency and event streams |
//! | `forwardcache` | the command of this crate |
//! | `nginx`, `varnish`, `squid` | the other servers, each as a cache in front of the origin |

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

pub(crate) use origin::{GIANT, HUGE, LARGE, MEDIUM, Origin, SMALL};

/// The memory limit of each cache in bytes.
pub(crate) const MEMORY: u64 = 1 << 30;

/// The limit of a store on disk in bytes.
pub(crate) const DISK: u64 = 8 << 30;

/// Another process may take a free port between its choice and the server's `bind`.
const ATTEMPTS: u32 = 3;

const TIMEOUT: Duration = Duration::from_secs(30);

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

/// A cache in front of the origin, stopped when dropped.
#[derive(Debug)]
pub(crate) struct Server {
    pub(crate) kind: Kind,
    pub(crate) address: SocketAddr,
    /// The scheme, host and port of the origin.
    origin: String,
    /// The configuration of its clients, if it uses TLS.
    tls: Option<Arc<ClientConfig>>,
    // Dropped before the folder is removed.
    process: Process,
    _home: TempDir,
}

impl Server {
    pub(crate) fn start(kind: Kind, origin: &Origin) -> Result<Self> {
        Self::start_with(kind, origin, None, false)
    }

    /// Like [`start`](Self::start). With a file that contains a certificate and its key, the server uses TLS; only
    /// forwardcache and nginx support that here.
    /// With `is_on_disk`, forwardcache has little memory and stores responses on disk, as nginx always does.
    pub(crate) fn start_with(
        kind: Kind,
        origin: &Origin,
        certificate: Option<&Path>,
        is_on_disk: bool,
    ) -> Result<Self> {
        let launch = |home: &Path, port| match kind {
            Kind::Forwardcache => forwardcache::launch(home, port, origin, certificate, is_on_disk),
            Kind::Nginx => nginx::launch(home, port, origin, certificate, is_on_disk),
            Kind::Varnish => varnish::launch(home, port, origin),
            Kind::Squid => squid::launch(home, port, origin),
        };
        let (process, address, home) = start_process(&kind.to_string(), is_on_disk, launch)?;
        let tls = certificate.map(|_| tls::config(false)).transpose()?;
        Ok(Self { kind, address, origin: origin.url(), tls, process, _home: home })
    }

    /// Ends forwardcache, which has a store on disk, and starts it again over the same store. Returns the time of the
    /// start too.
    pub(crate) fn restarted(self, origin: &Origin) -> Result<(Self, Instant)> {
        let Self { kind, address, origin: url, tls, process, _home: home } = self;
        drop(process);
        let started = Instant::now();
        let process = forwardcache::launch(home.path(), address.port(), origin, None, true)?;
        Ok((Self { kind, address, origin: url, tls, process, _home: home }, started))
    }

    pub(crate) fn is_tls(&self) -> bool {
        self.tls.is_some()
    }

    pub(crate) fn scheme(&self) -> &'static str {
        if self.is_tls() { "https" } else { "http" }
    }

    /// Returns the path on this server for a path of the origin.
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

    /// Returns whether the response is marked as a cache hit.
    pub(crate) fn is_hit(&self, answer: &Answer) -> bool {
        match self.kind {
            Kind::Forwardcache => answer.field("x-from-cache") == Some("1"),
            _ => answer.field("x-cache").is_some_and(|value| value.starts_with("HIT")),
        }
    }

    pub(crate) fn usage(&self) -> Usage {
        self.process.usage()
    }

    pub(crate) fn own_resident(&self) -> u64 {
        self.process.own_resident()
    }

    pub(crate) fn output_tail(&self) -> String {
        self.process.output_tail()
    }
}

/// Starts a peer with an access log, and returns its address and the folder of the log.
pub(crate) fn start_logging_peer() -> Result<(Process, SocketAddr, TempDir)> {
    start_process("the peer with an access log", false, forwardcache::launch_logging)
}

/// Starts a gateway without a near cache, and returns its address.
pub(crate) fn start_gateway(peer: SocketAddr) -> Result<(Process, SocketAddr, TempDir)> {
    start_process("the gateway", false, |home, port| forwardcache::launch_gateway(home, port, peer))
}

/// Starts an nginx that passes requests on without a cache, and returns its address.
pub(crate) fn start_passing_nginx(to: SocketAddr) -> Result<(Process, SocketAddr, TempDir)> {
    start_process("nginx as a proxy", false, |home, port| nginx::launch_passing(home, port, to))
}

/// A forward proxy for tunnels to some ports, stopped when dropped.
#[derive(Debug)]
pub(crate) struct Proxy {
    pub(crate) address: SocketAddr,
    // Dropped before the folder is removed.
    process: Process,
    _home: TempDir,
}

impl Proxy {
    pub(crate) fn start(kind: Kind, ports: &[u16]) -> Result<Self> {
        let launch = |home: &Path, port| match kind {
            Kind::Forwardcache => forwardcache::launch_proxy(home, port, ports),
            Kind::Squid => squid::launch_proxy(home, port),
            other => Err(format!("{other} opens no tunnels").into()),
        };
        let (process, address, home) = start_process(&kind.to_string(), false, launch)?;
        Ok(Self { address, process, _home: home })
    }

    pub(crate) fn usage(&self) -> Usage {
        self.process.usage()
    }
}

/// Starts a process with `launch` and waits until it accepts connections.
fn start_process(
    name: &str,
    is_on_disk: bool,
    launch: impl Fn(&Path, u16) -> Result<Process>,
) -> Result<(Process, SocketAddr, TempDir)> {
    let mut stderr = String::new();
    for _ in 0..ATTEMPTS {
        let home = if is_on_disk { home_on_disk()? } else { home()? };
        let address = free_address()?;
        let mut process = launch(home.path(), address.port())?;
        let started = Instant::now();
        while started.elapsed() < TIMEOUT && !process.has_ended() {
            if TcpStream::connect_timeout(&address, TIMEOUT).is_ok() {
                return Ok((process, address, home));
            }
            thread::sleep(Duration::from_millis(5));
        }
        stderr = process.output_tail();
    }
    Err(format!("{name} does not start:\n{stderr}").into())
}

pub(crate) fn free_address() -> Result<SocketAddr> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?)
}

/// Creates a temporary folder, in memory if there is enough space, so that the disk does not affect the results. It
/// is writable for servers that change their user.
pub(crate) fn home() -> Result<TempDir> {
    let mut builder = tempfile::Builder::new();
    builder.prefix("versus-");
    // Containers often have only 64 MiB there.
    let memory = Path::new("/dev/shm");
    let has_room = free_bytes(memory).is_ok_and(|free| free >= 2 * MEMORY);
    let folder = if has_room { builder.tempdir_in(memory)? } else { builder.tempdir()? };
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o777))?;
    Ok(folder)
}

/// Creates a temporary folder on the disk of the build.
fn home_on_disk() -> Result<TempDir> {
    let folder = tempfile::Builder::new().prefix("versus-").tempdir_in(env!("CARGO_TARGET_TMPDIR"))?;
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o777))?;
    Ok(folder)
}

fn free_bytes(folder: &Path) -> Result<u64> {
    let output = Command::new("df").args(["-B1", "--output=avail"]).arg(folder).output()?;
    let text = String::from_utf8_lossy(&output.stdout);
    Ok(text.lines().nth(1).ok_or("unexpected output of df")?.trim().parse()?)
}
