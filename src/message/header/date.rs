//! HTTP dates (RFC 9110 section 5.6.7).

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use http::{HeaderMap, HeaderName, HeaderValue};

const MONTHS: [&str; 12] =
    ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"];

const WEEKDAYS: [&str; 7] = ["monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"];

/// Parses a date in one of the three forms. Returns `None` for anything else.
///
/// Case is ignored, and so is whether the weekday fits the date, because senders differ in both. Otherwise the form
/// must be exact: an `Expires` that only resembles a date counts as a time in the past (RFC 9111 section 5.3).
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
    let year = match parse_number(year)? {
        short @ 0..70 if year.len() == 2 => 2000 + short,
        short if year.len() == 2 => 1900 + short,
        year => year,
    };
    let month = MONTHS.iter().position(|name| *name == month)?;
    moment(year, month, parse_number(day)?, time)
}

fn parse_number(digits: &str) -> Option<u64> {
    let is_number = !digits.is_empty() && digits.bytes().all(|digit| digit.is_ascii_digit());
    digits.parse().ok().filter(|_| is_number)
}

/// Converts a date since 1970, with months counted from zero, and a time `hh:mm:ss`.
fn moment(year: u64, month: usize, day: u64, time: &str) -> Option<SystemTime> {
    let mut parts = time.split(':').map(|part| parse_number(part).filter(|_| part.len() == 2));
    let (hour, minute, second) = (parts.next()??, parts.next()??, parts.next()??);
    let is_leap = year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    let lengths = [31, if is_leap { 29 } else { 28 }, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
    // A leap second is second 60.
    let is_valid = year >= 1970
        && (1..=lengths[month]).contains(&day)
        && (hour < 24 && minute < 60 && second <= 60)
        && parts.next().is_none();
    if !is_valid {
        return None;
    }
    let before = year - 1;
    // There were 477 leap days before 1970.
    let leap_days = before / 4 - before / 100 + before / 400 - 477;
    let days = (year - 1970) * 365 + leap_days + lengths[..month].iter().sum::<u64>() + day - 1;
    UNIX_EPOCH.checked_add(Duration::from_secs(((days * 24 + hour) * 60 + minute) * 60 + second))
}

/// Returns the date in a field. Returns `None` if the field is absent or invalid, or if its lines differ.
pub(crate) fn of(headers: &HeaderMap, name: &HeaderName) -> Option<SystemTime> {
    let mut lines = headers.get_all(name).into_iter();
    let date = parse(lines.next()?.as_bytes())?;
    lines.all(|line| parse(line.as_bytes()) == Some(date)).then_some(date)
}

/// Formats a date as a field value.
pub(crate) fn value(date: SystemTime) -> HeaderValue {
    HeaderValue::from_str(&httpdate::fmt_http_date(date)).expect("an HTTP date is visible ASCII")
}

#[cfg(test)]
mod tests;
