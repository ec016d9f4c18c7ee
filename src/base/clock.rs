//! Time sources.
//!
//! Policy functions never read a clock: their callers pass the time. Only the edge (the caching engine) owns a
//! [`Clock`] and reads it once for each request, so tests can move time by hand instead of sleeping.

use std::fmt;
use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use parking_lot::Mutex;

/// A source of time.
///
/// The cache reads it on every request, so it must be cheap and must not block.
pub trait Clock: fmt::Debug + Send + Sync {
    /// Returns the current wall-clock time. It may go backwards, as the system's clock may; all arithmetic saturates.
    fn now(&self) -> SystemTime;

    /// Returns the time since a fixed moment in this process's life, from a monotonic clock.
    ///
    /// The default is `None`: no monotonic clock. Stored responses then appear fresh again if the wall clock is set
    /// back.
    fn steady(&self) -> Option<Duration> {
        None
    }

    /// Returns the current time of both clocks.
    fn moment(&self) -> Moment {
        Moment::new(self.now(), self.steady())
    }
}

impl<C: Clock + ?Sized> Clock for Arc<C> {
    fn now(&self) -> SystemTime {
        (**self).now()
    }

    fn steady(&self) -> Option<Duration> {
        (**self).steady()
    }

    fn moment(&self) -> Moment {
        (**self).moment()
    }
}

/// A moment on the wall clock and, if available, on a monotonic clock. A [`SystemTime`] converts without the latter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moment {
    wall: SystemTime,
    steady: Option<Duration>,
}

impl Moment {
    /// Creates a moment from the times of a [`Clock`]'s two clocks.
    #[must_use]
    pub const fn new(wall: SystemTime, steady: Option<Duration>) -> Self {
        Self { wall, steady }
    }

    /// Returns the time on the wall clock.
    #[must_use]
    pub const fn wall(self) -> SystemTime {
        self.wall
    }

    /// Returns the time on the monotonic clock.
    #[must_use]
    pub const fn steady(self) -> Option<Duration> {
        self.steady
    }

    /// Returns the time since `earlier`: the greater of the two clocks' differences, or zero if both clocks went
    /// backwards.
    #[must_use]
    pub fn since(self, earlier: Self) -> Duration {
        let by_wall = self.wall.duration_since(earlier.wall).unwrap_or_default();
        let steady = self.steady.zip(earlier.steady).map(|(now, then)| now.saturating_sub(then));
        steady.map_or(by_wall, |steady| steady.max(by_wall))
    }

    /// Returns this moment plus `by`, or `None` if the wall clock cannot represent the sum.
    #[must_use]
    pub fn checked_add(self, by: Duration) -> Option<Self> {
        Some(Self {
            wall: self.wall.checked_add(by)?,
            steady: self.steady.map(|steady| steady.saturating_add(by)),
        })
    }
}

impl From<SystemTime> for Moment {
    fn from(wall: SystemTime) -> Self {
        Self { wall, steady: None }
    }
}

/// The clock of the operating system.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> SystemTime {
        SystemTime::now()
    }

    fn steady(&self) -> Option<Duration> {
        static START: LazyLock<Instant> = LazyLock::new(Instant::now);
        Some(START.elapsed())
    }
}

/// A clock that moves only when told to, for tests and simulations.
///
/// ```
/// use std::time::Duration;
/// use forwardcache::clock::{Clock, ManualClock};
///
/// let clock = ManualClock::at_unix_seconds(1_000_000_000);
/// let before = clock.now();
/// clock.advance(Duration::from_secs(60));
/// assert_eq!(clock.now(), before + Duration::from_secs(60));
/// ```
#[derive(Debug)]
pub struct ManualClock {
    now: Mutex<(SystemTime, Duration)>,
}

impl ManualClock {
    /// Creates a clock that shows `now`.
    #[must_use]
    pub fn new(now: SystemTime) -> Self {
        Self { now: Mutex::new((now, Duration::ZERO)) }
    }

    /// Creates a clock that shows `seconds` after the Unix epoch.
    #[must_use]
    pub fn at_unix_seconds(seconds: u64) -> Self {
        Self::new(UNIX_EPOCH + Duration::from_secs(seconds))
    }

    /// Moves both clocks forward.
    pub fn advance(&self, by: Duration) {
        let (now, steady) = &mut *self.now.lock();
        *now += by;
        *steady += by;
    }

    /// Sets the wall clock, forward or back. The monotonic clock does not change.
    pub fn set(&self, now: SystemTime) {
        self.now.lock().0 = now;
    }
}

impl Clock for ManualClock {
    fn now(&self) -> SystemTime {
        self.now.lock().0
    }

    fn steady(&self) -> Option<Duration> {
        Some(self.now.lock().1)
    }

    fn moment(&self) -> Moment {
        let (now, steady) = *self.now.lock();
        Moment::new(now, Some(steady))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn manual_clock_can_go_back() {
        let clock = ManualClock::at_unix_seconds(100);
        let before = clock.moment();
        clock.advance(Duration::from_secs(5));
        clock.set(UNIX_EPOCH + Duration::from_secs(40));
        assert_eq!(clock.now(), UNIX_EPOCH + Duration::from_secs(40));
        assert_eq!(clock.moment().since(before), Duration::from_secs(5));
        clock.set(UNIX_EPOCH + Duration::from_secs(400));
        assert_eq!(clock.moment().since(before), Duration::from_secs(300));
    }
}
