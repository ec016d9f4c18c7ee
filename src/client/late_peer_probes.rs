//! Probes peers that are late, and gives up their exchanges if they do not respond.
//!
//! A caller waits on its own thread. Each exchange with a peer is registered here while it lasts, with the
//! time since when the caller has been waiting. One monitor thread sleeps until the next exchange may be late,
//! and ends after a while without exchanges. Probes run on a few helper threads, at most one per peer.

use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::thread;
use std::time::{Duration, Instant};

use http::{Request, Response};
use log::debug;

use super::candidates::Candidate;
use super::exchange::{Exchange, Exchanges, LATE_AFTER, SILENT, TIMED_OUT};
use super::inner::Inner;
use super::peer_circuit_breaker::{Evidence, ProbeResult};
use super::peers::{PeerEntry, ProbeClaim};
use crate::base::cancellation::{CancelHook, Cancellation};
use crate::base::error::{Error, ErrorKind};
use crate::message::body::Body;
use crate::pool::protocol::{self, ConnectTimeout, HeadTimeout};

/// Time limit of a health probe.
const PROBE_TIMEOUT: Duration = Duration::from_millis(500);

/// Minimum sleep of the monitor thread.
const MIN_SLEEP: Duration = Duration::from_millis(20);

/// The monitor thread ends after this time without an exchange.
const IDLE: Duration = Duration::from_secs(10);

/// An exchange, registered until this is dropped.
pub(super) struct RegisteredExchange {
    pub(super) exchange: Arc<Exchange>,
    /// Keeps the state alive that the monitor thread refers to weakly.
    inner: Arc<Inner>,
    number: u64,
    /// Cancels the exchange when the caller's request is cancelled.
    _hook: Option<CancelHook>,
}

impl Drop for RegisteredExchange {
    fn drop(&mut self) {
        let registered = self.inner.exchanges.0.lock().exchanges.remove(&self.number);
        drop(registered);
    }
}

impl Inner {
    /// Registers an exchange, and starts to wait. `head` limits the time until the response head; `None` if a
    /// body of unknown duration is sent first. `cancellation` is that of the caller's request.
    pub(super) fn begin_exchange(
        self: &Arc<Self>,
        candidate: &Candidate,
        may_be_repeated: bool,
        head: Option<Duration>,
        cancellation: Option<&Cancellation>,
    ) -> RegisteredExchange {
        let begun = Instant::now();
        let exchange = Arc::new(Exchange {
            peer: Arc::clone(&candidate.peer),
            epoch: candidate.epoch,
            cancellation: Cancellation::new(),
            begun,
            waiting_since: AtomicU64::new(0),
            alive_at: AtomicU64::new(0),
            head_by: AtomicU64::new(0),
            may_be_repeated: AtomicBool::new(may_be_repeated),
            given_up: AtomicU8::new(0),
        });
        if let Some(until) = head.and_then(|head| begun.checked_add(head)) {
            exchange.head_by.store(exchange.micros(until), Ordering::Relaxed);
        }
        exchange.start_waiting();
        let hook = cancellation.map(|outer| {
            let own = exchange.cancellation.clone();
            outer.on_cancel(move || own.cancel())
        });
        let mut state = self.exchanges.0.lock();
        let number = state.next;
        state.next += 1;
        state.exchanges.insert(number, Arc::clone(&exchange));
        let is_running = std::mem::replace(&mut state.is_running, true);
        drop(state);
        if !is_running {
            let (inner, exchanges) = (Arc::downgrade(self), self.exchanges.clone());
            let thread = thread::Builder::new().name("forwardcache-watch".to_owned());
            if let Err(error) = thread.spawn(move || run_monitor(&inner, &exchanges)) {
                debug!("cannot start the thread that monitors peers: {error}");
                self.exchanges.0.lock().is_running = false;
            }
        }
        RegisteredExchange { exchange, inner: Arc::clone(self), number, _hook: hook }
    }

    /// Gives up exchanges whose time limit has passed, and probes late peers, each once.
    fn give_up_late(self: &Arc<Self>) {
        let now = Instant::now();
        let mut asked: Vec<Arc<PeerEntry>> = Vec::new();
        for exchange in self.exchanges.all() {
            if exchange.due().is_none_or(|due| due > now) {
                continue;
            }
            if exchange.is_timed_out(exchange.micros(now)) {
                exchange.give_up(TIMED_OUT);
            } else if !asked.iter().any(|peer| Arc::ptr_eq(peer, &exchange.peer)) {
                asked.push(Arc::clone(&exchange.peer));
                self.start_probe(&exchange.peer, Self::probe_late);
            }
        }
    }

    /// Starts a probe of this peer on a helper thread, unless one is running.
    fn start_probe(
        self: &Arc<Self>,
        peer: &Arc<PeerEntry>,
        ask: impl FnOnce(&Arc<Self>, &Arc<PeerEntry>) + Send + 'static,
    ) {
        let Some(probing) = peer.claim_probe() else { return };
        let (inner, peer) = (Arc::clone(self), Arc::clone(peer));
        // If no helper is free, the next late exchange starts the probe.
        self.probers.run(Box::new(move || {
            let _probing: ProbeClaim = probing;
            ask(&inner, &peer);
        }));
    }

    /// Probes a late peer up to twice. If the first probe fails, exchanges that another peer may continue are
    /// given up. If the second fails too, the peer counts as failed, and all its late exchanges are given up.
    fn probe_late(self: &Arc<Self>, peer: &Arc<PeerEntry>) {
        let epoch = peer.epoch();
        for is_last in [false, true] {
            if self.fetch_health(peer, PROBE_TIMEOUT).is_some() {
                let now = Instant::now();
                for exchange in self.exchanges_with(peer) {
                    exchange.alive_at.store(exchange.micros(now), Ordering::Relaxed);
                }
                return;
            }
            peer.suspect();
            if is_last {
                let error = Error::new(ErrorKind::Timeout, "it is late and its health check got no response");
                self.peers.record_error(peer, Evidence::Failed, epoch, &error);
            }
            let now = Instant::now();
            for exchange in self.exchanges_with(peer) {
                let may_go = is_last || exchange.may_be_repeated.load(Ordering::Relaxed);
                if may_go && exchange.is_late(exchange.micros(now)) {
                    exchange.give_up(SILENT);
                }
            }
        }
    }

    fn exchanges_with(&self, peer: &Arc<PeerEntry>) -> impl Iterator<Item = Arc<Exchange>> {
        self.exchanges.all().into_iter().filter(move |exchange| Arc::ptr_eq(&exchange.peer, peer))
    }

    /// Probes in the background whether this peer accepts connections: an earlier attempt was too slow.
    pub(super) fn probe_connection(self: &Arc<Self>, peer: &Arc<PeerEntry>) {
        self.start_probe(peer, |inner, peer| {
            let epoch = peer.epoch();
            if inner.fetch_health(peer, inner.options.connect_timeout).is_none() {
                let error = Error::new(ErrorKind::Timeout, "no connection within the time limit");
                inner.peers.record_error(peer, Evidence::Failed, epoch, &error);
            }
        });
    }

    /// Probes in the background whether a peer whose pause is over is up again.
    pub(super) fn probe_return(self: &Arc<Self>, peer: &Arc<PeerEntry>) {
        self.start_probe(peer, |inner, peer| {
            inner.peers.probe(peer, || {
                let Some(mut answer) = inner.fetch_health(peer, LATE_AFTER) else { return ProbeResult::Down };
                if protocol::take_leaving(answer.headers_mut()) {
                    return ProbeResult::Leaving;
                }
                if answer.status().is_server_error() { ProbeResult::Down } else { ProbeResult::Up }
            });
        });
    }

    /// Requests `/healthz` of the peer; `None` if it does not respond.
    fn fetch_health(&self, peer: &PeerEntry, limit: Duration) -> Option<Response<Body>> {
        self.counters.probes.count();
        let mut request = Request::new(Body::empty());
        *request.uri_mut() = peer.url.url_below(protocol::HEALTH_PATH)?;
        request.extensions_mut().insert(HeadTimeout(limit));
        request.extensions_mut().insert(ConnectTimeout(limit));
        let answer = self.transport.round_trip(request).ok();
        debug!("peer {} is {}up", peer.url, if answer.is_some() { "" } else { "not " });
        answer
    }
}

/// The loop of the monitor thread.
fn run_monitor(inner: &Weak<Inner>, exchanges: &Exchanges) {
    let mut idle_since = Instant::now();
    loop {
        let now = Instant::now();
        let mut state = exchanges.0.lock();
        if !state.exchanges.is_empty() {
            idle_since = now;
        } else if now.saturating_duration_since(idle_since) >= IDLE {
            state.is_running = false;
            return;
        }
        // Exchanges that start during the sleep are due later.
        let due = state.exchanges.values().filter_map(|exchange| exchange.due()).min();
        drop(state);
        let sleep =
            due.map_or(LATE_AFTER, |due| due.saturating_duration_since(now).clamp(MIN_SLEEP, LATE_AFTER));
        thread::sleep(sleep);
        let Some(inner) = inner.upgrade() else { return };
        inner.give_up_late();
    }
}
