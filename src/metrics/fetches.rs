//! [`FetchTimes`]: how long origins took to respond.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use http::StatusCode;
use parking_lot::Mutex;

use super::durations::{DurationCounts, Histograms};
use crate::base::error::{ErrorKind, Result};
use crate::base::named::named;

/// The number of origins whose times are kept.
const MAX_ORIGINS: usize = 256;

/// An origin that was not asked for this long is forgotten.
const MAX_AGE: Duration = Duration::from_secs(3600);

named! {
    /// The result of asking an origin.
    #[repr(usize)]
    pub(crate) enum FetchResult: pub(crate) ALL {
        /// Status 200 to 299, or a status below 200 that ends the exchange.
        Success = "2xx",
        /// Status 300 to 399.
        Redirect = "3xx",
        /// Status 400 to 499.
        ClientError = "4xx",
        /// Status 500 and above.
        ServerError = "5xx",
        /// No response arrived in time.
        Timeout = "timeout",
        /// No valid response for another reason.
        Error = "error",
    }
}

impl FetchResult {
    /// Returns the class of a result; `None` if the origin was not asked, or the client left first.
    pub(crate) fn of(result: Result<StatusCode, ErrorKind>) -> Option<Self> {
        Some(match result {
            Ok(status) => match status.as_u16() {
                ..300 => Self::Success,
                300..400 => Self::Redirect,
                400..500 => Self::ClientError,
                _ => Self::ServerError,
            },
            Err(ErrorKind::Timeout) => Self::Timeout,
            Err(
                ErrorKind::Cancelled
                | ErrorKind::Forbidden
                | ErrorKind::BadRequest
                | ErrorKind::BadUrl
                | ErrorKind::Loop
                | ErrorKind::OriginBusy,
            ) => return None,
            Err(_) => Self::Error,
        })
    }
}

/// The times to the heads of origins' responses: a histogram for each result, and the slowest origins.
#[derive(Debug, Default)]
pub(crate) struct FetchTimes {
    by_result: Histograms<{ FetchResult::ALL.len() }>,
    origins: Mutex<OriginTimes>,
}

impl FetchTimes {
    /// Counts a fetch that ended now. `origin` is scheme and authority.
    pub(crate) fn count(&self, origin: &str, result: FetchResult, duration: Duration, now: Instant) {
        self.by_result.count(result as usize, duration);
        self.origins.lock().add(origin, duration, now);
    }

    pub(crate) fn counts(&self) -> Vec<DurationCounts> {
        self.by_result.counts(FetchResult::ALL.map(FetchResult::name))
    }

    /// Returns at most `most` origins that were asked in the last hour, the slowest first.
    pub(crate) fn slowest(&self, most: usize, now: Instant) -> Vec<SlowOrigin> {
        self.origins.lock().slowest(most, now)
    }
}

/// An origin and its times.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SlowOrigin {
    pub(crate) origin: String,
    pub(crate) fetches: u64,
    /// The moving average, in which the last eight fetches have most of the weight.
    pub(crate) average: Duration,
    pub(crate) slowest: Duration,
}

/// The times of a limited number of origins. Once there are more, the fastest are forgotten.
#[derive(Debug, Default)]
struct OriginTimes(HashMap<Box<str>, Times>);

#[derive(Debug)]
struct Times {
    fetches: u64,
    average: Duration,
    slowest: Duration,
    last: Instant,
}

impl OriginTimes {
    fn add(&mut self, origin: &str, duration: Duration, now: Instant) {
        if let Some(times) = self.0.get_mut(origin) {
            times.fetches += 1;
            times.average = (times.average * 7 + duration) / 8;
            times.slowest = times.slowest.max(duration);
            times.last = now;
            return;
        }
        if self.0.len() >= MAX_ORIGINS {
            self.forget_old(now);
        }
        if self.0.len() >= MAX_ORIGINS {
            let fastest = self.0.iter().min_by_key(|(_, times)| times.average);
            let fastest = fastest.map(|(origin, times)| (origin.clone(), times.average));
            match fastest {
                Some((fastest, average)) if average <= duration => drop(self.0.remove(&fastest)),
                _ => return,
            }
        }
        self.0.insert(origin.into(), Times { fetches: 1, average: duration, slowest: duration, last: now });
    }

    fn forget_old(&mut self, now: Instant) {
        self.0.retain(|_, times| now.saturating_duration_since(times.last) < MAX_AGE);
    }

    fn slowest(&mut self, most: usize, now: Instant) -> Vec<SlowOrigin> {
        self.forget_old(now);
        let origins = self.0.iter().map(|(origin, times)| SlowOrigin {
            origin: origin.to_string(),
            fetches: times.fetches,
            average: times.average,
            slowest: times.slowest,
        });
        let mut origins: Vec<_> = origins.collect();
        origins.sort_by(|one, other| other.average.cmp(&one.average).then(one.origin.cmp(&other.origin)));
        origins.truncate(most);
        origins
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_have_a_class_unless_the_origin_was_not_asked() {
        let class = |result| FetchResult::of(result).map(FetchResult::name);
        for (status, expected) in [(101, "2xx"), (204, "2xx"), (304, "3xx"), (404, "4xx"), (599, "5xx")] {
            assert_eq!(class(Ok(StatusCode::from_u16(status).unwrap())), Some(expected), "{status}");
        }
        assert_eq!(class(Err(ErrorKind::Timeout)), Some("timeout"));
        assert_eq!(class(Err(ErrorKind::Unreachable)), Some("error"));
        assert_eq!(class(Err(ErrorKind::Forbidden)), None);
    }

    #[test]
    fn slowest_origins_of_the_last_hour_are_listed() {
        let (start, times) = (Instant::now(), FetchTimes::default());
        let count = |origin: &str, milliseconds, at| {
            times.count(origin, FetchResult::Success, Duration::from_millis(milliseconds), at);
        };
        count("http://a", 800, start);
        count("http://a", 0, start);
        count("http://b", 900, start);
        count("http://c", 10, start + MAX_AGE / 2);
        let a = SlowOrigin {
            origin: "http://a".to_owned(),
            fetches: 2,
            average: Duration::from_millis(700),
            slowest: Duration::from_millis(800),
        };
        let slowest = times.slowest(2, start);
        assert_eq!((slowest[0].origin.as_str(), &slowest[1], slowest.len()), ("http://b", &a, 2));
        let later = times.slowest(20, start + MAX_AGE);
        assert_eq!(later.iter().map(|origin| origin.origin.as_str()).collect::<Vec<_>>(), ["http://c"]);
        assert_eq!(times.counts()[0].cumulative().last().unwrap().1, 4);
    }

    #[test]
    fn number_of_origins_is_limited_and_slow_ones_stay() {
        let (start, times) = (Instant::now(), FetchTimes::default());
        let count = |origin: &str, milliseconds| {
            times.count(origin, FetchResult::Success, Duration::from_millis(milliseconds), start);
        };
        count("http://slow", 5000);
        (0..2 * MAX_ORIGINS).for_each(|number| count(&format!("http://{number}"), 10));
        count("http://fast", 1);
        let listed = times.slowest(usize::MAX, start);
        assert_eq!((listed.len(), listed[0].origin.as_str()), (MAX_ORIGINS, "http://slow"));
        assert!(!listed.iter().any(|origin| origin.origin == "http://fast"));
    }
}
