//! The length of a pause, from the responses of an origin: `Retry-After`, 429 and 503.
//!
//! RFC 6585 section 4 does not define whether an origin counts requests by resource, by user or in total.
//! Here, a pause applies to requests with the same credential to the same origin; see
//! [`Scope`](super::pauses::Scope).

use std::time::{Duration, SystemTime};

use http::header::RETRY_AFTER;
use http::{HeaderMap, StatusCode};

use crate::message::header::date;

/// The first pause after a 429 without `Retry-After`. It doubles with each such response in a row.
const FIRST_PAUSE: Duration = Duration::from_secs(1);

/// Returns the time in `Retry-After` (RFC 9110 section 10.2.3), which is a number of seconds or a date. The
/// longest of several values is used; invalid values are ignored.
pub(super) fn retry_after(headers: &HeaderMap, now: SystemTime) -> Option<Duration> {
    headers.get_all(RETRY_AFTER).into_iter().filter_map(|line| parse_value(line.as_bytes(), now)).max()
}

fn parse_value(value: &[u8], now: SystemTime) -> Option<Duration> {
    let value = value.trim_ascii();
    if !value.is_empty() && value.iter().all(u8::is_ascii_digit) {
        // A number that exceeds 64 bits is longer than any pause.
        let seconds = std::str::from_utf8(value).ok()?.parse().unwrap_or(u64::MAX);
        return Some(Duration::from_secs(seconds));
    }
    // A date in the past requests no pause.
    date::parse(value).map(|date| date.duration_since(now).unwrap_or_default())
}

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
            StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE => retry_after(headers, now),
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
mod tests {
    use std::time::UNIX_EPOCH;

    use http::HeaderValue;

    use super::*;

    const LONGEST: Duration = Duration::from_secs(300);

    fn at(seconds: u64) -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(784_111_777 + seconds)
    }

    fn fields(lines: &[&str]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(RETRY_AFTER, HeaderValue::from_str(line).unwrap());
        }
        headers
    }

    #[test]
    fn seconds_and_dates_and_nothing_else() {
        for (lines, expected) in [
            (&["120"][..], Some(120)),
            (&[" 7 "], Some(7)),
            (&["0"], Some(0)),
            (&["Sun, 06 Nov 1994 08:50:37 GMT"], Some(60)),
            (&["Sunday, 06-Nov-94 08:50:37 GMT"], Some(60)),
            (&["Sun Nov  6 08:50:37 1994"], Some(60)),
            (&["Sun, 06 Nov 1994 08:49:00 GMT"], Some(0)),
            (&["99999999999999999999999"], Some(u64::MAX)),
            (&["5", "20", "soon"], Some(20)),
            (&["-1"], None),
            (&["1.5"], None),
            (&["+5"], None),
            (&["soon"], None),
            (&[""], None),
            (&[], None),
        ] {
            let found = retry_after(&fields(lines), at(0));
            assert_eq!(found, expected.map(Duration::from_secs), "{lines:?}");
        }
    }

    #[test]
    fn what_says_nothing_of_the_time_is_left_alone_for_longer_each_time() {
        let (mut pause, none) = (Pause::default(), HeaderMap::new());
        let mut now = at(0);
        for seconds in [1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300] {
            assert!(pause.note_response(StatusCode::TOO_MANY_REQUESTS, &none, LONGEST, now));
            assert_eq!(pause.remaining(now), Some(Duration::from_secs(seconds)));
            // Responses to concurrent requests.
            assert!(!pause.note_response(StatusCode::TOO_MANY_REQUESTS, &none, LONGEST, now));
            assert!(!pause.note_response(StatusCode::OK, &none, LONGEST, now));
            assert_eq!(pause.remaining(now), Some(Duration::from_secs(seconds)));
            now += Duration::from_secs(seconds);
            assert_eq!(pause.remaining(now), None);
            assert!(!pause.is_over(now));
        }
        assert!(!pause.is_expired(LONGEST, now + LONGEST));
        assert!(pause.is_expired(LONGEST, now + LONGEST + Duration::from_secs(1)));
        pause.note_response(StatusCode::OK, &none, LONGEST, now);
        assert!(pause.is_over(now));
        pause.note_response(StatusCode::TOO_MANY_REQUESTS, &none, LONGEST, now);
        assert_eq!(pause.remaining(now), Some(Duration::from_secs(1)));
    }

    #[test]
    fn what_is_asked_for_is_done_up_to_the_longest() {
        for (status, lines, seconds) in [
            (429, &["30"][..], Some(30)),
            (503, &["30"], Some(30)),
            (503, &["Sun, 06 Nov 1994 08:50:37 GMT"], Some(60)),
            (503, &["86400"], Some(300)),
            (429, &["0"], None),
            (503, &[], None),
            (503, &["soon"], None),
            (429, &["soon"], Some(1)),
            (500, &["30"], None),
            (301, &["30"], None),
        ] {
            let mut pause = Pause::default();
            let status = StatusCode::from_u16(status).unwrap();
            let changed = pause.note_response(status, &fields(lines), LONGEST, at(0));
            assert_eq!(pause.remaining(at(0)), seconds.map(Duration::from_secs), "{status} {lines:?}");
            assert_eq!(changed, seconds.is_some());
        }
    }

    #[test]
    fn it_is_not_shortened_and_a_clock_that_went_back_does_not_lengthen_it() {
        let mut pause = Pause::default();
        assert!(pause.extend(Duration::from_secs(30), at(1_000)));
        assert!(!pause.extend(Duration::from_secs(10), at(1_000)));
        assert!(pause.extend(Duration::from_secs(31), at(1_000)));
        assert_eq!(pause.remaining(at(1_010)), Some(Duration::from_secs(21)));
        assert_eq!(pause.remaining(at(5)), Some(Duration::from_secs(31)));
        assert_eq!(pause.remaining(at(1_031)), None);
    }
}
