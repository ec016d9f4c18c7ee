//! The rules of RFC 9111 for responses that an earlier process stored.

use super::*;

/// The bodies that the tests store: one that is in the index, and one that is in a file and streams from there.
fn bodies() -> [String; 2] {
    ["small".to_owned(), "large".repeat(400_000)]
}

impl Restarted {
    /// A cache with a response that was stored before it was opened.
    fn with_stored(fields: Fields, body: &str) -> Self {
        let mut cache = Self::new(1 << 20);
        cache.answer(200, fields, body.to_owned());
        assert!(cache.get(&[]).body == body);
        cache.restart(0);
        cache
    }

    #[track_caller]
    fn gets(&self, outcome: Outcome, body: &str) -> Answer {
        let answer = self.get(&[]);
        assert_eq!(Outcome::of(&answer.headers), Some(outcome));
        assert!(answer.body == body, "{} bytes", answer.body.len());
        answer
    }
}

#[test]
fn what_is_stored_is_served_after_a_restart_until_it_is_stale_and_then_validated() {
    let mut cache = Restarted::new(1 << 20);
    cache.answer(200, FRESH, "hello");
    cache.get(&[]).is(Outcome::Miss(Forward::UriMiss), "hello");
    cache.restart(20);
    let answer = cache.get(&[]);
    answer.is(Outcome::Hit, "hello");
    assert_eq!((answer.field("age"), cache.times_asked()), (Some("20"), 0));
    assert!(answer.field("cache-status").unwrap().ends_with("; detail=disk"));
    // The second request keeps it in memory.
    for is_on_disk in [true, false] {
        let answer = cache.get(&[]);
        let status = answer.is(Outcome::Hit, "hello").field("cache-status").unwrap();
        assert_eq!(status.contains("disk"), is_on_disk);
    }
    assert_eq!(cache.cache.stats().counts().disk_hits, 2);
    cache.restart(50);
    cache.answer(304, FRESH, "");
    cache.get(&[]).is(Outcome::Revalidated(Forward::Stale), "hello");
    assert_eq!(cache.last_asked().field("if-none-match"), Some("\"1\""));
    cache.restart(50);
    cache.get(&[]).is(Outcome::Hit, "hello");
}

#[test]
fn age_counts_from_the_origin_whatever_happened_to_the_clock() {
    for body in bodies() {
        let fields: Fields = &[("cache-control", "max-age=60"), ("etag", "\"1\""), ("age", "10")];
        let mut cache = Restarted::with_stored(fields, &body);
        cache.restart(20);
        assert_eq!(cache.gets(Outcome::Hit, &body).field("age"), Some("30"));
        // Set forward by a day.
        cache.restart(86_400);
        cache.answer(304, fields, "");
        assert_eq!(cache.gets(Outcome::Revalidated(Forward::Stale), &body).field("age"), Some("10"));
        cache.restart(49);
        cache.gets(Outcome::Hit, &body);
        cache.restart(1);
        cache.answer(304, FRESH, "");
        cache.gets(Outcome::Revalidated(Forward::Stale), &body);
    }
}

#[test]
fn a_response_from_the_future_is_validated_before_it_is_used() {
    const LAX: Fields =
        &[("cache-control", "max-age=60, stale-while-revalidate=600, stale-if-error=600"), ("etag", "\"1\"")];
    for body in bodies() {
        let mut cache = Restarted::with_stored(LAX, &body);
        cache.restart(-3600);
        cache.answer(304, LAX, "");
        cache.gets(Outcome::Revalidated(Forward::Stale), &body);
        assert_eq!(cache.last_asked().field("if-none-match"), Some("\"1\""));
        cache.restart(1);
        cache.gets(Outcome::Hit, &body);
    }
}

#[test]
fn stale_responses_are_used_as_their_fields_permit() {
    const LAX: Fields =
        &[("cache-control", "max-age=60, stale-while-revalidate=30, stale-if-error=600"), ("etag", "\"1\"")];
    for body in bodies() {
        let mut cache = Restarted::with_stored(LAX, &body);
        cache.restart(70);
        assert_eq!(cache.gets(Outcome::StaleWhileRevalidate, &body).field("age"), Some("70"));
        assert_eq!(cache.times_asked(), 0);
        cache.restart(50);
        cache.fail(ErrorKind::Unreachable);
        cache.gets(Outcome::StaleIfError(Forward::Stale), &body);
        cache.restart(1);
        cache.answer(503, &[], "");
        cache.gets(Outcome::StaleIfError(Forward::Stale), &body);
        cache.restart(600);
        cache.fail(ErrorKind::Unreachable);
        assert!(cache.send("GET", URL, &[]).is_err());

        const STRICT: Fields =
            &[("cache-control", "max-age=60, must-revalidate, stale-if-error=600"), ("etag", "\"1\"")];
        let mut cache = Restarted::with_stored(STRICT, &body);
        cache.restart(70);
        cache.fail(ErrorKind::Unreachable);
        assert!(cache.send("GET", URL, &[]).is_err());
        const NO_CACHE: Fields = &[("cache-control", "max-age=60, no-cache"), ("etag", "\"1\"")];
        let cache = Restarted::with_stored(NO_CACHE, &body);
        cache.answer(304, NO_CACHE, "");
        assert_eq!(cache.get(&[]).body.len(), body.len());
        assert_eq!(cache.times_asked(), 1);
    }
}

#[test]
fn each_variant_is_found_and_freshened_by_itself() {
    for suffix in bodies() {
        let mut cache = Restarted::new(1 << 20);
        let in_language = |cache: &Restarted, language: &str| {
            Answer::read(cache.send("GET", URL, &[("accept-language", language)]).unwrap())
        };
        for language in ["de", "en"] {
            let tag = format!("\"{language}\"");
            let fields = [("cache-control", "max-age=60"), ("vary", "accept-language"), ("etag", &*tag)];
            cache.answer(200, &fields, format!("{language}{suffix}"));
            in_language(&cache, language);
        }
        cache.restart(30);
        for language in ["de", "en"] {
            let answer = in_language(&cache, language);
            assert!(answer.body.starts_with(language) && answer.body.len() == suffix.len() + 2);
            assert_eq!(Outcome::of(&answer.headers), Some(Outcome::Hit));
        }
        cache.restart(40);
        cache.answer(
            304,
            &[("cache-control", "max-age=60"), ("vary", "accept-language"), ("etag", "\"en\"")],
            "",
        );
        assert!(in_language(&cache, "en").body.starts_with("en"));
        cache.restart(10);
        assert_eq!(Outcome::of(&in_language(&cache, "en").headers), Some(Outcome::Hit));
        // A third language is confirmed by the tag of one that is stored.
        cache.restart(0);
        cache.answer(
            304,
            &[("cache-control", "max-age=60"), ("vary", "accept-language"), ("etag", "\"en\"")],
            "",
        );
        assert!(in_language(&cache, "fr").body.starts_with("en"));
    }
}

#[test]
fn a_head_updates_or_removes_what_is_on_the_disk() {
    for body in bodies() {
        let length = body.len().to_string();
        let mut cache = Restarted::with_stored(FRESH, &body);
        cache.restart(70);
        let fields = [
            ("cache-control", "max-age=60"),
            ("etag", "\"1\""),
            ("content-length", &*length),
            ("x-new", "1"),
        ];
        cache.answer(200, &fields, Body::empty());
        cache.send("HEAD", URL, &[]).unwrap();
        cache.restart(50);
        assert_eq!(cache.gets(Outcome::Hit, &body).field("x-new"), Some("1"));
        cache.restart(20);
        cache.answer(200, &[("cache-control", "max-age=60"), ("etag", "\"2\"")], Body::empty());
        cache.send("HEAD", URL, &[]).unwrap();
        // As after a crash: nothing is flushed.
        (cache.disk, cache.scene) = (None, None);
        cache.open();
        cache.answer(200, FRESH, "new");
        cache.gets(Outcome::Miss(Forward::UriMiss), "new");
    }
}

#[test]
fn a_shared_cache_reads_what_a_private_one_stored_by_its_own_rules() {
    let credential = [("authorization", "Basic QQ==")];
    let fields: [(Fields, bool); 3] = [
        (&[("cache-control", "max-age=60")], false),
        (&[("cache-control", "max-age=60, public")], true),
        (&[("cache-control", "private, max-age=60")], false),
    ];
    for (fields, is_public) in fields {
        let mut cache = Restarted::new(1 << 20);
        let keys = tempfile::tempdir().unwrap();
        cache.key = Some(keys.path().join("key"));
        cache.restart(0);
        cache.answer(200, fields, "of one user");
        Answer::read(cache.send("GET", URL, &credential).unwrap());
        cache.mode = Mode::Shared;
        cache.restart(1);
        // Nobody gets it without the credential, whatever the mode.
        cache.answer(200, fields, "of nobody");
        assert_eq!(cache.get(&[]).body, "of nobody", "{fields:?}");
        // In shared mode, a response to a request with a credential is for all if it says so.
        let mut cache = Restarted::new(1 << 20);
        cache.mode = Mode::Shared;
        cache.restart(0);
        cache.answer(200, fields, "shared");
        Answer::read(cache.send("GET", URL, &credential).unwrap());
        cache.restart(1);
        cache.answer(200, fields, "new");
        let expected = if is_public { "shared" } else { "new" };
        assert_eq!(cache.get(&[]).body, expected, "{fields:?}");
    }
}
