//! The circuit breakers of all peers, shared by the clones of a client.

use std::collections::HashMap;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime};

use parking_lot::{Mutex, RwLock};

use super::peer_circuit_breaker::{Admission, CircuitBreaker, Epoch, Evidence, ProbeResult};
use crate::base::clock::Clock;
use crate::base::error::Error;
use crate::metrics::{PeerStateChanged, Watcher};
use crate::pool::peer_state::PeerState;
use crate::pool::peer_url::PeerUrl;

/// At most one warning per misconfigured peer in this time.
const WARN_INTERVAL: Duration = Duration::from_secs(60);

/// The peers that this client has used, by URL.
pub(super) struct Peers {
    known: RwLock<HashMap<PeerUrl, Arc<PeerEntry>>>,
    clock: Arc<dyn Clock>,
    jitter: Jitter,
    watcher: Watcher,
}

/// A source of random numbers between 0 and 1.
pub(super) type Jitter = Box<dyn Fn() -> f64 + Send + Sync>;

/// One peer and its state.
#[derive(Debug)]
pub(super) struct PeerEntry {
    pub(super) url: PeerUrl,
    breaker: Mutex<CircuitBreaker>,
    // Copies of the breaker's state, so that requests to a healthy peer take no lock. Written under the lock.
    epoch: AtomicU64,
    is_settled: AtomicBool,
    /// Whether a probe is running.
    is_being_probed: AtomicBool,
    /// Whether the first of two probes failed.
    is_suspected: AtomicBool,
    /// When the last warning about the configuration of this peer was logged.
    warned: Mutex<Option<Instant>>,
}

/// The health of a peer, as returned by [`Client::health`](crate::Client::health).
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct PeerHealth {
    /// Its base URL.
    pub url: PeerUrl,
    /// Whether the peer gets requests.
    pub state: PeerState,
    /// Failures since the last response.
    pub failures: u32,
    /// End of the pause if the peer is down.
    pub until: Option<SystemTime>,
}

impl Peers {
    pub(super) fn new(clock: Arc<dyn Clock>, jitter: Jitter, watcher: Watcher) -> Self {
        Self { known: RwLock::default(), clock, jitter, watcher }
    }

    pub(super) fn entry(&self, url: &PeerUrl) -> Arc<PeerEntry> {
        if let Some(known) = self.known.read().get(url) {
            return Arc::clone(known);
        }
        let new = Arc::new(PeerEntry::new(url.clone(), CircuitBreaker::default()));
        Arc::clone(self.known.write().entry(url.clone()).or_insert(new))
    }

    /// Forgets all peers except these.
    pub(super) fn retain(&self, peers: &[PeerUrl]) {
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

    /// Decides whether to send a request with this key to the peer.
    pub(super) fn admit(&self, peer: &PeerEntry, key: impl FnOnce() -> u16) -> Admission {
        // The epoch must be read first: a result with an outdated epoch is ignored.
        let epoch = Epoch(peer.epoch.load(Ordering::Acquire));
        if peer.is_settled.load(Ordering::Acquire) {
            return Admission::Ask(epoch);
        }
        let (now, key) = (self.clock.now(), key());
        self.change(peer, |breaker| breaker.admit(now, key))
    }

    /// Returns whether the peer is healthy. Never blocks.
    pub(super) fn is_healthy(peer: &PeerEntry) -> bool {
        peer.is_settled.load(Ordering::Acquire) && !peer.is_suspected()
    }

    /// Returns whether a probe of this peer is due.
    pub(super) fn is_due(&self, peer: &PeerEntry) -> bool {
        let now = self.clock.now();
        peer.breaker.lock().is_due(now)
    }

    /// Records a result that is not a failure, for a request sent in this epoch.
    pub(super) fn record(&self, peer: &PeerEntry, evidence: Evidence, epoch: Epoch) {
        if !peer.is_settled.load(Ordering::Acquire) {
            let now = self.clock.now();
            self.change(peer, |breaker| breaker.record(evidence, epoch, now, 0.0));
        }
    }

    /// Records a failure. If it changes the state of the peer, it is logged once.
    pub(super) fn record_error(&self, peer: &PeerEntry, evidence: Evidence, epoch: Epoch, error: &Error) {
        let (now, jitter) = (self.clock.now(), (self.jitter)());
        let is_news = self.change(peer, |breaker| {
            let before = breaker.state();
            breaker.record(evidence, epoch, now, jitter);
            before != breaker.state()
        });
        if is_news {
            log::warn!("peer {} failed and is skipped for a while: {}", peer.url, error.reason());
        }
    }

    /// Records that the peer announced that it is about to stop.
    pub(super) fn record_leaving(&self, peer: &PeerEntry) {
        let (now, epoch) = (self.clock.now(), peer.epoch());
        self.change(peer, |breaker| breaker.record(Evidence::Leaving, epoch, now, 0.0));
        log::info!("peer {} is about to stop and gets no new requests", peer.url);
    }

    /// Logs that a peer is misconfigured, at most once a minute.
    pub(super) fn warn(&self, peer: &PeerEntry, error: &Error) {
        let now = Instant::now();
        let mut warned = peer.warned.lock();
        let is_news = warned.is_none_or(|warned| now.saturating_duration_since(warned) >= WARN_INTERVAL);
        if is_news {
            *warned = Some(now);
        }
        drop(warned);
        if is_news {
            log::warn!(
                "peer {} cannot be used, check its configuration and this program's: {}",
                peer.url,
                error.reason()
            );
        }
    }

    /// Probes a peer whose pause is over, unless another thread does so already.
    pub(super) fn probe(&self, peer: &PeerEntry, ask: impl FnOnce() -> ProbeResult) {
        let now = self.clock.now();
        if !self.change(peer, |breaker| breaker.begin_probe(now)) {
            return;
        }
        let mut probe = ProbeGuard { peers: self, peer, found: ProbeResult::Down };
        probe.found = ask();
    }

    /// Changes the circuit breaker of a peer, and reports a change of its state.
    fn change<T>(&self, peer: &PeerEntry, change: impl FnOnce(&mut CircuitBreaker) -> T) -> T {
        let (changed, from, to) = peer.change(change);
        if from != to {
            let peer = peer.url.as_str();
            self.watcher.tell(|observer| observer.peer_state_changed(&PeerStateChanged { peer, from, to }));
        }
        changed
    }

    /// Returns the health of these peers, including peers that this client has not used yet.
    pub(super) fn health(&self, peers: Vec<PeerUrl>) -> Vec<PeerHealth> {
        peers.into_iter().map(|url| self.entry(&url).health()).collect()
    }

    /// Returns the peers that are known to be down or stopping.
    pub(super) fn away(&self) -> Vec<PeerUrl> {
        let known = self.known.read();
        let unsettled = known.values().filter(|peer| !peer.is_settled.load(Ordering::Acquire));
        let unsettled: Vec<_> = unsettled.cloned().collect();
        drop(known);
        if unsettled.is_empty() {
            return Vec::new();
        }
        let now = self.clock.now();
        let is_away = |peer: &Arc<PeerEntry>| peer.breaker.lock().is_away(now);
        unsettled.iter().filter(|peer| is_away(peer)).map(|peer| peer.url.clone()).collect()
    }
}

/// Records the result of a probe on drop, so that a probe that panics counts as failed.
struct ProbeGuard<'a> {
    peers: &'a Peers,
    peer: &'a PeerEntry,
    found: ProbeResult,
}

impl Drop for ProbeGuard<'_> {
    fn drop(&mut self) {
        let (now, jitter) = (self.peers.clock.now(), (self.peers.jitter)());
        self.peers.change(self.peer, |breaker| breaker.finish_probe(self.found, now, jitter));
    }
}

/// The right to probe a peer; on drop, another thread may probe it.
pub(super) struct ProbeClaim(Arc<PeerEntry>);

impl Drop for ProbeClaim {
    fn drop(&mut self) {
        self.0.is_suspected.store(false, Ordering::Relaxed);
        self.0.is_being_probed.store(false, Ordering::Release);
    }
}

impl PeerEntry {
    pub(super) fn new(url: PeerUrl, breaker: CircuitBreaker) -> Self {
        Self {
            url,
            epoch: AtomicU64::new(breaker.epoch().0),
            is_settled: AtomicBool::new(breaker.is_settled()),
            breaker: Mutex::new(breaker),
            is_being_probed: AtomicBool::new(false),
            is_suspected: AtomicBool::new(false),
            warned: Mutex::new(None),
        }
    }

    /// Returns the current epoch.
    pub(super) fn epoch(&self) -> Epoch {
        Epoch(self.epoch.load(Ordering::Acquire))
    }

    pub(super) fn is_suspected(&self) -> bool {
        self.is_suspected.load(Ordering::Relaxed)
    }

    /// Marks that the first of two probes failed: until the second ends, other peers are preferred.
    pub(super) fn suspect(&self) {
        self.is_suspected.store(true, Ordering::Relaxed);
    }

    /// Claims the right to probe this peer; `None` while another thread has it.
    pub(super) fn claim_probe(self: &Arc<Self>) -> Option<ProbeClaim> {
        (!self.is_being_probed.swap(true, Ordering::AcqRel)).then(|| ProbeClaim(Arc::clone(self)))
    }

    /// Returns the result of the change, and the states before and after it.
    fn change<T>(&self, change: impl FnOnce(&mut CircuitBreaker) -> T) -> (T, PeerState, PeerState) {
        let mut breaker = self.breaker.lock();
        let from = breaker.state();
        let changed = change(&mut breaker);
        // `is_settled` first and the epoch last: `Peers::admit` reads them in the opposite order.
        self.is_settled.store(breaker.is_settled(), Ordering::Release);
        self.epoch.store(breaker.epoch().0, Ordering::Release);
        (changed, from, breaker.state())
    }

    fn health(&self) -> PeerHealth {
        let breaker = self.breaker.lock().clone();
        PeerHealth {
            url: self.url.clone(),
            state: breaker.state(),
            failures: breaker.failures(),
            until: breaker.until(),
        }
    }
}

/// Returns random numbers without another crate: seeds of hash maps are random.
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
