//! Partial responses.

use super::*;
use crate::message::digest::Digest;

const TAGGED: &[(&str, &str)] = &[("cache-control", "max-age=60"), ("etag", "\"1\"")];

impl Scene {
    fn answer_part(&self, range: &str, tag: &str, body: &'static str) -> &Self {
        let fields = [("cache-control", "max-age=60"), ("etag", tag), ("content-range", range)];
        self.answer(206, &fields, Body::from_reader(body.as_bytes(), Some(body.len() as u64)))
    }
}

#[test]
fn a_stored_part_answers_ranges_within_it() {
    let scene = Scene::new();
    scene.answer_part("bytes 4-8/10", "\"1\"", "45678");
    let part = scene.get(&[("range", "bytes=4-8")]);
    part.is(Outcome::Miss(Forward::UriMiss), "45678");
    scene.pass(5);
    let inner = scene.get(&[("range", "bytes=5-6")]);
    inner.is(Outcome::Hit, "56");
    assert_eq!((inner.status, inner.field("content-range")), (206, Some("bytes 5-6/10")));
    assert_eq!((inner.field("content-length"), inner.field("age")), (Some("2"), Some("5")));
    assert_eq!(scene.get(&[("range", "bytes=4-5"), ("if-none-match", "\"1\"")]).status, 304);
    scene.answer_part("bytes 0-1/10", "\"1\"", "01");
    scene.get(&[("range", "bytes=0-1")]).is(Outcome::Miss(Forward::Partial), "01");
    scene.answer(200, TAGGED, "0123456789");
    scene.get(&[]).is(Outcome::Miss(Forward::Partial), "0123456789");
    scene.get(&[("range", "bytes=4-8")]).is(Outcome::Hit, "45678");
}

#[test]
fn adjacent_parts_are_joined_and_finally_complete() {
    let scene = Scene::new();
    scene.answer_part("bytes 4-8/10", "\"1\"", "45678").answer_part("bytes 0-5/10", "\"1\"", "012345");
    scene.answer_part("bytes 9-9/10", "\"1\"", "9");
    scene.get(&[("range", "bytes=4-8")]);
    scene.get(&[("range", "bytes=0-5")]);
    scene.get(&[("range", "bytes=1-7")]).is(Outcome::Hit, "1234567");
    scene.get(&[("range", "bytes=-1")]);
    let whole = scene.get(&[]);
    whole.is(Outcome::Hit, "0123456789");
    assert_eq!((whole.status, whole.field("content-range")), (200, None));
}

#[test]
fn parts_of_different_bytes_are_never_combined() {
    for (one, other) in [("\"1\"", "\"2\""), ("W/\"1\"", "W/\"1\"")] {
        let scene = Scene::with_background(Background::CallerRuns);
        scene.answer_part("bytes 0-4/10", one, "01234").answer_part("bytes 5-9/10", other, "56789");
        if one == "\"1\"" {
            // The origin ignores If-Range when the rest is requested.
            scene.answer_part("bytes 5-9/10", other, "56789");
        }
        scene.get(&[("range", "bytes=0-4")]);
        scene.get(&[("range", "bytes=5-9")]).is(Outcome::Miss(Forward::Partial), "56789");
        scene.answer(200, TAGGED, "abcdefghij");
        scene.get(&[]).is(Outcome::Miss(Forward::Partial), "abcdefghij");
        assert_eq!(scene.last_asked().field("range"), None);
    }
}

#[test]
fn a_stored_beginning_is_completed_by_fetching_the_rest() {
    let scene = Scene::new();
    scene.answer_part("bytes 0-4/10", "\"1\"", "01234").answer_part("bytes 5-9/10", "\"1\"", "56789");
    scene.get(&[("range", "bytes=0-4")]);
    let whole = scene.get(&[]);
    whole.is(Outcome::Miss(Forward::Partial), "0123456789");
    assert_eq!(
        (whole.status, whole.field("content-range"), whole.field("content-length")),
        (200, None, Some("10"))
    );
    let asked = scene.last_asked();
    assert_eq!((asked.field("range"), asked.field("if-range")), (Some("bytes=5-"), Some("\"1\"")));
    scene.get(&[]).is(Outcome::Hit, "0123456789");
}

#[test]
fn a_rest_that_does_not_fit_is_discarded() {
    let scene = || {
        let scene = Scene::new();
        scene.answer_part("bytes 0-4/10", "\"1\"", "01234");
        scene.get(&[("range", "bytes=0-4")]);
        scene
    };
    // The resource has changed: the origin sends the whole.
    let changed = scene();
    changed.answer(200, &[("etag", "\"2\"")], "abc");
    changed.get(&[]).is(Outcome::Miss(Forward::Partial), "abc");
    // After any other response, the cache requests the whole.
    for (range, tag) in [("bytes 5-9/10", "\"2\""), ("bytes 6-9/10", "\"1\""), ("bytes 5-9/11", "\"1\"")] {
        let scene = scene();
        scene.answer_part(range, tag, "56789").answer(200, TAGGED, "whole");
        scene.get(&[]).is(Outcome::Miss(Forward::Partial), "whole");
        assert_eq!(scene.last_asked().field("range"), None);
    }
    let gone = scene();
    gone.answer(416, &[], "").answer(200, TAGGED, "whole");
    gone.get(&[]).is(Outcome::Miss(Forward::Partial), "whole");
}

#[test]
fn a_part_whose_length_contradicts_its_range_is_not_stored() {
    let scene = Scene::new();
    scene.answer_part("bytes 4-9/10", "\"1\"", "01234").answer_part("bytes 4-9/10", "\"1\"", "01234");
    scene.get(&[("range", "bytes=4-9")]);
    scene.get(&[("range", "bytes=4-9")]).is(Outcome::Miss(Forward::UriMiss), "01234");
}

#[test]
fn a_stale_part_or_a_head_request_goes_to_the_origin() {
    let scene = Scene::new();
    scene.answer_part("bytes 0-4/10", "\"1\"", "01234").answer(200, TAGGED, "");
    scene.get(&[("range", "bytes=0-4")]);
    scene.send("HEAD", URL, &[]).unwrap();
    scene.pass(61);
    scene.answer_part("bytes 0-4/10", "\"1\"", "01234");
    scene.get(&[("range", "bytes=0-4")]).is(Outcome::Miss(Forward::Stale), "01234");
}

#[test]
fn a_part_of_another_variant_is_not_a_validation_candidate() {
    let scene = Scene::new();
    let fields = [
        ("cache-control", "max-age=60"),
        ("etag", "\"1\""),
        ("vary", "accept"),
        ("content-range", "bytes 0-4/10"),
    ];
    scene.answer(206, &fields, "01234").answer(200, TAGGED, "whole");
    scene.get(&[("accept", "a"), ("range", "bytes=0-4")]);
    scene.get(&[("accept", "b")]).is(Outcome::Miss(Forward::VaryMiss), "whole");
    assert_eq!(scene.last_asked().field("if-none-match"), None);
}

#[test]
fn joining_shares_stored_pieces_and_hashes_only_the_whole() {
    let scene = Scene::new();
    let whole: &'static str = Box::leak("0123456789".repeat(20_001).into_boxed_str());
    let stored = || {
        let variants = scene.cache.store().variants(&Key::new(URL)).unwrap();
        (variants[0].body().clone(), variants[0].digest())
    };
    let ask = |from: usize, to: usize| {
        let last = to - 1;
        let content_range = format!("bytes {from}-{last}/{}", whole.len());
        scene.answer_part(&content_range, "\"1\"", &whole[from..to]);
        let range = format!("bytes={from}-{last}");
        scene.get(&[("range", &range)]).is(Outcome::Miss(Forward::Partial), &whole[from..to]);
    };
    scene.answer_part("bytes 0-199999/200010", "\"1\"", &whole[..200_000]);
    scene.get(&[("range", "bytes=0-199999")]);
    let (first, _) = stored();
    for end in 200_001..200_010 {
        ask(end - 1, end);
        let (joined, digest) = stored();
        assert_eq!(joined, whole.as_bytes()[..end]);
        assert!(digest.is_none(), "only a whole has a digest");
        let shared =
            first.slices().zip(joined.slices()).filter(|(one, other)| one.as_ptr() == other.as_ptr());
        assert!(shared.count() >= first.iter().count() - 1, "{joined:?}");
        assert!(joined.iter().count() <= first.iter().count() + 1, "{joined:?}");
    }
    ask(200_009, 200_010);
    assert_eq!(stored().1, Some(Digest::of(whole.as_bytes())));
}
