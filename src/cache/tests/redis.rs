//! Caches in several processes over one Redis.

use tempfile::TempDir;

use super::*;
use crate::message::purge::Purge;
use crate::store::testing::RedisServer;
use crate::store::{DiskStore, RedisStore};

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
