use std::time::UNIX_EPOCH;

use http::HeaderValue;

use super::*;

const EARLY: &str = "Sun, 06 Nov 1994 08:49:36 GMT";
const MODIFIED: &str = "Sun, 06 Nov 1994 08:49:37 GMT";
const LATE: &str = "Sun, 06 Nov 1994 08:49:38 GMT";

fn headers(fields: &[(&'static str, &'static str)]) -> HeaderMap {
    fields.iter().map(|(name, value)| (name.parse().unwrap(), HeaderValue::from_static(value))).collect()
}

#[test]
fn the_conditions_of_the_client_select_304_or_200() {
    use Condition::{ForOrigin, NotModified, Send};
    let both = headers(&[("etag", "W/\"a\""), ("last-modified", MODIFIED)]);
    let dated = headers(&[("date", MODIFIED)]);
    for (stored, request, expected) in [
        (&both, &[][..], Send),
        (&both, &[("if-none-match", "\"a\"")], NotModified),
        (&both, &[("if-none-match", "\"b\", W/\"a\"")], NotModified),
        (&both, &[("if-none-match", "*")], NotModified),
        (&both, &[("if-none-match", "\"b\"")], Send),
        (&both, &[("if-none-match", "\"b\""), ("if-modified-since", LATE)], Send),
        (&both, &[("if-modified-since", MODIFIED)], NotModified),
        (&both, &[("if-modified-since", LATE)], NotModified),
        (&both, &[("if-modified-since", EARLY)], Send),
        (&both, &[("if-modified-since", "nonsense")], Send),
        (&dated, &[("if-modified-since", MODIFIED)], NotModified),
        (&dated, &[("if-modified-since", EARLY)], Send),
        (&both, &[("if-match", "\"a\"")], ForOrigin),
        (&both, &[("if-unmodified-since", LATE)], ForOrigin),
    ] {
        assert_eq!(condition(&headers(request), stored, UNIX_EPOCH), expected, "{request:?}");
    }
}

#[test]
fn a_range_applies_only_to_the_version_that_the_client_has() {
    let strong = headers(&[("etag", "\"a\""), ("last-modified", MODIFIED), ("date", LATE)]);
    let in_that_second = headers(&[("last-modified", MODIFIED), ("date", MODIFIED)]);
    let weak = headers(&[("etag", "W/\"a\"")]);
    for (stored, request, applies) in [
        (&strong, &[][..], true),
        (&strong, &[("if-range", "\"a\"")], true),
        (&strong, &[("if-range", "\"b\"")], false),
        (&strong, &[("if-range", MODIFIED)], true),
        (&strong, &[("if-range", LATE)], false),
        (&in_that_second, &[("if-range", MODIFIED)], false),
        (&weak, &[("if-range", "W/\"a\"")], false),
        (&weak, &[("if-range", "\"a\"")], false),
    ] {
        assert_eq!(range_applies(&headers(request), stored), applies, "{request:?}");
    }
}
