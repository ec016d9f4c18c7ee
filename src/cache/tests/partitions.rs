//! Partitions by credential and cookie.

use super::*;

#[test]
fn each_credential_has_its_own_partition() {
    let scene = Scene::new();
    let (anna, bert) = ([("authorization", "Basic anna")], [("authorization", "Basic bert")]);
    scene.answer(200, FRESH, "for anna").answer(200, FRESH, "for bert").answer(200, FRESH, "for all");
    scene.get(&anna).is(Outcome::Miss(Forward::UriMiss), "for anna");
    scene.get(&bert).is(Outcome::Miss(Forward::UriMiss), "for bert");
    scene.get(&[]).is(Outcome::Miss(Forward::UriMiss), "for all");
    scene.get(&anna).is(Outcome::Hit, "for anna");
    scene.get(&bert).is(Outcome::Hit, "for bert");
    scene.get(&[]).is(Outcome::Hit, "for all");
    assert_eq!(scene.asked.lock().unwrap()[1].field("authorization"), Some("Basic bert"));
}

#[test]
fn a_private_response_is_reused_only_with_the_same_cookie() {
    let scene = Scene::new();
    let private = &[("cache-control", "private, max-age=60")];
    scene.answer(200, private, "for anna").answer(200, private, "for bert");
    scene.get(&[("cookie", "anna")]).is(Outcome::Miss(Forward::UriMiss), "for anna");
    scene.get(&[("cookie", "bert")]).is(Outcome::Miss(Forward::VaryMiss), "for bert");
    scene.get(&[("cookie", "anna")]).is(Outcome::Hit, "for anna");
}

#[test]
fn a_private_validator_is_not_sent_for_another_user() {
    let scene = Scene::new();
    let private = [("cache-control", "private, max-age=60"), ("etag", "W/\"template\"")];
    scene.answer(200, &private, "for anna").answer(200, &private, "for bert");
    scene.get(&[("cookie", "anna")]);
    scene.get(&[("cookie", "bert")]).is(Outcome::Miss(Forward::VaryMiss), "for bert");
    assert_eq!(scene.last_asked().field("if-none-match"), None);
}

#[test]
fn private_fields_are_not_stored_in_a_shared_cache() {
    let fields = [("cache-control", "max-age=60, private=\"x-user\""), ("x-user", "anna")];
    for (scene, kept) in [(Scene::shared(), None), (Scene::new(), Some("anna"))] {
        scene.answer(200, &fields, "one");
        assert_eq!(scene.get(&[]).field("x-user"), Some("anna"));
        assert_eq!(scene.get(&[]).is(Outcome::Hit, "one").field("x-user"), kept);
    }
}

#[test]
fn a_shared_cache_obeys_and_forwards_targeted_cache_control() {
    let fields = [("cache-control", "no-store"), ("expires", "0"), ("cdn-cache-control", "max-age=60")];
    let shared = Scene::shared();
    shared.answer(200, &fields, "one");
    let miss = shared.get(&[]);
    miss.is(Outcome::Miss(Forward::UriMiss), "one");
    shared.pass(59);
    let hit = shared.get(&[]);
    hit.is(Outcome::Hit, "one");
    for answer in [&miss, &hit] {
        for (name, value) in fields {
            assert_eq!(answer.field(name), Some(value));
        }
    }
    assert_eq!(hit.field("age"), Some("59"));
    shared.pass(1);
    shared.answer(200, &[("cache-control", "max-age=60"), ("cdn-cache-control", "no-store")], "two");
    shared.get(&[]).is(Outcome::Miss(Forward::Stale), "two");
    shared.answer(200, FRESH, "three");
    shared.get(&[]).is(Outcome::Miss(Forward::UriMiss), "three");

    let private = Scene::new();
    private.answer(200, &fields, "one").answer(200, FRESH, "two");
    private.get(&[]).is(Outcome::Miss(Forward::UriMiss), "one");
    private.get(&[]).is(Outcome::Miss(Forward::UriMiss), "two");
}

#[test]
fn fields_listed_as_private_by_a_targeted_field_are_not_stored() {
    let scene = Scene::shared();
    let fields = [("cdn-cache-control", "max-age=60, private=\"x-user\""), ("x-user", "anna")];
    scene.answer(200, &fields, "one");
    assert_eq!(scene.get(&[]).field("x-user"), Some("anna"));
    let hit = scene.get(&[("range", "bytes=9-")]);
    assert_eq!((hit.status, hit.field("x-user"), hit.field("cdn-cache-control")), (416, None, None));
}

#[test]
fn a_private_cookie_is_not_sent_to_another_user() {
    let fields = [("cache-control", "max-age=60, private=\"set-cookie\""), ("set-cookie", "session=anna")];
    let scene = Scene::new();
    scene.answer(200, &fields, "one").answer(200, &[("cache-control", "max-age=60")], "two");
    scene.get(&[("cookie", "anna")]);
    let other = scene.get(&[("cookie", "bert")]);
    assert_eq!(other.is(Outcome::Miss(Forward::VaryMiss), "two").field("set-cookie"), None);
    let own = scene.get(&[("cookie", "anna")]);
    assert_eq!(own.is(Outcome::Hit, "one").field("set-cookie"), Some("session=anna"));
    // A shared cache stores the other fields.
    let scene = Scene::shared();
    scene.answer(200, &fields, "one");
    assert_eq!(scene.get(&[]).field("set-cookie"), Some("session=anna"));
    assert_eq!(scene.get(&[]).is(Outcome::Hit, "one").field("set-cookie"), None);
}

#[test]
fn fields_listed_by_no_cache_are_never_stored() {
    let fields =
        [("cache-control", "max-age=60, no-cache=\"x-user\""), ("x-user", "anna"), ("etag", "\"1\"")];
    for scene in [Scene::shared(), Scene::new()] {
        scene.answer(200, &fields, "one");
        assert_eq!(scene.get(&[]).field("x-user"), Some("anna"));
        assert_eq!(scene.get(&[]).is(Outcome::Hit, "one").field("x-user"), None);
        scene.pass(61);
        // Only the client that causes a 304 gets its fields.
        scene.answer(304, &[("x-user", "bert")], "");
        let own = scene.get(&[]);
        assert_eq!(own.is(Outcome::Revalidated(Forward::Stale), "one").field("x-user"), Some("bert"));
        assert_eq!(scene.get(&[]).is(Outcome::Hit, "one").field("x-user"), None);
    }
}

#[test]
fn a_private_directive_on_a_selecting_field_applies_to_the_whole_response() {
    let fields = [("cache-control", "max-age=60, private=\"vary\""), ("vary", "x-a")];
    let scene = Scene::shared();
    scene.answer(200, &fields, "one").answer(200, &fields, "two");
    scene.get(&[("x-a", "1")]).is(Outcome::Miss(Forward::UriMiss), "one");
    scene.get(&[("x-a", "2")]).is(Outcome::Miss(Forward::UriMiss), "two");
}
