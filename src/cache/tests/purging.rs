//! Purges, and bodies that are in transit during a purge.

use bytes::Bytes;

use super::*;
use crate::cache::Verdict;
use crate::message::purge::{Purge, Purged};
use crate::store::{BackedStore, ByteStore, MemoryByteStore};

const GROUPED: &[(&str, &str)] = &[
    ("cache-control", "max-age=60"),
    ("etag", "\"1\""),
    ("cache-groups", "\"news\", \"sport\""),
    ("vary", "accept"),
];

/// One purge of each kind that covers [`URL`].
fn purges() -> [Purge; 4] {
    [
        Purge::url(URL).unwrap(),
        Purge::prefix("http://example.com/").unwrap(),
        Purge::group("http://example.com", "news").unwrap(),
        Purge::all(),
    ]
}

/// One purge of each kind that does not cover [`URL`].
fn others() -> [Purge; 3] {
    [
        Purge::url("http://example.com/").unwrap(),
        Purge::prefix("http://example.com/ab").unwrap(),
        Purge::group("http://other.example", "news").unwrap(),
    ]
}

/// A byte store that does not list its keys.
#[derive(Debug, Default)]
pub(super) struct Unlisted(pub(super) MemoryByteStore);

impl ByteStore for Unlisted {
    fn get(&self, key: &str) -> Result<Option<Bytes>, StoreError> {
        self.0.get(key)
    }

    fn set(&self, key: &str, value: Bytes) -> Result<bool, StoreError> {
        self.0.set(key, value)
    }

    fn delete(&self, key: &str) -> Result<bool, StoreError> {
        self.0.delete(key)
    }
}

/// A store that cannot be purged.
#[derive(Debug)]
struct Failing(MemoryStore);

impl Store for Failing {
    fn variants(&self, key: &Key) -> Result<Variants, StoreError> {
        self.0.variants(key)
    }

    fn insert(&self, key: &Key, response: Arc<StoredResponse>) -> Result<bool, StoreError> {
        self.0.insert(key, response)
    }

    fn remove(&self, key: &Key) -> Result<bool, StoreError> {
        self.0.remove(key)
    }

    fn purge(&self, _: &Purge) -> Result<Option<Purged>, StoreError> {
        Err(StoreError::new("out of order"))
    }

    fn max_body(&self) -> u64 {
        self.0.max_body()
    }

    fn usage(&self) -> Usage {
        self.0.usage()
    }
}

/// Three stores: one that supports purges, and two for which the cache must remember purges.
fn scenes() -> [(Scene, bool); 3] {
    [
        (Scene::new(), true),
        (Scene::with(Mode::Private, BackedStore::new(Unlisted::default())), false),
        (Scene::with(Mode::Private, Failing(MemoryStore::new(1 << 20))), false),
    ]
}

#[test]
fn a_purge_removes_all_variants_and_partitions() {
    let requests: [&[(&str, &str)]; 4] = [
        &[],
        &[("accept", "b")],
        &[("authorization", "anna")],
        &[("authorization", "bert"), ("accept", "b")],
    ];
    for number in 0..purges().len() {
        for (scene, is_counted) in scenes() {
            for fields in requests {
                scene.answer(200, GROUPED, "old");
                scene.get(fields);
            }
            for other in others() {
                assert_eq!(scene.cache.purge(&other).responses, 0);
            }
            scene.pass(1);
            for fields in requests {
                scene.get(fields).is(Outcome::Hit, "old");
            }
            let used = scene.cache.store().usage().bytes;
            let purged = scene.cache.purge(&purges()[number]);
            assert_eq!(purged.is_counted, is_counted);
            if is_counted {
                assert_eq!(purged, Purged::new(4, used));
                assert_eq!(scene.cache.store().usage().bytes, 0);
                let counts = scene.cache.stats().counts();
                assert_eq!((counts.purges, counts.purged), (4, 4));
            }
            scene.pass(1);
            for fields in requests {
                scene.answer(200, GROUPED, "new");
                assert_eq!(scene.get(fields).body, "new");
                // No response remains to confirm, except another variant that was stored since.
                assert!(!fields.is_empty() || scene.last_asked().field("if-none-match").is_none());
                scene.get(fields).is(Outcome::Hit, "new");
            }
        }
    }
}

#[test]
fn a_purge_takes_effect_even_if_the_store_fails() {
    let scene = Scene::with(Mode::Private, Failing(MemoryStore::new(1 << 20)));
    scene.answer(200, FRESH, "old");
    scene.get(&[]);
    assert!(!scene.cache.purge(&Purge::all()).is_counted);
    assert_eq!(scene.cache.stats().counts().store_errors, 1);
    // If everything else fails too, the origin's response is used.
    scene.fail(ErrorKind::Unreachable);
    assert_eq!(scene.send("GET", URL, &[]).unwrap_err().kind(), ErrorKind::Unreachable);
    let explanation = scene.cache.explain(&Request::get(URL).body(()).unwrap()).unwrap();
    assert_eq!(explanation.verdict, Verdict::Forward(Forward::UriMiss));
    assert!(explanation.stored.is_empty());
}

#[test]
fn a_purged_url_is_removed_from_a_store_that_cannot_list() {
    let scene = Scene::with(Mode::Private, BackedStore::new(Unlisted::default()));
    scene.answer(200, FRESH, "old");
    scene.get(&[]);
    scene.cache.purge(&Purge::url(URL).unwrap());
    assert!(scene.cache.store().variants(&Key::new(URL)).unwrap().is_empty());
}

#[test]
fn a_url_purge_removes_everything_under_a_chosen_key() {
    let scene = Scene::built(|cache| {
        cache.key(|target| target.as_str().split('?').next().unwrap_or_default().to_owned())
    });
    let other = format!("{URL}?other");
    for purge in [Purge::url(&other).unwrap(), Purge::prefix(URL).unwrap()] {
        scene.answer(200, FRESH, "old");
        scene.get(&[]);
        assert_eq!(scene.cache.purge(&purge).responses, 1);
    }
    scene.answer(200, FRESH, "new");
    scene.get(&[]).is(Outcome::Miss(Forward::UriMiss), "new");
}

#[test]
fn a_body_in_transit_is_neither_stored_nor_shared_after_a_purge() {
    for ends_before_the_next in [true, false] {
        for purge in purges() {
            for (scene, _) in scenes() {
                let (send, pipe) = pipe();
                scene.answer(200, GROUPED, Body::from_reader(pipe, Some(3)));
                let under_way = scene.send("GET", URL, &[]).unwrap();
                scene.cache.purge(&purge);
                scene.pass(1);
                scene.answer(200, GROUPED, "new");
                send.send(Ok(b"old")).unwrap();
                // The purge does not cut off a client that already reads.
                let read_old = || assert_eq!(under_way.into_body().into_text().unwrap(), "old");
                let read_new = || scene.get(&[]).is(Outcome::Miss(Forward::UriMiss), "new").status;
                if ends_before_the_next {
                    read_old();
                    read_new();
                } else {
                    read_new();
                    read_old();
                }
                scene.get(&[]).is(Outcome::Hit, "new");
            }
        }
    }
}

#[test]
fn a_body_in_transit_is_stored_after_an_unrelated_purge() {
    for purge in others() {
        let scene = Scene::new();
        let (send, pipe) = pipe();
        scene.answer(200, GROUPED, Body::from_reader(pipe, Some(3)));
        let under_way = scene.send("GET", URL, &[]).unwrap();
        scene.cache.purge(&purge);
        send.send(Ok(b"old")).unwrap();
        assert_eq!(under_way.into_body().into_text().unwrap(), "old");
        scene.get(&[]).is(Outcome::Hit, "old");
    }
}

/// An action that runs once.
type Interruption = Mutex<Option<Box<dyn FnOnce() + Send>>>;

/// A cache whose origin runs an action once, between a request and its response.
struct Interrupted {
    cache: HttpCache,
    script: Arc<Script>,
    clock: Arc<ManualClock>,
    interruption: Arc<Interruption>,
}

impl Interrupted {
    fn new() -> Self {
        let script = Arc::new(Script::default());
        let clock = Arc::new(ManualClock::at_unix_seconds(1_000_000_000));
        let interruption: Arc<Interruption> = Arc::default();
        let origin = ScriptedOrigin { script: Arc::clone(&script), asked: Arc::default() };
        let now = Arc::clone(&interruption);
        let origin = RoundTripFn(move |request: Request<Body>| {
            let interruption = now.lock().unwrap().take();
            if let Some(interrupt) = interruption {
                interrupt();
            }
            origin.round_trip(request)
        });
        let cache = HttpCache::builder().origin(origin).clock(Arc::clone(&clock)).build().unwrap();
        Self { cache, script, clock, interruption }
    }

    fn answer(&self, status: u16, fields: &[(&str, &str)], body: &'static str) {
        let mut response = Response::builder().status(status);
        for (name, value) in fields {
            response = response.header(*name, *value);
        }
        self.script.lock().unwrap().push_back(Ok(response.body(Body::from(body)).unwrap()));
    }

    fn send(&self, method: &str) -> Answer {
        let request = Request::builder().method(method).uri(URL).body(Body::empty()).unwrap();
        Answer::read(self.cache.round_trip(request).unwrap())
    }

    fn purge_at_the_next(&self, purge: Purge) {
        let (cache, clock) = (self.cache.clone(), Arc::clone(&self.clock));
        *self.interruption.lock().unwrap() = Some(Box::new(move || {
            cache.purge(&purge);
            clock.advance(Duration::from_secs(1));
        }));
    }
}

#[test]
fn a_fetch_older_than_a_purge_is_not_stored() {
    for (status, body) in [(304, ""), (200, "old")] {
        for purge in purges() {
            let scene = Interrupted::new();
            scene.answer(200, GROUPED, "old");
            scene.send("GET");
            scene.clock.advance(Duration::from_secs(61));
            scene.purge_at_the_next(purge);
            scene.answer(status, GROUPED, body);
            assert_eq!(scene.send("GET").body, "old");
            scene.answer(200, GROUPED, "new");
            scene.send("GET").is(Outcome::Miss(Forward::UriMiss), "new");
            scene.send("GET").is(Outcome::Hit, "new");
        }
    }
}

#[test]
fn a_post_older_than_a_purge_is_not_stored() {
    let fields = [("cache-control", "max-age=60"), ("content-location", "/a"), ("cache-groups", "\"news\"")];
    for purge in purges().into_iter().map(Some).chain([None]) {
        let scene = Interrupted::new();
        let is_purged = purge.is_some();
        if let Some(purge) = purge {
            scene.purge_at_the_next(purge);
        }
        scene.answer(200, &fields, "posted");
        scene.send("POST").is(Outcome::Passed(Forward::Method), "posted");
        scene.answer(200, GROUPED, "new");
        assert_eq!(scene.send("GET").body, if is_purged { "new" } else { "posted" });
    }
}

/// Actions that run once: after a lookup in the store, and during an insert.
#[derive(Default)]
struct Interruptions {
    after_look: Interruption,
    in_insert: Interruption,
}

#[derive(Clone)]
struct Watched {
    store: Arc<MemoryStore>,
    interruptions: Arc<Interruptions>,
}

impl std::fmt::Debug for Watched {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Watched")
    }
}

impl Watched {
    fn new() -> Self {
        Self { store: Arc::new(MemoryStore::new(1 << 20)), interruptions: Arc::default() }
    }
}

impl Store for Watched {
    fn variants(&self, key: &Key) -> Result<Variants, StoreError> {
        let variants = self.store.variants(key);
        let interruption = self.interruptions.after_look.lock().unwrap().take();
        if let Some(interrupt) = interruption {
            interrupt();
        }
        variants
    }

    fn insert(&self, key: &Key, response: Arc<StoredResponse>) -> Result<bool, StoreError> {
        let interruption = self.interruptions.in_insert.lock().unwrap().take();
        if let Some(interrupt) = interruption {
            interrupt();
        }
        self.store.insert(key, response)
    }

    fn remove(&self, key: &Key) -> Result<bool, StoreError> {
        self.store.remove(key)
    }

    fn purge(&self, purge: &Purge) -> Result<Option<Purged>, StoreError> {
        self.store.purge(purge)
    }

    fn max_body(&self) -> u64 {
        self.store.max_body()
    }

    fn usage(&self) -> Usage {
        self.store.usage()
    }
}

#[test]
fn a_response_found_before_a_purge_is_not_confirmed_after_it() {
    for purge in purges() {
        let store = Watched::new();
        let scene = Scene::with(Mode::Private, store.clone());
        scene.answer(200, GROUPED, "old");
        scene.get(&[]);
        scene.pass(61);
        let (cache, clock) = (scene.cache.clone(), Arc::clone(&scene.clock));
        *store.interruptions.after_look.lock().unwrap() = Some(Box::new(move || {
            assert_eq!(cache.purge(&purge).responses, 1);
            clock.advance(Duration::from_secs(1));
        }));
        scene.answer(200, GROUPED, "new");
        // The request does not lead a flight, in which it would look up again.
        assert_eq!(scene.get(&[("cache-control", "no-cache")]).body, "new");
        assert_eq!(scene.last_asked().field("if-none-match"), None);
        scene.get(&[]).is(Outcome::Hit, "new");
    }
}

#[test]
fn a_response_written_during_a_purge_is_removed() {
    for purge in purges() {
        let store = Watched::new();
        let scene = Scene::with(Mode::Private, store.clone());
        let (entered, has_entered) = mpsc::channel();
        let (release, is_released) = mpsc::channel::<()>();
        *store.interruptions.in_insert.lock().unwrap() = Some(Box::new(move || {
            entered.send(()).unwrap();
            is_released.recv().unwrap();
        }));
        scene.answer(200, GROUPED, "old");
        thread::scope(|scope| {
            let getting = scope.spawn(|| scene.get(&[]));
            has_entered.recv().unwrap();
            // The purge does not wait for the insert.
            scene.cache.purge(&purge);
            release.send(()).unwrap();
            assert_eq!(getting.join().unwrap().body, "old");
        });
        assert_eq!(store.usage().keys, 0);
    }
}

#[test]
fn concurrent_purges_and_requests_leave_no_old_response() {
    for round in 0..30 {
        let generation = Arc::new(AtomicUsize::new(0));
        let told = Arc::clone(&generation);
        let origin = RoundTripFn(move |_| {
            let body = told.load(Ordering::SeqCst).to_string();
            let response = Response::builder().header("cache-control", "max-age=60");
            Ok(response.header("cache-groups", "\"news\"").body(Body::from(body)).unwrap())
        });
        let cache = HttpCache::builder().origin(origin).store(MemoryStore::new(1 << 20)).build().unwrap();
        let get = || {
            let answer = cache.round_trip(Request::get(URL).body(Body::empty()).unwrap()).unwrap();
            answer.into_body().into_text().unwrap().parse::<usize>().unwrap()
        };
        thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| assert!((0..50).all(|_| get() <= 20)));
            }
            scope.spawn(|| {
                for number in 1..=20 {
                    generation.store(number, Ordering::SeqCst);
                    cache.purge(&purges()[(number + round) % 4]);
                    let got = get();
                    assert!(got >= number, "{got} after the purge of all before {number}");
                }
            });
        });
    }
}

#[test]
fn a_purge_request_is_not_sent_to_the_origin() {
    let scene = Scene::new();
    scene.answer(200, FRESH, "old");
    scene.get(&[]);
    let refused = scene.send("PURGE", URL, &[]).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::BadRequest);
    scene.get(&[]).is(Outcome::Hit, "old");
    assert_eq!(scene.times_asked(), 1);
}

#[test]
fn a_purged_stale_response_is_not_served_on_error() {
    let scene = Scene::new();
    let fields = [("cache-control", "max-age=60, stale-if-error=600, stale-while-revalidate=600")];
    scene.answer(200, &fields, "old");
    scene.get(&[]);
    scene.pass(61);
    scene.cache.purge(&Purge::url(URL).unwrap());
    scene.fail(ErrorKind::Unreachable);
    assert!(scene.send("GET", URL, &[]).is_err());
}

#[test]
fn with_hostless_keys_purges_and_groups_use_the_urls() {
    let stores: [fn() -> Box<dyn Store>; 2] =
        [|| Box::new(MemoryStore::new(1 << 20)), || Box::new(BackedStore::new(MemoryByteStore::new()))];
    let fields = [("cache-control", "max-age=60"), ("cache-groups", "\"news\"")];
    for new_store in stores {
        let scene = || {
            let by_path = |target: &CanonicalUrl| target.path().to_owned();
            let scene = Scene::built(|cache| cache.key(by_path).store(new_store()));
            scene.answer(200, &fields, "old");
            scene.get(&[]);
            scene.get(&[]).is(Outcome::Hit, "old");
            scene
        };
        for purge in [
            Purge::url(URL).unwrap(),
            Purge::url("http://mirror.example/a").unwrap(),
            Purge::prefix("http://example.com/").unwrap(),
            Purge::group("http://example.com", "news").unwrap(),
            Purge::all(),
        ] {
            let scene = scene();
            scene.cache.purge(&purge);
            scene.answer(200, &fields, "new");
            scene.get(&[]).is(Outcome::Miss(Forward::UriMiss), "new");
        }
        for purge in [
            Purge::prefix("http://other.example/").unwrap(),
            Purge::group("http://other.example", "news").unwrap(),
            Purge::group("http://example.com", "sport").unwrap(),
        ] {
            let scene = scene();
            scene.cache.purge(&purge);
            scene.get(&[]).is(Outcome::Hit, "old");
        }
        // A response that invalidates the group has the same effect.
        let scene = scene();
        scene.answer(200, &[("cache-group-invalidation", "\"news\"")], "");
        scene.send("POST", "http://example.com/other", &[]).unwrap();
        scene.answer(200, &fields, "new");
        scene.get(&[]).is(Outcome::Miss(Forward::UriMiss), "new");
    }
}
