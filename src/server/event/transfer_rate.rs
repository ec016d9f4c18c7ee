//! Detects clients that are too slow. Pure: the time is an argument.

use std::time::Instant;

use crate::server::options::ServerConfig;

/// The number of bytes that a client has transferred since the server began to wait for it.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct TransferRate {
    since: Option<Instant>,
    bytes: u64,
}

impl TransferRate {
    /// Starts measuring, unless started already.
    pub(super) fn start(&mut self, now: Instant) {
        if self.since.is_none() {
            *self = Self { since: Some(now), bytes: 0 };
        }
    }

    /// Counts transferred bytes, if measuring has started.
    pub(super) fn count(&mut self, bytes: usize) {
        self.bytes += bytes as u64;
    }

    /// Stops measuring.
    pub(super) fn stop(&mut self) {
        self.since = None;
    }

    /// Ends the current window of `write_timeout`, if it is over, and starts the next one. Returns whether the
    /// client was too slow in the window that ended.
    pub(super) fn check_window(&mut self, options: &ServerConfig, now: Instant) -> bool {
        let window = options.write_timeout;
        let Some(since) = self.since.filter(|since| now.saturating_duration_since(*since) >= window) else {
            return false;
        };
        let millis = u64::try_from(now.saturating_duration_since(since).as_millis()).unwrap_or(u64::MAX);
        let min_bytes = (options.min_transfer_rate.saturating_mul(millis) / 1000).max(1);
        let is_below_min_rate = self.bytes < min_bytes;
        *self = Self { since: Some(now), bytes: 0 };
        is_below_min_rate
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_client_below_the_rate_in_any_window_is_too_slow() {
        let options = ServerConfig::new().write_timeout(Duration::from_secs(10)).min_transfer_rate(100);
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut transfer_rate = TransferRate::default();
        assert!(!transfer_rate.check_window(&options, at(100)), "measuring has not started");
        transfer_rate.start(at(0));
        assert!(!transfer_rate.check_window(&options, at(9)));
        transfer_rate.count(1000);
        assert!(!transfer_rate.check_window(&options, at(10)));
        transfer_rate.count(999);
        assert!(transfer_rate.check_window(&options, at(20)));
        transfer_rate.stop();
        assert!(!transfer_rate.check_window(&options, at(100)));
    }

    #[test]
    fn without_a_minimum_rate_one_byte_per_window_is_enough() {
        let options = ServerConfig::new().write_timeout(Duration::from_secs(10)).min_transfer_rate(0);
        let start = Instant::now();
        let mut transfer_rate = TransferRate::default();
        transfer_rate.start(start);
        transfer_rate.count(1);
        assert!(!transfer_rate.check_window(&options, start + Duration::from_secs(10)));
        assert!(transfer_rate.check_window(&options, start + Duration::from_secs(20)));
    }
}
