//! What every store must do, whatever is behind it.

use std::sync::Arc;
use std::thread;

use super::testing::{Failing, body_numbers, key, response, response_of};
use super::{BackedStore, Key, Lru, MAX_VARIANTS, MemoryCache, MemoryStore, NoCache, NoStore, Store};

const CAPACITY: u64 = 100_000;

fn stores() -> Vec<Box<dyn Store>> {
    vec![
        Box::new(MemoryStore::new(CAPACITY)),
        Box::new(Arc::new(MemoryStore::new(CAPACITY))),
        Box::new(BackedStore::new(MemoryCache::new()).with_max_body(CAPACITY / 4)),
        Box::new(BackedStore::new(Lru::new(MemoryCache::new(), CAPACITY)).with_max_body(CAPACITY / 4)),
    ]
}

fn stores_that_keep_nothing() -> Vec<Box<dyn Store>> {
    vec![
        Box::new(NoStore),
        Box::new(Arc::new(NoStore)),
        Box::new(BackedStore::new(NoCache)),
        Box::new(BackedStore::new(Lru::new(MemoryCache::new(), 0))),
        Box::new(MemoryStore::new(0)),
    ]
}

fn numbers(store: &dyn Store, key: &Key) -> Vec<u64> {
    body_numbers(&store.variants(key).unwrap())
}

#[test]
fn what_is_inserted_is_found_whole_under_its_key_alone() {
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
fn variants_stand_side_by_side_the_newest_first() {
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
fn removing_says_whether_there_was_something() {
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
fn what_is_too_large_removes_only_what_it_replaces() {
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
fn usage_returns_to_nothing() {
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
fn a_bound_is_kept() {
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
fn variants_inserted_at_the_same_time_are_all_kept() {
    let mut stores = stores();
    stores.push(Box::new(BackedStore::new(Failing::new(MemoryCache::new()))));
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
fn some_keep_nothing_and_say_so() {
    for store in stores_that_keep_nothing() {
        assert!(!store.insert(&key(1), response("a", 1)).unwrap());
        assert!(store.variants(&key(1)).unwrap().is_empty());
        assert!(!store.remove(&key(1)).unwrap());
        assert_eq!(store.max_body(), 0);
        assert_eq!((store.usage().keys, store.usage().bytes, store.usage().evictions), (0, 0, 0));
    }
}
