//! Where time comes from.
//!
//! Rules never read a clock: they are given a time. Only the edge (the caching engine) owns a
//! [`Clock`] and asks it once a request, so that a test moves time by hand instead of sleeping.

use std::fmt;
use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use parking_lot::Mutex;

/// A source of time.
///
/// It is called on every request: it must be cheap and must not block.
pub trait Clock: fmt::Debug + Send + Sync {
    /// The present time. It may go backwards, as the system's clock may; every rule that uses it saturates.
    fn now(&self) -> SystemTime;

    /// How much time has passed since some moment in the life of this process, by a clock that nobody sets. `None`, as
    /// by default: there is no such clock, and what is stored seems fresh again if the other one is set back.
    fn steady(&self) -> Option<Duration> {
        None
    }

    /// What both clocks show now.
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

/// A moment by the wall clock, and by a clock that is never set if there is one. A [`SystemTime`] is one without.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moment {
    wall: SystemTime,
    steady: Option<Duration>,
}

impl Moment {
    /// What the two clocks of a [`Clock`] show.
    #[must_use]
    pub const fn new(wall: SystemTime, steady: Option<Duration>) -> Self {
        Self { wall, steady }
    }

    /// By the wall clock.
    #[must_use]
    pub const fn wall(self) -> SystemTime {
        self.wall
    }

    /// By the clock that is never set.
    #[must_use]
    pub const fn steady(self) -> Option<Duration> {
        self.steady
    }

    /// How much later it is than another one: the greater of what the two clocks say, and zero where both say that it is
    /// earlier.
    #[must_use]
    pub fn since(self, earlier: Self) -> Duration {
        let by_wall = self.wall.duration_since(earlier.wall).unwrap_or_default();
        let steady = self.steady.zip(earlier.steady).map(|(now, then)| now.saturating_sub(then));
        steady.map_or(by_wall, |steady| steady.max(by_wall))
    }

    /// So much later; `None` past what a clock can show.
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
        static BEGAN: LazyLock<Instant> = LazyLock::new(Instant::now);
        Some(BEGAN.elapsed())
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
    now: Mutex<(SystemTime, Duration)>,
}

impl ManualClock {
    /// A clock that shows `now`.
    #[must_use]
    pub fn new(now: SystemTime) -> Self {
        Self { now: Mutex::new((now, Duration::ZERO)) }
    }

    /// A clock that shows this many seconds after the Unix epoch.
    #[must_use]
    pub fn at_unix_seconds(seconds: u64) -> Self {
        Self::new(UNIX_EPOCH + Duration::from_secs(seconds))
    }

    /// Moves the clock forward: time passes.
    pub fn advance(&self, by: Duration) {
        let (now, steady) = &mut *self.now.lock();
        *now += by;
        *steady += by;
    }

    /// Sets the clock, forward or back. No time passes by that.
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
    fn a_manual_clock_can_go_back() {
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
