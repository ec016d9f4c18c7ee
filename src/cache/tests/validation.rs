//! Validation of stored responses with the origin.

use super::*;

#[test]
fn a_304_freshens_the_stored_response() {
    let scene = Scene::new();
    scene.answer(200, &[("cache-control", "max-age=60"), ("etag", "\"1\""), ("x-a", "old")], "one");
    scene.get(&[]);
    scene.pass(61);
    scene.answer(304, &[("cache-control", "max-age=30"), ("x-a", "new")], "");
    let confirmed = scene.get(&[]);
    confirmed.is(Outcome::Revalidated(Forward::Stale), "one");
    assert_eq!(
        (confirmed.status, confirmed.field("x-a"), confirmed.field("age")),
        (200, Some("new"), Some("0"))
    );
    assert_eq!(scene.last_asked().field("if-none-match"), Some("\"1\""));
    scene.pass(20);
    let hit = scene.get(&[]);
    hit.is(Outcome::Hit, "one");
    assert_eq!((hit.field("age"), hit.field("x-a")), (Some("20"), Some("new")));
    scene.pass(10);
    scene.answer(200, FRESH, "two");
    scene.get(&[]).is(Outcome::Miss(Forward::Stale), "two");
    scene.get(&[]).is(Outcome::Hit, "two");
}

#[test]
fn a_304_that_forbids_storing_is_obeyed() {
    let scene = Scene::new();
    scene.answer(200, FRESH, "one");
    scene.get(&[]);
    scene.pass(61);
    scene.answer(304, &[("cache-control", "no-store")], "");
    scene.get(&[]).is(Outcome::Revalidated(Forward::Stale), "one");
    scene.answer(200, FRESH, "two");
    scene.get(&[]).is(Outcome::Miss(Forward::UriMiss), "two");
}

#[test]
fn the_caches_validators_replace_the_clients_and_the_cache_answers_the_condition() {
    let scene = Scene::new();
    scene.answer(200, FRESH, "one");
    scene.get(&[]);
    scene.pass(61);
    scene.answer(304, &[], "");
    assert_eq!(scene.get(&[("if-none-match", "\"0\"")]).status, 200);
    assert_eq!(scene.last_asked().field("if-none-match"), Some("\"1\""));
}

#[test]
fn the_clients_condition_is_forwarded_and_its_304_is_not_stored() {
    let scene = Scene::new();
    scene.answer(304, &[("etag", "\"1\""), ("cache-control", "max-age=60")], "");
    let answer = scene.get(&[("if-none-match", "\"1\"")]);
    assert_eq!((answer.status, scene.last_asked().field("if-none-match")), (304, Some("\"1\"")));
    scene.answer(200, FRESH, "one");
    scene.get(&[]).is(Outcome::Miss(Forward::UriMiss), "one");
}

#[test]
fn variants_are_validated_with_all_their_entity_tags() {
    let scene = Scene::new();
    let fields = |tag| [("cache-control", "max-age=60"), ("vary", "accept-language"), ("etag", tag)];
    let (german, english, french) =
        ([("accept-language", "de")], [("accept-language", "en")], [("accept-language", "fr")]);
    scene.answer(200, &fields("\"de\""), "hallo").answer(200, &fields("\"en\""), "hello");
    scene.get(&german).is(Outcome::Miss(Forward::UriMiss), "hallo");
    scene.get(&english).is(Outcome::Miss(Forward::VaryMiss), "hello");
    assert_eq!(scene.last_asked().field("if-none-match"), Some("\"de\""));
    scene.get(&german).is(Outcome::Hit, "hallo");
    scene.get(&english).is(Outcome::Hit, "hello");
    scene.answer(304, &[("etag", "\"en\"")], "");
    scene.get(&french).is(Outcome::Revalidated(Forward::VaryMiss), "hello");
    assert_eq!(scene.last_asked().field("if-none-match"), Some("\"en\", \"de\""));
    scene.get(&french).is(Outcome::Hit, "hello");
    scene.get(&german).is(Outcome::Hit, "hallo");
    assert_eq!(scene.times_asked(), 3);
}

#[test]
fn a_304_without_a_known_tag_causes_an_unconditional_request() {
    let scene = Scene::new();
    let fields = |tag| [("cache-control", "max-age=60"), ("vary", "accept"), ("etag", tag)];
    scene.answer(200, &fields("\"a\""), "a").answer(200, &fields("\"b\""), "b");
    scene.get(&[("accept", "a")]);
    scene.get(&[("accept", "b")]);
    scene.answer(304, &[], "").answer(200, &fields("\"c\""), "c");
    scene.get(&[("accept", "c")]).is(Outcome::Miss(Forward::VaryMiss), "c");
    assert_eq!(scene.last_asked().field("if-none-match"), None);
}

/// nginx derives a weak tag for gzip from the file's tag, and answers 304 to it for every encoding.
#[test]
fn a_weak_tag_of_another_encoding_is_not_a_validator() {
    let scene = Scene::new();
    let fields = |tag| [("cache-control", "max-age=60"), ("vary", "accept-encoding"), ("etag", tag)];
    scene.answer(200, &fields("W/\"a\""), "zipped").answer(200, &fields("\"a\""), "plain");
    scene.get(&[("accept-encoding", "gzip")]).is(Outcome::Miss(Forward::UriMiss), "zipped");
    scene.get(&[]).is(Outcome::Miss(Forward::VaryMiss), "plain");
    assert_eq!(scene.last_asked().field("if-none-match"), None);
    scene.get(&[("accept-encoding", "gzip")]).is(Outcome::Hit, "zipped");
    // The strong tag identifies the bytes, which any client without a wanted coding may get.
    scene.answer(304, &[("etag", "\"a\"")], "");
    scene.get(&[("accept-encoding", "identity")]).is(Outcome::Revalidated(Forward::VaryMiss), "plain");
    assert_eq!(scene.last_asked().field("if-none-match"), Some("\"a\""));
}

#[test]
fn conditions_on_the_origins_state_go_to_the_origin() {
    let scene = Scene::new();
    scene.answer(200, FRESH, "one").answer(412, &[], "no");
    scene.get(&[]);
    let answer = scene.get(&[("if-match", "\"2\"")]);
    answer.is(Outcome::Passed(Forward::Bypass), "no");
    assert_eq!(answer.status, 412);
}

#[test]
fn directives_of_the_request_are_obeyed() {
    let scene = Scene::new();
    scene.answer(200, FRESH, "one");
    scene.get(&[]);
    scene.pass(10);
    for directive in ["no-cache", "max-age=5", "min-fresh=55"] {
        scene.answer(304, &[], "");
        scene.get(&[("cache-control", directive)]).is(Outcome::Revalidated(Forward::Request), "one");
        scene.pass(10);
    }
    scene.pass(100);
    scene.get(&[("cache-control", "max-stale=60")]).is(Outcome::StaleAccepted, "one");
}

#[test]
fn a_head_freshens_or_removes_the_stored_response() {
    let scene = Scene::new();
    scene.answer(200, FRESH, "one");
    scene.get(&[]);
    scene.pass(61);
    scene.answer(200, &[("cache-control", "max-age=100"), ("etag", "\"1\""), ("content-length", "3")], "");
    scene.send("HEAD", URL, &[]).unwrap();
    scene.get(&[]).is(Outcome::Hit, "one");
    scene.pass(101);
    scene.answer(200, &[("cache-control", "max-age=100"), ("etag", "\"2\"")], "");
    scene.send("HEAD", URL, &[]).unwrap();
    scene.answer(200, FRESH, "two");
    scene.get(&[]).is(Outcome::Miss(Forward::UriMiss), "two");
}

#[test]
fn a_head_without_validators_does_not_freshen() {
    let scene = Scene::new();
    scene.answer(200, &[("cache-control", "max-age=60")], "one");
    scene.get(&[]);
    scene.pass(61);
    scene.answer(200, &[("cache-control", "max-age=60")], "");
    scene.send("HEAD", URL, &[]).unwrap();
    scene.answer(200, FRESH, "two");
    scene.get(&[]).is(Outcome::Miss(Forward::Stale), "two");
}

#[test]
fn a_304_brings_a_new_targeted_field() {
    let scene = Scene::shared();
    scene.answer(200, &[("cdn-cache-control", "max-age=60"), ("etag", "\"1\"")], "one");
    scene.get(&[]);
    scene.pass(60);
    scene.answer(304, &[("cdn-cache-control", "max-age=100"), ("cache-control", "no-store")], "");
    scene.get(&[]).is(Outcome::Revalidated(Forward::Stale), "one");
    scene.pass(99);
    scene.get(&[]).is(Outcome::Hit, "one");
}

#[test]
fn a_304_for_another_response_does_not_freshen() {
    for update in ["\"v2\"", "W/\"v2\""] {
        let scene = Scene::new();
        scene.answer(200, &[("cache-control", "max-age=60"), ("etag", "\"v1\"")], "one");
        scene.get(&[]);
        scene.pass(61);
        scene.answer(304, &[("etag", update), ("cache-control", "max-age=60")], "").answer(200, FRESH, "two");
        scene.get(&[]).is(Outcome::Miss(Forward::Stale), "two");
        assert_eq!(scene.last_asked().field("if-none-match"), None);
        scene.get(&[]).is(Outcome::Hit, "two");
    }
    // A 304 for a response with a later modification date does not freshen either.
    const EARLY: &str = "Sun, 06 Nov 1994 08:49:37 GMT";
    const LATE: &str = "Sun, 06 Nov 1994 08:49:38 GMT";
    let scene = Scene::new();
    scene.answer(200, &[("cache-control", "max-age=60"), ("last-modified", EARLY)], "one");
    scene.get(&[]);
    scene.pass(61);
    scene.answer(304, &[("last-modified", LATE)], "").answer(200, FRESH, "two");
    scene.get(&[]).is(Outcome::Miss(Forward::Stale), "two");
    assert_eq!(scene.last_asked().field("if-modified-since"), None);
}

#[test]
fn a_contradicted_response_is_removed_by_an_unstorable_one() {
    let scene = Scene::new();
    scene.answer(200, FRESH, "one");
    scene.get(&[]);
    scene.pass(61);
    scene.answer(304, &[("etag", "\"2\"")], "").answer(200, &[("cache-control", "no-store")], "two");
    scene.get(&[]).is(Outcome::Miss(Forward::Stale), "two");
    assert!(scene.cache.store().variants(&Key::new(URL)).unwrap().is_empty());
}

#[test]
fn a_304_without_a_condition_is_an_error() {
    for method in ["GET", "HEAD"] {
        let scene = Scene::new();
        scene.answer(304, &[("etag", "\"1\"")], "");
        assert_eq!(scene.send(method, URL, &[]).unwrap_err().kind(), ErrorKind::BadResponse);
        assert_eq!(scene.times_asked(), 1);
    }
    // If the cache added the condition, it repeats the request without the condition.
    let scene = Scene::new();
    scene.answer(200, FRESH, "one");
    scene.get(&[]);
    scene.pass(61);
    let other = [("etag", "\"2\"")];
    scene.answer(304, &other, "").answer(304, &other, "");
    scene.get(&[]).is(Outcome::StaleIfError(Forward::Stale), "one");
    assert_eq!(scene.times_asked(), 3);
}

#[test]
fn only_a_200_to_head_affects_the_stored_response() {
    for status in [204, 301, 404, 405, 410, 501, 503] {
        let scene = Scene::new();
        scene.answer(200, FRESH, "one");
        scene.get(&[]);
        scene.answer(status, &[("etag", "\"2\""), ("content-length", "9")], "");
        assert_eq!(scene.send("HEAD", URL, &[("cache-control", "no-cache")]).unwrap().status(), status);
        scene.get(&[]).is(Outcome::Hit, "one");
    }
}

const STALE: &[(&str, &str)] = &[("cache-control", "max-age=1"), ("etag", "\"1\"")];

#[test]
fn the_clients_range_applies_to_the_replacing_response() {
    let asked = [("range", "bytes=2-4"), ("if-range", "\"2\"")];
    let changed = [("cache-control", "max-age=60"), ("etag", "\"2\"")];
    // The origin receives the range.
    let scene = Scene::new();
    scene.answer(200, STALE, "0123456789");
    scene.get(&[]);
    scene.pass(10);
    scene.answer(206, &[&changed[..], &[("content-range", "bytes 2-4/10")]].concat(), "cde");
    let part = scene.get(&asked);
    assert_eq!((part.status, part.body.as_str()), (206, "cde"));
    let sent = scene.last_asked();
    assert_eq!((sent.field("range"), sent.field("if-none-match")), (Some("bytes=2-4"), Some("\"1\"")));
    // The whole has changed, and the new part replaces it.
    scene.get(&asked).is(Outcome::Hit, "cde");
    // An origin without range support sends the whole. The cache cuts the range, from memory or in transit.
    for is_here in [true, false] {
        let scene = Scene::new();
        scene.answer(200, STALE, "0123456789");
        scene.get(&[]);
        scene.pass(10);
        let body =
            if is_here { Body::from("abcdefghij") } else { Body::from_reader(&b"abcdefghij"[..], Some(10)) };
        scene.answer(200, &changed, body);
        let part = scene.get(&asked);
        part.is(Outcome::Miss(Forward::Stale), "cde");
        assert_eq!((part.status, part.field("content-range")), (206, Some("bytes 2-4/10")));
        scene.get(&[]).is(Outcome::Hit, "abcdefghij");
    }
    // A 304 confirms the stored response, from which the range is sent.
    let scene = Scene::new();
    scene.answer(200, STALE, "0123456789");
    scene.get(&[]);
    scene.pass(10);
    scene.answer(304, &[], "");
    let part = scene.get(&[("range", "bytes=2-4")]);
    part.is(Outcome::Revalidated(Forward::Stale), "234");
    assert_eq!(part.status, 206);
}

#[test]
fn the_clients_condition_applies_to_the_replacing_response() {
    let scene = Scene::new();
    scene.answer(200, STALE, "one");
    scene.get(&[]);
    scene.pass(10);
    scene.answer(200, &[("cache-control", "max-age=60"), ("etag", "\"2\"")], "two");
    let answer = scene.get(&[("if-none-match", "\"2\"")]);
    answer.is(Outcome::Miss(Forward::Stale), "");
    assert_eq!((answer.status, answer.field("etag")), (304, Some("\"2\"")));
    scene.get(&[]).is(Outcome::Hit, "two");
}

#[test]
fn response_that_may_not_be_stored_because_of_its_request_removes_nothing() {
    let tagged = [("cache-control", "max-age=60"), ("etag", "\"1\"")];
    let no_store = [("cache-control", "no-cache, no-store")];
    let authorized = [("cache-control", "no-cache"), ("authorization", "Basic YTpi")];
    for (method, asked, status) in [
        ("GET", &no_store[..], 200),
        ("GET", &no_store, 304),
        ("HEAD", &no_store, 200),
        ("GET", &authorized, 200),
        ("GET", &authorized, 304),
        ("HEAD", &authorized, 200),
    ] {
        let scene = Scene::shared();
        scene.answer(200, &tagged, "one");
        scene.get(&[]);
        let body = if method == "GET" && status == 200 { "two" } else { "" };
        scene.answer(status, &tagged, body);
        assert!(scene.send(method, URL, asked).is_ok());
        assert_eq!(scene.times_asked(), 2);
        scene.get(&[]).is(Outcome::Hit, "one");
    }
}
