use std::collections::HashMap;

use super::*;
use crate::base::clock::{Clock, ManualClock};

const WINDOW: Duration = Duration::from_secs(10);

/// Random numbers determined by the seed (splitmix64).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut word = self.0;
        word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        word ^ (word >> 31)
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    fn fraction(&mut self) -> f64 {
        f64::from(u32::try_from(self.next() >> 32).unwrap()) / f64::from(u32::MAX)
    }
}

fn with_seeds(run: impl Fn(Random)) {
    let first = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    for seed in first..first + 8 {
        eprintln!("seed {seed}");
        run(Random(seed));
    }
}

/// An exact model: a decaying count of every key, in floating point.
#[derive(Default)]
struct ExactModel(HashMap<u64, (f64, SystemTime)>);

impl ExactModel {
    fn count(&mut self, key: u64, now: SystemTime) -> f64 {
        let (count, last) = self.0.entry(key).or_insert((0.0, now));
        let elapsed = now.duration_since(*last).unwrap().as_secs_f64();
        *count = *count * (-elapsed / WINDOW.as_secs_f64()).exp() + 1.0;
        *last = now;
        *count
    }
}

fn clock() -> ManualClock {
    ManualClock::at_unix_seconds(1_800_000_000)
}

fn url(key: u64) -> String {
    format!("http://example.com/articles/{key}")
}

fn requests_until_hot(keys: &HotKeys, clock: &ManualClock, every: Duration) -> Option<u32> {
    (1..=100).find(|_| {
        clock.advance(every);
        keys.count("http://example.com/a", clock.now())
    })
}

#[test]
fn burst_or_steady_rate_makes_a_key_hot() {
    for (every, expected) in [(0, Some(8)), (100, Some(8)), (500, Some(10)), (1000, Some(13)), (1500, None)] {
        let (keys, clock) = (HotKeys::new(1 << 16, 8, WINDOW), clock());
        assert_eq!(requests_until_hot(&keys, &clock, Duration::from_millis(every)), expected, "{every}");
    }
}

#[test]
fn key_cools_down() {
    let (keys, clock) = (HotKeys::new(1 << 16, 8, WINDOW), clock());
    for _ in 0..1000 {
        keys.count("a", clock.now());
    }
    // Counts are limited to twice the hot count, so that a key cools down within a window.
    clock.advance(Duration::from_secs(6));
    assert!(keys.count("a", clock.now()));
    clock.advance(Duration::from_secs(10));
    assert!(!keys.count("a", clock.now()));
    clock.advance(Duration::from_secs(1_000_000));
    for _ in 0..7 {
        assert!(!keys.count("a", clock.now()));
    }
    assert!(keys.count("a", clock.now()));
}

#[test]
fn clock_set_back_does_not_freeze_counts() {
    let (keys, clock) = (HotKeys::new(1 << 16, 8, WINDOW), clock());
    for _ in 0..16 {
        keys.count("a", clock.now());
    }
    clock.set(UNIX_EPOCH + Duration::from_secs(60));
    assert!(!keys.count("a", clock.now()));
    clock.set(UNIX_EPOCH - Duration::from_secs(60));
    assert_eq!(requests_until_hot(&keys, &clock, Duration::ZERO), Some(8));
}

#[test]
fn memory_is_as_configured_within_bounds() {
    for (bytes, buckets) in [(0, 16), (1024, 16), (2047, 16), (2048, 32), (100_000, 1024), (u64::MAX, 4096)] {
        let keys = HotKeys::new(bytes, 8, WINDOW);
        assert_eq!(keys.buckets.len(), buckets, "{bytes}");
        assert!(keys.bytes() < (buckets as u64) * 64 + 2048);
    }
}

#[test]
fn extreme_options_work() {
    let now = clock().now();
    let keys = HotKeys::new(0, MAX_REQUESTS, Duration::MAX);
    assert_eq!((1..10_000).find(|_| keys.count("a", now)), Some(MAX_REQUESTS));
    let keys = HotKeys::new(0, 1, Duration::from_nanos(1));
    assert!(keys.count("a", now));
}

/// If every key has a counter, a key is hot exactly if it is hot in the model.
#[test]
fn hot_keys_match_the_exact_model() {
    with_seeds(|mut random| {
        let (keys, clock, mut model) = (HotKeys::new(1 << 20, 8, WINDOW), clock(), ExactModel::default());
        let (mut hot, mut cold) = (0, 0);
        for _ in 0..50_000 {
            clock.advance(Duration::from_millis(random.below(8)));
            let key = random.below(1 + random.0 % 200);
            let exact = model.count(key, clock.now());
            let is_hot = keys.count(&url(key), clock.now());
            // The model has no limit on counts, so that it may stay hot for longer.
            if let Some((count, _)) = model.0.get_mut(&key) {
                *count = count.min(16.0);
            }
            if exact > 7.9 {
                assert!(is_hot, "{exact}");
                hot += 1;
            } else if exact < 7.1 {
                assert!(!is_hot, "{exact}");
                cold += 1;
            }
        }
        assert!(hot > 1000 && cold > 1000, "{hot} {cold}");
    });
}

/// Zipf-distributed traffic over many more keys than counters.
#[test]
fn only_hot_keys_of_zipf_traffic_are_found() {
    const KEYS: u64 = 100_000;
    let mut sums = Vec::new();
    let mut sum = 0.0;
    for rank in 1..=KEYS {
        sum += 1.0 / f64::from(u32::try_from(rank).unwrap());
        sums.push(sum);
    }
    with_seeds(|mut random| {
        let (keys, clock, mut model) = (HotKeys::new(16 << 10, 8, WINDOW), clock(), ExactModel::default());
        let (mut hot, mut found, mut mistaken) = (0_u32, 0_u32, 0);
        // 2,000 requests a second for two minutes, in 2,048 counters.
        for _ in 0..240_000 {
            clock.advance(Duration::from_micros(500));
            let drawn = random.fraction() * sum;
            let key = sums.partition_point(|sum| *sum < drawn) as u64;
            let exact = model.count(key, clock.now());
            let is_hot = keys.count(&url(key), clock.now());
            // A key has a tag of 22 bits, which occasionally equals that of a hot key.
            mistaken += u32::from(is_hot && exact <= 7.0);
            if exact > 16.0 {
                hot += 1;
                found += u32::from(is_hot);
            }
        }
        assert!(hot > 50_000 && f64::from(found) > 0.97 * f64::from(hot), "{found} of {hot}");
        assert!(mistaken < 100, "{mistaken} of 240,000");
    });
}

#[test]
fn flood_of_single_requests_makes_no_key_hot() {
    let (keys, clock) = (HotKeys::new(16 << 10, 8, WINDOW), clock());
    let mut hot = 0;
    for number in 0..500_000_u64 {
        clock.advance(Duration::from_micros(20));
        assert!(!keys.count(&url(1_000_000 + number), clock.now()));
        // And 100 requests a second for one, of 50,000.
        if number % 500 == 0 {
            hot += u32::from(keys.count("http://example.com/hot", clock.now()));
        }
    }
    assert!(hot > 900, "{hot} of 1000");
}

#[test]
fn concurrent_counts_are_not_lost() {
    let now = clock().now();
    for _ in 0..50 {
        let keys = HotKeys::new(0, 2000, WINDOW);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..490 {
                        keys.count("a", now);
                    }
                });
            }
        });
        let until = (1..=2000).find(|_| keys.count("a", now)).unwrap();
        assert_eq!(until, 40);
    }
}
