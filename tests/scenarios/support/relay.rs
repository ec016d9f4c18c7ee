//! A TCP relay in front of a server that injects faults.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Weak};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use parking_lot::{Condvar, Mutex};
use socket2::SockRef;

use super::TEST_TIMEOUT;

/// A fault that the relay injects. Health checks (`/healthz`) pass unchanged except under the first two faults: a
/// peer that passes its health checks but fails its requests is the hardest case.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// All connections are reset, including existing ones.
    ResetAll,
    /// Nothing is forwarded in either direction.
    Silent,
    /// The connection is reset after the head of the response.
    ResetAfterHead,
    /// The connection is reset in the middle of the body.
    ResetInBody,
    /// The connection is closed in the middle of the body.
    CutInBody,
    /// The response is not valid HTTP.
    Garbage,
    /// One byte per second is forwarded, starting with the head or with the body.
    TrickledHead,
    TrickledBody,
    /// One byte of the body is changed, if the head contains a digest of the body.
    CorruptBody,
}

impl Fault {
    pub(crate) const ALL: [Self; 9] = [
        Self::ResetAll,
        Self::Silent,
        Self::ResetAfterHead,
        Self::ResetInBody,
        Self::CutInBody,
        Self::Garbage,
        Self::TrickledHead,
        Self::TrickledBody,
        Self::CorruptBody,
    ];
}

/// Relays connections until it is dropped.
pub(crate) struct Relay {
    shared: Arc<Shared>,
    address: SocketAddr,
    accepting: Option<JoinHandle<()>>,
}

struct Shared {
    server: SocketAddr,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    record_error: Option<Fault>,
    is_closing: bool,
    sockets: Vec<Weak<TcpStream>>,
    threads: Vec<JoinHandle<()>>,
}

impl Relay {
    pub(crate) fn to(server: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a loopback port is free");
        let address = listener.local_addr().expect("a bound socket has an address");
        let shared = Arc::new(Shared { server, state: Mutex::default(), changed: Condvar::new() });
        let accepting = Arc::clone(&shared);
        let accepting = thread::spawn(move || accept(&accepting, &listener));
        Self { shared, address, accepting: Some(accepting) }
    }

    /// Returns the base URL of the relay.
    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Injects this fault from now on; `None` forwards everything.
    pub(crate) fn set(&self, record_error: Option<Fault>) {
        let mut state = self.shared.state.lock();
        state.record_error = record_error;
        if record_error == Some(Fault::ResetAll) {
            state.cut();
        }
        self.shared.changed.notify_all();
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        let mut state = self.shared.state.lock();
        state.is_closing = true;
        state.cut();
        drop(state);
        self.shared.changed.notify_all();
        // Wakes `accept` so that it sees that the relay is closing.
        let _ = TcpStream::connect_timeout(&self.address, TEST_TIMEOUT);
        if let Some(accepting) = self.accepting.take() {
            let _ = accepting.join();
        }
        let threads = std::mem::take(&mut self.shared.state.lock().threads);
        for thread in threads {
            let ended = thread.join();
            assert!(ended.is_ok() || thread::panicking(), "a thread of the relay panicked");
        }
    }
}

impl State {
    fn cut(&mut self) {
        for socket in self.sockets.drain(..).filter_map(|socket| socket.upgrade()) {
            reset(&socket);
        }
    }
}

/// Resets the connection once both threads have dropped their handle; the shutdown makes both stop. The connection
/// may already have ended, so failures are ignored.
fn reset(socket: &TcpStream) {
    let _ = SockRef::from(socket).set_linger(Some(Duration::ZERO));
    let _ = socket.shutdown(Shutdown::Read);
}

/// Closes the connection, unless it is about to be reset.
fn close(socket: &TcpStream) {
    let is_reset = SockRef::from(socket).linger().is_ok_and(|linger| linger == Some(Duration::ZERO));
    // Shutting down the write side would end the connection in an orderly way.
    let _ = socket.shutdown(if is_reset { Shutdown::Read } else { Shutdown::Both });
}

fn accept(shared: &Arc<Shared>, listener: &TcpListener) {
    loop {
        let (client, _) = listener.accept().expect("a listening socket accepts");
        let record_error = {
            let state = shared.state.lock();
            if state.is_closing {
                return;
            }
            state.record_error
        };
        let server = TcpStream::connect_timeout(&shared.server, TEST_TIMEOUT).ok();
        let Some(server) = server.filter(|_| record_error != Some(Fault::ResetAll)) else {
            reset(&client);
            continue;
        };
        for socket in [&client, &server] {
            socket.set_nodelay(true).expect("TCP_NODELAY can be set on a socket");
        }
        let pair = Pair {
            shared: Arc::clone(shared),
            client: Arc::new(client),
            server: Arc::new(server),
            pending_fault: Arc::default(),
        };
        let mut state = shared.state.lock();
        if state.is_closing || state.record_error == Some(Fault::ResetAll) {
            reset(&pair.client);
            continue;
        }
        state.sockets.extend([Arc::downgrade(&pair.client), Arc::downgrade(&pair.server)]);
        state.sockets.retain(|socket| socket.strong_count() > 0);
        state.threads.retain(|thread| !thread.is_finished());
        let other = pair.clone();
        state.threads.push(thread::spawn(move || pair.requests()));
        state.threads.push(thread::spawn(move || other.responses()));
    }
}

/// A client connection and the matching server connection. Clients in these tests do not pipeline: they send a
/// request only after the previous response.
#[derive(Clone)]
struct Pair {
    shared: Arc<Shared>,
    client: Arc<TcpStream>,
    server: Arc<TcpStream>,
    /// Set when a request was forwarded: the fault to inject into its response.
    pending_fault: Arc<Mutex<Option<Option<Fault>>>>,
}

impl Pair {
    fn requests(&self) {
        let mut buffer = vec![0; 16 << 10];
        while let Ok(count @ 1..) = (&*self.client).read(&mut buffer) {
            let record_error = self.shared.state.lock().record_error;
            if record_error == Some(Fault::Silent) {
                continue;
            }
            let is_head = buffer[..count].windows(10).any(|window| window == b" HTTP/1.1\r");
            let is_health = buffer.starts_with(b"GET /healthz ");
            if is_head {
                *self.pending_fault.lock() = Some(record_error.filter(|_| !is_health));
            }
            if (&*self.server).write_all(&buffer[..count]).is_err() {
                break;
            }
        }
        self.end();
    }

    fn responses(&self) {
        let (mut buffer, mut response) = (vec![0; 16 << 10], ForwardedResponse::default());
        while let Ok(count @ 1..) = (&*self.server).read(&mut buffer) {
            if let Some(record_error) = self.pending_fault.lock().take() {
                response = ForwardedResponse { record_error, ..ForwardedResponse::default() };
            }
            if self.shared.state.lock().record_error == Some(Fault::Silent) {
                continue;
            }
            if !response.forward(self, &mut buffer[..count]) {
                break;
            }
        }
        self.end();
    }

    /// Writes to the client. Returns whether that succeeded.
    fn send(&self, bytes: &[u8]) -> bool {
        (&*self.client).write_all(bytes).is_ok()
    }

    fn trickle(&self, bytes: &[u8]) -> bool {
        bytes.iter().all(|byte| self.send(&[*byte]) && self.wait_a_second())
    }

    /// Paces the trickle. Returns whether the relay is still open.
    fn wait_a_second(&self) -> bool {
        let mut state = self.shared.state.lock();
        let waiting = |state: &mut State| !state.is_closing && state.record_error.is_some();
        self.shared.changed.wait_while_for(&mut state, waiting, Duration::from_secs(1));
        !state.is_closing
    }

    fn end(&self) {
        close(&self.client);
        close(&self.server);
    }
}

/// A response that is being forwarded.
#[derive(Default)]
struct ForwardedResponse {
    record_error: Option<Fault>,
    head: Vec<u8>,
    has_body: bool,
    has_digest: bool,
}

impl ForwardedResponse {
    /// Forwards the bytes. Returns whether the connection stays open.
    fn forward(&mut self, pair: &Pair, bytes: &mut [u8]) -> bool {
        let Some(record_error) = self.record_error else { return pair.send(bytes) };
        match record_error {
            Fault::Garbage => {
                pair.send(b"\0\x01\x02 is not HTTP\r\n\r\n");
                return false;
            }
            Fault::TrickledHead => return pair.trickle(bytes),
            _ => {}
        }
        let mut body = bytes;
        if !self.has_body {
            self.head.extend_from_slice(body);
            let Some(end) = self.head.windows(4).position(|window| window == b"\r\n\r\n") else {
                return true;
            };
            let in_head = end + 4 - (self.head.len() - body.len());
            self.head.truncate(end + 4);
            self.has_body = true;
            let head = String::from_utf8_lossy(&self.head).to_lowercase();
            self.has_digest = head.contains("forwardcache-digest:");
            if !pair.send(&self.head) {
                return false;
            }
            if record_error == Fault::ResetAfterHead {
                reset(&pair.client);
                return false;
            }
            body = &mut body[in_head..];
        }
        if body.is_empty() {
            return true;
        }
        let half = body.len() / 2;
        match record_error {
            Fault::ResetInBody => {
                pair.send(&body[..half]);
                reset(&pair.client);
                false
            }
            Fault::CutInBody => {
                pair.send(&body[..half]);
                false
            }
            Fault::TrickledBody => pair.trickle(body),
            Fault::CorruptBody if self.has_digest => {
                body[half] ^= 1;
                self.has_digest = false;
                pair.send(body)
            }
            _ => pair.send(body),
        }
    }
}
