//! A running server: shutting it down and waiting for its threads.

use std::fmt;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};

/// A running server. Dropping the handle shuts the server down and waits until it has ended.
///
/// [`join`](Self::join) waits until the server is shut down, for example by a [`ShutdownHandle`], and
/// requests in progress are complete.
#[derive(Debug)]
pub struct ServerHandle {
    local_addresses: Vec<SocketAddr>,
    handle: ShutdownHandle,
}

impl ServerHandle {
    pub(super) fn new(local_addresses: Vec<SocketAddr>, running: Arc<dyn RunningServer>) -> Self {
        Self { local_addresses, handle: ShutdownHandle { running } }
    }

    /// Returns the address on which the server listens, the first one if there are several. If port 0 was
    /// requested, the address has the port that the system chose. Without a TCP socket, it is `127.0.0.1:0`.
    #[must_use]
    pub fn local_addr(&self) -> SocketAddr {
        self.local_addresses.first().copied().unwrap_or((Ipv4Addr::LOCALHOST, 0).into())
    }

    /// Returns the addresses of all TCP sockets on which the server listens.
    #[must_use]
    pub fn local_addrs(&self) -> &[SocketAddr] {
        &self.local_addresses
    }

    /// Returns a handle that shuts the server down from another thread.
    #[must_use]
    pub fn shutdown_handle(&self) -> ShutdownHandle {
        self.handle.clone()
    }

    /// Like [`ShutdownHandle::shutdown`].
    pub fn shutdown(&self) {
        self.handle.shutdown();
    }

    /// Like [`ShutdownHandle::has_failed`].
    #[must_use]
    pub fn has_failed(&self) -> bool {
        self.handle.has_failed()
    }

    /// Waits until the server is shut down and all requests in progress or queued are complete, or the drain
    /// deadline has passed. Does not initiate the shutdown.
    pub fn join(self) {
        self.handle.running.lifetime().wait_for_end();
    }
}

impl Drop for ServerHandle {
    fn drop(&mut self) {
        self.shutdown();
        self.handle.running.lifetime().wait_for_end();
    }
}

/// Shuts a server down from any thread, for example one that waits for a signal.
///
/// ```
/// use forwardcache::server::{Server, ServerConfig};
/// use forwardcache::Body;
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
    running: Arc<dyn RunningServer>,
}

impl ShutdownHandle {
    /// Starts the shutdown and returns at once. The server stops listening, completes the requests that are
    /// in progress or queued, and closes connections: idle ones at once, the others after their response.
    /// Further calls do nothing.
    pub fn shutdown(&self) {
        self.running.shutdown(false);
    }

    /// Like [`shutdown`](Self::shutdown), if another process serves the same sockets from now on. The server
    /// closes only its own descriptors of the sockets, so that no waiting connection is lost. Open connections
    /// are closed after their next response, and after one second without a request.
    pub fn hand_over(&self) {
        self.running.shutdown(true);
    }

    /// Returns whether the server shut down because one of its essential threads ended, by a panic or a
    /// system error. The log has the reason. A program that does nothing else should then exit with a failure
    /// status.
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

/// The operations of a running server that do not depend on its kind.
pub(super) trait RunningServer: Send + Sync {
    /// Starts the shutdown and does not wait; further calls do nothing. `is_succeeded` states that another
    /// process serves the same sockets.
    fn shutdown(&self, is_succeeded: bool);

    fn lifetime(&self) -> &Lifetime;
}

/// Counts the threads that have not ended, and holds the deadline of a shutdown.
pub(super) struct Lifetime {
    drain_deadline: Duration,
    /// Additional time for threads to end after the drain deadline.
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

    /// Registers a thread. A shutdown waits until the returned guard is dropped.
    pub(super) fn register_thread(self: &Arc<Self>) -> ThreadGuard {
        self.state.lock().threads += 1;
        ThreadGuard { lifetime: Arc::clone(self) }
    }

    /// Starts the shutdown. Returns whether this call was the first.
    pub(super) fn start_stopping(&self) -> bool {
        let first = !self.stopping.swap(true, Ordering::AcqRel);
        if first {
            let now = Instant::now();
            // A deadline that `Instant` cannot represent becomes one year.
            let end = now.checked_add(self.drain_deadline);
            self.state.lock().end = end.or(now.checked_add(Duration::from_secs(365 * 86_400)));
            self.changed.notify_all();
        }
        first
    }

    pub(super) fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::Acquire)
    }

    /// Records that the server ends because of a failure. Must be called before the shutdown.
    pub(super) fn fail(&self) {
        self.failed.store(true, Ordering::Release);
    }

    pub(super) fn has_failed(&self) -> bool {
        self.failed.load(Ordering::Acquire)
    }

    /// Returns whether the drain deadline has passed, so that queued requests must not be started.
    pub(super) fn is_deadline_over(&self) -> bool {
        self.is_stopping() && self.state.lock().end.is_some_and(|end| Instant::now() >= end)
    }

    /// Waits for `pause`, or until a shutdown starts.
    #[cfg(feature = "tiny_http")]
    pub(super) fn pause(&self, pause: Duration) {
        let mut state = self.state.lock();
        if state.end.is_none() {
            self.changed.wait_for(&mut state, pause);
        }
    }

    /// Waits until all other registered threads have ended or the drain deadline has passed. Returns the
    /// deadline, or the current time if there is no other thread.
    pub(super) fn wait_for_other_threads(&self) -> Instant {
        let mut state = self.state.lock();
        while let Some(end) = state.end {
            if state.threads <= 1 || self.changed.wait_until(&mut state, end).timed_out() {
                return end;
            }
        }
        Instant::now()
    }

    pub(super) fn wait_for_end(&self) {
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
                            log::warn!(
                                "the server ends while {threads} of its threads are still running: they exceeded the drain deadline"
                            );
                        }
                        return;
                    }
                }
                None => self.changed.wait(&mut state),
            }
        }
    }
}

/// A guard that a thread holds until it ends.
pub(super) struct ThreadGuard {
    lifetime: Arc<Lifetime>,
}

impl Drop for ThreadGuard {
    fn drop(&mut self) {
        self.lifetime.state.lock().threads -= 1;
        self.lifetime.changed.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn join_waits_for_the_last_thread() {
        let lifetime = Lifetime::new(Duration::from_secs(3600), Duration::ZERO);
        let guard = lifetime.register_thread();
        assert!(lifetime.start_stopping());
        assert!(!lifetime.start_stopping());
        assert!(!lifetime.is_deadline_over());
        let thread = std::thread::spawn(move || drop(guard));
        lifetime.wait_for_end();
        thread.join().unwrap();
        assert_eq!(lifetime.state.lock().threads, 0);
    }

    #[test]
    fn join_returns_at_the_deadline_although_a_thread_still_runs() {
        let lifetime = Lifetime::new(Duration::ZERO, Duration::ZERO);
        let guard = lifetime.register_thread();
        lifetime.start_stopping();
        lifetime.wait_for_end();
        assert!(lifetime.is_deadline_over());
        drop(guard);
    }

    #[test]
    fn an_unrepresentable_deadline_does_not_panic() {
        let lifetime = Lifetime::new(Duration::MAX, Duration::ZERO);
        assert!(lifetime.start_stopping());
        lifetime.wait_for_end();
    }
}
