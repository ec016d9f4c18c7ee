//! Caches in several processes over one Redis.

use tempfile::TempDir;

use super::*;
use crate::message::body::Wake;
use crate::message::nonblocking::{RunMode, Step, Waiting};
use crate::message::purge::Purge;
use crate::store::testing::RedisServer;
use crate::store::{DiskStore, RedisStore, Tier};

const LONG: Duration = Duration::from_secs(60);

/// A new process: its memory is empty.
struct Process {
    scene: Scene,
    redis: RedisStore,
}

impl Process {
    fn start(server: &RedisServer) -> Self {
        Self::start_with(server, |cache| cache)
    }

    fn start_with(server: &RedisServer, build: impl FnOnce(HttpCacheBuilder) -> HttpCacheBuilder) -> Self {
        let redis = RedisStore::builder(server.url()).timeout(Duration::from_secs(5)).build().unwrap();
        let scene = Scene::built(|cache| build(cache).redis(&redis));
        Self { scene, redis }
    }

    /// Fetches from the origin.
    fn fetch(&self, fields: &[(&str, &str)], body: &str) {
        self.answer(200, fields, body.to_owned());
        self.get(&[]).is(Outcome::Miss(Forward::UriMiss), body);
        assert!(self.redis.flush(LONG));
    }

    /// How many operations Redis has answered.
    fn operations(&self) -> u64 {
        Tier::usage(&self.redis).answers
    }
}

impl std::ops::Deref for Process {
    type Target = Scene;

    fn deref(&self) -> &Scene {
        &self.scene
    }
}

fn detail(answer: &Answer) -> Option<String> {
    let status = answer.field("cache-status").unwrap();
    status.split_once("detail=").map(|(_, detail)| detail.to_owned())
}

#[test]
fn response_of_another_process_is_served_and_promoted() {
    let server = RedisServer::start(&[]);
    Process::start(&server).fetch(FRESH, "hello");
    let other = Process::start(&server);
    let answer = other.get(&[]);
    answer.is(Outcome::Hit, "hello");
    assert_eq!(detail(&answer).as_deref(), Some("redis"));
    let again = other.get(&[]);
    again.is(Outcome::Hit, "hello");
    assert_eq!((detail(&again), other.times_asked()), (None, 0));
    assert_eq!(other.cache.stats().counts().redis_hits, 1);
}

#[test]
fn validation_by_one_process_freshens_the_response_of_all() {
    let server = RedisServer::start(&[]);
    Process::start(&server).fetch(FRESH, "hello");
    let other = Process::start(&server);
    other.pass(100);
    other.answer(304, FRESH, "");
    other.get(&[]).is(Outcome::Revalidated(Forward::Stale), "hello");
    assert!(other.redis.flush(LONG));
    let third = Process::start(&server);
    third.pass(100);
    third.get(&[]).is(Outcome::Hit, "hello");
}

#[test]
fn response_is_judged_by_the_rules_of_its_reader() {
    let server = RedisServer::start(&[]);
    let private = Process::start(&server);
    private.fetch(&[("cache-control", "max-age=60, s-maxage=600")], "for all");
    let other_url = "http://example.com/private";
    private.answer(200, &[("cache-control", "private, max-age=60")], "for one");
    private.send("GET", other_url, &[]).unwrap().into_body().into_text().unwrap();
    assert!(private.redis.flush(LONG));
    let shared = Process::start_with(&server, |cache| cache.rules(Rules::new(Mode::Shared)));
    shared.pass(100);
    shared.get(&[]).is(Outcome::Hit, "for all");
    shared.answer(200, FRESH, "fetched");
    let answer = shared.send("GET", other_url, &[]).unwrap();
    assert_eq!(answer.into_body().into_text().unwrap(), "fetched");
    let later = Process::start(&server);
    later.pass(100);
    later.answer(200, FRESH, "again");
    later.get(&[]).is(Outcome::Miss(Forward::Stale), "again");
}

#[test]
fn unsafe_request_and_purge_of_one_process_apply_to_the_others() {
    let server = RedisServer::start(&[]);
    for invalidate in [
        |one: &Process| {
            one.answer(200, &[], "");
            one.send("POST", URL, &[]).unwrap();
        },
        |one: &Process| _ = one.cache.purge(&Purge::url(URL).unwrap()),
        |one: &Process| _ = one.cache.purge(&Purge::prefix("http://example.com/").unwrap()),
        |one: &Process| _ = one.cache.purge(&Purge::all()),
    ] {
        let one = Process::start(&server);
        one.fetch(FRESH, "old");
        invalidate(&one);
        Process::start(&server).fetch(FRESH, "new");
        let third = Process::start(&server);
        third.get(&[]).is(Outcome::Hit, "new");
        // The process that invalidated serves what was stored since.
        one.get(&[]).is(Outcome::Hit, "new");
        third.cache.purge(&Purge::all());
    }
}

#[test]
fn response_requested_before_a_purge_of_another_process_is_not_stored() {
    let server = RedisServer::start(&[]);
    let (one, other) = (Process::start(&server), Process::start(&server));
    let (sender, receiver) = mpsc::channel::<()>();
    // The body ends after the purge.
    struct Late(Option<mpsc::Receiver<()>>);
    impl Read for Late {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let Some(receiver) = self.0.take() else { return Ok(0) };
            receiver.recv().unwrap();
            buffer[..3].copy_from_slice(b"old");
            Ok(3)
        }
    }
    one.answer(200, FRESH, Body::from_reader(Late(Some(receiver)), None));
    let response = one.send("GET", URL, &[]).unwrap();
    other.cache.purge(&Purge::prefix("http://example.com/").unwrap());
    sender.send(()).unwrap();
    assert_eq!(response.into_body().into_text().unwrap(), "old");
    assert!(one.redis.flush(LONG));
    other.fetch(FRESH, "new");
}

#[test]
fn lookups_go_down_the_tiers_and_writes_go_to_all() {
    let (server, folder) = (RedisServer::start(&[]), TempDir::new().unwrap());
    let disk = DiskStore::open(folder.path()).unwrap();
    let three = |disk: &DiskStore| Process::start_with(&server, |cache| cache.disk_store(disk));
    three(&disk).fetch(FRESH, "hello");
    assert!(disk.flush(LONG));
    let tier_of = |process: &Process| {
        let answer = process.get(&[]);
        answer.is(Outcome::Hit, "hello");
        assert_eq!(process.times_asked(), 0);
        detail(&answer)
    };
    // Redis is below the disk.
    assert_eq!(tier_of(&three(&disk)).as_deref(), Some("disk"));
    let empty = TempDir::new().unwrap();
    let second = DiskStore::open(empty.path()).unwrap();
    assert_eq!(tier_of(&three(&second)).as_deref(), Some("redis"));
    // It was promoted to the disk too.
    assert!(second.flush(LONG));
    assert_eq!(tier_of(&three(&second)).as_deref(), Some("disk"));
    // An invalidation reaches all tiers.
    let last = three(&second);
    last.cache.purge(&Purge::prefix("http://example.com/").unwrap());
    let fresh = three(&second);
    fresh.fetch(FRESH, "new");
}

#[test]
fn server_that_is_away_costs_no_request_and_no_response() {
    let mut server = RedisServer::start(&[]);
    let process = Process::start(&server);
    process.fetch(FRESH, "hello");
    server.kill();
    for number in 0..20 {
        let url = format!("http://example.com/{number}");
        process.answer(200, FRESH, "fetched");
        let response = process.send("GET", &url, &[]).unwrap();
        assert_eq!(response.into_body().into_text().unwrap(), "fetched");
    }
    process.get(&[]).is(Outcome::Hit, "hello");
    assert_eq!(process.times_asked(), 21);
}

/// Two processes of which `one` stores a response and `other` has validated it since.
fn refreshed_by_the_other(fields: &[(&str, &str)]) -> (RedisServer, Process, Process) {
    let server = RedisServer::start(&[]);
    let (one, other) = (Process::start(&server), Process::start(&server));
    one.fetch(fields, "hello");
    other.pass(100);
    other.answer(304, fields, "");
    other.get(&[]).is(Outcome::Revalidated(Forward::Stale), "hello");
    assert!(other.redis.flush(LONG));
    one.pass(110);
    (server, one, other)
}

#[test]
fn stale_response_in_memory_gives_way_to_one_that_another_process_refreshed() {
    let strict = &[("cache-control", "max-age=60, must-revalidate"), ("etag", "\"1\"")][..];
    for fields in [FRESH, strict] {
        let (_server, one, _other) = refreshed_by_the_other(fields);
        let answer = one.get(&[]);
        answer.is(Outcome::Hit, "hello");
        assert_eq!((detail(&answer).as_deref(), answer.field("age")), (Some("redis"), Some("10")));
        let again = one.get(&[]);
        again.is(Outcome::Hit, "hello");
        assert_eq!((detail(&again), one.times_asked()), (None, 1));
    }
}

#[test]
fn request_for_more_freshness_than_memory_has_finds_that_of_another_process() {
    let fields = &[("cache-control", "max-age=1000"), ("etag", "\"1\"")];
    let server = RedisServer::start(&[]);
    let (one, other) = (Process::start(&server), Process::start(&server));
    one.fetch(fields, "hello");
    other.pass(100);
    let young = &[("cache-control", "max-age=50")];
    other.answer(304, fields, "");
    other.get(young).is(Outcome::Revalidated(Forward::Request), "hello");
    assert!(other.redis.flush(LONG));
    one.pass(110);
    one.get(&[]).is(Outcome::Hit, "hello");
    assert_eq!(detail(one.get(young).is(Outcome::Hit, "hello")).as_deref(), Some("redis"));
    one.get(&[("cache-control", "min-fresh=960")]).is(Outcome::Hit, "hello");
    assert_eq!(one.times_asked(), 1);
}

#[test]
fn origin_is_asked_once_if_the_response_of_the_other_process_is_stale_too() {
    let (_server, one, other) = refreshed_by_the_other(FRESH);
    other.pass(60);
    other.answer(200, &[("cache-control", "max-age=60"), ("etag", "\"2\"")], "changed");
    other.get(&[]).is(Outcome::Miss(Forward::Stale), "changed");
    assert!(other.redis.flush(LONG));
    one.pass(200);
    one.answer(304, &[("cache-control", "max-age=60"), ("etag", "\"2\"")], "");
    let before = one.operations();
    // The newer of the two stale responses is validated.
    one.get(&[]).is(Outcome::Revalidated(Forward::Stale), "changed");
    assert_eq!(one.last_asked().field("if-none-match"), Some("\"2\""));
    assert_eq!(one.times_asked(), 2);
    assert!(one.redis.flush(LONG));
    // One lookup; a read and a write for the new head.
    assert_eq!(one.operations() - before, 3);
}

#[test]
fn response_that_is_not_newer_in_redis_is_validated() {
    let server = RedisServer::start(&[]);
    let one = Process::start(&server);
    one.fetch(FRESH, "hello");
    one.pass(100);
    one.answer(304, FRESH, "");
    one.get(&[]).is(Outcome::Revalidated(Forward::Stale), "hello");
    assert_eq!(one.last_asked().field("if-none-match"), Some("\"1\""));
    // One variant of another process does not answer for another.
    let other = Process::start(&server);
    let varied =
        |language| [("cache-control", "max-age=60"), ("vary", "accept-language"), ("etag", language)];
    one.answer(200, &varied("\"de\""), "deutsch");
    one.send("GET", "http://example.com/v", &[("accept-language", "de")])
        .unwrap()
        .into_body()
        .into_text()
        .unwrap();
    assert!(one.redis.flush(LONG));
    other.pass(200);
    other.answer(200, &varied("\"fr\""), "français");
    let text = |process: &Process, language| {
        let response = process.send("GET", "http://example.com/v", &[("accept-language", language)]).unwrap();
        response.into_body().into_text().unwrap()
    };
    assert_eq!(text(&other, "fr"), "français");
    assert!(other.redis.flush(LONG));
    one.pass(105);
    one.answer(304, &varied("\"de\""), "");
    assert_eq!(text(&one, "de"), "deutsch");
    assert_eq!((text(&one, "fr").as_str(), one.times_asked()), ("français", 4));
}

#[test]
fn reload_and_fresh_response_ask_nothing_in_redis() {
    let (_server, one, _other) = refreshed_by_the_other(FRESH);
    for directive in ["no-cache", "max-age=0"] {
        one.answer(503, &[("cache-control", "no-store")], "asked");
        let before = one.operations();
        assert_eq!(one.get(&[("cache-control", directive)]).body, "asked");
        assert_eq!(one.operations(), before, "{directive}");
    }
    one.get(&[]).is(Outcome::Hit, "hello");
    let before = one.operations();
    one.get(&[]).is(Outcome::Hit, "hello");
    // Every request validates it, so another process has none that could be served.
    one.answer(200, &[("cache-control", "no-cache"), ("etag", "\"2\"")], "always");
    one.get(&[("cache-control", "no-cache")]).is(Outcome::Miss(Forward::Request), "always");
    assert!(one.redis.flush(LONG));
    let after = one.operations();
    one.answer(304, &[("cache-control", "no-cache"), ("etag", "\"2\"")], "");
    one.get(&[]).is(Outcome::Revalidated(Forward::Stale), "always");
    assert!(one.redis.flush(LONG));
    // Each of the two responses was read and written.
    assert_eq!((after - before, one.operations() - after), (2, 2));
}

#[test]
fn background_refresh_takes_what_another_process_refreshed() {
    let fields = &[("cache-control", "max-age=60, stale-while-revalidate=600"), ("etag", "\"1\"")];
    let server = RedisServer::start(&[]);
    let one = Process::start_with(&server, |cache| cache.background(Background::CallerRuns));
    one.fetch(fields, "old");
    let other = Process::start(&server);
    other.cache.purge(&Purge::all());
    other.pass(100);
    other.fetch(fields, "new");
    one.pass(110);
    one.get(&[]).is(Outcome::StaleWhileRevalidate, "old");
    assert_eq!(one.cache.maintain(LONG), 1);
    one.get(&[]).is(Outcome::Hit, "new");
    assert_eq!(one.times_asked(), 1);
    // If it is stale there too, the origin is asked.
    one.pass(70);
    one.get(&[]).is(Outcome::StaleWhileRevalidate, "new");
    one.answer(304, fields, "");
    assert_eq!((one.cache.maintain(LONG), one.times_asked()), (1, 2));
}

#[test]
fn stale_response_on_disk_does_not_hide_the_fresh_one_in_redis() {
    let (server, folder) = (RedisServer::start(&[]), TempDir::new().unwrap());
    let disk = DiskStore::open(folder.path()).unwrap();
    Process::start_with(&server, |cache| cache.disk_store(&disk)).fetch(FRESH, "hello");
    assert!(disk.flush(LONG));
    let other = Process::start(&server);
    other.pass(100);
    other.answer(304, FRESH, "");
    other.get(&[]).is(Outcome::Revalidated(Forward::Stale), "hello");
    assert!(other.redis.flush(LONG));
    let restarted = Process::start_with(&server, |cache| cache.disk_store(&disk));
    restarted.pass(110);
    assert_eq!(detail(restarted.get(&[]).is(Outcome::Hit, "hello")).as_deref(), Some("redis"));
    assert!(disk.flush(LONG));
    // The disk has the newer one from then on.
    let again = Process::start_with(&server, |cache| cache.disk_store(&disk));
    again.pass(110);
    assert_eq!(detail(again.get(&[]).is(Outcome::Hit, "hello")).as_deref(), Some("disk"));
}

#[test]
fn event_loop_never_waits_for_redis_and_only_the_first_request_looks_there() {
    let server = RedisServer::start(&[]);
    let one = Process::start(&server);
    one.fetch(FRESH, "hello");
    one.pass(100);
    let (sender, woken) = mpsc::channel();
    let step = || {
        let wake = || -> Wake {
            let sender = sender.clone();
            Arc::new(move || sender.send(()).unwrap())
        };
        one.cache.step(CanonicalUrl::parse(URL).unwrap(), Request::get(URL).body(()).unwrap(), &wake)
    };
    let Step::Wait(waiting) = step() else { panic!("it does not look in Redis") };
    woken.recv_timeout(LONG).unwrap();
    let Step::Fetch(job, own) = (waiting.again)() else { panic!("it does not ask the origin") };
    let before = one.operations();
    let Step::Wait(other) = step() else { panic!("it does not wait for the fetch") };
    assert_eq!(one.operations(), before);
    one.answer(304, FRESH, "");
    job.take(RunMode::Worker);
    let outcome = |waiting: Waiting<Result<Response<Body>>>| {
        let Step::Serve(answer) = (waiting.again)() else { panic!("it is not answered") };
        Outcome::of(answer.unwrap().headers())
    };
    assert_eq!(outcome(own), Some(Outcome::Revalidated(Forward::Stale)));
    assert_eq!(outcome(other), Some(Outcome::Hit));
    assert!(one.redis.flush(LONG));
    // The new head was read and written.
    assert_eq!(one.operations() - before, 2);
}
