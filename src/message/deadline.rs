//! Until when an answer is wanted.

use std::time::{Duration, Instant};

use http::Extensions;

/// Until when the one who asks wants an answer, in the extensions of a request.
///
/// What is left of the time travels along: from a [`Client`](crate::Client) to the peer that it asks, and from there to
/// the origin. Past the deadline a request fails as [`ErrorKind::Timeout`](crate::ErrorKind::Timeout), its body
/// included. At the soft deadline it is answered with what is stored and stale, where RFC 9111 section 4.2.4 and the
/// operator's [rules](crate::Rules) allow that for an origin that fails, and the fetch goes on for the next one who
/// asks.
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
    /// Whether the body may come later: others read along.
    is_for_head: bool,
}

impl Deadline {
    /// None at all: for a request that is to have no limit where its client has one for all.
    #[must_use]
    pub const fn none() -> Self {
        Self { hard: None, soft: None, is_for_head: false }
    }

    /// So long from now.
    #[must_use]
    pub fn within(limit: Duration) -> Self {
        Self { hard: Instant::now().checked_add(limit), ..Self::none() }
    }

    /// At this time.
    pub(crate) fn at(time: Instant) -> Self {
        Self { hard: Some(time), ..Self::none() }
    }

    /// The same with a soft deadline, so long from now.
    #[must_use]
    pub fn softly_within(self, limit: Duration) -> Self {
        Self { soft: Instant::now().checked_add(limit), ..self }
    }

    /// As much of it as was left when it was said, from this moment on.
    pub(crate) fn of_remaining(hard: Option<Duration>, soft: Option<Duration>, now: Instant) -> Option<Self> {
        let at = |left: Option<Duration>| left.and_then(|left| now.checked_add(left));
        (hard.is_some() || soft.is_some()).then(|| Self {
            hard: at(hard),
            soft: at(soft),
            is_for_head: false,
        })
    }

    /// What a request says of it.
    pub(crate) fn of(extensions: &Extensions) -> Option<Self> {
        extensions.get::<Self>().copied()
    }

    /// The same, which the body may pass, and without the soft one: for a fetch that others wait for too.
    pub(crate) fn for_head(self) -> Self {
        Self { soft: None, is_for_head: true, ..self }
    }

    /// The same with the soft one: for one who can answer with something stale.
    pub(crate) fn softly_for_head(self) -> Self {
        Self { is_for_head: true, ..self }
    }

    /// Whether nothing is left of it.
    pub(crate) fn is_over(&self, now: Instant) -> bool {
        self.remaining(now).is_some_and(|left| left.is_zero())
    }

    pub(crate) fn is_for_head(&self) -> bool {
        self.is_for_head
    }

    /// When the time is up; `None` where there is no limit.
    pub(crate) fn hard(&self) -> Option<Instant> {
        self.hard
    }

    /// When something stale will do.
    pub(crate) fn soft(&self) -> Option<Instant> {
        self.soft
    }

    /// How much is left; `None` where there is no limit.
    pub(crate) fn remaining(&self, now: Instant) -> Option<Duration> {
        self.hard.map(|hard| hard.saturating_duration_since(now))
    }

    /// How much is left of the soft one.
    pub(crate) fn softly_remaining(&self, now: Instant) -> Option<Duration> {
        self.soft.map(|soft| soft.saturating_duration_since(now))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_is_told_and_never_less_than_nothing() {
        let now = Instant::now();
        let seconds = |count| Some(Duration::from_secs(count));
        let deadline = Deadline::of_remaining(seconds(5), seconds(2), now).unwrap();
        let later = now + Duration::from_secs(3);
        assert_eq!((deadline.remaining(later), deadline.softly_remaining(later)), (seconds(2), seconds(0)));
        assert_eq!(deadline.for_head().softly_remaining(now), None);
        assert_eq!(Deadline::of_remaining(None, None, now), None);
        assert_eq!(Deadline::none().remaining(now), None);
    }
}
