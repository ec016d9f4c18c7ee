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
