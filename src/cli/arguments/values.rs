//! Parsers of flag values.

use std::time::Duration;

/// Parses a positive number of seconds, which may have a fraction.
pub(super) fn seconds(text: &str) -> Result<Duration, String> {
    let time = text.parse().ok().and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
    // The limit keeps the sum of this duration and a point in time representable.
    time.filter(|time| !time.is_zero() && *time <= Duration::from_secs(1_000_000_000))
        .ok_or_else(|| "specify a number of seconds above 0, such as 1.5, and at most 1000000000".to_owned())
}

/// Parses the name of a header field.
pub(super) fn field_name(name: &str) -> Result<http::HeaderName, String> {
    name.parse().map_err(|_| "not a valid header field name".to_owned())
}

/// Parses a rate as the time between two requests.
pub(super) fn interval(rate: &str) -> Result<Duration, String> {
    let (number, period) = match rate.split_once('/') {
        None | Some((_, "s")) => (rate.trim_end_matches("/s"), 1.0),
        Some((number, "m")) => (number, 60.0),
        Some((number, "h")) => (number, 3600.0),
        Some(_) => ("", 0.0),
    };
    // The limits keep the interval from a microsecond to a day.
    let rate = number.parse::<f64>().ok().map(|number| number / period);
    rate.filter(|rate| (1.0 / 86_400.0..=1e6).contains(rate))
        .map(|rate| Duration::from_secs_f64(1.0 / rate))
        .ok_or_else(|| "specify a number for each second, minute or hour, such as 5/s or 30/m".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rate_is_a_number_for_a_period() {
        for (rate, millis) in [("5", 200), ("5/s", 200), ("0.5/s", 2000), ("30/m", 2000), ("3600/h", 1000)] {
            assert_eq!(interval(rate), Ok(Duration::from_millis(millis)), "{rate}");
        }
        for rate in ["", "/s", "0", "-1/s", "5/d", "5/s/s", "1e9/s", "0.1/h/", "NaN", "inf", "0.001/h"] {
            assert!(interval(rate).is_err(), "{rate}");
        }
    }
}
