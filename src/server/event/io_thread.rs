//! An I/O thread: an event loop over the sockets of many connections. It never blocks on anything else.

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use mio::{Events, Interest, Poll, Token};
use slab::Slab;

use super::acceptor::{Acceptor, LISTENERS};
use super::budget::MAX_BYTES;
use super::connection::{ClientState, Connection};
use super::context::ThreadContext;
use super::inbox::{Accepted, InboxReceiver, Message, WAKER};
use super::next::Next;
use super::round_robin::RoundRobin;
use super::transport::Transport;
use super::tunnel::{self, Tunnels};
use super::upstream::{self, Upstreams};
use crate::server::server_handle::Lifetime;

/// Tokens from here on belong to connections.
const FIRST: usize = 2;

/// Number of immediately served connections for which one TLS handshake may continue; at least one handshake
/// continues in each turn. A handshake takes about as long as that many hits.
const HITS_PER_HANDSHAKE: usize = 32;

/// Bytes of large responses to transfer for each immediately served connection, in addition to the budget of
/// one connection. Transferring them takes about as long as a hit.
const BULK_BYTES_PER_HIT: usize = 8 << 10;

/// Maximum number of slow clients to disconnect at a time.
const MAX_CUT_OFFS: usize = 4;

/// How long idle connections stay open after another process has taken over the sockets. A client that sends a
/// request meanwhile gets a response, with `Connection: close`.
const IDLE_GRACE: Duration = Duration::from_secs(1);

/// The state of an I/O thread.
pub(super) struct IoThread {
    poll: Poll,
    messages: InboxReceiver,
    acceptor: Option<Acceptor>,
    connections: Slab<Connection>,
    tunnels: Tunnels,
    upstreams: Upstreams,
    /// Connections with more work than their budget, or with a partly sent response.
    bulk: RoundRobin,
    /// Connections in a TLS handshake.
    handshakes: RoundRobin,
    context: ThreadContext,
    lifetime: Arc<Lifetime>,
    check_interval: Duration,
    next_check: Instant,
    /// Whether the memory limit was exceeded at the last check.
    was_over_limit: bool,
    /// See [`Ledger::refused_fetches`](crate::base::memory_limit::Ledger).
    refused_fetches: u64,
}

impl IoThread {
    pub(super) fn new(
        poll: Poll,
        messages: InboxReceiver,
        acceptor: Option<Acceptor>,
        context: ThreadContext,
        lifetime: Arc<Lifetime>,
    ) -> io::Result<Self> {
        let check_interval = context.check_interval();
        let mut thread = Self {
            poll,
            messages,
            acceptor,
            connections: Slab::new(),
            tunnels: Tunnels::default(),
            upstreams: Upstreams::default(),
            bulk: RoundRobin::default(),
            handshakes: RoundRobin::default(),
            context,
            lifetime,
            check_interval,
            next_check: Instant::now(),
            was_over_limit: false,
            refused_fetches: 0,
        };
        if let Some(acceptor) = &mut thread.acceptor {
            acceptor.register(thread.poll.registry())?;
        }
        Ok(thread)
    }

    /// Serves connections until the server has shut down and every connection has ended.
    pub(super) fn run(mut self) {
        let mut events = Events::with_capacity(1024);
        self.next_check = Instant::now() + self.check_interval;
        while self.run_turn(&mut events) {}
    }

    /// Runs one turn of the loop. Returns whether another turn follows.
    fn run_turn(&mut self, events: &mut Events) -> bool {
        let timeout = self.timeout();
        if let Err(error) = self.poll.poll(events, timeout)
            && error.kind() != io::ErrorKind::Interrupted
        {
            log::error!("an I/O thread of the server cannot poll its sockets: {error}");
            return false;
        }
        self.context.now = Instant::now();
        self.context.turn_number += 1;
        let mut served = 0;
        // Accept new connections last: they may reuse the numbers of connections that end in this turn, and
        // events of the old ones must not be applied to them.
        let (mut has_messages, mut has_arrivals) = (false, false);
        for event in &*events {
            match event.token() {
                WAKER => has_messages = true,
                LISTENERS => has_arrivals = true,
                Token(token) if token >= tunnel::FIRST => self.tunnels.set_ready(event),
                Token(token) if token >= upstream::FIRST => {
                    has_messages = true;
                    self.context.inbox.suppress_wakeups();
                    self.upstreams.set_ready(event, self.poll.registry(), &mut self.context);
                }
                Token(token) => {
                    let number = token - FIRST;
                    let Some(connection) = self.connections.get_mut(number) else { continue };
                    // The client can no longer read. If both sides have finished, the response may still be
                    // on its way.
                    if event.is_write_closed() && !connection.is_lingering() {
                        self.remove(number);
                        continue;
                    }
                    let is_read_closed = event.is_read_closed() || event.is_error();
                    connection.set_ready(event.is_readable(), is_read_closed, event.is_writable());
                    served += usize::from(self.advance_or_queue(number));
                }
            }
        }
        if has_messages {
            self.read_messages();
        }
        let mut bulk_bytes = MAX_BYTES + served * BULK_BYTES_PER_HIT;
        for _ in 0..self.bulk.len() {
            if bulk_bytes == 0 {
                break;
            }
            let Some(number) = self.bulk.pop() else { break };
            bulk_bytes = bulk_bytes.saturating_sub(self.advance_queued(number));
        }
        self.tunnels.advance(&mut self.context, MAX_BYTES + served * BULK_BYTES_PER_HIT);
        let retry_at = self.acceptor.as_ref().and_then(|acceptor| acceptor.retry_at);
        if has_arrivals || retry_at.is_some_and(|at| at <= self.context.now) {
            self.accept();
        }
        for _ in 0..=served / HITS_PER_HANDSHAKE {
            let Some(number) = self.handshakes.pop() else { break };
            self.advance_queued(number);
        }
        self.upstreams.start(self.poll.registry(), &mut self.context);
        self.upstreams.check_late(self.poll.registry(), &self.context);
        if self.context.now >= self.next_check {
            self.next_check = self.context.now + self.check_interval;
            self.check_deadlines();
        }
        let is_done = self.connections.is_empty() && self.tunnels.is_empty();
        !(self.context.is_stopping && (is_done || self.lifetime.is_deadline_over()))
    }

    fn timeout(&self) -> Option<Duration> {
        let accept = self.acceptor.as_ref().and_then(|acceptor| acceptor.retry_at);
        let may_accept = accept.is_some_and(|at| at <= self.context.now);
        if may_accept || self.bulk.len() + self.handshakes.len() + self.tunnels.ready() > 0 {
            return Some(Duration::ZERO);
        }
        let is_idle = self.connections.is_empty() && self.tunnels.is_empty();
        let is_busy = !is_idle || self.context.is_stopping || self.context.is_finishing();
        let look = is_busy.then_some(self.next_check);
        // At least 1 ms, the resolution of the system's timeout.
        accept
            .into_iter()
            .chain(look)
            .chain(self.upstreams.next_look())
            .min()
            .map(|at| at.saturating_duration_since(Instant::now()).max(Duration::from_millis(1)))
    }

    fn read_messages(&mut self) {
        let messages: Vec<Message> = self.messages.take().collect();
        for message in messages {
            match message {
                Message::Serve(accepted) => self.serve(accepted),
                Message::Continue(id) => {
                    let Some(connection) = self.connections.get_mut(id.connection) else { continue };
                    let next = catch_panic(&mut self.context, |context| {
                        connection.wake_up(id.exchange, context);
                        Next::Again
                    });
                    self.apply(id.connection, next);
                }
                Message::Stop { is_succeeded } => self.stop(is_succeeded),
            }
        }
    }

    /// Stops accepting, and closes idle connections. If another process serves the same sockets, the clients of
    /// idle connections get some time to notice.
    fn stop(&mut self, is_succeeded: bool) {
        self.context.is_stopping = true;
        if let Some(acceptor) = self.acceptor.take() {
            acceptor.close(self.poll.registry(), is_succeeded);
        }
        if is_succeeded {
            self.context.idle_until = Some(self.context.now + IDLE_GRACE);
            return;
        }
        let numbers: Vec<usize> = self.connections.iter().map(|(number, _)| number).collect();
        for number in numbers {
            if let Some(connection) =
                self.connections.get_mut(number).filter(|connection| connection.is_idle())
            {
                // Requests that have already arrived are still served.
                connection.set_ready(true, false, false);
                self.advance(number);
            }
        }
    }

    fn accept(&mut self) {
        let Some(acceptor) = &mut self.acceptor else { return };
        for accepted in acceptor.accept(&self.context) {
            self.serve(accepted);
        }
    }

    /// Registers a connection and serves it.
    fn serve(&mut self, accepted: Accepted) {
        let Accepted { socket, remote, permit, has_proxy_header } = accepted;
        // On Linux the socket inherits this option from the listener.
        #[cfg(not(target_os = "linux"))]
        let _ = socket.set_nodelay(true);
        let transport = match &self.context.options.tls {
            None => Ok(Transport::plain(socket)),
            Some(tls) => Transport::tls(socket, tls.state(), Arc::clone(&self.context.stats)),
        };
        let mut transport = match transport {
            Ok(transport) => transport,
            Err(error) => return log::error!("cannot start TLS on a connection: {error}"),
        };
        let entry = self.connections.vacant_entry();
        let number = entry.key();
        let interest = Interest::READABLE | Interest::WRITABLE;
        if let Err(error) = self.poll.registry().register(transport.socket(), Token(FIRST + number), interest)
        {
            return log::error!("cannot register a connection for events: {error}");
        }
        let client = ClientState { remote, permit, has_proxy_header };
        entry.insert(Connection::new(transport, client, number, self.context.now));
        self.advance_or_queue(number);
    }

    /// Advances a connection at once and returns `true`, or queues it if it has a handshake or a large
    /// response to continue.
    fn advance_or_queue(&mut self, number: usize) -> bool {
        let Some(connection) = self.connections.get_mut(number) else { return false };
        if connection.is_handshaking() {
            enqueue(&mut self.handshakes, number, connection);
        } else if connection.is_bulk() {
            enqueue(&mut self.bulk, number, connection);
        } else {
            self.advance(number);
            return true;
        }
        false
    }

    /// Advances a connection from a queue. Returns the number of bytes it transferred.
    fn advance_queued(&mut self, number: usize) -> usize {
        let Some(connection) = self.connections.get_mut(number) else { return 0 };
        connection.is_queued = false;
        let left = connection.remaining_bytes(&self.context);
        self.advance(number);
        left.saturating_sub(self.context.budget.bytes())
    }

    fn advance(&mut self, number: usize) {
        let Some(connection) = self.connections.get_mut(number) else { return };
        match catch_panic(&mut self.context, |context| connection.advance(context)) {
            Next::Wait => {}
            Next::Again => enqueue(&mut self.bulk, number, connection),
            Next::Tunnel => {
                let opened = self.connections.remove(number).into_tunnel();
                if let Some(opened) = opened {
                    self.tunnels.start(opened, self.poll.registry(), &self.context);
                }
            }
            Next::Close => self.remove(number),
        }
    }

    /// Does what a connection needs next.
    fn apply(&mut self, number: usize, next: Next) {
        match next {
            Next::Wait => {}
            Next::Again | Next::Tunnel => {
                self.advance_or_queue(number);
            }
            Next::Close => self.remove(number),
        }
    }

    fn remove(&mut self, number: usize) {
        if let Some(connection) = self.connections.try_remove(number) {
            catch_panic(&mut self.context, |context| {
                connection.dispose(context);
                Next::Close
            });
        }
    }

    fn check_deadlines(&mut self) {
        catch_panic(&mut self.context, |context| {
            context.check_deadlines();
            Next::Wait
        });
        self.cut_off_slow_readers();
        let mut due = Vec::new();
        for (number, connection) in &mut self.connections {
            match catch_panic(&mut self.context, |context| connection.check_deadlines(context)) {
                Next::Wait => {}
                next => due.push((number, next)),
            }
        }
        for (number, next) in due {
            self.apply(number, next);
        }
        self.tunnels.check_deadlines(&self.context);
        self.upstreams.close_idle(self.context.now);
    }
}

/// Adds a connection to a queue, unless it is in one.
fn enqueue(to: &mut RoundRobin, number: usize, connection: &mut Connection) {
    if !std::mem::replace(&mut connection.is_queued, true) {
        to.push(connection.client(), number);
    }
}

/// Runs code for one connection. A panic ends only this connection.
fn catch_panic(context: &mut ThreadContext, act: impl FnOnce(&mut ThreadContext) -> Next) -> Next {
    context.catch_panic(act).unwrap_or(Next::Close)
}

impl IoThread {
    /// Closes connections of clients that do not read while the memory limit is exceeded, or while fetches
    /// cannot start for want of memory. Closes a few or an eighth of them at a time, first those that hold the most memory for
    /// the longest time.
    fn cut_off_slow_readers(&mut self) {
        let ledger = &self.context.ledger;
        if ledger.is_over() {
            ledger.make_room(0);
        }
        let refused_fetches = ledger.refused_fetches();
        let is_short = std::mem::replace(&mut self.refused_fetches, refused_fetches) != refused_fetches;
        if !ledger.is_over() && !is_short {
            self.was_over_limit = false;
            return;
        }
        // The excess may be gone at the next check.
        if !std::mem::replace(&mut self.was_over_limit, true) {
            return;
        }
        let now = self.context.now;
        let blocked = self.connections.iter();
        let mut blocked: Vec<(u128, usize)> = blocked
            .filter_map(|(number, connection)| Some((connection.cut_off_priority(now)?, number)))
            .collect();
        blocked.sort_unstable_by(|one, other| other.cmp(one));
        let count = MAX_CUT_OFFS.max(blocked.len() / 8);
        for (_, number) in blocked.into_iter().take(count) {
            if let Some(connection) = self.connections.get_mut(number) {
                connection.cut_off();
                self.context.stats.count_cut_off();
            }
            self.remove(number);
        }
        self.tunnels.cut_off(&self.context, MAX_CUT_OFFS);
    }
}

impl Drop for IoThread {
    fn drop(&mut self) {
        for connection in self.connections.drain() {
            connection.dispose(&mut self.context);
        }
        self.tunnels.end(&self.context);
    }
}

#[cfg(test)]
mod tests;
