//! The origin: listens, counts, and fails the test in `Drop`.

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
use crate::support::PATIENCE;

type Handler = dyn Fn(&Received) -> Reply + Send + Sync;
type Layer = dyn Fn(Socket) -> io::Result<Box<dyn Stream>> + Send + Sync;

/// A server on a loopback port that answers as scripted, a thread per connection.
///
/// # Panics
///
/// Dropping it fails the test if it was never asked (see [`may_be_unused`](Self::may_be_unused)),
/// if a handler panicked, if it had fewer replies than requests, if it was sent a request that
/// RFC 9112 forbids, or if a thread of it does not end.
pub(crate) struct Origin {
    shared: Arc<Shared>,
    address: SocketAddr,
    scheme: &'static str,
    may_be_unused: bool,
}

/// What the origin and the threads of its connections share.
pub(super) struct Shared {
    handler: Box<Handler>,
    layer: Box<Layer>,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    seen: Vec<Received>,
    faults: Vec<String>,
    gates: Vec<Gate>,
    sockets: Vec<Weak<TcpStream>>,
    threads: Vec<JoinHandle<()>>,
    living: usize,
    closing: bool,
}

impl Origin {
    /// An origin that answers with what the handler returns. It is called on many threads.
    pub(crate) fn start(handler: impl Fn(&Received) -> Reply + Send + Sync + 'static) -> Self {
        Self::start_over("http", |socket| Ok(Box::new(socket)), handler)
    }

    /// An origin that gives these replies, in the order in which requests come. A request more is
    /// answered with `500`, and the drop fails.
    pub(crate) fn replies(replies: impl IntoIterator<Item = Reply>) -> Self {
        Self::start(in_order(replies))
    }

    /// An origin whose sockets are wrapped by `layer`.
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

    /// An origin that need not be asked.
    pub(crate) fn may_be_unused(mut self) -> Self {
        self.may_be_unused = true;
        self
    }

    /// The URL of a path, which begins with `/`.
    pub(crate) fn url(&self, path: &str) -> String {
        format!("{}://{}{path}", self.scheme, self.address)
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Every request received so far, in order.
    pub(crate) fn seen(&self) -> Vec<Received> {
        self.shared.state.lock().seen.clone()
    }

    /// How many requests were received so far.
    pub(crate) fn count(&self) -> usize {
        self.shared.state.lock().seen.len()
    }

    /// How many requests for this target (path and query) were received so far.
    pub(crate) fn count_of(&self, target: &str) -> usize {
        self.shared.state.lock().seen.iter().filter(|received| received.target == target).count()
    }

    /// Blocks until this many requests have been received, answered or not.
    ///
    /// # Panics
    ///
    /// When they do not come within [`PATIENCE`].
    pub(crate) fn wait_for(&self, requests: usize) {
        let mut state = self.shared.state.lock();
        self.shared.changed.wait_while_for(&mut state, |state| state.seen.len() < requests, PATIENCE);
        let seen = state.seen.len();
        drop(state);
        assert!(seen >= requests, "waited for {requests} requests and received {seen}");
    }

    /// Ends every connection and thread. Returns whether all of them ended.
    fn shut_down(&self) -> bool {
        let mut state = self.shared.state.lock();
        state.closing = true;
        for socket in state.sockets.drain(..).filter_map(|socket| socket.upgrade()) {
            // It may have ended by itself.
            let _ = socket.shutdown(Shutdown::Both);
        }
        state.gates.drain(..).for_each(|gate| gate.open());
        drop(state);
        // Only so that `accept` returns and sees that the origin is closing.
        let _ = TcpStream::connect_timeout(&self.address, PATIENCE);

        let mut state = self.shared.state.lock();
        self.shared.changed.wait_while_for(&mut state, |state| state.living > 0, PATIENCE);
        if state.living > 0 {
            return false;
        }
        let threads = std::mem::take(&mut state.threads);
        drop(state);
        let faults: Vec<_> = threads.into_iter().filter_map(|thread| thread.join().err()).collect();
        faults.iter().for_each(|panic| self.shared.fault(message_of(&**panic)));
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
        let (asked, mut faults) = (!state.seen.is_empty(), state.faults.clone());
        drop(state);
        if !ended {
            faults.push(format!("a thread did not end in {PATIENCE:?}"));
        }
        if !asked && !self.may_be_unused {
            faults.push("it was never asked".to_owned());
        }
        assert!(faults.is_empty(), "the origin {}: {}", self.url("/"), faults.join("; "));
    }
}

impl Shared {
    /// Notes something for which the drop of the origin fails.
    pub(super) fn fault(&self, what: impl Into<String>) {
        self.state.lock().faults.push(what.into());
    }

    /// Counts the request and asks the handler.
    pub(super) fn reply_to(&self, received: &Received) -> Reply {
        self.state.lock().seen.push(received.clone());
        self.changed.notify_all();
        // The handler is the test's: a panic is kept for the drop instead of lost with the thread.
        let reply = catch_unwind(AssertUnwindSafe(|| (self.handler)(received))).unwrap_or_else(|panic| {
            self.fault(format!("its handler panicked: {}", message_of(&*panic)));
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
        let living = Living(Arc::clone(self));
        state.living += 1;
        state.threads.push(thread::spawn(move || {
            let _living = living;
            work();
        }));
    }
}

/// A thread that has not ended.
struct Living(Arc<Shared>);

impl Drop for Living {
    fn drop(&mut self) {
        self.0.state.lock().living -= 1;
        self.0.changed.notify_all();
    }
}

fn accept(shared: &Arc<Shared>, listener: &TcpListener) {
    for connection in 0.. {
        let (socket, _) = listener.accept().expect("a listening socket accepts");
        // Without it a part of a reply may wait for the client's acknowledgement of the last one.
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

/// A handler that gives these replies in order.
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
