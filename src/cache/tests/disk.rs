//! A cache whose memory lies above a disk: what it stores outlives it.

mod beginnings;
mod processes;
mod recovery;
mod restarts;

use tempfile::TempDir;

use super::*;
use crate::message::purge::Purge;
use crate::store::DiskStore;

const LONG: Duration = Duration::from_secs(20);

/// A cache that is opened again and again over one directory.
struct Restarted {
    folder: TempDir,
    scene: Option<Scene>,
    disk: Option<DiskStore>,
    memory: u64,
    mode: Mode,
    key: Option<std::path::PathBuf>,
    is_read_only: bool,
}

impl Restarted {
    fn new(memory: u64) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (mode, key, is_read_only) = (Mode::Private, None, false);
        let mut restarted = Self { folder, scene: None, disk: None, memory, mode, key, is_read_only };
        restarted.open();
        restarted
    }

    fn open(&mut self) {
        let open = if self.is_read_only { DiskStore::open_read_only } else { DiskStore::open };
        let disk = open(self.folder.path()).unwrap();
        let disk = match &self.key {
            Some(key) => disk.key_file(key).unwrap(),
            None => disk,
        };
        let build = |cache: HttpCacheBuilder| {
            let cache = cache.rules(Rules::new(self.mode)).background(Background::CallerRuns);
            cache.store(MemoryStore::new(self.memory)).disk_store(&disk).cache_post(100)
        };
        self.scene = Some(Scene::built(build));
        self.disk = Some(disk);
    }

    /// The same directory in another process, `seconds` later.
    fn restart(&mut self, seconds: i64) {
        let now = self.clock.now();
        assert!(self.disk.take().unwrap().flush(LONG));
        self.scene = None;
        self.open();
        let by = Duration::from_secs(seconds.unsigned_abs());
        self.clock.set(if seconds < 0 { now - by } else { now + by });
    }

    /// The files of the bodies.
    fn files(&self) -> Vec<std::path::PathBuf> {
        let folders = std::fs::read_dir(self.folder.path().join("bodies")).unwrap();
        let files = folders.flat_map(|folder| std::fs::read_dir(folder.unwrap().path()).unwrap());
        files.map(|file| file.unwrap().path()).collect()
    }

    /// Changes a byte of the only file, which may be open.
    fn damage(&self, at: usize) {
        let files = self.files();
        assert_eq!(files.len(), 1);
        let mut bytes = std::fs::read(&files[0]).unwrap();
        bytes[at] ^= 1;
        std::fs::write(&files[0], bytes).unwrap();
    }
}

impl std::ops::Deref for Restarted {
    type Target = Scene;

    fn deref(&self) -> &Scene {
        self.scene.as_ref().unwrap()
    }
}

#[test]
fn nothing_is_looked_for_on_a_thread_of_the_disk_that_is_known_not_to_be_there() {
    let cache = Restarted::new(1 << 20);
    cache.answer(200, FRESH, "hello");
    // The index is loaded from here on.
    assert!(cache.disk.as_ref().unwrap().flush(LONG));
    cache.get(&[]);
    for _ in 0..3 {
        cache.get(&[]).is(Outcome::Hit, "hello");
    }
    assert_eq!(cache.cache.stats().counts().disk_hits, 0);
}

#[test]
fn a_body_larger_than_memory_is_stored_while_it_streams_and_read_in_parts() {
    let mut cache = Restarted::new(1 << 20);
    let body: Vec<u8> = (0..5_000_000_u32).map(|at| (at / 5 % 251).to_le_bytes()[0]).collect();
    let origin = io::Cursor::new(body.clone());
    cache.answer(200, FRESH, Body::from_reader(origin, Some(5_000_000)));
    let read = cache.send("GET", URL, &[]).unwrap().into_body().into_bytes().unwrap();
    assert!(read == body);
    for _ in 0..2 {
        let whole = cache.send("GET", URL, &[]).unwrap();
        assert_eq!(Outcome::of(whole.headers()), Some(Outcome::Hit));
        assert!(whole.into_body().into_bytes().unwrap() == body);
        let end = cache.send("GET", URL, &[("range", "bytes=-10")]).unwrap();
        assert_eq!(end.status().as_u16(), 206);
        assert_eq!(end.headers()["content-range"], "bytes 4999990-4999999/5000000");
        assert!(end.into_body().into_bytes().unwrap() == body[4_999_990..]);
        let none = cache.send("GET", URL, &[("range", "bytes=5000000-")]).unwrap();
        assert_eq!(none.status().as_u16(), 416);
        let head = cache.send("HEAD", URL, &[]).unwrap();
        assert_eq!(head.headers()["content-length"], "5000000");
        assert_eq!(cache.get(&[("if-none-match", "\"1\"")]).status, 304);
        cache.restart(1);
    }
    // A head of its own, and no second body.
    cache.pass(100);
    cache.answer(304, FRESH, "");
    assert!(cache.send("GET", URL, &[]).unwrap().into_body().into_bytes().unwrap() == body);
    assert_eq!(cache.times_asked(), 1);
    cache.restart(1);
    assert_eq!(cache.send("GET", URL, &[]).unwrap().into_body().into_bytes().unwrap().len(), 5_000_000);
    assert_eq!(cache.times_asked(), 0);
}

#[test]
fn others_join_a_large_body_when_its_beginning_is_not_in_memory_any_more() {
    let cache = Restarted::new(1 << 20);
    let (send, pipe) = pipe();
    let piece: &'static [u8] = Box::leak(vec![7; 50_000].into_boxed_slice());
    cache.answer(200, FRESH, Body::from_reader(pipe, Some(4_000_000)));
    let mut first = cache.send("GET", URL, &[]).unwrap().into_body();
    for _ in 0..60 {
        send.send(Ok(piece)).unwrap();
    }
    first.read_exact(&mut vec![0; 3_000_000]).unwrap();
    thread::scope(|scope| {
        let second = scope.spawn(|| cache.send("GET", URL, &[]).unwrap().into_body().into_bytes().unwrap());
        let third = scope.spawn(|| cache.send("GET", URL, &[]).unwrap().into_body().into_bytes().unwrap());
        for _ in 0..20 {
            send.send(Ok(piece)).unwrap();
        }
        drop(send);
        let mut rest = Vec::new();
        first.read_to_end(&mut rest).unwrap();
        assert_eq!(rest.len(), 1_000_000);
        for other in [second, third] {
            let body = other.join().unwrap();
            assert!(body.len() == 4_000_000 && body.iter().all(|byte| *byte == 7));
        }
    });
    assert_eq!(cache.times_asked(), 1);
}

#[test]
fn what_was_invalidated_or_purged_does_not_come_back_after_a_restart() {
    let purges: [fn(&Scene); 4] = [
        |scene| _ = scene.cache.purge(&Purge::url(URL).unwrap()),
        |scene| _ = scene.cache.purge(&Purge::prefix("http://example.com/").unwrap()),
        |scene| _ = scene.cache.purge(&Purge::all()),
        |scene| {
            scene.answer(200, &[], "done");
            scene.send("POST", URL, &[]).unwrap().into_body().into_bytes().unwrap();
        },
    ];
    for purge in purges {
        let mut cache = Restarted::new(1 << 20);
        cache.answer(200, FRESH, "old");
        cache.get(&[]);
        cache.restart(1);
        purge(&cache);
        // As after a crash: nothing is flushed.
        cache.disk = None;
        cache.scene = None;
        cache.open();
        cache.pass(5);
        cache.answer(200, FRESH, "new");
        cache.get(&[]).is(Outcome::Miss(Forward::UriMiss), "new");
    }
}

#[test]
fn what_was_purged_softly_is_stale_after_a_restart_whatever_its_size() {
    for length in [5, 3_000_000] {
        let mut cache = Restarted::new(1 << 20);
        let body = "x".repeat(length);
        cache.answer(200, FRESH, body.clone());
        cache.get(&[]);
        cache.restart(1);
        assert_eq!(cache.cache.purge(&Purge::all().soft()).responses, 1);
        cache.restart(1);
        cache.answer(304, FRESH, "");
        let answer = cache.get(&[]);
        assert!(answer.body == body);
        assert_eq!(Outcome::of(&answer.headers), Some(Outcome::Revalidated(Forward::Stale)));
    }
}

#[test]
fn a_clock_that_was_set_back_makes_what_is_stored_stale_and_keeps_the_order() {
    let mut cache = Restarted::new(1 << 20);
    cache.answer(200, FRESH, "old");
    cache.get(&[]);
    cache.restart(-1000);
    cache.answer(200, FRESH, "new");
    cache.get(&[]).is(Outcome::Miss(Forward::Stale), "new");
    cache.get(&[]).is(Outcome::Hit, "new");
    // The new one counts, although the clock says that it is older.
    cache.restart(1);
    cache.get(&[]).is(Outcome::Hit, "new");
    cache.cache.purge(&Purge::all());
    cache.restart(1);
    cache.answer(200, FRESH, "newest");
    cache.get(&[]).is(Outcome::Miss(Forward::UriMiss), "newest");
}

#[test]
fn response_stored_under_other_rules_is_judged_by_the_rules_of_the_reader() {
    let mut cache = Restarted::new(1 << 20);
    cache.answer(200, &[("cache-control", "max-age=10, s-maxage=60")], "both");
    cache.get(&[]);
    cache.mode = Mode::Shared;
    cache.restart(30);
    // Twice: from the disk, and from memory.
    for _ in 0..2 {
        let answer = cache.get(&[]);
        assert_eq!((answer.is(Outcome::Hit, "both").field("age"), cache.times_asked()), (Some("30"), 0));
    }
    cache.mode = Mode::Private;
    cache.restart(1);
    cache.answer(200, FRESH, "new");
    cache.get(&[]).is(Outcome::Miss(Forward::Stale), "new");
    cache.cache.purge(&Purge::all());
    cache.restart(1);
    cache.answer(200, &[("cache-control", "private, max-age=60")], "mine");
    cache.get(&[]);
    cache.mode = Mode::Shared;
    cache.restart(1);
    cache.answer(200, FRESH, "ours");
    cache.get(&[]).is(Outcome::Miss(Forward::UriMiss), "ours");
    // For a cache of the former rules it still is.
    cache.mode = Mode::Private;
    cache.restart(1);
    cache.get(&[]).is(Outcome::Hit, "mine");
}

type Fields = &'static [(&'static str, &'static str)];

const SECRET: &str = "c0ffee-5ecret";

/// Requests with a credential or responses that set one, with the fields of the response.
const CREDENTIALS: [(Fields, Fields); 4] = [
    (&[("authorization", SECRET)], FRESH),
    (&[("cookie", SECRET)], &[("cache-control", "private, max-age=60")]),
    (&[("x-api-key", SECRET)], &[("cache-control", "max-age=60"), ("vary", "x-api-key")]),
    (&[], &[("cache-control", "max-age=60"), ("set-cookie", SECRET)]),
];

/// Stores all of them, and returns the URLs.
fn store_credentials(cache: &Restarted) -> Vec<String> {
    let urls: Vec<String> = (0..CREDENTIALS.len()).map(|number| format!("http://a/{number}")).collect();
    for (url, (request, fields)) in urls.iter().zip(CREDENTIALS) {
        // Once in the index, once in a file.
        for body in ["body".to_owned(), "body".repeat(20_000)] {
            let url = format!("{url}/{}", body.len());
            cache.answer(200, fields, body);
            cache.send("GET", &url, request).unwrap().into_body().into_bytes().unwrap();
        }
    }
    urls
}

fn is_hit(cache: &Restarted, url: &str, request: &[(&str, &str)]) -> bool {
    let fields = [request, &[("cache-control", "only-if-cached")]].concat();
    let urls = ["4", "80000"].map(|length| format!("{url}/{length}"));
    let hits = urls.map(|url| Outcome::of(cache.send("GET", &url, &fields).unwrap().headers()));
    assert_eq!(hits[0], hits[1]);
    hits[0] == Some(Outcome::Hit)
}

/// Asserts that no file in a folder contains the secret.
fn assert_without_secret(folder: &std::path::Path) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            assert_without_secret(&path);
        } else {
            let bytes = std::fs::read(&path).unwrap();
            assert!(!bytes.windows(SECRET.len()).any(|bytes| bytes == SECRET.as_bytes()), "{path:?}");
        }
    }
}

#[test]
fn without_a_key_nothing_that_depends_on_a_credential_is_in_the_directory() {
    let mut cache = Restarted::new(1 << 20);
    let urls = store_credentials(&cache);
    for (url, (request, _)) in urls.iter().zip(CREDENTIALS) {
        assert!(is_hit(&cache, url, request));
    }
    cache.restart(1);
    assert_without_secret(cache.folder.path());
    for (url, (request, _)) in urls.iter().zip(CREDENTIALS) {
        assert!(!is_hit(&cache, url, request));
    }
    assert_eq!(cache.disk.as_ref().unwrap().entries().count(), 0);
}

#[test]
fn with_a_key_responses_are_found_after_a_restart_by_the_same_credential_only() {
    let mut cache = Restarted::new(1 << 20);
    let keys = tempfile::tempdir().unwrap();
    cache.key = Some(keys.path().join("key"));
    cache.restart(0);
    let urls = store_credentials(&cache);
    for round in 0..2 {
        cache.restart(1);
        assert_without_secret(cache.folder.path());
        for (url, (request, _)) in urls[..3].iter().zip(CREDENTIALS) {
            assert!(is_hit(&cache, url, request), "{round}");
            let (name, _) = request[0];
            assert!(!is_hit(&cache, url, &[(name, "other")]) && !is_hit(&cache, url, &[]));
        }
        assert!(!is_hit(&cache, &urls[3], &[]), "it sets a cookie");
    }
    assert_eq!(cache.disk.as_ref().unwrap().entries().count(), 6);
    // A purge of a URL is for all credentials, also in a process without the key.
    cache.key = None;
    cache.restart(1);
    assert!(!is_hit(&cache, &urls[0], CREDENTIALS[0].0));
    for url in &urls {
        for length in ["4", "80000"] {
            cache.cache.purge(&Purge::url(&format!("{url}/{length}")).unwrap());
        }
    }
    assert_eq!(cache.disk.as_ref().unwrap().entries().count(), 0);
    // With another key, nothing is found.
    cache.key = Some(keys.path().join("key"));
    cache.restart(1);
    store_credentials(&cache);
    cache.key = Some(keys.path().join("other"));
    cache.restart(1);
    assert!(!is_hit(&cache, &urls[0], CREDENTIALS[0].0));
}

#[test]
fn a_disk_that_is_gone_costs_requests_to_the_origin_and_nothing_else() {
    let cache = Restarted::new(1 << 20);
    std::fs::remove_dir_all(cache.folder.path()).unwrap();
    for number in 0..3 {
        let url = format!("http://example.com/{number}");
        let large: &'static str = Box::leak("x".repeat(2_000_000).into_boxed_str());
        for body in ["small", large] {
            cache.answer(200, &[("cache-control", "no-cache")], body);
            let read = cache.send("GET", &url, &[]).unwrap().into_body().into_text().unwrap();
            assert!(read == body);
        }
    }
    cache.disk.as_ref().unwrap().flush(LONG);
}

#[test]
fn a_body_over_max_body_is_stored_in_no_tier_whatever_its_length_is_announced_as() {
    for length in [None, Some(300_000)] {
        for memory in [100_000, 8 << 20] {
            let folder = tempfile::tempdir().unwrap();
            let disk = DiskStore::open(folder.path()).unwrap();
            let cache = Scene::built(|cache| {
                cache.store(MemoryStore::new(memory)).disk_store(&disk).max_body(200_000)
            });
            let body = || Body::from_reader(io::Cursor::new(vec![b'x'; 300_000]), length);
            for _ in 0..2 {
                cache.answer(200, FRESH, body());
                let answer = cache.get(&[]);
                assert_eq!(
                    (answer.body.len(), Outcome::of(&answer.headers)),
                    (300_000, Some(Outcome::Miss(Forward::UriMiss)))
                );
            }
            assert!(disk.flush(LONG));
            assert_eq!((disk.entries().count(), disk.usage().keys), (0, 0), "{length:?} {memory}");
            let fits = Body::from_reader(io::Cursor::new(vec![b'x'; 200_000]), length.map(|_| 200_000));
            cache.answer(200, FRESH, fits);
            cache.get(&[]);
            assert!(disk.flush(LONG));
            assert_eq!(disk.entries().count(), 1, "{length:?} {memory}");
        }
    }
}

#[test]
fn a_range_does_not_load_its_body_until_it_was_requested_often() {
    let mut cache = Restarted::new(16 << 20);
    cache.answer(200, FRESH, "a".repeat(500_000));
    cache.get(&[]);
    cache.restart(1);
    let is_from_disk = |range: &str| {
        let answer = cache.get(&[("range", range)]);
        assert_eq!((answer.status, answer.field("content-length")), (206, Some("10")));
        answer.field("cache-status").unwrap().contains("detail=disk")
    };
    assert!(is_from_disk("bytes=0-9") && is_from_disk("bytes=400000-400009"));
    assert!(is_from_disk("bytes=-10") && !is_from_disk("bytes=-10"));
}
