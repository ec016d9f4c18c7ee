//! One tunnel: both directions, the check of its first bytes, and its deadlines.

use std::io;
use std::net::SocketAddr;
use std::time::Instant;

use mio::{Interest, Registry, Token};

use super::flow::{End, Flow, MAX_READ, Moved};
use crate::base::memory_limit::{Hold, MemoryUse};
use crate::metrics::TunnelRefusal;
use crate::scheduler::ClientAddress;
use crate::server::access_log::Pending;
use crate::server::client_hello::{Hello, MAX_HELLO, read_hello};
use crate::server::event::admission::ConnectionPermit;
use crate::server::event::budget::Budget;
use crate::server::event::context::ThreadContext;
use crate::server::event::next::Next;
use crate::server::event::transport::Transport;
use crate::server::event::tunnel_limits::TunnelPermit;
use crate::server::tunnel_to::Destination;

/// A connection whose CONNECT request was answered with 200.
pub(in crate::server::event) struct Opened {
    pub(in crate::server::event) client: Transport,
    /// Bytes that followed the request.
    pub(in crate::server::event) input: Vec<u8>,
    pub(in crate::server::event) is_read_closed: bool,
    pub(in crate::server::event) remote: SocketAddr,
    pub(in crate::server::event) connection: ConnectionPermit,
    pub(in crate::server::event) permit: TunnelPermit,
    pub(in crate::server::event) destination: Destination,
    pub(in crate::server::event) pending: Pending<'static>,
}

/// An open tunnel.
pub(in crate::server::event) struct Tunnel {
    client: End,
    origin: End,
    to_origin: Flow,
    to_client: Flow,
    /// The first bytes of the client, until they are known to be a ClientHello for the host.
    hello: Option<Vec<u8>>,
    host: Box<str>,
    remote: SocketAddr,
    pending: Pending<'static>,
    /// When bytes were moved last.
    active: Instant,
    budget: Budget,
    held: Option<Hold>,
    pub(super) is_queued: bool,
    _connection: ConnectionPermit,
    _permit: TunnelPermit,
}

impl Tunnel {
    pub(in crate::server::event) fn new(opened: Opened, now: Instant) -> io::Result<Self> {
        let Opened { client, input, is_read_closed, remote, connection, mut permit, destination, pending } =
            opened;
        destination.socket.set_nonblocking(true)?;
        let origin = Transport::plain(mio::net::TcpStream::from_std(destination.socket));
        permit.open();
        let mut client = End::new(client);
        client.is_read_closed = is_read_closed;
        Ok(Self {
            client,
            origin: End::new(origin),
            to_origin: Flow::default(),
            to_client: Flow::default(),
            hello: Some(input),
            host: destination.host,
            remote,
            pending,
            active: now,
            budget: Budget::default(),
            held: None,
            is_queued: false,
            _connection: connection,
            _permit: permit,
        })
    }

    /// Registers both sockets for events. The client's socket is registered already.
    pub(super) fn register(&mut self, registry: &Registry, client: Token, origin: Token) -> io::Result<()> {
        let interest = Interest::READABLE | Interest::WRITABLE;
        registry.reregister(self.client.transport.socket(), client, interest)?;
        registry.register(self.origin.transport.socket(), origin, interest)
    }

    /// Returns the client of the tunnel.
    pub(super) fn client(&self) -> ClientAddress {
        ClientAddress::of(self.remote.ip())
    }

    /// Records the events that the system reports for a socket.
    pub(super) fn set_ready(&mut self, is_client: bool, event: &mio::event::Event) {
        let end = if is_client { &mut self.client } else { &mut self.origin };
        let is_closed = event.is_read_closed() || event.is_error();
        end.may_read |= event.is_readable() || is_closed;
        end.is_read_closed |= is_closed;
        // A write to a closed socket reports the error.
        end.is_blocked &= !(event.is_writable() || event.is_write_closed() || event.is_error());
    }

    /// Moves bytes in both directions until both ends must wait or the budget of this turn is used up. Returns the next
    /// action, and the number of bytes of the budget that were used.
    pub(super) fn advance(&mut self, context: &mut ThreadContext) -> (Next, usize) {
        let mut budget = self.budget.for_turn(context.turn_number);
        let before = (self.to_origin.sent, self.to_client.sent, budget.bytes());
        let moved = self.check_hello(context, &mut budget).and_then(|moved| match moved {
            None => self.relay(context, &mut budget),
            Some(moved) => Ok(moved),
        });
        self.budget = budget;
        if (self.to_origin.sent, self.to_client.sent) != (before.0, before.1) {
            self.active = context.now;
        }
        context.stats.count_tunnelled(self.to_origin.sent - before.0, self.to_client.sent - before.1);
        self.update_ledger(context);
        let next = match moved {
            Ok(_) if self.to_origin.is_finished() && self.to_client.is_finished() => Next::Close,
            Ok(Moved::All) => Next::Wait,
            Ok(Moved::Some) => Next::Again,
            Err(error) => {
                log::debug!("a tunnel ended: {error}");
                self.abort();
                Next::Close
            }
        };
        (next, before.2 - budget.bytes().min(before.2))
    }

    fn relay(&mut self, context: &mut ThreadContext, budget: &mut Budget) -> io::Result<Moved> {
        let buffer = &mut context.input[..MAX_READ];
        let Self { client, origin, to_origin, to_client, .. } = self;
        let up = to_origin.relay(client, origin, buffer, budget, context.now)?;
        let down = to_client.relay(origin, client, buffer, budget, context.now)?;
        Ok(if up == Moved::Some || down == Moved::Some { Moved::Some } else { Moved::All })
    }

    /// Checks the first bytes of the client. Returns `None` once they are complete. Until then nothing is sent in either
    /// direction.
    fn check_hello(&mut self, context: &mut ThreadContext, budget: &mut Budget) -> io::Result<Option<Moved>> {
        let Some(hello) = &mut self.hello else { return Ok(None) };
        while budget.take_step() {
            let refusal = match read_hello(hello) {
                Hello::Complete { server_name } if is_host(server_name.as_deref(), &self.host) => {
                    self.to_origin.queue(std::mem::take(hello));
                    self.hello = None;
                    return Ok(None);
                }
                Hello::Complete { .. } => TunnelRefusal::WrongName,
                Hello::Incomplete if hello.len() < MAX_HELLO => {
                    let max = MAX_HELLO - hello.len();
                    match self.client.read(&mut context.input[..max])? {
                        None if self.client.may_read => continue,
                        None => return Ok(Some(Moved::All)),
                        Some(0) => TunnelRefusal::NotTls,
                        Some(count) => {
                            budget.charge(count);
                            hello.extend_from_slice(&context.input[..count]);
                            continue;
                        }
                    }
                }
                Hello::Incomplete | Hello::Invalid => TunnelRefusal::NotTls,
            };
            context.stats.count_tunnel_refusal(refusal);
            return Err(io::Error::other(refusal.reason()));
        }
        Ok(Some(Moved::Some))
    }

    /// Enforces the deadlines.
    pub(super) fn check_deadlines(&mut self, context: &ThreadContext) -> Next {
        let limit = if self.hello.is_some() {
            context.options.handshake_timeout
        } else {
            context.options.tunnel_idle_timeout
        };
        if context.now.saturating_duration_since(self.active) < limit {
            return Next::Wait;
        }
        if self.hello.is_some() {
            context.stats.count_tunnel_refusal(TunnelRefusal::NotTls);
        }
        Next::Close
    }

    /// Updates the ledger with the memory that only this tunnel uses.
    fn update_ledger(&mut self, context: &ThreadContext) {
        let hello = self.hello.as_ref().map_or(0, Vec::len);
        let bytes = self.buffered() + hello;
        match &mut self.held {
            _ if bytes == 0 => self.held = None,
            Some(held) => held.set(bytes as u64),
            None => self.held = Some(context.ledger.hold(MemoryUse::Connections, bytes as u64)),
        }
    }

    fn buffered(&self) -> usize {
        self.to_origin.pending() + self.to_client.pending() + self.client.transport.buffered()
    }

    /// Returns how much closing this tunnel would relieve memory: the waiting bytes, times the milliseconds for which they
    /// have waited.
    pub(super) fn cut_off_priority(&self, now: Instant) -> Option<u128> {
        let since = self.to_origin.blocked_since.into_iter().chain(self.to_client.blocked_since).min()?;
        Some(self.buffered() as u128 * now.saturating_duration_since(since).as_millis().max(1))
    }

    /// Makes both ends see a reset, which they cannot take for a complete transfer.
    pub(super) fn abort(&mut self) {
        self.client.transport.abort();
        self.origin.transport.abort();
    }

    /// Logs the end of the tunnel.
    pub(super) fn dispose(mut self, context: &ThreadContext) {
        let is_complete = self.to_origin.is_finished() && self.to_client.is_finished();
        self.pending.bytes = self.to_client.sent;
        context.log(&self.pending, self.remote, is_complete);
    }
}

/// Returns whether a client that names this server, or none, connects to the host.
fn is_host(server_name: Option<&str>, host: &str) -> bool {
    server_name.is_none_or(|name| name.eq_ignore_ascii_case(host.trim_end_matches('.')))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_must_be_the_host() {
        for (name, host, expected) in [
            (None, "example.com", true),
            (Some("example.com"), "example.com", true),
            (Some("EXAMPLE.com"), "example.com", true),
            (Some("example.com"), "example.com.", true),
            (Some("www.example.com"), "example.com", false),
            (Some("example.com"), "192.0.2.1", false),
            (Some("example.com."), "example.com", false),
        ] {
            assert_eq!(is_host(name, host), expected, "{name:?} {host}");
        }
    }
}
