//! What a client has learnt of each peer. All its clones know it.

use std::collections::HashMap;
use std::fmt;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use parking_lot::{Mutex, RwLock};

use super::health::{Look, PeerState, Sign, Standing, Ticket};
use super::in_flight::InFlight;
use super::latency::Latency;
use super::marks::Marks;
use crate::clock::Clock;
use crate::error::Error;
use crate::peer_url::PeerUrl;

/// The peers that were asked, by their URLs.
pub(super) struct Peers {
    known: RwLock<HashMap<PeerUrl, Arc<Known>>>,
    clock: Arc<dyn Clock>,
    jitter: Jitter,
}

/// Where chance comes from: a number from 0 to 1.
pub(super) type Jitter = Box<dyn Fn() -> f64 + Send + Sync>;

/// One peer.
#[derive(Debug)]
pub(super) struct Known {
    pub(super) url: PeerUrl,
    pub(super) latency: Latency,
    pub(super) in_flight: Arc<InFlight>,
    standing: Mutex<Standing>,
    // What a request to a peer that is well needs to know, without the lock. Written under it.
    ticket: AtomicU64,
    is_settled: AtomicBool,
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
    /// How many requests it has at this moment, up to the end of their bodies where these are streams.
    pub in_flight: u32,
    /// Within how long half of its latest answers began; `None` when there were too few.
    pub median: Option<Duration>,
    /// The same of 99 in 100.
    pub p99: Option<Duration>,
}

impl Peers {
    pub(super) fn new(clock: Arc<dyn Clock>, jitter: Jitter, marks: &Marks) -> Self {
        let known = marks.iter().map(|mark| {
            let standing = Standing::marked(mark.until, mark.failures);
            (mark.peer.clone(), Arc::new(Known::new(mark.peer.clone(), standing)))
        });
        Self { known: RwLock::new(known.collect()), clock, jitter }
    }

    pub(super) fn of(&self, url: &PeerUrl) -> Arc<Known> {
        if let Some(known) = self.known.read().get(url) {
            return Arc::clone(known);
        }
        let new = Arc::new(Known::new(url.clone(), Standing::default()));
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

    /// What to do about this peer with a request of this key, which may wait for a probe or not.
    pub(super) fn look(
        &self,
        peer: &Known,
        key: impl FnOnce() -> u16,
        may_probe: impl FnOnce() -> bool,
    ) -> Look {
        // In this order: a ticket that is too old is not counted.
        let ticket = Ticket(peer.ticket.load(Ordering::Acquire));
        if peer.is_settled.load(Ordering::Acquire) {
            return Look::Ask(ticket);
        }
        let now = self.clock.now();
        let (key, may_probe) = (key(), may_probe());
        peer.change(|standing| standing.look(now, key, may_probe))
    }

    /// Whether it is time to find out whether this peer is there, and nobody does.
    pub(super) fn is_due(&self, peer: &Known) -> bool {
        let now = self.clock.now();
        peer.standing.lock().is_due(now)
    }

    pub(super) fn answered(&self, peer: &Known, ticket: Ticket) {
        if !peer.is_settled.load(Ordering::Acquire) {
            let now = self.clock.now();
            peer.change(|standing| standing.told(Sign::Answered, ticket, now, 0.0));
        }
    }

    /// What this error says of the peer. The first of many that fail at once is told to the log.
    pub(super) fn told(&self, peer: &Known, sign: Sign, ticket: Ticket, error: &Error) {
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
    pub(super) fn left(&self, peer: &Known) {
        let ticket = Ticket(peer.ticket.load(Ordering::Acquire));
        let (now, jitter) = (self.clock.now(), (self.jitter)());
        peer.change(|standing| standing.told(Sign::Failed, ticket, now, jitter));
        log::info!("{} is about to end", peer.url);
    }

    pub(super) fn pause(&self, peer: &Known, pause: Duration, ticket: Ticket) {
        let now = self.clock.now();
        peer.change(|standing| standing.pause(pause, ticket, now));
    }

    /// Calls `ask` to find out whether the peer is there, as [`Look::Probe`] says.
    pub(super) fn probe(&self, peer: &Known, ask: impl FnOnce() -> bool) -> Option<Ticket> {
        let mut probe = Probe { peers: self, peer, is_answered: false };
        let is_there = ask();
        probe.is_answered = true;
        self.probed(peer, is_there)
    }

    fn probed(&self, peer: &Known, is_there: bool) -> Option<Ticket> {
        let (now, jitter) = (self.clock.now(), (self.jitter)());
        peer.change(|standing| standing.probed(is_there, now, jitter))
    }

    /// Of these peers, also those that were not asked yet.
    pub(super) fn health(&self, peers: Vec<PeerUrl>) -> Vec<PeerHealth> {
        peers.into_iter().map(|url| self.of(&url).health()).collect()
    }

    /// Those that are known to be away.
    #[cfg(feature = "peer")]
    pub(super) fn away(&self) -> Vec<PeerUrl> {
        let known = self.known.read();
        let unsettled = known.values().filter(|peer| !peer.is_settled.load(Ordering::Acquire));
        let unsettled: Vec<_> = unsettled.cloned().collect();
        drop(known);
        if unsettled.is_empty() {
            return Vec::new();
        }
        let now = self.clock.now();
        let is_away = |peer: &Arc<Known>| peer.standing.lock().is_away(now);
        unsettled.iter().filter(|peer| is_away(peer)).map(|peer| peer.url.clone()).collect()
    }

    /// How many requests all of them have.
    pub(super) fn load(&self) -> u32 {
        self.known.read().values().map(|peer| peer.in_flight.count()).sum()
    }

    /// The median of the medians of all but this one.
    pub(super) fn median_of_others(&self, url: &PeerUrl) -> Option<Duration> {
        let others: Vec<_> = self.known.read().values().filter(|peer| peer.url != *url).cloned().collect();
        let mut medians: Vec<_> = others.iter().filter_map(|peer| peer.latency.quantile(0.5)).collect();
        medians.sort_unstable();
        medians.get(medians.len() / 2).copied()
    }

    /// Those that are down.
    pub(super) fn marks(&self) -> Marks {
        let all: Vec<_> = self.known.read().values().cloned().collect();
        let mut marks = Marks::default();
        for known in all {
            let standing = known.standing.lock();
            if let Some(until) = standing.until().filter(|_| standing.failures() > 0) {
                marks.add(known.url.clone(), until, standing.failures());
            }
        }
        marks
    }
}

/// The promise to say what became of a probe, kept also when asking panics.
struct Probe<'a> {
    peers: &'a Peers,
    peer: &'a Known,
    is_answered: bool,
}

impl Drop for Probe<'_> {
    fn drop(&mut self) {
        if !self.is_answered {
            self.peers.probed(self.peer, false);
        }
    }
}

impl Known {
    fn new(url: PeerUrl, standing: Standing) -> Self {
        Self {
            url,
            latency: Latency::default(),
            in_flight: Arc::default(),
            ticket: AtomicU64::new(standing.ticket().0),
            is_settled: AtomicBool::new(standing.is_settled()),
            standing: Mutex::new(standing),
        }
    }

    fn change<T>(&self, change: impl FnOnce(&mut Standing) -> T) -> T {
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
            in_flight: self.in_flight.count(),
            median: self.latency.quantile(0.5),
            p99: self.latency.quantile(0.99),
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

impl fmt::Debug for Peers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Peers").field("clock", &self.clock).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::ManualClock;

    #[test]
    fn chance_is_spread_from_zero_to_one() {
        let random = random();
        let numbers: Vec<f64> = (0..1000).map(|_| random()).collect();
        assert!(numbers.iter().all(|number| (0.0..=1.0).contains(number)));
        let mean = numbers.iter().sum::<f64>() / 1000.0;
        assert!((0.4..0.6).contains(&mean), "{mean}");
    }

    #[test]
    fn a_probe_that_panics_has_failed() {
        let clock = Arc::new(ManualClock::at_unix_seconds(1_000_000));
        let peers = Peers::new(clock.clone(), Box::new(|| 1.0), &Marks::default());
        let peer = peers.of(&"http://p:1".parse().unwrap());
        let Look::Ask(ticket) = peers.look(&peer, || 0, || true) else { panic!("it is up") };
        let error = Error::new(crate::error::ErrorKind::Unreachable, "broken");
        peers.told(&peer, Sign::Failed, ticket, &error);
        clock.advance(Duration::from_secs(1));
        assert_eq!(peers.look(&peer, || 0, || true), Look::Probe);
        let probe = std::panic::AssertUnwindSafe(|| peers.probe(&peer, || panic!("on purpose")));
        assert!(std::panic::catch_unwind(probe).is_err());
        assert_eq!((peer.health().state, peer.health().failures), (PeerState::Down, 2));
    }

    #[test]
    fn who_left_the_pool_is_forgotten() {
        let peers = Peers::new(Arc::new(crate::clock::SystemClock), random(), &Marks::default());
        let (kept, gone): (PeerUrl, PeerUrl) = ("http://a".parse().unwrap(), "http://b".parse().unwrap());
        let before = [peers.of(&kept), peers.of(&gone)];
        peers.keep(std::slice::from_ref(&kept));
        assert!(Arc::ptr_eq(&before[0], &peers.of(&kept)));
        assert!(!Arc::ptr_eq(&before[1], &peers.of(&gone)));
    }
}
