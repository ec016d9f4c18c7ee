//! For how long a response is fresh whose origin does not say (RFC 9111 section 4.2.2).
//!
//! The guess itself is http-cache-semantics' own, asked with canonical fields and only here: ten per
//! cent of the time since `Last-Modified`. What it is not asked is whether one may guess at all, and
//! for how long at most: it guesses for every status and without a cap.

use std::time::{Duration, SystemTime};

use http::header::{DATE, LAST_MODIFIED};
use http::{Request, Response, StatusCode};
use http_cache_semantics::CachePolicy;

use crate::message::header::cache_control::ResponseDirectives;
use crate::message::header::date;

/// Whether a lifetime may be guessed: a status that RFC 9110 section 15.1 calls heuristically
/// cacheable, or `public` on any.
pub(crate) fn is_allowed(status: StatusCode, directives: &ResponseDirectives) -> bool {
    directives.public
        || matches!(status.as_u16(), 200 | 203 | 204 | 206 | 300 | 301 | 308 | 404 | 405 | 410 | 414 | 501)
}

/// The guessed freshness lifetime.
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
    fn a_tenth_of_the_time_unchanged_up_to_the_cap() {
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
