use std::time::{SystemTime, UNIX_EPOCH};

use http::header::CACHE_CONTROL;
use http::{HeaderMap, HeaderValue};

use super::*;
use crate::message::header::cache_control::ResponseDirectives;
use crate::policy::{ExchangeTimes, Mode, validity};

fn stored(control: &'static str) -> Validity {
    let headers: HeaderMap = [(CACHE_CONTROL, HeaderValue::from_static(control))].into_iter().collect();
    let times = ExchangeTimes { request: UNIX_EPOCH.into(), response: UNIX_EPOCH.into() };
    let directives = ResponseDirectives::of(&headers);
    validity(StatusCode::OK, &headers, &directives, times, &Rules::new(Mode::Shared))
}

fn request(control: &str) -> RequestDirectives {
    let headers: HeaderMap = [(CACHE_CONTROL, HeaderValue::from_str(control).unwrap())].into_iter().collect();
    RequestDirectives::of(&headers)
}

fn at(seconds: u64) -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(seconds)
}

/// The columns: the response's directives, the request's directives, the age, and the decision.
#[test]
fn each_clause_of_section_5_2_1_holds() {
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
fn a_stale_response_is_served_on_error_unless_a_directive_forbids_it() {
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
fn a_stale_response_is_served_offline_unless_a_directive_forbids_it() {
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
fn a_clock_that_is_set_back_makes_no_response_older() {
    let validity = Validity { response_time: at(1000).into(), ..stored("max-age=10") };
    assert_eq!(reuse(&validity, &request(""), at(500)), Reuse::Fresh);
    assert_eq!(validity.age(at(500)), Duration::ZERO);
}

#[test]
fn age_is_the_greater_of_both_clocks() {
    let moment = |wall: u64, steady: u64| Moment::new(at(wall), Some(Duration::from_secs(steady)));
    let validity = Validity { response_time: moment(10_000, 50), ..stored("max-age=60") };
    for (wall, steady, age) in [
        (10_010, 60, 10),
        // The system clock was set back by an hour, or the machine slept.
        (10_070 - 3600, 120, 70),
        (10_070, 51, 70),
    ] {
        assert_eq!(validity.age(moment(wall, steady)), Duration::from_secs(age));
        assert_eq!(validity.is_fresh(moment(wall, steady)), age < 60);
    }
    // A response that another process stored has no monotonic time that is comparable here.
    let of_another = Validity { response_time: at(10_000).into(), ..validity };
    assert_eq!(of_another.age(moment(10_070 - 3600, 120)), Duration::ZERO);
}
