//! HTTP dates (RFC 9110 section 5.6.7).

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use http::{HeaderMap, HeaderName, HeaderValue};

const MONTHS: [&str; 12] =
    ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"];

const WEEKDAYS: [&str; 7] = ["monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"];

/// Reads a date in one of the three forms; anything else is not a date.
///
/// As senders differ, case does not matter, and neither does whether the weekday is that of the date: it tells nothing
/// that the rest does not. Otherwise the form must be exact: an `Expires` that is only similar to a date is in the past
/// (RFC 9111 section 5.3).
pub(crate) fn parse(value: &[u8]) -> Option<SystemTime> {
    let text = std::str::from_utf8(value).ok()?.trim().to_ascii_lowercase();
    // 06 Nov 1994 08:49:37 GMT, 06-Nov-94 08:49:37 GMT, Nov  6 08:49:37 1994
    let (weekday, rest) = text.split_once(' ')?;
    let [year, month, day, time] = match weekday.strip_suffix(',') {
        Some(weekday) => {
            let is_short = weekday.len() == 3;
            let form = if is_short { "dd mmm yyyy hh:mm:ss gmt" } else { "dd-mmm-yy hh:mm:ss gmt" };
            let is_named = |name: &&str| if is_short { name[..3] == *weekday } else { *name == weekday };
            WEEKDAYS.iter().find(|name| is_named(name)).filter(|_| rest.len() == form.len())?;
            let (date, time) = rest.strip_suffix(" gmt")?.rsplit_once(' ')?;
            let mut parts = date.splitn(3, if is_short { ' ' } else { '-' });
            let (day, month, year) = (parts.next()?, parts.next()?, parts.next()?);
            if day.len() != 2 || month.len() != 3 {
                return None;
            }
            [year, month, day, time]
        }
        None => {
            WEEKDAYS.iter().find(|name| name[..3] == *weekday)?;
            let at = |range| rest.get(range).filter(|_| rest.len() == "mmm dd hh:mm:ss yyyy".len());
            let spaces = [at(3..4)?, at(6..7)?, at(15..16)?];
            if spaces != [" "; 3] {
                return None;
            }
            [at(16..20)?, at(0..3)?, at(4..6)?.trim_start(), at(7..15)?]
        }
    };
    let year = match number(year)? {
        short @ 0..70 if year.len() == 2 => 2000 + short,
        short if year.len() == 2 => 1900 + short,
        year => year,
    };
    let month = MONTHS.iter().position(|name| *name == month)?;
    moment(year, month, number(day)?, time)
}

fn number(digits: &str) -> Option<u64> {
    let is_number = !digits.is_empty() && digits.bytes().all(|digit| digit.is_ascii_digit());
    digits.parse().ok().filter(|_| is_number)
}

/// The moment of a day in a year since 1970, whose months count from zero, at `hh:mm:ss`.
fn moment(year: u64, month: usize, day: u64, time: &str) -> Option<SystemTime> {
    let mut parts = time.split(':').map(|part| number(part).filter(|_| part.len() == 2));
    let (hour, minute, second) = (parts.next()??, parts.next()??, parts.next()??);
    let is_leap = year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    let lengths = [31, if is_leap { 29 } else { 28 }, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
    // A minute may have a leap second.
    let is_sound = year >= 1970
        && (1..=lengths[month]).contains(&day)
        && (hour < 24 && minute < 60 && second <= 60)
        && parts.next().is_none();
    if !is_sound {
        return None;
    }
    let before = year - 1;
    // 477 leap days were before 1970.
    let leap_days = before / 4 - before / 100 + before / 400 - 477;
    let days = (year - 1970) * 365 + leap_days + lengths[..month].iter().sum::<u64>() + day - 1;
    UNIX_EPOCH.checked_add(Duration::from_secs(((days * 24 + hour) * 60 + minute) * 60 + second))
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
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_three_forms_in_any_case_and_with_any_weekday() {
        let moment = UNIX_EPOCH + Duration::from_secs(784_111_777);
        for text in [
            "Sun, 06 Nov 1994 08:49:37 GMT",
            "Sunday, 06-Nov-94 08:49:37 GMT",
            "Sun Nov  6 08:49:37 1994",
            "SUN, 06 Nov 1994 08:49:37 GMT",
            "Sun, 06 NOV 1994 08:49:37 GMT",
            "Sun, 06 Nov 1994 08:49:37 gMT",
            "sunday, 06-nov-94 08:49:37 gmt",
            "Thu, 06 Nov 1994 08:49:37 GMT",
            "Thursday, 06-Nov-94 08:49:37 GMT",
            "Thu Nov 06 08:49:37 1994",
            " Sun, 06 Nov 1994 08:49:37 GMT ",
        ] {
            assert_eq!(parse(text.as_bytes()), Some(moment), "{text}");
        }
        for text in [
            "0",
            "-1",
            "",
            "Sun, 06 Nov 1994 08:49:37 EST",
            "Sun, 06 Nov 1994 08:49:37 UTC",
            "Sun, 06 Nov 1994 08:49:37 +0200",
            "Sun, 06 Nov 1994 08:49:37",
            "Sun, 06 Nov 94 08:49:37 GMT",
            "Sun 06 Nov 1994 08:49:37 GMT",
            "Sun, 06  Nov  1994 08:49:37 GMT",
            "Sun, 06-Nov-1994 08:49:37 GMT",
            "Sun, 06-Nov-94 08:49:37 GMT",
            "Sun, 06 Nov 1994 08.49.37 GMT",
            "Sun, 06 Nov 1994 8:49:37 GMT",
            "Sunday, 06 Nov 1994 08:49:37 GMT",
            "Abc, 06 Nov 1994 08:49:37 GMT",
            "Sun, 31 Feb 1994 08:49:37 GMT",
            "Sun, 00 Nov 1994 08:49:37 GMT",
            "Sun, 06 Nov 1994 24:00:00 GMT",
            "Sun, 06 Abc 1994 08:49:37 GMT",
            "Sun, 06 Nov 1969 08:49:37 GMT",
            "Sun, +6 Nov 1994 08:49:37 GMT",
            "\u{e9}",
        ] {
            assert_eq!(parse(text.as_bytes()), None, "{text}");
        }
        let later =
            |text: &str| parse(text.as_bytes()).unwrap().duration_since(UNIX_EPOCH).unwrap().as_secs();
        assert_eq!(later("Thu Aug  8 02:01:18 2050"), 2_543_536_878);
        assert_eq!(later("Thursday, 18-Aug-50 02:01:18 GMT"), 2_544_400_878);
        assert_eq!(later("Sat, 31 Dec 2016 23:59:60 GMT"), 1_483_228_800);
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

    proptest! {
        /// The twin is another's: it reads what senders should send.
        #[test]
        fn what_is_written_is_read_as_another_reads_it(seconds in 0_u64..253_402_300_800) {
            let moment = UNIX_EPOCH + Duration::from_secs(seconds);
            let text = value(moment);
            prop_assert_eq!(parse(text.as_bytes()), Some(moment));
            prop_assert_eq!(httpdate::parse_http_date(text.to_str().unwrap()).ok(), Some(moment));
        }

        #[test]
        fn any_text_is_read_without_a_panic(text in "[a-zA-Z0-9:, -]{0,40}") {
            let _ = parse(text.as_bytes());
        }
    }
}
