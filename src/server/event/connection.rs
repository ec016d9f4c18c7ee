//! One connection: it reads requests, passes them on and sends the responses, in order.
//!
//! ```text
//!          head                      body                    response            written
//! (none) ────────▶ receiving ──────────────────▶ Waiting ────────────▶ Sending ──────────▶ (none), or closing
//!          │  hit                                   │  ▲
//!          └──────────────▶ written at once         └──┘
//! ```
//!
//! Nothing here blocks. [`Connection::advance`] continues until the socket has no input, accepts no output,
//! or the connection waits for another thread. The connection reads no more than it can process: a pipelined
//! request stays in the socket until the previous request is complete.

mod content;
mod deadlines;
mod proxy_header;
mod reading;
mod rejections;
mod response;

use std::io;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use self::response::PIECE;
use super::admission::ConnectionPermit;
use super::budget::Budget;
use super::context::ThreadContext;
use super::exchange::{Exchange, Reply};
use super::inbox::ExchangeId;
use super::input::Input;
use super::next::Next;
use super::outbound::{Flushed, Outbound};
use super::transfer_rate::TransferRate;
use super::transport::Transport;
use super::tunnel::Opened;
use super::tunnel_limits::TunnelPermit;
use crate::base::memory_limit::{Hold, MemoryUse};
use crate::scheduler::ClientAddress;
use crate::server::access_log::Pending;
use crate::server::tunnel_to::Destination;

/// Limits for reading from a client after the response on a closing connection. If the server closed the
/// socket while the client is still sending, the client's system could discard the response before the client
/// reads it (RFC 9112 section 9.6).
const LINGERING: Duration = Duration::from_secs(1);
const LINGERING_BYTES: usize = 64 << 10;

/// The client of a connection.
#[derive(Debug)]
pub(super) struct ClientState {
    pub(super) remote: SocketAddr,
    pub(super) permit: ConnectionPermit,
    /// Whether a header of the PROXY protocol, which names the client, has not been read yet.
    pub(super) has_proxy_header: bool,
}

/// The state of one connection.
pub(super) struct Connection {
    transport: Transport,
    remote: SocketAddr,
    /// See [`ClientState`].
    has_proxy_header: bool,
    number: usize,
    input: Input,
    outbound: Outbound,
    exchange: Option<Box<Exchange>>,
    /// A hit that is only partly written.
    partial_hit: Option<Box<Pending<'static>>>,
    /// Where the tunnel leads that this connection becomes once all output is written.
    tunnel: Option<(Destination, TunnelPermit)>,
    /// Whether the last complete head is a HEAD request, so that an error response has no body.
    is_head_request: bool,
    /// Whether it is in a queue of the I/O thread.
    pub(super) is_queued: bool,
    /// Its budget in the current turn of the loop.
    budget: Budget,
    /// Whether the socket may have input.
    may_read: bool,
    /// Whether the client has closed its sending side. The system reports this once, together with the last
    /// bytes.
    is_read_closed: bool,
    /// Whether the socket accepts no output for now.
    is_blocked: bool,
    /// Time since when output has been waiting for the socket.
    blocked_since: Option<Instant>,
    /// The ledger entry for the memory that only this connection uses.
    held: Option<Hold>,
    closing: Closing,
    /// The time when the connection last became idle, or was accepted.
    idle_since: Instant,
    /// The time of the first byte of an incomplete head.
    head_since: Option<Instant>,
    reading: TransferRate,
    writing: TransferRate,
    permit: ConnectionPermit,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Closing {
    No,
    /// The connection closes once all output is written; the client may still be sending.
    Written,
    Lingering {
        until: Instant,
        left: usize,
    },
}

impl Connection {
    pub(super) fn new(transport: Transport, client: ClientState, number: usize, now: Instant) -> Self {
        let ClientState { remote, permit, has_proxy_header } = client;
        Self {
            transport,
            remote,
            has_proxy_header,
            number,
            input: Input::default(),
            outbound: Outbound::default(),
            exchange: None,
            partial_hit: None,
            tunnel: None,
            is_head_request: false,
            is_queued: false,
            budget: Budget::default(),
            may_read: true,
            is_read_closed: false,
            is_blocked: false,
            blocked_since: None,
            held: None,
            closing: Closing::No,
            idle_since: now,
            head_since: None,
            reading: TransferRate::default(),
            writing: TransferRate::default(),
            permit,
        }
    }

    /// Records the events that the system reports for the socket.
    pub(super) fn set_ready(&mut self, to_read: bool, is_read_closed: bool, to_write: bool) {
        self.may_read |= to_read || is_read_closed;
        self.is_read_closed |= is_read_closed;
        self.is_blocked &= !to_write;
    }

    /// Continues until the connection must wait or its budget for this turn is used up.
    pub(super) fn advance(&mut self, context: &mut ThreadContext) -> Next {
        context.budget = self.budget.for_turn(context.turn_number);
        let mut next = Next::Again;
        while next == Next::Again && context.budget.take_step() {
            next = self.step(context);
        }
        self.budget = context.budget;
        self.update_ledger(context);
        next
    }

    /// Returns the client of this connection.
    pub(super) fn client(&self) -> ClientAddress {
        ClientAddress::of(self.remote.ip())
    }

    /// Returns the number of bytes that may still be transferred in this turn of the loop.
    pub(super) fn remaining_bytes(&self, context: &ThreadContext) -> usize {
        self.budget.for_turn(context.turn_number).bytes()
    }

    /// Returns whether the TLS handshake is not complete.
    pub(super) fn is_handshaking(&self) -> bool {
        self.transport.is_handshaking()
    }

    /// Returns whether a response is only partly sent. Such connections get their turn after the others.
    pub(super) fn is_bulk(&self) -> bool {
        !self.outbound.is_empty()
            || self.exchange.as_ref().is_some_and(|exchange| matches!(exchange.reply, Reply::Sending(_)))
    }

    /// Updates the ledger with the memory that only this connection uses.
    fn update_ledger(&mut self, context: &ThreadContext) {
        let private_bytes =
            (self.input.bytes().len() + self.outbound.private_bytes() + self.transport.buffered()) as u64;
        match &mut self.held {
            _ if private_bytes == 0 => self.held = None,
            Some(held) if held.bytes() == private_bytes => {}
            Some(held) => held.set(private_bytes),
            None => self.held = Some(context.ledger.hold(MemoryUse::Connections, private_bytes)),
        }
    }

    /// Returns how much closing this connection would relieve memory, if its client does not read: the
    /// waiting bytes, times the milliseconds for which they have waited.
    pub(super) fn cut_off_priority(&self, now: Instant) -> Option<u128> {
        let since = self.blocked_since.filter(|_| self.is_blocked)?;
        let bytes = self.outbound.length() + self.transport.buffered();
        Some(bytes as u128 * now.saturating_duration_since(since).as_millis().max(1))
    }

    /// Closes the connection to free memory for others.
    pub(super) fn cut_off(&mut self) {
        log::warn!(
            "the memory limit is reached: closing the connection of {}, which reads too slowly",
            self.remote
        );
        self.transport.abort();
    }

    /// Does the next piece of work, if there is one.
    fn step(&mut self, context: &mut ThreadContext) -> Next {
        if self.has_proxy_header {
            return self.read_proxy_header(context);
        }
        // A client that has closed its sending side while it waits for a response has left; nginx interprets
        // FIN in the same way.
        if self.is_read_closed
            && self.exchange.as_ref().is_some_and(|exchange| exchange.is_response_pending())
        {
            log::debug!("a client left before its response was complete");
            return Next::Close;
        }
        if self.is_blocked {
            // The client may read its response only after it has sent its body, so keep receiving to avoid a
            // deadlock.
            let is_sending = |exchange: &Exchange| matches!(exchange.reply, Reply::Sending(_));
            let accepts_body = self.exchange.as_deref().is_some_and(is_sending);
            return if accepts_body { self.receive_body(context) } else { Next::Wait };
        }
        // What is at hand is written together, head and body.
        let is_sending = |exchange: &Exchange| matches!(exchange.reply, Reply::Sending(_));
        if self.outbound.length() + PIECE <= context.budget.bytes()
            && !self.outbound.is_empty()
            && self.exchange.as_deref().is_some_and(is_sending)
        {
            match self.send_more(context) {
                Next::Wait => {}
                next => return next,
            }
        }
        if !self.outbound.is_empty() || self.transport.wants_write() || self.closing == Closing::Written {
            return self.flush(context);
        }
        if self.tunnel.is_some() {
            return Next::Tunnel;
        }
        if let Closing::Lingering { left, .. } = &mut self.closing {
            return match self.transport.read(&mut context.input) {
                Ok(read) if read.count > 0 && read.count < *left => {
                    *left -= read.count;
                    Next::Again
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => Next::Wait,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => Next::Again,
                _ => Next::Close,
            };
        }
        let Some(exchange) = &mut self.exchange else {
            let next = self.receive(context);
            if next == Next::Wait && context.closes_idle_connections() && self.is_idle() {
                self.transport.finish();
                return Next::Close;
            }
            return next;
        };
        match &mut exchange.reply {
            Reply::Sending(_) => match self.send_more(context) {
                Next::Wait => self.receive_body(context),
                next => next,
            },
            Reply::Done => self.finish(context),
            Reply::NotDispatched | Reply::Waiting(_) => self.receive_body(context),
        }
    }

    /// Writes queued output.
    fn flush(&mut self, context: &mut ThreadContext) -> Next {
        let (count, flushed) = match self.outbound.flush(&mut self.transport, &mut context.budget) {
            Ok(flushed) => flushed,
            Err(error) => return self.connection_lost(&error),
        };
        self.writing.count(count);
        match flushed {
            Flushed::Some => Next::Again,
            Flushed::All if self.closing == Closing::Written => {
                self.transport.finish();
                self.closing = Closing::Lingering { until: context.now + LINGERING, left: LINGERING_BYTES };
                Next::Again
            }
            Flushed::All => {
                self.writing.stop();
                self.blocked_since = None;
                if let Some(hit) = self.partial_hit.take() {
                    context.finished(&hit, self.remote, true);
                }
                if self.exchange.is_none() {
                    self.idle_since = context.now;
                }
                Next::Again
            }
            Flushed::Blocked => {
                self.is_blocked = true;
                self.blocked_since.get_or_insert(context.now);
                // While the server cannot write, the client is not responsible for the rate of the upload.
                self.reading.stop();
                self.writing.start(context.now);
                Next::Wait
            }
        }
    }

    /// Turns the connection into a tunnel, if its step is [`Next::Tunnel`].
    pub(super) fn into_tunnel(self) -> Option<Opened> {
        let (destination, permit) = self.tunnel?;
        Some(Opened {
            client: self.transport,
            input: self.input.bytes().to_vec(),
            is_read_closed: self.is_read_closed,
            remote: self.remote,
            connection: self.permit,
            permit,
            destination,
            pending: self.exchange?.pending,
        })
    }

    /// Logs that the connection was lost.
    fn connection_lost(&mut self, error: &io::Error) -> Next {
        log::debug!("a connection was lost: {error}");
        Next::Close
    }

    /// Ends an exchange whose response is written.
    fn finish(&mut self, context: &mut ThreadContext) -> Next {
        let Some(exchange) = self.exchange.take() else { return Next::Again };
        self.idle_since = context.now;
        self.reading.stop();
        context.finished(&exchange.pending, self.remote, true);
        if exchange.receiving.is_some() || !exchange.summary.persistent {
            self.closing = Closing::Written;
        }
        Next::Again
    }

    /// Aborts the connection, so that the client cannot take its end for the end of a response.
    fn abort(&mut self) {
        self.transport.abort();
        self.outbound = Outbound::default();
        self.closing = Closing::Lingering { until: self.idle_since, left: 0 };
    }

    /// Returns whether the connection waits for a request of which no byte has arrived.
    pub(super) fn is_idle(&self) -> bool {
        self.exchange.is_none()
            && self.input.is_empty()
            && self.outbound.is_empty()
            && !self.transport.wants_write()
    }

    /// Returns whether all output is written and the server only drains input.
    pub(super) fn is_lingering(&self) -> bool {
        matches!(self.closing, Closing::Lingering { .. })
    }

    /// Releases everything without waiting.
    pub(super) fn dispose(mut self, context: &mut ThreadContext) {
        let mut is_complete = self.outbound.is_empty();
        if let Some(mut hit) = self.partial_hit.take() {
            hit.bytes = hit.bytes.saturating_sub(self.outbound.length() as u64);
            context.finished(&hit, self.remote, false);
        }
        if let Some(mut exchange) = self.exchange.take() {
            let is_written = matches!(exchange.reply, Reply::Done) && is_complete;
            exchange.pending.bytes = exchange.pending.bytes.saturating_sub(self.outbound.length() as u64);
            context.finished(&exchange.pending, self.remote, is_written);
            if let Reply::Sending(sending) = exchange.reply {
                is_complete = false;
                context.release_body(sending.stream, exchange.origin, exchange.client);
            }
        }
        if !is_complete {
            // A response that ends with its connection must not seem complete.
            self.transport.abort();
        }
    }

    fn exchange_id(&self, serial: u64) -> ExchangeId {
        ExchangeId { connection: self.number, exchange: serial }
    }
}
