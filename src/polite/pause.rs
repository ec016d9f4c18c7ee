//! What an origin says that has had enough, and for how long it is left alone.
//!
//! It is left alone as a whole. RFC 6585 section 4 leaves open what an origin counts, by resource, by user or across
//! the server, and says nothing by which one could be told from the other; to go on asking for its other resources may
//! be just what it asked not to be done. 503 is about the server (RFC 9110 section 15.6.4).

use std::time::{Duration, SystemTime};

use http::header::RETRY_AFTER;
use http::{HeaderMap, StatusCode};

use crate::header::date;

/// How long an origin is left alone that answers 429 and does not say for how long; doubled each time.
const FIRST: Duration = Duration::from_secs(1);

/// How long `Retry-After` asks for (RFC 9110 section 10.2.3): seconds, or a date. Where it stands several times, the
/// longest; what is neither says nothing.
pub(super) fn retry_after(headers: &HeaderMap, now: SystemTime) -> Option<Duration> {
    headers.get_all(RETRY_AFTER).into_iter().filter_map(|line| one(line.as_bytes(), now)).max()
}

fn one(value: &[u8], now: SystemTime) -> Option<Duration> {
    let value = value.trim_ascii();
    if !value.is_empty() && value.iter().all(u8::is_ascii_digit) {
        // More digits than fit are longer than anything that is waited for.
        let seconds = std::str::from_utf8(value).ok()?.parse().unwrap_or(u64::MAX);
        return Some(Duration::from_secs(seconds));
    }
    // What is past asks for nothing.
    date::parse(value).map(|date| date.duration_since(now).unwrap_or_default())
}

/// For how long an origin is left alone.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Pause {
    span: Option<(SystemTime, SystemTime)>,
    /// How many 429 in a row said nothing of the time.
    in_a_row: u32,
}

impl Pause {
    /// How much is left; a clock that went back makes it no longer than it was at first.
    pub(super) fn left(&self, now: SystemTime) -> Option<Duration> {
        let (began, end) = self.span?;
        let whole = end.duration_since(began).unwrap_or_default();
        let left = end.duration_since(now).ok()?;
        Some(left.min(whole)).filter(|left| !left.is_zero())
    }

    /// Whether nothing of it has to be remembered.
    pub(super) fn is_over(&self, now: SystemTime) -> bool {
        self.left(now).is_none() && self.in_a_row == 0
    }

    /// Whether it has been over for so long that it is not remembered how often it was asked for.
    pub(super) fn is_forgotten(&self, longest: Duration, now: SystemTime) -> bool {
        self.span.is_none_or(|(_, end)| now.duration_since(end).is_ok_and(|past| past > longest))
    }

    /// Leaves it alone for this long from now on, if that ends later; says whether it does.
    pub(super) fn extend(&mut self, by: Duration, now: SystemTime) -> bool {
        let is_longer = self.left(now).is_none_or(|left| left < by) && !by.is_zero();
        if is_longer && let Some(end) = now.checked_add(by) {
            self.span = Some((now, end));
        }
        is_longer
    }

    /// What an answer says; whether the origin is to be left alone for longer than before.
    pub(super) fn answered(
        &mut self,
        status: StatusCode,
        headers: &HeaderMap,
        longest: Duration,
        now: SystemTime,
    ) -> bool {
        let asked_for = match status {
            StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE => retry_after(headers, now),
            _ => {
                // An answer to what was sent before the pause does not end it.
                if self.left(now).is_none() {
                    *self = Self::default();
                }
                return false;
            }
        };
        match asked_for {
            Some(time) => {
                self.in_a_row = 0;
                self.extend(time.min(longest), now)
            }
            // The others that were under way with it say the same once more.
            None if status == StatusCode::TOO_MANY_REQUESTS && self.left(now).is_none() => {
                let time = FIRST.saturating_mul(1 << self.in_a_row.min(16));
                self.in_a_row = self.in_a_row.saturating_add(1);
                self.extend(time.min(longest), now)
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
            assert!(pause.answered(StatusCode::TOO_MANY_REQUESTS, &none, LONGEST, now));
            assert_eq!(pause.left(now), Some(Duration::from_secs(seconds)));
            // Those that were under way at the same time.
            assert!(!pause.answered(StatusCode::TOO_MANY_REQUESTS, &none, LONGEST, now));
            assert!(!pause.answered(StatusCode::OK, &none, LONGEST, now));
            assert_eq!(pause.left(now), Some(Duration::from_secs(seconds)));
            now += Duration::from_secs(seconds);
            assert_eq!(pause.left(now), None);
            assert!(!pause.is_over(now));
        }
        assert!(!pause.is_forgotten(LONGEST, now + LONGEST));
        assert!(pause.is_forgotten(LONGEST, now + LONGEST + Duration::from_secs(1)));
        pause.answered(StatusCode::OK, &none, LONGEST, now);
        assert!(pause.is_over(now));
        pause.answered(StatusCode::TOO_MANY_REQUESTS, &none, LONGEST, now);
        assert_eq!(pause.left(now), Some(Duration::from_secs(1)));
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
            let changed = pause.answered(status, &fields(lines), LONGEST, at(0));
            assert_eq!(pause.left(at(0)), seconds.map(Duration::from_secs), "{status} {lines:?}");
            assert_eq!(changed, seconds.is_some());
        }
    }

    #[test]
    fn it_is_not_shortened_and_a_clock_that_went_back_does_not_lengthen_it() {
        let mut pause = Pause::default();
        assert!(pause.extend(Duration::from_secs(30), at(1_000)));
        assert!(!pause.extend(Duration::from_secs(10), at(1_000)));
        assert!(pause.extend(Duration::from_secs(31), at(1_000)));
        assert_eq!(pause.left(at(1_010)), Some(Duration::from_secs(21)));
        assert_eq!(pause.left(at(5)), Some(Duration::from_secs(31)));
        assert_eq!(pause.left(at(1_031)), None);
    }
}
