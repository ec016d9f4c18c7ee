//! Requests on their way through the cache, against a scripted origin and a clock that is moved by hand.

use std::collections::VecDeque;
use std::io::{self, Read};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;
use std::sync::{Arc, Barrier, Mutex};
use std::thread;
use std::time::Duration;

use http::{HeaderMap, HeaderValue, Request, Response};

use super::{Background, Caching, CachingBuilder};
use crate::body::Body;
use crate::clock::ManualClock;
use crate::error::{Error, ErrorKind, Result};
use crate::policy::{Lifetime, LifetimeRule, Mode, Rules};
use crate::round_trip::{RoundTrip, RoundTripFn};
use crate::stats::{Forward, Outcome};
use crate::store::{Key, MemoryStore, Store, StoreError, StoredResponse, Usage, Variants};
use crate::target::Target;

const URL: &str = "http://example.com/a";

/// What the origin was asked.
#[derive(Clone, Debug)]
struct Asked {
    url: String,
    headers: HeaderMap,
    body: String,
}

impl Asked {
    fn field(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }
}

type Script = Mutex<VecDeque<Result<Response<Body>>>>;

/// A cache, its origin, and its clock.
struct Scene {
    cache: Caching,
    script: Arc<Script>,
    asked: Arc<Mutex<Vec<Asked>>>,
    clock: Arc<ManualClock>,
}

impl Scene {
    fn new() -> Self {
        Self::with(Mode::Private, MemoryStore::new(1 << 20))
    }

    fn shared() -> Self {
        Self::with(Mode::Shared, MemoryStore::new(1 << 20))
    }

    fn with_background(background: Background) -> Self {
        Self::built(|cache| cache.background(background))
    }

    fn with(mode: Mode, store: impl Store + 'static) -> Self {
        Self::built(|cache| cache.rules(Rules::new(mode)).store(store))
    }

    fn built(build: impl FnOnce(CachingBuilder) -> CachingBuilder) -> Self {
        let script = Arc::new(Script::default());
        let asked = Arc::new(Mutex::new(Vec::new()));
        let clock = Arc::new(ManualClock::at_unix_seconds(1_000_000_000));
        let origin = ScriptedOrigin { script: Arc::clone(&script), asked: Arc::clone(&asked) };
        let cache = Caching::builder()
            .origin(origin)
            .store(MemoryStore::new(1 << 20))
            .clock(Arc::clone(&clock))
            .pseudonym("me");
        Self { cache: build(cache).build().unwrap(), script, asked, clock }
    }

    /// The origin's next answer.
    fn answer(&self, status: u16, fields: &[(&str, &str)], body: impl Into<Body>) -> &Self {
        let mut response = Response::builder().status(status);
        for (name, value) in fields {
            response = response.header(*name, *value);
        }
        self.script.lock().unwrap().push_back(Ok(response.body(body.into()).unwrap()));
        self
    }

    fn fail(&self, kind: ErrorKind) -> &Self {
        self.script.lock().unwrap().push_back(Err(Error::new(kind, "the origin failed")));
        self
    }

    fn send(&self, method: &str, url: &str, fields: &[(&str, &str)]) -> Result<Response<Body>> {
        let mut request = Request::builder().method(method).uri(url);
        for (name, value) in fields {
            request = request.header(*name, *value);
        }
        self.cache.round_trip(request.body(Body::empty()).unwrap())
    }

    fn get(&self, fields: &[(&str, &str)]) -> Answer {
        Answer::read(self.send("GET", URL, fields).unwrap())
    }

    fn pass(&self, seconds: u64) {
        self.clock.advance(Duration::from_secs(seconds));
    }

    fn times_asked(&self) -> usize {
        self.asked.lock().unwrap().len()
    }

    fn last_asked(&self) -> Asked {
        self.asked.lock().unwrap().last().unwrap().clone()
    }
}

struct ScriptedOrigin {
    script: Arc<Script>,
    asked: Arc<Mutex<Vec<Asked>>>,
}

impl RoundTrip for ScriptedOrigin {
    fn round_trip(&self, request: Request<Body>) -> Result<Response<Body>> {
        let (parts, body) = request.into_parts();
        self.asked.lock().unwrap().push(Asked {
            url: parts.uri.to_string(),
            headers: parts.headers,
            body: body.into_text()?,
        });
        self.script.lock().unwrap().pop_front().expect("the origin is asked more often than expected")
    }
}

/// A response, read to its end.
struct Answer {
    status: u16,
    headers: HeaderMap,
    body: String,
}

impl Answer {
    fn read(response: Response<Body>) -> Self {
        let (parts, body) = response.into_parts();
        Self { status: parts.status.as_u16(), headers: parts.headers, body: body.into_text().unwrap() }
    }

    fn field(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }

    #[track_caller]
    fn is(&self, outcome: Outcome, body: &str) -> &Self {
        assert_eq!(
            (Outcome::of(&self.headers), self.body.as_str()),
            (Some(outcome), body),
            "{:?}",
            self.headers
        );
        assert_eq!(self.field("x-from-cache"), outcome.is_from_store().then_some("1"));
        self
    }
}

const FRESH: &[(&str, &str)] = &[("cache-control", "max-age=60"), ("etag", "\"1\"")];

#[test]
fn a_miss_is_stored_and_the_next_one_is_a_hit() {
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
fn head_is_answered_from_what_get_stored() {
    let scene = Scene::new();
    scene.answer(200, FRESH, "one");
    scene.get(&[]);
    let head = Answer::read(scene.send("HEAD", URL, &[]).unwrap());
    head.is(Outcome::Hit, "");
    assert_eq!(head.field("content-length"), Some("3"));
}

#[test]
fn the_clients_own_condition_is_answered_with_304() {
    let scene = Scene::new();
    scene.answer(200, &[("cache-control", "max-age=60"), ("etag", "\"1\""), ("content-type", "a/b")], "one");
    scene.get(&[]);
    let same = scene.get(&[("if-none-match", "\"0\", W/\"1\"")]);
    same.is(Outcome::Hit, "");
    assert_eq!((same.status, same.field("etag"), same.field("content-type")), (304, Some("\"1\""), None));
    assert_eq!(scene.get(&[("if-none-match", "\"2\"")]).status, 200);
}

#[test]
fn ranges_are_cut_from_what_is_stored() {
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
fn a_range_of_what_is_not_stored_is_the_origins_business() {
    let scene = Scene::new();
    scene.answer(206, &[("content-range", "bytes 2-4/10"), ("cache-control", "max-age=60")], "234");
    let part = scene.get(&[("range", "bytes=2-4")]);
    assert_eq!((part.status, part.body.as_str()), (206, "234"));
    assert_eq!(scene.last_asked().field("range"), Some("bytes=2-4"));
    scene.answer(200, FRESH, "0123456789");
    scene.get(&[]).is(Outcome::Miss(Forward::Partial), "0123456789");
}

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
fn what_must_not_be_stored_is_not() {
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
fn unsafe_methods_pass_through_and_invalidate() {
    for (method, status, fields, forgotten) in [
        ("POST", 200, &[][..], true),
        ("PUT", 204, &[], true),
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
fn an_unsafe_method_invalidates_what_it_names_on_its_own_origin() {
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
fn a_body_reaches_the_origin() {
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
fn conditions_on_the_origins_state_go_to_the_origin() {
    let scene = Scene::new();
    scene.answer(200, FRESH, "one").answer(412, &[], "no");
    scene.get(&[]);
    let answer = scene.get(&[("if-match", "\"2\"")]);
    answer.is(Outcome::Passed(Forward::Bypass), "no");
    assert_eq!(answer.status, 412);
}

#[test]
fn only_if_cached_never_asks_the_origin() {
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
fn what_is_stale_is_served_when_the_origin_fails() {
    let scene = Scene::new();
    scene.answer(200, FRESH, "one");
    scene.get(&[]);
    scene.pass(100);
    scene.fail(ErrorKind::Unreachable);
    let stale = scene.get(&[]);
    stale.is(Outcome::StaleOnError(Forward::Stale), "one");
    assert_eq!(stale.field("age"), Some("100"));
    scene.answer(503, &[], "busy");
    let stale = scene.get(&[]);
    stale.is(Outcome::StaleOnError(Forward::Stale), "one");
    assert!(stale.field("cache-status").unwrap().contains("fwd-status=503"));
}

#[test]
fn what_must_be_validated_is_not_served_when_the_origin_fails() {
    let scene = Scene::new();
    scene.answer(200, &[("cache-control", "max-age=60, must-revalidate")], "one");
    scene.get(&[]);
    scene.pass(100);
    scene.fail(ErrorKind::Timeout);
    assert_eq!(scene.send("GET", URL, &[]).unwrap_err().kind(), ErrorKind::Timeout);
    scene.answer(503, &[], "busy");
    assert_eq!(scene.get(&[]).status, 503);
    assert_eq!(scene.cache.stats().counts().of(Outcome::Failed(Forward::Stale)), 1);
}

#[test]
fn each_credential_has_answers_of_its_own() {
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
fn a_private_answer_is_for_the_cookie_that_it_was_made_for() {
    let scene = Scene::new();
    let private = &[("cache-control", "private, max-age=60")];
    scene.answer(200, private, "for anna").answer(200, private, "for bert");
    scene.get(&[("cookie", "anna")]).is(Outcome::Miss(Forward::UriMiss), "for anna");
    scene.get(&[("cookie", "bert")]).is(Outcome::Miss(Forward::VaryMiss), "for bert");
    scene.get(&[("cookie", "anna")]).is(Outcome::Hit, "for anna");
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
fn messages_name_this_cache_and_nothing_of_another_transfer_is_stored() {
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

/// A body that yields what is sent to it and ends when the sender is gone.
struct Pipe(mpsc::Receiver<io::Result<&'static [u8]>>);

impl Read for Pipe {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let Ok(piece) = self.0.recv() else { return Ok(0) };
        let piece = piece?;
        out[..piece.len()].copy_from_slice(piece);
        Ok(piece.len())
    }
}

fn pipe() -> (mpsc::Sender<io::Result<&'static [u8]>>, Pipe) {
    let (send, receive) = mpsc::channel();
    (send, Pipe(receive))
}

#[test]
fn whoever_comes_while_it_is_fetched_reads_along() {
    let scene = Scene::new();
    let (send, pipe) = pipe();
    scene.answer(200, FRESH, Body::from_reader(pipe, None));
    let first = scene.send("GET", URL, &[]).unwrap();
    let second = scene.send("GET", URL, &[]).unwrap();
    assert_eq!(Outcome::of(second.headers()), Some(Outcome::Collapsed(Forward::UriMiss)));
    let second = thread::spawn(move || second.into_body().into_text());
    send.send(Ok(b"one ")).unwrap();
    send.send(Ok(b"two")).unwrap();
    drop(send);
    assert_eq!(first.into_body().into_text().unwrap(), "one two");
    assert_eq!(second.join().unwrap().unwrap(), "one two");
    scene.get(&[]).is(Outcome::Hit, "one two");
    assert_eq!(scene.times_asked(), 1);
}

#[test]
fn many_at_once_are_one_fetch() {
    let scene = Arc::new(Scene::new());
    scene.answer(200, FRESH, Body::from_reader(&b"one"[..], Some(3)));
    let all = Arc::new(Barrier::new(16));
    let threads: Vec<_> = (0..16)
        .map(|_| {
            let (scene, all) = (Arc::clone(&scene), Arc::clone(&all));
            thread::spawn(move || {
                all.wait();
                scene.get(&[]).body
            })
        })
        .collect();
    for thread in threads {
        assert_eq!(thread.join().unwrap(), "one");
    }
    assert_eq!(scene.times_asked(), 1);
}

#[test]
fn what_may_not_be_shared_is_fetched_by_each() {
    let scene = Scene::new();
    let (send, pipe) = pipe();
    scene.answer(200, &[("cache-control", "no-store")], Body::from_reader(pipe, None));
    let first = scene.send("GET", URL, &[]).unwrap();
    scene.answer(200, &[("cache-control", "no-store")], "another");
    scene.get(&[]).is(Outcome::Miss(Forward::UriMiss), "another");
    drop(send);
    assert_eq!(first.into_body().into_text().unwrap(), "");
}

#[test]
fn another_variant_is_not_shared() {
    let scene = Scene::new();
    let (send, pipe) = pipe();
    let fields = [("cache-control", "max-age=60"), ("vary", "accept")];
    scene.answer(200, &fields, Body::from_reader(pipe, None)).answer(200, &fields, "b");
    let first = scene.send("GET", URL, &[("accept", "a")]).unwrap();
    assert_eq!(scene.get(&[("accept", "b")]).body, "b");
    drop(send);
    drop(first);
}

#[test]
fn what_is_cut_is_not_stored_and_looks_cut_to_everybody() {
    let scene = Scene::new();
    let (send, pipe) = pipe();
    scene.answer(200, FRESH, Body::from_reader(pipe, Some(6)));
    let first = scene.send("GET", URL, &[]).unwrap();
    let second = scene.send("GET", URL, &[]).unwrap();
    send.send(Ok(b"one")).unwrap();
    drop(send);
    for response in [first, second] {
        assert_eq!(response.into_body().into_bytes().unwrap_err().kind(), ErrorKind::IncompleteBody);
    }
    scene.answer(200, FRESH, "whole");
    scene.get(&[]).is(Outcome::Miss(Forward::UriMiss), "whole");
}

#[test]
fn what_ends_with_its_connection_is_passed_on_and_not_stored() {
    let scene = Scene::new();
    for _ in 0..2 {
        scene.answer(200, FRESH, Body::until_close(&b"one"[..]));
        let answer = scene.get(&[]);
        answer.is(Outcome::Miss(Forward::UriMiss), "one");
        assert!(answer.field("cache-status").unwrap().ends_with("detail=end-not-proven"));
    }
}

#[test]
fn what_is_too_large_is_passed_on_and_not_stored() {
    let scene = Scene::with(Mode::Private, MemoryStore::new(10_000));
    for _ in 0..2 {
        scene.answer(200, FRESH, Body::from_reader(io::repeat(b'a').take(20_000), Some(20_000)));
        assert_eq!(scene.get(&[]).body.len(), 20_000);
    }
    assert_eq!(scene.times_asked(), 2);
}

#[test]
fn a_reader_that_stops_early_leaves_it_cached() {
    let scene = Scene::new();
    scene.answer(200, FRESH, Body::from_reader(&b"one"[..], Some(3)));
    drop(scene.send("GET", URL, &[]).unwrap());
    scene.get(&[]).is(Outcome::Hit, "one");
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
fn trouble_of_the_store_is_counted_and_not_the_clients() {
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
fn a_failure_while_others_wait_is_everybodys() {
    /// An origin that fails when it is told to.
    struct Waits(Mutex<mpsc::Receiver<()>>, Mutex<mpsc::Sender<()>>);
    impl RoundTrip for Waits {
        fn round_trip(&self, _: Request<Body>) -> Result<Response<Body>> {
            self.1.lock().unwrap().send(()).unwrap();
            self.0.lock().unwrap().recv().unwrap();
            Err(Error::new(ErrorKind::Timeout, "no answer"))
        }
    }
    let (fail, told) = mpsc::channel();
    let (tell, is_asked) = mpsc::channel();
    let origin = Waits(Mutex::new(told), Mutex::new(tell));
    let cache = Caching::builder().origin(origin).store(MemoryStore::new(1 << 20)).build().unwrap();
    let fetch = |cache: Caching| {
        thread::spawn(move || {
            cache.round_trip(Request::get(URL).body(Body::empty()).unwrap()).unwrap_err().kind()
        })
    };
    let leader = fetch(cache.clone());
    is_asked.recv().unwrap();
    let follower = fetch(cache.clone());
    // Whether the follower waits already or leads a second fetch, it is told of a failure.
    fail.send(()).unwrap();
    let _ = fail.send(());
    assert_eq!(leader.join().unwrap(), ErrorKind::Timeout);
    assert_eq!(follower.join().unwrap(), ErrorKind::Timeout);
}

#[test]
fn only_absolute_urls_of_http_are_fetched() {
    let scene = Scene::new();
    for url in ["/a", "ftp://example.com/"] {
        assert_eq!(scene.send("GET", url, &[]).unwrap_err().kind(), ErrorKind::BadUrl, "{url}");
    }
}

#[test]
fn what_is_on_its_way_is_shared_only_as_long_as_it_is_fresh() {
    for (asked, advance, shared) in
        [("", 0, true), ("", 61, false), ("max-age=5", 10, false), ("min-fresh=55", 10, false)]
    {
        let scene = Scene::new();
        let (send, pipe) = pipe();
        scene.answer(200, &[("cache-control", "max-age=60, must-revalidate")], Body::from_reader(pipe, None));
        let first = scene.send("GET", URL, &[]).unwrap();
        scene.pass(advance);
        scene.answer(200, FRESH, "another");
        let fields = [("cache-control", asked)];
        let second = scene.send("GET", URL, if asked.is_empty() { &[] } else { &fields }).unwrap();
        drop(send);
        let collapsed = Outcome::of(second.headers()) == Some(Outcome::Collapsed(Forward::UriMiss));
        assert_eq!(collapsed, shared, "{asked} after {advance} s");
        drop(first);
    }
}

#[test]
fn an_invalidation_wins_over_a_fetch_that_is_under_way() {
    let scene = Scene::new();
    let (send, pipe) = pipe();
    scene.answer(200, FRESH, Body::from_reader(pipe, Some(3)));
    let under_way = scene.send("GET", URL, &[]).unwrap();
    scene.answer(200, &[], "done");
    scene.send("POST", URL, &[]).unwrap();
    // Nobody joins what was asked before.
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
fn one_clients_range_is_no_answer_to_another() {
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
fn the_validator_of_one_users_private_answer_is_not_tried_for_another() {
    let scene = Scene::new();
    let private = [("cache-control", "private, max-age=60"), ("etag", "W/\"template\"")];
    scene.answer(200, &private, "for anna").answer(200, &private, "for bert");
    scene.get(&[("cookie", "anna")]);
    scene.get(&[("cookie", "bert")]).is(Outcome::Miss(Forward::VaryMiss), "for bert");
    assert_eq!(scene.last_asked().field("if-none-match"), None);
}

#[test]
fn fields_that_are_one_users_are_not_stored_for_all() {
    let fields = [("cache-control", "max-age=60, private=\"x-user\""), ("x-user", "anna")];
    for (scene, kept) in [(Scene::shared(), None), (Scene::new(), Some("anna"))] {
        scene.answer(200, &fields, "one");
        assert_eq!(scene.get(&[]).field("x-user"), Some("anna"));
        assert_eq!(scene.get(&[]).is(Outcome::Hit, "one").field("x-user"), kept);
    }
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
fn a_request_that_cannot_be_sent_earns_no_stale_answer() {
    let scene = Scene::new();
    scene.answer(200, FRESH, "one");
    scene.get(&[]);
    scene.pass(100);
    scene.fail(ErrorKind::BadRequest);
    assert_eq!(scene.send("GET", URL, &[]).unwrap_err().kind(), ErrorKind::BadRequest);
}

#[test]
fn a_stream_of_events_is_passed_on() {
    let scene = Scene::new();
    let (send, pipe) = pipe();
    let fields = [("content-type", "text/event-stream; charset=utf-8")];
    scene.answer(200, &fields, Body::from_reader(pipe, None));
    let events = scene.send("GET", URL, &[]).unwrap();
    send.send(Ok(b"data: 1")).unwrap();
    drop(events);
    assert!(send.send(Ok(b"")).is_err(), "nobody reads on");
}

#[test]
fn what_ends_at_this_hop_selects_nothing() {
    let scene = Scene::new();
    let fields = [("cache-control", "max-age=60"), ("vary", "x-language")];
    scene.answer(200, &fields, "default").answer(200, &fields, "hallo");
    scene.get(&[("x-language", "de"), ("connection", "x-language")]);
    scene.get(&[("x-language", "de")]).is(Outcome::Miss(Forward::VaryMiss), "hallo");
}

#[test]
fn a_stored_204_has_no_length() {
    let scene = Scene::new();
    scene.answer(204, FRESH, "");
    scene.get(&[]);
    assert_eq!(scene.get(&[]).is(Outcome::Hit, "").field("content-length"), None);
}

#[test]
fn the_answer_to_a_post_that_says_so_is_one_to_get() {
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

const TAGGED: &[(&str, &str)] = &[("cache-control", "max-age=60"), ("etag", "\"1\"")];

impl Scene {
    fn answer_part(&self, range: &str, tag: &str, body: &'static str) -> &Self {
        let fields = [("cache-control", "max-age=60"), ("etag", tag), ("content-range", range)];
        self.answer(206, &fields, Body::from_reader(body.as_bytes(), Some(body.len() as u64)))
    }
}

#[test]
fn a_part_is_kept_and_answers_what_lies_within_it() {
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
fn parts_that_touch_become_one_and_at_last_the_whole() {
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
        let scene = Scene::new();
        scene.answer_part("bytes 0-4/10", one, "01234").answer_part("bytes 5-9/10", other, "56789");
        scene.get(&[("range", "bytes=0-4")]);
        scene.get(&[("range", "bytes=5-9")]);
        scene.answer(200, TAGGED, "abcdefghij");
        scene.get(&[]).is(Outcome::Miss(Forward::Partial), "abcdefghij");
        assert_eq!(scene.last_asked().field("range"), None);
    }
}

#[test]
fn a_beginning_is_completed_by_the_rest() {
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
fn a_rest_that_does_not_fit_is_not_used() {
    let scene = || {
        let scene = Scene::new();
        scene.answer_part("bytes 0-4/10", "\"1\"", "01234");
        scene.get(&[("range", "bytes=0-4")]);
        scene
    };
    // It has changed: the origin sends the whole.
    let changed = scene();
    changed.answer(200, &[("etag", "\"2\"")], "abc");
    changed.get(&[]).is(Outcome::Miss(Forward::Partial), "abc");
    // Whatever else comes, the whole is asked for.
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
fn a_part_whose_length_contradicts_its_place_is_not_kept() {
    let scene = Scene::new();
    scene.answer_part("bytes 4-9/10", "\"1\"", "01234").answer_part("bytes 4-9/10", "\"1\"", "01234");
    scene.get(&[("range", "bytes=4-9")]);
    scene.get(&[("range", "bytes=4-9")]).is(Outcome::Miss(Forward::UriMiss), "01234");
}

#[test]
fn a_part_that_is_stale_or_only_wanted_in_its_head_is_asked_for_again() {
    let scene = Scene::new();
    scene.answer_part("bytes 0-4/10", "\"1\"", "01234").answer(200, TAGGED, "");
    scene.get(&[("range", "bytes=0-4")]);
    scene.send("HEAD", URL, &[]).unwrap();
    scene.pass(61);
    scene.answer_part("bytes 0-4/10", "\"1\"", "01234");
    scene.get(&[("range", "bytes=0-4")]).is(Outcome::Miss(Forward::Stale), "01234");
}

#[test]
fn a_part_of_another_variant_is_no_candidate_for_the_whole() {
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

const REFRESHED: &[(&str, &str)] =
    &[("cache-control", "max-age=60, stale-while-revalidate=30"), ("etag", "\"1\"")];

#[test]
fn what_may_be_served_while_it_is_refreshed_is_served_at_once_and_refreshed_once() {
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
fn a_refresh_that_fails_leaves_what_is_stored_and_may_be_tried_again() {
    let scene = Scene::with_background(Background::CallerRuns);
    scene.answer(200, REFRESHED, "one");
    scene.get(&[]);
    scene.pass(70);
    for _ in 0..2 {
        scene.get(&[]).is(Outcome::StaleWhileRevalidate, "one");
        scene.fail(ErrorKind::Timeout);
        assert_eq!(scene.cache.maintain(Duration::from_secs(5)), 1);
    }
    assert_eq!(scene.cache.maintain(Duration::from_secs(5)), 0);
    assert_eq!(scene.times_asked(), 3);
}

#[test]
fn a_thread_refreshes_and_lets_the_cache_go() {
    let (tell, asked) = mpsc::channel();
    let tell = Mutex::new(tell);
    let clock = Arc::new(ManualClock::at_unix_seconds(1_000_000_000));
    let origin = RoundTripFn(move |_| {
        tell.lock().unwrap().send(()).unwrap();
        let response = Response::builder().header("cache-control", "max-age=60, stale-while-revalidate=30");
        Ok(response.body(Body::from("body")).unwrap())
    });
    let cache = Caching::builder().origin(origin).store(MemoryStore::new(1 << 20)).clock(Arc::clone(&clock));
    let cache = cache.build().unwrap();
    let get = || cache.round_trip(Request::get(URL).body(Body::empty()).unwrap()).unwrap();
    get();
    asked.recv().unwrap();
    clock.advance(Duration::from_secs(70));
    assert_eq!(Outcome::of(get().headers()), Some(Outcome::StaleWhileRevalidate));
    asked.recv_timeout(Duration::from_secs(10)).unwrap();
    drop(cache);
    // The origin goes with the last handle, which the thread may hold for a moment.
    assert_eq!(asked.recv_timeout(Duration::from_secs(10)), Err(mpsc::RecvTimeoutError::Disconnected));
}

#[test]
fn what_waits_is_drained_on_drop_where_that_is_wanted() {
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
fn rules_on_lifetimes_say_how_long_and_never_whether() {
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
fn offline_only_what_is_stored_is_answered() {
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
fn nobody_waits_for_what_turned_out_not_to_be_for_sharing() {
    // A head that does not come holds only its own client: it is not followed.
    struct Blocks(Mutex<mpsc::Receiver<()>>, Mutex<mpsc::Sender<()>>, AtomicUsize);
    impl RoundTrip for Blocks {
        fn round_trip(&self, _: Request<Body>) -> Result<Response<Body>> {
            let number = self.2.fetch_add(1, Ordering::SeqCst);
            if number == 1 {
                self.1.lock().unwrap().send(()).unwrap();
                self.0.lock().unwrap().recv().unwrap();
            }
            let response = Response::builder().header("cache-control", "no-store");
            Ok(response.body(Body::from(number.to_string())).unwrap())
        }
    }
    let (release, blocked) = mpsc::channel();
    let (tell, is_asked) = mpsc::channel();
    let origin = Blocks(Mutex::new(blocked), Mutex::new(tell), AtomicUsize::new(0));
    let cache = Caching::builder().origin(origin).store(MemoryStore::new(1 << 20)).build().unwrap();
    let get = |cache: &Caching| {
        let request = Request::get(URL).body(Body::empty()).unwrap();
        cache.round_trip(request).unwrap().into_body().into_text().unwrap()
    };
    assert_eq!(get(&cache), "0");
    let slow = thread::spawn({
        let cache = cache.clone();
        move || get(&cache)
    });
    is_asked.recv().unwrap();
    assert_eq!(get(&cache), "2");
    release.send(()).unwrap();
    assert_eq!(slow.join().unwrap(), "1");
}

#[test]
fn a_shared_cache_keeps_to_what_is_targeted_at_it_and_passes_it_on() {
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
fn fields_that_a_targeted_field_calls_private_are_not_stored() {
    let scene = Scene::shared();
    let fields = [("cdn-cache-control", "max-age=60, private=\"x-user\""), ("x-user", "anna")];
    scene.answer(200, &fields, "one");
    assert_eq!(scene.get(&[]).field("x-user"), Some("anna"));
    let hit = scene.get(&[("range", "bytes=9-")]);
    assert_eq!((hit.status, hit.field("x-user"), hit.field("cdn-cache-control")), (416, None, None));
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

const GROUPED: &[(&str, &str)] =
    &[("cache-control", "max-age=60"), ("etag", "\"1\""), ("cache-groups", "\"news\", \"sport\";x=1")];

#[test]
fn a_group_is_invalidated_on_its_own_origin_alone() {
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
        // It is as if nothing were stored, so that there is nothing to confirm either.
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
        ("PURGE", 200, "\"sport\";a=b", true),
        // It says so itself, whatever became of the request.
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

/// An origin that is asked for something else while it answers a GET.
struct Interrupted {
    origin: ScriptedOrigin,
    cache: Arc<Mutex<Option<Caching>>>,
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
fn what_was_asked_before_the_invalidation_of_its_group_is_not_stored_though_it_came_after() {
    for (status, body) in [(304, ""), (200, "old")] {
        let script = Arc::new(Script::default());
        let clock = Arc::new(ManualClock::at_unix_seconds(1_000_000_000));
        let interruption = Arc::new(Mutex::new(None));
        let origin = ScriptedOrigin { script: Arc::clone(&script), asked: Arc::default() };
        let origin = Interrupted { origin, cache: Arc::clone(&interruption), clock: Arc::clone(&clock) };
        let cache = Caching::builder().origin(origin).clock(Arc::clone(&clock)).build().unwrap();
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

#[test]
fn what_is_the_key_can_be_chosen() {
    let without_query = |target: &Target| target.as_str().split('?').next().unwrap().to_owned();
    let scene = Scene::built(|cache| cache.key(without_query));
    scene.answer(200, FRESH, "one").answer(200, &[], "done").answer(200, FRESH, "two");
    let get = |url: &str| Answer::read(scene.send("GET", url, &[]).unwrap());
    get("http://example.com/a?from=b").is(Outcome::Miss(Forward::UriMiss), "one");
    assert_eq!(scene.last_asked().url, "http://example.com/a?from=b");
    get("http://example.com/a?from=c").is(Outcome::Hit, "one");
    scene.send("POST", "http://example.com/a?from=d", &[]).unwrap();
    get(URL).is(Outcome::Miss(Forward::UriMiss), "two");
}
