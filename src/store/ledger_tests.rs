//! Tests of a store that shares its ledger with other users.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::thread;

use http::{HeaderMap, StatusCode};

use super::shard::{LOOKS, entry_size};
use super::testing::{Random, body_numbers, key, response, response_of, validity, with_seed};
use super::{Key, MemoryStore, Store, StoredResponse};
use crate::base::memory_limit::{Hold, Ledger, MemoryUse};
use crate::message::pieces::Pieces;
use crate::message::purge::{Purge, Purged};
use crate::policy::Variant;

/// A response whose body the ledger counts separately.
fn counted(ledger: &Arc<Ledger>, number: u64, size: usize) -> Arc<StoredResponse> {
    let mut body = number.to_be_bytes().to_vec();
    body.resize(size, b'.');
    let body = ledger.share(MemoryUse::Bodies, body.into());
    let variant = Variant::default();
    let stored = StoredResponse::new(StatusCode::OK, &HeaderMap::new(), body, validity(), variant);
    Arc::new(stored.with_counted_body())
}

const LARGE: usize = 20_000;
const KEYS: u64 = 60;
/// Larger than any entry with two variants.
const LARGEST: u64 = 100_000;

/// A simple reference model of the ledger: lists everything and sums it up after each step.
struct Model {
    ledger: Arc<Ledger>,
    store: MemoryStore,
    holds: Vec<Hold>,
    /// Bodies that are being read.
    readers: Vec<Pieces>,
    /// The lengths of the separately counted bodies, by number.
    counted: HashMap<u64, u64>,
    evictions: u64,
}

impl Model {
    fn keys() -> impl Iterator<Item = Key> {
        let partitioned = (0..KEYS).map(|number| Key::partitioned(key(number % 5).url(), number.into()));
        (0..KEYS).map(key).chain(partitioned)
    }

    fn a_key(random: &mut Random) -> Key {
        let number = random.below(KEYS);
        if random.below(3) == 0 {
            Key::partitioned(key(number % 5).url(), number.into())
        } else {
            key(number)
        }
    }

    /// Checks all sums. Returns the size of the entries and the size of everything else.
    fn check(&mut self) -> (u64, u64) {
        let all: Vec<_> = Self::keys().map(|key| (self.store.peek(&key).unwrap(), key)).collect();
        let sizes =
            all.iter().filter(|(all, _)| !all.is_empty()).map(|(all, key)| entry_size(key.as_str(), all));
        let (mut table, mut entries) = (0, 0);
        for size in sizes {
            (table, entries) = (table + size, entries + 1);
            assert!(size < LARGEST);
        }
        let stored: HashSet<u64> = all.iter().flat_map(|(all, _)| body_numbers(all)).collect();
        let read = self
            .readers
            .iter()
            .map(|body| u64::from_be_bytes(body.slices().next().unwrap()[..8].try_into().unwrap()));
        let detached: HashSet<u64> = read.filter(|number| !stored.contains(number)).collect();
        let length = |number: &u64| self.counted.get(number).copied().unwrap_or_default();
        let detached: u64 = detached.iter().map(length).sum();
        let own: u64 = stored.iter().map(length).sum();
        let rest = detached + self.holds.iter().map(Hold::bytes).sum::<u64>();

        let usage = self.store.usage();
        assert_eq!((usage.bytes, usage.keys), (table, entries));
        assert_eq!(self.ledger.total(), table + rest);
        assert_eq!(self.ledger.held(MemoryUse::Bodies), own + detached);
        assert_eq!(self.ledger.held(MemoryUse::Entries), table - own);
        let floor = self.ledger.limit() / 4;
        if usage.evictions > self.evictions {
            // Allow for the entry that was evicted last, and for a new one that was removed again.
            assert!(table + 2 * LARGEST > floor, "evicted further than a quarter");
        }
        self.evictions = usage.evictions;
        (table, rest)
    }

    fn target(&self, rest: u64) -> u64 {
        (self.ledger.limit() / 4).max(self.ledger.limit().saturating_sub(rest))
    }
}

#[test]
fn ledger_agrees_with_the_reference_model() {
    with_seed("ledger_agrees_with_the_reference_model", |seed| {
        let mut random = Random::new(seed);
        let ledger = Ledger::new(1_200_000 + random.below(800_000));
        let limit = ledger.limit();
        let store = MemoryStore::with_ledger(Arc::clone(&ledger));
        let (holds, readers, counted_bodies) = (Vec::new(), Vec::new(), HashMap::new());
        let (ledger_of_twin, evictions) = (Arc::clone(&ledger), 0);
        let mut model =
            Model { ledger: ledger_of_twin, store, holds, readers, counted: counted_bodies, evictions };
        for number in 0..400 {
            let key = Model::a_key(&mut random);
            let (table, rest) = model.check();
            match random.below(12) {
                0 => drop(model.store.remove(&key).unwrap()),
                1 => drop(model.store.purge(&Purge::url(key.url()).unwrap()).unwrap()),
                2 => {
                    let all = model.store.variants(&key).unwrap();
                    model.readers.extend(all.first().map(|response| response.body().clone()));
                }
                3 if !model.readers.is_empty() => {
                    let at = random.below(model.readers.len() as u64);
                    model.readers.swap_remove(usize::try_from(at).unwrap());
                }
                4 if !model.holds.is_empty() => {
                    let at = random.below(model.holds.len() as u64);
                    model.holds.swap_remove(usize::try_from(at).unwrap());
                }
                5 | 6 => {
                    let bytes = 1 + random.below(limit / 5);
                    let hold = ledger.reserve(MemoryUse::Content, bytes);
                    let most = table.saturating_sub(limit / 4);
                    if hold.is_some() {
                        assert!(ledger.total() <= limit);
                        assert!(rest + bytes + table - most <= limit + LARGEST);
                    } else {
                        let is_read = !model.readers.is_empty();
                        assert!(rest + bytes + table - most > limit || is_read, "refused though it fits");
                    }
                    model.holds.extend(hold);
                }
                7 if random.below(4) == 0 => {
                    model.holds.push(ledger.hold(MemoryUse::Fetches, random.below(limit / 3)));
                    // `hold` does not evict; the next reservation does.
                    drop(ledger.reserve(MemoryUse::Fetches, 1));
                }
                8..10 => {
                    let size = LARGE + usize::try_from(random.below(30_000)).unwrap();
                    let new = counted(&ledger, number, size);
                    model.counted.insert(number, size as u64);
                    if random.below(3) == 0 {
                        model.readers.push(new.body().clone());
                    }
                    let is_stored = model.store.insert(&key, new).unwrap();
                    assert!(!is_stored || ledger.total() <= limit);
                }
                _ => {
                    let new = response_of("", number, random.below(40_000));
                    let is_stored = model.store.insert(&key, new).unwrap();
                    assert!(!is_stored || ledger.total() <= limit);
                }
            }
            let (table, rest) = model.check();
            // A dropped reader or hold only raises the target.
            assert!(table <= model.target(rest), "{table} with {rest} elsewhere, of {limit}");
        }
        assert!(model.evictions > 0);
        let Model { store, holds, readers, .. } = model;
        drop((store, holds, readers));
        assert_eq!(ledger.total(), 0);
    });
}

#[test]
fn reservations_evict_down_to_a_quarter() {
    let ledger = Ledger::new(100_000);
    let store = MemoryStore::with_ledger(Arc::clone(&ledger));
    for number in 0..200 {
        store.insert(&key(number), response_of("", number, 1_000)).unwrap();
    }
    let size = entry_size(key(0).as_str(), &[response_of("", 0, 1_000)]);
    let full = store.usage();
    assert!(full.bytes > 100_000 - size && full.bytes <= 100_000);
    assert!(ledger.reserve(MemoryUse::Windows, 80_000).is_none());
    assert_eq!(store.usage(), full, "a reservation that cannot fit evicts nothing");
    let hold = ledger.reserve(MemoryUse::Windows, 74_000).unwrap();
    assert!((24_000..=26_000).contains(&store.usage().bytes));
    assert!(ledger.reserve(MemoryUse::Windows, 5_000).is_none());
    drop(hold);
    assert!(ledger.reserve(MemoryUse::Windows, 5_000).is_some());
}

#[test]
fn evicted_bodies_count_while_they_are_read() {
    let ledger = Ledger::new(200_000);
    let store = MemoryStore::with_ledger(Arc::clone(&ledger));
    let read: Vec<Pieces> = (0..6)
        .map(|number| {
            let response = counted(&ledger, number, 30_000);
            let body = response.body().clone();
            assert!(store.insert(&key(number), response).unwrap());
            body
        })
        .collect();
    assert!(ledger.reserve(MemoryUse::Content, 50_000).is_none());
    assert!(store.usage().bytes <= 50_000);
    assert_eq!(ledger.held(MemoryUse::Bodies), 180_000);
    assert!(!store.insert(&key(9), counted(&ledger, 9, 40_000)).unwrap());
    assert!(store.usage().bytes <= 50_000);
    drop(read);
    assert!(ledger.reserve(MemoryUse::Content, 50_000).is_some());
    assert_eq!(ledger.total(), store.usage().bytes);
}

#[test]
fn concurrent_reservations_and_inserts_stay_balanced() {
    let ledger = Ledger::new(400_000);
    let store = MemoryStore::with_ledger(Arc::clone(&ledger));
    thread::scope(|scope| {
        for thread in 0..4 {
            let (ledger, store) = (&ledger, &store);
            scope.spawn(move || {
                let mut random = Random::new(thread);
                for number in 0..200 {
                    let hold = ledger.reserve(MemoryUse::Windows, random.below(60_000));
                    let new = counted(ledger, number, LARGE + usize::try_from(random.below(9_000)).unwrap());
                    let reader = new.body().clone();
                    store.insert(&key(random.below(40)), new).unwrap();
                    drop(hold);
                    drop(reader);
                }
            });
        }
    });
    assert_eq!(ledger.total(), store.usage().bytes);
    assert!(ledger.total() <= ledger.limit());
    drop(store);
    assert_eq!(ledger.total(), 0);
}

#[test]
fn with_shards_registers_the_new_table() {
    let ledger = Ledger::new(100_000);
    let store = MemoryStore::with_ledger(Arc::clone(&ledger)).with_shards(std::num::NonZeroUsize::MIN);
    store.insert(&key(1), response_of("", 1, 15_000)).unwrap();
    store.insert(&key(2), response_of("", 2, 15_000)).unwrap();
    assert!(ledger.reserve(MemoryUse::Windows, 75_000).is_some());
    assert_eq!(store.usage().keys, 1);
}

#[test]
fn purge_of_a_url_visits_only_its_entries() {
    let store = MemoryStore::new(1 << 30);
    for number in 0..40_000 {
        let own = if number % 4 == 0 { Key::partitioned(key(number).url(), 7) } else { key(number) };
        store.insert(&own, response("", number)).unwrap();
    }
    for number in 0..10 {
        store.insert(&Key::partitioned(key(1).url(), number), response("", 1)).unwrap();
    }
    let purged = |url: &str| {
        LOOKS.set(0);
        let purged = store.purge(&Purge::url(url).unwrap()).unwrap().unwrap();
        (purged.responses, LOOKS.get())
    };
    assert_eq!(purged(key(1).url()), (11, 11));
    assert_eq!(purged(key(2).url()), (1, 1));
    assert_eq!(purged(key(4).url()), (1, 1));
    assert_eq!(purged("http://a/other"), (0, 0));
    assert_eq!(store.usage().keys, 40_000 - 3);
    assert_ne!(store.purge(&Purge::all()).unwrap().unwrap(), Purged::default());
    assert_eq!((store.usage().bytes, store.ledger().unwrap().total()), (0, 0));
}
