//! Deadlines of requests.

use std::time::{Duration, Instant};

use http::Extensions;

/// The deadline of a request, passed in its extensions.
///
/// The remaining time travels with the request from a [`Client`](crate::Client) to the peer and from there to the
/// origin. After the deadline the request fails with [`ErrorKind::Timeout`](crate::ErrorKind::Timeout); the deadline
/// includes the body.
///
/// At the soft deadline the request gets a stale response, if one is stored and may be served for a failing origin by
/// RFC 9111 section 4.2.4 and the operator's [rules](crate::policy::Rules). The fetch continues for later requests.
///
/// ```
/// use std::time::Duration;
///
/// use forwardcache::Deadline;
///
/// let mut request = http::Request::get("http://example.com/").body(()).unwrap();
/// let limits = Deadline::within(Duration::from_secs(5)).softly_within(Duration::from_millis(200));
/// request.extensions_mut().insert(limits);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Deadline {
    hard: Option<Instant>,
    soft: Option<Instant>,
    /// Whether the deadline excludes the body, because other requests share it.
    is_for_head: bool,
}

impl Deadline {
    /// Creates a deadline without a limit, which overrides the default of the client.
    #[must_use]
    pub const fn none() -> Self {
        Self { hard: None, soft: None, is_for_head: false }
    }

    /// Creates a deadline that passes `limit` from now.
    #[must_use]
    pub fn within(limit: Duration) -> Self {
        Self { hard: Instant::now().checked_add(limit), ..Self::none() }
    }

    /// Creates a deadline at this time.
    pub(crate) fn at(time: Instant) -> Self {
        Self { hard: Some(time), ..Self::none() }
    }

    /// Adds a soft deadline that passes `limit` from now.
    #[must_use]
    pub fn softly_within(self, limit: Duration) -> Self {
        Self { soft: Instant::now().checked_add(limit), ..self }
    }

    /// Creates a deadline from the remaining times that a message contained when it arrived at `now`.
    pub(crate) fn of_remaining(hard: Option<Duration>, soft: Option<Duration>, now: Instant) -> Option<Self> {
        let at = |left: Option<Duration>| left.and_then(|left| now.checked_add(left));
        (hard.is_some() || soft.is_some()).then(|| Self {
            hard: at(hard),
            soft: at(soft),
            is_for_head: false,
        })
    }

    /// Returns the deadline in the extensions of a request.
    pub(crate) fn of(extensions: &Extensions) -> Option<Self> {
        extensions.get::<Self>().copied()
    }

    /// Limits the deadline to the head and removes the soft deadline, for a fetch that other requests share.
    pub(crate) fn for_head(self) -> Self {
        Self { soft: None, is_for_head: true, ..self }
    }

    /// Limits the deadline to the head and keeps the soft deadline, for a fetch that a stale response can replace.
    pub(crate) fn only_for_head_with_soft(self) -> Self {
        Self { is_for_head: true, ..self }
    }

    /// Returns whether the deadline has passed.
    pub(crate) fn is_over(&self, now: Instant) -> bool {
        self.remaining(now).is_some_and(|left| left.is_zero())
    }

    pub(crate) fn is_for_head(&self) -> bool {
        self.is_for_head
    }

    /// Returns the time of the deadline, or `None` if there is no limit.
    pub(crate) fn hard(&self) -> Option<Instant> {
        self.hard
    }

    /// Returns the time of the soft deadline, after which a stale response may be served.
    pub(crate) fn soft(&self) -> Option<Instant> {
        self.soft
    }

    /// Returns the remaining time, or `None` if there is no limit.
    #[must_use]
    pub fn remaining(&self, now: Instant) -> Option<Duration> {
        self.hard.map(|hard| hard.saturating_duration_since(now))
    }

    /// Returns the remaining time until the soft deadline.
    pub(crate) fn soft_remaining(&self, now: Instant) -> Option<Duration> {
        self.soft.map(|soft| soft.saturating_duration_since(now))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn remaining_time_counts_down_to_zero() {
        let now = Instant::now();
        let seconds = |count| Some(Duration::from_secs(count));
        let deadline = Deadline::of_remaining(seconds(5), seconds(2), now).unwrap();
        let later = now + Duration::from_secs(3);
        assert_eq!((deadline.remaining(later), deadline.soft_remaining(later)), (seconds(2), seconds(0)));
        assert_eq!(deadline.for_head().soft_remaining(now), None);
        assert_eq!(Deadline::of_remaining(None, None, now), None);
        assert_eq!(Deadline::none().remaining(now), None);
    }
}
