//! A store on disk by itself: what is put is found, also by the next process, and what is wrong is not.

mod bound;
mod part;
mod removed;
mod unreadable;

use std::fs;
use std::io::Read;
use std::path::PathBuf;
use std::thread;
use std::time::{Duration, Instant};

use http::HeaderValue;
use tempfile::TempDir;

use super::index::Index;
use super::*;
use crate::base::memory_limit::MemoryUse;
use crate::message::stored_bytes::StoredReader;
use crate::store::contract_suite::{Subject, contract_suite};
use crate::store::testing::{Random, golden, grouped, key, response, response_of, validity, with_seed};

const LONG: Duration = Duration::from_secs(20);

struct Scene {
    folder: Arc<TempDir>,
    store: Option<DiskStore>,
}

impl Scene {
    fn new() -> Self {
        Self::of(Arc::new(tempfile::tempdir().unwrap()))
    }

    fn of(folder: Arc<TempDir>) -> Self {
        let store = Some(DiskStore::open(folder.path()).unwrap());
        Self { folder, store }
    }

    fn store(&self) -> &DiskStore {
        self.store.as_ref().unwrap()
    }

    fn put(&self, number: u64, response: &Arc<StoredResponse>) {
        assert!(self.store().put(&key(number), response, None));
    }

    /// Writes what waits, closes the store, and opens it again.
    fn reopen(&mut self) {
        assert!(self.store().flush(LONG));
        self.store = None;
        self.store = Some(DiskStore::open(self.folder.path()).unwrap());
    }

    /// The bodies that are found under a key, by their numbers; `None` for one that cannot be read.
    fn found(&self, number: u64) -> Vec<Option<u64>> {
        let found = self.store().find(&key(number)).unwrap();
        let body = |stored: &Arc<StoredResponse>| {
            let loaded = self.store().load(&key(number), stored).ok()?;
            assert_eq!(loaded.digest(), Some(crate::message::digest::Digest::of_pieces(&loaded.body())));
            Some(u64::from_be_bytes(*loaded.body().to_bytes().first_chunk().unwrap()))
        };
        found.iter().map(body).collect()
    }

    /// All files of bodies.
    fn files(&self) -> Vec<PathBuf> {
        let folders = fs::read_dir(self.folder.path().join("bodies")).unwrap();
        let files = folders.flat_map(|folder| fs::read_dir(folder.unwrap().path()).unwrap());
        files.map(|file| file.unwrap().path()).collect()
    }

    /// What the directory takes.
    fn taken(&self) -> u64 {
        let index = self.folder.path().join("index.redb");
        self.files()
            .iter()
            .chain([&index])
            .map(|file| fs::metadata(file).map_or(0, |file| directory::blocks(&file)))
            .sum()
    }
}

impl Subject for Scene {
    fn insert(&self, key: &Key, response: &StoredResponse) -> bool {
        let response = response.clone().with_sequence(self.store().sequence() + 1);
        self.store().put(key, &Arc::new(response), None)
    }

    fn insert_late(&self, key: &Key, second: &StoredResponse, first: &StoredResponse) {
        for (response, sequence) in [(second, 20), (first, 10)] {
            self.store().put(key, &Arc::new(response.clone().with_sequence(sequence)), None);
        }
    }

    fn other_process(&self) -> Option<Box<dyn Subject>> {
        Some(Box::new(Self::of(Arc::clone(&self.folder))))
    }

    fn catch_up(&self) {
        assert!(self.store().flush(LONG));
        self.store().refresh().unwrap();
    }

    fn find(&self, key: &Key) -> Vec<Arc<StoredResponse>> {
        self.store().find(key).unwrap()
    }

    fn remove(&self, key: &Key) {
        Tier::remove(self.store(), key).unwrap();
    }

    fn purge(&self, purge: &Purge) -> Purged {
        self.store().purge(purge).unwrap()
    }

    fn begin(&self, length: Option<u64>) -> Option<Arc<dyn Spill>> {
        self.store().begin(length, u64::MAX)
    }

    fn insert_spilled(&self, key: &Key, response: &StoredResponse, number: u64) -> bool {
        let response = response.clone().with_sequence(self.store().sequence() + 1);
        self.store().put_spilled(key, &Arc::new(response), number)
    }

    fn restart(&mut self) -> bool {
        self.reopen();
        true
    }
}

contract_suite!(disk, Box::new(Scene::new()));

fn wait_until(is_so: impl Fn() -> bool) {
    let until = Instant::now() + LONG;
    while !is_so() {
        assert!(Instant::now() < until, "it takes too long");
        thread::yield_now();
    }
}

#[test]
fn response_is_found_before_and_after_it_is_written_and_after_a_restart() {
    let mut scene = Scene::new();
    for (number, size) in [(1, 10), (2, 16 << 10), (3, (16 << 10) + 1), (4, 300_000), (5, 2_000_000)] {
        scene.put(number, &response_of("a", number, size));
        scene.put(number, &response_of("b", number + 100, size));
    }
    for round in 0..3 {
        for number in 1..=5 {
            assert_eq!(scene.found(number), [Some(number + 100), Some(number)], "{round}");
        }
        assert!(scene.found(6).is_empty());
        match round {
            0 => assert!(scene.store().flush(LONG)),
            _ => scene.reopen(),
        }
    }
    assert_eq!(scene.files().len(), 6);
    assert!(scene.store().may_hold(key(1).as_str()));
}

#[test]
fn newer_response_replaces_the_older_in_any_order_of_arrival() {
    let mut scene = Scene::new();
    let of = |number, sequence| {
        Arc::new(StoredResponse::clone(&response_of("a", number, 50_000)).with_sequence(sequence))
    };
    scene.put(1, &of(1, 10));
    assert!(scene.store().flush(LONG));
    scene.put(1, &of(2, 20));
    scene.put(1, &of(3, 15));
    assert_eq!(scene.found(1), [Some(2)]);
    scene.reopen();
    assert_eq!((scene.found(1), scene.files().len(), scene.store().sequence()), (vec![Some(2)], 1, 20));
}

#[test]
fn new_head_of_the_same_body_writes_no_body() {
    let mut scene = Scene::new();
    let first = response_of("a", 1, 200_000);
    scene.put(1, &first);
    scene.reopen();
    let files = scene.files();
    let mut headers = first.headers();
    headers.insert("x-new", HeaderValue::from_static("1"));
    let fresh = StoredResponse::with_digest(
        first.status(),
        &headers,
        first.body(),
        first.digest(),
        validity(),
        first.variant().clone(),
    );
    let found = scene.store().find(&key(1)).unwrap();
    let remote = fresh.clone().with_remote(found[0].remote().unwrap().clone());
    for head in [fresh, remote] {
        scene.put(1, &Arc::new(head));
        scene.reopen();
        assert_eq!((scene.found(1), scene.files()), (vec![Some(1)], files.clone()));
        let found = scene.store().find(&key(1)).unwrap();
        assert_eq!(found[0].headers()["x-new"], "1");
    }
    // What was removed meanwhile does not come back by its head.
    let found = scene.store().find(&key(1)).unwrap();
    scene.store().remove(&key(1)).unwrap();
    scene.put(1, &found[0]);
    scene.reopen();
    assert!(scene.found(1).is_empty() && scene.files().is_empty());
}

#[test]
fn removals_and_purges_are_durable_when_the_call_returns() {
    let mut scene = Scene::new();
    for number in 1..=6 {
        scene.put(number, &response_of("a", number, 40_000 * (number % 2)));
    }
    scene.put(7, &grouped("a", 7, "news"));
    assert!(scene.store().flush(LONG));
    scene.put(8, &response("a", 8));
    assert!(scene.store().remove(&key(1)).unwrap() && !scene.store().remove(&key(99)).unwrap());
    assert_eq!(scene.store().purge(&Purge::url(key(2).url()).unwrap()).unwrap().responses, 1);
    let group = Purge::group("http://a", "news").unwrap();
    assert_eq!(scene.store().purge(&group).unwrap().responses, 1);
    let copy = tempfile::tempdir().unwrap();
    let left = |scene: &Scene| (1..=8).filter(|number| !scene.found(*number).is_empty()).collect::<Vec<_>>();
    assert_eq!(left(&scene), [3, 4, 5, 6, 8]);
    // What would be found if the process were killed here.
    fs::copy(scene.folder.path().join("index.redb"), copy.path().join("index.redb")).unwrap();
    let killed = Scene::of(Arc::new(copy));
    assert!([1, 2, 7].iter().all(|number| killed.found(*number).is_empty()));
    assert_eq!(scene.store().purge(&Purge::prefix("http://a/").unwrap()).unwrap().responses, 5);
    scene.reopen();
    assert!(left(&scene).is_empty() && scene.files().is_empty());
    assert_eq!(scene.store().usage().keys, 0);
}

#[test]
fn capacity_holds_during_churn() {
    with_seed("capacity_holds_during_churn", |seed| {
        const CAPACITY: u64 = 24 << 20;
        let mut scene = Scene::new();
        scene.store = Some(scene.store.take().unwrap().capacity(CAPACITY));
        let mut random = Random::new(seed);
        for number in 0..400 {
            let size = if random.below(3) == 0 { random.below(1 << 20) } else { random.below(20_000) };
            scene.store().put(&key(random.below(200)), &response_of("a", number, size), None);
            if number % 20 == 0 {
                assert!(scene.store().flush(LONG));
                assert!(scene.taken() <= CAPACITY, "{} of {CAPACITY}", scene.taken());
            }
        }
        assert!(scene.store().flush(LONG));
        assert!(scene.store().usage().evictions > 0 && scene.store().usage().keys > 10);
        scene.store = None;
        scene.store = Some(DiskStore::open(scene.folder.path()).unwrap().capacity(CAPACITY / 2));
        scene.put(1, &response("a", 1));
        assert!(scene.store().flush(LONG));
        assert!(scene.taken() <= CAPACITY / 2, "{}", scene.taken());
        assert_eq!(scene.found(1), [Some(1)]);
    });
}

fn body(length: usize) -> Vec<u8> {
    (0..length).map(|at| (at / 3 % 253).to_le_bytes()[0]).collect()
}

#[test]
fn body_is_read_while_it_is_written_and_kept_only_if_it_is_complete() {
    let mut scene = Scene::new();
    let bytes = body(3_000_000);
    let spill = scene.store().begin(None, u64::MAX).unwrap();
    for (at, piece) in bytes.chunks(100_000).enumerate() {
        spill.write(piece).unwrap();
        let read = spill.read((at * 50_000) as u64, 70_000).unwrap();
        assert!(!read.is_empty() && *read == bytes[at * 50_000..][..read.len()]);
    }
    let dropped = scene.store().begin(Some(1_000_000), u64::MAX).unwrap();
    dropped.write(&bytes[..500_000]).unwrap();
    drop(dropped);
    let number = spill.finish().unwrap();
    let head = StoredResponse::clone(&StoredResponse::new(
        http::StatusCode::OK,
        &http::HeaderMap::new(),
        bytes::Bytes::from(bytes.clone()),
        validity(),
        crate::policy::Variant::default(),
    ));
    let source: Arc<dyn crate::message::stored_bytes::StoredBytes> = spill;
    let head = Arc::new(head.with_remote(crate::store::RemoteBody::on_disk(3_000_000, source)));
    assert!(scene.store().put_spilled(&key(1), &head, number));
    drop(head);
    for _ in 0..2 {
        let found = scene.store().find(&key(1)).unwrap();
        let remote = found[0].remote().unwrap();
        for range in [0..3_000_000, 2_999_990..3_000_000, 65_535..65_537] {
            let ledger = Ledger::new(1 << 30);
            let mut part = Vec::new();
            let mut reader = StoredReader::body(Arc::clone(&remote.source), range.clone(), ledger);
            reader.read_to_end(&mut part).unwrap();
            assert!(
                part == bytes[usize::try_from(range.start).unwrap()..usize::try_from(range.end).unwrap()]
            );
        }
        drop(found);
        scene.reopen();
    }
    wait_until(|| scene.files().len() == 1);
}

#[test]
fn body_over_the_limit_or_without_room_is_refused() {
    let mut scene = Scene::new();
    scene.store = Some(scene.store.take().unwrap().capacity(16 << 20).max_body(2 << 20));
    assert!(scene.store().begin(Some((2 << 20) + 1), u64::MAX).is_none());
    let spill = scene.store().begin(None, u64::MAX).unwrap();
    let piece = vec![1; 1 << 20];
    assert!(spill.write(&piece).is_ok() && spill.write(&piece).is_ok() && spill.write(&piece).is_err());
    drop(spill);
    wait_until(|| scene.files().is_empty());
    assert!(!scene.store().put(&key(1), &response_of("a", 1, 3 << 20), None));
}

#[test]
fn altered_truncated_or_deleted_body_is_a_miss_and_is_removed() {
    for harm in ["alter", "cut", "delete"] {
        let mut scene = Scene::new();
        scene.put(1, &response_of("a", 1, 100_000));
        scene.put(2, &response_of("a", 2, 100_000));
        scene.reopen();
        let files = scene.files();
        for file in &files {
            match harm {
                "alter" => {
                    let mut bytes = fs::read(file).unwrap();
                    bytes[70_000] ^= 1;
                    fs::write(file, bytes).unwrap();
                }
                "cut" => fs::File::options().write(true).open(file).unwrap().set_len(80_000).unwrap(),
                _ => fs::remove_file(file).unwrap(),
            }
        }
        assert_eq!((scene.found(1), scene.found(2)), (vec![None], vec![None]), "{harm}");
        assert!(scene.found(1).is_empty(), "{harm}");
        scene.reopen();
        assert!(scene.found(1).is_empty() && scene.files().is_empty(), "{harm}");
        scene.put(1, &response_of("a", 3, 100_000));
        assert_eq!(scene.found(1), [Some(3)]);
    }
}

#[test]
fn unfinished_bodies_of_a_killed_process_are_removed_at_the_next_start() {
    let mut scene = Scene::new();
    scene.put(1, &response_of("a", 1, 100_000));
    assert!(scene.store().flush(LONG));
    let orphan = core::file_in(scene.folder.path(), 99 << 24 | 7);
    fs::create_dir_all(orphan.parent().unwrap()).unwrap();
    fs::write(&orphan, "left by a crash").unwrap();
    let registered = scene.folder.path().join("processes").join(format!("{:010x}", 99));
    fs::write(&registered, "").unwrap();
    scene.reopen();
    wait_until(|| !orphan.exists() && !registered.exists());
    assert_eq!((scene.files().len(), scene.found(1)), (1, vec![Some(1)]));
}

#[test]
fn responses_that_depend_on_or_set_credentials_are_not_written_without_a_key() {
    let mut scene = Scene::new();
    let plain = response("a", 1);
    let with = |name: &'static str| {
        let mut headers = plain.headers();
        headers.insert(name, HeaderValue::from_static("secret=1"));
        let (body, validity) = (plain.body(), *plain.validity());
        Arc::new(StoredResponse::new(plain.status(), &headers, body, validity, plain.variant().clone()))
    };
    let by = |name: &'static str| {
        let fields = Box::new([(http::HeaderName::from_static(name), Some(bytes::Bytes::from_static(b"x")))]);
        let variant = crate::policy::Variant { fields };
        let (body, validity) = (plain.body(), *plain.validity());
        Arc::new(StoredResponse::new(plain.status(), &plain.headers(), body, validity, variant))
    };
    let store = scene.store();
    assert!(!store.put(&Key::partitioned("http://a/", 7), &plain, None));
    for response in
        [with("set-cookie"), with("set-cookie2"), by("cookie"), by("authorization"), by("x-api-key")]
    {
        assert!(!store.put(&key(1), &response, None));
    }
    // And what was there is older than what could not be written.
    scene.put(1, &plain);
    assert!(scene.store().flush(LONG) && !scene.store().put(&key(1), &with("set-cookie"), None));
    scene.reopen();
    assert!(scene.found(1).is_empty());
}

#[test]
fn error_states_why_a_directory_cannot_be_used() {
    let message = |folder: &Path| DiskStore::open(folder).unwrap_err().to_string();
    let scene = Scene::new();
    let file = scene.folder.path().join("file");
    fs::write(&file, "").unwrap();
    assert!(message(&file).contains("cannot be made"), "{}", message(&file));

    let foreign = tempfile::tempdir().unwrap();
    fs::create_dir(foreign.path().join("bodies")).unwrap();
    let index = foreign.path().join("index.redb");
    drop(DiskStore::open(foreign.path()).unwrap());
    let (database, _) = Index::open(&index, [0; 2], Access::Write).unwrap();
    database.write(|tables| tables.set_format(99)).unwrap();
    drop(database);
    // Nor does it become this version's by that.
    for _ in 0..2 {
        assert!(message(foreign.path()).contains("format 99"), "{}", message(foreign.path()));
    }

    let damaged = tempfile::tempdir().unwrap();
    fs::write(damaged.path().join("index.redb"), vec![7; 100_000]).unwrap();
    let text = message(damaged.path());
    assert!(text.contains("its index is damaged") && text.contains("remove the directory"), "{text}");
    let truncated = Scene::new();
    truncated.put(1, &response("a", 1));
    assert!(truncated.store().flush(LONG));
    let Scene { folder, store } = truncated;
    drop(store);
    fs::File::options().write(true).open(folder.path().join("index.redb")).unwrap().set_len(1000).unwrap();
    let text = message(folder.path());
    assert!(text.contains("its index is damaged") && text.contains("remove the directory"), "{text}");
}

/// What is resident of this process, in bytes.
#[cfg(target_os = "linux")]
fn resident() -> u64 {
    let pages = fs::read_to_string("/proc/self/statm").unwrap();
    pages.split(' ').nth(1).unwrap().parse::<u64>().unwrap() * 4096
}

#[cfg(target_os = "linux")]
#[test]
#[ignore = "takes a minute: run it by its name, without other tests"]
fn million_keys_open_within_a_second_and_take_less_than_100_bytes_each() {
    let count =
        std::env::var("FORWARDCACHE_KEYS").ok().and_then(|text| text.parse().ok()).unwrap_or(1_000_000);
    let mut scene = Scene::new();
    scene.store = Some(scene.store.take().unwrap().capacity(20 << 30));
    // How long the longest of the waits for all changes was, each of 50,000 keys.
    let write = |scene: &Scene, numbers: std::ops::Range<u64>| {
        let (begun, mut longest) = (Instant::now(), Duration::ZERO);
        for number in numbers {
            let response = response("a", number);
            while !scene.store().put(&key(number), &response, None) {
                assert!(scene.store().flush(LONG));
            }
            if number % 50_000 == 49_999 {
                let begun = Instant::now();
                assert!(scene.store().flush(LONG));
                longest = longest.max(begun.elapsed());
            }
        }
        assert!(scene.store().flush(LONG));
        (begun.elapsed(), longest)
    };
    let (taken, longest) = write(&scene, 0..count);
    eprintln!("{count} keys were written in {taken:?}, longest flush {longest:?}, index {}", scene.taken());
    scene.store = None;
    let (before, begun) = (resident(), Instant::now());
    scene.store = Some(DiskStore::open(scene.folder.path()).unwrap().capacity(20 << 30));
    assert_eq!(scene.found(count / 2), [Some(count / 2)]);
    let first = begun.elapsed();
    wait_until(|| !scene.store().may_hold(key(2 * count).as_str()));
    let bytes = resident().saturating_sub(before) as f64 / count as f64;
    eprintln!("first hit after {first:?}, all known after {:?}, {bytes:.0} bytes each", begun.elapsed());
    assert!(first < Duration::from_secs(1) && bytes < 100.0);
    // The directory is full from here on: this is the charge of its entries, and the room in which the index grows.
    let charge = scene.store().core().meta.lock().kibibytes * space::KIB;
    let capacity = charge + (charge / 15).min(64 << 20);
    eprintln!("its entries count as {charge} bytes");
    scene.store = Some(scene.store.take().unwrap().capacity(capacity));
    let (taken, longest) = write(&scene, count..count + count / 5);
    let (size, evictions) = (scene.taken(), scene.store().usage().evictions);
    eprintln!(
        "{} more in {taken:?}, longest flush {longest:?}, {evictions} evicted, {size} of {capacity}",
        count / 5
    );
    assert!(size <= capacity && evictions > 0);
}

#[test]
fn found_response_is_at_hand_until_its_key_changes() {
    let scene = Scene::new();
    let store = scene.store();
    store.set_ledger(Ledger::new(64 << 20));
    let sequence = |number: u64| Some(store.find_now(key(number).as_str())?.first()?.sequence());
    let put = |number: u64, sequence: u64| {
        let response = StoredResponse::clone(&response_of("a", sequence, 100_000)).with_sequence(sequence);
        assert!(store.put(&key(number), &Arc::new(response), None));
    };
    let find = |number: u64| {
        assert!(store.flush(LONG));
        store.find(&key(number)).unwrap()
    };
    put(1, 1);
    put(2, 1);
    assert_eq!(sequence(1), None, "its body is in memory");
    assert!(find(1)[0].remote().unwrap().source.open().is_ok());
    find(2);
    assert_eq!((sequence(1), sequence(2)), (Some(1), Some(1)));
    put(1, 2);
    assert_eq!((sequence(1), sequence(2)), (None, Some(1)));
    find(1);
    assert_eq!(sequence(1), Some(2));
    assert!(store.remove(&key(1)).unwrap());
    store.purge(&Purge::all()).unwrap();
    assert_eq!((sequence(1), sequence(2)), (None, None));
    // A body in the index has to be read from there.
    assert!(store.put(&key(3), &response("a", 3), None));
    assert!(find(3).len() == 1 && sequence(3).is_none());
}

#[test]
fn what_is_at_hand_is_read_without_waiting_also_when_its_file_is_removed() {
    let scene = Scene::new();
    let ledger = Ledger::new(64 << 20);
    scene.store().set_ledger(Arc::clone(&ledger));
    scene.put(1, &response_of("a", 1, 100_000));
    assert!(scene.store().flush(LONG));
    let found = scene.store().find(&key(1)).unwrap();
    let source = &found[0].remote().unwrap().source;
    assert!(source.read_now(0, 10, &ledger).unwrap().is_none(), "the file is not open");
    source.open().unwrap();
    scene.files().into_iter().for_each(|file| fs::remove_file(file).unwrap());
    // Some file systems have no reads that do not wait.
    if let Some(bytes) = source.read_now(0, 10, &ledger).unwrap() {
        assert!(bytes[..8] == 1_u64.to_be_bytes() && bytes.len() == 10);
        assert!(ledger.held(MemoryUse::Windows) > 0);
    }
    assert_eq!(source.read(99_999, 10).unwrap().len(), 1);
}

/// Two stores of one directory: as two processes have it, except that they share the process.
fn two() -> (Scene, DiskStore) {
    let scene = Scene::new();
    let other = DiskStore::open(scene.folder.path()).unwrap();
    (scene, other)
}

#[test]
fn two_processes_find_each_others_responses() {
    let (mut scene, other) = two();
    thread::sleep(Duration::from_millis(1200));
    assert!(!other.may_hold(key(1).as_str()), "an empty directory is known");
    scene.put(1, &response_of("a", 1, 100_000));
    assert!(other.put(&key(2), &response_of("a", 2, 10), None));
    assert!(scene.store().flush(LONG) && other.flush(LONG));
    wait_until(|| other.may_hold(key(1).as_str()) && scene.store().may_hold(key(2).as_str()));
    assert_eq!((scene.found(1), scene.found(2)), (vec![Some(1)], vec![Some(2)]));
    // What is at hand is dropped when the other process changes the directory.
    scene.store().set_ledger(Ledger::new(64 << 20));
    scene.found(1);
    assert!(scene.store().find_now(key(1).as_str()).is_some());
    assert!(other.put(&key(3), &response_of("a", 3, 10), None) && other.flush(LONG));
    wait_until(|| scene.store().find_now(key(1).as_str()).is_none());
    scene.store = Some(other);
    assert_eq!((scene.found(1), scene.found(2)), (vec![Some(1)], vec![Some(2)]));
}

#[test]
fn an_invalidation_reaches_the_memory_and_the_pending_writes_of_the_other_process() {
    let (scene, other) = two();
    let seen = Arc::new(Mutex::new(Vec::new()));
    let listener: Arc<dyn Fn(&Purge) + Send + Sync> = {
        let seen = Arc::clone(&seen);
        Arc::new(move |purge: &Purge| seen.lock().push(purge.clone()))
    };
    other.on_invalidation(Arc::downgrade(&listener));
    let not_own: Arc<dyn Fn(&Purge) + Send + Sync> = Arc::new(|_| panic!("its own invalidation"));
    scene.store().on_invalidation(Arc::downgrade(&not_own));
    scene.put(1, &response("a", 1));
    assert!(scene.store().flush(LONG));
    // Written by a process that does not know of the purge yet.
    assert!(scene.store().remove(&key(1)).unwrap());
    other.put(&key(1), &response("a", 2), None);
    let purge = Purge::prefix("http://a/00").unwrap();
    other.put(&key(2), &response("a", 3), None);
    scene.store().purge(&purge).unwrap();
    assert!(other.flush(LONG));
    wait_until(|| seen.lock().len() == 2);
    assert_eq!(*seen.lock(), [Purge::of_key(key(1).url()), purge]);
    assert!(scene.found(2).is_empty());
    // From here on its writes are newer than the purges.
    other.put(&key(3), &response("a", 4), None);
    assert!(other.flush(LONG));
    assert_eq!(scene.found(3), [Some(4)]);
}

#[test]
fn capacity_holds_for_two_processes_and_the_last_one_set_counts() {
    const CAPACITY: u64 = 24 << 20;
    let (mut scene, other) = two();
    scene.store = Some(scene.store.take().unwrap().capacity(CAPACITY));
    assert!(scene.store().flush(LONG));
    wait_until(|| other.usage().capacity == CAPACITY);
    thread::scope(|scope| {
        for (store, from) in [(scene.store().clone(), 0), (other.clone(), 1000)] {
            scope.spawn(move || {
                for number in from..from + 150 {
                    store.put(&key(number), &response_of("a", number, number % 7 * 100_000), None);
                    if number % 3 == 0
                        && let Some(spill) = store.begin(Some(2_000_000), u64::MAX)
                    {
                        spill.write(&[7; 2_000_000]).unwrap();
                    }
                    assert!(number % 20 > 0 || store.flush(LONG));
                }
                assert!(store.flush(LONG));
            });
        }
        for _ in 0..50 {
            assert!(scene.taken() <= CAPACITY, "{}", scene.taken());
            thread::sleep(Duration::from_millis(10));
        }
    });
    assert!(scene.taken() <= CAPACITY, "{}", scene.taken());
    assert!(scene.store().usage().evictions > 0 && other.usage().evictions > 0);
    drop(other);
    scene.reopen();
    assert_eq!(scene.store().usage().capacity, CAPACITY);
}

#[test]
fn entries_are_listed_verified_read_and_removed() {
    let mut scene = Scene::new();
    for number in 1..=200 {
        scene.put(number, &response_of("a", number, if number % 50 == 0 { 100_000 } else { 10 }));
    }
    scene.put(1, &response_of("b", 201, 10));
    scene.reopen();
    let all: Vec<DiskEntry> = scene.store().entries().map(Result::unwrap).collect();
    assert_eq!(all.len(), 201);
    let of = scene.store().entries_of(key(50).url()).unwrap();
    assert!(of.len() == 1 && of[0].url() == key(50).url() && of[0].body_length() == 100_000);
    let mut body = Vec::new();
    of[0].body().read_to_end(&mut body).unwrap();
    assert_eq!(body, response_of("a", 50, 100_000).body().to_bytes());
    assert!(
        all.iter().all(|entry| scene.store().verify(entry).unwrap() && entry.digest().unwrap().len() == 64)
    );
    let file = &scene.files()[0];
    let mut bytes = fs::read(file).unwrap();
    bytes[99] ^= 1;
    fs::write(file, bytes).unwrap();
    let damaged = all.iter().filter(|entry| !scene.store().verify(entry).unwrap());
    assert_eq!(damaged.count(), 1);
    assert!(scene.store().remove_entry(&scene.store().entries_of(key(1).url()).unwrap()[0]).unwrap());
    assert!(scene.store().flush(LONG));
    assert_eq!(scene.store().entries().count(), 198);
}

#[test]
fn small_body_in_the_index_is_framed_as_ever() {
    let body = b"a small body";
    let framed = [&core::small_checksum(9, body).to_be_bytes()[..], body].concat();
    golden("small-body-2", &framed);
}

/// The files of a folder with their lengths and times.
fn listed(folder: &Path) -> Vec<(PathBuf, u64, std::time::SystemTime)> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let metadata = fs::metadata(&path).unwrap();
        files.push((path.clone(), metadata.len(), metadata.modified().unwrap()));
        if metadata.is_dir() {
            files.extend(listed(&path));
        }
    }
    files.sort();
    files
}

#[test]
fn a_store_for_reading_only_changes_nothing_and_finds_everything() {
    let folder = tempfile::tempdir().unwrap();
    let writing = DiskStore::open(folder.path()).unwrap();
    for number in 0..4 {
        assert!(writing.put(&key(number), &response_of("a", number, number * 20_000), None));
    }
    assert!(writing.flush(LONG));
    drop(writing);
    let before = listed(folder.path());
    let store = DiskStore::open_read_only(folder.path()).unwrap();
    let read = |store: &DiskStore, number: u64| {
        let found = store.find(&key(number)).unwrap();
        store.load(&key(number), found.first()?).ok().map(|response| response.body_length())
    };
    for number in 0..4 {
        assert_eq!(read(&store, number), Some(response_of("a", number, number * 20_000).body_length()));
    }
    let entries: Vec<_> = store.entries().map(Result::unwrap).collect();
    assert!(entries.len() == 4 && entries.iter().all(|entry| store.verify(entry).unwrap()));
    assert!(!store.put(&key(9), &response("a", 9), None) && store.begin(None, u64::MAX).is_none());
    assert!(store.purge(&Purge::all()).unwrap_err().to_string().contains("for reading only"));
    // What another process stores and removes is seen.
    let writing = DiskStore::open(folder.path()).unwrap();
    assert!(writing.put(&key(5), &response("a", 5), None) && writing.flush(LONG));
    assert!(Tier::remove(&writing, &key(0)).unwrap());
    assert_eq!((read(&store, 0), read(&store, 5)), (None, Some(8)));
    drop((writing, store));

    let other = tempfile::tempdir().unwrap();
    assert!(DiskStore::open_read_only(other.path()).is_err() && listed(other.path()).is_empty());
    let before_again = listed(folder.path());
    let store = DiskStore::open_read_only(folder.path()).unwrap();
    assert_eq!(read(&store, 1), Some(20_000));
    drop(store);
    assert_eq!(listed(folder.path()), before_again);
    assert_ne!(before, before_again);
}

/// How often the files of the index were written: their time of change.
#[test]
fn a_process_that_only_reads_does_not_write_the_index() {
    let folder = tempfile::tempdir().unwrap();
    let store = DiskStore::open(folder.path()).unwrap().capacity(1 << 30);
    assert!(store.put(&key(1), &response("a", 1), None) && store.flush(LONG));
    drop(store);
    let index = || {
        let metadata = fs::metadata(folder.path().join("index.redb")).unwrap();
        (metadata.len(), metadata.modified().unwrap())
    };
    let before = index();
    let store = DiskStore::open(folder.path()).unwrap().capacity(1 << 30);
    assert_eq!(store.find(&key(1)).unwrap().len(), 1);
    drop(store);
    assert_eq!(index(), before);
    let store = DiskStore::open(folder.path()).unwrap();
    assert_eq!(store.find(&key(1)).unwrap().len(), 1);
    assert!(store.put(&key(2), &response("a", 2), None) && store.flush(LONG));
    drop(store);
    assert_ne!(index(), before);
}

#[cfg(unix)]
#[test]
fn other_users_can_neither_read_nor_change_what_is_stored() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().unwrap();
    let set_mode = |mode| fs::set_permissions(folder.path(), fs::Permissions::from_mode(mode)).unwrap();
    set_mode(0o777);
    let error = DiskStore::open(folder.path()).unwrap_err().to_string();
    assert!(error.contains("other users can write to it; change its mode to 0700"), "{error}");
    assert!(listed(folder.path()).is_empty());
    // Others may see this directory, but nothing of it.
    set_mode(0o755);
    let store = DiskStore::open(folder.path()).unwrap();
    assert!(store.put(&key(1), &response_of("a", 1, 100_000), None) && store.flush(LONG));
    let entries = fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap());
    for entry in entries {
        let mode = entry.metadata().unwrap().permissions().mode();
        assert_eq!(mode & 0o077, 0, "{} {mode:o}", entry.path().display());
    }
}
