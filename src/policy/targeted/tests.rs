use std::time::{Duration, SystemTime};

use http::{HeaderValue, Method, StatusCode};

use super::*;
use crate::message::header::cache_control::RequestDirectives;
use crate::policy::{ExchangeTimes, LifetimeSource, Mode, NotStored, StoringRequest, may_store, validity};

type Verdict = Result<(u64, LifetimeSource), &'static str>;

/// Returns for how long a 302 with these fields is fresh, or why it is not stored.
fn verdict(mode: Mode, fields: &[(&'static str, &'static str)]) -> Verdict {
    let mut headers = HeaderMap::new();
    for (name, value) in fields {
        headers.append(*name, HeaderValue::from_static(value));
    }
    let rules = Rules::new(mode);
    let directives = response_directives(&headers, &rules);
    let request = StoringRequest {
        method: &Method::GET,
        headers: &HeaderMap::new(),
        directives: &RequestDirectives::default(),
    };
    may_store(request, StatusCode::FOUND, &headers, &directives, &rules).map_err(NotStored::name)?;
    let now = SystemTime::UNIX_EPOCH + Duration::from_secs(784_111_777);
    let times = ExchangeTimes { request: now.into(), response: now.into() };
    let validity = validity(StatusCode::FOUND, &headers, &directives, times, &rules);
    Ok((validity.lifetime.as_secs(), validity.lifetime_source))
}

#[test]
fn each_clause_of_the_rfc_holds_in_shared_mode() {
    use LifetimeSource::{Expires, MaxAge, SMaxage};
    type Fields = &'static [(&'static str, &'static str)];
    const IN_3_SECONDS: (&str, &str) = ("expires", "Sun, 06 Nov 1994 08:49:40 GMT");
    const FALLBACK: (&str, &str) = ("cache-control", "max-age=7");
    let rows: &[(&str, Fields, Verdict)] = &[
        (
            "3.1: replaces Cache-Control",
            &[("cache-control", "max-age=60, s-maxage=120"), ("cdn-cache-control", "max-age=600")],
            Ok((600, MaxAge)),
        ),
        (
            "3.1: replaces no-store of Cache-Control",
            &[("cdn-cache-control", "max-age=600"), ("cache-control", "no-store, private")],
            Ok((600, MaxAge)),
        ),
        (
            "3.1: an unknown directive replaces it too",
            &[("cache-control", "max-age=60"), ("cdn-cache-control", "none")],
            Err("no-lifetime"),
        ),
        ("2.2: replaces Expires", &[IN_3_SECONDS, ("cdn-cache-control", "none")], Err("no-lifetime")),
        (
            "2.2: Expires gives no lifetime next to it",
            &[IN_3_SECONDS, ("cdn-cache-control", "public")],
            Ok((0, LifetimeSource::None)),
        ),
        ("2.2: without it, Expires counts", &[IN_3_SECONDS], Ok((3, Expires))),
        ("2.1: empty", &[FALLBACK, ("cdn-cache-control", "")], Ok((7, MaxAge))),
        ("2.1: only whitespace", &[FALLBACK, ("cdn-cache-control", "  ")], Ok((7, MaxAge))),
        ("2.1: invalid dictionary", &[FALLBACK, ("cdn-cache-control", "max-age=600, &&&")], Ok((7, MaxAge))),
        ("2.1: upper case", &[FALLBACK, ("cdn-cache-control", "Max-Age=600")], Ok((7, MaxAge))),
        ("2.1: invalid next to Expires", &[IN_3_SECONDS, ("cdn-cache-control", "a b")], Ok((3, Expires))),
        (
            "2.1: one invalid line of several",
            &[FALLBACK, ("cdn-cache-control", "max-age=600"), ("cdn-cache-control", "no store")],
            Ok((7, MaxAge)),
        ),
        (
            "2.1: several lines are one field",
            &[FALLBACK, ("cdn-cache-control", "max-age=600"), ("cdn-cache-control", "no-store")],
            Err("no-store"),
        ),
        ("2.1: parameters", &[("cdn-cache-control", "max-age=600;a=1, foo")], Ok((600, MaxAge))),
        ("8941 4.2.2: the last wins", &[("cdn-cache-control", "max-age=1, max-age=600")], Ok((600, MaxAge))),
        ("2.1: a string", &[FALLBACK, ("cdn-cache-control", "max-age=\"600\"")], Ok((0, MaxAge))),
        ("2.1: a decimal", &[FALLBACK, ("cdn-cache-control", "max-age=600.0")], Ok((0, MaxAge))),
        ("2.1: a token", &[FALLBACK, ("cdn-cache-control", "max-age=a600")], Ok((0, MaxAge))),
        ("2.1: no value", &[FALLBACK, ("cdn-cache-control", "max-age")], Ok((0, MaxAge))),
        ("9111 1.2.2: negative", &[FALLBACK, ("cdn-cache-control", "max-age=-600")], Ok((0, MaxAge))),
        ("9111 1.2.2: large", &[("cdn-cache-control", "max-age=999999999999999")], Ok((1 << 31, MaxAge))),
        ("2.2: no-store", &[FALLBACK, ("cdn-cache-control", "max-age=600, no-store")], Err("no-store")),
        ("2.2: private", &[FALLBACK, ("cdn-cache-control", "max-age=600, private")], Err("private")),
        ("2.1: private=?0", &[FALLBACK, ("cdn-cache-control", "max-age=6, private=?0")], Err("private")),
        ("2.1: private=x", &[FALLBACK, ("cdn-cache-control", "max-age=6, private=x")], Err("private")),
        (
            "9111 5.2.2.7: private for one field",
            &[("cdn-cache-control", "max-age=6, private=\"x-a\"")],
            Ok((6, MaxAge)),
        ),
        ("2.1: public=?0", &[("cdn-cache-control", "public=?0")], Err("no-lifetime")),
        ("2.2: public", &[("cdn-cache-control", "public")], Ok((0, LifetimeSource::None))),
        ("2.2: s-maxage", &[("cdn-cache-control", "max-age=1, s-maxage=2")], Ok((2, SMaxage))),
        ("2.2: fields of other CDNs", &[FALLBACK, ("examplecdn-cache-control", "no-store")], Ok((7, MaxAge))),
    ];
    for (clause, fields, expected) in rows {
        assert_eq!(verdict(Mode::Shared, fields), *expected, "{clause}");
    }
}

#[test]
fn a_private_cache_ignores_cdn_cache_control() {
    let fields = [("cache-control", "max-age=7"), ("cdn-cache-control", "no-store")];
    assert_eq!(verdict(Mode::Private, &fields), Ok((7, LifetimeSource::MaxAge)));
    let fields = [("cache-control", "no-store"), ("cdn-cache-control", "max-age=7")];
    assert_eq!(verdict(Mode::Private, &fields), Err("no-store"));
}

#[test]
fn reuse_follows_cdn_cache_control() {
    for (control, no_cache, must_revalidate) in
        [("max-age=1", false, false), ("no-cache, must-revalidate", true, true), ("no-cache=1", true, false)]
    {
        let mut headers = HeaderMap::new();
        headers.insert("cache-control", HeaderValue::from_static("no-cache, must-revalidate"));
        headers.insert(CDN_CACHE_CONTROL, HeaderValue::from_static(control));
        let directives = response_directives(&headers, &Rules::new(Mode::Shared));
        assert_eq!(
            (directives.no_cache, directives.must_revalidate),
            (no_cache, must_revalidate),
            "{control}"
        );
    }
}
