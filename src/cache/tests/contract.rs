//! The contract of stores, for memory above a disk, and failures in each call of a tier.

use std::time::SystemTime;

use tempfile::TempDir;

use super::*;
use crate::base::memory_limit::Ledger;
use crate::cache::guarded_store::GuardedStore;
use crate::message::purge::{Purge, Purged};
use crate::message::stored_bytes::Spill;
use crate::store::contract_suite::{Subject, contract_suite};
use crate::store::tier::{Position, TierListener, TierUsage, Work};
use crate::store::{DiskStore, Key, StoreError, StoredResponse, Tier};

const LONG: Duration = Duration::from_secs(20);

/// Memory above a disk, as a cache combines them.
struct Tiered {
    folder: TempDir,
    open: Option<(DiskStore, GuardedStore)>,
}

impl Tiered {
    fn new() -> Self {
        let mut tiered = Self { folder: tempfile::tempdir().unwrap(), open: None };
        tiered.reopen();
        tiered
    }

    fn reopen(&mut self) {
        if let Some((disk, _)) = self.open.take() {
            assert!(disk.flush(LONG));
        }
        let disk = DiskStore::open(self.folder.path()).unwrap();
        let memory = Arc::new(MemoryStore::new(1 << 20));
        let store = GuardedStore::new(memory, Arc::default(), u64::MAX).with_tier(Arc::new(disk.clone()));
        self.open = Some((disk, store));
    }

    fn store(&self) -> &GuardedStore {
        &self.open.as_ref().unwrap().1
    }
}

impl Subject for Tiered {
    fn insert(&self, key: &Key, response: &StoredResponse) -> bool {
        let fetch = self.store().tombstones().begin(key, SystemTime::now());
        self.store().insert(&fetch, &Arc::new(response.clone().with_sequence(fetch.sequence())))
    }

    fn find(&self, key: &Key) -> Vec<Arc<StoredResponse>> {
        self.store().all(key, self.store().variants(key), SystemTime::now(), |_| false).to_vec()
    }

    fn remove(&self, key: &Key) {
        self.store().remove(key);
    }

    fn purge(&self, purge: &Purge) -> Purged {
        self.store().purge(purge, purge.time().unwrap_or_else(SystemTime::now))
    }

    fn begin(&self, length: Option<u64>) -> Option<Arc<dyn Spill>> {
        self.store().begin_spill().expect("there is a tier")(length)
    }

    fn insert_spilled(&self, key: &Key, response: &StoredResponse, number: u64) -> bool {
        let fetch = self.store().tombstones().begin(key, SystemTime::now());
        let response = response.clone().with_sequence(fetch.sequence());
        self.store().insert_spilled(&fetch, &Arc::new(response), number)
    }

    fn restart(&mut self) -> bool {
        self.reopen();
        true
    }
}

contract_suite!(tiered, Box::new(Tiered::new()));

/// A tier that fails in one call, and in the others does what a disk does.
#[derive(Debug)]
struct Faulty {
    disk: DiskStore,
    call: &'static str,
    failures: AtomicUsize,
}

impl Faulty {
    fn fails(&self, call: &str) -> bool {
        let fails = self.call == call;
        self.failures.fetch_add(usize::from(fails), Ordering::Relaxed);
        fails
    }

    fn or<T>(&self, call: &str, work: impl FnOnce() -> Result<T, StoreError>) -> Result<T, StoreError> {
        if self.fails(call) { Err(StoreError::new(format!("{call} fails"))) } else { work() }
    }
}

impl Tier for Faulty {
    fn name(&self) -> &'static str {
        self.disk.name()
    }

    fn may_hold(&self, key: &str) -> bool {
        self.disk.may_hold(key)
    }

    fn spawn(&self, work: Work) -> Result<(), Work> {
        if self.fails("spawn") { Err(work) } else { self.disk.spawn(work) }
    }

    fn find(&self, key: &Key) -> Result<Vec<Arc<StoredResponse>>, StoreError> {
        self.or("find", || self.disk.find(key))
    }

    fn load(&self, key: &Key, response: &StoredResponse) -> Result<StoredResponse, StoreError> {
        self.or("load", || self.disk.load(key, response))
    }

    fn put(&self, key: &Key, response: &Arc<StoredResponse>, position: Option<Position>) -> bool {
        !self.fails("put") && self.disk.put(key, response, position)
    }

    fn begin(&self, length: Option<u64>) -> Option<Arc<dyn Spill>> {
        if self.fails("begin") { None } else { self.disk.begin(length) }
    }

    fn put_spilled(&self, key: &Key, response: &Arc<StoredResponse>, number: u64) -> bool {
        !self.fails("put_spilled") && self.disk.put_spilled(key, response, number)
    }

    fn discard_spilled(&self, number: u64) {
        self.disk.discard_spilled(number);
    }

    fn remove(&self, key: &Key) -> Result<bool, StoreError> {
        self.or("remove", || Tier::remove(&self.disk, key))
    }

    fn purge(&self, purge: &Purge) -> Result<Purged, StoreError> {
        self.or("purge", || self.disk.purge(purge))
    }

    fn credential_digest(&self, credential: &[u8]) -> Option<u128> {
        self.disk.credential_digest(credential)
    }

    fn on_invalidation(&self, listener: TierListener) {
        self.disk.on_invalidation(listener);
    }

    fn sequence(&self) -> u64 {
        self.disk.sequence()
    }

    fn max_body(&self) -> u64 {
        Tier::max_body(&self.disk)
    }

    fn usage(&self) -> TierUsage {
        Tier::usage(&self.disk)
    }

    fn set_ledger(&self, ledger: Arc<Ledger>) {
        self.disk.set_ledger(ledger);
    }
}

#[test]
fn failure_in_any_call_of_a_tier_never_fails_a_request_or_revives_a_purged_response() {
    for call in ["spawn", "find", "load", "put", "begin", "put_spilled", "remove", "purge"] {
        let folder = tempfile::tempdir().unwrap();
        let faulty = Arc::new(Faulty {
            disk: DiskStore::open(folder.path()).unwrap(),
            call,
            failures: AtomicUsize::new(0),
        });
        let tier = Arc::clone(&faulty);
        // So little memory that bodies are written while they arrive, and that responses are read from the disk.
        let cache = Scene::built(|cache| cache.store(MemoryStore::new(200_000)).tier(tier));
        let get = |url: &str| cache.send("GET", url, &[]).unwrap().into_body().into_bytes().unwrap();
        let fetch = |url: &str, body: String| {
            // An answer that was not asked for would be the next one.
            cache.script.lock().unwrap().clear();
            let length = Some(body.len() as u64);
            cache.answer(200, FRESH, Body::from_reader(io::Cursor::new(body), length));
            get(url)
        };
        for round in 0..2 {
            let lengths = [10, 300_000].into_iter().chain([40_000; 8]);
            for (number, length) in lengths.enumerate() {
                let body = fetch(&format!("http://a/{number}"), "x".repeat(length));
                assert!(body.len() == length, "{call} {round} {number}");
            }
            assert!(faulty.disk.flush(LONG));
        }
        cache.script.lock().unwrap().clear();
        cache.answer(200, FRESH, "posted");
        let posted = cache.send("POST", "http://a/0", &[]).unwrap();
        assert_eq!(posted.status().as_u16(), 200, "{call}");
        cache.cache.purge(&Purge::prefix("http://a/").unwrap());
        for number in 0..6 {
            assert_eq!(fetch(&format!("http://a/{number}"), "new".to_owned()), "new", "{call} {number}");
        }
        assert!(faulty.failures.load(Ordering::Relaxed) > 0, "{call} was never called");
    }
}
