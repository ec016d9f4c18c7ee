//! The contract of [`Store`], tested with all stores.

use std::sync::Arc;
use std::thread;

use super::contract_suite::{StoreSubject, contract_suite};
use super::testing::{Failing, body_numbers, grouped, key, response, response_of};
use super::{
    BackedStore, ByteStore, Key, Lru, MAX_VARIANTS, MemoryByteStore, MemoryStore, NoStore, Store, StoreError,
};
use crate::message::purge::{Purge, Purged};

const CAPACITY: u64 = 100_000;

contract_suite!(memory, Box::new(StoreSubject::new(MemoryStore::new(16 << 20))));
contract_suite!(backed, Box::new(StoreSubject::new(BackedStore::new(MemoryByteStore::new()))));
contract_suite!(no_store, Box::new(StoreSubject::keeping_nothing(NoStore::new())));

fn stores() -> Vec<Box<dyn Store>> {
    vec![
        Box::new(MemoryStore::new(CAPACITY)),
        Box::new(Arc::new(MemoryStore::new(CAPACITY))),
        Box::new(BackedStore::new(MemoryByteStore::new()).with_max_body(CAPACITY / 4)),
        Box::new(BackedStore::new(Lru::new(MemoryByteStore::new(), CAPACITY)).with_max_body(CAPACITY / 4)),
    ]
}

fn stores_without_capacity() -> Vec<Box<dyn Store>> {
    vec![Box::new(BackedStore::new(Lru::new(MemoryByteStore::new(), 0))), Box::new(MemoryStore::new(0))]
}

fn numbers(store: &dyn Store, key: &Key) -> Vec<u64> {
    body_numbers(&store.variants(key).unwrap())
}

#[test]
fn inserted_response_is_found_only_under_its_key() {
    for store in stores() {
        let new = response_of("a", 7, 500);
        let of_somebody = Key::partitioned(key(1).url(), 5);
        assert!(store.insert(&key(1), Arc::clone(&new)).unwrap());
        let found = store.variants(&key(1)).unwrap();
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].status(), new.status());
        assert_eq!(found[0].field_lines(), new.field_lines());
        assert_eq!(found[0].body(), new.body());
        assert_eq!(found[0].validity(), new.validity());
        assert_eq!(found[0].variant(), new.variant());
        assert!(store.variants(&key(2)).unwrap().is_empty());
        assert!(store.variants(&of_somebody).unwrap().is_empty());
    }
}

#[test]
fn variants_are_ordered_newest_first() {
    for store in stores() {
        for (variant, number) in [("a", 1), ("b", 2), ("a", 3)] {
            assert!(store.insert(&key(1), response(variant, number)).unwrap());
        }
        assert_eq!(numbers(&store, &key(1)), [3, 2]);
        assert_eq!(store.usage().keys, 1);
        for number in 0..MAX_VARIANTS as u64 {
            assert!(store.insert(&key(1), response(&number.to_string(), number)).unwrap());
        }
        let newest_first: Vec<u64> = (0..MAX_VARIANTS as u64).rev().collect();
        assert_eq!(numbers(&store, &key(1)), newest_first);
    }
}

#[test]
fn remove_returns_whether_the_key_was_stored() {
    for store in stores() {
        store.insert(&key(1), response("a", 1)).unwrap();
        store.insert(&key(1), response("b", 2)).unwrap();
        store.insert(&key(2), response("a", 3)).unwrap();
        assert!(store.remove(&key(1)).unwrap());
        assert!(!store.remove(&key(1)).unwrap());
        assert!(store.variants(&key(1)).unwrap().is_empty());
        assert_eq!(numbers(&store, &key(2)), [3]);
    }
}

#[test]
fn too_large_response_removes_only_the_replaced_variant() {
    for store in stores() {
        let too_large = store.max_body() + 1;
        store.insert(&key(1), response("a", 1)).unwrap();
        store.insert(&key(1), response("b", 2)).unwrap();
        store.insert(&key(2), response("a", 3)).unwrap();
        assert!(!store.insert(&key(1), response_of("a", 4, too_large)).unwrap());
        assert_eq!(numbers(&store, &key(1)), [2]);
        assert!(!store.insert(&key(1), response_of("c", 5, too_large)).unwrap());
        assert_eq!(numbers(&store, &key(1)), [2]);
        assert!(!store.insert(&key(2), response_of("a", 6, too_large)).unwrap());
        assert!(numbers(&store, &key(2)).is_empty());
        assert_eq!((store.usage().keys, store.usage().evictions), (1, 0));
    }
}

#[test]
fn usage_returns_to_zero() {
    for store in stores() {
        assert_eq!((store.usage().keys, store.usage().bytes), (0, 0));
        for number in 0..5 {
            store.insert(&key(number), response_of("a", number, 300)).unwrap();
            store.insert(&key(number), response_of("b", number, 200)).unwrap();
        }
        let usage = store.usage();
        assert_eq!(usage.keys, 5);
        assert!(usage.bytes > 5 * 500 && usage.bytes <= usage.capacity);
        for number in 0..5 {
            store.remove(&key(number)).unwrap();
        }
        assert_eq!((store.usage().keys, store.usage().bytes), (0, 0));
    }
}

#[test]
fn capacity_is_never_exceeded() {
    for store in stores().into_iter().filter(|store| store.usage().capacity < u64::MAX) {
        for number in 0..100 {
            assert!(store.insert(&key(number), response_of("a", number, 5_000)).unwrap());
            assert!(store.usage().bytes <= CAPACITY);
        }
        let usage = store.usage();
        assert_eq!(usage.keys + usage.evictions, 100);
        assert!(usage.bytes > CAPACITY - 6_000);
        assert_eq!(numbers(&store, &key(99)), [99]);
    }
}

#[test]
fn concurrently_inserted_variants_are_all_kept() {
    let mut stores = stores();
    stores.push(Box::new(BackedStore::new(Failing::new(MemoryByteStore::new()))));
    for (store, round) in stores.iter().flat_map(|store| (0..50).map(move |round| (store, key(round)))) {
        thread::scope(|scope| {
            for number in 0..4 {
                let round = &round;
                scope.spawn(move || store.insert(round, response(&number.to_string(), number)).unwrap());
            }
        });
        let mut numbers = numbers(store, &round);
        numbers.sort_unstable();
        assert_eq!(numbers, [0, 1, 2, 3]);
    }
}

#[test]
fn stores_without_capacity_store_nothing() {
    for store in stores_without_capacity() {
        assert!(!store.insert(&key(1), response("a", 1)).unwrap());
        assert!(store.variants(&key(1)).unwrap().is_empty());
        assert!(!store.remove(&key(1)).unwrap());
        assert_eq!(store.max_body(), 0);
        assert_eq!((store.usage().keys, store.usage().bytes, store.usage().evictions), (0, 0, 0));
    }
}

/// Stores two URLs with two variants and a partitioned response each, one response of another origin, and one
/// in a group.
fn filled(store: &dyn Store) {
    for number in [1, 2] {
        store.insert(&key(number), response("a", 10 * number)).unwrap();
        store.insert(&key(number), response("b", 10 * number + 1)).unwrap();
        store.insert(&Key::partitioned(key(number).url(), 7), response("a", 10 * number + 2)).unwrap();
    }
    store.insert(&Key::new("http://ab/1"), grouped("a", 30, "news")).unwrap();
    store.insert(&key(2), grouped("c", 23, "news")).unwrap();
}

fn all_numbers(store: &dyn Store) -> Vec<u64> {
    let of_somebody = |number| Key::partitioned(key(number).url(), 7);
    let keys = [key(1), of_somebody(1), key(2), of_somebody(2), Key::new("http://ab/1")];
    let mut all: Vec<u64> = keys.iter().flat_map(|key| numbers(store, key)).collect();
    all.sort_unstable();
    all
}

#[test]
fn purge_removes_and_counts_matching_responses() {
    for (purge, left) in [
        (Purge::url("http://a/001").unwrap(), &[20, 21, 22, 23, 30][..]),
        (Purge::url("http://a/00").unwrap(), &[10, 11, 12, 20, 21, 22, 23, 30]),
        (Purge::prefix("http://a/").unwrap(), &[30]),
        (Purge::prefix("http://a/002").unwrap(), &[10, 11, 12, 30]),
        (Purge::group("http://a", "news").unwrap(), &[10, 11, 12, 20, 21, 22, 30]),
        (Purge::group("http://ab", "news").unwrap(), &[10, 11, 12, 20, 21, 22, 23]),
        (Purge::group("http://a", "sport").unwrap(), &[10, 11, 12, 20, 21, 22, 23, 30]),
        (Purge::all(), &[]),
    ] {
        for store in stores() {
            filled(&*store);
            let before = store.usage();
            let purged = store.purge(&purge).unwrap().unwrap();
            assert_eq!(all_numbers(&*store), left, "{purge:?}");
            assert_eq!((purged.responses, purged.is_counted), (8 - left.len() as u64, true), "{purge:?}");
            let usage = store.usage();
            assert_eq!(purged.bytes > 0, left.len() < 8, "{purge:?}");
            assert!(usage.bytes + purged.bytes <= before.bytes, "{purge:?}");
            assert_eq!(usage.keys == 0, left.is_empty());
            assert_eq!(store.purge(&purge).unwrap(), Some(Purged::default()));
        }
    }
}

#[test]
fn purge_of_an_empty_store_removes_nothing() {
    for store in stores_without_capacity() {
        assert_eq!(store.purge(&Purge::all()).unwrap(), Some(Purged::default()));
    }
}

/// A backend that cannot list its keys.
#[derive(Debug)]
struct Unlisted(MemoryByteStore);

impl ByteStore for Unlisted {
    fn get(&self, key: &str) -> Result<Option<bytes::Bytes>, StoreError> {
        self.0.get(key)
    }

    fn set(&self, key: &str, value: bytes::Bytes) -> Result<bool, StoreError> {
        self.0.set(key, value)
    }

    fn delete(&self, key: &str) -> Result<bool, StoreError> {
        self.0.delete(key)
    }
}

#[test]
fn purge_returns_none_if_the_backend_cannot_list_keys() {
    let unlisted = || Unlisted(MemoryByteStore::new());
    let stores: [Box<dyn Store>; 3] = [
        Box::new(BackedStore::new(unlisted())),
        Box::new(BackedStore::new(Lru::new(unlisted(), CAPACITY))),
        Box::new(BackedStore::new(Box::new(unlisted()))),
    ];
    for store in stores {
        filled(&*store);
        assert_eq!(store.purge(&Purge::all()).unwrap(), None);
        assert_eq!(all_numbers(&*store).len(), 8);
    }
}

#[test]
fn concurrent_purges_count_each_response_once() {
    for store in stores() {
        let purged: u64 = thread::scope(|scope| {
            let inserting = scope.spawn(|| {
                for number in 0..300 {
                    store.insert(&key(number % 40), response(&(number % 3).to_string(), number)).unwrap();
                }
            });
            let purge = |purge: Purge| store.purge(&purge).unwrap().unwrap().responses;
            let mut sum = 0;
            while !inserting.is_finished() {
                sum += purge(Purge::prefix("http://a/01").unwrap());
            }
            sum + purge(Purge::all())
        });
        assert!(purged > 0 && purged <= 300);
        assert_eq!((store.usage().keys, store.usage().bytes), (0, 0));
    }
}

#[test]
fn alternate_form_of_an_error_shows_each_cause_once() {
    let cause = || std::io::Error::other("the disk is full");
    let error = StoreError::new("a body cannot be written").with_source(cause());
    assert_eq!(error.to_string(), "a body cannot be written");
    assert_eq!(format!("{error:#}"), "a body cannot be written: the disk is full");
    let outer = StoreError::new("cannot store it: the disk is full").with_source(error);
    assert_eq!(format!("{outer:#}"), "cannot store it: the disk is full: a body cannot be written");
}
