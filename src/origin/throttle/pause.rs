//! The length of a pause, from the responses of an origin: `Retry-After`, 429 and 503.
//!
//! RFC 6585 section 4 does not define whether an origin counts requests by resource, by user or in total.
//! Here, a pause applies to requests with the same credential to the same origin; see
//! [`Scope`](super::pauses::Scope).

use std::time::{Duration, SystemTime};

use http::{HeaderMap, StatusCode};

use crate::message::header::retry_after;

/// The first pause after a 429 without `Retry-After`. It doubles with each such response in a row.
const FIRST_PAUSE: Duration = Duration::from_secs(1);

/// A pause, and the number of 429 responses that led to it.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Pause {
    span: Option<(SystemTime, SystemTime)>,
    /// The number of consecutive 429 responses without `Retry-After`.
    consecutive_429: u32,
}

impl Pause {
    /// Returns the rest of the pause. It is never longer than the whole pause, even if the clock went back.
    pub(super) fn remaining(&self, now: SystemTime) -> Option<Duration> {
        let (began, end) = self.span?;
        let whole = end.duration_since(began).unwrap_or_default();
        let left = end.duration_since(now).ok()?;
        Some(left.min(whole)).filter(|left| !left.is_zero())
    }

    /// Whether nothing has to be remembered.
    pub(super) fn is_over(&self, now: SystemTime) -> bool {
        self.remaining(now).is_none() && self.consecutive_429 == 0
    }

    /// Whether the pause ended so long ago that consecutive 429 responses no longer count.
    pub(super) fn is_expired(&self, max_pause: Duration, now: SystemTime) -> bool {
        self.span.is_none_or(|(_, end)| now.duration_since(end).is_ok_and(|past| past > max_pause))
    }

    /// Extends the pause to `by` from now, if that ends later than the current pause. Returns whether it
    /// does.
    fn extend(&mut self, by: Duration, now: SystemTime) -> bool {
        let is_longer = self.remaining(now).is_none_or(|left| left < by) && !by.is_zero();
        if is_longer && let Some(end) = now.checked_add(by) {
            self.span = Some((now, end));
        }
        is_longer
    }

    /// Updates the pause after a response. Returns whether the pause now ends later than before.
    pub(super) fn note_response(
        &mut self,
        status: StatusCode,
        headers: &HeaderMap,
        max_pause: Duration,
        now: SystemTime,
    ) -> bool {
        let asked_for = match status {
            StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE => retry_after::of(headers, now),
            _ => {
                // A response to a request from before the pause does not end it.
                if self.remaining(now).is_none() {
                    *self = Self::default();
                }
                return false;
            }
        };
        match asked_for {
            Some(time) => {
                self.consecutive_429 = 0;
                self.extend(time.min(max_pause), now)
            }
            // Responses to concurrent requests do not count as consecutive.
            None if status == StatusCode::TOO_MANY_REQUESTS && self.remaining(now).is_none() => {
                let time = FIRST_PAUSE.saturating_mul(1 << self.consecutive_429.min(16));
                self.consecutive_429 = self.consecutive_429.saturating_add(1);
                self.extend(time.min(max_pause), now)
            }
            None => false,
        }
    }
}

#[cfg(test)]
mod tests;
