//! What a client has learnt of each peer. All its clones know it.

use std::collections::HashMap;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime};

use parking_lot::{Mutex, RwLock};

use super::circuit_breaker::{Admission, CircuitBreaker, Epoch, Evidence, Found, PeerState};
use crate::base::clock::Clock;
use crate::base::error::Error;
use crate::pool::peer_url::PeerUrl;

/// The operator is told once in so long of each peer that is set up wrongly.
const QUIET: Duration = Duration::from_secs(60);

/// The peers that were asked, by their URLs.
pub(super) struct Peers {
    known: RwLock<HashMap<PeerUrl, Arc<PeerEntry>>>,
    clock: Arc<dyn Clock>,
    jitter: Jitter,
}

/// Where chance comes from: a number from 0 to 1.
pub(super) type Jitter = Box<dyn Fn() -> f64 + Send + Sync>;

/// One peer.
#[derive(Debug)]
pub(super) struct PeerEntry {
    pub(super) url: PeerUrl,
    standing: Mutex<CircuitBreaker>,
    // What a request to a peer that is well needs to know, without the lock. Written under it.
    ticket: AtomicU64,
    is_settled: AtomicBool,
    /// Whether it is being probed.
    is_probed: AtomicBool,
    /// Whether it did not answer the first of two probes.
    is_suspected: AtomicBool,
    /// When the operator was told last that it is set up wrongly.
    warned: Mutex<Option<Instant>>,
}

/// What is known of a peer, for whoever watches a client.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct PeerHealth {
    /// Its base URL.
    pub url: PeerUrl,
    /// Whether it is asked.
    pub state: PeerState,
    /// How often it failed since it last answered.
    pub failures: u32,
    /// Up to when it is left alone, where it is down.
    pub until: Option<SystemTime>,
}

impl Peers {
    pub(super) fn new(clock: Arc<dyn Clock>, jitter: Jitter) -> Self {
        Self { known: RwLock::default(), clock, jitter }
    }

    pub(super) fn of(&self, url: &PeerUrl) -> Arc<PeerEntry> {
        if let Some(known) = self.known.read().get(url) {
            return Arc::clone(known);
        }
        let new = Arc::new(PeerEntry::new(url.clone(), CircuitBreaker::default()));
        Arc::clone(self.known.write().entry(url.clone()).or_insert(new))
    }

    /// Forgets all but these.
    pub(super) fn keep(&self, peers: &[PeerUrl]) {
        let mut kept = HashMap::new();
        let mut known = self.known.write();
        for peer in peers {
            if let Some((url, peer)) = known.remove_entry(peer) {
                kept.insert(url, peer);
            }
        }
        let former = std::mem::replace(&mut *known, kept);
        drop(known);
        drop(former);
    }

    /// What to do about this peer with a request of this key.
    pub(super) fn look(&self, peer: &PeerEntry, key: impl FnOnce() -> u16) -> Admission {
        // In this order: a ticket that is too old is not counted.
        let ticket = Epoch(peer.ticket.load(Ordering::Acquire));
        if peer.is_settled.load(Ordering::Acquire) {
            return Admission::Ask(ticket);
        }
        let (now, key) = (self.clock.now(), key());
        peer.change(|standing| standing.look(now, key))
    }

    /// Whether it is time to find out whether this peer is there.
    pub(super) fn is_due(&self, peer: &PeerEntry) -> bool {
        let now = self.clock.now();
        peer.standing.lock().is_due(now)
    }

    /// What became of a request that was sent with this ticket, where that is nothing bad.
    pub(super) fn note(&self, peer: &PeerEntry, sign: Evidence, ticket: Epoch) {
        if !peer.is_settled.load(Ordering::Acquire) {
            let now = self.clock.now();
            peer.change(|standing| standing.told(sign, ticket, now, 0.0));
        }
    }

    /// What this error says of the peer. The first of many that fail at once is told to the log.
    pub(super) fn told(&self, peer: &PeerEntry, sign: Evidence, ticket: Epoch, error: &Error) {
        let (now, jitter) = (self.clock.now(), (self.jitter)());
        let is_news = peer.change(|standing| {
            let before = standing.state();
            standing.told(sign, ticket, now, jitter);
            before != standing.state()
        });
        if is_news {
            log::warn!("{} is passed over for a while: {}", peer.url, error.message());
        }
    }

    /// It says that it is about to end.
    pub(super) fn left(&self, peer: &PeerEntry) {
        let (now, ticket) = (self.clock.now(), peer.ticket());
        peer.change(|standing| standing.told(Evidence::Leaving, ticket, now, 0.0));
        log::info!("{} is about to end", peer.url);
    }

    /// Tells the operator that something about this peer is set up wrongly; at most once a minute.
    pub(super) fn warn(&self, peer: &PeerEntry, error: &Error) {
        let now = Instant::now();
        let mut warned = peer.warned.lock();
        let is_news = warned.is_none_or(|warned| now.saturating_duration_since(warned) >= QUIET);
        if is_news {
            *warned = Some(now);
        }
        drop(warned);
        if is_news {
            log::warn!("{} cannot be used as a peer: {}", peer.url, error.message());
        }
    }

    /// Asks whether a peer that was left alone for long enough is there; nobody else does at the same time.
    pub(super) fn probe(&self, peer: &PeerEntry, ask: impl FnOnce() -> Found) {
        let now = self.clock.now();
        if !peer.change(|standing| standing.begin_probe(now)) {
            return;
        }
        let mut probe = Probe { peers: self, peer, found: Found::Nothing };
        probe.found = ask();
    }

    /// Of these peers, also those that were not asked yet.
    pub(super) fn health(&self, peers: Vec<PeerUrl>) -> Vec<PeerHealth> {
        peers.into_iter().map(|url| self.of(&url).health()).collect()
    }

    /// Those that are known to be away.
    pub(super) fn away(&self) -> Vec<PeerUrl> {
        let known = self.known.read();
        let unsettled = known.values().filter(|peer| !peer.is_settled.load(Ordering::Acquire));
        let unsettled: Vec<_> = unsettled.cloned().collect();
        drop(known);
        if unsettled.is_empty() {
            return Vec::new();
        }
        let now = self.clock.now();
        let is_away = |peer: &Arc<PeerEntry>| peer.standing.lock().is_away(now);
        unsettled.iter().filter(|peer| is_away(peer)).map(|peer| peer.url.clone()).collect()
    }
}

/// The promise to say what became of a probe, kept also when asking panics.
struct Probe<'a> {
    peers: &'a Peers,
    peer: &'a PeerEntry,
    found: Found,
}

impl Drop for Probe<'_> {
    fn drop(&mut self) {
        let (now, jitter) = (self.peers.clock.now(), (self.peers.jitter)());
        self.peer.change(|standing| standing.probed(self.found, now, jitter));
    }
}

/// The promise that a peer has one probe at a time.
pub(super) struct Probing(Arc<PeerEntry>);

impl Drop for Probing {
    fn drop(&mut self) {
        self.0.is_suspected.store(false, Ordering::Relaxed);
        self.0.is_probed.store(false, Ordering::Release);
    }
}

impl PeerEntry {
    pub(super) fn new(url: PeerUrl, standing: CircuitBreaker) -> Self {
        Self {
            url,
            ticket: AtomicU64::new(standing.ticket().0),
            is_settled: AtomicBool::new(standing.is_settled()),
            standing: Mutex::new(standing),
            is_probed: AtomicBool::new(false),
            is_suspected: AtomicBool::new(false),
            warned: Mutex::new(None),
        }
    }

    /// The time of its life that it is now.
    pub(super) fn ticket(&self) -> Epoch {
        Epoch(self.ticket.load(Ordering::Acquire))
    }

    pub(super) fn is_suspected(&self) -> bool {
        self.is_suspected.load(Ordering::Relaxed)
    }

    /// It did not answer the first of two probes: until the second is over, others are asked before it.
    pub(super) fn suspect(&self) {
        self.is_suspected.store(true, Ordering::Relaxed);
    }

    /// The right to probe it; `None` while somebody has it.
    pub(super) fn claim_probe(self: &Arc<Self>) -> Option<Probing> {
        (!self.is_probed.swap(true, Ordering::AcqRel)).then(|| Probing(Arc::clone(self)))
    }

    fn change<T>(&self, change: impl FnOnce(&mut CircuitBreaker) -> T) -> T {
        let mut standing = self.standing.lock();
        let changed = change(&mut standing);
        // Unsettled first, and the ticket last: see `Peers::look`.
        self.is_settled.store(standing.is_settled(), Ordering::Release);
        self.ticket.store(standing.ticket().0, Ordering::Release);
        changed
    }

    fn health(&self) -> PeerHealth {
        let standing = self.standing.lock().clone();
        PeerHealth {
            url: self.url.clone(),
            state: standing.state(),
            failures: standing.failures(),
            until: standing.until(),
        }
    }
}

/// Chance that needs no crate: the seeds of hash maps are random.
pub(super) fn random() -> Jitter {
    let (seed, count) = (RandomState::new(), AtomicU64::new(0));
    Box::new(move || {
        let mut hasher = seed.build_hasher();
        hasher.write_u64(count.fetch_add(1, Ordering::Relaxed));
        let number = u32::try_from(hasher.finish() >> 32).unwrap_or(0);
        f64::from(number) / f64::from(u32::MAX)
    })
}

#[cfg(test)]
mod tests;
