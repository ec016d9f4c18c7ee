//! The origin: listens, records requests, and fails the test in `Drop`.

use std::any::Any;
use std::collections::VecDeque;
use std::io;
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Weak};
use std::thread::{self, JoinHandle};

use parking_lot::{Condvar, Mutex};

use super::connection::serve;
use super::{Gate, Received, Reply, Socket, Stream};
use crate::support::TEST_TIMEOUT;

type Handler = dyn Fn(&Received) -> Reply + Send + Sync;
type Layer = dyn Fn(Socket) -> io::Result<Box<dyn Stream>> + Send + Sync;

/// A server on a loopback port that sends scripted replies, with one thread per connection.
///
/// # Panics
///
/// Dropping it fails the test in these cases: it received no request (see [`may_be_unused`](Self::may_be_unused)), a
/// handler panicked, there were more requests than replies, a request violated RFC 9112, or a thread did not end.
pub(crate) struct Origin {
    shared: Arc<Shared>,
    address: SocketAddr,
    scheme: &'static str,
    may_be_unused: bool,
}

/// State shared by the origin and its connection threads.
pub(super) struct Shared {
    handler: Box<Handler>,
    layer: Box<Layer>,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    seen: Vec<Received>,
    errors: Vec<String>,
    gates: Vec<Gate>,
    sockets: Vec<Weak<TcpStream>>,
    threads: Vec<JoinHandle<()>>,
    running: usize,
    closing: bool,
}

impl Origin {
    /// Starts an origin that sends the reply returned by `handler`, which is called on many threads.
    pub(crate) fn start(handler: impl Fn(&Received) -> Reply + Send + Sync + 'static) -> Self {
        Self::start_over("http", |socket| Ok(Box::new(socket)), handler)
    }

    /// Starts an origin that sends these replies in the order in which requests arrive. Any further request gets
    /// `500` and makes the drop fail.
    pub(crate) fn replies(replies: impl IntoIterator<Item = Reply>) -> Self {
        Self::start(in_order(replies))
    }

    /// Starts an origin whose sockets are wrapped by `layer`.
    pub(crate) fn start_over(
        scheme: &'static str,
        layer: impl Fn(Socket) -> io::Result<Box<dyn Stream>> + Send + Sync + 'static,
        handler: impl Fn(&Received) -> Reply + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a loopback port is free");
        let address = listener.local_addr().expect("a bound socket has an address");
        let shared = Arc::new(Shared {
            handler: Box::new(handler),
            layer: Box::new(layer),
            state: Mutex::default(),
            changed: Condvar::new(),
        });
        let accepting = Arc::clone(&shared);
        shared.spawn(&mut shared.state.lock(), move || accept(&accepting, &listener));
        Self { shared, address, scheme, may_be_unused: false }
    }

    /// Allows the origin to receive no request.
    pub(crate) fn may_be_unused(mut self) -> Self {
        self.may_be_unused = true;
        self
    }

    /// Returns the URL of a path, which starts with `/`.
    pub(crate) fn url(&self, path: &str) -> String {
        format!("{}://{}{path}", self.scheme, self.address)
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Returns every request received so far, in order.
    pub(crate) fn seen(&self) -> Vec<Received> {
        self.shared.state.lock().seen.clone()
    }

    /// Returns the number of requests received so far.
    pub(crate) fn count(&self) -> usize {
        self.shared.state.lock().seen.len()
    }

    /// Returns the number of requests received so far for this target (path and query).
    pub(crate) fn count_of(&self, target: &str) -> usize {
        self.shared.state.lock().seen.iter().filter(|received| received.target == target).count()
    }

    /// Blocks until this many requests have been received, whether or not they have been answered.
    ///
    /// # Panics
    ///
    /// If they do not arrive within [`TEST_TIMEOUT`].
    pub(crate) fn wait_for(&self, requests: usize) {
        let mut state = self.shared.state.lock();
        self.shared.changed.wait_while_for(&mut state, |state| state.seen.len() < requests, TEST_TIMEOUT);
        let seen = state.seen.len();
        drop(state);
        assert!(seen >= requests, "waited for {requests} requests and received {seen}");
    }

    /// Ends every connection and thread. Returns whether all of them ended.
    fn shut_down(&self) -> bool {
        let mut state = self.shared.state.lock();
        state.closing = true;
        for socket in state.sockets.drain(..).filter_map(|socket| socket.upgrade()) {
            // The connection may already be closed.
            let _ = socket.shutdown(Shutdown::Both);
        }
        state.gates.drain(..).for_each(|gate| gate.open());
        drop(state);
        // Wakes `accept` so that it sees that the origin is closing.
        let _ = TcpStream::connect_timeout(&self.address, TEST_TIMEOUT);

        let mut state = self.shared.state.lock();
        self.shared.changed.wait_while_for(&mut state, |state| state.running > 0, TEST_TIMEOUT);
        if state.running > 0 {
            return false;
        }
        let threads = std::mem::take(&mut state.threads);
        drop(state);
        let errors: Vec<_> = threads.into_iter().filter_map(|thread| thread.join().err()).collect();
        errors.iter().for_each(|panic| self.shared.record_error(message_of(&**panic)));
        true
    }
}

impl Drop for Origin {
    fn drop(&mut self) {
        let ended = self.shut_down();
        if thread::panicking() {
            return;
        }
        let state = self.shared.state.lock();
        let (was_used, mut errors) = (!state.seen.is_empty(), state.errors.clone());
        drop(state);
        if !ended {
            errors.push(format!("a thread did not end within {TEST_TIMEOUT:?}"));
        }
        if !was_used && !self.may_be_unused {
            errors.push("it received no request".to_owned());
        }
        assert!(errors.is_empty(), "the origin {}: {}", self.url("/"), errors.join("; "));
    }
}

impl Shared {
    /// Records an error that makes the drop of the origin fail.
    pub(super) fn record_error(&self, what: impl Into<String>) {
        self.state.lock().errors.push(what.into());
    }

    /// Records the request and calls the handler.
    pub(super) fn reply_to(&self, received: &Received) -> Reply {
        self.state.lock().seen.push(received.clone());
        self.changed.notify_all();
        // Keeps a panic of the handler for `Drop`; otherwise it is lost with the thread.
        let reply = catch_unwind(AssertUnwindSafe(|| (self.handler)(received))).unwrap_or_else(|panic| {
            self.record_error(format!("its handler panicked: {}", message_of(&*panic)));
            Reply::status(500)
        });
        let mut state = self.state.lock();
        if state.closing {
            reply.gates().for_each(Gate::open);
        } else {
            state.gates.extend(reply.gates().cloned());
        }
        reply
    }

    fn spawn(self: &Arc<Self>, state: &mut State, work: impl FnOnce() + Send + 'static) {
        let running = RunningThread(Arc::clone(self));
        state.running += 1;
        state.threads.push(thread::spawn(move || {
            let _living = running;
            work();
        }));
    }
}

/// Counts a running thread until it is dropped.
struct RunningThread(Arc<Shared>);

impl Drop for RunningThread {
    fn drop(&mut self) {
        self.0.state.lock().running -= 1;
        self.0.changed.notify_all();
    }
}

fn accept(shared: &Arc<Shared>, listener: &TcpListener) {
    for connection in 0.. {
        let (socket, _) = listener.accept().expect("a listening socket accepts");
        // Without this, part of a reply may be delayed until the client acknowledges the previous part.
        socket.set_nodelay(true).expect("TCP_NODELAY can be set on a socket");
        let socket = Arc::new(socket);
        let mut state = shared.state.lock();
        if state.closing {
            return;
        }
        state.sockets.push(Arc::downgrade(&socket));
        let serving = Arc::clone(shared);
        shared.spawn(&mut state, move || {
            if let Ok(stream) = (serving.layer)(Socket(socket)) {
                serve(&serving, stream, connection);
            }
        });
    }
}

/// Returns a handler that sends these replies in order.
pub(crate) fn in_order(
    replies: impl IntoIterator<Item = Reply>,
) -> impl Fn(&Received) -> Reply + Send + Sync + 'static {
    let replies: Mutex<VecDeque<Reply>> = Mutex::new(replies.into_iter().collect());
    move |received| {
        let next = replies.lock().pop_front();
        next.unwrap_or_else(|| panic!("no reply is left for {} {}", received.method, received.target))
    }
}

fn message_of(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_else(|| "a panic".to_owned())
}
