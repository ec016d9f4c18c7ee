//! Stale responses: served, refreshed, or refused.

use super::*;

#[test]
fn only_if_cached_never_reaches_the_origin() {
    let scene = Scene::new();
    let asked = [("cache-control", "only-if-cached")];
    let answer = scene.get(&asked);
    answer.is(Outcome::OnlyIfCached, "");
    assert_eq!(answer.status, 504);
    scene.answer(200, FRESH, "one");
    scene.get(&[]);
    scene.get(&asked).is(Outcome::Hit, "one");
    scene.pass(61);
    assert_eq!(scene.get(&asked).status, 504);
}

#[test]
fn a_stale_response_is_served_when_the_origin_fails() {
    let scene = Scene::new();
    scene.answer(200, FRESH, "one");
    scene.get(&[]);
    scene.pass(100);
    scene.fail(ErrorKind::Unreachable);
    let stale = scene.get(&[]);
    stale.is(Outcome::StaleIfError(Forward::Stale), "one");
    assert_eq!(stale.field("age"), Some("100"));
    scene.pass(1);
    scene.answer(503, &[], "busy");
    let stale = scene.get(&[]);
    stale.is(Outcome::StaleIfError(Forward::Stale), "one");
    assert!(stale.field("cache-status").unwrap().contains("fwd-status=503"));
}

#[test]
fn must_revalidate_prohibits_stale_on_error() {
    let scene = Scene::new();
    scene.answer(200, &[("cache-control", "max-age=60, must-revalidate")], "one");
    scene.get(&[]);
    scene.pass(100);
    scene.fail(ErrorKind::Timeout);
    assert_eq!(scene.send("GET", URL, &[]).unwrap_err().kind(), ErrorKind::Timeout);
    scene.pass(1);
    scene.answer(503, &[], "busy");
    assert_eq!(scene.get(&[]).status, 503);
    assert_eq!(scene.cache.stats().counts().of(Outcome::Failed(Forward::Stale)), 1);
}

/// Returns a throttled cache for a scripted origin, with the clock of the scene, and its request counter.
fn polite(scene_clock: &Arc<ManualClock>, script: Vec<Response<Body>>) -> (HttpCache, Arc<AtomicUsize>) {
    let asked = Arc::new(AtomicUsize::new(0));
    let (counted, script) = (Arc::clone(&asked), Mutex::new(VecDeque::from(script)));
    let origin = RoundTripFn(move |_| {
        counted.fetch_add(1, Ordering::SeqCst);
        Ok(script.lock().unwrap().pop_front().expect("the origin is asked more often than expected"))
    });
    let clock: Arc<dyn Clock> = Arc::clone(scene_clock) as _;
    let polite = Throttle::alone(origin, OriginLimits::new(), Arc::clone(&clock));
    let cache = HttpCache::builder().origin(polite).store(MemoryStore::new(1 << 20)).clock(clock);
    (cache.build().unwrap(), asked)
}

fn reply(status: u16, name: &str, value: &str, body: &'static str) -> Response<Body> {
    Response::builder().status(status).header(name, value).body(Body::from(body)).unwrap()
}

#[test]
fn a_stale_response_is_served_while_the_origin_requests_a_pause() {
    // A response to a validation replaces the stored one unless it is a 5xx (RFC 9111 section 4.3.3). A 429 is not
    // stored, and the stored response remains (RFC 6585 section 4).
    for (status, first) in [(429, None), (503, Some(Outcome::StaleIfError(Forward::Stale)))] {
        let clock = Arc::new(ManualClock::at_unix_seconds(1_000_000_000));
        let (cache, asked) = polite(
            &clock,
            vec![
                reply(200, "cache-control", "max-age=60, stale-if-error=3600", "one"),
                reply(status, "retry-after", "120", "busy"),
                reply(200, "cache-control", "max-age=60", "two"),
            ],
        );
        let send = |method: &str, url: &str| {
            cache.round_trip(Request::builder().method(method).uri(url).body(Body::empty()).unwrap())
        };
        let get = || Answer::read(send("GET", URL).unwrap());
        get().is(Outcome::Miss(Forward::UriMiss), "one");
        clock.advance(Duration::from_secs(100));
        match first {
            Some(stale) => drop(get().is(stale, "one")),
            None => assert_eq!(get().is(Outcome::Miss(Forward::Stale), "busy").status, 429),
        }
        for _ in 0..3 {
            get().is(Outcome::StaleIfError(Forward::Stale), "one");
        }
        clock.advance(Duration::from_secs(50));
        for (method, url) in [("GET", "http://example.com/b"), ("POST", URL)] {
            let error = send(method, url).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::OriginBusy);
            assert_eq!(error.retry_after(), Some(Duration::from_secs(70)));
        }
        let counts = cache.stats().counts();
        assert_eq!((asked.load(Ordering::SeqCst), counts.origin_requests), (2, 2));
        clock.advance(Duration::from_secs(70));
        get().is(Outcome::Miss(Forward::Stale), "two");
    }
}

#[test]
fn a_request_does_not_wait_for_its_own_origin_permit() {
    let stream = |response: http::response::Builder, body: &'static str| {
        response.body(Body::from_reader(body.as_bytes(), Some(body.len() as u64))).unwrap()
    };
    let beginning = || {
        let part = Response::builder().status(206).header("content-range", "bytes 0-4/10");
        stream(part.header("cache-control", "max-age=60").header("etag", "\"1\""), "01234")
    };
    let not_the_rest = Response::builder().status(206).header("content-range", "bytes 7-9/10");
    for second in
        [stream(Response::builder().status(416), "no"), stream(not_the_rest.header("etag", "\"1\""), "789")]
    {
        let script = VecDeque::from([beginning(), second, stream(Response::builder(), "whole")]);
        let script = Mutex::new(script);
        let origin = RoundTripFn(move |_| Ok(script.lock().unwrap().pop_front().unwrap()));
        let one = OriginLimits::new().concurrent(1).max_wait(Duration::ZERO);
        let clock: Arc<dyn Clock> = Arc::new(ManualClock::at_unix_seconds(1_000_000_000));
        let polite = Throttle::alone(origin, one, Arc::clone(&clock));
        let cache = HttpCache::builder().origin(polite).store(MemoryStore::new(1 << 20)).clock(clock);
        let cache = cache.build().unwrap();
        let get = |request: http::request::Builder| {
            Answer::read(cache.round_trip(request.uri(URL).body(Body::empty()).unwrap()).unwrap()).body
        };
        assert_eq!(get(Request::builder().header("range", "bytes=0-4")), "01234");
        assert_eq!(get(Request::builder()), "whole");
    }
}

#[test]
fn a_response_about_the_client_is_not_stored() {
    for status in [428, 429, 431, 511] {
        let scene = Scene::new();
        for _ in 0..2 {
            scene.answer(status, FRESH, "no");
            let answer = scene.get(&[]);
            answer.is(Outcome::Miss(Forward::UriMiss), "no");
            assert!(answer.field("cache-status").unwrap().contains("detail=about-request"));
        }
        assert_eq!(scene.times_asked(), 2);
    }
}

#[test]
fn a_429_to_head_leaves_the_stored_response() {
    let scene = Scene::new();
    scene.answer(200, FRESH, "one");
    scene.get(&[]);
    scene.answer(429, &[], "");
    assert_eq!(scene.send("HEAD", URL, &[("cache-control", "no-cache")]).unwrap().status(), 429);
    scene.get(&[]).is(Outcome::Hit, "one");
}

#[test]
fn an_invalid_request_gets_no_stale_response() {
    let scene = Scene::new();
    scene.answer(200, FRESH, "one");
    scene.get(&[]);
    scene.pass(100);
    scene.fail(ErrorKind::BadRequest);
    assert_eq!(scene.send("GET", URL, &[]).unwrap_err().kind(), ErrorKind::BadRequest);
}

const REFRESHED: &[(&str, &str)] =
    &[("cache-control", "max-age=60, stale-while-revalidate=30"), ("etag", "\"1\"")];

#[test]
fn stale_while_revalidate_serves_immediately_and_refreshes_once() {
    let scene = Scene::with_background(Background::CallerRuns);
    scene.answer(200, REFRESHED, "one");
    scene.get(&[]);
    scene.pass(70);
    for fields in [&[][..], &[("range", "bytes=0-1")], &[("if-none-match", "\"1\"")]] {
        let stale = scene.get(fields);
        assert_eq!(Outcome::of(&stale.headers), Some(Outcome::StaleWhileRevalidate));
        assert_eq!(stale.field("age"), Some("70"));
    }
    assert_eq!(scene.times_asked(), 1);
    scene.answer(200, REFRESHED, "two");
    assert_eq!(scene.cache.maintain(Duration::from_secs(5)), 1);
    let asked = scene.last_asked();
    assert_eq!((asked.field("if-none-match"), asked.field("range")), (Some("\"1\""), None));
    scene.get(&[]).is(Outcome::Hit, "two");
    let counts = scene.cache.stats().counts();
    assert_eq!((counts.refreshes, counts.of(Outcome::Miss(Forward::Stale))), (1, 1));
    scene.pass(91);
    scene.answer(304, &[], "");
    scene.get(&[]).is(Outcome::Revalidated(Forward::Stale), "two");
}

#[test]
fn a_failed_refresh_keeps_the_stored_response_and_is_retried_after_a_pause() {
    let scene = Scene::with_background(Background::CallerRuns);
    scene.answer(200, REFRESHED, "one");
    scene.get(&[]);
    scene.pass(61);
    let refreshes = || {
        scene.get(&[]).is(Outcome::StaleWhileRevalidate, "one");
        scene.cache.maintain(Duration::from_secs(5))
    };
    // Each failure doubles the pause.
    for pause in [1, 2, 4] {
        scene.fail(ErrorKind::Timeout);
        assert_eq!(refreshes(), 1);
        scene.pass(pause - 1);
        assert_eq!(refreshes(), 0, "{pause}");
        scene.pass(1);
    }
    scene.answer(200, REFRESHED, "two");
    assert_eq!(refreshes(), 1);
    scene.get(&[]).is(Outcome::Hit, "two");
    assert_eq!(scene.times_asked(), 5);
}

#[test]
fn a_refresh_thread_does_not_keep_the_cache_alive() {
    let (tell, asked) = mpsc::channel();
    let tell = Mutex::new(tell);
    let clock = Arc::new(ManualClock::at_unix_seconds(1_000_000_000));
    let origin = RoundTripFn(move |_| {
        tell.lock().unwrap().send(()).unwrap();
        let response = Response::builder().header("cache-control", "max-age=60, stale-while-revalidate=30");
        Ok(response.body(Body::from("body")).unwrap())
    });
    let cache =
        HttpCache::builder().origin(origin).store(MemoryStore::new(1 << 20)).clock(Arc::clone(&clock));
    let cache = cache.build().unwrap();
    let get = || cache.round_trip(Request::get(URL).body(Body::empty()).unwrap()).unwrap();
    get();
    asked.recv().unwrap();
    clock.advance(Duration::from_secs(70));
    assert_eq!(Outcome::of(get().headers()), Some(Outcome::StaleWhileRevalidate));
    asked.recv_timeout(Duration::from_secs(10)).unwrap();
    drop(cache);
    // The last handle drops the origin, and the thread may hold that handle for a moment.
    assert_eq!(asked.recv_timeout(Duration::from_secs(10)), Err(mpsc::RecvTimeoutError::Disconnected));
}

#[test]
fn waiting_refreshes_run_on_drop_if_enabled() {
    for (budget, asked) in [(Duration::ZERO, 1), (Duration::from_secs(5), 2)] {
        let scene = Scene::built(|cache| cache.background(Background::CallerRuns).drain_on_drop(budget));
        scene.answer(200, REFRESHED, "one").answer(200, REFRESHED, "two");
        scene.get(&[]);
        scene.pass(70);
        scene.get(&[]).is(Outcome::StaleWhileRevalidate, "one");
        let log = Arc::clone(&scene.asked);
        drop(scene);
        assert_eq!(log.lock().unwrap().len(), asked);
    }
}

#[test]
fn an_offline_cache_answers_from_the_store_only() {
    let scene = Scene::new();
    scene.answer(200, FRESH, "one");
    scene.get(&[]);
    scene.cache.set_offline(true);
    scene.get(&[]).is(Outcome::Hit, "one");
    scene.pass(100_000);
    scene.get(&[]).is(Outcome::StaleAccepted, "one");
    assert_eq!(scene.get(&[("cache-control", "no-cache")]).status, 504);
    assert_eq!(scene.send("GET", "http://example.com/b", &[]).unwrap().status(), 504);
    assert_eq!(scene.send("POST", URL, &[]).unwrap_err().kind(), ErrorKind::Unreachable);
    assert_eq!(scene.times_asked(), 1);
    scene.cache.set_offline(false);
    scene.answer(304, &[], "");
    scene.get(&[]).is(Outcome::Revalidated(Forward::Stale), "one");
}

#[test]
fn client_directives_limit_every_way_of_serving_stale() {
    for control in ["max-stale=0", "max-stale=1", "max-age=90", "min-fresh=1", "no-cache"] {
        let asked = [("cache-control", control)];
        let scene = Scene::with_background(Background::CallerRuns);
        scene.answer(200, REFRESHED, "one");
        scene.get(&[]);
        scene.pass(62);
        // Stale during a refresh, on an error, and offline.
        scene.answer(304, &[("cache-control", "max-age=0")], "");
        let answer = scene.get(&asked);
        assert!(matches!(Outcome::of(&answer.headers), Some(Outcome::Revalidated(_))), "{control}");
        scene.pass(2);
        scene.fail(ErrorKind::Unreachable);
        assert!(scene.send("GET", URL, &asked).is_err(), "{control}");
        scene.pass(2);
        scene.answer(503, &[], "busy");
        assert_eq!(scene.get(&asked).status, 503, "{control}");
        scene.cache.set_offline(true);
        assert_eq!(scene.get(&asked).status, 504, "{control}");
    }
}

#[test]
fn stale_if_error_in_a_request_is_obeyed() {
    for (control, staleness, is_served) in [
        ("stale-if-error=10", 10, true),
        ("stale-if-error=10", 11, false),
        ("no-cache, stale-if-error=10", 10, true),
        ("max-age=0, stale-if-error=10", 10, true),
    ] {
        let scene = Scene::new();
        scene.answer(200, FRESH, "one");
        scene.get(&[]);
        scene.pass(60 + staleness);
        scene.answer(503, &[], "busy");
        let status = scene.get(&[("cache-control", control)]).status;
        assert_eq!(status, if is_served { 200 } else { 503 }, "{control} {staleness}");
    }
}

#[test]
fn a_stored_error_is_not_replaced_by_an_older_one() {
    for newer in [500, 502, 503, 504, 599] {
        let scene = Scene::new();
        scene.answer(500, &[("cache-control", "max-age=0"), ("etag", "\"1\"")], "old");
        scene.get(&[]);
        scene.pass(1);
        scene.answer(newer, &[], "new");
        let answer = scene.get(&[]);
        assert_eq!((answer.status, answer.body.as_str()), (newer, "new"));
        scene.pass(1);
        scene.fail(ErrorKind::Timeout);
        assert_eq!(scene.send("GET", URL, &[]).unwrap_err().kind(), ErrorKind::Timeout);
    }
}

#[test]
fn a_newer_error_removes_an_older_stale_while_revalidate_one() {
    let scene = Scene::with_background(Background::CallerRuns);
    scene.answer(500, &[("cache-control", "max-age=1, stale-while-revalidate=60")], "old");
    scene.get(&[]);
    scene.pass(2);
    scene.answer(503, &[], "new");
    scene.get(&[]).is(Outcome::StaleWhileRevalidate, "old");
    assert_eq!(scene.cache.maintain(Duration::from_secs(5)), 1);
    scene.answer(503, &[], "newer");
    scene.get(&[]).is(Outcome::Miss(Forward::UriMiss), "newer");
}

#[test]
fn a_clock_that_is_set_back_does_not_lengthen_a_pause() {
    let scene = Scene::with_background(Background::CallerRuns);
    scene.answer(200, REFRESHED, "one");
    scene.get(&[]);
    scene.pass(61);
    let refreshes = || {
        scene.get(&[]).is(Outcome::StaleWhileRevalidate, "one");
        scene.cache.maintain(Duration::from_secs(5))
    };
    scene.fail(ErrorKind::Timeout);
    assert_eq!(refreshes(), 1);
    assert_eq!(refreshes(), 0);
    scene.clock.set(scene.clock.now() - Duration::from_secs(3600));
    scene.answer(200, REFRESHED, "two");
    assert_eq!(refreshes(), 1);
}
