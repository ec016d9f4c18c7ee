//! The connections of one I/O thread to peers.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use mio::net::TcpStream;
use mio::{Interest, Registry, Token};
use slab::Slab;

use super::connection::{Exchange, Progress, Upstream};
use crate::message::nonblocking::{Ask, Job};
use crate::scheduler::ClientAddress;
use crate::server::event::context::ThreadContext;

/// Tokens from here on belong to connections to peers, up to those of tunnels.
pub(in crate::server::event) const FIRST: usize = 1 << (usize::BITS - 3);

/// Maximum number of exchanges at a time. Further jobs run on threads.
const MAX_EXCHANGES: usize = 256;

/// Maximum number of idle connections to one peer, and how long each is kept.
const MAX_IDLE: usize = 64;
const IDLE_TIME: Duration = Duration::from_secs(20);

/// An exchange that takes longer is left to a thread, which watches the peer while it waits.
pub(super) const MAX_TIME: Duration = Duration::from_millis(100);

/// Number of remembered requests whose response was not short.
const LONG: usize = 256;

/// The connections of one I/O thread to peers.
pub(in crate::server::event) struct Upstreams {
    connections: Slab<Upstream>,
    idle: HashMap<SocketAddr, Vec<usize>>,
    exchanges: usize,
    /// When the oldest exchange is late, at the earliest.
    next_look: Option<Instant>,
    /// Hashes of requests whose last response was not short, each at the place of its lowest bits.
    long: Box<[u64; LONG]>,
}

impl Default for Upstreams {
    fn default() -> Self {
        let (connections, idle) = (Slab::new(), HashMap::new());
        Self { connections, idle, exchanges: 0, next_look: None, long: Box::new([0; LONG]) }
    }
}

impl Upstreams {
    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        self.connections.is_empty() && self.exchanges == 0
    }

    /// Returns when an exchange may be late.
    pub(in crate::server::event) fn next_look(&self) -> Option<Instant> {
        self.next_look
    }

    /// Starts the jobs of this turn whose request the event loop may send.
    pub(in crate::server::event) fn start(&mut self, registry: &Registry, context: &mut ThreadContext) {
        for (mut job, client) in std::mem::take(&mut context.asks) {
            match job.ask.take() {
                Some(ask) if self.exchanges < MAX_EXCHANGES && !self.is_long(&ask) => {
                    self.start_one(job, ask, client, registry, context);
                }
                _ => context.scheduler.submit(job, client),
            }
        }
    }

    fn start_one(
        &mut self,
        job: Job,
        ask: Box<Ask>,
        client: Option<ClientAddress>,
        registry: &Registry,
        context: &mut ThreadContext,
    ) {
        let address = ask.address;
        let Some(number) = self.take_idle(address).or_else(|| self.connect(address, registry, context.now))
        else {
            return context.scheduler.submit(job, client);
        };
        let connection = &mut self.connections[number];
        connection.exchange = Some(Exchange::new(job, ask, client));
        connection.since = context.now;
        self.exchanges += 1;
        self.next_look.get_or_insert(context.now + MAX_TIME);
        self.advance(number, false, registry, context);
    }

    fn take_idle(&mut self, address: SocketAddr) -> Option<usize> {
        self.idle.get_mut(&address)?.pop()
    }

    fn connect(&mut self, address: SocketAddr, registry: &Registry, now: Instant) -> Option<usize> {
        let mut socket = TcpStream::connect(address).ok()?;
        socket.set_nodelay(true).ok()?;
        let entry = self.connections.vacant_entry();
        let number = entry.key();
        let interest = Interest::READABLE | Interest::WRITABLE;
        registry.register(&mut socket, Token(FIRST + number), interest).ok()?;
        entry.insert(Upstream::new(socket, address, now));
        Some(number)
    }

    /// Continues the connection that an event concerns.
    pub(in crate::server::event) fn set_ready(
        &mut self,
        event: &mio::event::Event,
        registry: &Registry,
        context: &mut ThreadContext,
    ) {
        let number = event.token().0 - FIRST;
        let Some(connection) = self.connections.get(number) else { return };
        let was_idle = connection.exchange.is_none();
        let is_closed = event.is_read_closed() || event.is_error();
        let may_read = event.is_readable() || is_closed;
        if !was_idle {
            self.advance(number, may_read, registry, context);
        }
        // An idle connection is closed, or has unsolicited input.
        let is_idle = self.connections.get(number).is_some_and(|connection| connection.exchange.is_none());
        if is_idle && (is_closed || (was_idle && may_read)) {
            self.remove(number);
        }
    }

    fn advance(&mut self, number: usize, may_read: bool, registry: &Registry, context: &mut ThreadContext) {
        let connection = &mut self.connections[number];
        let progress = context.catch_panic(|context| connection.advance(may_read, context));
        if progress == Some(Progress::Waits) {
            return;
        }
        self.exchanges -= 1;
        match progress {
            Some(Progress::Done) => {
                connection.since = context.now;
                let idle = self.idle.entry(connection.address).or_default();
                idle.push(number);
                if idle.len() > MAX_IDLE {
                    self.remove(number);
                }
            }
            Some(Progress::Other { is_long }) => {
                if let Some(exchange) = connection.exchange.as_ref().filter(|_| is_long) {
                    let hash = hash(exchange.request());
                    self.long[place(hash)] = hash;
                }
                self.hand_over(number, true, registry, context);
            }
            Some(Progress::Failed) => self.hand_over(number, false, registry, context),
            _ => self.remove(number),
        }
    }

    /// Leaves an exchange to a thread.
    fn hand_over(&mut self, number: usize, works: bool, registry: &Registry, context: &ThreadContext) {
        let mut connection = self.connections.remove(number);
        let _ = registry.deregister(&mut connection.socket);
        connection.hand_over(works, context);
    }

    /// Leaves late exchanges to threads.
    pub(in crate::server::event) fn check_late(&mut self, registry: &Registry, context: &ThreadContext) {
        if self.next_look.is_none_or(|at| at > context.now) {
            return;
        }
        let begun = |connection: &Upstream| connection.exchange.is_some().then_some(connection.since);
        let late: Vec<usize> = self
            .connections
            .iter()
            .filter(|(_, connection)| begun(connection).is_some_and(|since| since + MAX_TIME <= context.now))
            .map(|(number, _)| number)
            .collect();
        for number in late {
            self.exchanges -= 1;
            self.hand_over(number, true, registry, context);
        }
        let oldest = self.connections.iter().filter_map(|(_, connection)| begun(connection)).min();
        self.next_look = oldest.map(|since| since + MAX_TIME);
    }

    /// Closes connections that have been idle for long.
    pub(in crate::server::event) fn close_idle(&mut self, now: Instant) {
        let is_old = |connection: &Upstream| {
            connection.exchange.is_none() && now.saturating_duration_since(connection.since) >= IDLE_TIME
        };
        let old: Vec<usize> =
            self.connections.iter().filter(|(_, one)| is_old(one)).map(|(number, _)| number).collect();
        old.into_iter().for_each(|number| self.remove(number));
    }

    fn remove(&mut self, number: usize) {
        let connection = self.connections.remove(number);
        if let Some(idle) = self.idle.get_mut(&connection.address) {
            idle.retain(|other| *other != number);
            if idle.is_empty() {
                self.idle.remove(&connection.address);
            }
        }
    }

    /// Returns whether the last response to this request was not short.
    fn is_long(&self, ask: &Ask) -> bool {
        let hash = hash(&ask.bytes);
        self.long[place(hash)] == hash
    }
}

fn hash(request: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    request.hash(&mut hasher);
    hasher.finish()
}

#[allow(clippy::cast_possible_truncation, reason = "some bits of a hash")]
fn place(hash: u64) -> usize {
    hash as usize % LONG
}
