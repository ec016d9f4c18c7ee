use std::time::UNIX_EPOCH;

use http::header::CACHE_CONTROL;
use http::{HeaderMap, HeaderValue, StatusCode};

use super::*;
use crate::policy::{ExchangeTimes, Lifetime, validity};

const HOUR: Duration = Duration::from_secs(3600);

fn applied(control: &'static str, rule: Option<Lifetime>, rules: &Rules, chance: u64) -> Validity {
    let headers: HeaderMap = [(CACHE_CONTROL, HeaderValue::from_static(control))].into_iter().collect();
    let directives = ResponseDirectives::of(&headers);
    let times = ExchangeTimes { request: UNIX_EPOCH.into(), response: UNIX_EPOCH.into() };
    let mut validity = validity(StatusCode::OK, &headers, &directives, times, rules);
    apply_rules(&mut validity, &directives, rule.map(LifetimeRule::new).as_ref(), rules, chance);
    validity
}

#[test]
fn stale_while_revalidate_has_a_default_for_responses_that_were_fresh() {
    let rules = Rules { stale_while_revalidate: HOUR, ..Rules::default() };
    for (control, rule, expected) in [
        ("max-age=10", None, HOUR),
        ("max-age=10, stale-while-revalidate=5", None, Duration::from_secs(5)),
        ("max-age=10, stale-while-revalidate=0", None, Duration::ZERO),
        ("max-age=0", None, Duration::ZERO),
        ("max-age=0", Some(Lifetime::AtLeast(HOUR)), HOUR),
        ("max-age=10", Some(Lifetime::Exactly(Duration::ZERO)), Duration::ZERO),
    ] {
        assert_eq!(applied(control, rule, &rules, 0).stale_while_revalidate, expected, "{control} {rule:?}");
    }
}

#[test]
fn jitter_shortens_lifetimes_by_at_most_its_percentage() {
    let rules = Rules { jitter: 10, ..Rules::default() };
    let lifetimes: Vec<_> =
        (0..1024).map(|chance| applied("max-age=3600", None, &rules, chance).lifetime).collect();
    assert_eq!(lifetimes[0], HOUR);
    assert!(lifetimes.iter().all(|lifetime| (HOUR * 9 / 10..=HOUR).contains(lifetime)));
    assert!(lifetimes[1023] < HOUR * 901 / 1000);
    assert_eq!(applied("max-age=3600", None, &Rules::default(), 1000).lifetime, HOUR);
}

#[test]
fn a_response_is_due_early_in_the_last_part_of_its_lifetime() {
    let validity = applied("max-age=100", None, &Rules::default(), 0);
    let is_due = |percent, age| is_due_early(&validity, percent, UNIX_EPOCH + Duration::from_secs(age));
    assert!(!is_due(0, 99) && !is_due(10, 90) && is_due(10, 91) && is_due(100, 1));
}
