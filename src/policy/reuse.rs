//! May a stored response answer this request now? (RFC 9111 sections 4 and 5.2.1)

use std::time::{Duration, SystemTime};

use super::rules::Rules;
use super::validity::Validity;
use crate::header::cache_control::RequestDirectives;

/// What to do with a stored response that was selected for a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reuse {
    /// It is fresh: serve it.
    Fresh,
    /// It is stale, and the client takes it so (`max-stale`).
    StaleAccepted,
    /// It is stale, and the origin lets it be served while it is refreshed.
    StaleWhileRevalidate,
    /// Ask the origin first.
    Validate(ValidateBecause),
}

/// What asks for validation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ValidateBecause {
    /// It is stale.
    Stale,
    /// The response says `no-cache`.
    NoCache,
    /// The request says `no-cache`, or asks for more freshness than is left.
    Request,
}

/// Decides. For a request without directives and a fresh response this is two comparisons.
pub(crate) fn reuse(validity: &Validity, request: &RequestDirectives, now: SystemTime) -> Reuse {
    if validity.no_cache {
        return Reuse::Validate(ValidateBecause::NoCache);
    }
    let fresh = validity.is_fresh(now);
    if fresh && request.is_empty() {
        return Reuse::Fresh;
    }
    if request.no_cache {
        return Reuse::Validate(ValidateBecause::Request);
    }
    // RFC 8246 section 2: while an immutable response is fresh, validating it is a waste.
    let too_old =
        request.max_age.is_some_and(|max_age| validity.age(now) > max_age) && !(fresh && validity.immutable);
    let too_short = request.min_fresh.is_some_and(|min_fresh| validity.remaining(now) < min_fresh);
    if fresh && !too_short {
        return if too_old { Reuse::Validate(ValidateBecause::Request) } else { Reuse::Fresh };
    }
    if fresh || too_short || too_old {
        return Reuse::Validate(if fresh { ValidateBecause::Request } else { ValidateBecause::Stale });
    }
    if validity.must_revalidate {
        return Reuse::Validate(ValidateBecause::Stale);
    }
    let staleness = validity.staleness(now);
    if request.max_stale.is_some_and(|max_stale| staleness <= max_stale) {
        return Reuse::StaleAccepted;
    }
    if staleness < validity.stale_while_revalidate {
        return Reuse::StaleWhileRevalidate;
    }
    Reuse::Validate(ValidateBecause::Stale)
}

/// Whether it may be served although the origin was asked and failed (RFC 9111 section 4.2.4, RFC
/// 5861 section 4).
///
/// What the response says about errors counts before the operator's default; nothing counts against
/// `no-cache`, `must-revalidate`, or a client that wants no stale answer.
pub(crate) fn may_serve_on_error(
    validity: &Validity,
    request: &RequestDirectives,
    rules: &Rules,
    now: SystemTime,
) -> bool {
    let allowed = validity.stale_if_error.unwrap_or(rules.stale_on_error);
    may_serve_stale(validity, request, allowed, now)
}

/// Whether it may be served because another request is waiting for the origin already.
pub(crate) fn may_serve_in_grace(
    validity: &Validity,
    request: &RequestDirectives,
    rules: &Rules,
    now: SystemTime,
) -> bool {
    !rules.grace.is_zero() && may_serve_stale(validity, request, rules.grace, now)
}

/// Whether both sides allow it to be served stale, for so long past its freshness.
fn may_serve_stale(
    validity: &Validity,
    request: &RequestDirectives,
    allowed: Duration,
    now: SystemTime,
) -> bool {
    if validity.no_cache || validity.must_revalidate || request.no_cache || request.min_fresh.is_some() {
        return false;
    }
    // Sections 5.2.1.1 and 5.2.1.2: whoever limits the age takes nothing stale, unless saying how stale.
    if request.max_age.is_some() && request.max_stale.is_none() {
        return false;
    }
    let taken = request.max_stale.unwrap_or(Duration::MAX);
    validity.staleness(now) <= allowed.min(taken)
}

#[cfg(test)]
mod tests {
    use std::time::UNIX_EPOCH;

    use http::header::CACHE_CONTROL;
    use http::{HeaderMap, HeaderValue, StatusCode};

    use super::*;
    use crate::header::cache_control::ResponseDirectives;
    use crate::policy::{Mode, Times, validity};

    fn stored(control: &'static str) -> Validity {
        let headers: HeaderMap = [(CACHE_CONTROL, HeaderValue::from_static(control))].into_iter().collect();
        let times = Times { request: UNIX_EPOCH, response: UNIX_EPOCH };
        let directives = ResponseDirectives::of(&headers);
        validity(StatusCode::OK, &headers, &directives, times, &Rules::new(Mode::Shared))
    }

    fn request(control: &str) -> RequestDirectives {
        let headers: HeaderMap =
            [(CACHE_CONTROL, HeaderValue::from_str(control).unwrap())].into_iter().collect();
        RequestDirectives::of(&headers)
    }

    fn at(seconds: u64) -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(seconds)
    }

    /// One row a clause: what was stored, what is asked, how old it is now, the decision.
    #[test]
    fn every_clause_of_section_5_2_1() {
        use Reuse::{Fresh, StaleAccepted, StaleWhileRevalidate, Validate};
        use ValidateBecause::{NoCache, Request, Stale};
        for (response, asked, age, expected) in [
            ("max-age=10", "", 9, Fresh),
            ("max-age=10", "", 10, Validate(Stale)),
            ("max-age=10, no-cache", "", 1, Validate(NoCache)),
            ("max-age=10", "no-cache", 1, Validate(Request)),
            ("max-age=10", "max-age=5", 5, Fresh),
            ("max-age=10", "max-age=5", 6, Validate(Request)),
            ("max-age=10, immutable", "max-age=5", 6, Fresh),
            ("max-age=10, immutable", "max-age=5, max-stale", 11, Validate(Stale)),
            ("max-age=10, immutable, stale-while-revalidate=5", "max-age=5", 11, Validate(Stale)),
            ("max-age=10, immutable", "no-cache", 6, Validate(Request)),
            ("max-age=10", "min-fresh=4", 6, Fresh),
            ("max-age=10", "min-fresh=5", 6, Validate(Request)),
            ("max-age=10", "max-stale", 1000, StaleAccepted),
            ("max-age=10", "max-stale=5", 15, StaleAccepted),
            ("max-age=10", "max-stale=5", 16, Validate(Stale)),
            ("max-age=10", "max-stale=50, max-age=12", 15, Validate(Stale)),
            ("max-age=10, must-revalidate", "max-stale", 11, Validate(Stale)),
            ("max-age=10, proxy-revalidate", "max-stale", 11, Validate(Stale)),
            ("s-maxage=10", "max-stale", 11, Validate(Stale)),
            ("max-age=10, no-cache", "max-stale", 11, Validate(NoCache)),
            ("max-age=10, stale-while-revalidate=5", "", 14, StaleWhileRevalidate),
            ("max-age=10, stale-while-revalidate=5", "", 15, Validate(Stale)),
            ("max-age=10, stale-while-revalidate=5, must-revalidate", "", 11, Validate(Stale)),
            ("max-age=10, stale-while-revalidate=5", "max-age=3", 11, Validate(Stale)),
        ] {
            let decision = reuse(&stored(response), &request(asked), at(age));
            assert_eq!(decision, expected, "{response} | {asked} | {age}");
        }
    }

    #[test]
    fn stale_on_error_never_past_a_prohibition() {
        for (response, asked, age, expected) in [
            ("max-age=10", "", 11, true),
            ("max-age=10", "", 10 + 86_400, true),
            ("max-age=10", "", 11 + 86_400, false),
            ("max-age=10, stale-if-error=5", "", 15, true),
            ("max-age=10, stale-if-error=5", "", 16, false),
            ("max-age=10, must-revalidate", "", 11, false),
            ("max-age=10, proxy-revalidate", "", 11, false),
            ("s-maxage=10", "", 11, false),
            ("max-age=10, no-cache", "", 11, false),
            ("max-age=10", "no-cache", 11, false),
            ("max-age=10", "max-age=5", 11, false),
            ("max-age=10", "max-age=60", 11, false),
            ("max-age=10", "max-age=5, max-stale=60", 11, true),
            ("max-age=10", "max-stale=5", 16, false),
        ] {
            let served = may_serve_on_error(&stored(response), &request(asked), &Rules::default(), at(age));
            assert_eq!(served, expected, "{response} | {asked} | {age}");
        }
    }

    #[test]
    fn a_clock_that_went_back_makes_nothing_older() {
        let validity = Validity { response_time: at(1000), ..stored("max-age=10") };
        assert_eq!(reuse(&validity, &request(""), at(500)), Reuse::Fresh);
        assert_eq!(validity.age(at(500)), Duration::ZERO);
    }
}
