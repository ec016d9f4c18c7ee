//! Which keys are asked for often: a count of each that fades, in a table of fixed size.
//!
//! A key's count grows by one with each request and falls by the factor *e* in each window of time, so it comes to
//! the number of requests in a window where they come evenly, and a burst counts as what it is.
//!
//! The table has buckets of eight counters, one cache line each. A key has a tag in the one bucket that its hash
//! chooses; one that comes new takes the place of the counter that has faded most, and starts at one. So a count is
//! never more than the true one (but for two keys with one tag in one bucket, one pair in 4 million), and is less
//! where more keys than a bucket holds push each other out: in a flood of keys that are asked for once, it takes a
//! higher rate to be hot, and none of the flood is.
//!
//! The roads not taken: a count-min sketch of the same size errs the other way, and in such a flood (more than some
//! thousand requests a second for different keys) takes all of them for hot; space-saving, where a new key inherits
//! the count that it replaces, does too; and to let in a new key by a throw of dice makes it chance what is hot.

use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// A counter is a tag, the tick at which it was last counted up, and the count at that time, in this many bits each.
const TICK_BITS: u32 = 24;
const COUNT_BITS: u32 = 18;

/// A request, in a count: it has six bits behind the point.
const ONE: u64 = 1 << 6;

/// The highest rate that can be asked for, in requests a window: twice as many have to fit into a count.
pub(crate) const MOST_REQUESTS: u32 = 2047;

/// The fewest ticks that a window has; it has twice as many at most.
const TICKS_A_WINDOW: u64 = 256;
const TICKS: u64 = 1 << TICK_BITS;

/// Factors have this many bits behind the point.
const FACTOR_BITS: u32 = 16;

/// After this many ticks nothing is left of a count. They are 8 windows at least: *e* to the power of -8.
const FADED: u64 = 64 * 64;

const BUCKET_BYTES: usize = size_of::<Bucket>();
const FEWEST_BUCKETS: usize = 16;
const MOST_BUCKETS: usize = 4096;

#[derive(Default)]
#[repr(align(64))]
struct Bucket([AtomicU64; 8]);

/// Counts requests by key and says which keys are asked for often. No lock: a count is one exchange of one word, and
/// none while a key that is far from cooling down is asked for again within the same tick.
pub(crate) struct HotKeys {
    /// As many as a power of two, so that one is chosen by the bits of this mask.
    buckets: Box<[Bucket]>,
    mask: u64,
    /// The count from which on a key is hot.
    hot: u64,
    /// A tick has as many nanoseconds as a power of two, this one, so that none is found by a division.
    tick_bits: u32,
    seed: u64,
    /// What is left after so many ticks, and after so many times 64 of them.
    fine: [u64; 64],
    coarse: [u64; 64],
}

impl HotKeys {
    /// Counters in about this many bytes, but 1 KiB at least and 256 KiB at most. Hot is what is asked for this often
    /// in this time.
    pub(crate) fn new(bytes: u64, requests: u32, window: Duration) -> Self {
        let buckets = usize::try_from(bytes).unwrap_or(usize::MAX) / BUCKET_BYTES;
        let buckets: u64 = 1 << buckets.clamp(FEWEST_BUCKETS, MOST_BUCKETS).ilog2();
        let requests = requests.clamp(1, MOST_REQUESTS);
        let window = u64::try_from(window.as_nanos()).unwrap_or(u64::MAX);
        let tick_bits = (window / TICKS_A_WINDOW).max(1).ilog2();
        let left = |ticks: usize| {
            #[allow(clippy::cast_precision_loss, reason = "more is precise than factors are")]
            let windows = ticks as f64 * (1_u64 << tick_bits) as f64 / window.max(1) as f64;
            #[allow(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "it is from 0 to 2^16"
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

    /// How many bytes it takes.
    pub(crate) fn bytes(&self) -> u64 {
        (self.buckets.len() * BUCKET_BYTES + size_of::<Self>()) as u64
    }

    /// Counts a request for this key; says whether the key is hot by now.
    ///
    /// The time need not come in order: a clock that goes back makes counts fade as one that goes forth.
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
            let count = if before.tag() == tag { self.faded(before, tick) } else { 0 };
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

    /// The counter of this tag, or the one to give up for it: the one that has faded most.
    fn counter<'a>(&self, bucket: &'a [AtomicU64; 8], tag: u64, tick: u64) -> (&'a AtomicU64, Counter) {
        let counters = bucket.each_ref().map(|counter| Counter(counter.load(Ordering::Relaxed)));
        if let Some(at) = counters.iter().position(|counter| counter.tag() == tag && counter.count() > 0) {
            return (&bucket[at], counters[at]);
        }
        let mut least = 0;
        let mut least_count = u64::MAX;
        for (at, counter) in counters.iter().enumerate() {
            let count = self.faded(*counter, tick);
            if count < least_count {
                (least, least_count) = (at, count);
            }
        }
        (&bucket[least], counters[least])
    }

    /// What is left of a count.
    fn faded(&self, counter: Counter, tick: u64) -> u64 {
        let forth = tick.wrapping_sub(counter.tick()) % TICKS;
        let elapsed = forth.min(TICKS - forth);
        if elapsed == 0 {
            return counter.count();
        }
        if elapsed >= FADED {
            return 0;
        }
        let (times, rest) = (elapsed / 64, elapsed % 64);
        let at = |index: u64| usize::try_from(index).unwrap_or_default();
        let round = 1 << (FACTOR_BITS - 1);
        let count = (counter.count() * self.fine[at(rest)] + round) >> FACTOR_BITS;
        (count * self.coarse[at(times)] + round) >> FACTOR_BITS
    }

    /// Of the quality that a table needs, in a fraction of the time that the standard library's takes. Who can make
    /// keys collide all the same makes the keys of one bucket count as less.
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

/// Both halves of the product in one word.
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
