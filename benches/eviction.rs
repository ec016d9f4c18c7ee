//! The hit ratio of the memory store compared to a plain LRU of the same size: Zipf traffic over 100,000 URLs, with
//! and without URLs that are read only once. Prints a table, which is the same in every run.
//!
//! `cargo bench --bench eviction`

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::UNIX_EPOCH;

use bytes::Bytes;
use forwardcache::policy::{Validity, Variant};
use forwardcache::store::{Key, MemoryStore, Store, StoredResponse};
use http::{HeaderMap, StatusCode};

const URLS: u64 = 100_000;
const REQUESTS: u64 = 600_000;

/// The number of requests that fill the store before counting starts.
const WARM_UP: u64 = 200_000;

fn main() {
    println!("{:<26} {:>5} {:>6} {:>7} {:>7} {:>7}", "traffic", "zipf", "store", "LRU", "ours", "gain");
    for traffic in [
        Traffic::ZipfOnly,
        Traffic::ScanBursts,
        Traffic::HalfReadOnce,
        Traffic::MovingPopularity,
        Traffic::Loop,
    ] {
        for exponent in [0.8, 1.0] {
            for per_mille in [5, 10, 50, 100] {
                let capacity = URLS * per_mille / 1000;
                let (lru, library) = (
                    hit_ratio(&mut Lru::new(capacity), traffic, exponent, capacity),
                    hit_ratio(&mut LibraryStore::new(capacity), traffic, exponent, capacity),
                );
                println!(
                    "{:<26} {:>5.1} {:>4.1} % {:>5.1} % {:>5.1} % {:>+7.1}",
                    traffic.name(),
                    exponent,
                    per_mille as f64 / 10.0,
                    lru * 100.0,
                    library * 100.0,
                    (library - lru) * 100.0
                );
            }
        }
    }
}

#[derive(Clone, Copy)]
enum Traffic {
    ZipfOnly,
    /// From time to time, 20,000 URLs are read once.
    ScanBursts,
    /// Every other request is for a URL that is read once.
    HalfReadOnce,
    /// The popular URLs change completely, twice.
    MovingPopularity,
    /// After the warm-up, the same URLs are read in the same order repeatedly; they fill nine tenths of the capacity.
    Loop,
}

impl Traffic {
    fn name(self) -> &'static str {
        match self {
            Self::ZipfOnly => "zipf only",
            Self::ScanBursts => "scans in bursts",
            Self::HalfReadOnce => "half read once",
            Self::MovingPopularity => "moving popularity",
            Self::Loop => "a loop that fits",
        }
    }
}

/// Returns the hit ratio, without the URLs that are read once.
fn hit_ratio(cache: &mut impl Cache, traffic: Traffic, exponent: f64, capacity: u64) -> f64 {
    let zipf = Zipf::new(exponent);
    let mut random = Random(7);
    let mut hits = 0;
    let mut once = URLS * 10;
    for number in 0..REQUESTS {
        let url = match traffic {
            Traffic::MovingPopularity => (zipf.draw(&mut random) + number / 200_000 * 31_337) % URLS,
            Traffic::Loop if number >= WARM_UP => 2 * URLS + number % (capacity * 9 / 10),
            _ => zipf.draw(&mut random),
        };
        let is_hit = cache.request(url);
        hits += u64::from(is_hit && number >= WARM_UP);
        let read_once = match traffic {
            Traffic::ScanBursts if number % 50_000 == 0 => 20_000,
            Traffic::HalfReadOnce => 1,
            _ => 0,
        };
        for _ in 0..read_once {
            once += 1;
            cache.request(once);
        }
    }
    hits as f64 / (REQUESTS - WARM_UP) as f64
}

trait Cache {
    /// Returns whether the URL is stored, and stores it if not.
    fn request(&mut self, url: u64) -> bool;
}

/// The memory store of the library.
struct LibraryStore {
    store: MemoryStore,
    response: Arc<StoredResponse>,
}

impl LibraryStore {
    fn new(capacity: u64) -> Self {
        let validity = Validity::new(UNIX_EPOCH.into());
        let body = Bytes::from_static(b"tiny");
        let response =
            StoredResponse::new(StatusCode::OK, &HeaderMap::new(), body, validity, Variant::default());
        let response = Arc::new(response);
        let one = MemoryStore::new(1 << 20);
        one.insert(&key(0), Arc::clone(&response)).expect("memory does not fail");
        Self { store: MemoryStore::new(capacity * one.usage().bytes), response }
    }
}

impl Cache for LibraryStore {
    fn request(&mut self, url: u64) -> bool {
        let key = key(url);
        let is_hit = !self.store.variants(&key).expect("memory does not fail").is_empty();
        if !is_hit {
            self.store.insert(&key, Arc::clone(&self.response)).expect("memory does not fail");
        }
        is_hit
    }
}

fn key(url: u64) -> Key {
    Key::new(&format!("http://a/{url:07}"))
}

/// A minimal LRU: the time of the last use of each URL.
struct Lru {
    capacity: u64,
    now: u64,
    used: HashMap<u64, u64>,
    order: BTreeMap<u64, u64>,
}

impl Lru {
    fn new(capacity: u64) -> Self {
        Self { capacity, now: 0, used: HashMap::new(), order: BTreeMap::new() }
    }
}

impl Cache for Lru {
    fn request(&mut self, url: u64) -> bool {
        self.now += 1;
        let last = self.used.insert(url, self.now);
        self.order.insert(self.now, url);
        if let Some(last) = last {
            self.order.remove(&last);
        } else if self.used.len() as u64 > self.capacity
            && let Some((_, oldest)) = self.order.pop_first()
        {
            self.used.remove(&oldest);
        }
        last.is_some()
    }
}

/// Draws the n-th URL with a probability proportional to `1 / n^exponent`.
struct Zipf {
    sums: Vec<f64>,
}

impl Zipf {
    fn new(exponent: f64) -> Self {
        let mut sum = 0.0;
        let weights = (1..=URLS).map(|rank| (rank as f64).powf(-exponent));
        let add = |weight| {
            sum += weight;
            sum
        };
        Self { sums: weights.map(add).collect() }
    }

    fn draw(&self, random: &mut Random) -> u64 {
        let sum = self.sums.last().copied().unwrap_or_default();
        let at = random.next() as f64 / u64::MAX as f64 * sum;
        self.sums.partition_point(|sum| *sum < at) as u64
    }
}

/// A generator with the same numbers in every run (splitmix64).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }
}
