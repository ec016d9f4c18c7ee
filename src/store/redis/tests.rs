//! The tier with real servers.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::time::{Duration, Instant, SystemTime};

use super::core::MAX_FETCH;
use super::testing::{Cluster, Program, RedisServer};
use super::*;
use crate::message::pieces::Pieces;
use crate::store::contract_suite::{Subject, contract_suite};
use crate::store::testing::{grouped, key, response, response_of};

const LONG: Duration = Duration::from_secs(60);

fn store_at(url: &str) -> RedisStore {
    // A loaded machine may take longer than the default.
    RedisStore::builder(url).timeout(Duration::from_secs(5)).build().unwrap()
}

/// The position of a fetch that begins after a lookup.
fn looked_up(store: &RedisStore, key: &Key) -> Option<Position> {
    store.find(key).unwrap();
    store.position(key.as_str())
}

/// Stores a response as a cache does: a lookup, a fetch, a write.
fn put(store: &RedisStore, key: &Key, response: &Arc<StoredResponse>) -> bool {
    let position = looked_up(store, key);
    store.put(key, response, position) && store.flush(LONG)
}

fn body(store: &RedisStore, key: &Key, response: &StoredResponse) -> Pieces {
    store.load(key, response).unwrap().body().clone()
}

/// The numbers at the start of the bodies.
fn numbers(store: &RedisStore, key: &Key) -> Vec<u64> {
    let found = store.find(key).unwrap();
    let number = |response: &Arc<StoredResponse>| {
        u64::from_be_bytes(body(store, key, response).to_bytes()[..8].try_into().unwrap())
    };
    found.iter().map(number).collect()
}

fn wait_until(what: &str, mut condition: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !condition() {
        assert!(begun.elapsed() < LONG, "not within a minute: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// A server, and a store that a restart replaces.
struct Remote {
    server: Arc<RedisServer>,
    store: RedisStore,
    sequence: Arc<AtomicU64>,
}

impl Remote {
    fn new(program: Program) -> Self {
        let server = Arc::new(RedisServer::start_as(program, &[]));
        let store = Self::connect(&server);
        Self { server, store, sequence: Arc::new(AtomicU64::new(1)) }
    }

    fn connect(server: &RedisServer) -> RedisStore {
        RedisStore::builder(server.url()).timeout(LONG).max_value(4 << 20).build().unwrap()
    }
}

impl Subject for Remote {
    fn insert(&self, key: &Key, response: &StoredResponse) -> bool {
        let sequence = self.sequence.fetch_add(1, Ordering::Relaxed);
        put(&self.store, key, &Arc::new(response.clone().with_sequence(sequence)))
    }

    fn insert_late(&self, key: &Key, second: &StoredResponse, first: &StoredResponse) {
        let position = looked_up(&self.store, key);
        for (response, sequence) in [(second, 20), (first, 10)] {
            self.store.put(key, &Arc::new(response.clone().with_sequence(sequence)), position);
            assert!(self.store.flush(LONG));
        }
    }

    fn other_process(&self) -> Option<Box<dyn Subject>> {
        // Processes take their sequences from the clock.
        let (server, sequence) = (Arc::clone(&self.server), Arc::clone(&self.sequence));
        Some(Box::new(Self { store: Self::connect(&server), server, sequence }))
    }

    fn find(&self, key: &Key) -> Vec<Arc<StoredResponse>> {
        self.store.find(key).unwrap()
    }

    fn remove(&self, key: &Key) {
        Tier::remove(&self.store, key).unwrap();
    }

    fn purge(&self, purge: &Purge) -> Purged {
        Tier::purge(&self.store, purge).unwrap()
    }

    fn restart(&mut self) -> bool {
        self.store = Self::connect(&self.server);
        true
    }

    fn counts(&self, purge: &Purge) -> bool {
        purge.single_url().is_some()
    }
}

contract_suite!(contract, Box::new(Remote::new(Program::Redis)));
contract_suite!(contract_with_valkey, Box::new(Remote::new(Program::Valkey)));

#[test]
fn another_process_finds_what_one_has_stored() {
    for program in Program::ALL {
        let (server, cluster) = (RedisServer::start_as(program, &[]), Cluster::start_as(program, 0, &[]));
        for url in [server.url(), cluster.url()] {
            let (one, other) = (store_at(&url), store_at(&url));
            for number in 0..100 {
                assert!(put(&one, &key(number), &response_of("a", number, 1000)), "{url}");
            }
            for number in 0..100 {
                let found = other.find(&key(number)).unwrap();
                let stored = response_of("a", number, 1000);
                assert_eq!(found.len(), 1, "{url} {number}");
                assert_eq!(
                    (found[0].field_lines(), found[0].variant()),
                    (stored.field_lines(), stored.variant())
                );
                assert_eq!((found[0].validity(), found[0].digest()), (stored.validity(), stored.digest()));
                assert_eq!(
                    (found[0].sequence(), found[0].body_length()),
                    (lookup::OLDEST, stored.body_length())
                );
                assert_eq!(body(&other, &key(number), &found[0]), stored.body());
            }
            assert!(other.find(&key(100)).unwrap().is_empty());
            let usage = Tier::usage(&one);
            assert_eq!((usage.failures, usage.corrupt, usage.is_up), (0, 0, true));
        }
        let sizes = cluster.servers.iter().map(|server| server.keys("forwardcache").len());
        assert!(sizes.clone().all(|size| size > 10), "{:?}", sizes.collect::<Vec<_>>());
    }
}

#[test]
fn variants_are_merged_and_bounded() {
    let server = RedisServer::start(&[]);
    let store = RedisStore::builder(server.url()).timeout(LONG).max_value(5000).build().unwrap();
    let sequenced = |variant: &str, number: u64, size| {
        Arc::new(StoredResponse::clone(&response_of(variant, number, size)).with_sequence(number))
    };
    for (variant, number) in [("a", 1), ("b", 2), ("a", 3)] {
        assert!(put(&store, &key(1), &sequenced(variant, number, 100)));
    }
    assert_eq!(numbers(&store, &key(1)), [3, 2]);
    // An older fetch of the same variant that ends later.
    put(&store, &key(1), &sequenced("a", 1, 100));
    assert_eq!(numbers(&store, &key(1)), [3, 2]);
    // The oldest has no room beside these.
    put(&store, &key(1), &sequenced("c", 4, 2000));
    put(&store, &key(1), &sequenced("d", 5, 2400));
    assert_eq!(numbers(&store, &key(1)), [5, 4]);
    assert!(!put(&store, &key(1), &sequenced("d", 6, 5000)));
    wait_until("the outdated value is removed", || numbers(&store, &key(1)).is_empty());
}

#[test]
fn a_freshened_head_keeps_the_body() {
    let server = RedisServer::start(&[]);
    let store = store_at(&server.url());
    put(&store, &key(1), &response_of("a", 1, 2000));
    let found = store.find(&key(1)).unwrap();
    let validity = crate::policy::Validity { lifetime: Duration::from_secs(600), ..*found[0].validity() };
    let freshened = Arc::new(found[0].with_validity(validity).with_sequence(9));
    assert!(put(&store, &key(1), &freshened));
    let found = store.find(&key(1)).unwrap();
    assert_eq!((found.len(), found[0].validity().lifetime), (1, Duration::from_secs(600)));
    assert_eq!(body(&store, &key(1), &found[0]), response_of("a", 1, 2000).body());
}

#[test]
fn responses_expire() {
    let server = RedisServer::start(&[]);
    let store = store_at(&server.url());
    let brief = crate::policy::Validity {
        lifetime: Duration::from_secs(3),
        initial_age: Duration::ZERO,
        ..*response("a", 1).validity()
    };
    put(&store, &key(1), &Arc::new(response("a", 1).with_validity(brief)));
    let [name] = &server.keys(":[0-9a-f][0-9a-f]")[..] else { panic!("one value") };
    let left: u64 = server.run(&["TTL", name]).trim().parse().unwrap();
    // It has an ETag, so it is kept for validation.
    assert!((590..=603).contains(&left), "{left}");
}

#[test]
fn nothing_that_depends_on_a_credential_is_written() {
    let server = RedisServer::start(&[]);
    let store = store_at(&server.url());
    let of_user = Key::partitioned(key(1).url(), 5);
    assert!(!store.may_hold(of_user.as_str()));
    assert!(!store.put(&of_user, &response("a", 1), looked_up(&store, &key(1))));
    let mut headers = response("a", 1).headers();
    headers.insert("set-cookie", "a=b".parse().unwrap());
    let plain = response("a", 1);
    let cookie =
        StoredResponse::new(plain.status(), &headers, Pieces::new(), *plain.validity(), Default::default());
    assert!(!put(&store, &key(1), &Arc::new(cookie)));
    assert!(store.flush(LONG));
    assert!(store.find(&key(1)).unwrap().is_empty());
}

#[test]
fn with_a_key_responses_for_credentials_are_shared_and_invalidated_with_their_url() {
    for program in Program::ALL {
        let (server, cluster, folder) = (
            RedisServer::start_as(program, &[]),
            Cluster::start_as(program, 0, &[]),
            tempfile::tempdir().unwrap(),
        );
        for url in [server.url(), cluster.url()] {
            let keyed = || {
                let builder = RedisStore::builder(&url).timeout(Duration::from_secs(5));
                builder.key_file(folder.path().join("key")).build().unwrap()
            };
            let (one, other, without) = (keyed(), keyed(), store_at(&url));
            let partition = |credential: &str| one.credential_digest(credential.as_bytes()).unwrap();
            assert_eq!(other.credential_digest(b"c0ffee-5ecret"), Some(partition("c0ffee-5ecret")));
            let mine = Key::partitioned(key(1).url(), partition("c0ffee-5ecret"));
            let theirs = Key::partitioned(key(1).url(), partition("another"));
            let keys = [&mine, &theirs, &key(1)];
            let put_all = || {
                for (number, key) in (1..).zip(keys) {
                    assert!(put(&one, key, &grouped("a", number, "news")));
                }
            };
            let found = || keys.map(|key| numbers(&other, key).first().copied().unwrap_or(0));
            put_all();
            assert_eq!((found(), without.may_hold(mine.as_str())), ([1, 2, 3], false), "{url}");
            let before = looked_up(&one, &mine);
            assert!(Tier::remove(&one, &mine).unwrap());
            one.put(&mine, &response("a", 1), before);
            assert!(one.flush(LONG));
            assert_eq!(found(), [0, 2, 3], "{url}: one credential is invalidated");
            for purge in [
                Purge::of_key(key(1).url()),
                Purge::prefix("http://a/0").unwrap(),
                Purge::group("http://a", "news").unwrap(),
                Purge::all(),
            ] {
                put_all();
                assert_eq!(found(), [1, 2, 3], "{url} {purge}");
                let before = looked_up(&one, &mine);
                Tier::purge(&without, &purge).unwrap();
                assert_eq!(found(), [0; 3], "{url} {purge}");
                one.put(&mine, &grouped("a", 1, "news"), before);
                assert!(one.flush(LONG));
                assert_eq!(found(), [0; 3], "{url} {purge}: it came back");
            }
            // Nothing was stored of this URL before.
            let first = Key::partitioned(key(2).url(), 7);
            let before = looked_up(&one, &first);
            Tier::purge(&without, &Purge::of_key(key(2).url())).unwrap();
            one.put(&first, &response("a", 1), before);
            assert!(one.flush(LONG) && numbers(&other, &first).is_empty(), "{url}: it came back");
            put_all();
            assert_eq!((found(), Tier::usage(&one).failures), ([1, 2, 3], 0));
        }
        let dump = server.dump();
        let has = |text: &str| dump.windows(text.len()).any(|bytes| bytes == text.as_bytes());
        assert!(has("http://a/001") && !has("c0ffee-5ecret"));
        // Without its mark, a purge of the URL may be forgotten.
        let (file, url) = (folder.path().join("key"), server.url());
        let store = RedisStore::builder(url).timeout(LONG).key_file(file).build().unwrap();
        let mine = Key::partitioned(key(1).url(), store.credential_digest(b"c0ffee-5ecret").unwrap());
        for mark in server.keys(":removed") {
            server.run(&["DEL", &mark]);
        }
        assert_eq!((numbers(&store, &mine), numbers(&store, &key(1))), (vec![], vec![3]));
        assert!(put(&store, &mine, &response("a", 4)));
        assert_eq!(numbers(&store, &mine), [4]);
    }
}

/// The slot of a key while it moves to another node.
struct Move<'a> {
    cluster: &'a Cluster,
    source: &'a RedisServer,
    target: &'a RedisServer,
    slot: String,
    /// The keys in Redis of the slot, sorted: that of the value, and that of the purges.
    names: Vec<String>,
}

impl<'a> Move<'a> {
    fn begin(cluster: &'a Cluster, store: &RedisStore, key: &Key) -> Self {
        let shard = format!(":{}}}:", store.core().names(key.as_str()).shard);
        let at = cluster.servers.iter().position(|server| !server.keys(&shard).is_empty()).unwrap();
        let (source, target) = (&cluster.servers[at], &cluster.servers[(at + 1) % 3]);
        let slot = source.run(&["CLUSTER", "KEYSLOT", &source.keys(&shard)[0]]).trim().to_owned();
        target.run(&["CLUSTER", "SETSLOT", &slot, "IMPORTING", &Self::id(source)]);
        source.run(&["CLUSTER", "SETSLOT", &slot, "MIGRATING", &Self::id(target)]);
        // No key comes after this.
        let mut names = source.keys(&shard);
        names.sort();
        Self { cluster, source, target, slot, names }
    }

    fn id(server: &RedisServer) -> String {
        server.run(&["CLUSTER", "MYID"]).trim().to_owned()
    }

    /// Moves some of the keys.
    fn migrate(&self, names: &[String]) {
        let port = self.target.port().to_string();
        let migrate = ["MIGRATE", "127.0.0.1", &port, "", "0", "5000", "KEYS"];
        let words: Vec<_> = migrate.into_iter().chain(names.iter().map(String::as_str)).collect();
        assert_eq!(self.source.run(&words).trim(), "OK");
    }

    fn end(&self) {
        for server in [self.target, self.source].into_iter().chain(&self.cluster.servers) {
            server.run(&["CLUSTER", "SETSLOT", &self.slot, "NODE", &Self::id(self.target)]);
        }
    }
}

#[test]
fn slot_that_moves_to_another_node_is_followed() {
    for program in Program::ALL {
        let cluster = Cluster::start_as(program, 0, &[]);
        let store = store_at(&cluster.url());
        assert!(put(&store, &key(1), &response("a", 1)));
        let moving = Move::begin(&cluster, &store, &key(1));
        moving.migrate(&moving.names);
        // All keys are there, and the slot is not yet: the source answers ASK.
        assert_eq!(numbers(&store, &key(1)), [1]);
        moving.end();
        for number in 2..4 {
            // The first is redirected, the second knows the node.
            let response = StoredResponse::clone(&response("a", number)).with_sequence(number);
            assert!(put(&store, &key(1), &Arc::new(response)));
            assert_eq!(numbers(&store, &key(1)), [number]);
        }
        Tier::purge(&store, &Purge::of_key(key(1).as_str())).unwrap();
        assert!(numbers(&store, &key(1)).is_empty());
        let usage = Tier::usage(&store);
        assert_eq!((usage.failures, usage.errors, usage.circuit), (0, 0, "closed"));
        assert!(usage.answers > 5);
    }
}

#[test]
fn removal_from_a_slot_that_is_about_to_move_voids_nothing_else() {
    for program in Program::ALL {
        let cluster = Cluster::start_as(program, 0, &[]);
        let store = store_at(&cluster.url());
        // The first removal leaves a mark, so that all keys are there when the second one begins.
        for number in 1..3 {
            Tier::remove(&store, &key(1)).unwrap();
            assert!(put(&store, &key(1), &response("a", number)));
        }
        let moving = Move::begin(&cluster, &store, &key(1));
        assert!(Tier::remove(&store, &key(1)).unwrap());
        assert!(numbers(&store, &key(1)).is_empty());
        let left: Vec<_> = moving.names.iter().map(|name| moving.source.keys(name).len()).collect();
        assert_eq!(left, [2, 1, 1], "the name of the value begins that of the mark");
        moving.migrate(&moving.names);
        moving.end();
        assert!(numbers(&store, &key(1)).is_empty());
    }
}

#[test]
fn slots_that_move_under_load_open_no_circuit_and_lose_no_purge() {
    const KEYS: u64 = 6;
    for program in Program::ALL {
        let cluster = Cluster::start_as(program, 0, &[]);
        let store = store_at(&cluster.url());
        (0..KEYS).for_each(|number| assert!(put(&store, &key(number), &response("a", 1))));
        let is_over = AtomicBool::new(false);
        std::thread::scope(|scope| {
            for thread in 0..4 {
                let (store, is_over) = (&store, &is_over);
                scope.spawn(move || {
                    for round in 2.. {
                        if is_over.load(Ordering::Relaxed) {
                            break;
                        }
                        for number in 0..KEYS {
                            let key = key(number);
                            // None is found while the keys move.
                            let _ = store.find(&key);
                            let position = store.position(key.as_str());
                            if thread == 0 {
                                Tier::purge(store, &Purge::of_key(key.as_str())).unwrap();
                                // The fetch began before the purge.
                                store.put(&key, &response("late", round), position);
                                assert!(store.flush(LONG));
                                let found = store.find(&key).unwrap_or_default();
                                assert!(found.iter().all(|found| body_is_of_another(store, &key, found)));
                            } else {
                                let response = StoredResponse::clone(&response("a", 1)).with_sequence(round);
                                store.put(&key, &Arc::new(response), position);
                            }
                        }
                    }
                });
            }
            // The threads end also if this one panics.
            let _end = SetOnDrop(&is_over);
            for number in (0..KEYS).chain(0..KEYS) {
                let moving = Move::begin(&cluster, &store, &key(number));
                moving.names.iter().for_each(|name| moving.migrate(std::slice::from_ref(name)));
                moving.end();
            }
        });
        let usage = Tier::usage(&store);
        assert_eq!((usage.failures, usage.circuit), (0, "closed"), "{usage:?}");
        for number in 0..KEYS {
            Tier::purge(&store, &Purge::of_key(key(number).as_str())).unwrap();
            assert!(numbers(&store, &key(number)).is_empty());
            assert!(put(&store, &key(number), &response("c", 8)));
            assert_eq!(numbers(&store, &key(number)), [8]);
        }
    }
}

struct SetOnDrop<'a>(&'a AtomicBool);

impl Drop for SetOnDrop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Whether a response is not one of a late write.
fn body_is_of_another(store: &RedisStore, key: &Key, found: &StoredResponse) -> bool {
    body(store, key, found).to_bytes()[..8] == 1_u64.to_be_bytes()
}

#[test]
fn keys_that_move_one_by_one_are_misses_and_can_be_invalidated() {
    for program in Program::ALL {
        let cluster = Cluster::start_as(program, 0, &[]);
        let store = store_at(&cluster.url());
        for (number, is_value_first, is_purged) in
            [(1, true, false), (2, true, true), (3, false, false), (4, false, true)]
        {
            let key = key(number);
            assert!(put(&store, &key, &response("a", number)));
            let moving = Move::begin(&cluster, &store, &key);
            let [value, purges] = &moving.names[..] else { panic!("two keys: {:?}", moving.names) };
            let (first, second) = if is_value_first { (value, purges) } else { (purges, value) };
            let before = looked_up(&store, &key);
            moving.migrate(std::slice::from_ref(first));
            assert!(store.find(&key).unwrap_or_default().is_empty());
            assert!(store.put(&key, &response("b", 9), before) && store.flush(LONG));
            if is_purged {
                Tier::remove(&store, &key).unwrap();
            }
            assert_eq!((Tier::usage(&store).failures, Tier::usage(&store).circuit), (0, "closed"));
            moving.migrate(std::slice::from_ref(second));
            moving.end();
            let expected = if is_purged { vec![] } else { vec![number] };
            assert_eq!(numbers(&store, &key), expected, "{program:?} {is_value_first}");
            // A fetch that began before is not written after the purge.
            assert!(store.put(&key, &response("b", 9), before) && store.flush(LONG));
            assert_eq!(numbers(&store, &key).contains(&9), !is_purged);
            assert!(put(&store, &key, &response("c", 8)));
            assert_eq!(numbers(&store, &key)[0], 8);
        }
        assert_eq!(Tier::usage(&store).failures, 0);
    }
}

/// All kinds of invalidations of `key(1)`, each by another process.
#[test]
fn nothing_invalidated_is_found_or_comes_back_by_a_late_write() {
    for program in Program::ALL {
        let (server, cluster) = (RedisServer::start_as(program, &[]), Cluster::start_as(program, 0, &[]));
        let all: [(&str, Purge); 4] = [
            ("key", Purge::of_key(key(1).url())),
            ("prefix", Purge::prefix("http://a/0").unwrap()),
            ("group", Purge::group("http://a", "news").unwrap()),
            ("all", Purge::all()),
        ];
        for url in [server.url(), cluster.url()] {
            let (one, other) = (store_at(&url), store_at(&url));
            for (name, purge) in &all {
                let stored = grouped("a", 1, "news");
                assert!(put(&one, &key(1), &stored) && put(&one, &Key::new("http://b/"), &response("a", 2)));
                assert_eq!(numbers(&other, &key(1)), [1]);
                let before = looked_up(&one, &key(1));
                Tier::purge(&other, purge).unwrap();
                assert!(numbers(&one, &key(1)).is_empty(), "{url} {name}: it is found");
                // The fetch began before the invalidation, and ends now.
                one.put(&key(1), &stored, before);
                assert!(one.flush(LONG));
                assert!(numbers(&other, &key(1)).is_empty(), "{url} {name}: it came back");
                assert_eq!(numbers(&other, &Key::new("http://b/")).is_empty(), *name == "all");
                // A fetch that began after it is stored.
                assert!(put(&one, &key(1), &stored));
                assert_eq!(numbers(&other, &key(1)), [1], "{url} {name}: it is not stored again");
            }
        }
    }
}

#[test]
fn late_write_is_refused_also_after_a_later_response_of_another_variant() {
    let (server, folder) = (RedisServer::start(&[]), tempfile::tempdir().unwrap());
    let builder = RedisStore::builder(server.url()).timeout(LONG).key_file(folder.path().join("key"));
    let (one, other) = (builder.clone().build().unwrap(), builder.build().unwrap());
    for key in [key(1), Key::partitioned(key(2).url(), 5)] {
        let before = looked_up(&one, &key);
        Tier::remove(&other, &key).unwrap();
        let brief =
            crate::policy::Validity { lifetime: Duration::from_secs(9), ..*response("b", 2).validity() };
        assert!(put(&other, &key, &Arc::new(response("b", 2).with_validity(brief))));
        assert!(one.put(&key, &response("a", 1), before) && one.flush(LONG));
        assert_eq!(numbers(&other, &key), [2]);
        // It is also refused after the later response has expired: that remains for as long as a fetch may take.
        for name in server.keys("}:[0-9a-f][0-9a-f]").into_iter().filter(|name| !name.ends_with("removed")) {
            let left: u64 = server.run(&["TTL", &name]).trim().parse().unwrap();
            assert!(left >= MAX_FETCH.as_secs(), "{name} {left}");
        }
    }
}

#[test]
fn a_late_write_of_something_else_is_not_refused() {
    let server = RedisServer::start(&[]);
    let store = store_at(&server.url());
    let before = looked_up(&store, &key(1));
    Tier::purge(&store, &Purge::prefix("http://b/").unwrap()).unwrap();
    Tier::purge(&store, &Purge::of_key("http://b/")).unwrap();
    assert!(store.put(&key(1), &response("a", 1), before) && store.flush(LONG));
    assert_eq!(numbers(&store, &key(1)), [1]);
}

#[test]
fn soft_purge_leaves_stale_responses() {
    let server = RedisServer::start(&[]);
    let store = store_at(&server.url());
    let now = SystemTime::now();
    let fresh = crate::policy::Validity { response_time: now.into(), ..*response("a", 1).validity() };
    put(&store, &key(1), &Arc::new(response("a", 1).with_validity(fresh)));
    Tier::purge(&store, &Purge::prefix("http://a/").unwrap().soft().at(now)).unwrap();
    let found = store.find(&key(1)).unwrap();
    assert!(found.len() == 1 && !found[0].validity().is_fresh(SystemTime::now()));
}

#[test]
fn the_list_of_purges_is_bounded_and_keeps_each_purge_once() {
    for program in Program::ALL {
        let server = RedisServer::start_as(program, &[]);
        let store = store_at(&server.url());
        assert!(put(&store, &key(1), &response("a", 1)));
        for _ in 0..3 {
            Tier::purge(&store, &Purge::group("http://b", "news").unwrap()).unwrap();
        }
        // Only of the shard that holds something.
        let [name] = &server.keys(":purges")[..] else { panic!("one shard") };
        // Two numbers and the purge.
        assert_eq!(server.run(&["ZCARD", name]).trim(), "3");
        assert_eq!(numbers(&store, &key(1)), [1]);
        let shard = |text: &str| store.core().names(text).shard;
        let others = (0..).map(|number: u32| number.to_string());
        for other in others.filter(|other| shard(other) == shard(key(1).as_str())).take(1100) {
            Tier::purge(&store, &Purge::of_key(&other).soft()).unwrap();
        }
        assert_eq!(server.run(&["ZCARD", name]).trim(), "1026");
        // Everything older than what is no longer listed is void.
        assert!(numbers(&store, &key(1)).is_empty());
        assert!(put(&store, &key(1), &response("a", 2)));
        assert_eq!((numbers(&store, &key(1)), Tier::usage(&store).failures), (vec![2], 0));
    }
}

#[test]
fn everything_is_void_once_the_list_of_purges_is_lost() {
    for program in Program::ALL {
        let server = RedisServer::start_as(program, &[]);
        let store = store_at(&server.url());
        assert!(put(&store, &key(1), &response("a", 1)));
        let before = looked_up(&store, &key(1));
        Tier::purge(&store, &Purge::prefix("http://a/").unwrap()).unwrap();
        for name in server.keys(":purges") {
            // As by eviction; or something else is there.
            server.run(&["DEL", &name]);
            server.run(&["SET", &name, "something"]);
        }
        assert!(numbers(&store, &key(1)).is_empty());
        store.put(&key(1), &response("a", 1), before);
        assert!(store.flush(LONG) && numbers(&store, &key(1)).is_empty());
        assert!(put(&store, &key(1), &response("a", 2)));
        assert_eq!(numbers(&store, &key(1)), [2]);
    }
}

#[test]
fn another_type_or_version_under_a_key_is_a_miss_and_is_overwritten() {
    let server = RedisServer::start(&[]);
    let store = store_at(&server.url());
    assert!(put(&store, &key(1), &response("a", 1)));
    let [name] = &server.keys(":[0-9a-f][0-9a-f]")[..] else { panic!("one value") };
    for value in [&["LPUSH", name, "x"][..], &["SET", name, "fwdr2V"], &["SET", name, "x"]] {
        server.run(&["DEL", name]);
        server.run(value);
        assert!(numbers(&store, &key(1)).is_empty());
        assert!(put(&store, &key(1), &response("a", 2)));
        assert_eq!(numbers(&store, &key(1)), [2], "{value:?}");
    }
    assert_eq!(Tier::usage(&store).failures, 0);
    assert!(Tier::usage(&store).corrupt >= 2);
}

#[test]
fn a_full_server_takes_no_more_and_still_invalidates() {
    for program in Program::ALL {
        let server =
            RedisServer::start_as(program, &["--maxmemory", "3mb", "--maxmemory-policy", "noeviction"]);
        let store = store_at(&server.url());
        let mut stored = 0;
        while put(&store, &key(stored), &response_of("a", stored, 100_000)) && stored < 60 {
            stored += 1;
        }
        wait_until("some are not written", || Tier::usage(&store).skipped > 0);
        let held = |number: u64| !store.find(&key(number)).unwrap_or_default().is_empty();
        let first = (0..stored).find(|number| held(*number)).expect("some are written");
        assert_eq!(Tier::usage(&store).failures, 0, "a full server does not count as failed");
        Tier::purge(&store, &Purge::prefix("http://a/").unwrap()).unwrap();
        assert!((0..stored).all(|number| !held(number)), "{first}");
        assert_eq!(Tier::usage(&store).failures, 0);
    }
}

#[test]
fn an_evicting_server_stays_within_its_memory_and_serves_the_rest() {
    for program in Program::ALL {
        let server =
            RedisServer::start_as(program, &["--maxmemory", "4mb", "--maxmemory-policy", "volatile-lru"]);
        let store = store_at(&server.url());
        for number in 0..60 {
            assert!(put(&store, &key(number), &response_of("a", number, 100_000)));
        }
        let found = (0..60).filter(|number| numbers(&store, &key(*number)) == [*number]).count();
        assert!((5..55).contains(&found), "{found}");
        assert_eq!(Tier::usage(&store).failures, 0);
    }
}

#[test]
fn an_invalidation_reaches_a_server_that_was_away_before_anything_is_read() {
    for program in Program::ALL {
        let mut server = RedisServer::start_as(program, &[]);
        let store = store_at(&server.url());
        assert!(
            put(&store, &key(1), &response("a", 1)) && put(&store, &Key::new("http://b/"), &response("a", 2))
        );
        store.core().circuit.owe([Purge::prefix("http://a/").unwrap()], Instant::now());
        assert!(store.find(&key(1)).unwrap().is_empty() && !store.may_hold(key(1).as_str()));
        wait_until("it is asked again", || store.may_hold(key(1).as_str()));
        assert!(numbers(&store, &key(1)).is_empty());
        assert_eq!(numbers(&store, &Key::new("http://b/")), [2]);
        server.kill();
        // Taken, and sent later.
        assert_eq!(Tier::purge(&store, &Purge::all()).unwrap(), Purged::default());
        server.restart();
        wait_until("it is asked again", || store.may_hold(key(1).as_str()));
        assert!(put(&store, &key(1), &response("a", 3)));
        assert_eq!(numbers(&store, &key(1)), [3]);
    }
}

#[test]
fn of_a_value_that_is_too_long_only_the_head_is_read_and_it_can_be_replaced() {
    let server = RedisServer::start(&[]);
    let large = store_at(&server.url());
    let small = RedisStore::builder(server.url()).timeout(LONG).max_value(5000).build().unwrap();
    assert!(put(&large, &key(1), &response_of("a", 1, 100_000)));
    assert!(numbers(&small, &key(1)).is_empty());
    let core = small.core();
    let read = core.read(key(1).as_str(), &core.names(key(1).as_str()), None).unwrap();
    assert_eq!(read.raw.len(), value::HEAD);
    assert!(put(&small, &key(1), &response("a", 2)));
    assert_eq!((numbers(&small, &key(1)), numbers(&large, &key(1))), (vec![2], vec![2]));
}

#[test]
fn databases_of_a_server_are_apart() {
    let server = RedisServer::start(&[]);
    let [first, third] = [0, 3].map(|number| store_at(&format!("{}/{number}", server.url())));
    assert!(put(&first, &key(1), &response("a", 1)) && put(&third, &key(1), &response("a", 3)));
    assert_eq!((numbers(&first, &key(1)), numbers(&third, &key(1))), (vec![1], vec![3]));
    Tier::purge(&first, &Purge::all()).unwrap();
    assert_eq!((numbers(&first, &key(1)), numbers(&third, &key(1))), (vec![], vec![3]));
}

#[test]
fn server_at_an_ipv6_address_is_used() {
    let server = RedisServer::start(&["--bind", "127.0.0.1", "::1"]);
    let store = store_at(&format!("redis://[::1]:{}", server.port()));
    assert!(put(&store, &key(1), &response("a", 1)));
    assert_eq!(numbers(&store, &key(1)), [1]);
}

#[test]
fn node_of_a_cluster_is_no_single_server() {
    let cluster = Cluster::start_as(Program::Redis, 0, &[]);
    let core = store_at(&cluster.servers[0].url()).core().clone();
    let failed = (0..9).find_map(|number| {
        let key = key(number);
        core.read(key.as_str(), &core.names(key.as_str()), None).err()
    });
    let error = format!("{:#}", failed.expect("not all keys are at one node"));
    assert!(error.contains("use redis+cluster://"), "{error}");
}

#[test]
fn lookups_that_wait_long_for_a_thread_pause() {
    let timeout = Duration::from_millis(5);
    let store = RedisStore::builder("redis://127.0.0.1:1").timeout(timeout).build().unwrap();
    wait_until("they pause", || {
        let (done, wait) = std::sync::mpsc::channel();
        // More than there are threads; each takes its time.
        for _ in 0..40 {
            let done = done.clone();
            let work = move || {
                let (_never, receiver) = std::sync::mpsc::channel::<()>();
                let _ = receiver.recv_timeout(timeout);
                done.send(()).unwrap();
            };
            store.spawn(Box::new(work), true).unwrap_or_else(|_| panic!("there is room"));
        }
        assert_eq!(wait.iter().take(40).count(), 40);
        Tier::usage(&store).circuit == "slow"
    });
    assert!(!store.may_hold(key(1).as_str()));
    assert_eq!(Tier::usage(&store).failures, 1);
}

#[test]
fn invalid_options_are_errors() {
    for timeout in [Duration::ZERO, Duration::MAX] {
        let error = RedisStore::builder("redis://a").timeout(timeout).build().unwrap_err().to_string();
        assert!(error.starts_with("invalid timeout of Redis"), "{error}");
    }
    assert!(RedisStore::builder("redis://a").prefix("{a}").build().is_err());
    assert!(RedisStore::builder("rediss://a").root_certificates("x").build().is_err());
}
