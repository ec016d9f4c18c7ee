//! Whether a client is fast enough. Pure: the time is an argument.

use std::time::Instant;

use crate::server::options::ServerConfig;

/// How much a client has sent or taken since it has been waited for.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Pace {
    since: Option<Instant>,
    moved: u64,
}

impl Pace {
    /// From now on the client is waited for.
    pub(super) fn start(&mut self, now: Instant) {
        if self.since.is_none() {
            *self = Self { since: Some(now), moved: 0 };
        }
    }

    /// It has moved so many bytes, and is still waited for.
    pub(super) fn moved(&mut self, bytes: usize, now: Instant) {
        self.start(now);
        self.moved += bytes as u64;
    }

    /// It is not waited for any more.
    pub(super) fn stop(&mut self) {
        self.since = None;
    }

    /// Whether it was too slow, looked at over the time that a client may do nothing.
    pub(super) fn is_too_slow(&mut self, options: &ServerConfig, now: Instant) -> bool {
        let window = options.write_timeout;
        let Some(since) = self.since.filter(|since| now.saturating_duration_since(*since) >= window) else {
            return false;
        };
        let millis = u64::try_from(now.saturating_duration_since(since).as_millis()).unwrap_or(u64::MAX);
        let least = (options.min_transfer_rate.saturating_mul(millis) / 1000).max(1);
        let is_too_slow = self.moved < least;
        *self = Self { since: Some(now), moved: 0 };
        is_too_slow
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_client_is_given_up_that_moves_too_little_in_any_window() {
        let options = ServerConfig::new().write_timeout(Duration::from_secs(10)).min_transfer_rate(100);
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut pace = Pace::default();
        assert!(!pace.is_too_slow(&options, at(100)), "nobody waits for it");
        pace.start(at(0));
        assert!(!pace.is_too_slow(&options, at(9)));
        pace.moved(1000, at(9));
        assert!(!pace.is_too_slow(&options, at(10)));
        pace.moved(999, at(19));
        assert!(pace.is_too_slow(&options, at(20)));
        pace.stop();
        assert!(!pace.is_too_slow(&options, at(100)));
    }

    #[test]
    fn without_a_rate_a_single_byte_is_enough() {
        let options = ServerConfig::new().write_timeout(Duration::from_secs(10)).min_transfer_rate(0);
        let start = Instant::now();
        let mut pace = Pace::default();
        pace.moved(1, start);
        assert!(!pace.is_too_slow(&options, start + Duration::from_secs(10)));
        assert!(pace.is_too_slow(&options, start + Duration::from_secs(20)));
    }
}
