//! Finds keys that are requested often: a decaying count of each, in a table of fixed size.
//!
//! The count of a key grows by one with each request and decays by the factor *e* in each time window. At a
//! steady rate, it approaches the number of requests in a window; a burst counts in full.
//!
//! The table has buckets of eight counters, one cache line each. The hash of a key selects one bucket, in
//! which the key has a tag. A new key replaces the counter that has decayed most, and starts at one. So a
//! count never exceeds the true count, except that about one pair of keys in 4 million shares a tag and a
//! bucket. A count is too low if more keys than a bucket holds replace each other: in a flood of keys that are
//! requested once, a key needs a higher rate to be hot, and no key of the flood is hot.
//!
//! Rejected alternatives: a count-min sketch of the same size overestimates, and in such a flood (more than a
//! few thousand requests per second for different keys) reports all of them as hot; so does space-saving,
//! where a new key inherits the count that it replaces; random admission of new keys makes the result random.

use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// A counter holds a tag, the tick of its last increment, and the count at that time. These are the bits of
/// the last two.
const TICK_BITS: u32 = 24;
const COUNT_BITS: u32 = 18;

/// One request, as a fixed-point count with six fractional bits.
const ONE: u64 = 1 << 6;

/// Maximum number of requests per window: a count must have room for twice as many.
pub(crate) const MAX_REQUESTS: u32 = 2047;

/// Minimum number of ticks per window; the maximum is twice as many.
const TICKS_A_WINDOW: u64 = 256;
const TICKS: u64 = 1 << TICK_BITS;

/// Decay factors have this many fractional bits.
const FACTOR_BITS: u32 = 16;

/// After this many ticks a count is zero: at least 8 windows, a factor of *e* to the power of -8.
const DECAYED: u64 = 64 * 64;

const BUCKET_BYTES: usize = size_of::<Bucket>();
const MIN_BUCKETS: usize = 16;
const MAX_BUCKETS: usize = 4096;

#[derive(Default)]
#[repr(align(64))]
struct Bucket([AtomicU64; 8]);

/// Counts requests by key and finds keys that are requested often. Takes no lock: a request changes one word
/// atomically, or nothing if the key is far above the limit and was requested in the same tick.
pub(crate) struct HotKeys {
    /// A power of two of buckets, selected with the bits of `mask`.
    buckets: Box<[Bucket]>,
    mask: u64,
    /// The count at which a key becomes hot.
    hot: u64,
    /// A tick has 2 to the power of `tick_bits` nanoseconds, so that no division is needed.
    tick_bits: u32,
    seed: u64,
    /// Decay factors for 0 to 63 ticks, and for 0 to 63 times 64 ticks.
    fine: [u64; 64],
    coarse: [u64; 64],
}

impl HotKeys {
    /// Creates counters in about this many bytes, at least 1 KiB and at most 256 KiB. A key is hot after this
    /// many requests in this window.
    pub(crate) fn new(bytes: u64, requests: u32, window: Duration) -> Self {
        let buckets = usize::try_from(bytes).unwrap_or(usize::MAX) / BUCKET_BYTES;
        let buckets: u64 = 1 << buckets.clamp(MIN_BUCKETS, MAX_BUCKETS).ilog2();
        let requests = requests.clamp(1, MAX_REQUESTS);
        let window = u64::try_from(window.as_nanos()).unwrap_or(u64::MAX);
        let tick_bits = (window / TICKS_A_WINDOW).max(1).ilog2();
        let left = |ticks: usize| {
            #[allow(clippy::cast_precision_loss, reason = "f64 is more precise than the factors")]
            let windows = ticks as f64 * (1_u64 << tick_bits) as f64 / window.max(1) as f64;
            #[allow(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "the value is between 0 and 2^16"
            )]
            let factor = ((-windows).exp() * f64::from(1 << FACTOR_BITS)).round() as u64;
            factor
        };
        Self {
            buckets: (0..buckets).map(|_| Bucket::default()).collect(),
            mask: buckets - 1,
            hot: u64::from(requests) * ONE,
            tick_bits,
            seed: RandomState::new().hash_one(()),
            fine: std::array::from_fn(left),
            coarse: std::array::from_fn(|times| left(times * 64)),
        }
    }

    /// Returns the memory use in bytes.
    pub(crate) fn bytes(&self) -> u64 {
        (self.buckets.len() * BUCKET_BYTES + size_of::<Self>()) as u64
    }

    /// Counts a request for this key; returns whether the key is hot.
    ///
    /// Times need not be in order: a clock that is set back decays counts like one that runs forward.
    pub(crate) fn count(&self, key: &str, now: SystemTime) -> bool {
        let since = now.duration_since(UNIX_EPOCH).unwrap_or_default();
        let nanoseconds =
            since.as_secs().wrapping_mul(1_000_000_000).wrapping_add(u64::from(since.subsec_nanos()));
        let tick = (nanoseconds >> self.tick_bits) % TICKS;
        self.count_at(self.hash(key), tick) + ONE / 2 >= self.hot
    }

    fn count_at(&self, hash: u64, tick: u64) -> u64 {
        let tag = hash >> (TICK_BITS + COUNT_BITS);
        let index = usize::try_from(hash & self.mask).unwrap_or_default();
        let bucket = &self.buckets[index].0;
        loop {
            let (counter, before) = self.counter(bucket, tag, tick);
            let count = if before.tag() == tag { self.decayed(before, tick) } else { 0 };
            let more = (count + ONE).min(2 * self.hot);
            let after = Counter::new(tag, tick, more);
            if before == after {
                return more;
            }
            let exchanged =
                counter.compare_exchange_weak(before.0, after.0, Ordering::Relaxed, Ordering::Relaxed);
            if exchanged.is_ok() {
                return more;
            }
        }
    }

    /// Returns the counter of this tag, or the counter to replace: the one that has decayed most.
    fn counter<'a>(&self, bucket: &'a [AtomicU64; 8], tag: u64, tick: u64) -> (&'a AtomicU64, Counter) {
        let counters = bucket.each_ref().map(|counter| Counter(counter.load(Ordering::Relaxed)));
        if let Some(at) = counters.iter().position(|counter| counter.tag() == tag && counter.count() > 0) {
            return (&bucket[at], counters[at]);
        }
        let mut least = 0;
        let mut least_count = u64::MAX;
        for (at, counter) in counters.iter().enumerate() {
            let count = self.decayed(*counter, tick);
            if count < least_count {
                (least, least_count) = (at, count);
            }
        }
        (&bucket[least], counters[least])
    }

    /// Returns the decayed count.
    fn decayed(&self, counter: Counter, tick: u64) -> u64 {
        let forth = tick.wrapping_sub(counter.tick()) % TICKS;
        let elapsed = forth.min(TICKS - forth);
        if elapsed == 0 {
            return counter.count();
        }
        if elapsed >= DECAYED {
            return 0;
        }
        let (times, rest) = (elapsed / 64, elapsed % 64);
        let at = |index: u64| usize::try_from(index).unwrap_or_default();
        let round = 1 << (FACTOR_BITS - 1);
        let count = (counter.count() * self.fine[at(rest)] + round) >> FACTOR_BITS;
        (count * self.coarse[at(times)] + round) >> FACTOR_BITS
    }

    /// A seeded hash that is good enough for a table and much faster than the standard library's. An attacker
    /// who finds colliding keys can only lower the counts in one bucket.
    fn hash(&self, key: &str) -> u64 {
        const FACTOR: u64 = 0x9e37_79b9_7f4a_7c15;
        let (words, rest) = key.as_bytes().as_chunks::<8>();
        let mut hash = self.seed ^ key.len() as u64;
        for word in words {
            hash = folded(hash ^ u64::from_le_bytes(*word), FACTOR);
        }
        let mut last = [0; 8];
        last[..rest.len()].copy_from_slice(rest);
        hash = folded(hash ^ u64::from_le_bytes(last), FACTOR);
        folded(hash ^ self.seed.rotate_left(32), FACTOR)
    }
}

/// Multiplies, and combines both halves of the product.
fn folded(word: u64, factor: u64) -> u64 {
    let product = u128::from(word) * u128::from(factor);
    #[expect(clippy::cast_possible_truncation, reason = "each half is one word")]
    let (low, high) = (product as u64, (product >> 64) as u64);
    low ^ high
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Counter(u64);

impl Counter {
    fn new(tag: u64, tick: u64, count: u64) -> Self {
        Self((tag << (TICK_BITS + COUNT_BITS)) | (tick << COUNT_BITS) | count)
    }

    fn tag(self) -> u64 {
        self.0 >> (TICK_BITS + COUNT_BITS)
    }

    fn tick(self) -> u64 {
        (self.0 >> COUNT_BITS) % TICKS
    }

    fn count(self) -> u64 {
        self.0 % (1 << COUNT_BITS)
    }
}

#[cfg(test)]
mod tests;
