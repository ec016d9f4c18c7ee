//! May a stored response answer this request now? (RFC 9111 sections 4 and 5.2.1)

use std::time::Duration;

use http::StatusCode;

use super::rules::Rules;
use super::validity::Validity;
use crate::base::clock::Moment;
use crate::message::header::cache_control::RequestDirectives;

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
    NoByteStore,
    /// The request says `no-cache`, or asks for more freshness than is left.
    Request,
}

/// Decides. For a request without directives and a fresh response this is two comparisons.
pub(crate) fn reuse(validity: &Validity, request: &RequestDirectives, now: impl Into<Moment>) -> Reuse {
    let now = now.into();
    if validity.no_cache {
        return Reuse::Validate(ValidateBecause::NoByteStore);
    }
    let fresh = validity.is_fresh(now);
    if fresh && request.is_empty() {
        return Reuse::Fresh;
    }
    if request.no_cache {
        return Reuse::Validate(ValidateBecause::Request);
    }
    if fresh {
        // RFC 8246 section 2: while an immutable response is fresh, validating it is a waste.
        let too_old = is_too_old(validity, request, now) && !validity.immutable;
        return if is_fresh_too_shortly(validity, request, now) || too_old {
            Reuse::Validate(ValidateBecause::Request)
        } else {
            Reuse::Fresh
        };
    }
    if validity.must_revalidate || !takes_stale(validity, request, now) {
        return Reuse::Validate(ValidateBecause::Stale);
    }
    if request.max_stale.is_some() {
        return Reuse::StaleAccepted;
    }
    if validity.staleness(now) < validity.stale_while_revalidate {
        return Reuse::StaleWhileRevalidate;
    }
    Reuse::Validate(ValidateBecause::Stale)
}

/// Whether this request takes the response as stale as it is now (RFC 9111 section 5.2.1). Every way of serving what is
/// stale asks this.
///
/// A request that limits the age or wants some freshness takes nothing stale, unless it says how stale.
fn takes_stale(validity: &Validity, request: &RequestDirectives, now: Moment) -> bool {
    let wants_fresh = request.max_age.is_some() || request.min_fresh.is_some();
    let limit = request.max_stale.or((!wants_fresh).then_some(Duration::MAX));
    !request.no_cache
        && !is_fresh_too_shortly(validity, request, now)
        && !is_too_old(validity, request, now)
        && limit.is_some_and(|limit| validity.staleness(now) <= limit)
}

fn is_fresh_too_shortly(validity: &Validity, request: &RequestDirectives, now: Moment) -> bool {
    request.min_fresh.is_some_and(|min_fresh| validity.remaining(now) < min_fresh)
}

fn is_too_old(validity: &Validity, request: &RequestDirectives, now: Moment) -> bool {
    request.max_age.is_some_and(|max_age| validity.age(now) > max_age)
}

/// Whether a response with this status may be served although the origin was asked and failed (RFC 9111 section 4.2.4,
/// RFC 5861 section 4).
///
/// What the request says about errors counts before what the response says, and that before the operator's default;
/// nothing counts against `no-cache`, `must-revalidate`, or a client that wants no stale answer. An error of the origin
/// never takes the place of a newer one.
pub(crate) fn may_serve_on_error(
    status: StatusCode,
    validity: &Validity,
    request: &RequestDirectives,
    rules: &Rules,
    now: impl Into<Moment>,
) -> bool {
    let now = now.into();
    if validity.no_cache || validity.must_revalidate || status.is_server_error() {
        return false;
    }
    if let Some(limit) = request.stale_if_error {
        return validity.staleness(now) <= limit;
    }
    takes_stale(validity, request, now)
        && validity.staleness(now) <= validity.stale_if_error.unwrap_or(rules.stale_on_error)
}

/// Whether it may be served because nobody can be asked (RFC 9111 section 4.2.4).
pub(crate) fn may_serve_offline(
    validity: &Validity,
    request: &RequestDirectives,
    now: impl Into<Moment>,
) -> bool {
    !validity.no_cache && !validity.must_revalidate && takes_stale(validity, request, now.into())
}

/// Whether it may be served because another request is waiting for the origin already.
pub(crate) fn may_serve_in_grace(
    validity: &Validity,
    request: &RequestDirectives,
    rules: &Rules,
    now: impl Into<Moment>,
) -> bool {
    let now = now.into();
    !rules.grace.is_zero()
        && validity.staleness(now) <= rules.grace
        && may_serve_offline(validity, request, now)
}

#[cfg(test)]
mod tests {
    use std::time::{SystemTime, UNIX_EPOCH};

    use http::header::CACHE_CONTROL;
    use http::{HeaderMap, HeaderValue};

    use super::*;
    use crate::message::header::cache_control::ResponseDirectives;
    use crate::policy::{Mode, Times, validity};

    fn stored(control: &'static str) -> Validity {
        let headers: HeaderMap = [(CACHE_CONTROL, HeaderValue::from_static(control))].into_iter().collect();
        let times = Times { request: UNIX_EPOCH.into(), response: UNIX_EPOCH.into() };
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
        use ValidateBecause::{NoByteStore, Request, Stale};
        for (response, asked, age, expected) in [
            ("max-age=10", "", 9, Fresh),
            ("max-age=10", "", 10, Validate(Stale)),
            ("max-age=10, no-cache", "", 1, Validate(NoByteStore)),
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
            ("max-age=10, no-cache", "max-stale", 11, Validate(NoByteStore)),
            ("max-age=10, stale-while-revalidate=5", "", 14, StaleWhileRevalidate),
            ("max-age=10, stale-while-revalidate=5", "", 15, Validate(Stale)),
            ("max-age=10, stale-while-revalidate=5, must-revalidate", "", 11, Validate(Stale)),
            ("max-age=10, stale-while-revalidate=5", "max-age=3", 11, Validate(Stale)),
            ("max-age=10, stale-while-revalidate=5", "max-age=30", 12, Validate(Stale)),
            ("max-age=10, stale-while-revalidate=5", "max-stale=0", 12, Validate(Stale)),
            ("max-age=10, stale-while-revalidate=5", "max-stale=1", 12, Validate(Stale)),
            ("max-age=10, stale-while-revalidate=5", "max-stale=3", 12, StaleAccepted),
            ("max-age=10, stale-while-revalidate=5", "max-age=30, max-stale=3", 12, StaleAccepted),
            ("max-age=10, stale-while-revalidate=5", "min-fresh=0", 12, Validate(Stale)),
            ("max-age=10, stale-while-revalidate=5", "min-fresh=1, max-stale", 12, Validate(Stale)),
            ("max-age=10, stale-while-revalidate=5", "stale-if-error=60", 12, StaleWhileRevalidate),
            ("max-age=10", "stale-if-error=60", 12, Validate(Stale)),
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
            ("max-age=10", "max-age=5, max-stale=60", 11, false),
            ("max-age=10", "max-age=60, max-stale=60", 11, true),
            ("max-age=10", "max-stale=5", 16, false),
            ("max-age=10", "max-stale=0", 11, false),
            ("max-age=10", "min-fresh=0", 11, false),
            ("max-age=10", "stale-if-error=5", 15, true),
            ("max-age=10", "stale-if-error=5", 16, false),
            ("max-age=10", "stale-if-error=0", 11, false),
            ("max-age=10", "stale-if-error", 11 + 86_400, true),
            ("max-age=10", "no-cache, stale-if-error=5", 11, true),
            ("max-age=10", "max-age=0, stale-if-error=5", 11, true),
            ("max-age=10, stale-if-error=5", "stale-if-error=60", 40, true),
            ("max-age=10, must-revalidate", "stale-if-error=60", 11, false),
            ("max-age=10, no-cache", "stale-if-error=60", 11, false),
        ] {
            let (validity, asked) = (stored(response), request(asked));
            let served = |status| may_serve_on_error(status, &validity, &asked, &Rules::default(), at(age));
            assert_eq!(served(StatusCode::OK), expected, "{response} | {asked:?} | {age}");
            assert!(!served(StatusCode::SERVICE_UNAVAILABLE));
        }
    }

    #[test]
    fn offline_neither_side_may_forbid_it() {
        for (response, asked, age, expected) in [
            ("max-age=10", "", 10_000_000, true),
            ("max-age=10, must-revalidate", "", 11, false),
            ("max-age=10, no-cache", "", 11, false),
            ("max-age=10", "no-cache", 11, false),
            ("max-age=10", "max-age=60", 11, false),
            ("max-age=10", "max-stale=0", 11, false),
            ("max-age=10", "max-stale=5", 15, true),
            ("max-age=10", "max-stale=5", 16, false),
            ("max-age=10", "min-fresh=1", 11, false),
        ] {
            let served = may_serve_offline(&stored(response), &request(asked), at(age));
            assert_eq!(served, expected, "{response} | {asked} | {age}");
        }
    }

    #[test]
    fn a_clock_that_went_back_makes_nothing_older() {
        let validity = Validity { response_time: at(1000).into(), ..stored("max-age=10") };
        assert_eq!(reuse(&validity, &request(""), at(500)), Reuse::Fresh);
        assert_eq!(validity.age(at(500)), Duration::ZERO);
    }

    #[test]
    fn age_is_the_greater_of_what_both_clocks_say() {
        let moment = |wall: u64, steady: u64| Moment::new(at(wall), Some(Duration::from_secs(steady)));
        let validity = Validity { response_time: moment(10_000, 50), ..stored("max-age=60") };
        for (wall, steady, age) in [
            (10_010, 60, 10),
            // The system's clock was set back by an hour, or the machine slept.
            (10_070 - 3600, 120, 70),
            (10_070, 51, 70),
        ] {
            assert_eq!(validity.age(moment(wall, steady)), Duration::from_secs(age));
            assert_eq!(validity.is_fresh(moment(wall, steady)), age < 60);
        }
        // What another process stored has no steady time that means something here.
        let of_another = Validity { response_time: at(10_000).into(), ..validity };
        assert_eq!(of_another.age(moment(10_070 - 3600, 120)), Duration::ZERO);
    }
}
