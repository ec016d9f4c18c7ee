use std::time::{SystemTime, UNIX_EPOCH};

use http::header::{AGE, CACHE_CONTROL};
use http::{HeaderMap, StatusCode};

use super::*;
use crate::message::header::cache_control::{RequestDirectives, ResponseDirectives};
use crate::policy::{Mode, may_serve_on_error, validity};

fn at(seconds: u64) -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(seconds)
}

fn limited(control: &str, ttl: u64, longest: u64) -> Validity {
    let mut headers = HeaderMap::new();
    headers.insert(CACHE_CONTROL, control.parse().unwrap());
    headers.insert(AGE, 30.into());
    let (times, rules) = (ExchangeTimes { request: at(99).into(), response: at(100).into() }, rules());
    let directives = ResponseDirectives::of(&headers);
    let mut validity = validity(StatusCode::OK, &headers, &directives, times, &rules);
    NearRules { longest: Duration::from_secs(longest) }.limit(
        &mut validity,
        Duration::from_secs(ttl),
        times,
        &rules,
    );
    validity
}

fn rules() -> Rules {
    Rules { stale_if_error: Duration::ZERO, ..Rules::new(Mode::Shared) }
}

/// Each row: the origin's Cache-Control, the owner's `ttl`, and the longest time without asking; then until when the
/// response is fresh, and until when it is served if the owner cannot be asked.
#[test]
fn freshness_follows_the_owners_ttl() {
    for (control, ttl, longest, fresh_until, served_until) in [
        // The exchange took a second.
        ("max-age=600", 20, 60, 119, 119),
        // The owner stores the response for less, or for more, time than the fields specify.
        ("s-maxage=6000, max-age=600", 20, 60, 119, 118),
        ("max-age=5", 20, 60, 119, 119),
        ("max-age=600", 50, 10, 110, 149),
        ("max-age=600, must-revalidate", 50, 10, 110, 148),
        ("s-maxage=600", 50, 10, 110, 148),
        ("max-age=600, stale-if-error=7", 20, 60, 119, 126),
        ("max-age=600, stale-if-error=7", 50, 10, 110, 156),
        ("max-age=600, stale-while-revalidate=7", 20, 60, 119, 119),
        ("max-age=600", 1, 60, 100, 100),
    ] {
        let validity = limited(control, ttl, longest);
        let is_fresh = |seconds: u64| validity.is_fresh(at(seconds));
        assert!(is_fresh(fresh_until - 1) || fresh_until == 100, "{control} {ttl} {longest}");
        assert!(!is_fresh(fresh_until), "{control} {ttl} {longest}");
        let is_served = |seconds| {
            let (asked, rules) = (RequestDirectives::default(), rules());
            is_fresh(seconds) || may_serve_on_error(StatusCode::OK, &validity, &asked, &rules, at(seconds))
        };
        assert!(is_served(served_until), "{control} {ttl} {longest}");
        assert!(!is_served(served_until + 1), "{control} {ttl} {longest}");
        assert!(validity.stale_while_revalidate.is_zero());
        assert_eq!(
            validity.age(at(100)),
            Duration::from_secs(31),
            "the owner's age plus the duration of the exchange"
        );
    }
}

#[test]
fn no_cache_prohibits_use_without_validation() {
    let validity = limited("max-age=600, no-cache", 50, 10);
    assert!(validity.no_cache);
    let asked = RequestDirectives::default();
    assert!(!may_serve_on_error(StatusCode::OK, &validity, &asked, &rules(), at(105)));
}
