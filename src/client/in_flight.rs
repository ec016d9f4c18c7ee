//! How many requests a peer has at a time, and how many it may have.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

/// Requests that were begun and have not ended.
#[derive(Debug, Default)]
pub(super) struct InFlight {
    count: AtomicU32,
}

impl InFlight {
    pub(super) fn count(&self) -> u32 {
        self.count.load(Ordering::Relaxed)
    }

    pub(super) fn enter(self: &Arc<Self>) -> Flying {
        self.count.fetch_add(1, Ordering::Relaxed);
        Flying { of: Arc::clone(self) }
    }
}

/// One of them. It ends when this is dropped.
#[derive(Debug)]
pub(super) struct Flying {
    of: Arc<InFlight>,
}

impl Drop for Flying {
    fn drop(&mut self) {
        self.of.count.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Whether a peer that has so many may have one more, where all `peers` have `total`: it takes at most
/// `1 + epsilon` times the mean, with the one that comes, rounded up. So there is always one that may.
pub(super) fn has_room(own: u32, total: u32, peers: usize, epsilon: f64) -> bool {
    let peers = u32::try_from(peers).unwrap_or(u32::MAX).max(1);
    let capacity = (1.0 + epsilon) * (f64::from(total) + 1.0) / f64::from(peers);
    f64::from(own) + 1.0 <= capacity.ceil()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn room_up_to_the_bound() {
        for (own, total, peers, epsilon, expected) in [
            (0, 0, 3, 0.25, true),
            (1, 1, 3, 0.25, false),
            (1, 1, 1, 0.0, true),
            // ceil(1.25 * 31 / 3) = 13.
            (12, 30, 3, 0.25, true),
            (13, 30, 3, 0.25, false),
            (30, 30, 3, 2.0, true),
        ] {
            assert_eq!(has_room(own, total, peers, epsilon), expected, "{own} of {total}");
        }
    }

    #[test]
    fn somebody_always_has_room() {
        for loads in [[0, 0, 0], [5, 5, 5], [9, 0, 3], [4, 5, 5]] {
            let total = loads.iter().sum();
            assert!(loads.iter().any(|own| has_room(*own, total, 3, 0.0)), "{loads:?}");
        }
    }

    #[test]
    fn what_ends_is_not_counted() {
        let in_flight = Arc::new(InFlight::default());
        let (one, other) = (in_flight.enter(), in_flight.enter());
        assert_eq!(in_flight.count(), 2);
        drop((one, other));
        assert_eq!(in_flight.count(), 0);
    }
}
