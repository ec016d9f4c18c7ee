use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver};
use std::time::Duration;

use bytes::Bytes;
use mio::{Events, Poll};
use parking_lot::Mutex;

use super::set::{FIRST, MAX_TIME, Upstreams};
use crate::base::cancellation::Cancellation;
use crate::message::nonblocking::{Ask, Job, Lane, RunMode};
use crate::server::ServerConfig;
use crate::server::event::context::ThreadContext;

const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nhost: a\r\n\r\n";

/// Sockets, and what was received from them.
type HandedOver = Arc<Mutex<Vec<(TcpStream, Vec<u8>)>>>;

/// A thread's connections, and what the asks of a test result in.
struct Fixture {
    poll: Poll,
    context: ThreadContext,
    upstreams: Upstreams,
    listener: TcpListener,
    modes: Receiver<RunMode>,
    sender: mpsc::Sender<RunMode>,
    accepted: Arc<Mutex<Vec<Bytes>>>,
    handed_over: HandedOver,
}

impl Fixture {
    fn new() -> Self {
        let poll = Poll::new().unwrap();
        let (context, _messages) = ThreadContext::for_test(&poll, ServerConfig::new());
        let (sender, modes) = mpsc::channel();
        Self {
            poll,
            context,
            upstreams: Upstreams::default(),
            listener: TcpListener::bind("127.0.0.1:0").unwrap(),
            modes,
            sender,
            accepted: Arc::default(),
            handed_over: Arc::default(),
        }
    }

    /// Starts a job whose request goes to this address.
    fn ask(&mut self, address: SocketAddr) -> Cancellation {
        let (modes, cancellation) = (self.sender.clone(), Cancellation::new());
        let mut job = Job::new(Lane::Own, cancellation.clone(), move |mode| modes.send(mode).unwrap());
        let (accepted, handed_over) = (Arc::clone(&self.accepted), Arc::clone(&self.handed_over));
        job.ask = Some(Box::new(Ask {
            address,
            bytes: REQUEST.into(),
            accept: Some(Box::new(move |response| {
                accepted.lock().push(response.body().as_bytes().unwrap().clone());
                response.status().is_success()
            })),
            hand_over: Box::new(move |socket, received| handed_over.lock().push((socket, received))),
        }));
        self.context.submit(job, None);
        self.upstreams.start(self.poll.registry(), &mut self.context);
        cancellation
    }

    fn address(&self) -> SocketAddr {
        self.listener.local_addr().unwrap()
    }

    /// Handles events until the job runs, and returns its mode.
    fn mode(&mut self) -> RunMode {
        let mut events = Events::with_capacity(16);
        loop {
            if let Ok(mode) = self.modes.recv_timeout(Duration::from_millis(1)) {
                return mode;
            }
            self.turn(&mut events);
        }
    }

    fn turn(&mut self, events: &mut Events) {
        self.poll.poll(events, Some(Duration::from_millis(10))).unwrap();
        for event in events.iter().filter(|event| event.token().0 >= FIRST) {
            self.upstreams.set_ready(event, self.poll.registry(), &mut self.context);
        }
    }

    /// Accepts a connection and reads the request.
    fn accept(&self) -> TcpStream {
        let (mut peer, _) = self.listener.accept().unwrap();
        read_request(&mut peer);
        peer
    }
}

fn read_request(peer: &mut TcpStream) {
    let mut request = [0; REQUEST.len()];
    peer.read_exact(&mut request).unwrap();
    assert_eq!(request, REQUEST);
}

#[test]
fn short_response_is_accepted_without_a_thread_and_its_connection_is_used_again() {
    let mut fixture = Fixture::new();
    fixture.ask(fixture.address());
    let mut peer = fixture.accept();
    peer.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhe").unwrap();
    fixture.turn(&mut Events::with_capacity(16));
    assert!(fixture.accepted.lock().is_empty());
    peer.write_all(b"llo").unwrap();
    assert_eq!(fixture.mode(), RunMode::Caller);
    fixture.ask(fixture.address());
    read_request(&mut peer);
    peer.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\na").unwrap();
    assert_eq!(fixture.mode(), RunMode::Caller);
    assert_eq!(*fixture.accepted.lock(), ["hello", "a"]);
    // The peer closes the idle connection.
    drop(peer);
    while !fixture.upstreams.is_empty() {
        fixture.turn(&mut Events::with_capacity(16));
    }
    fixture.ask(fixture.address());
    let mut peer = fixture.accept();
    peer.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 1\r\nconnection: close\r\n\r\nb").unwrap();
    assert_eq!(fixture.mode(), RunMode::Caller);
    assert!(fixture.upstreams.is_empty() && fixture.handed_over.lock().is_empty());
}

#[test]
fn long_or_refused_response_is_left_to_a_thread_with_its_connection() {
    for head in
        ["HTTP/1.1 200 OK\r\ncontent-length: 70000\r\n\r\n", "HTTP/1.1 503 A\r\ncontent-length: 0\r\n\r\n"]
    {
        let mut fixture = Fixture::new();
        fixture.ask(fixture.address());
        let mut peer = fixture.accept();
        peer.write_all(head.as_bytes()).unwrap();
        assert_eq!(fixture.mode(), RunMode::Worker);
        let (mut socket, received) = fixture.handed_over.lock().pop().unwrap();
        assert_eq!(received, head.as_bytes());
        peer.write_all(b"rest").unwrap();
        let mut rest = [0; 4];
        socket.read_exact(&mut rest).unwrap();
        assert_eq!(&rest, b"rest");
        assert!(fixture.upstreams.is_empty());
        // The request for a long response does not come here again.
        fixture.ask(fixture.address());
        assert_eq!(fixture.upstreams.is_empty(), head.contains("200"));
    }
}

#[test]
fn late_response_is_left_to_a_thread_unless_the_client_has_left() {
    let mut fixture = Fixture::new();
    fixture.ask(fixture.address());
    let _peer = fixture.accept();
    let left = fixture.ask(fixture.address());
    let _other = fixture.accept();
    left.cancel();
    fixture.upstreams.check_late(fixture.poll.registry(), &fixture.context);
    assert!(fixture.handed_over.lock().is_empty());
    assert_eq!(fixture.upstreams.next_look(), Some(fixture.context.now + MAX_TIME));
    fixture.context.now += MAX_TIME;
    fixture.upstreams.check_late(fixture.poll.registry(), &fixture.context);
    assert_eq!(fixture.mode(), RunMode::Worker);
    assert_eq!(fixture.handed_over.lock().len(), 1);
    assert!(fixture.upstreams.is_empty() && fixture.upstreams.next_look().is_none());
}

#[test]
fn failed_connection_is_left_to_a_thread_that_asks_again() {
    let mut fixture = Fixture::new();
    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    fixture.ask(closed);
    assert_eq!(fixture.mode(), RunMode::Worker);
    fixture.ask(fixture.address());
    drop(fixture.accept());
    assert_eq!(fixture.mode(), RunMode::Worker);
    assert!(fixture.handed_over.lock().is_empty() && fixture.upstreams.is_empty());
}
