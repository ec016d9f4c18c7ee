//! A front that runs, and its end.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};

/// A front that serves. Dropping it shuts the front down and waits for the end.
///
/// [`join`](Self::join) waits until somebody shuts the front down, by a [`ShutdownHandle`] for
/// example, and until what was in flight has been answered.
#[derive(Debug)]
pub struct ServerHandle {
    local_address: SocketAddr,
    handle: ShutdownHandle,
}

impl ServerHandle {
    pub(super) fn new(local_address: SocketAddr, running: Arc<dyn Running>) -> Self {
        Self { local_address, handle: ShutdownHandle { running } }
    }

    /// The address that is served, with the port that port 0 became.
    #[must_use]
    pub fn local_addr(&self) -> SocketAddr {
        self.local_address
    }

    /// Something to shut the front down with, from another thread.
    #[must_use]
    pub fn shutdown_handle(&self) -> ShutdownHandle {
        self.handle.clone()
    }

    /// As [`ShutdownHandle::shutdown`].
    pub fn shutdown(&self) {
        self.handle.shutdown();
    }

    /// As [`ShutdownHandle::has_failed`].
    #[must_use]
    pub fn has_failed(&self) -> bool {
        self.handle.has_failed()
    }

    /// Waits for the end: until the front is shut down and either everything in flight and queued
    /// has been answered or the drain deadline has passed. It does not itself shut down.
    pub fn join(self) {
        self.handle.running.lifetime().wait_for_the_end();
    }
}

impl Drop for ServerHandle {
    fn drop(&mut self) {
        self.shutdown();
        self.handle.running.lifetime().wait_for_the_end();
    }
}

/// Shuts a front down, from any thread: one that waits for a signal, for example.
///
/// ```
/// use forwardcache::{Body, ServerConfig, Server};
/// use http::{Request, Response};
///
/// let hello = |_: Request<Body>| Response::new(Body::from("hello"));
/// let serving = Server::bind("127.0.0.1:0", ServerConfig::new(), hello)?;
/// let handle = serving.shutdown_handle();
/// std::thread::spawn(move || handle.shutdown());
/// serving.join();
/// # Ok::<(), forwardcache::Error>(())
/// ```
#[derive(Clone)]
pub struct ShutdownHandle {
    running: Arc<dyn Running>,
}

impl ShutdownHandle {
    /// Begins to shut down, and returns at once: the port accepts nobody any more, what is in flight
    /// or queued is still answered, and open connections are closed: once they are answered, or at once
    /// where nothing was asked. A second call does nothing.
    pub fn shutdown(&self) {
        self.running.shutdown();
    }

    /// Whether the front shut down by itself, because a thread that it cannot do without has ended: by a panic, or by an
    /// error of the system. The log says which. A program that serves nothing else should then end as failed.
    #[must_use]
    pub fn has_failed(&self) -> bool {
        self.running.lifetime().has_failed()
    }
}

impl fmt::Debug for ShutdownHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ShutdownHandle").field("stopping", &self.running.lifetime().is_stopping()).finish()
    }
}

/// What every kind of front lets others do to it while it runs.
pub(super) trait Running: Send + Sync {
    /// Begins to shut down; idempotent, and does not wait.
    fn shutdown(&self);

    fn lifetime(&self) -> &Lifetime;
}

/// Which threads of a front still have work to finish, and until when they may.
pub(super) struct Lifetime {
    drain_deadline: Duration,
    /// How long threads may take to end once the deadline has passed.
    grace: Duration,
    stopping: AtomicBool,
    failed: AtomicBool,
    state: Mutex<State>,
    changed: Condvar,
}

struct State {
    threads: usize,
    end: Option<Instant>,
}

impl Lifetime {
    pub(super) fn new(drain_deadline: Duration, grace: Duration) -> Arc<Self> {
        Arc::new(Self {
            drain_deadline,
            grace,
            stopping: AtomicBool::new(false),
            failed: AtomicBool::new(false),
            state: Mutex::new(State { threads: 0, end: None }),
            changed: Condvar::new(),
        })
    }

    /// One more thread whose end is waited for; it holds the guard.
    pub(super) fn enter(self: &Arc<Self>) -> Finishing {
        self.state.lock().threads += 1;
        Finishing { lifetime: Arc::clone(self) }
    }

    /// Whether this call was the first.
    pub(super) fn begin_to_stop(&self) -> bool {
        let first = !self.stopping.swap(true, Ordering::AcqRel);
        if first {
            let now = Instant::now();
            // A deadline beyond what the clock can say is no deadline worth the name: a year.
            let end = now.checked_add(self.drain_deadline);
            self.state.lock().end = end.or(now.checked_add(Duration::from_secs(365 * 86_400)));
            self.changed.notify_all();
        }
        first
    }

    pub(super) fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::Acquire)
    }

    /// Takes note that the front ends for a fault of its own. Called before its shutdown.
    pub(super) fn fail(&self) {
        self.failed.store(true, Ordering::Release);
    }

    pub(super) fn has_failed(&self) -> bool {
        self.failed.load(Ordering::Acquire)
    }

    /// Whether it is too late to begin with what is still queued.
    pub(super) fn is_over(&self) -> bool {
        self.is_stopping() && self.state.lock().end.is_some_and(|end| Instant::now() >= end)
    }

    /// Waits for as long as `pause`, or less when stopping begins.
    #[cfg(feature = "tiny_http")]
    pub(super) fn pause(&self, pause: Duration) {
        let mut state = self.state.lock();
        if state.end.is_none() {
            self.changed.wait_for(&mut state, pause);
        }
    }

    /// Waits until this thread is the last one, or the drain deadline has passed; says when that is.
    pub(super) fn wait_for_the_others(&self) -> Instant {
        let mut state = self.state.lock();
        while let Some(end) = state.end {
            if state.threads <= 1 || self.changed.wait_until(&mut state, end).timed_out() {
                return end;
            }
        }
        Instant::now()
    }

    pub(super) fn wait_for_the_end(&self) {
        let mut state = self.state.lock();
        loop {
            match state.end {
                Some(_) if state.threads == 0 => return,
                Some(end) => {
                    let end = end.checked_add(self.grace).unwrap_or(end);
                    if self.changed.wait_until(&mut state, end).timed_out() {
                        let threads = state.threads;
                        drop(state);
                        if threads > 0 {
                            log::warn!("the front ends with {threads} threads still at work");
                        }
                        return;
                    }
                }
                None => self.changed.wait(&mut state),
            }
        }
    }
}

/// Held by a thread of a front until it has finished.
pub(super) struct Finishing {
    lifetime: Arc<Lifetime>,
}

impl Drop for Finishing {
    fn drop(&mut self) {
        self.lifetime.state.lock().threads -= 1;
        self.lifetime.changed.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_waits_for_the_last_thread() {
        let lifetime = Lifetime::new(Duration::from_secs(3600), Duration::ZERO);
        let finishing = lifetime.enter();
        assert!(lifetime.begin_to_stop());
        assert!(!lifetime.begin_to_stop());
        assert!(!lifetime.is_over());
        let thread = std::thread::spawn(move || drop(finishing));
        lifetime.wait_for_the_end();
        thread.join().unwrap();
        assert_eq!(lifetime.state.lock().threads, 0);
    }

    #[test]
    fn a_thread_that_does_not_finish_is_left_behind_at_the_deadline() {
        let lifetime = Lifetime::new(Duration::ZERO, Duration::ZERO);
        let finishing = lifetime.enter();
        lifetime.begin_to_stop();
        lifetime.wait_for_the_end();
        assert!(lifetime.is_over());
        drop(finishing);
    }

    #[test]
    fn an_endless_deadline_is_no_panic() {
        let lifetime = Lifetime::new(Duration::MAX, Duration::ZERO);
        assert!(lifetime.begin_to_stop());
        lifetime.wait_for_the_end();
    }
}
