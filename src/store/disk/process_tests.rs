//! A directory that several real processes use: the test binary runs itself as the other processes.

use std::fs;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use super::*;
use crate::store::testing::{Random, key, response_of};

const LONG: Duration = Duration::from_secs(60);

/// What a child process does, and the folder.
const TASK: &str = "FORWARDCACHE_TEST_TASK";
const FOLDER: &str = "FORWARDCACHE_TEST_FOLDER";

/// Runs this test binary as another process with a task.
fn spawn(task: &str, folder: &Path) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "store::disk::process_tests::task_of_a_child_process", "--nocapture"])
        .env(TASK, task)
        .env(FOLDER, folder)
        .stdout(Stdio::null())
        .spawn()
        .unwrap()
}

fn assert_succeeds(mut child: Child) {
    let until = Instant::now() + LONG;
    loop {
        match child.try_wait().unwrap() {
            Some(status) => return assert!(status.success(), "{status}"),
            None if Instant::now() < until => thread::sleep(Duration::from_millis(5)),
            None => {
                let _ = child.kill();
                panic!("a child process takes too long");
            }
        }
    }
}

fn numbers(store: &DiskStore, number: u64) -> Vec<u64> {
    let found = store.find(&key(number)).unwrap();
    let bodies = found.iter().filter_map(|stored| Some(store.load(&key(number), stored).ok()?.body()));
    bodies.map(|body| u64::from_be_bytes(*body.to_bytes().first_chunk().unwrap())).collect()
}

fn put(store: &DiskStore, number: u64, size: u64) {
    let response = response_of("a", number, size);
    let sequence = store.core().sequence.load(Ordering::Relaxed) + 1;
    while !store.put(&key(number), &Arc::new(StoredResponse::clone(&response).with_sequence(sequence)), None)
    {
        assert!(store.flush(LONG));
    }
}

/// The child processes run this. Without a task, it does nothing.
#[test]
fn task_of_a_child_process() {
    let (Ok(task), Ok(folder)) = (std::env::var(TASK), std::env::var(FOLDER)) else { return };
    let store = DiskStore::open(&folder).unwrap();
    let words: Vec<&str> = task.split(' ').collect();
    let number = |at: usize| words[at].parse::<u64>().unwrap();
    match words[0] {
        // Keys from the first number to before the second, some with bodies in files.
        "put" => (number(1)..number(2)).for_each(|at| put(&store, at, at % 3 * 20_000)),
        "find" => {
            for at in number(1)..number(2) {
                assert_eq!(numbers(&store, at), [at], "{at}");
            }
        }
        #[cfg(target_os = "linux")]
        "exhaust" => {
            use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
            assert_eq!(store.find(&key(0)).unwrap().len(), 1);
            let before = getrlimit(Resource::Nofile);
            setrlimit(Resource::Nofile, Rlimit { current: Some(3), ..before }).unwrap();
            for at in number(1)..number(2) {
                let found = store.find(&key(at)).unwrap();
                let is_read = store.load(&key(at), &found[0]).is_ok();
                assert_eq!(is_read, at % 3 == 0, "a body in a file is not read: {at}");
                assert!(store.begin(None, u64::MAX).is_none());
            }
            setrlimit(Resource::Nofile, before).unwrap();
            for at in number(1)..number(2) {
                assert_eq!(numbers(&store, at), [at], "{at}");
            }
            assert_eq!(Tier::usage(&store).corrupt, 0);
        }
        "purge" => {
            store.purge(&Purge::prefix(words[1]).unwrap()).unwrap();
        }
        // Until the process is killed.
        "churn" => {
            let mut random = Random::new(number(1));
            for round in 0.. {
                let at = random.below(200);
                match random.below(20) {
                    0 => drop(store.purge(&Purge::prefix("http://a/01").unwrap())),
                    1 => drop(Tier::remove(&store, &key(at))),
                    2 => {
                        if let Some(spill) = store.begin(None, u64::MAX) {
                            let _ = spill.write(&[1; 300_000]);
                        }
                    }
                    3..8 => put(&store, at, random.below(200_000)),
                    _ => {
                        for found in numbers(&store, at) {
                            assert_eq!(found, at);
                        }
                    }
                }
                assert!(round % 50 > 0 || store.flush(LONG));
            }
        }
        _ => panic!("an unknown task: {task}"),
    }
    assert!(store.flush(LONG));
}

#[cfg(target_os = "linux")]
#[test]
fn want_of_file_descriptors_costs_no_stored_response() {
    let folder = tempfile::tempdir().unwrap();
    for task in ["put 0 9", "exhaust 0 9", "find 0 9"] {
        assert_succeeds(spawn(task, folder.path()));
    }
}

/// The bytes that the folder takes on the disk.
fn taken(folder: &Path) -> u64 {
    let files = fs::read_dir(folder).into_iter().flatten().flatten().map(|file| file.path());
    let size = |path: std::path::PathBuf| {
        if path.is_dir() {
            taken(&path)
        } else {
            fs::metadata(path).map_or(0, |file| directory::blocks(&file))
        }
    };
    files.map(size).sum()
}

#[test]
fn eight_processes_write_and_read_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let own = DiskStore::open(folder.path()).unwrap();
    let children: Vec<Child> =
        (0..8).map(|at| spawn(&format!("put {} {}", 20 * at, 20 * at + 20), folder.path())).collect();
    children.into_iter().for_each(assert_succeeds);
    (0..160).for_each(|number| assert_eq!(numbers(&own, number), [number]));
    let readers: Vec<Child> = (0..4).map(|_| spawn("find 0 160", folder.path())).collect();
    readers.into_iter().for_each(assert_succeeds);
    assert_eq!(own.entries().count(), 160);
}

#[test]
fn purge_of_another_process_is_seen_while_this_one_writes() {
    let folder = tempfile::tempdir().unwrap();
    let own = DiskStore::open(folder.path()).unwrap();
    let seen = Arc::new(Mutex::new(Vec::new()));
    let listener: Arc<dyn Fn(&Purge) + Send + Sync> = {
        let seen = Arc::clone(&seen);
        Arc::new(move |purge: &Purge| seen.lock().push(purge.clone()))
    };
    own.on_invalidation(Arc::downgrade(&listener));
    (0..50).for_each(|number| put(&own, number, 30_000));
    assert!(own.flush(LONG));
    let purging = spawn("purge http://a/00", folder.path());
    // Keys that the purge does not cover, while the other process commits it.
    (10..200).for_each(|number| put(&own, number, 100));
    assert_succeeds(purging);
    (0..10).for_each(|number| assert!(numbers(&own, number).is_empty()));
    let until = Instant::now() + LONG;
    while seen.lock().is_empty() {
        assert!(Instant::now() < until);
        thread::yield_now();
    }
    assert_eq!(*seen.lock(), [Purge::prefix("http://a/00").unwrap()]);
    assert!(own.flush(LONG));
    (10..200).for_each(|number| assert_eq!(numbers(&own, number), [number]));
}

/// How often processes are killed: a sample, or as often as `FORWARDCACHE_KILLS` says.
fn kills() -> u64 {
    std::env::var("FORWARDCACHE_KILLS").ok().and_then(|text| text.parse().ok()).unwrap_or(3)
}

#[test]
fn killed_process_harms_no_other_process() {
    const CAPACITY: u64 = 24 << 20;
    let seed = std::env::var("FORWARDCACHE_SEED").ok().and_then(|text| text.parse().ok());
    let seed = seed.unwrap_or_else(|| std::time::UNIX_EPOCH.elapsed().unwrap().as_secs());
    eprintln!("FORWARDCACHE_SEED={seed}");
    let mut random = Random::new(seed);
    let folder = tempfile::tempdir().unwrap();
    let own = DiskStore::open(folder.path()).unwrap().capacity(CAPACITY);
    assert!(own.flush(LONG));
    for round in 0..kills() {
        let mut children: Vec<Child> =
            (0..2).map(|at| spawn(&format!("churn {}", random.below(1 << 40) + at), folder.path())).collect();
        let until = Instant::now() + Duration::from_millis(300 + random.below(1200));
        while Instant::now() < until {
            let number = random.below(200);
            put(&own, number, random.below(100_000));
            // Few changes wait when the churn is over.
            assert!(random.below(20) > 0 || own.flush(LONG), "round {round}");
            for found in numbers(&own, number) {
                assert_eq!(found, number, "round {round}");
            }
        }
        // One while the others go on, then the other.
        for child in &mut children {
            assert!(child.try_wait().unwrap().is_none(), "round {round}: a child process failed");
            child.kill().unwrap();
            child.wait().unwrap();
            put(&own, 500 + round, 100);
            assert!(own.flush(LONG), "round {round}");
            assert_eq!(numbers(&own, 500 + round), [500 + round], "round {round}");
        }
        assert_eq!(own.core().trouble.reports(), 0, "round {round}");
        // A start cleans up after the killed processes. The search is part of the work of an open store: one that is closed
        // at once leaves it to the next search of another process.
        let started = DiskStore::open(folder.path()).unwrap();
        let until = Instant::now() + LONG;
        while fs::read_dir(folder.path().join("processes")).unwrap().count() > 2 {
            assert!(Instant::now() < until, "round {round}: the killed processes are still listed");
            thread::yield_now();
        }
        drop(started);
        put(&own, 499, 100);
        assert!(own.flush(LONG));
        assert!(taken(folder.path()) <= CAPACITY, "round {round}: {}", taken(folder.path()));
        let entries = own.entries().map(Result::unwrap);
        let files = entries.filter(|entry| entry.body_length() > core::SMALL).count();
        let bodies = fs::read_dir(folder.path().join("bodies")).unwrap().flatten();
        let there: usize = bodies.map(|folder| fs::read_dir(folder.path()).unwrap().count()).sum();
        assert_eq!(there, files, "round {round}: unfinished bodies are left");
    }
}

#[cfg(unix)]
#[test]
fn stopped_process_delays_others_for_a_bounded_time() {
    let folder = tempfile::tempdir().unwrap();
    let own = DiskStore::open(folder.path()).unwrap();
    let mut child = spawn("churn 1", folder.path());
    let until = Instant::now() + LONG;
    while own.entries().count() == 0 {
        assert!(Instant::now() < until);
    }
    let pid = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process(pid, rustix::process::Signal::STOP).unwrap();
    let started = Instant::now();
    put(&own, 900, 100);
    let _ = own.flush(LONG);
    assert!(started.elapsed() < Duration::from_secs(25), "{:?}", started.elapsed());
    child.kill().unwrap();
    child.wait().unwrap();
    let until = Instant::now() + LONG;
    loop {
        put(&own, 901, 100);
        if own.flush(LONG) && own.find(&key(901)).is_ok_and(|found| found.len() == 1) {
            break;
        }
        assert!(Instant::now() < until);
    }
}
