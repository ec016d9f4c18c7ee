//! One exchange with an origin: its time limits, its cancellation, and the socket that it uses at the moment.
//!
//! ureq asks its resolver, connector and transport on the thread that runs the request, so the exchange of that thread
//! is theirs ([`Exchange::enter`]). A transport keeps the exchange until its connection is returned: the body may be
//! read elsewhere.

use std::cell::RefCell;
use std::net::{Shutdown, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

use http::StatusCode;
use parking_lot::Mutex;

use super::head::{Head, HeadLimits, Interim};
use crate::base::cancellation::{CancelHook, Cancellation};
use crate::base::error::{Error, ErrorKind};
use crate::message::interim::OnInterim;

thread_local! {
    static CURRENT: RefCell<Option<Arc<Exchange>>> = const { RefCell::new(None) };
}

/// A request, its one retry, and the response with its body.
#[derive(Debug)]
pub(super) struct Exchange {
    pub(super) terms: Terms,
    state: Mutex<State>,
}

/// What is fixed before an exchange begins.
#[derive(Clone, Debug, Default)]
pub(super) struct Terms {
    /// Name, connection, handshake, head and retry end here.
    pub(super) head_by: Option<Instant>,
    /// Where content is sent: the head may take this long after the last of it.
    pub(super) head_after_content: Option<Duration>,
    /// The head may take this long from its first byte on.
    pub(super) whole_head: Option<Duration>,
    /// The connection may take this long.
    pub(super) connect: Option<Duration>,
    /// Everything ends here, the body included.
    pub(super) whole_by: Option<Instant>,
    /// Whether the request's method is `HEAD`: its response has no body.
    pub(super) is_head: bool,
    pub(super) head_limits: HeadLimits,
    pub(super) cancellation: Option<Cancellation>,
    /// Who receives interim responses.
    pub(super) on_interim: Option<OnInterim>,
}

#[derive(Debug, Default)]
struct State {
    /// The socket of this exchange, while a connection is its own.
    socket: Option<Arc<TcpStream>>,
    /// When the last content was sent.
    sent: Option<Instant>,
    head: Option<Head>,
    /// When the first bytes of the head came.
    head_began: Option<Instant>,
    phase: Phase,
}

#[derive(Clone, Copy, Debug, Default)]
enum Phase {
    #[default]
    Head,
    Body {
        silence: Option<Duration>,
    },
}

impl Exchange {
    pub(super) fn new(terms: Terms) -> Arc<Self> {
        Arc::new(Self { terms, state: Mutex::default() })
    }

    /// The exchange that this thread runs.
    pub(super) fn current() -> Option<Arc<Self>> {
        CURRENT.with_borrow(Clone::clone)
    }

    /// Makes it the exchange of this thread, until the guard is dropped. A nested request has its own.
    pub(super) fn enter(self: &Arc<Self>) -> Entered {
        Entered { before: CURRENT.replace(Some(Arc::clone(self))) }
    }

    /// Has its socket shut when it is cancelled, for as long as the guard lives.
    pub(super) fn watched(self: Arc<Self>) -> Running {
        let hook = self.terms.cancellation.as_ref().map(|cancellation| {
            let exchange = Arc::clone(&self);
            cancellation.on_cancel(move || exchange.shut())
        });
        Running { exchange: self, _hook: hook }
    }

    fn shut(&self) {
        // Under the lock: the connection cannot be returned meanwhile. Shutting never waits.
        if let Some(socket) = &self.state.lock().socket {
            let _ = socket.shutdown(Shutdown::Both);
        }
    }

    /// This socket is its own from now on.
    pub(super) fn take(&self, socket: &Arc<TcpStream>) {
        self.state.lock().socket = Some(Arc::clone(socket));
    }

    /// This socket is no longer its own.
    pub(super) fn give_back(&self, socket: &Arc<TcpStream>) {
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
    /// When it was cancelled.
    pub(super) fn check(&self) -> Result<(), ureq::Error> {
        if self.is_cancelled() { Err(ureq::Error::Other(Box::new(cancelled()))) } else { Ok(()) }
    }

    /// Until when the socket may be waited for; `None` where nothing limits it.
    pub(super) fn wait_until(&self, now: Instant) -> Option<Instant> {
        let state = self.state.lock();
        let limit = match state.phase {
            Phase::Head => {
                let after_content = self.terms.head_after_content;
                let renewed = after_content.and_then(|limit| state.sent.unwrap_or(now).checked_add(limit));
                let whole = self.terms.whole_head.zip(state.head_began);
                let whole = whole.and_then(|(limit, began)| began.checked_add(limit));
                self.terms.head_by.into_iter().chain(renewed).chain(whole).min()
            }
            Phase::Body { silence } => silence.and_then(|silence| now.checked_add(silence)),
        };
        limit.into_iter().chain(self.terms.whole_by).min()
    }

    /// Whether the body may no longer be read.
    pub(super) fn is_over(&self, now: Instant) -> bool {
        self.terms.whole_by.is_some_and(|whole_by| now >= whole_by)
    }

    /// Some of the request was taken by the socket.
    pub(super) fn sent(&self, now: Instant) {
        if self.terms.head_after_content.is_some() {
            self.state.lock().sent = Some(now);
        }
    }

    /// Since when a part of a head is here, if one is. The head of an interim response is none of the final one's.
    pub(super) fn head_began(&self, since: Option<Instant>) {
        let began = &mut self.state.lock().head_began;
        *began = since.map(|since| began.unwrap_or(since));
    }

    /// Hands on an interim response. Whoever asked has been told to send its content (100) by others, or does not wait for
    /// that.
    pub(super) fn tell(&self, interim: &Interim) {
        if let Some(on_interim) = &self.terms.on_interim
            && interim.status != StatusCode::CONTINUE
        {
            on_interim.tell(interim.status, &interim.headers);
        }
    }

    /// Whether its head takes too long from its first byte on.
    pub(super) fn is_head_too_slow(&self, now: Instant) -> bool {
        let state = self.state.lock();
        let times = self.terms.whole_head.zip(state.head_began);
        state.head.is_none()
            && times.is_some_and(|(limit, began)| now.saturating_duration_since(began) >= limit)
    }

    /// The head that the transport has read.
    pub(super) fn put_head(&self, head: Head) {
        self.state.lock().head = Some(head);
    }

    pub(super) fn take_head(&self) -> Option<Head> {
        self.state.lock().head.take()
    }

    /// From now on the body is read, which may stop for so long.
    pub(super) fn begin_body(&self, silence: Option<Duration>) {
        self.state.lock().phase = Phase::Body { silence };
    }
}

/// What a cancelled exchange fails with.
pub(super) fn cancelled() -> Error {
    Error::new(ErrorKind::Cancelled, "the fetch was cancelled")
}

/// An exchange that is cut off when its request is cancelled.
#[derive(Debug)]
pub(super) struct Running {
    pub(super) exchange: Arc<Exchange>,
    _hook: Option<CancelHook>,
}

/// Puts back the exchange that the thread ran before.
pub(super) struct Entered {
    before: Option<Arc<Exchange>>,
}

impl Drop for Entered {
    fn drop(&mut self) {
        drop(CURRENT.replace(self.before.take()));
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    fn exchange(terms: Terms) -> Arc<Exchange> {
        Exchange::new(terms)
    }

    #[test]
    fn an_attempt_has_one_deadline_and_a_body_a_limit_of_silence() {
        let now = Instant::now();
        let at = |seconds| Some(now + Duration::from_secs(seconds));
        let terms = Terms { head_by: at(60), whole_by: at(100), ..Terms::default() };
        let running = exchange(terms.clone());
        assert_eq!(running.wait_until(now + Duration::from_secs(59)), at(60));
        running.begin_body(Some(Duration::from_secs(30)));
        assert_eq!(running.wait_until(now + Duration::from_secs(61)), at(91));
        assert_eq!(running.wait_until(now + Duration::from_secs(80)), at(100));
        assert!(
            !running.is_over(now + Duration::from_secs(99))
                && running.is_over(now + Duration::from_secs(100))
        );
        running.begin_body(None);
        assert_eq!(running.wait_until(now), at(100));
        // While content is sent, the time for the head begins anew.
        let sending = Terms { head_by: None, head_after_content: Some(Duration::from_secs(60)), ..terms };
        let sending = exchange(sending);
        sending.sent(now + Duration::from_secs(20));
        assert_eq!(sending.wait_until(now + Duration::from_secs(25)), at(80));
    }

    #[test]
    fn the_time_for_a_whole_head_is_that_of_the_final_one() {
        let now = Instant::now();
        let terms = Terms { whole_head: Some(Duration::from_secs(1)), ..Terms::default() };
        let running = exchange(terms);
        let later = now + Duration::from_secs(2);
        running.head_began(Some(now));
        running.head_began(Some(later));
        assert!(running.is_head_too_slow(later));
        // What was here was the whole of an interim response.
        running.head_began(None);
        assert!(!running.is_head_too_slow(later) && running.wait_until(later).is_none());
        running.head_began(Some(later));
        assert!(!running.is_head_too_slow(later));
    }

    #[test]
    fn a_thread_has_the_exchange_that_it_entered_last() {
        let is_current = |exchange: &Arc<Exchange>| {
            Exchange::current().is_some_and(|current| Arc::ptr_eq(&current, exchange))
        };
        let (outer, inner) = (exchange(Terms::default()), exchange(Terms::default()));
        let entered = outer.enter();
        {
            let _entered = inner.enter();
            assert!(is_current(&inner));
        }
        assert!(is_current(&outer));
        drop(entered);
        assert!(Exchange::current().is_none());
    }

    #[test]
    fn a_socket_that_was_given_back_is_not_shut() {
        use std::io::{Read, Write};

        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let connect = || Arc::new(TcpStream::connect(listener.local_addr().unwrap()).unwrap());
        let (kept, returned) = (connect(), connect());
        let cancellation = Cancellation::new();
        let terms = Terms { cancellation: Some(cancellation.clone()), ..Terms::default() };
        let running = exchange(terms).watched();
        running.exchange.take(&returned);
        running.exchange.give_back(&returned);
        running.exchange.take(&kept);
        cancellation.cancel();
        assert_eq!((&*kept).read(&mut [0]).unwrap(), 0);
        assert!(running.exchange.check().is_err());
        (&*returned).write_all(b"x").unwrap();
    }
}
