//! HTTP dates (RFC 9110 section 5.6.7).

use std::time::SystemTime;

use http::{HeaderMap, HeaderName, HeaderValue};

/// Reads a date in any of the three forms; anything else is no date.
pub(crate) fn parse(value: &[u8]) -> Option<SystemTime> {
    httpdate::parse_http_date(std::str::from_utf8(value).ok()?.trim()).ok()
}

/// The date in a field, where it stands there exactly once and is one.
pub(crate) fn of(headers: &HeaderMap, name: &HeaderName) -> Option<SystemTime> {
    let mut lines = headers.get_all(name).into_iter();
    let date = parse(lines.next()?.as_bytes())?;
    lines.all(|line| parse(line.as_bytes()) == Some(date)).then_some(date)
}

/// A date as it goes into a field.
pub(crate) fn value(date: SystemTime) -> HeaderValue {
    HeaderValue::from_str(&httpdate::fmt_http_date(date)).expect("an HTTP date is visible ASCII")
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use super::*;

    #[test]
    fn the_three_forms_and_nothing_else() {
        let moment = UNIX_EPOCH + Duration::from_secs(784_111_777);
        for text in
            ["Sun, 06 Nov 1994 08:49:37 GMT", "Sunday, 06-Nov-94 08:49:37 GMT", "Sun Nov  6 08:49:37 1994"]
        {
            assert_eq!(parse(text.as_bytes()), Some(moment), "{text}");
        }
        for text in ["0", "", "Sun, 06 Nov 1994 08:49:37 EST", "Sun, 06 Nov 1994 08:49:37 +0200", "\u{e9}"] {
            assert_eq!(parse(text.as_bytes()), None, "{text}");
        }
        assert_eq!(value(moment), "Sun, 06 Nov 1994 08:49:37 GMT");
    }

    #[test]
    fn lines_that_disagree_are_no_date() {
        let mut headers = HeaderMap::new();
        headers.append("expires", HeaderValue::from_static("Sun, 06 Nov 1994 08:49:37 GMT"));
        headers.append("expires", HeaderValue::from_static("Sun Nov  6 08:49:37 1994"));
        assert!(of(&headers, &http::header::EXPIRES).is_some());
        headers.append("expires", HeaderValue::from_static("Sun Nov  6 08:49:38 1994"));
        assert_eq!(of(&headers, &http::header::EXPIRES), None);
    }
}
