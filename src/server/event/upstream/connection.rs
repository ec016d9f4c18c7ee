//! One connection to a peer, and the exchange on it.

use std::io::{self, Read, Write};
use std::net::SocketAddr;
use std::time::Instant;

use http::Response;
use mio::net::TcpStream;

use crate::base::memory_limit::{Hold, MemoryUse};
use crate::message::body::Body;
use crate::message::nonblocking::{Ask, Job, RunMode};
use crate::origin::{Arrived, ResponseReader};
use crate::scheduler::ClientAddress;
use crate::server::event::context::ThreadContext;

/// A connection to a peer.
pub(super) struct Upstream {
    pub(super) socket: TcpStream,
    pub(super) address: SocketAddr,
    /// When the exchange began, or when the connection became idle.
    pub(super) since: Instant,
    pub(super) exchange: Option<Exchange>,
}

/// A job, and the request that may replace it.
pub(super) struct Exchange {
    job: Job,
    /// The client to which the job is charged.
    client: Option<ClientAddress>,
    ask: Box<Ask>,
    sent: usize,
    received: Vec<u8>,
    reader: ResponseReader,
    /// The memory of an incomplete response.
    held: Option<Hold>,
}

/// The progress of an exchange.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Progress {
    /// It waits for the socket.
    Waits,
    /// The request is settled; the connection is idle.
    Done,
    /// The request is settled; the connection cannot be used again.
    DoneAndClosed,
    /// A thread has to read the response, because it is not short, or because it has to be interpreted.
    Other { is_long: bool },
    /// The connection failed.
    Failed,
}

impl Exchange {
    pub(super) fn new(job: Job, ask: Box<Ask>, client: Option<ClientAddress>) -> Self {
        let (received, reader) = (Vec::new(), ResponseReader::default());
        Self { job, client, ask, sent: 0, received, reader, held: None }
    }

    /// Returns the bytes of the request, which identify it.
    pub(super) fn request(&self) -> &[u8] {
        &self.ask.bytes
    }

    /// Returns whether the whole request was sent.
    fn is_sent(&self) -> bool {
        self.sent == self.ask.bytes.len()
    }
}

impl Upstream {
    pub(super) fn new(socket: TcpStream, address: SocketAddr, now: Instant) -> Self {
        Self { socket, address, since: now, exchange: None }
    }

    /// Sends the rest of the request, and reads what has arrived of the response.
    pub(super) fn advance(&mut self, may_read: bool, context: &mut ThreadContext) -> Progress {
        let Some(exchange) = &mut self.exchange else { return Progress::Failed };
        while !exchange.is_sent() {
            match self.socket.write(&exchange.ask.bytes[exchange.sent..]) {
                Ok(0) => return Progress::Failed,
                Ok(count) => exchange.sent += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if is_not_ready(&error) => break,
                Err(_) => return Progress::Failed,
            }
        }
        let mut is_drained = false;
        while may_read && !is_drained {
            match self.socket.read(&mut context.input) {
                Ok(0) => return Progress::Failed,
                Ok(count) => {
                    is_drained = count < context.input.len();
                    exchange.received.extend_from_slice(&context.input[..count]);
                    match exchange.reader.read(&exchange.received) {
                        Arrived::Partly => {}
                        Arrived::Other => return Progress::Other { is_long: true },
                        Arrived::Whole { response, is_reusable } => {
                            return self.settle(response, is_reusable);
                        }
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if is_not_ready(&error) => is_drained = true,
                Err(_) => return Progress::Failed,
            }
        }
        let received = exchange.received.len() as u64;
        exchange.held = (received > 0).then(|| context.ledger.hold(MemoryUse::Fetches, received));
        Progress::Waits
    }

    /// Ends the exchange with its complete response.
    fn settle(&mut self, response: Response<Body>, is_reusable: bool) -> Progress {
        let Some(mut exchange) = self.exchange.take() else { return Progress::Failed };
        let accept = exchange.ask.accept.take();
        if !exchange.is_sent() || !accept.is_some_and(|accept| accept(response)) {
            self.exchange = Some(exchange);
            return Progress::Other { is_long: false };
        }
        // The job finds the response and does not wait.
        exchange.job.take(RunMode::Caller);
        if is_reusable { Progress::Done } else { Progress::DoneAndClosed }
    }

    /// Submits the job of the exchange to the threads. The job continues on this connection, if the connection works and
    /// the request was sent.
    pub(super) fn hand_over(self, works: bool, context: &ThreadContext) {
        let Some(exchange) = self.exchange else { return };
        // The client has left.
        if exchange.job.cancellation.is_cancelled() {
            return;
        }
        if works && exchange.is_sent() {
            let socket = std::net::TcpStream::from(self.socket);
            if socket.set_nonblocking(false).is_ok() {
                (exchange.ask.hand_over)(socket, exchange.received);
            }
        }
        context.scheduler.submit(exchange.job, exchange.client);
    }
}

/// Returns whether the socket is not connected yet or has nothing to read or no room.
fn is_not_ready(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::NotConnected)
}
