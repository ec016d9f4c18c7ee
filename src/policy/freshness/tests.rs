use std::time::UNIX_EPOCH;

use http::HeaderValue;
use proptest::prelude::*;

use super::*;
use crate::message::header::cache_control::MAX_DELTA_SECONDS;
use crate::policy::Mode;

const NOW: u64 = 784_111_777;

fn at(seconds: u64) -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(seconds)
}

fn headers(fields: &[(&'static str, &str)]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in fields {
        headers.append(*name, HeaderValue::from_str(value).unwrap());
    }
    headers
}

fn of(mode: Mode, fields: &[(&'static str, &str)]) -> Validity {
    let headers = headers(fields);
    let times = ExchangeTimes { request: at(NOW - 2).into(), response: at(NOW).into() };
    validity(StatusCode::OK, &headers, &ResponseDirectives::of(&headers), times, &Rules::new(mode))
}

/// The columns: fields, then lifetime and source in private mode and in shared mode.
#[test]
fn the_lifetime_follows_section_4_2_1() {
    use LifetimeSource::{Expires, Heuristic, MaxAge, None, SMaxage};
    const DATE: (&str, &str) = ("date", "Sun, 06 Nov 1994 08:49:37 GMT");
    let rows: &[(&[(&'static str, &str)], _, _)] = &[
        (&[("cache-control", "s-maxage=1, max-age=2"), ("expires", "0")], (2, MaxAge), (1, SMaxage)),
        (&[("cache-control", "max-age=2"), ("expires", "0")], (2, MaxAge), (2, MaxAge)),
        (&[DATE, ("expires", "Sun, 06 Nov 1994 08:49:40 GMT")], (3, Expires), (3, Expires)),
        (&[DATE, ("expires", "Sun, 06 Nov 1994 08:49:30 GMT")], (0, Expires), (0, Expires)),
        (&[DATE, ("expires", "THU, 06 NOV 1994 08:49:40 gmt")], (3, Expires), (3, Expires)),
        (&[DATE, ("expires", "Thu Nov  6 08:49:40 1994")], (3, Expires), (3, Expires)),
        (&[DATE, ("expires", "Sun, 06 Nov 1994 08:49:40 UTC")], (0, Expires), (0, Expires)),
        (&[("last-modified", "yesterday")], (0, None), (0, None)),
        (&[("expires", "0")], (0, Expires), (0, Expires)),
        (&[("expires", "Sun, 06 Nov 1994 08:49:40 GMT")], (3, Expires), (3, Expires)),
        (&[DATE, ("last-modified", "Sun, 06 Nov 1994 08:48:37 GMT")], (6, Heuristic), (6, Heuristic)),
        (&[], (0, None), (0, None)),
    ];
    for (fields, private, shared) in rows {
        for (mode, (seconds, source)) in [(Mode::Private, private), (Mode::Shared, shared)] {
            let validity = of(mode, fields);
            assert_eq!(validity.lifetime.as_secs(), *seconds, "{fields:?} {mode:?}");
            assert_eq!(validity.lifetime_source, *source, "{fields:?} {mode:?}");
        }
    }
}

#[test]
fn the_initial_age_follows_section_4_2_3() {
    for (fields, age) in [
        (&[][..], 2),
        (&[("age", "30")], 32),
        (&[("date", "Sun, 06 Nov 1994 08:48:37 GMT")], 60),
        (&[("date", "Sun, 06 Nov 1994 09:49:37 GMT")], 2),
        (&[("age", "7200, 0")], 7202),
        (&[("age", "0, 7200")], 2),
        (&[("age", "7200"), ("age", "0")], 7202),
        (&[("age", "0"), ("age", "7200")], 2),
        (&[("age", "0, 0")], 2),
        (&[("age", "0"), ("age", "0")], 2),
        (&[("age", "3600, 3600")], 3602),
        (&[("age", "abc")], 2),
        (&[("age", "abc, 7200")], 2),
        (&[("age", "-1")], 2),
        (&[("age", "3.5")], 2),
        (&[("age", "7200.0")], 2),
        (&[("age", "7200;a=b")], 2),
        (&[("age", "")], 2),
        (&[("date", "nonsense")], 2),
        (&[("age", "18446744073709551615")], MAX_DELTA_SECONDS + 2),
    ] {
        assert_eq!(of(Mode::Private, fields).initial_age.as_secs(), age, "{fields:?}");
    }
}

#[test]
fn the_directives_against_stale_responses_depend_on_the_mode() {
    for (field, private, shared) in [
        ("max-age=1", false, false),
        ("must-revalidate", true, true),
        ("proxy-revalidate", false, true),
        ("s-maxage=1", false, true),
    ] {
        assert_eq!(of(Mode::Private, &[("cache-control", field)]).must_revalidate, private, "{field}");
        assert_eq!(of(Mode::Shared, &[("cache-control", field)]).must_revalidate, shared, "{field}");
    }
    assert!(!of(Mode::Private, &[("cache-control", "no-cache=\"set-cookie\"")]).no_cache);
}

proptest! {
    #[test]
    fn no_field_makes_the_computation_panic(age in ".{0,30}", control in ".{0,60}", expires in ".{0,30}") {
        let fields: HeaderMap = [(AGE, age), (http::header::CACHE_CONTROL, control), (EXPIRES, expires)]
            .into_iter()
            .filter_map(|(name, value)| Some((name, HeaderValue::from_str(&value).ok()?)))
            .collect();
        let times = ExchangeTimes { request: at(NOW).into(), response: at(NOW).into() };
        for mode in [Mode::Private, Mode::Shared] {
            let directives = ResponseDirectives::of(&fields);
            let validity = validity(StatusCode::OK, &fields, &directives, times, &Rules::new(mode));
            let _ = (validity.age(at(u32::MAX.into())), validity.remaining(UNIX_EPOCH));
        }
    }
}
