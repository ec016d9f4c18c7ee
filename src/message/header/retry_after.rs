//! `Retry-After` (RFC 9110 section 10.2.3).

use std::time::{Duration, SystemTime};

use http::HeaderMap;
use http::header::RETRY_AFTER;

use super::date;

/// Returns the time in `Retry-After`, which is a number of seconds or a date. The longest of several values is used;
/// invalid values are ignored.
pub(crate) fn of(headers: &HeaderMap, now: SystemTime) -> Option<Duration> {
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

#[cfg(test)]
mod tests {
    use std::time::UNIX_EPOCH;

    use http::HeaderValue;

    use super::*;

    #[test]
    fn value_is_seconds_or_a_date() {
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
            let mut headers = HeaderMap::new();
            for line in lines {
                headers.append(RETRY_AFTER, HeaderValue::from_str(line).unwrap());
            }
            let found = of(&headers, UNIX_EPOCH + Duration::from_secs(784_111_777));
            assert_eq!(found, expected.map(Duration::from_secs), "{lines:?}");
        }
    }
}
