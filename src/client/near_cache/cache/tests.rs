//! Tests a near cache in front of an owner, which is an `HttpCache` in front of a scripted origin.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use http::StatusCode;
use parking_lot::Mutex;

use super::*;
use crate::base::clock::ManualClock;
use crate::base::error::{Error, ErrorKind};
use crate::message::round_trip::RoundTripFn;
use crate::message::stats::Outcome;
use crate::policy::{Lifetime, LifetimeRule};

const URL: &str = "http://example.com/a";
const MEMORY: u64 = 1 << 20;

type Fields = &'static [(&'static str, &'static str)];

struct Scene {
    near: NearHttpCache,
    owner: HttpCache,
    clock: Arc<ManualClock>,
    is_owner_down: Arc<AtomicBool>,
    asked: Arc<Mutex<Vec<HeaderMap>>>,
}

impl Scene {
    fn new(fields: Fields) -> Self {
        Self::with(fields, 5, Rules::default(), |near| near)
    }

    /// Creates an origin that responds with these fields and a body of this size, and an owner with these
    /// rules.
    fn with(fields: Fields, size: usize, rules: Rules, options: impl FnOnce(NearCache) -> NearCache) -> Self {
        let clock = Arc::new(ManualClock::at_unix_seconds(1_800_000_000));
        let origin = RoundTripFn(move |_| {
            let mut response = Response::builder();
            for (name, value) in fields {
                response = response.header(*name, *value);
            }
            Ok(response.body(Body::from(vec![b'x'; size])).unwrap())
        });
        let owner = HttpCache::builder()
            .origin(origin)
            .store(MemoryStore::new(16 * MEMORY))
            .clock(Arc::clone(&clock))
            .rules(rules)
            .pseudonym("owner")
            .build()
            .unwrap();
        let (is_owner_down, asked) = (Arc::new(AtomicBool::new(false)), Arc::new(Mutex::new(Vec::new())));
        let to_owner = {
            let (owner, is_down, asked) = (owner.clone(), Arc::clone(&is_owner_down), Arc::clone(&asked));
            RoundTripFn(move |request: Request<Body>| {
                if is_down.load(Ordering::Relaxed) {
                    return Err(Error::new(ErrorKind::Unreachable, "the owner is down"));
                }
                asked.lock().push(request.headers().clone());
                owner.round_trip(request)
            })
        };
        let parts = NearCacheParts {
            options: options(NearCache::new().memory(MEMORY).longest(Duration::from_secs(60))),
            owner: Arc::new(to_owner),
            clock: Arc::clone(&clock) as Arc<dyn Clock>,
            own: None,
            rules: None,
            watcher: Watcher::default(),
        };
        let near = NearHttpCache::new(parts).unwrap().unwrap();
        Self { near, owner, clock, is_owner_down, asked }
    }

    fn send(&self, method: &str, url: &str, fields: &[(&str, &str)]) -> Result<Response<Body>> {
        let mut request = Request::builder().method(method).uri(url);
        for (name, value) in fields {
            request = request.header(*name, *value);
        }
        let request = request.body(Body::empty()).unwrap();
        let bypass = |_: &CanonicalUrl, request| self.near.parts.owner.round_trip(request);
        let (mut parts, body) = self
            .near
            .round_trip(CanonicalUrl::parse(url).unwrap(), request, |_, _| false, bypass)?
            .into_parts();
        let body = Body::from(body.into_bytes()?);
        parts.extensions.clear();
        Ok(Response::from_parts(parts, body))
    }

    fn get(&self) -> Response<Body> {
        self.send("GET", URL, &[]).unwrap()
    }

    /// Requests the URL until it is hot, and once more, so that the copy is stored.
    fn heat(&self) {
        for _ in 0..9 {
            self.get();
        }
    }

    /// Returns how many requests have reached the owner.
    fn asked(&self) -> usize {
        self.asked.lock().len()
    }
}

fn status_of(response: &Response<Body>) -> Vec<String> {
    let values = response.headers().get_all("cache-status").iter();
    values.map(|value| value.to_str().unwrap().to_owned()).collect()
}

#[test]
fn hot_url_is_served_locally() {
    let scene = Scene::new(&[("cache-control", "max-age=60"), ("via", "1.1 far")]);
    for number in 1..=8 {
        assert_eq!(status_of(&scene.get()).len(), 1, "{number}");
        assert_eq!(scene.asked(), number);
    }
    scene.clock.advance(Duration::from_secs(1));
    let response = scene.get();
    assert_eq!(scene.asked(), 8);
    let said = ["forwardcache; hit; ttl=60", "forwardcache-near; hit; ttl=59"];
    assert_eq!(status_of(&response), said);
    assert_eq!(Outcome::of(response.headers()), Some(Outcome::Hit));
    assert_eq!(response.headers()["x-from-cache"], "1");
    assert_eq!(response.headers()["age"], "1");
    let via: Vec<_> = response.headers().get_all("via").iter().collect();
    assert_eq!(via, ["1.1 far", "1.1 owner"], "a near cache adds no Via entry");
    assert!(scene.asked.lock().iter().all(|headers| !headers.contains_key("via")));
    assert_eq!(response.into_body().into_text().unwrap(), "xxxxx");
    let counts = scene.near.stats().counts();
    assert_eq!((counts.of(Outcome::Hit), counts.origin_requests), (1, 1));
}

#[test]
fn first_response_is_the_owners() {
    let scene = Scene::new(&[("cache-control", "max-age=60"), ("etag", "\"a\"")]);
    for _ in 0..7 {
        scene.get();
    }
    let through = scene.get();
    assert_eq!(scene.near.stats().counts().origin_requests, 1);
    let directly = scene.owner.round_trip(Request::get(URL).body(Body::empty()).unwrap()).unwrap();
    assert_eq!(through.headers(), directly.headers());
}

#[test]
fn copy_is_fresh_as_long_as_the_owners_response() {
    for (fields, lifetime) in [
        (&[("cache-control", "max-age=30")][..], 30),
        (&[("cache-control", "max-age=30"), ("age", "10")], 20),
        // To the near cache, the owner is a private response: directives for shared caches or CDNs do not
        // apply.
        (&[("cache-control", "max-age=30, s-maxage=600")], 30),
        (&[("cache-control", "max-age=30"), ("cdn-cache-control", "max-age=600")], 30),
    ] {
        let scene = Scene::new(fields);
        for _ in 0..16 {
            scene.get();
        }
        let asked = scene.asked();
        // One request per second keeps the URL just hot.
        let second = Duration::from_secs(1);
        for _ in 1..lifetime {
            scene.clock.advance(second);
            scene.get();
        }
        assert_eq!(scene.asked(), asked, "{fields:?}");
        scene.clock.advance(second - Duration::from_millis(1));
        scene.get();
        assert_eq!(scene.asked(), asked, "{fields:?}");
        scene.clock.advance(Duration::from_millis(1));
        scene.get();
        assert_eq!(scene.asked(), asked + 1, "{fields:?}");
    }
}

#[test]
fn freshness_rules_of_the_owner_apply() {
    let rules = Rules {
        lifetimes: vec![LifetimeRule::new(Lifetime::AtMost(Duration::from_secs(5)))],
        ..Rules::default()
    };
    let scene = Scene::with(&[("cache-control", "max-age=600")], 5, rules, |near| near);
    scene.heat();
    assert_eq!(scene.near.stats().counts().of(Outcome::Hit), 1);
    scene.clock.advance(Duration::from_secs(5));
    assert_ne!(Outcome::of(scene.get().headers()), Some(Outcome::Hit));
}

#[test]
fn uncacheable_responses_are_not_stored() {
    for (fields, size) in [
        (&[("cache-control", "private, max-age=60")][..], 5),
        (&[("cache-control", "no-store")], 5),
        (&[("cache-control", "no-cache, max-age=60")], 5),
        (&[("cache-control", "max-age=60"), ("set-cookie", "a=b")], 5),
        (&[("cache-control", "private, max-age=60"), ("cdn-cache-control", "private, max-age=60")], 5),
        (&[("cache-control", "max-age=60"), ("vary", "*")], 5),
        (&[("cache-control", "max-age=0")], 5),
        (&[("last-modified", "Fri, 15 Jan 2027 00:00:00 GMT")], 16 * 1024 + 1),
        (&[("cache-control", "max-age=60")], 16 * 1024 + 1),
    ] {
        let scene = Scene::with(fields, size, Rules::default(), |near| near);
        for number in 1..=20 {
            assert_eq!(scene.get().body().length(), Some(size as u64));
            assert_eq!(scene.asked(), number, "{fields:?}");
        }
        assert_eq!(scene.near.usage().keys, 0, "{fields:?}");
    }
}

#[test]
fn special_requests_bypass_the_near_cache() {
    let scene = Scene::new(&[("cache-control", "public, max-age=60"), ("etag", "\"a\"")]);
    let fields = [
        ("authorization", "Basic YQ=="),
        ("cookie", "a=b"),
        ("range", "bytes=0-1"),
        ("if-none-match", "\"a\""),
        ("if-modified-since", "Fri, 15 Jan 2027 00:00:00 GMT"),
        ("if-match", "\"a\""),
        ("cache-control", "no-cache"),
        ("cache-control", "max-stale"),
        ("pragma", "no-cache"),
    ];
    for field in fields {
        for _ in 0..20 {
            scene.send("GET", URL, &[field]).unwrap();
        }
    }
    for _ in 0..20 {
        scene.send("HEAD", URL, &[]).unwrap();
    }
    assert_eq!(scene.asked(), 20 * (fields.len() + 1));
    assert_eq!(scene.near.stats().counts().to_string(), Stats::default().counts().to_string());
    // None of these requests made the URL hot.
    for _ in 0..7 {
        scene.get();
    }
    assert_eq!(scene.near.stats().counts().origin_requests, 0);
}

#[test]
fn vary_selects_the_copy() {
    let scene = Scene::new(&[("cache-control", "max-age=60"), ("vary", "accept-language")]);
    scene.heat();
    for (field, asks) in [
        (("accept-language", "de"), true),
        (("accept-language", "de"), true),
        (("accept-language", "de"), false),
        (("user-agent", "another"), false),
    ] {
        let before = scene.asked();
        scene.send("GET", URL, &[field]).unwrap();
        assert_eq!(scene.asked() > before, asks, "{field:?}");
    }
}

/// The owner may select responses by such a field without listing it in `Vary`.
#[test]
fn unknown_fields_select_the_copy() {
    let scene = Scene::new(&[("cache-control", "max-age=60")]);
    for _ in 0..9 {
        scene.send("GET", URL, &[("x-unknown", "1")]).unwrap();
    }
    let asked = scene.asked();
    scene.send("GET", URL, &[("x-unknown", "1")]).unwrap();
    assert_eq!(scene.asked(), asked);
    for field in [("x-unknown", "2"), ("accept", "*/*")] {
        let before = scene.asked();
        scene.send("GET", URL, &[field]).unwrap();
        assert_eq!(scene.asked(), before + 1, "{field:?}");
    }
}

#[test]
fn copy_is_served_while_the_owner_is_down() {
    for (control, longest, until) in [
        ("max-age=30", 60, 30),
        ("max-age=30", 10, 30),
        ("max-age=30, must-revalidate", 10, 29),
        ("max-age=30, stale-if-error=5", 10, 35),
        ("max-age=30, stale-while-revalidate=5", 10, 30),
    ] {
        let fields: Fields = Box::leak(Box::new([("cache-control", control)]));
        let longest = Duration::from_secs(longest);
        let scene = Scene::with(fields, 5, Rules::default(), |near| near.longest(longest).hot(1, longest));
        scene.get();
        scene.get();
        scene.is_owner_down.store(true, Ordering::Relaxed);
        for second in 0..=until {
            assert!(scene.send("GET", URL, &[]).is_ok(), "{control} {longest:?} {second}");
            scene.clock.advance(Duration::from_secs(1));
        }
        let error = scene.send("GET", URL, &[]).unwrap_err();
        assert_eq!((error.kind(), error.message()), (ErrorKind::Unreachable, "the owner is down"));
    }
}

#[test]
fn copy_is_revalidated_after_the_longest_time() {
    let ten = Duration::from_secs(10);
    let fields = &[("cache-control", "max-age=600"), ("etag", "\"a\"")];
    let scene = Scene::with(fields, 5, Rules::default(), |near| near.longest(ten).hot(1, ten));
    scene.get();
    scene.get();
    scene.clock.advance(ten);
    let response = scene.get();
    assert_eq!(
        status_of(&response),
        [
            "forwardcache; hit; ttl=590",
            "forwardcache-near; fwd=stale; fwd-status=304; ttl=10; detail=revalidated"
        ]
    );
    assert_eq!(response.headers()["age"], "10");
    assert_eq!(response.into_body().into_text().unwrap(), "xxxxx");
    let asked = scene.asked();
    scene.clock.advance(ten - Duration::from_millis(1));
    assert_eq!(Outcome::of(scene.get().headers()), Some(Outcome::Hit));
    assert_eq!(scene.asked(), asked);
}

#[test]
fn reload_and_unsafe_request_drop_the_copy() {
    for (method, fields, forgets) in [
        ("GET", &[("cache-control", "no-cache")][..], true),
        ("GET", &[("pragma", "no-cache")], true),
        ("GET", &[("cache-control", "max-age=5")], true),
        ("GET", &[("cookie", "a=b")], false),
        ("HEAD", &[], false),
        ("POST", &[], true),
        ("DELETE", &[("authorization", "Basic YQ==")], true),
    ] {
        let scene = Scene::new(&[("cache-control", "max-age=60")]);
        scene.heat();
        assert_eq!(scene.near.usage().keys, 1);
        scene.send(method, URL, fields).unwrap();
        assert_eq!(scene.near.usage().keys, u64::from(!forgets), "{method} {fields:?}");
    }
}

#[test]
fn forget_drops_copies() {
    let scene = Scene::new(&[("cache-control", "max-age=60")]);
    scene.heat();
    scene.near.forget(&CanonicalUrl::parse("http://example.com/b").unwrap());
    assert_eq!(scene.near.usage().keys, 1);
    scene.near.forget(&CanonicalUrl::parse(URL).unwrap());
    assert_eq!(scene.near.usage().keys, 0);
    scene.get();
    assert_eq!(scene.near.usage().keys, 1);
    scene.near.forget_all();
    assert_eq!(scene.near.usage().keys, 0);
    assert_eq!(scene.near.stats().counts().of(Outcome::Hit), 1);
}

#[test]
fn memory_limit_is_kept() {
    let scene = Scene::with(&[("cache-control", "max-age=60")], 8 << 10, Rules::default(), |near| near);
    assert_eq!(scene.near.usage().capacity, MEMORY);
    for round in 0..9 {
        for number in 0..300 {
            scene.send("GET", &format!("http://example.com/{number}"), &[]).unwrap();
            let usage = scene.near.usage();
            assert!(usage.bytes <= MEMORY, "{round} {number}: {usage:?}");
        }
    }
    let usage = scene.near.usage();
    assert!(usage.keys > 50 && usage.evictions > 0, "{usage:?}");
}

#[test]
fn urls_of_the_own_peer_are_not_copied() {
    let mut scene = Scene::new(&[("cache-control", "max-age=60")]);
    scene.near.parts.own = Some(PeerUrl::parse("http://me:3000").unwrap());
    let target = CanonicalUrl::parse(URL).unwrap();
    for _ in 0..20 {
        let bypass = |_: &CanonicalUrl, request| scene.near.parts.owner.round_trip(request);
        let request = Request::get(URL).body(Body::empty()).unwrap();
        let is_own = |_: &CanonicalUrl, own: &PeerUrl| own.as_str() == "http://me:3000";
        scene.near.round_trip(target.clone(), request, is_own, bypass).unwrap();
    }
    assert_eq!((scene.asked(), scene.near.usage().keys), (20, 0));
}

#[test]
fn responses_of_other_programs_are_not_stored() {
    let mut scene = Scene::new(&[]);
    let asked = Arc::new(Mutex::new(0));
    let count = Arc::clone(&asked);
    let other = RoundTripFn(move |_| {
        *count.lock() += 1;
        let response = Response::builder().header("cache-control", "max-age=60").header("x-from-cache", "1");
        Ok(response.header("cache-status", "Other; hit; ttl=60").body(Body::from("hello")).unwrap())
    });
    scene.near.parts.owner = Arc::new(other);
    scene.near.forget_all();
    for number in 1..=20 {
        let response = scene.get();
        assert_eq!((response.status(), *asked.lock()), (StatusCode::OK, number));
        assert_eq!(status_of(&response), ["Other; hit; ttl=60"]);
        assert_eq!(response.headers()["x-from-cache"], "1");
    }
}

#[test]
fn invalid_options_are_rejected() {
    let second = Duration::from_secs(1);
    for (options, refused) in [
        (NearCache::new(), None),
        (NearCache::new().memory(0), None),
        (NearCache::new().memory(32 << 10), None),
        (
            NearCache::new().memory(1),
            Some("1 bytes are too few for a near cache: use at least 32768, or 0 to turn it off"),
        ),
        (
            NearCache::new().hot(0, second),
            Some("invalid number of requests 0 that make a URL hot: it must be from 1 to 2047"),
        ),
        (
            NearCache::new().hot(2048, second),
            Some("invalid number of requests 2048 that make a URL hot: it must be from 1 to 2047"),
        ),
        (
            NearCache::new().hot(8, Duration::ZERO),
            Some("invalid time in which requests make a URL hot: it must not be zero"),
        ),
    ] {
        let clock = Arc::new(ManualClock::at_unix_seconds(0));
        let owner = Arc::new(crate::message::round_trip::Offline);
        let near = NearHttpCache::new(NearCacheParts {
            options,
            owner,
            clock,
            own: None,
            rules: None,
            watcher: Watcher::default(),
        });
        let error = near.err().map(|error| (error.kind(), error.message().to_owned()));
        assert_eq!(error, refused.map(|text| (ErrorKind::BadOption, text.to_owned())));
    }
    assert_eq!(NearCache::new().or_memory(1000).bytes(), 0);
    assert_eq!(NearCache::new().memory(64 << 10).or_memory(1 << 20).bytes(), 64 << 10);
}

#[test]
fn concurrent_requests_share_one_fetch_and_its_error() {
    let ten = Duration::from_secs(10);
    let scene = Scene::with(&[("cache-control", "max-age=60")], 5, Rules::default(), |near| near.hot(1, ten));
    scene.get();
    scene.near.forget_all();
    let asked = scene.asked();
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| assert_eq!(scene.get().into_body().into_text().unwrap(), "xxxxx"));
        }
    });
    assert_eq!(scene.asked(), asked + 1);
    scene.near.forget_all();
    scene.is_owner_down.store(true, Ordering::Relaxed);
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                let error = scene.send("GET", URL, &[]).unwrap_err();
                // The cache adds the URL to the error for waiting requests; the owner's own error has none.
                assert_eq!((error.kind(), error.url()), (ErrorKind::Unreachable, None));
            });
        }
    });
}

#[test]
fn group_invalidation_drops_the_copies() {
    let fields: Fields =
        &[("cache-control", "max-age=60"), ("cache-groups", "\"a\""), ("cache-group-invalidation", "\"a\"")];
    let scene = Scene::new(fields);
    scene.heat();
    let asked = scene.asked();
    scene.get();
    assert_eq!(scene.asked(), asked);
    scene.send("POST", "http://example.com/another", &[]).unwrap();
    scene.get();
    assert_eq!(scene.asked(), asked + 2);
}

#[test]
fn revalidated_response_without_freshness_is_used_once() {
    let ten = Duration::from_secs(10);
    let mut scene = Scene::with(&[], 5, Rules::default(), |near| near.longest(ten).hot(1, ten));
    scene.near.parts.owner = Arc::new(RoundTripFn(|request: Request<Body>| {
        let response = Response::builder().header("etag", "\"a\"").header("cache-control", "max-age=60");
        Ok(if request.headers().contains_key("if-none-match") {
            response.status(304).body(Body::empty()).unwrap()
        } else {
            let response = response.header("cache-status", "forwardcache; hit; ttl=60");
            response.body(Body::from("hello")).unwrap()
        })
    }));
    scene.near.forget_all();
    scene.get();
    assert_eq!(scene.near.usage().keys, 1);
    scene.clock.advance(ten);
    let response = scene.get();
    assert_eq!(
        status_of(&response),
        ["forwardcache-near; fwd=stale; fwd-status=304; ttl=0; detail=revalidated"]
    );
    assert_eq!(response.into_body().into_text().unwrap(), "hello");
    assert_eq!(scene.near.usage().keys, 0);
}
