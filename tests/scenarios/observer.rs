//! The observer of a program receives one event for each thing that happens.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::Mutex;
use std::time::Duration;

use forwardcache::client::{NearCache, OnNoPeers, PeerState};
use forwardcache::metrics::{
    AttemptFinished, CacheAnswer, Eviction, FailedOver, Observer, OriginAnswer, PeerStateChanged,
    PurgeFinished, RequestFinished,
};
use forwardcache::store::{BackedStore, DiskStore, Lru, MemoryByteStore, MemoryStore, Store};
use forwardcache::{Client, ErrorKind, HttpCache, Outcome, Purge, ResponseExt};

use crate::local::LocalPeer;
use crate::support::origin::{Origin, Reply};

/// Counts events by their text.
#[derive(Default)]
struct Events(Mutex<BTreeMap<String, u64>>);

impl Events {
    fn add(&self, event: impl Into<String>, count: u64) {
        *self.0.lock().unwrap().entry(event.into()).or_default() += count;
    }

    fn count(&self, event: &str) -> u64 {
        self.0.lock().unwrap().get(event).copied().unwrap_or_default()
    }

    /// Returns the number of events that begin with this text.
    fn count_all(&self, beginning: &str) -> u64 {
        let events = self.0.lock().unwrap();
        events.iter().filter(|(event, _)| event.starts_with(beginning)).map(|(_, count)| count).sum()
    }
}

impl Observer for Events {
    fn request_finished(&self, event: &RequestFinished<'_>) {
        let result = event.result.map_or_else(|error| error.kind().to_string(), |status| status.to_string());
        let outcome = event.outcome.map_or("none", Outcome::name);
        let (has_peer, attempts) = (event.peer.is_some(), event.attempts);
        self.add(
            format!("request {} {result} {outcome} {has_peer} {attempts} {}", event.method, event.is_direct),
            1,
        );
    }

    fn attempt_finished(&self, event: &AttemptFinished<'_>) {
        self.add(if event.result.is_ok() { "attempt ok" } else { "attempt failed" }, 1);
    }

    fn failed_over(&self, event: &FailedOver<'_>) {
        self.add(format!("failover {} {}", event.peer, event.error.kind()), 1);
    }

    fn peer_state_changed(&self, event: &PeerStateChanged<'_>) {
        self.add(format!("state {} {} {}", event.peer, event.from, event.to), 1);
    }

    fn cache_answered(&self, event: &CacheAnswer<'_>) {
        assert!(event.url.starts_with("http://"));
        self.add(
            format!(
                "{} {} {}",
                if event.is_near { "near" } else { "cache" },
                event.outcome,
                event.is_refresh
            ),
            1,
        );
    }

    fn origin_answered(&self, event: &OriginAnswer<'_>) {
        self.add(if event.result.is_ok() { "origin ok" } else { "origin failed" }, 1);
    }

    fn purged(&self, event: &PurgeFinished<'_>) {
        self.add("purged", event.purged.responses);
    }

    fn evicted(&self, event: &Eviction) {
        self.add(format!("evicted {}", event.tier), event.keys);
    }
}

fn page() -> Origin {
    Origin::start(|received| Reply::target(received).field("Cache-Control", "max-age=60"))
}

#[test]
fn events_of_a_peer_agree_with_its_counters() {
    let origin = page();
    let events = Arc::new(Events::default());
    let peer = LocalPeer::start_with(|builder| builder.observer(Arc::clone(&events)));
    for number in 0..3 {
        for _ in 0..5 {
            // Over a socket, which the event loop answers, and in the process.
            assert_eq!(peer.get(&origin.url(&format!("/{number}"))).status, 200);
            assert_eq!(peer.peer.get(&origin.url(&format!("/{number}"))).send().unwrap().status(), 200);
        }
    }
    let counts = peer.peer.stats().counts();
    assert_eq!(events.count("cache miss false"), 3);
    assert_eq!(events.count("cache hit false"), 27);
    for (name, count) in counts.iter().take(Outcome::NAMES.len()) {
        assert_eq!(events.count(&format!("cache {name} false")), count, "{name}");
    }
    assert_eq!((events.count("origin ok"), counts.origin_requests), (3, 3));
    peer.peer.purge(&Purge::prefix(&origin.url("/")).unwrap());
    assert_eq!(events.count("purged"), 3);
}

#[test]
fn events_of_a_client_show_its_attempts() {
    let origin = page();
    let mut pool = LocalPeer::pool(2);
    let events = Arc::new(Events::default());
    let client = Client::builder()
        .pool(LocalPeer::urls(&pool))
        .on_no_peers(OnNoPeers::Fail)
        .observer(Arc::clone(&events))
        .build()
        .unwrap();
    let urls: Vec<_> = (0..20).map(|number| origin.url(&format!("/{number}"))).collect();
    for url in &urls {
        assert!(client.get(url).send().unwrap().info().peer().is_some());
    }
    assert_eq!(events.count("request GET 200 OK miss true 1 false"), 20);
    assert_eq!((events.count("attempt ok"), events.count_all("failover")), (20, 0));

    let stopped = pool.pop().unwrap();
    let stopped_url = stopped.url();
    drop(stopped);
    for url in &urls {
        client.get(url).send().unwrap();
    }
    let counts = client.counts();
    assert!(counts.failovers > 0);
    assert_eq!(events.count_all(&format!("failover {stopped_url} ")), counts.failovers);
    assert_eq!(events.count("attempt failed"), counts.failovers);
    assert_eq!(events.count_all("request"), counts.requests);
    assert_eq!(events.count(&format!("state {stopped_url} up down")), 1);
    assert_eq!(client.health().iter().filter(|peer| peer.state == PeerState::Down).count(), 1);

    drop(pool);
    let error = client.get(&urls[0]).send().unwrap_err();
    assert!(error.is_retryable() && !error.is_timeout(), "{error:#}");
    assert_eq!(events.count_all(&format!("request GET {} none false 0", error.kind())), 1);
}

#[test]
fn evictions_of_each_tier_are_reported() {
    let origin = Origin::start(|_| Reply::ok("x".repeat(10_000)).field("Cache-Control", "max-age=60"));
    let fill = |cache: &HttpCache, count: usize| {
        for number in 0..count {
            cache.get(&origin.url(&format!("/{number}"))).send().unwrap().bytes().unwrap();
        }
    };
    let stores: [Arc<dyn Store>; 2] = [
        Arc::new(MemoryStore::new(100_000)),
        Arc::new(BackedStore::new(Lru::new(MemoryByteStore::new(), 100_000))),
    ];
    for store in stores {
        let events = Arc::new(Events::default());
        let cache = HttpCache::builder().store(store).observer(Arc::clone(&events)).build().unwrap();
        fill(&cache, 30);
        let evicted = events.count("evicted memory");
        assert!(evicted >= 20, "{evicted}");
        assert_eq!(evicted, cache.store().usage().evictions);
    }
    let (events, folder) = (Arc::new(Events::default()), tempfile::tempdir().unwrap());
    let disk = DiskStore::open(folder.path()).unwrap().capacity(4 << 20);
    let cache = HttpCache::builder().disk_store(&disk).observer(Arc::clone(&events)).build().unwrap();
    // One transaction has less than the capacity.
    for round in 1..=6 {
        fill(&cache, 50 * round);
        assert!(disk.flush(Duration::from_secs(60)));
    }
    assert!(disk.usage().evictions > 0);
    assert_eq!((events.count("evicted disk"), events.count("evicted memory")), (disk.usage().evictions, 0));
}

#[test]
fn near_cache_reports_what_it_answers() {
    let (origin, peer, events) = (page(), LocalPeer::start(), Arc::new(Events::default()));
    let near = NearCache::new().memory(16 << 20).hot(1, Duration::from_secs(60));
    let builder = Client::builder().pool([peer.url()]).near_cache(near).observer(Arc::clone(&events));
    let client = builder.build().unwrap();
    for _ in 0..5 {
        client.get(&origin.url("/hot")).send().unwrap().bytes().unwrap();
    }
    let hits = client.near_stats().unwrap().counts().of(Outcome::Hit);
    assert!(hits >= 3, "{hits}");
    assert_eq!((events.count("near hit false"), events.count_all("cache ")), (hits, 0));
    assert_eq!(events.count_all("origin"), 0);
}

#[test]
fn panicking_observer_does_not_disturb_requests() {
    struct Panics;
    impl Observer for Panics {
        fn cache_answered(&self, _: &CacheAnswer<'_>) {
            panic!("the observer of this test panics");
        }
    }
    let origin = page();
    let peer = LocalPeer::start_with(|builder| builder.observer(Panics));
    for _ in 0..3 {
        assert_eq!(peer.get(&origin.url("/a")).status, 200);
    }
    assert_eq!(peer.peer.stats().counts().of(Outcome::Hit), 2);
}

#[test]
fn info_tells_where_a_response_comes_from() {
    let origin = page();
    let pool = LocalPeer::pool(1);
    let client = pool[0].client();
    let url = origin.url("/a");
    let response = client.get(&url).send().unwrap();
    let info = response.info();
    assert_eq!((info.peer(), info.attempts(), info.is_direct()), (Some(pool[0].url().as_str()), 1, false));
    assert_eq!(info.url().map(ToString::to_string), Some(url.clone()));
    assert_eq!(client.get(&url).send().unwrap().info().outcome(), Some(Outcome::Hit));
    // A peer answers its own program without a request to a peer.
    let info = pool[0].peer.get(&url).send().unwrap().info();
    assert_eq!((info.peer(), info.attempts(), info.outcome()), (None, 0, Some(Outcome::Hit)));

    drop(pool);
    let info = client.get(&url).send().unwrap().info();
    assert_eq!((info.peer(), info.attempts(), info.is_direct(), info.outcome()), (None, 1, true, None));
    let missing = Client::builder().on_no_peers(OnNoPeers::Fail).build().unwrap();
    assert_eq!(missing.get(&url).send().unwrap_err().kind(), ErrorKind::NoPeers);
}
