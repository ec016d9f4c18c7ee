//! An exchange: one request to an origin and its response, with time limits, cancellation and the current
//! socket.
//!
//! ureq calls its resolver, connector and transport on the thread that runs the request. They find the
//! exchange in a thread-local variable, which [`Exchange::enter`] sets. A transport keeps a reference to the
//! exchange until its connection is returned to the pool, because another thread may read the body.

use std::cell::RefCell;
use std::net::{Shutdown, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

use http::StatusCode;
use parking_lot::Mutex;

use super::begun::BegunConnection;
use super::head::{Head, HeadLimits, Interim};
use crate::base::cancellation::{CancelHook, Cancellation};
use crate::base::error::{Error, ErrorKind};
use crate::message::interim::OnInterim;

thread_local! {
    static CURRENT: RefCell<Option<Arc<Exchange>>> = const { RefCell::new(None) };
}

/// The state of one request (with its single retry) and its response (with its body).
#[derive(Debug)]
pub(super) struct Exchange {
    pub(super) terms: ExchangeOptions,
    state: Mutex<State>,
}

/// The settings of an exchange, fixed before it starts.
#[derive(Clone, Debug, Default)]
pub(super) struct ExchangeOptions {
    /// The deadline for name lookup, connection, TLS handshake, response head and retry together.
    pub(super) head_deadline: Option<Instant>,
    /// For a request with content: the longest time from the last content byte sent to the end of the
    /// response head.
    pub(super) head_timeout_after_content: Option<Duration>,
    /// The longest time from the first byte of the response head to its end.
    pub(super) head_read_timeout: Option<Duration>,
    /// The longest time to connect.
    pub(super) connect_timeout: Option<Duration>,
    /// The deadline for the whole exchange, including the body.
    pub(super) whole_deadline: Option<Instant>,
    /// Whether the method is `HEAD`, whose response has no body.
    pub(super) is_head: bool,
    pub(super) head_limits: HeadLimits,
    pub(super) cancellation: Option<Cancellation>,
    /// The callback for interim responses.
    pub(super) on_interim: Option<OnInterim>,
}

#[derive(Debug, Default)]
struct State {
    /// The connection on which the request was sent already, until it is used.
    begun: Option<BegunConnection>,
    /// The socket in use, while its connection belongs to this exchange.
    socket: Option<Arc<TcpStream>>,
    /// The time when request content was last sent.
    last_sent: Option<Instant>,
    head: Option<Head>,
    /// The time when the first bytes of the head arrived.
    head_began: Option<Instant>,
    phase: Phase,
}

#[derive(Clone, Copy, Debug, Default)]
enum Phase {
    #[default]
    Head,
    Body {
        max_silence: Option<Duration>,
    },
}

impl Exchange {
    pub(super) fn new(terms: ExchangeOptions) -> Arc<Self> {
        Arc::new(Self { terms, state: Mutex::default() })
    }

    /// Makes the exchange continue on this connection, on which its request was sent.
    pub(super) fn set_begun(&self, begun: Option<BegunConnection>) {
        self.state.lock().begun = begun;
    }

    pub(super) fn has_begun(&self) -> bool {
        self.state.lock().begun.is_some()
    }

    pub(super) fn take_begun(&self) -> Option<BegunConnection> {
        self.state.lock().begun.take()
    }

    /// Returns the exchange that runs on this thread.
    pub(super) fn current() -> Option<Arc<Self>> {
        CURRENT.with_borrow(Clone::clone)
    }

    /// Makes this the current exchange of the thread until the guard is dropped. A nested request has its own
    /// exchange.
    pub(super) fn enter(self: &Arc<Self>) -> CurrentGuard {
        CurrentGuard { previous: CURRENT.replace(Some(Arc::clone(self))) }
    }

    /// Shuts down the socket when the request is cancelled, as long as the guard lives.
    pub(super) fn cancellable(self: Arc<Self>) -> CancellableExchange {
        let hook = self.terms.cancellation.as_ref().map(|cancellation| {
            let exchange = Arc::clone(&self);
            cancellation.on_cancel(move || exchange.shut_down())
        });
        CancellableExchange { exchange: self, _hook: hook }
    }

    fn shut_down(&self) {
        // Under the lock, the connection cannot be returned to the pool. `shutdown` does not
        // block.
        if let Some(socket) = &self.state.lock().socket {
            let _ = socket.shutdown(Shutdown::Both);
        }
    }

    /// Records the socket that this exchange uses from now on.
    pub(super) fn attach_socket(&self, socket: &Arc<TcpStream>) {
        self.state.lock().socket = Some(Arc::clone(socket));
    }

    /// Forgets this socket, so that a later cancellation does not shut it down.
    pub(super) fn detach_socket(&self, socket: &Arc<TcpStream>) {
        let mut state = self.state.lock();
        if state.socket.as_ref().is_some_and(|own| Arc::ptr_eq(own, socket)) {
            state.socket = None;
        }
    }

    pub(super) fn is_cancelled(&self) -> bool {
        self.terms.cancellation.as_ref().is_some_and(Cancellation::is_cancelled)
    }

    /// # Errors
    ///
    /// [`ErrorKind::Cancelled`] if the request was cancelled.
    pub(super) fn check_cancelled(&self) -> Result<(), ureq::Error> {
        if self.is_cancelled() { Err(ureq::Error::Other(Box::new(cancelled_error()))) } else { Ok(()) }
    }

    /// Returns the deadline for the next wait on the socket; `None` without a limit.
    pub(super) fn next_deadline(&self, now: Instant) -> Option<Instant> {
        let state = self.state.lock();
        let limit = match state.phase {
            Phase::Head => {
                let after_content = self.terms.head_timeout_after_content;
                let renewed =
                    after_content.and_then(|limit| state.last_sent.unwrap_or(now).checked_add(limit));
                let whole = self.terms.head_read_timeout.zip(state.head_began);
                let whole = whole.and_then(|(limit, began)| began.checked_add(limit));
                self.terms.head_deadline.into_iter().chain(renewed).chain(whole).min()
            }
            Phase::Body { max_silence } => max_silence.and_then(|max_silence| now.checked_add(max_silence)),
        };
        limit.into_iter().chain(self.terms.whole_deadline).min()
    }

    /// Whether the deadline for the whole exchange has passed.
    pub(super) fn is_past_whole_deadline(&self, now: Instant) -> bool {
        self.terms.whole_deadline.is_some_and(|whole_deadline| now >= whole_deadline)
    }

    /// Records that the socket accepted some bytes of the request.
    pub(super) fn note_sent(&self, now: Instant) {
        if self.terms.head_timeout_after_content.is_some() {
            self.state.lock().last_sent = Some(now);
        }
    }

    /// Records when an incomplete head began to arrive; `None` clears the time. An interim response does not
    /// start the clock for the final response.
    pub(super) fn note_head_began(&self, since: Option<Instant>) {
        let began = &mut self.state.lock().head_began;
        *began = since.map(|since| began.unwrap_or(since));
    }

    /// Passes an interim response to the caller. 100 (Continue) is not passed on: the server answers `Expect`
    /// for its own clients.
    pub(super) fn pass_on_interim(&self, interim: &Interim) {
        if let Some(on_interim) = &self.terms.on_interim
            && interim.status != StatusCode::CONTINUE
        {
            on_interim.tell(interim.status, &interim.headers);
        }
    }

    /// Whether the head takes too long from its first byte on.
    pub(super) fn is_head_too_slow(&self, now: Instant) -> bool {
        let state = self.state.lock();
        let timeouts = self.terms.head_read_timeout.zip(state.head_began);
        state.head.is_none()
            && timeouts.is_some_and(|(limit, began)| now.saturating_duration_since(began) >= limit)
    }

    /// Stores the head that the transport has read.
    pub(super) fn set_head(&self, head: Head) {
        self.state.lock().head = Some(head);
    }

    pub(super) fn take_head(&self) -> Option<Head> {
        self.state.lock().head.take()
    }

    /// Starts the body phase. `max_silence` limits the time without any byte from the origin.
    pub(super) fn begin_body(&self, max_silence: Option<Duration>) {
        self.state.lock().phase = Phase::Body { max_silence };
    }
}

/// The error of a cancelled exchange.
pub(super) fn cancelled_error() -> Error {
    Error::new(ErrorKind::Cancelled, "the request was cancelled")
}

/// An exchange whose socket is shut down when its request is cancelled.
#[derive(Debug)]
pub(super) struct CancellableExchange {
    pub(super) exchange: Arc<Exchange>,
    _hook: Option<CancelHook>,
}

/// Restores the previous exchange of the thread when dropped.
pub(super) struct CurrentGuard {
    previous: Option<Arc<Exchange>>,
}

impl Drop for CurrentGuard {
    fn drop(&mut self) {
        drop(CURRENT.replace(self.previous.take()));
    }
}

#[cfg(test)]
mod tests;
