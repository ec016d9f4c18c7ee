//! [`Sampler`]: which requests belong to the sample of an I/O thread.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::access_log::TrafficRecorder;
use super::options::ServerConfig;

/// The number of requests in each second that all belong to the sample.
const ALL_BELOW: u32 = 300;

/// Of the further requests, one in this many belongs to the sample. A prime, because the patterns of clients seldom have
/// such a period.
const ONE_OF: u32 = 127;

impl ServerConfig {
    /// Sets what receives a sample of the answered requests.
    pub(crate) fn recorder(mut self, recorder: Arc<dyn TrafficRecorder>) -> Self {
        self.recorder = Some(recorder);
        self
    }
}

/// Selects all requests as long as there are few, and one of many otherwise, so that recording costs little.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sampler {
    second: Instant,
    /// Requests since then.
    count: u32,
}

impl Sampler {
    pub(super) const fn new(now: Instant) -> Self {
        Self { second: now, count: 0 }
    }

    /// Returns how many requests the next one stands for; 0 if it does not belong to the sample.
    pub(super) fn weight(&mut self, now: Instant) -> u64 {
        if now.saturating_duration_since(self.second) >= Duration::from_secs(1) {
            *self = Self::new(now);
        }
        self.count = self.count.saturating_add(1);
        match self.count.saturating_sub(ALL_BELOW) {
            0 => 1,
            further if further % ONE_OF == 0 => ONE_OF.into(),
            _ => 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_requests_are_all_selected_and_many_are_represented() {
        let start = Instant::now();
        let mut sampler = Sampler::new(start);
        let mut sum = |count: u32, at| {
            let weights = (0..count).map(|_| sampler.weight(at)).filter(|weight| *weight > 0);
            weights.fold((0, 0), |(records, sum), weight| (records + 1, sum + weight))
        };
        assert_eq!(sum(ALL_BELOW, start), (300, 300));
        assert_eq!(sum(127_000, start), (1000, 127_000));
        assert_eq!(sum(10, start + Duration::from_secs(1)), (10, 10));
    }
}
