//! The tunnels of one I/O thread.

use mio::{Registry, Token};
use slab::Slab;

use super::relay::{Opened, Tunnel};
use crate::server::event::context::ThreadContext;
use crate::server::event::next::Next;
use crate::server::event::round_robin::RoundRobin;

/// Tokens from here on belong to tunnels: two for each, of the client and of the other end.
pub(in crate::server::event) const FIRST: usize = 1 << (usize::BITS - 2);

/// The tunnels of one I/O thread.
#[derive(Default)]
pub(in crate::server::event) struct Tunnels {
    tunnels: Slab<Tunnel>,
    /// Tunnels whose sockets are ready.
    ready: RoundRobin,
}

impl Tunnels {
    pub(in crate::server::event) fn is_empty(&self) -> bool {
        self.tunnels.is_empty()
    }

    /// Returns the number of tunnels that can move bytes at once.
    pub(in crate::server::event) fn ready(&self) -> usize {
        self.ready.len()
    }

    /// Starts a tunnel.
    pub(in crate::server::event) fn start(
        &mut self,
        opened: Opened,
        registry: &Registry,
        context: &ThreadContext,
    ) {
        let entry = self.tunnels.vacant_entry();
        let number = entry.key();
        let token = FIRST + 2 * number;
        let started = Tunnel::new(opened, context.now).and_then(|mut tunnel| {
            tunnel.register(registry, Token(token), Token(token + 1))?;
            Ok(tunnel)
        });
        match started {
            Ok(tunnel) => {
                entry.insert(tunnel);
                self.enqueue(number);
            }
            Err(error) => log::error!("cannot start a tunnel: {error}"),
        }
    }

    /// Records an event of a tunnel's socket.
    pub(in crate::server::event) fn set_ready(&mut self, event: &mio::event::Event) {
        let index = event.token().0 - FIRST;
        if let Some(tunnel) = self.tunnels.get_mut(index / 2) {
            tunnel.set_ready(index.is_multiple_of(2), event);
            self.enqueue(index / 2);
        }
    }

    fn enqueue(&mut self, number: usize) {
        let Some(tunnel) = self.tunnels.get_mut(number) else { return };
        if !std::mem::replace(&mut tunnel.is_queued, true) {
            self.ready.push(tunnel.client(), number);
        }
    }

    /// Gives each ready tunnel a turn, until this many bytes have been moved.
    pub(in crate::server::event) fn advance(&mut self, context: &mut ThreadContext, mut bytes: usize) {
        for _ in 0..self.ready.len() {
            if bytes == 0 {
                break;
            }
            let Some(number) = self.ready.pop() else { break };
            let Some(tunnel) = self.tunnels.get_mut(number) else { continue };
            tunnel.is_queued = false;
            let advanced = context.catch_panic(|context| tunnel.advance(context));
            let (next, used) = advanced.unwrap_or((Next::Close, 0));
            bytes = bytes.saturating_sub(used);
            match next {
                Next::Again => self.enqueue(number),
                Next::Close | Next::Tunnel => self.remove(number, context),
                Next::Wait => {}
            }
        }
    }

    fn remove(&mut self, number: usize, context: &ThreadContext) {
        if let Some(tunnel) = self.tunnels.try_remove(number) {
            tunnel.dispose(context);
        }
    }

    /// Enforces the deadlines of all tunnels.
    pub(in crate::server::event) fn check_deadlines(&mut self, context: &ThreadContext) {
        let late = self.tunnels.iter_mut().filter_map(|(number, tunnel)| {
            (tunnel.check_deadlines(context) == Next::Close).then(|| {
                tunnel.abort();
                number
            })
        });
        for number in late.collect::<Vec<_>>() {
            self.remove(number, context);
        }
    }

    /// Closes up to this many tunnels whose ends do not read, to free memory.
    pub(in crate::server::event) fn cut_off(&mut self, context: &ThreadContext, max: usize) {
        let blocked = self.tunnels.iter();
        let mut blocked: Vec<(u128, usize)> = blocked
            .filter_map(|(number, tunnel)| Some((tunnel.cut_off_priority(context.now)?, number)))
            .collect();
        blocked.sort_unstable_by(|one, other| other.cmp(one));
        for (_, number) in blocked.into_iter().take(max) {
            if let Some(tunnel) = self.tunnels.get_mut(number) {
                tunnel.abort();
                context.stats.count_cut_off();
            }
            self.remove(number, context);
        }
    }

    /// Ends all tunnels.
    pub(in crate::server::event) fn end(&mut self, context: &ThreadContext) {
        for mut tunnel in self.tunnels.drain() {
            tunnel.abort();
            tunnel.dispose(context);
        }
    }
}
