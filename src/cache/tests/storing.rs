//! Storing responses and answering from the store.

use super::*;

#[test]
fn a_miss_is_stored_and_the_next_request_is_a_hit() {
    let scene = Scene::new();
    scene.answer(200, FRESH, "one");
    let miss = scene.get(&[]);
    miss.is(Outcome::Miss(Forward::UriMiss), "one");
    assert_eq!(miss.field("cache-status"), Some("forwardcache; fwd=uri-miss; fwd-status=200; stored"));
    scene.pass(10);
    let hit = scene.get(&[]);
    hit.is(Outcome::Hit, "one");
    assert_eq!(
        (hit.field("age"), hit.field("content-length"), hit.field("etag")),
        (Some("10"), Some("3"), Some("\"1\""))
    );
    assert_eq!(hit.field("cache-status"), Some("forwardcache; hit; ttl=50"));
    assert_eq!(scene.times_asked(), 1);
}

#[test]
fn the_key_is_the_canonical_url() {
    let scene = Scene::new();
    scene.answer(200, FRESH, "one");
    scene.get(&[]);
    let again = scene.send("GET", "HTTP://EXAMPLE.com:80/%61", &[]).unwrap();
    Answer::read(again).is(Outcome::Hit, "one");
    assert_eq!(scene.last_asked().url, URL);
}

#[test]
fn head_is_answered_from_the_stored_get_response() {
    let scene = Scene::new();
    scene.answer(200, FRESH, "one");
    scene.get(&[]);
    let head = Answer::read(scene.send("HEAD", URL, &[]).unwrap());
    head.is(Outcome::Hit, "");
    assert_eq!(head.field("content-length"), Some("3"));
}

#[test]
fn the_clients_own_condition_gets_a_304() {
    let scene = Scene::new();
    scene.answer(200, &[("cache-control", "max-age=60"), ("etag", "\"1\""), ("content-type", "a/b")], "one");
    scene.get(&[]);
    let same = scene.get(&[("if-none-match", "\"0\", W/\"1\"")]);
    same.is(Outcome::Hit, "");
    assert_eq!((same.status, same.field("etag"), same.field("content-type")), (304, Some("\"1\""), None));
    assert_eq!(scene.get(&[("if-none-match", "\"2\"")]).status, 200);
}

#[test]
fn ranges_are_cut_from_the_stored_body() {
    let scene = Scene::new();
    scene.answer(200, FRESH, "0123456789");
    scene.get(&[]);
    let part = scene.get(&[("range", "bytes=2-4")]);
    part.is(Outcome::Hit, "234");
    assert_eq!((part.status, part.field("content-range")), (206, Some("bytes 2-4/10")));
    assert_eq!(part.field("content-length"), Some("3"));
    scene.get(&[("range", "bytes=2-4"), ("if-range", "\"2\"")]).is(Outcome::Hit, "0123456789");
    let none = scene.get(&[("range", "bytes=10-")]);
    none.is(Outcome::Hit, "");
    assert_eq!((none.status, none.field("content-range")), (416, Some("bytes */10")));
}

#[test]
fn a_range_of_an_unstored_url_is_forwarded() {
    let scene = Scene::new();
    scene.answer(206, &[("content-range", "bytes 2-4/10"), ("cache-control", "max-age=60")], "234");
    let part = scene.get(&[("range", "bytes=2-4")]);
    assert_eq!((part.status, part.body.as_str()), (206, "234"));
    assert_eq!(scene.last_asked().field("range"), Some("bytes=2-4"));
    scene.answer(200, FRESH, "0123456789");
    scene.get(&[]).is(Outcome::Miss(Forward::Partial), "0123456789");
}

#[test]
fn prohibited_responses_are_not_stored() {
    for (shared, request, response) in [
        (false, &[][..], &[("cache-control", "No-Store, max-age=60")][..]),
        (false, &[("cache-control", "no-store")], FRESH),
        (false, &[], &[("cache-control", "max-age=60"), ("vary", "*")]),
        (true, &[], &[("cache-control", "private, max-age=60")]),
        (true, &[("authorization", "a")], FRESH),
        (true, &[], &[("cache-control", "max-age=60"), ("set-cookie", "a=b")]),
    ] {
        let scene = if shared { Scene::shared() } else { Scene::new() };
        scene.answer(200, response, "one").answer(200, FRESH, "two");
        scene.get(request).is(Outcome::Miss(Forward::UriMiss), "one");
        scene.get(&[]).is(Outcome::Miss(Forward::UriMiss), "two");
    }
}

#[test]
fn messages_have_via_and_hop_by_hop_fields_are_not_stored() {
    let scene = Scene::new();
    let fields = [
        ("cache-control", "max-age=60"),
        ("age", "10"),
        ("via", "1.1 other"),
        ("cache-status", "other; hit"),
        ("x-from-cache", "1"),
        ("connection", "x-hop"),
        ("x-hop", "1"),
        ("link", "<a>"),
        ("link", "<b>"),
    ];
    scene.answer(200, &fields, "one");
    let miss = scene.get(&[("connection", "x-mine"), ("x-mine", "1"), ("x-end", "1")]);
    miss.is(Outcome::Miss(Forward::UriMiss), "one");
    let asked = scene.last_asked();
    assert_eq!(
        (asked.field("via"), asked.field("x-mine"), asked.field("x-end")),
        (Some("1.1 me"), None, Some("1"))
    );
    assert_eq!(miss.field("x-hop"), None);
    let all = |answer: &Answer, name: &str| -> Vec<HeaderValue> {
        answer.headers.get_all(name).iter().cloned().collect()
    };
    assert_eq!(all(&miss, "via"), ["1.1 other", "1.1 me"]);
    assert_eq!(all(&miss, "cache-status").len(), 2);
    scene.pass(5);
    let hit = scene.get(&[]);
    assert_eq!(all(&hit, "age"), ["15"]);
    assert_eq!(all(&hit, "cache-status").len(), 1);
    assert_eq!(all(&hit, "link"), ["<a>", "<b>"]);
    assert_eq!(all(&hit, "via"), ["1.1 other", "1.1 me"]);
    assert_eq!(all(&hit, "date").len(), 1);
}

#[derive(Debug)]
struct BrokenStore;

impl Store for BrokenStore {
    fn variants(&self, _: &Key) -> Result<Variants, StoreError> {
        Err(StoreError::new("the backend is down"))
    }

    fn insert(&self, _: &Key, _: Arc<StoredResponse>) -> Result<bool, StoreError> {
        Err(StoreError::new("the backend is full"))
    }

    fn remove(&self, _: &Key) -> Result<bool, StoreError> {
        Err(StoreError::new("the backend is down"))
    }

    fn max_body(&self) -> u64 {
        1 << 20
    }

    fn usage(&self) -> Usage {
        Usage::default()
    }
}

#[test]
fn store_errors_are_counted_and_do_not_fail_requests() {
    let scene = Scene::with(Mode::Private, BrokenStore);
    scene.answer(200, FRESH, "one").answer(200, FRESH, "two").answer(200, &[], "done");
    scene.get(&[]).is(Outcome::Miss(Forward::UriMiss), "one");
    scene.get(&[]).is(Outcome::Miss(Forward::UriMiss), "two");
    scene.send("POST", URL, &[]).unwrap();
    let counts = scene.cache.stats().counts();
    assert_eq!((counts.stored, counts.origin_requests), (0, 3));
    assert!(counts.store_errors >= 5, "{counts}");
}

#[test]
fn only_absolute_http_urls_are_fetched() {
    let scene = Scene::new();
    for url in ["/a", "ftp://example.com/"] {
        assert_eq!(scene.send("GET", url, &[]).unwrap_err().kind(), ErrorKind::BadUrl, "{url}");
    }
}

#[test]
fn a_range_response_does_not_answer_another_client() {
    let scene = Scene::new();
    for (status, range) in [(416, "bytes=100-"), (404, "bytes=0-1")] {
        scene.answer(status, FRESH, "");
        assert_eq!(scene.get(&[("range", range)]).status, status);
    }
    scene.answer(200, FRESH, "one");
    scene.get(&[]).is(Outcome::Miss(Forward::UriMiss), "one");
    let none = scene.get(&[("range", "bytes=100-")]);
    assert_eq!((none.status, none.field("cache-control"), none.field("etag")), (416, Some("no-store"), None));
}

#[test]
fn hop_by_hop_fields_do_not_select_responses() {
    let scene = Scene::new();
    let fields = [("cache-control", "max-age=60"), ("vary", "x-language")];
    scene.answer(200, &fields, "default").answer(200, &fields, "hallo");
    scene.get(&[("x-language", "de"), ("connection", "x-language")]);
    scene.get(&[("x-language", "de")]).is(Outcome::Miss(Forward::VaryMiss), "hallo");
}

#[test]
fn a_stored_204_has_no_content_length() {
    let scene = Scene::new();
    scene.answer(204, FRESH, "");
    scene.get(&[]);
    assert_eq!(scene.get(&[]).is(Outcome::Hit, "").field("content-length"), None);
}

#[test]
fn lifetime_rules_set_lifetimes_and_never_permit_storing() {
    let second = Duration::from_secs(1);
    let rules = || {
        let mut rules = Rules::new(Mode::Private);
        rules.lifetimes = vec![
            LifetimeRule::new(Lifetime::Exactly(second * 10)).status(404),
            LifetimeRule::new(Lifetime::AtLeast(second * 100)).status(302).status(200).path("/long/*"),
            LifetimeRule::new(Lifetime::AtMost(second * 20)),
        ];
        rules
    };
    for (url, status, control, fresh_for) in [
        (URL, 404, "", 10),
        (URL, 404, "max-age=60", 10),
        (URL, 404, "no-store", 0),
        (URL, 200, "max-age=60", 20),
        (URL, 200, "max-age=5", 5),
        ("http://example.com/long/a", 302, "", 100),
        ("http://example.com/long/a", 200, "max-age=5", 100),
        ("http://example.com/long/a", 200, "no-cache", 0),
    ] {
        let scene = Scene::built(|cache| cache.rules(rules()));
        let get = || scene.send("GET", url, &[]).unwrap();
        let fields = [("cache-control", control)];
        scene.answer(status, &fields, "one").answer(status, &fields, "two").answer(status, &fields, "three");
        get();
        if fresh_for > 0 {
            scene.pass(fresh_for - 1);
            assert_eq!(Outcome::of(get().headers()), Some(Outcome::Hit), "{url} {status} {control}");
            scene.pass(1);
        }
        assert_ne!(Outcome::of(get().headers()), Some(Outcome::Hit), "{url} {status} {control}");
    }
}

#[test]
fn a_hook_can_choose_the_key() {
    let without_query = |target: &CanonicalUrl| target.as_str().split('?').next().unwrap().to_owned();
    let scene = Scene::built(|cache| cache.key(without_query));
    scene.answer(200, FRESH, "one").answer(200, &[], "done").answer(200, FRESH, "two");
    let get = |url: &str| Answer::read(scene.send("GET", url, &[]).unwrap());
    get("http://example.com/a?from=b").is(Outcome::Miss(Forward::UriMiss), "one");
    assert_eq!(scene.last_asked().url, "http://example.com/a?from=b");
    let hit = get("http://example.com/a?from=c");
    hit.is(Outcome::Hit, "one");
    assert_eq!(hit.field("cache-status"), Some("forwardcache; hit; ttl=60; key=\"http://example.com/a\""));
    scene.send("POST", "http://example.com/a?from=d", &[]).unwrap();
    get(URL).is(Outcome::Miss(Forward::UriMiss), "two");
}

#[test]
fn a_range_of_an_empty_body_is_ignored() {
    let scene = Scene::new();
    scene.answer(200, FRESH, "");
    scene.get(&[]);
    for range in ["bytes=0-", "bytes=0-9", "bytes=-5"] {
        let answer = scene.get(&[("range", range)]);
        answer.is(Outcome::Hit, "");
        assert_eq!((answer.status, answer.field("content-length")), (200, Some("0")), "{range}");
    }
}

#[test]
fn a_bodiless_status_has_neither_content_nor_digest() {
    for status in [204, 205] {
        let scene = Scene::new();
        // This digest describes another body than the one that is sent.
        let digest = "sha-256=:LPJNul+wow4m6DsqxbninhsWHlwfp0JecwQzYpOLmCQ=:";
        scene.answer(status, &[("cache-control", "max-age=60"), ("content-digest", digest)], "12345");
        scene.get(&[]).is(Outcome::Miss(Forward::UriMiss), "");
        let hit = scene.get(&[("forwardcache", "digest")]);
        hit.is(Outcome::Hit, "");
        assert_eq!((hit.status, hit.field("forwardcache-digest")), (status, None));
        assert_eq!(hit.field("content-length"), (status == 205).then_some("0"));
    }
}

#[test]
fn a_non_numeric_age_is_ignored() {
    for (lines, expected) in [
        (&["abc"][..], "10"),
        (&["-5"], "10"),
        (&["3.5"], "10"),
        (&[""], "10"),
        (&["0, 0"], "10"),
        (&["0", "0"], "10"),
        (&["30, 0"], "40"),
        (&["30", "0"], "40"),
    ] {
        let scene = Scene::new();
        let ages: Vec<_> = lines.iter().map(|line| ("age", *line)).collect();
        scene.answer(200, &[FRESH, &ages].concat(), "one");
        scene.get(&[]);
        scene.pass(10);
        let hit = scene.get(&[]);
        assert_eq!(hit.is(Outcome::Hit, "one").field("age"), Some(expected), "{lines:?}");
    }
}

#[test]
fn an_invalid_date_is_replaced_by_the_time_of_receipt() {
    for date in ["0", "yesterday", "Sun, 06 Nov 1994 08:49:37 PST"] {
        let scene = Scene::new();
        scene.answer(200, &[FRESH, &[("date", date)]].concat(), "one");
        assert_eq!(scene.get(&[]).field("date"), Some("Sun, 09 Sep 2001 01:46:40 GMT"));
        assert_eq!(scene.get(&[]).is(Outcome::Hit, "one").field("age"), Some("0"));
    }
}

#[test]
fn broken_quoting_does_not_hide_a_prohibition() {
    for control in
        ["max-age=60, x=\", no-store", "max-age=60, ext=\"a, no-store", "x=a\"b, no-store, y=\"c, max-age=60"]
    {
        let scene = Scene::new();
        for body in ["one", "two"] {
            scene.answer(200, &[("cache-control", control)], body);
            scene.get(&[]).is(Outcome::Miss(Forward::UriMiss), body);
        }
    }
}

#[test]
fn setting_the_clock_back_does_not_make_a_response_fresh() {
    let at = |seconds: u64| std::time::UNIX_EPOCH + Duration::from_secs(seconds);
    for in_bytes in [false, true] {
        let scene = if in_bytes {
            Scene::with(Mode::Private, crate::store::BackedStore::new(crate::store::MemoryByteStore::new()))
        } else {
            Scene::new()
        };
        scene.answer(200, FRESH, "one");
        scene.get(&[]);
        scene.pass(50);
        scene.clock.set(at(1_000_000_050 - 3600));
        assert_eq!(scene.get(&[]).is(Outcome::Hit, "one").field("age"), Some("50"));
        scene.pass(20);
        scene.answer(304, &[], "");
        scene.get(&[]).is(Outcome::Revalidated(Forward::Stale), "one");
        scene.get(&[]).is(Outcome::Hit, "one");
        // The machine was suspended: only the wall clock advanced.
        scene.clock.set(at(1_000_000_000));
        scene.answer(304, &[], "");
        scene.get(&[]).is(Outcome::Revalidated(Forward::Stale), "one");
    }
}
