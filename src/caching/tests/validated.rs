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
    // The strong tag names the bytes, which whoever accepts them may have.
    scene.answer(304, &[("etag", "\"a\"")], "");
    scene.get(&[("accept-encoding", "br")]).is(Outcome::Revalidated(Forward::VaryMiss), "plain");
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
