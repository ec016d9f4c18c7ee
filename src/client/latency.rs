//! How long a peer takes to answer: a histogram of a fixed size.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

/// Four for each doubling of a microsecond, up to more than a minute.
const BUCKETS: usize = 4 * 27;

/// After so many answers all counts are halved, so that what was long ago fades.
const HALVED_AT: u32 = 1024;

/// With fewer answers than this, a quantile says nothing.
const ENOUGH: u32 = 20;

/// How many answers there are between two looks.
const LOOKED_AT: u32 = 32;

/// Counts are kept without a lock: one that is lost while they are halved does no harm.
#[derive(Debug)]
pub(super) struct Latency {
    buckets: [AtomicU32; BUCKETS],
    count: AtomicU32,
}

impl Default for Latency {
    fn default() -> Self {
        Self { buckets: std::array::from_fn(|_| AtomicU32::new(0)), count: AtomicU32::new(0) }
    }
}

impl Latency {
    pub(super) fn record(&self, took: Duration) {
        self.buckets[bucket(took)].fetch_add(1, Ordering::Relaxed);
        if self.count.fetch_add(1, Ordering::Relaxed) + 1 == HALVED_AT {
            let mut left = 0;
            for bucket in &self.buckets {
                let half = bucket.load(Ordering::Relaxed) / 2;
                bucket.store(half, Ordering::Relaxed);
                left += half;
            }
            self.count.store(left, Ordering::Relaxed);
        }
    }

    /// Within how long this share of the answers came, from 0 to 1, rounded up by a fifth at most; `None`
    /// with too few answers.
    pub(super) fn quantile(&self, quantile: f64) -> Option<Duration> {
        let counts: Vec<u32> = self.buckets.iter().map(|bucket| bucket.load(Ordering::Relaxed)).collect();
        let total: u32 = counts.iter().sum();
        if total < ENOUGH {
            return None;
        }
        let wanted = f64::from(total) * quantile.clamp(0.0, 1.0);
        let mut seen = 0;
        for (index, count) in counts.iter().enumerate() {
            seen += count;
            if *count > 0 && f64::from(seen) >= wanted {
                return Some(upper(index));
            }
        }
        None
    }

    /// Once in a while: a quantile is not looked up after each answer.
    pub(super) fn is_worth_a_look(&self) -> bool {
        self.count.load(Ordering::Relaxed).is_multiple_of(LOOKED_AT)
    }

    /// Forgets all of it.
    pub(super) fn clear(&self) {
        for bucket in &self.buckets {
            bucket.store(0, Ordering::Relaxed);
        }
        self.count.store(0, Ordering::Relaxed);
    }
}

fn bucket(took: Duration) -> usize {
    let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX).max(4);
    let doublings = micros.ilog2();
    let quarter = (micros >> (doublings - 2)) & 3;
    let index = u64::from(doublings - 2) * 4 + quarter;
    usize::try_from(index).unwrap_or(usize::MAX).min(BUCKETS - 1)
}

/// Where a bucket ends.
fn upper(index: usize) -> Duration {
    let (doublings, quarter) = (index / 4, index as u64 % 4);
    Duration::from_micros((5 + quarter) << doublings)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_holds_what_is_below_its_end() {
        for micros in (0..5000).chain([60_000_000, 100_000_000]) {
            let took = Duration::from_micros(micros);
            let index = bucket(took);
            assert!(took < upper(index), "{micros}");
            assert!(index == 0 || took >= upper(index - 1), "{micros}");
        }
        assert_eq!(bucket(Duration::MAX), BUCKETS - 1);
    }

    #[test]
    fn quantiles() {
        let latency = Latency::default();
        for millis in 1..ENOUGH {
            latency.record(Duration::from_millis(millis.into()));
        }
        assert_eq!(latency.quantile(0.5), None);
        for millis in ENOUGH..=100 {
            latency.record(Duration::from_millis(millis.into()));
        }
        for (quantile, millis) in [(0.5, 50.0), (0.95, 95.0), (0.01, 1.0), (1.0, 100.0)] {
            let found = latency.quantile(quantile).unwrap().as_secs_f64() * 1000.0;
            assert!(found >= millis && found <= millis * 1.25, "{quantile}: {found}");
        }
        latency.clear();
        assert_eq!(latency.quantile(0.5), None);
    }

    #[test]
    fn what_was_long_ago_fades() {
        let latency = Latency::default();
        (0..HALVED_AT).for_each(|_| latency.record(Duration::from_millis(1)));
        (0..HALVED_AT).for_each(|_| latency.record(Duration::from_secs(1)));
        assert!(latency.quantile(0.5).unwrap() >= Duration::from_secs(1));
        assert!(latency.count.load(Ordering::Relaxed) < HALVED_AT);
    }
}
