//! Computes the heuristic freshness lifetime of a response without an explicit one (RFC 9111 section 4.2.2).
//!
//! The crate `http-cache-semantics` computes the value: ten percent of the time since `Last-Modified`. This module decides
//! whether a heuristic is allowed and caps the result, because the crate applies its heuristic to every status and
//! without a cap.

use std::time::{Duration, SystemTime};

use http::header::{DATE, LAST_MODIFIED};
use http::{Request, Response, StatusCode};
use http_cache_semantics::CachePolicy;

use crate::message::header::cache_control::ResponseDirectives;
use crate::message::header::date;

/// Returns whether a heuristic lifetime is allowed: for a status that RFC 9110 section 15.1 calls heuristically
/// cacheable, and for any status with `public`.
pub(crate) fn is_allowed(status: StatusCode, directives: &ResponseDirectives) -> bool {
    directives.public
        || matches!(status.as_u16(), 200 | 203 | 204 | 206 | 300 | 301 | 308 | 404 | 405 | 410 | 414 | 501)
}

/// Returns the heuristic freshness lifetime, at most `cap`. A `cap` of zero turns the heuristic off.
pub(crate) fn lifetime(generated: SystemTime, last_modified: SystemTime, cap: Duration) -> Duration {
    if cap.is_zero() || last_modified >= generated {
        return Duration::ZERO;
    }
    let request = Request::new(());
    let mut response = Response::new(());
    response.headers_mut().insert(DATE, date::value(generated));
    response.headers_mut().insert(LAST_MODIFIED, date::value(last_modified));
    CachePolicy::new(&request, &response).time_to_live(generated).min(cap)
}

#[cfg(test)]
mod tests {
    use std::time::UNIX_EPOCH;

    use super::*;

    const DAY: Duration = Duration::from_secs(86_400);

    #[test]
    fn the_heuristic_lifetime_is_a_tenth_of_the_unmodified_time_up_to_the_cap() {
        let generated = UNIX_EPOCH + DAY * 1000;
        for (unchanged, expected) in [
            (Duration::from_secs(1000), Duration::from_secs(100)),
            (DAY * 10, DAY),
            (DAY * 999, DAY),
            (Duration::ZERO, Duration::ZERO),
        ] {
            assert_eq!(lifetime(generated, generated - unchanged, DAY), expected, "{unchanged:?}");
        }
        assert_eq!(lifetime(generated, generated + DAY, DAY), Duration::ZERO);
        assert_eq!(lifetime(generated, generated - DAY, Duration::ZERO), Duration::ZERO);
    }
}
