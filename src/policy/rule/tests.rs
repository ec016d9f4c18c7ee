use std::time::{Duration, UNIX_EPOCH};

use http::header::CACHE_CONTROL;
use http::{HeaderMap, HeaderValue, StatusCode};

use super::*;
use crate::policy::{ExchangeTimes, Mode, reuse, validity};

fn rule(response: &'static str, request: &str, age: u64, mode: Mode) -> Rule {
    let fields = |text: &str| -> HeaderMap {
        [(CACHE_CONTROL, HeaderValue::from_str(text).unwrap())].into_iter().collect()
    };
    let (headers, rules) = (fields(response), Rules::new(mode));
    let said = ResponseDirectives::of(&headers);
    let times = ExchangeTimes { request: UNIX_EPOCH.into(), response: UNIX_EPOCH.into() };
    let validity = validity(StatusCode::OK, &headers, &said, times, &rules);
    let (asked, now) = (RequestDirectives::of(&fields(request)), UNIX_EPOCH + Duration::from_secs(age));
    let decision = reuse(&validity, &asked, now);
    Rule::behind(decision, &validity, &Flag::of(&validity, &said, &rules), &asked, now)
}

#[test]
fn each_decision_has_its_rule() {
    for (response, request, age, expected, section) in [
        ("max-age=10", "", 9, Rule::Fresh, "4.2"),
        ("max-age=10", "", 10, Rule::Stale, "4.2.4"),
        ("max-age=10, no-cache", "max-stale", 11, Rule::Response(Flag::NoCache), "5.2.2.4"),
        ("max-age=10, no-cache", "no-cache", 1, Rule::Response(Flag::NoCache), "5.2.2.4"),
        ("max-age=10", "no-cache", 20, Rule::RequestNoCache, "5.2.1.4"),
        ("max-age=10", "max-age=5", 6, Rule::RequestMaxAge, "5.2.1.1"),
        ("max-age=10, immutable", "max-age=5", 6, Rule::Immutable, "2"),
        ("max-age=10", "min-fresh=5, max-age=1", 6, Rule::RequestMinFresh, "5.2.1.3"),
        ("max-age=10", "max-stale=5", 15, Rule::RequestMaxStale, "5.2.1.2"),
        ("max-age=10", "max-stale=5", 16, Rule::Stale, "4.2.4"),
        ("max-age=10, must-revalidate", "max-stale", 11, Rule::Response(Flag::MustRevalidate), "5.2.2.2"),
        ("max-age=10, stale-while-revalidate=5", "", 11, Rule::StaleWhileRevalidate, "3"),
    ] {
        let found = rule(response, request, age, Mode::Private);
        assert_eq!(found, expected, "{response} | {request} | {age}");
        assert!(found.clause().ends_with(&format!("section {section}")), "{found}: {}", found.clause());
    }
}

#[test]
fn shared_mode_has_its_own_directives_against_stale_responses() {
    for (response, shared, section) in [
        ("max-age=1, proxy-revalidate", Flag::ProxyRevalidate, "5.2.2.8"),
        ("max-age=1, s-maxage=1", Flag::SMaxage, "5.2.2.10"),
    ] {
        let found = rule(response, "", 2, Mode::Shared);
        assert_eq!(found, Rule::Response(shared));
        assert!(found.clause().ends_with(section));
        assert_eq!(rule(response, "", 2, Mode::Private), Rule::Stale);
    }
}
