//! What `serve` does on a signal, and the handing over of sockets.

#[cfg(unix)]
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use forwardcache::Peer;
use forwardcache::peer::AccessLogFile;
use forwardcache::server::ShutdownHandle;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM, SIGUSR1, SIGUSR2};
use signal_hook::iterator::Signals;

use super::failure::Failure;
use super::notify;
use super::reload::Reload;
#[cfg(unix)]
use super::successor::Sockets;

/// Everything that signals act on.
#[derive(Debug)]
pub(super) struct Running {
    pub(super) peer: Peer,
    pub(super) reload: Reload,
    pub(super) access_log: Option<AccessLogFile>,
    /// The time between the announcement that the peer leaves and its shutdown.
    pub(super) drain: Duration,
    /// The servers for clients and for operators.
    pub(super) servers: Vec<ShutdownHandle>,
    /// `None` if the server cannot hand its sockets over.
    #[cfg(unix)]
    pub(super) sockets: Option<Arc<Sockets>>,
}

/// Starts to receive signals. Until they are handled, they wait.
pub(super) fn install() -> Result<Signals, Failure> {
    Signals::new([SIGHUP, SIGINT, SIGTERM, SIGUSR1, SIGUSR2])
        .map_err(|error| Failure::io("cannot install signal handlers", &error))
}

impl Running {
    /// Handles signals on a thread of its own.
    pub(super) fn handle(mut self, mut signals: Signals) {
        thread::spawn(move || {
            let mut is_shutting_down = false;
            for signal in signals.forever() {
                match signal {
                    SIGHUP => self.reload.run(),
                    SIGUSR1 => self.reopen_log(),
                    SIGUSR2 => self.hand_over(),
                    // A second signal skips the drain time.
                    _ if is_shutting_down => std::process::exit(1),
                    _ => {
                        is_shutting_down = true;
                        self.shut_down();
                    }
                }
            }
        });
    }

    /// Shuts the peer down after the drain time, on another thread, so that a second signal can be received.
    fn shut_down(&self) {
        notify::send("STOPPING=1");
        let (peer, servers, drain) = (self.peer.clone(), self.servers.clone(), self.drain);
        thread::spawn(move || {
            peer.leave();
            thread::sleep(drain);
            servers.iter().for_each(ShutdownHandle::shutdown);
        });
    }

    fn reopen_log(&self) {
        if let Some(Err(error)) = self.access_log.as_ref().map(AccessLogFile::reopen) {
            log::error!("{error:#}; the log continues in the previous file");
        }
    }

    #[cfg(unix)]
    fn hand_over(&self) {
        let Some(sockets) = self.sockets.clone() else {
            return log::error!("cannot start a successor: --server tiny_http cannot hand its sockets over");
        };
        hand_over(sockets, self.servers.clone());
    }

    #[cfg(not(unix))]
    fn hand_over(&self) {}
}

/// Starts a successor on another thread. Once it serves, this process completes its requests and ends.
#[cfg(unix)]
pub(super) fn hand_over(sockets: Arc<Sockets>, servers: Vec<ShutdownHandle>) {
    thread::spawn(move || match sockets.start_successor() {
        Ok(id) => {
            log::info!("process {id} has taken over; completing the requests in progress");
            notify::send(&format!("MAINPID={id}"));
            servers.iter().for_each(ShutdownHandle::hand_over);
        }
        Err(error) => log::error!("cannot start a successor: {error}; this process continues to serve"),
    });
}
