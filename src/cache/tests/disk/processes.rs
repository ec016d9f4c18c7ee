//! Several processes over one directory.

use super::*;
use crate::store::Tier;

/// One of the processes that use a directory.
struct Process {
    scene: Scene,
    disk: DiskStore,
}

impl Process {
    fn start(folder: &TempDir) -> Self {
        let disk = DiskStore::open(folder.path()).unwrap();
        let build = |cache: HttpCacheBuilder| {
            cache.background(Background::CallerRuns).store(MemoryStore::new(16 << 20)).disk_store(&disk)
        };
        let scene = Scene::built(build);
        // The keys are learnt half a second after the start.
        let until = std::time::Instant::now() + LONG;
        while disk.may_hold("http://example.com/never") {
            assert!(std::time::Instant::now() < until, "the keys are not learnt");
            thread::yield_now();
        }
        Self { scene, disk }
    }

    fn flush(&self) {
        assert!(self.disk.flush(LONG));
    }
}

impl std::ops::Deref for Process {
    type Target = Scene;

    fn deref(&self) -> &Scene {
        &self.scene
    }
}

#[test]
fn stale_response_in_memory_gives_way_to_one_that_another_process_refreshed() {
    // Its body is in the index, in a file, or in a file that is larger than what is loaded into memory.
    for length in [10, 100_000, 2_000_000] {
        let folder = tempfile::tempdir().unwrap();
        let (one, other) = (Process::start(&folder), Process::start(&folder));
        let body = "x".repeat(length);
        one.answer(200, FRESH, body.clone());
        one.get(&[]).is(Outcome::Miss(Forward::UriMiss), &body);
        one.flush();
        other.disk.refresh().unwrap();
        other.pass(100);
        other.answer(304, FRESH, "");
        other.get(&[]).is(Outcome::Revalidated(Forward::Stale), &body);
        other.flush();
        one.disk.refresh().unwrap();
        one.pass(110);
        let answer = one.get(&[]);
        answer.is(Outcome::Hit, &body);
        assert!(answer.field("cache-status").unwrap().ends_with("; detail=disk"), "{length}");
        one.get(&[]).is(Outcome::Hit, &body);
        // What only this process has written since is validated without a lookup.
        one.pass(60);
        one.answer(304, FRESH, "");
        one.get(&[]).is(Outcome::Revalidated(Forward::Stale), &body);
        one.flush();
        one.disk.refresh().unwrap();
        assert!(!one.disk.may_hold_newer(URL), "{length}");
        one.pass(100);
        one.answer(304, FRESH, "");
        one.get(&[]).is(Outcome::Revalidated(Forward::Stale), &body);
        assert_eq!(one.times_asked(), 3);
    }
}

#[test]
fn background_refresh_takes_what_another_process_refreshed() {
    let fields = &[("cache-control", "max-age=60, stale-while-revalidate=600"), ("etag", "\"1\"")];
    for length in [10, 2_000_000] {
        let folder = tempfile::tempdir().unwrap();
        let (one, other) = (Process::start(&folder), Process::start(&folder));
        one.answer(200, fields, "old");
        one.get(&[]).is(Outcome::Miss(Forward::UriMiss), "old");
        one.flush();
        other.pass(100);
        let new = "x".repeat(length);
        other.answer(200, fields, new.clone());
        other.get(&[("cache-control", "no-cache")]).is(Outcome::Miss(Forward::UriMiss), &new);
        other.flush();
        one.disk.refresh().unwrap();
        one.pass(110);
        one.get(&[]).is(Outcome::StaleWhileRevalidate, "old");
        assert_eq!(one.cache.maintain(LONG), 1);
        one.get(&[]).is(Outcome::Hit, &new);
        assert_eq!(one.times_asked(), 1, "{length}");
    }
}

#[test]
fn damaged_newer_body_leaves_the_older_response_to_be_validated() {
    let folder = tempfile::tempdir().unwrap();
    let (one, other) = (Process::start(&folder), Process::start(&folder));
    one.answer(200, FRESH, "old");
    one.get(&[]).is(Outcome::Miss(Forward::UriMiss), "old");
    one.flush();
    other.pass(100);
    other.answer(200, &[("cache-control", "max-age=60"), ("etag", "\"2\"")], "x".repeat(100_000));
    assert_eq!(other.get(&[("cache-control", "no-cache")]).body.len(), 100_000);
    other.flush();
    let folders = std::fs::read_dir(folder.path().join("bodies")).unwrap();
    let files: Vec<_> =
        folders.flat_map(|folder| std::fs::read_dir(folder.unwrap().path()).unwrap()).collect();
    assert_eq!(files.len(), 1);
    std::fs::write(files[0].as_ref().unwrap().path(), vec![0; 100_004]).unwrap();
    one.disk.refresh().unwrap();
    one.pass(110);
    one.answer(304, FRESH, "");
    one.get(&[]).is(Outcome::Revalidated(Forward::Stale), "old");
    assert_eq!(one.last_asked().field("if-none-match"), Some("\"1\""));
}
