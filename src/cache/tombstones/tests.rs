use std::time::{Duration, UNIX_EPOCH};

use http::StatusCode;

use super::*;
use crate::policy::{LifetimeSource, Validity, Variant};

const URL: &str = "http://example.com/a";

fn at(seconds: u64) -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(seconds)
}

fn groups(value: &str) -> HeaderMap {
    [(CACHE_GROUPS.clone(), HeaderValue::from_str(value).unwrap())].into_iter().collect()
}

fn purge(tombstones: &Tombstones, purge: &Purge) -> Sequence {
    tombstones.add_purge(purge, at(0))
}

#[test]
fn an_invalidation_voids_older_fetches_only() {
    let all = Purge::all();
    let prefix = Purge::prefix("http://example.com/").unwrap();
    let url = Purge::url(URL).unwrap();
    let group = Purge::group("http://example.com", "a").unwrap();
    for (what, covers_key, covers_other) in
        [(all, true, true), (prefix, true, true), (url, true, false), (group, false, false)]
    {
        let tombstones = Arc::new(Tombstones::default());
        let before = tombstones.begin(&Key::new(URL), at(0));
        purge(&tombstones, &what);
        let after = tombstones.begin(&Key::new(URL), at(0));
        let own = Key::partitioned(URL, 7);
        for key in [URL, own.as_str()] {
            assert_eq!(tombstones.covers_key(key, before.sequence()), covers_key, "{what}");
            assert!(tombstones.covers_fields(key, before.sequence(), &groups("\"a\"")), "{what}");
            assert!(!tombstones.covers_fields(key, after.sequence(), &groups("\"a\"")), "{what}");
        }
        let other = tombstones.covers_key("http://example.com/b", before.sequence());
        assert_eq!(other, covers_other, "{what}");
    }
}

#[test]
fn a_single_key_of_a_url_can_be_invalidated() {
    let tombstones = Arc::new(Tombstones::default());
    let own = Key::partitioned(URL, 7);
    let before = tombstones.begin(&own, at(0));
    tombstones.add_key(&own, at(0));
    assert!(tombstones.covers_key(own.as_str(), before.sequence()));
    assert!(!tombstones.covers_key(URL, before.sequence()));
}

#[test]
fn groups_are_scoped_to_their_origin() {
    let tombstones = Tombstones::default();
    tombstones.add_group(URL, b"b", at(5));
    for (url, fields, expected) in [
        (URL, "\"a\", \"b\";x=1", true),
        ("http://example.com/other?b", "\"b\"", true),
        ("https://example.com/a", "\"b\"", false),
        ("http://example.com:81/a", "\"b\"", false),
        (URL, "\"B\"", false),
        (URL, "b", false),
    ] {
        assert_eq!(tombstones.covers_fields(url, 1, &groups(fields)), expected, "{url} {fields}");
    }
}

#[test]
fn a_tombstone_is_retired_when_it_is_swept_and_no_older_fetch_is_under_way() {
    let tombstones = Arc::new(Tombstones::default());
    let fetch = tombstones.begin(&Key::new(URL), at(0));
    let sequence = purge(&tombstones, &Purge::prefix("http://example.com/").unwrap());
    let other = tombstones.add_key(&Key::new("http://other/"), at(0));
    tombstones.note_swept(sequence);
    tombstones.note_swept(other);
    assert!(tombstones.covers_key(URL, fetch.sequence()));
    let before = fetch.sequence();
    drop(fetch);
    assert!(!tombstones.covers_key(URL, before));
    let state = tombstones.state.read();
    assert!(state.list.is_empty() && state.exact.is_empty() && state.prefixes.is_empty());
    assert_eq!(tombstones.newest.load(Ordering::SeqCst), 0);
}

#[test]
fn beyond_the_limit_the_oldest_covers_everything_older() {
    let tombstones = Arc::new(Tombstones::with_limits(2, 1));
    let fetch = tombstones.begin(&Key::new(URL), at(0));
    let first = purge(&tombstones, &Purge::url("http://a/").unwrap());
    for number in 0..3 {
        let swept = tombstones.add_key(&Key::new(&format!("http://b/{number}")), at(0));
        tombstones.note_swept(swept);
    }
    assert!(tombstones.covers_key("http://c/", first - 1), "the first tombstone was never swept");
    assert!(!tombstones.covers_key("http://c/", first + 1));
    assert!(tombstones.is_unstorable(fetch.sequence()) && tombstones.is_unstorable(first + 1));
    assert!(!tombstones.is_unstorable(tombstones.begin(&Key::new(URL), at(0)).sequence()));
}

#[test]
fn groups_of_one_origin_do_not_void_another_origin() {
    let tombstones = Arc::new(Tombstones::with_limits(4, 1));
    let fetch = tombstones.begin(&Key::new(URL), at(0));
    for number in 0..20 {
        tombstones.add_group("http://noisy/", number.to_string().as_bytes(), at(0));
    }
    assert!(tombstones.covers_key("http://noisy/x", fetch.sequence()));
    assert!(!tombstones.covers_key(URL, fetch.sequence()));
    for _ in 0..20 {
        tombstones.add_group("http://same/", b"name", at(0));
    }
    assert!(
        !tombstones.covers_key("http://same/x", fetch.sequence()),
        "the group has one tombstone and covers no other group"
    );
}

#[test]
fn numbers_grow_with_the_clock_and_never_go_back() {
    let tombstones = Arc::new(Tombstones::default());
    let later = tombstones.begin(&Key::new(URL), at(50)).sequence();
    assert_eq!(later, 50_000_000);
    assert_eq!(tombstones.begin(&Key::new(URL), at(1)).sequence(), later + 1);
}

/// A response that is fresh for an hour.
fn stored(sequence: Sequence) -> StoredResponse {
    let validity = Validity {
        response_time: at(0).into(),
        initial_age: Duration::ZERO,
        lifetime: Duration::from_secs(3600),
        lifetime_source: LifetimeSource::MaxAge,
        stale_while_revalidate: Duration::ZERO,
        stale_if_error: None,
        no_cache: false,
        must_revalidate: false,
        immutable: false,
    };
    let response = StoredResponse::new(
        StatusCode::OK,
        &HeaderMap::new(),
        bytes::Bytes::new(),
        validity,
        Variant::default(),
    );
    response.with_sequence(sequence)
}

#[test]
fn a_soft_purge_stays_listed_until_swept_and_no_older_fetch_is_under_way() {
    let tombstones = Arc::new(Tombstones::default());
    let fetch = tombstones.begin(&Key::new(URL), at(1));
    let stored = stored(fetch.sequence());
    let is_stale = || tombstones.mark(URL, &stored).is_some();
    assert!(!is_stale());
    let soft = Purge::prefix("http://example.com/").unwrap().soft();
    let sequence = tombstones.add_purge(&soft, at(2));
    assert!(is_stale() && !tombstones.is_joinable(URL, fetch.sequence()));
    assert!(!tombstones.covers(URL, &stored) && !tombstones.covers_key(URL, fetch.sequence()));
    let later = tombstones.begin(&Key::new(URL), at(3));
    assert!(tombstones.is_joinable(URL, later.sequence()));
    assert!(tombstones.is_joinable("http://other/", fetch.sequence()));
    tombstones.note_swept(sequence);
    assert!(is_stale(), "an older fetch is under way");
    let before = tombstones.retirements();
    drop(fetch);
    assert!(!is_stale() && tombstones.state.read().soft.is_empty());
    assert!(tombstones.retirements() > before);
}

#[test]
fn beyond_the_limit_of_soft_purges_everything_older_is_stale() {
    let tombstones = Tombstones::default();
    for number in 0..=MAX_SOFT_PURGES {
        let soft = Purge::url(&format!("http://other/{number}")).unwrap().soft();
        tombstones.add_purge(&soft, at(1));
    }
    let state = tombstones.state.read();
    assert_eq!((state.soft.len(), state.list.len()), (MAX_SOFT_PURGES, MAX_SOFT_PURGES));
    drop(state);
    assert!(tombstones.mark(URL, &stored(1)).is_some() && !tombstones.covers(URL, &stored(1)));
}

#[test]
fn soft_purge_holds_after_its_tombstone_made_room_for_others() {
    let tombstones = Tombstones::with_limits(2, 2);
    tombstones.add_purge(&Purge::url(URL).unwrap().soft(), at(1));
    for number in 0..3 {
        tombstones.add_key(&Key::new(&format!("http://other/{number}")), at(2));
    }
    assert!(tombstones.mark(URL, &stored(1)).is_some());
}
