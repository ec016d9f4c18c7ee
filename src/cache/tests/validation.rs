//! Asking the origin whether it still holds.

use super::*;

#[test]
fn a_304_freshens_what_is_stored() {
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
fn our_validators_take_the_place_of_the_clients_and_its_condition_is_answered_by_us() {
    let scene = Scene::new();
    scene.answer(200, FRESH, "one");
    scene.get(&[]);
    scene.pass(61);
    scene.answer(304, &[], "");
    assert_eq!(scene.get(&[("if-none-match", "\"0\"")]).status, 200);
    assert_eq!(scene.last_asked().field("if-none-match"), Some("\"1\""));
}

#[test]
fn a_condition_of_the_client_alone_is_passed_on_and_a_304_to_it_is_not_stored() {
    let scene = Scene::new();
    scene.answer(304, &[("etag", "\"1\""), ("cache-control", "max-age=60")], "");
    let answer = scene.get(&[("if-none-match", "\"1\"")]);
    assert_eq!((answer.status, scene.last_asked().field("if-none-match")), (304, Some("\"1\"")));
    scene.answer(200, FRESH, "one");
    scene.get(&[]).is(Outcome::Miss(Forward::UriMiss), "one");
}

#[test]
fn several_variants_are_kept_and_validated_by_all_their_tags() {
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
fn a_304_that_names_none_of_several_is_asked_again_for_the_whole() {
    let scene = Scene::new();
    let fields = |tag| [("cache-control", "max-age=60"), ("vary", "accept"), ("etag", tag)];
    scene.answer(200, &fields("\"a\""), "a").answer(200, &fields("\"b\""), "b");
    scene.get(&[("accept", "a")]);
    scene.get(&[("accept", "b")]);
    scene.answer(304, &[], "").answer(200, &fields("\"c\""), "c");
    scene.get(&[("accept", "c")]).is(Outcome::Miss(Forward::VaryMiss), "c");
    assert_eq!(scene.last_asked().field("if-none-match"), None);
}

/// nginx gives gzip the weak form of the file's tag, and answers 304 to it whatever encoding is asked for.
#[test]
fn a_weak_tag_of_another_encoding_is_not_asked_about() {
    let scene = Scene::new();
    let fields = |tag| [("cache-control", "max-age=60"), ("vary", "accept-encoding"), ("etag", tag)];
    scene.answer(200, &fields("W/\"a\""), "zipped").answer(200, &fields("\"a\""), "plain");
    scene.get(&[("accept-encoding", "gzip")]).is(Outcome::Miss(Forward::UriMiss), "zipped");
    scene.get(&[]).is(Outcome::Miss(Forward::VaryMiss), "plain");
    assert_eq!(scene.last_asked().field("if-none-match"), None);
    scene.get(&[("accept-encoding", "gzip")]).is(Outcome::Hit, "zipped");
    // The strong tag names the bytes, which whoever wants no coding may have.
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
fn head_freshens_what_it_agrees_with_and_removes_what_it_contradicts() {
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
fn a_head_that_tells_nothing_keeps_nothing_fresh() {
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
fn a_304_of_another_response_makes_nothing_fresh() {
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
    // Neither does one of a response that was modified later.
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
fn what_a_304_contradicted_is_removed_by_an_answer_that_is_not_stored() {
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
    // Where the condition was ours, the origin is asked once more without it.
    let scene = Scene::new();
    scene.answer(200, FRESH, "one");
    scene.get(&[]);
    scene.pass(61);
    let other = [("etag", "\"2\"")];
    scene.answer(304, &other, "").answer(304, &other, "");
    scene.get(&[]).is(Outcome::StaleOnError(Forward::Stale), "one");
    assert_eq!(scene.times_asked(), 3);
}

#[test]
fn only_a_200_to_head_says_something_of_what_get_stored() {
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
fn the_clients_range_is_about_what_takes_the_place_of_what_was_stored() {
    let asked = [("range", "bytes=2-4"), ("if-range", "\"2\"")];
    let changed = [("cache-control", "max-age=60"), ("etag", "\"2\"")];
    // The origin is shown the range.
    let scene = Scene::new();
    scene.answer(200, STALE, "0123456789");
    scene.get(&[]);
    scene.pass(10);
    scene.answer(206, &[&changed[..], &[("content-range", "bytes 2-4/10")]].concat(), "cde");
    let part = scene.get(&asked);
    assert_eq!((part.status, part.body.as_str()), (206, "cde"));
    let sent = scene.last_asked();
    assert_eq!((sent.field("range"), sent.field("if-none-match")), (Some("bytes=2-4"), Some("\"1\"")));
    // The whole has changed, and its part is kept in its place.
    scene.get(&asked).is(Outcome::Hit, "cde");
    // One that cuts nothing sends the whole, which is cut here: whether it is here or comes.
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
    // A 304 confirms what is stored, of which the part is sent.
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
fn the_clients_condition_is_about_what_takes_the_place_of_what_was_stored() {
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
