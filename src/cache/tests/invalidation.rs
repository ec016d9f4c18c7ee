//! Invalidation by unsafe requests and by newer responses.

use super::*;

#[test]
fn unsafe_methods_are_forwarded_and_invalidate() {
    for (method, status, fields, forgotten) in [
        ("POST", 200, &[][..], true),
        ("PUT", 201, &[], true),
        ("DELETE", 302, &[], true),
        ("POST", 500, &[], false),
        ("OPTIONS", 200, &[], false),
    ] {
        let scene = Scene::new();
        scene.answer(200, FRESH, "one");
        scene.get(&[]);
        scene.answer(status, fields, "done");
        let passed = Answer::read(scene.send(method, URL, &[]).unwrap());
        passed.is(Outcome::Passed(Forward::Method), "done");
        scene.answer(200, FRESH, "two");
        let expected = if forgotten { Outcome::Miss(Forward::UriMiss) } else { Outcome::Hit };
        assert_eq!(Outcome::of(&scene.get(&[]).headers), Some(expected), "{method} {status}");
    }
}

#[test]
fn an_unsafe_method_invalidates_the_locations_it_names_on_its_own_origin() {
    let scene = Scene::new();
    scene.answer(200, FRESH, "one");
    scene.get(&[]);
    scene.answer(201, &[("location", "http://other.example/a")], "");
    scene.send("POST", "http://example.com/b", &[]).unwrap();
    scene.get(&[]).is(Outcome::Hit, "one");
    scene.answer(201, &[("location", "/a")], "");
    scene.send("POST", "http://example.com/b", &[]).unwrap();
    scene.answer(200, FRESH, "two");
    scene.get(&[]).is(Outcome::Miss(Forward::UriMiss), "two");
}

#[test]
fn a_request_body_reaches_the_origin() {
    let scene = Scene::new();
    for (method, outcome) in
        [("POST", Outcome::Passed(Forward::Method)), ("GET", Outcome::Passed(Forward::Bypass))]
    {
        scene.answer(200, FRESH, "done");
        let request = Request::builder().method(method).uri(URL).body(Body::from("words")).unwrap();
        Answer::read(scene.cache.round_trip(request).unwrap()).is(outcome, "done");
        assert_eq!(scene.last_asked().body, "words");
    }
    scene.answer(200, FRESH, "plain");
    scene.get(&[]).is(Outcome::Miss(Forward::UriMiss), "plain");
}

#[test]
fn an_unsafe_request_with_a_credential_invalidates_its_own_partition_and_the_public_one() {
    let scene = Scene::new();
    let (anna, bert) = ([("authorization", "anna")], [("authorization", "bert")]);
    for body in ["anna", "bert", "all"] {
        scene.answer(200, FRESH, body);
    }
    scene.get(&anna);
    scene.get(&bert);
    scene.get(&[]);
    scene.answer(200, &[], "");
    scene.send("POST", URL, &anna).unwrap();
    scene.answer(200, FRESH, "anna 2").answer(200, FRESH, "all 2");
    scene.get(&anna).is(Outcome::Miss(Forward::UriMiss), "anna 2");
    scene.get(&[]).is(Outcome::Miss(Forward::UriMiss), "all 2");
    scene.get(&bert).is(Outcome::Hit, "bert");
}

#[test]
fn an_invalidation_wins_over_a_fetch_that_is_under_way() {
    let scene = Scene::new();
    let (send, pipe) = pipe();
    scene.answer(200, FRESH, Body::from_reader(pipe, Some(3)));
    let under_way = scene.send("GET", URL, &[]).unwrap();
    scene.answer(200, &[], "done");
    scene.send("POST", URL, &[]).unwrap();
    // A later request does not join an older fetch.
    scene.answer(200, FRESH, "new");
    scene.get(&[]).is(Outcome::Miss(Forward::UriMiss), "new");
    send.send(Ok(b"old")).unwrap();
    assert_eq!(under_way.into_body().into_text().unwrap(), "old");
    scene.get(&[]).is(Outcome::Hit, "new");
}

#[test]
fn an_older_fetch_does_not_replace_a_newer_response() {
    let scene = Scene::new();
    let (send, pipe) = pipe();
    scene.answer(200, FRESH, Body::from_reader(pipe, Some(3)));
    let older = scene.send("GET", URL, &[]).unwrap();
    scene.answer(200, FRESH, "new");
    scene.get(&[("cache-control", "no-cache")]).is(Outcome::Miss(Forward::UriMiss), "new");
    send.send(Ok(b"old")).unwrap();
    assert_eq!(older.into_body().into_text().unwrap(), "old");
    scene.get(&[]).is(Outcome::Hit, "new");
}

#[test]
fn a_post_response_with_content_location_answers_get() {
    let located = [("cache-control", "max-age=60"), ("content-location", "/a")];
    for (fields, stored) in [
        (&located[..], true),
        (&[("content-location", "/a")], false),
        (&[("cache-control", "max-age=60")], false),
        (&[("cache-control", "max-age=60"), ("content-location", "/b")], false),
    ] {
        let scene = Scene::new();
        scene.answer(200, FRESH, "old").answer(200, fields, "posted").answer(200, FRESH, "new");
        scene.get(&[]);
        Answer::read(scene.send("POST", URL, &[]).unwrap()).is(Outcome::Passed(Forward::Method), "posted");
        let body = scene.get(&[]).body;
        assert_eq!(body, if stored { "posted" } else { "new" }, "{fields:?}");
    }
}

const GROUPED: &[(&str, &str)] =
    &[("cache-control", "max-age=60"), ("etag", "\"1\""), ("cache-groups", "\"news\", \"sport\";x=1")];

#[test]
fn a_group_is_invalidated_only_on_its_own_origin() {
    let scene = Scene::new();
    let get = |url: &str| Answer::read(scene.send("GET", url, &[]).unwrap());
    let urls = [URL, "http://example.com/b", "http://other.example/a", "http://example.com/c"];
    for url in &urls[..3] {
        scene.answer(200, GROUPED, "old");
        get(url);
    }
    scene.answer(200, &[("cache-control", "max-age=60"), ("cache-groups", "\"weather\"")], "old");
    get(urls[3]);
    scene.answer(200, &[("cache-group-invalidation", "\"sport\", \"else\"")], "");
    scene.send("POST", "http://example.com/results", &[]).unwrap();
    scene.pass(1);
    for url in &urls[2..] {
        get(url).is(Outcome::Hit, "old");
    }
    for url in &urls[..2] {
        scene.answer(200, GROUPED, "new");
        get(url).is(Outcome::Miss(Forward::UriMiss), "new");
        // An invalid response is not a validation candidate either.
        assert_eq!(scene.last_asked().field("if-none-match"), None);
        get(url).is(Outcome::Hit, "new");
    }
}

#[test]
fn an_invalid_response_is_not_served_when_the_origin_fails() {
    let scene = Scene::new();
    scene.answer(200, GROUPED, "old").answer(204, &[("cache-group-invalidation", "\"news\"")], "");
    scene.get(&[]);
    scene.send("DELETE", "http://example.com/b", &[]).unwrap();
    scene.fail(ErrorKind::Unreachable);
    assert_eq!(scene.send("GET", URL, &[]).unwrap_err().kind(), ErrorKind::Unreachable);
}

#[test]
fn only_an_unsafe_request_and_a_valid_field_invalidate_a_group() {
    for (method, status, field, forgotten) in [
        ("POST", 200, "\"news\"", true),
        ("MKCOL", 200, "\"sport\";a=b", true),
        // The response contains the field, whatever its status is.
        ("POST", 500, "\"news\"", true),
        ("POST", 200, "\"News\"", false),
        ("POST", 200, "news", false),
        ("POST", 200, "\"news\",", false),
        ("OPTIONS", 200, "\"news\"", false),
        ("GET", 200, "\"news\"", false),
        ("HEAD", 200, "\"news\"", false),
    ] {
        let scene = Scene::new();
        scene.answer(200, GROUPED, "old").answer(status, &[("cache-group-invalidation", field)], "");
        scene.get(&[]);
        scene.send(method, "http://example.com/b", &[]).unwrap();
        scene.answer(200, GROUPED, "new");
        let expected = if forgotten { Outcome::Miss(Forward::UriMiss) } else { Outcome::Hit };
        assert_eq!(Outcome::of(&scene.get(&[]).headers), Some(expected), "{method} {status} {field}");
    }
}

#[test]
fn a_variant_outside_the_group_is_still_served() {
    let scene = Scene::new();
    let with = |groups| [("cache-control", "max-age=60"), ("vary", "accept"), ("cache-groups", groups)];
    scene.answer(200, &with("\"news\""), "a").answer(200, &with("\"sport\""), "b");
    scene.get(&[("accept", "a")]);
    scene.get(&[("accept", "b")]);
    scene.answer(200, &[("cache-group-invalidation", "\"news\"")], "");
    scene.send("POST", "http://example.com/b", &[]).unwrap();
    scene.get(&[("accept", "b")]).is(Outcome::Hit, "b");
    scene.pass(1);
    scene.answer(200, &with("\"news\""), "new");
    scene.get(&[("accept", "a")]).is(Outcome::Miss(Forward::VaryMiss), "new");
    scene.get(&[("accept", "a")]).is(Outcome::Hit, "new");
}

#[test]
fn the_invalidation_of_a_group_wins_over_a_fetch_that_is_under_way() {
    for ends_before_the_next in [true, false] {
        let scene = Scene::new();
        let (send, pipe) = pipe();
        scene.answer(200, GROUPED, Body::from_reader(pipe, Some(3)));
        let under_way = scene.send("GET", URL, &[]).unwrap();
        scene.answer(200, &[("cache-group-invalidation", "\"news\"")], "");
        scene.send("POST", "http://example.com/b", &[]).unwrap();
        scene.pass(1);
        scene.answer(200, GROUPED, "new");
        send.send(Ok(b"old")).unwrap();
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

/// An origin that receives another request while it answers a GET.
struct Interrupted {
    origin: ScriptedOrigin,
    cache: Arc<Mutex<Option<HttpCache>>>,
    clock: Arc<ManualClock>,
}

impl RoundTrip for Interrupted {
    fn round_trip(&self, request: Request<Body>) -> Result<Response<Body>> {
        let cache = if request.method() == "GET" { self.cache.lock().unwrap().take() } else { None };
        if let Some(cache) = cache {
            let post = Request::post("http://example.com/b").body(Body::empty()).unwrap();
            cache.round_trip(post).unwrap();
            self.clock.advance(Duration::from_secs(1));
        }
        self.origin.round_trip(request)
    }
}

#[test]
fn a_fetch_older_than_the_invalidation_of_its_group_is_not_stored() {
    for (status, body) in [(304, ""), (200, "old")] {
        let script = Arc::new(Script::default());
        let clock = Arc::new(ManualClock::at_unix_seconds(1_000_000_000));
        let interruption = Arc::new(Mutex::new(None));
        let origin = ScriptedOrigin { script: Arc::clone(&script), asked: Arc::default() };
        let origin = Interrupted { origin, cache: Arc::clone(&interruption), clock: Arc::clone(&clock) };
        let cache = HttpCache::builder().origin(origin).clock(Arc::clone(&clock)).build().unwrap();
        let answer = |status: u16, fields: &[(&str, &str)], body: &'static str| {
            let mut response = Response::builder().status(status);
            for (name, value) in fields {
                response = response.header(*name, *value);
            }
            script.lock().unwrap().push_back(Ok(response.body(Body::from(body)).unwrap()));
        };
        let get = || Answer::read(cache.round_trip(Request::get(URL).body(Body::empty()).unwrap()).unwrap());
        answer(200, GROUPED, "old");
        get();
        clock.advance(Duration::from_secs(61));
        *interruption.lock().unwrap() = Some(cache.clone());
        answer(200, &[("cache-group-invalidation", "\"news\"")], "");
        answer(status, GROUPED, body);
        assert_eq!(get().body, "old");
        answer(200, GROUPED, "new");
        get().is(Outcome::Miss(Forward::UriMiss), "new");
        get().is(Outcome::Hit, "new");
    }
}
