use http::HeaderValue;

use super::*;
use crate::policy::Mode;

fn verdict(mode: Mode, request: &[(&str, &str)], status: u16, response: &[(&str, &str)]) -> &'static str {
    let map = |fields: &[(&str, &str)]| -> HeaderMap {
        fields
            .iter()
            .map(|(name, value)| (name.parse().unwrap(), HeaderValue::from_str(value).unwrap()))
            .collect::<Vec<(HeaderName, HeaderValue)>>()
            .into_iter()
            .fold(HeaderMap::new(), |mut map, (name, value)| {
                map.append(name, value);
                map
            })
    };
    let (request, response) = (map(request), map(response));
    may_store(
        Request { method: &Method::GET, headers: &request, directives: &RequestDirectives::of(&request) },
        StatusCode::from_u16(status).unwrap(),
        &response,
        &ResponseDirectives::of(&response),
        &Rules::new(mode),
    )
    .map_or_else(NotStored::name, |()| "stored")
}

/// The columns: request fields, status, response fields, the result in private mode, and in shared mode.
#[test]
fn each_clause_of_section_3_holds() {
    type Fields = &'static [(&'static str, &'static str)];
    let rows: &[(&str, Fields, u16, Fields, &str, &str)] = &[
        ("3: heuristically cacheable status", &[], 200, &[], "stored", "stored"),
        ("3: status without a heuristic", &[], 302, &[], "no-lifetime", "no-lifetime"),
        ("3: explicit lifetime", &[], 302, &[("cache-control", "max-age=1")], "stored", "stored"),
        ("3: unknown status", &[], 599, &[("expires", "0")], "stored", "stored"),
        ("3: public", &[], 500, &[("cache-control", "public")], "stored", "stored"),
        (
            "3: s-maxage counts only in shared caches",
            &[],
            302,
            &[("cache-control", "s-maxage=1")],
            "no-lifetime",
            "stored",
        ),
        (
            "3: private allows storing without a lifetime",
            &[],
            302,
            &[("cache-control", "private")],
            "stored",
            "private",
        ),
        ("3.3: unsatisfiable range", &[], 416, &[("cache-control", "max-age=1")], "not-whole", "not-whole"),
        ("3.3: partial", &[], 206, &[("cache-control", "max-age=1")], "not-whole", "not-whole"),
        ("RFC 3229: a delta", &[], 226, &[("cache-control", "max-age=1")], "not-whole", "not-whole"),
        (
            "3.5: credentials",
            &[("authorization", "x")],
            200,
            &[("cache-control", "max-age=1")],
            "stored",
            "authorization",
        ),
        ("3.5: public", &[("authorization", "x")], 200, &[("cache-control", "public")], "stored", "stored"),
        (
            "3.5: s-maxage",
            &[("authorization", "x")],
            200,
            &[("cache-control", "s-maxage=1")],
            "stored",
            "stored",
        ),
        (
            "3.5: must-revalidate",
            &[("authorization", "x")],
            200,
            &[("cache-control", "must-revalidate")],
            "stored",
            "stored",
        ),
        ("4.1: Vary: *", &[], 200, &[("vary", "accept"), ("vary", "*")], "vary-any", "vary-any"),
        ("4.1: not a list of names", &[], 200, &[("vary", "foo bar")], "vary-any", "vary-any"),
        ("4.1: an invalid member", &[], 200, &[("vary", "accept, user-agent)")], "vary-any", "vary-any"),
        (
            "5.2.1.5: no-store",
            &[("cache-control", "no-store")],
            200,
            &[],
            "request-no-store",
            "request-no-store",
        ),
        ("5.2.2.5: no-store", &[], 200, &[("cache-control", "max-age=1, No-Store")], "no-store", "no-store"),
        (
            "5.2.2.3: must-understand",
            &[],
            200,
            &[("cache-control", "no-store, must-understand")],
            "stored",
            "stored",
        ),
        (
            "5.2.2.3: not understood",
            &[],
            599,
            &[("cache-control", "max-age=1, must-understand")],
            "not-understood",
            "not-understood",
        ),
        ("5.2.2.7: private", &[], 200, &[("cache-control", "private, max-age=1")], "stored", "private"),
        (
            "5.2.2.7: private for one field",
            &[],
            200,
            &[("cache-control", "private=\"x-a\"")],
            "stored",
            "stored",
        ),
        (
            "7.3: cookies",
            &[],
            200,
            &[("set-cookie", "a=b"), ("cache-control", "max-age=1")],
            "stored",
            "set-cookie",
        ),
        (
            "5.2.2.7: a cookie that is not stored",
            &[],
            200,
            &[("set-cookie", "a=b"), ("cache-control", "max-age=1, private=\"set-cookie\"")],
            "stored",
            "stored",
        ),
    ];
    for (clause, request, status, response, private, shared) in rows {
        assert_eq!(verdict(Mode::Private, request, *status, response), *private, "{clause}, private");
        assert_eq!(verdict(Mode::Shared, request, *status, response), *shared, "{clause}, shared");
    }
}
