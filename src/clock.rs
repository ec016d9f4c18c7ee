//! Where time comes from.
//!
//! Rules never read a clock: they are given a time. Only the edge (the caching engine) owns a
//! [`Clock`] and asks it once a request, so that a test moves time by hand instead of sleeping.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use parking_lot::Mutex;

/// A source of wall-clock time.
///
/// `now` is called on every request: it must be cheap and must not block. It may go backwards, as
/// the system's clock may; every rule that uses it saturates.
pub trait Clock: fmt::Debug + Send + Sync {
    /// The present time.
    fn now(&self) -> SystemTime;
}

impl<C: Clock + ?Sized> Clock for Arc<C> {
    fn now(&self) -> SystemTime {
        (**self).now()
    }
}

/// The clock of the operating system.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> SystemTime {
        SystemTime::now()
    }
}

/// A clock that stands still until it is moved, for tests and simulations.
///
/// ```
/// use std::time::Duration;
/// use forwardcache::{Clock, ManualClock};
///
/// let clock = ManualClock::at_unix_seconds(1_000_000_000);
/// let before = clock.now();
/// clock.advance(Duration::from_secs(60));
/// assert_eq!(clock.now(), before + Duration::from_secs(60));
/// ```
#[derive(Debug)]
pub struct ManualClock {
    now: Mutex<SystemTime>,
}

impl ManualClock {
    /// A clock that shows `now`.
    #[must_use]
    pub fn new(now: SystemTime) -> Self {
        Self { now: Mutex::new(now) }
    }

    /// A clock that shows this many seconds after the Unix epoch.
    #[must_use]
    pub fn at_unix_seconds(seconds: u64) -> Self {
        Self::new(UNIX_EPOCH + Duration::from_secs(seconds))
    }

    /// Moves the clock forward.
    pub fn advance(&self, by: Duration) {
        *self.now.lock() += by;
    }

    /// Sets the clock, forward or back.
    pub fn set(&self, now: SystemTime) {
        *self.now.lock() = now;
    }
}

impl Clock for ManualClock {
    fn now(&self) -> SystemTime {
        *self.now.lock()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_manual_clock_can_go_back() {
        let clock = ManualClock::at_unix_seconds(100);
        clock.set(UNIX_EPOCH + Duration::from_secs(40));
        assert_eq!(clock.now(), UNIX_EPOCH + Duration::from_secs(40));
    }
}
