//! [`Histograms`]: how long something took, by one label.

use std::array;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Upper bounds of the buckets in microseconds.
const BOUNDS: [u64; 16] = [
    100, 250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000, 1_000_000,
    2_500_000, 10_000_000, 60_000_000,
];

/// A histogram for each of `N` values of a label. Counting is two relaxed additions.
#[derive(Debug)]
pub(crate) struct Histograms<const N: usize> {
    histograms: [Histogram; N],
}

#[derive(Debug, Default)]
struct Histogram {
    /// Durations in each bucket; the last one has no upper bound.
    buckets: [AtomicU64; BOUNDS.len() + 1],
    microseconds: AtomicU64,
}

/// The values of one histogram.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct DurationCounts {
    /// The value of the label.
    pub(crate) label: &'static str,
    /// The number of durations in each bucket. Not cumulative.
    buckets: [u64; BOUNDS.len() + 1],
    microseconds: u64,
}

impl<const N: usize> Default for Histograms<N> {
    fn default() -> Self {
        Self { histograms: array::from_fn(|_| Histogram::default()) }
    }
}

impl<const N: usize> Histograms<N> {
    /// Counts a duration under the label with this index.
    pub(crate) fn count(&self, index: usize, duration: Duration) {
        let histogram = &self.histograms[index];
        let microseconds = u64::try_from(duration.as_micros()).unwrap_or(u64::MAX);
        let bucket = BOUNDS.partition_point(|bound| *bound < microseconds);
        histogram.buckets[bucket].fetch_add(1, Ordering::Relaxed);
        histogram.microseconds.fetch_add(microseconds, Ordering::Relaxed);
    }

    /// Returns the values, given the labels in the order of their indices.
    pub(crate) fn counts(&self, labels: impl IntoIterator<Item = &'static str>) -> Vec<DurationCounts> {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let counts = |(label, histogram): (_, &Histogram)| DurationCounts {
            label,
            buckets: histogram.buckets.each_ref().map(read),
            microseconds: read(&histogram.microseconds),
        };
        labels.into_iter().zip(&self.histograms).map(counts).collect()
    }
}

impl DurationCounts {
    /// Adds the counts of another server.
    pub(crate) fn add(&mut self, other: &Self) {
        self.buckets.iter_mut().zip(other.buckets).for_each(|(count, more)| *count += more);
        self.microseconds += other.microseconds;
    }

    /// Returns the upper bound of each bucket in seconds, as text, with the number of durations up to it. The last one is
    /// `+Inf`.
    pub(crate) fn cumulative(&self) -> impl Iterator<Item = (String, u64)> {
        let bounds = BOUNDS.iter().map(|bound| (Duration::from_micros(*bound).as_secs_f64()).to_string());
        let totals = self.buckets.iter().scan(0, |total, count| {
            *total += count;
            Some(*total)
        });
        bounds.chain(["+Inf".to_owned()]).zip(totals)
    }

    pub(crate) fn seconds(&self) -> f64 {
        Duration::from_micros(self.microseconds).as_secs_f64()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn duration_counts_in_the_bucket_whose_bound_it_does_not_exceed() {
        let durations = Histograms::<2>::default();
        for microseconds in [0, 100, 101, 60_000_000, 60_000_001] {
            durations.count(0, Duration::from_micros(microseconds));
        }
        durations.count(1, Duration::from_secs(1));
        let counts = durations.counts(["first", "second"]);
        let first: Vec<_> = counts[0].cumulative().collect();
        let of = |bound: &str| first.iter().find(|(one, _)| one == bound).unwrap().1;
        assert_eq!((of("0.0001"), of("0.00025"), of("10"), of("60"), of("+Inf")), (2, 3, 3, 4, 5));
        assert!((counts[0].seconds() - 120.000_202).abs() < 1e-9, "{}", counts[0].seconds());
        assert_eq!((counts[1].label, counts[1].cumulative().last().unwrap().1), ("second", 1));
    }

    #[test]
    fn counts_of_several_servers_add_up() {
        let (one, other) = (Histograms::<1>::default(), Histograms::<1>::default());
        one.count(0, Duration::from_secs(1));
        other.count(0, Duration::from_secs(2));
        let mut sum = one.counts(["a"]);
        sum.iter_mut().zip(other.counts(["a"])).for_each(|(sum, more)| sum.add(&more));
        assert_eq!(sum[0].cumulative().last().unwrap().1, 2);
        assert!((sum[0].seconds() - 3.0).abs() < 1e-9);
    }
}
