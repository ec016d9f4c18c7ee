//! The operator's choices: stale rules, lifetimes, filling on partial requests, soft purges.

use super::*;
use crate::message::interim::OnInterim;
use crate::message::purge::Purge;

const FOREVER: Duration = Duration::MAX;

/// A cache whose refreshes run only in `maintain`.
fn scene(choose: impl FnOnce(&mut Rules)) -> Scene {
    let mut rules = Rules::default();
    choose(&mut rules);
    Scene::built(|cache| cache.rules(rules).background(Background::CallerRuns))
}

fn shared(rule: &str) -> Scene {
    let mut rules = Rules::new(Mode::Shared);
    rules.lifetimes = vec![rule.parse().unwrap()];
    Scene::built(|cache| cache.rules(rules))
}

#[test]
fn stale_while_revalidate_has_a_default() {
    let scene = scene(|rules| rules.stale_while_revalidate = Duration::from_secs(30));
    scene.answer(200, FRESH, "one").get(&[]);
    scene.pass(80);
    scene.get(&[]).is(Outcome::StaleWhileRevalidate, "one");
    scene.answer(304, &[("etag", "\"1\"")], "");
    assert_eq!(scene.cache.maintain(FOREVER), 1);
    scene.get(&[]).is(Outcome::Hit, "one");
    scene.pass(100);
    scene.answer(200, FRESH, "two").get(&[]).is(Outcome::Miss(Forward::Stale), "two");
}

#[test]
fn a_response_in_use_is_refreshed_before_it_is_stale() {
    let scene = scene(|rules| rules.early_refresh = 10);
    scene.answer(200, FRESH, "one").get(&[]);
    scene.pass(50);
    scene.get(&[]).is(Outcome::Hit, "one");
    assert_eq!(scene.cache.maintain(FOREVER), 0);
    scene.pass(5);
    scene.get(&[]).is(Outcome::Hit, "one");
    scene.answer(304, &[("etag", "\"1\""), ("cache-control", "max-age=60")], "");
    assert_eq!((scene.cache.maintain(FOREVER), scene.times_asked()), (1, 2));
    assert_eq!(scene.last_asked().field("if-none-match"), Some("\"1\""));
    scene.pass(50);
    scene.get(&[]).is(Outcome::Hit, "one");
}

#[test]
fn followers_in_grace_get_the_stale_response_immediately() {
    let rules = Rules { grace: Duration::from_secs(30), ..Rules::default() };
    let (begun, may_end) = (Arc::new(Barrier::new(2)), Arc::new(Barrier::new(2)));
    let clock = Arc::new(ManualClock::at_unix_seconds(1_000_000_000));
    let count = AtomicUsize::new(0);
    let origin = {
        let (begun, may_end) = (Arc::clone(&begun), Arc::clone(&may_end));
        RoundTripFn(move |_| {
            if count.fetch_add(1, Ordering::SeqCst) == 1 {
                begun.wait();
                may_end.wait();
            }
            Ok(Response::builder().header("cache-control", "max-age=60").body(Body::from("x")).unwrap())
        })
    };
    let cache = HttpCache::builder().rules(rules).origin(origin).clock(Arc::clone(&clock)).build().unwrap();
    let get = |control: &str| {
        let request = Request::get(URL).header("cache-control", control).body(Body::empty()).unwrap();
        Outcome::of(cache.round_trip(request).unwrap().headers())
    };
    get("");
    clock.advance(Duration::from_secs(80));
    thread::scope(|scope| {
        let first = scope.spawn(|| get(""));
        begun.wait();
        assert_eq!(get(""), Some(Outcome::StaleWhileRevalidate));
        assert_eq!(get("max-stale=100"), Some(Outcome::StaleAccepted));
        may_end.wait();
        assert_eq!(first.join().unwrap(), Some(Outcome::Miss(Forward::Stale)));
    });
}

#[test]
fn a_lifetime_rule_applies_to_successes_and_overrides_only_explicitly() {
    for (rule, status, control, is_stored) in [
        ("at-least=1h", 200, "max-age=1", true),
        ("at-least=1h", 404, "", false),
        ("at-least=1h", 500, "max-age=0", false),
        ("at-least=1h status=500", 500, "", true),
        ("at-least=1h", 200, "no-store", false),
        ("at-least=1h override=no-store", 200, "no-store", true),
        ("at-least=1h override=no-store", 200, "no-store, private", false),
        ("at-least=1h override=no-store,private", 200, "no-store, private", true),
        ("at-least=1h override=private", 200, "private, max-age=0", true),
        ("at-least=1h host=example.com:81 override=no-store", 200, "no-store", false),
        ("at-least=1h override=no-store", 200, "no-cache", false),
    ] {
        let scene = shared(rule);
        scene.answer(status, &[("cache-control", control)], "one").get(&[]);
        scene.pass(1800);
        scene.answer(200, &[("cache-control", "no-store")], "two");
        let is_hit = scene.get(&[]).body == "one";
        assert_eq!(is_hit, is_stored, "{rule} | {status} {control}");
    }
}

#[test]
fn a_body_over_max_body_passes_through() {
    let scene = Scene::built(|cache| cache.max_body(3));
    scene.answer(200, FRESH, "1234").get(&[]);
    scene.answer(200, FRESH, "123").get(&[]).is(Outcome::Miss(Forward::UriMiss), "123");
    scene.get(&[]).is(Outcome::Hit, "123");
}

#[test]
fn explain_reports_why_the_last_response_was_not_stored() {
    let scene = Scene::shared();
    let explain = || scene.cache.explain(&Request::get(URL).body(()).unwrap()).unwrap();
    assert_eq!(explain().not_stored, None);
    scene.answer(203, &[("cache-control", "no-store")], "one").get(&[]);
    scene.pass(7);
    let last = explain().not_stored.unwrap();
    assert_eq!((last.status.as_u16(), last.ago.as_secs()), (203, 7));
    assert_eq!((last.reason, last.clause), ("no-store", "RFC 9111 section 5.2.2.5"));
    let text = explain().to_string();
    let line = "last      203, fetched 7 s ago, was not stored: no-store (RFC 9111 section 5.2.2.5)\n";
    assert!(text.contains(line), "{text}");
    scene.answer(200, FRESH, "two").get(&[]);
    assert_eq!(explain().not_stored, None);
}

#[test]
fn a_range_from_0_fills_the_cache_once_if_its_part_cannot_be_completed() {
    for (fields, range, is_filled) in [
        (&[("cache-control", "max-age=60")][..], "bytes=0-1", true),
        (&[("cache-control", "max-age=60")], "bytes=2-3", false),
        (&[("cache-control", "no-store")], "bytes=0-1", false),
        (&[("cache-control", "max-age=60"), ("etag", "\"1\"")], "bytes=0-1", false),
    ] {
        let scene = scene(|_| ());
        let content_range = format!("{}/10", range.replace('=', " "));
        let part = [fields, &[("content-range", &*content_range)]].concat();
        scene.answer(206, &part, "01");
        assert_eq!(scene.get(&[("range", range)]).status, 206);
        if is_filled {
            scene.answer(200, fields, "0123456789");
        }
        assert_eq!(scene.cache.maintain(FOREVER), usize::from(is_filled), "{fields:?} {range}");
        if is_filled {
            assert_eq!(scene.last_asked().field("range"), None);
            scene.get(&[]).is(Outcome::Hit, "0123456789");
            assert_eq!(scene.get(&[("range", "bytes=4-5")]).body, "45");
        }
    }
    let off = scene(|rules| rules.fill_on_range = false);
    off.answer(206, &[("cache-control", "max-age=60"), ("content-range", "bytes 0-1/10")], "01");
    off.get(&[("range", "bytes=0-1")]);
    assert_eq!(off.cache.maintain(FOREVER), 0);
    let small = Scene::built(|cache| cache.max_body(9).background(Background::CallerRuns));
    small.answer(206, &[("cache-control", "max-age=60"), ("content-range", "bytes 0-1/10")], "01");
    small.get(&[("range", "bytes=0-1")]);
    assert_eq!(small.cache.maintain(FOREVER), 0);
}

#[test]
fn a_conditional_request_fills_the_cache_if_enabled() {
    for (is_on, expected) in [(false, 0), (true, 1)] {
        let scene = scene(|rules| rules.fill_on_conditional = is_on);
        scene.answer(304, FRESH, "");
        assert_eq!(scene.get(&[("if-none-match", "\"1\"")]).status, 304);
        if is_on {
            scene.answer(200, FRESH, "one");
        }
        assert_eq!(scene.cache.maintain(FOREVER), expected);
        if is_on {
            assert_eq!(scene.last_asked().field("if-none-match"), None);
            scene.get(&[]).is(Outcome::Hit, "one");
            assert_eq!(scene.get(&[("if-none-match", "\"1\"")]).status, 304);
            assert_eq!(scene.times_asked(), 2);
        }
    }
}

#[test]
fn a_soft_purged_response_is_validated_or_served_on_error() {
    let purges = || {
        [
            Purge::url(URL).unwrap(),
            Purge::prefix("http://example.com/").unwrap(),
            Purge::group("http://example.com", "a").unwrap(),
            Purge::all(),
        ]
    };
    let fields = [FRESH, &[("cache-groups", "\"a\"")]].concat();
    for purge in purges() {
        let scene = Scene::new();
        scene.answer(200, &fields, "one").get(&[]);
        scene.pass(10);
        let purged = scene.cache.purge(&purge.clone().soft());
        assert_eq!((purged.responses, purged.is_counted), (1, true), "{purge}");
        assert_eq!(scene.cache.purge(&purge.clone().soft()).responses, 0, "{purge}: it was marked before");
        scene.fail(ErrorKind::Unreachable).get(&[]).is(Outcome::StaleIfError(Forward::Stale), "one");
        scene.pass(2);
        scene.answer(304, &fields, "").get(&[]).is(Outcome::Revalidated(Forward::Stale), "one");
        assert_eq!(scene.last_asked().field("if-none-match"), Some("\"1\""));
        scene.get(&[]).is(Outcome::Hit, "one");
        assert_eq!(scene.cache.purge(&purge).responses, 1, "{purge}");
        scene.answer(200, &fields, "two").get(&[]).is(Outcome::Miss(Forward::UriMiss), "two");
    }
    for other in [Purge::url("http://example.com/b"), Purge::group("http://example.com", "b")] {
        let scene = Scene::new();
        scene.answer(200, &fields, "one").get(&[]);
        assert_eq!(scene.cache.purge(&other.unwrap().soft()).responses, 0);
        scene.get(&[]).is(Outcome::Hit, "one");
    }
}

#[test]
fn a_soft_purge_applies_to_unlisted_stores_and_fetches_under_way() {
    let scene = Scene::with(
        Mode::Private,
        crate::store::BackedStore::new(purging::Unlisted(crate::store::MemoryByteStore::new())),
    );
    scene.answer(200, FRESH, "one").get(&[]);
    assert!(!scene.cache.purge(&Purge::all().soft()).is_counted);
    scene.answer(304, FRESH, "").get(&[]).is(Outcome::Revalidated(Forward::Stale), "one");
    scene.get(&[]).is(Outcome::Hit, "one");

    let purging: Arc<Mutex<Option<HttpCache>>> = Arc::default();
    let cache = {
        let purging = Arc::clone(&purging);
        let origin = RoundTripFn(move |_| {
            if let Some(cache) = purging.lock().unwrap().take() {
                cache.purge(&Purge::url(URL).unwrap().soft());
            }
            Ok(Response::builder().header("cache-control", "max-age=60").body(Body::from("x")).unwrap())
        });
        HttpCache::builder().origin(origin).store(MemoryStore::new(1 << 20)).build().unwrap()
    };
    *purging.lock().unwrap() = Some(cache.clone());
    let outcome = || {
        let response = cache.round_trip(Request::get(URL).body(Body::empty()).unwrap()).unwrap();
        let outcome = Outcome::of(response.headers());
        response.into_body().into_text().unwrap();
        outcome
    };
    outcome();
    assert_eq!(outcome(), Some(Outcome::Miss(Forward::Stale)), "a fetch older than the purge is stale");
    assert_eq!(outcome(), Some(Outcome::Hit));
}

#[test]
fn interim_responses_reach_the_requesting_client_and_are_not_stored() {
    let origin = RoundTripFn(|request: Request<Body>| {
        let on_interim = request.extensions().get::<OnInterim>().expect("the extension is passed on");
        let hints: HeaderMap = [(http::header::LINK, HeaderValue::from_static("</a>"))].into_iter().collect();
        on_interim.tell(http::StatusCode::EARLY_HINTS, &hints);
        Ok(Response::builder().header("cache-control", "max-age=60").body(Body::from("x")).unwrap())
    });
    let cache = HttpCache::builder().origin(origin).store(MemoryStore::new(1 << 20)).build().unwrap();
    for (method, expected) in [("POST", 1), ("GET", 2), ("GET", 2), ("HEAD", 2)] {
        let told = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&told);
        let on_interim = OnInterim::new(move |_, headers| {
            assert_eq!(headers["link"], "</a>");
            count.fetch_add(1, Ordering::SeqCst);
        });
        let request =
            Request::builder().method(method).uri(URL).extension(on_interim).body(Body::empty()).unwrap();
        let outcome = Outcome::of(cache.round_trip(request).unwrap().headers()).unwrap();
        let is_hit = outcome == Outcome::Hit;
        assert_eq!(told.load(Ordering::SeqCst), usize::from(!is_hit), "{method} {expected}");
    }
}

#[test]
fn a_post_is_answered_from_the_stored_response_to_the_same_content() {
    let scene = Scene::built(|cache| cache.cache_post(10));
    let post = |content: &'static str, fields: &[(&str, &str)]| {
        let mut request = Request::post(URL);
        for (name, value) in fields {
            request = request.header(*name, *value);
        }
        Answer::read(scene.cache.round_trip(request.body(Body::from(content)).unwrap()).unwrap())
    };
    let passed = Outcome::Passed(Forward::Method);
    scene.answer(200, FRESH, "one");
    post("{a}", &[]).is(passed, "one");
    assert_eq!(scene.last_asked().body, "{a}");
    post("{a}", &[]).is(Outcome::Hit, "one");
    assert_eq!(scene.times_asked(), 1);
    // Another content, type or credential, content over the limit, and a reload are misses.
    for (content, fields) in [
        ("{b}", &[][..]),
        ("{a}", &[("content-type", "application/json")]),
        ("{a}", &[("authorization", "Basic x")]),
        ("01234567890", &[]),
        ("01234567890", &[]),
        ("{a}", &[("cache-control", "no-cache")]),
    ] {
        scene.answer(200, FRESH, "two");
        post(content, fields).is(passed, "two");
    }
    post("{b}", &[]).is(Outcome::Hit, "two");
    // A GET has another key.
    scene.answer(200, FRESH, "get").get(&[]).is(Outcome::Miss(Forward::UriMiss), "get");
    // A stale POST is forwarded without conditions and invalidates the GET.
    scene.pass(60);
    scene.answer(200, &[("cache-control", "no-store")], "three");
    post("{b}", &[]).is(passed, "three");
    assert_eq!(scene.last_asked().field("if-none-match"), None);
    // Responses without an explicit lifetime and error responses are not stored.
    for (status, control) in [(200, "public"), (404, "max-age=60")] {
        for _ in 0..2 {
            scene.answer(
                status,
                &[("cache-control", control), ("last-modified", "Sun, 06 Nov 1994 08:49:37 GMT")],
                "x",
            );
            post("{c}", &[]).is(passed, "x");
        }
    }
    assert_eq!(scene.cache.purge(&Purge::url(URL).unwrap()).responses, 4);
}

#[test]
fn another_unsafe_method_invalidates_the_stored_responses_to_post() {
    let scene = Scene::built(|cache| cache.cache_post(10));
    let post = || {
        let request = Request::post(URL).body(Body::from("{a}")).unwrap();
        Answer::read(scene.cache.round_trip(request).unwrap())
    };
    scene.answer(200, FRESH, "one");
    post().is(Outcome::Passed(Forward::Method), "one");
    scene.answer(404, &[], "");
    scene.send("DELETE", URL, &[]).unwrap();
    post().is(Outcome::Hit, "one");
    scene.answer(200, &[], "");
    scene.send("PUT", URL, &[]).unwrap();
    scene.answer(200, FRESH, "two");
    post().is(Outcome::Passed(Forward::Method), "two");
}

#[test]
fn post_responses_are_not_stored_by_default() {
    let scene = Scene::new();
    for _ in 0..2 {
        scene.answer(200, FRESH, "x");
        let request = Request::post(URL).body(Body::from("{a}")).unwrap();
        Answer::read(scene.cache.round_trip(request).unwrap()).is(Outcome::Passed(Forward::Method), "x");
    }
}
