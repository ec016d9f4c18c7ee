//! Restart without an interruption: SIGUSR2 starts the program again and hands it the listening sockets. Once the
//! successor serves, this process completes its requests and ends.
//!
//! The successor gets the sockets as `LISTEN_FDS`. Its standard input is a socket, to which it writes one byte when
//! it is ready. If it ends before, this process reads the end of that socket and continues to serve.

use std::env;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use forwardcache::server::Listener;
use rustix::io::{FdFlags, fcntl_dupfd_cloexec, fcntl_setfd};

use super::listen::name_of;

/// The variable that tells a successor to report on its standard input that it is ready.
const READY_VARIABLE: &str = "LISTEN_READY";

/// How long a successor may take until it is ready.
const READY_TIMEOUT: Duration = Duration::from_secs(60);

/// The lowest number for descriptors of a successor, so that consecutive numbers are likely to be free.
const FIRST_DESCRIPTOR: i32 = 256;

/// Number of attempts to find consecutive free numbers.
const ATTEMPTS: usize = 16;

/// The listening sockets of this process.
#[derive(Debug)]
pub(super) struct Sockets {
    descriptors: Vec<OwnedFd>,
    /// Their names, separated by colons.
    names: String,
    /// Whether a successor is starting or has taken over.
    has_successor: AtomicBool,
}

impl Sockets {
    /// Duplicates the sockets of `--listen` and those of other flags.
    pub(super) fn of(listeners: &[Listener], others: &[(&str, Option<&Listener>)]) -> io::Result<Arc<Self>> {
        let others = others.iter().filter_map(|(flag, socket)| Some((*flag, (*socket)?)));
        let sockets = listeners.iter().map(|socket| ("--listen", socket)).chain(others);
        let (names, sockets): (Vec<_>, Vec<_>) =
            sockets.map(|(flag, socket)| (name_of(flag), socket)).unzip();
        let duplicates = sockets.into_iter().map(|socket| socket.as_fd().try_clone_to_owned());
        let descriptors = duplicates.collect::<io::Result<_>>()?;
        Ok(Arc::new(Self { descriptors, names: names.join(":"), has_successor: AtomicBool::new(false) }))
    }

    /// Starts a successor and waits until it is ready. Returns its process id.
    ///
    /// # Errors
    ///
    /// The problem that kept the successor from serving. It does not run then.
    pub(super) fn start_successor(&self) -> io::Result<u32> {
        if self.has_successor.swap(true, Ordering::Relaxed) {
            return Err(io::Error::other("another successor is starting"));
        }
        let started = self.try_start();
        self.has_successor.store(started.is_ok(), Ordering::Relaxed);
        started
    }

    fn try_start(&self) -> io::Result<u32> {
        let (mut own, its) = UnixStream::pair()?;
        let mut child = self.spawn(its)?;
        own.set_read_timeout(Some(READY_TIMEOUT))?;
        let problem = match own.read_exact(&mut [0]) {
            Ok(()) => return Ok(child.id()),
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => match child.wait() {
                Ok(status) => format!("it ended before it was ready: {status}"),
                Err(error) => error.to_string(),
            },
            Err(_) => {
                // These fail only if it has already ended.
                let _ = child.kill();
                let _ = child.wait();
                format!("it was not ready within {} seconds", READY_TIMEOUT.as_secs())
            }
        };
        Err(io::Error::other(problem))
    }

    fn spawn(&self, ready: UnixStream) -> io::Result<Child> {
        let program = env::args_os().next().ok_or_else(|| io::Error::other("the program has no name"))?;
        let passed = self.consecutive()?;
        let first = passed.first().map_or(0, AsRawFd::as_raw_fd);
        for socket in &passed {
            fcntl_setfd(socket, FdFlags::empty()).map_err(io::Error::from)?;
        }
        Command::new(program)
            .args(env::args_os().skip(1))
            .env_remove("LISTEN_PID")
            .env("LISTEN_FDS", passed.len().to_string())
            .env("LISTEN_FDNAMES", &self.names)
            .env("LISTEN_FDS_FIRST_FD", first.to_string())
            .env(READY_VARIABLE, "stdin")
            .stdin(Stdio::from(OwnedFd::from(ready)))
            .spawn()
    }

    /// Returns duplicates of the sockets with consecutive numbers.
    fn consecutive(&self) -> io::Result<Vec<OwnedFd>> {
        let mut first = FIRST_DESCRIPTOR;
        'attempt: for _ in 0..ATTEMPTS {
            let mut found: Vec<OwnedFd> = Vec::new();
            for socket in &self.descriptors {
                let wanted = found.last().map_or(first, |last| last.as_raw_fd() + 1);
                let duplicate = fcntl_dupfd_cloexec(socket, wanted).map_err(io::Error::from)?;
                if !found.is_empty() && duplicate.as_raw_fd() != wanted {
                    first = duplicate.as_raw_fd() + 1;
                    continue 'attempt;
                }
                found.push(duplicate);
            }
            return Ok(found);
        }
        Err(io::Error::other("no consecutive descriptors are free"))
    }
}

/// Reports to the previous process, if there is one, that this one serves.
pub(super) fn report_ready() -> io::Result<()> {
    if env::var_os(READY_VARIABLE).is_none_or(|value| value != "stdin") {
        return Ok(());
    }
    let previous = UnixStream::from(io::stdin().as_fd().try_clone_to_owned()?);
    (&previous).write_all(&[1])
}
