//! The contract of stores, for memory above a disk, and failures in each call of a tier.

use std::time::SystemTime;

use tempfile::TempDir;

use super::*;
use crate::base::memory_limit::Ledger;
use crate::cache::guarded_store::{Below, GuardedStore};
use crate::cache::tombstones::Fetch;
use crate::message::purge::{Purge, Purged};
use crate::message::stored_bytes::{Spill, StoredBytes};
#[cfg(feature = "redis")]
use crate::store::RedisStore;
use crate::store::contract_suite::{Subject, contract_suite};
#[cfg(feature = "redis")]
use crate::store::testing::RedisServer;
use crate::store::tier::{Position, TierListener, TierUsage, Work};
use crate::store::{DiskStore, Key, RemoteBody, StoreError, StoredResponse, Tier};

const LONG: Duration = Duration::from_secs(20);

/// Memory above a disk, above Redis, or above both, as a cache combines them.
struct Tiered {
    folder: Option<Arc<TempDir>>,
    #[cfg(feature = "redis")]
    server: Option<Arc<RedisServer>>,
    open: Option<Opened>,
}

struct Opened {
    disk: Option<DiskStore>,
    #[cfg(feature = "redis")]
    redis: Option<RedisStore>,
    store: GuardedStore,
}

impl Tiered {
    fn above_a_disk() -> Self {
        let folder = Some(Arc::new(tempfile::tempdir().unwrap()));
        let tiered = Self {
            folder,
            #[cfg(feature = "redis")]
            server: None,
            open: None,
        };
        tiered.opened()
    }

    #[cfg(feature = "redis")]
    fn above_redis() -> Self {
        Self { folder: None, server: Some(Arc::new(RedisServer::start(&[]))), open: None }.opened()
    }

    #[cfg(feature = "redis")]
    fn above_both() -> Self {
        let folder = Some(Arc::new(tempfile::tempdir().unwrap()));
        Self { folder, server: Some(Arc::new(RedisServer::start(&[]))), open: None }.opened()
    }

    fn opened(mut self) -> Self {
        self.reopen();
        self
    }

    fn reopen(&mut self) {
        if let Some(opened) = self.open.take() {
            opened.flush();
        }
        let memory = Arc::new(MemoryStore::new(1 << 20));
        let mut store = GuardedStore::new(memory, Arc::default(), u64::MAX);
        let disk = self.folder.as_ref().map(|folder| DiskStore::open(folder.path()).unwrap());
        if let Some(disk) = &disk {
            store = store.with_tier(Arc::new(disk.clone()));
        }
        #[cfg(feature = "redis")]
        let redis = self.server.as_ref().map(|server| {
            RedisStore::builder(server.url()).timeout(LONG).max_value(4 << 20).build().unwrap()
        });
        #[cfg(feature = "redis")]
        if let Some(redis) = &redis {
            store = store.with_tier(Arc::new(redis.clone()));
        }
        let opened = Opened {
            disk,
            #[cfg(feature = "redis")]
            redis,
            store,
        };
        self.open = Some(opened);
    }

    fn store(&self) -> &GuardedStore {
        &self.open.as_ref().unwrap().store
    }

    /// Begins a fetch as a cache does: after a lookup that found nothing to serve.
    fn fetch(&self, key: &Key) -> Fetch {
        self.find(key);
        self.store().tombstones().begin(key, SystemTime::now()).after(self.store().position(key))
    }

    fn insert_fetched(&self, fetch: &Fetch, response: &StoredResponse) -> bool {
        let response = response.clone().with_sequence(fetch.sequence());
        let is_stored = self.store().insert(fetch, &Arc::new(response));
        self.open.as_ref().unwrap().flush();
        is_stored
    }
}

impl Opened {
    fn flush(&self) {
        assert!(self.disk.as_ref().is_none_or(|disk| disk.flush(LONG)));
        #[cfg(feature = "redis")]
        assert!(self.redis.as_ref().is_none_or(|redis| redis.flush(LONG)));
    }
}

impl Subject for Tiered {
    fn insert(&self, key: &Key, response: &StoredResponse) -> bool {
        self.insert_fetched(&self.fetch(key), response)
    }

    fn insert_late(&self, key: &Key, second: &StoredResponse, first: &StoredResponse) {
        let fetches = [self.fetch(key), self.fetch(key)];
        self.insert_fetched(&fetches[1], second);
        self.insert_fetched(&fetches[0], first);
    }

    fn other_process(&self) -> Option<Box<dyn Subject>> {
        let other = Self {
            folder: self.folder.clone(),
            #[cfg(feature = "redis")]
            server: self.server.clone(),
            open: None,
        };
        Some(Box::new(other.opened()))
    }

    fn orders_processes(&self) -> bool {
        // The sequences of other processes are not used with Redis.
        self.folder.is_some()
    }

    fn catch_up(&self) {
        let opened = self.open.as_ref().unwrap();
        opened.flush();
        if let Some(disk) = &opened.disk {
            disk.refresh().unwrap();
        }
    }

    fn find(&self, key: &Key) -> Vec<Arc<StoredResponse>> {
        self.store().all(key, self.store().variants(key), SystemTime::now(), Below::All, |_| false).to_vec()
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
        let fetch = self.fetch(key);
        let response = response.clone().with_sequence(fetch.sequence());
        self.store().insert_spilled(&fetch, &Arc::new(response), number)
    }

    fn restart(&mut self) -> bool {
        self.reopen();
        true
    }
}

contract_suite!(memory_above_a_disk, Box::new(Tiered::above_a_disk()));
#[cfg(feature = "redis")]
contract_suite!(memory_above_redis, Box::new(Tiered::above_redis()));
#[cfg(feature = "redis")]
contract_suite!(memory_above_both, Box::new(Tiered::above_both()));

/// A tier that fails in one call, and in the others does what a disk does.
#[derive(Clone, Debug)]
struct Faulty {
    disk: DiskStore,
    call: &'static str,
    failures: Arc<AtomicUsize>,
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

    fn or_io<T>(&self, call: &str, work: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
        if self.fails(call) { Err(io::Error::other(format!("{call} fails"))) } else { work() }
    }

    fn with_faulty_body(&self, response: &StoredResponse) -> Arc<StoredResponse> {
        let response = response.clone();
        let remote = response.remote().map(|remote| RemoteBody {
            source: Arc::new(FaultyBody { body: Arc::clone(&remote.source), tier: self.clone() }),
            ..remote.clone()
        });
        Arc::new(match remote {
            Some(remote) => response.with_remote(remote),
            None => response,
        })
    }
}

/// A body that is stored, or arrives.
#[derive(Debug)]
struct FaultyBody<B: ?Sized> {
    tier: Faulty,
    body: Arc<B>,
}

impl<B: StoredBytes + ?Sized> StoredBytes for FaultyBody<B> {
    fn read(&self, at: u64, most: usize) -> io::Result<Box<[u8]>> {
        self.tier.or_io("read", || self.body.read(at, most))
    }

    fn open(&self) -> io::Result<()> {
        self.tier.or_io("open", || self.body.open())
    }

    fn spawn(&self, work: Work) {
        self.body.spawn(work);
    }

    fn file_number(&self) -> Option<u64> {
        self.body.file_number()
    }
}

impl Spill for FaultyBody<dyn Spill> {
    fn write(&self, piece: &[u8]) -> io::Result<()> {
        self.tier.or_io("write", || self.body.write(piece))
    }

    fn finish(&self) -> io::Result<u64> {
        self.tier.or_io("finish", || self.body.finish())
    }

    fn written(&self) -> (u64, u64) {
        self.body.written()
    }

    fn finish_beginning(&self) -> (u64, u64) {
        self.body.finish_beginning()
    }
}

impl Tier for Faulty {
    fn name(&self) -> &'static str {
        self.disk.name()
    }

    fn may_hold(&self, key: &str) -> bool {
        self.disk.may_hold(key)
    }

    fn spawn(&self, work: Work, is_lookup: bool) -> Result<(), Work> {
        if self.fails("spawn") { Err(work) } else { self.disk.spawn(work, is_lookup) }
    }

    fn find(&self, key: &Key) -> Result<Vec<Arc<StoredResponse>>, StoreError> {
        let found = self.or("find", || self.disk.find(key))?;
        Ok(found.iter().map(|response| self.with_faulty_body(response)).collect())
    }

    fn load(&self, key: &Key, response: &StoredResponse) -> Result<StoredResponse, StoreError> {
        self.or("load", || self.disk.load(key, response))
    }

    fn put(&self, key: &Key, response: &Arc<StoredResponse>, position: Option<Position>) -> bool {
        !self.fails("put") && self.disk.put(key, response, position)
    }

    fn begin(&self, length: Option<u64>, most: u64) -> Option<Arc<dyn Spill>> {
        let body = if self.fails("begin") { None } else { self.disk.begin(length, most) }?;
        Some(Arc::new(FaultyBody { body, tier: self.clone() }))
    }

    fn resume(
        &self,
        key: &Key,
        part: &StoredResponse,
        length: Option<u64>,
        most: u64,
    ) -> Option<Arc<dyn Spill>> {
        let body = if self.fails("resume") { None } else { self.disk.resume(key, part, length, most) }?;
        Some(Arc::new(FaultyBody { body, tier: self.clone() }))
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
    let calls = [
        "spawn",
        "find",
        "load",
        "put",
        "begin",
        "put_spilled",
        "remove",
        "purge",
        "open",
        "read",
        "write",
        "finish",
        "resume",
    ];
    for call in calls {
        let folder = tempfile::tempdir().unwrap();
        let disk = DiskStore::open(folder.path()).unwrap();
        let faulty = Arc::new(Faulty { disk, call, failures: Arc::default() });
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
        // A transfer that the origin cuts, and the request that completes it.
        const LENGTH: usize = 300_000;
        let (kept, whole) = (2 * 65_536, "x".repeat(LENGTH));
        cache.script.lock().unwrap().clear();
        let (pieces, pipe) = pipe();
        (0..3).for_each(|_| pieces.send(Ok(&[b'x'; 50_000])).unwrap());
        pieces.send(Err(io::ErrorKind::ConnectionReset.into())).unwrap();
        cache.answer(200, FRESH, Body::from_reader(pipe, Some(LENGTH as u64)));
        let cut = cache.send("GET", "http://a/cut", &[]).unwrap().into_body();
        assert!(cut.into_bytes().is_err());
        assert!(faulty.disk.flush(LONG));
        let place = format!("bytes {kept}-{}/{LENGTH}", LENGTH - 1);
        cache.answer(206, &[FRESH, &[("content-range", &*place)]].concat(), whole[kept..].to_owned());
        // If the part is not there, or cannot be read, the whole is fetched. A 206 that was not asked for is passed on.
        cache.answer(200, FRESH, whole.clone());
        let read = (0..2).find_map(|_| {
            let response = cache.send("GET", "http://a/cut", &[]).unwrap();
            let is_whole = response.status().as_u16() == 200;
            response.into_body().into_bytes().ok().filter(|_| is_whole)
        });
        assert!(read.is_some_and(|read| *read == *whole.as_bytes()), "{call}");
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
