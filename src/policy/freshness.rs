//! Computes the age of a response on arrival and its freshness lifetime (RFC 9111 sections 4.2.1 and 4.2.3).

use std::time::{Duration, SystemTime};

use http::header::{AGE, DATE, EXPIRES, LAST_MODIFIED};
use http::{HeaderMap, StatusCode};

use super::heuristic;
use super::rules::Rules;
use super::validity::{LifetimeSource, Validity};
use crate::base::clock::Moment;
use crate::message::header::cache_control::{ResponseDirectives, delta_seconds};
use crate::message::header::{date, list};

/// When the request was sent and when the response was received.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ExchangeTimes {
    pub(crate) request: Moment,
    pub(crate) response: Moment,
}

/// Computes the times and flags of a response that is about to be stored.
pub(crate) fn validity(
    status: StatusCode,
    headers: &HeaderMap,
    directives: &ResponseDirectives,
    times: ExchangeTimes,
    rules: &Rules,
) -> Validity {
    let generated = date::of(headers, &DATE).unwrap_or(times.response.wall());
    let (lifetime, lifetime_source) = lifetime(status, headers, directives, generated, rules);
    let shared = rules.is_shared();
    Validity {
        response_time: times.response,
        initial_age: initial_age(headers, generated, times),
        lifetime,
        lifetime_source,
        stale_while_revalidate: directives.stale_while_revalidate.unwrap_or_default(),
        stale_if_error: directives.stale_if_error,
        // The fields that a qualified no-cache names are not stored, so they do not count here.
        no_cache: directives.no_cache,
        // Section 5.2.2.10: s-maxage implies proxy-revalidate.
        must_revalidate: directives.must_revalidate
            || (shared && (directives.proxy_revalidate || directives.s_maxage.is_some())),
        immutable: directives.immutable,
    }
}

fn lifetime(
    status: StatusCode,
    headers: &HeaderMap,
    directives: &ResponseDirectives,
    generated: SystemTime,
    rules: &Rules,
) -> (Duration, LifetimeSource) {
    if let Some(lifetime) = directives.s_maxage.filter(|_| rules.is_shared()) {
        return (lifetime, LifetimeSource::SMaxage);
    }
    if let Some(lifetime) = directives.max_age {
        return (lifetime, LifetimeSource::MaxAge);
    }
    if !directives.are_targeted && headers.contains_key(EXPIRES) {
        // An invalid Expires, in particular "0", means a time in the past (section 5.3).
        let lifetime = date::of(headers, &EXPIRES)
            .and_then(|expires| expires.duration_since(generated).ok())
            .unwrap_or_default();
        return (lifetime, LifetimeSource::Expires);
    }
    match date::of(headers, &LAST_MODIFIED) {
        Some(last_modified) if heuristic::is_allowed(status, directives) => (
            heuristic::lifetime(generated, last_modified, rules.max_heuristic_lifetime),
            LifetimeSource::Heuristic,
        ),
        _ => (Duration::ZERO, LifetimeSource::None),
    }
}

/// Returns the `corrected_initial_age` of section 4.2.3.
fn initial_age(headers: &HeaderMap, generated: SystemTime, times: ExchangeTimes) -> Duration {
    let apparent = times.response.wall().duration_since(generated).unwrap_or_default();
    let delay = times.response.since(times.request);
    let stated = age_field(headers);
    // HTTP dates have whole seconds, so the fraction of a second of the local clock must not count as age.
    Duration::from_secs(apparent.as_secs()).max(stated.saturating_add(delay))
}

/// Returns the `Age` field (section 5.1). Only its first member counts; an invalid one counts as zero.
fn age_field(headers: &HeaderMap) -> Duration {
    list::members_of(headers, &AGE).next().and_then(delta_seconds).unwrap_or_default()
}

#[cfg(test)]
mod tests;
