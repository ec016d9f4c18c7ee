use http::HeaderValue;

use super::*;
use crate::policy::CredentialDigest;

struct Plain;

impl CredentialDigest for Plain {
    fn digest(&self, _: &[u8]) -> u128 {
        0
    }
}

fn headers(fields: &[(&'static str, &'static str)]) -> HeaderMap {
    fields.iter().map(|(name, value)| (name.parse().unwrap(), HeaderValue::from_static(value))).collect()
}

/// The columns: the field that `Vary` names, its value in the first request, a field of the response, the value in the
/// second request, and whether the tag is offered.
#[test]
fn only_tags_of_suitable_responses_are_offered() {
    const CODING: &str = "accept-encoding";
    const LANGUAGE: &str = "accept-language";
    let gzip = ("content-encoding", "gzip");
    let plain = ("x", "y");
    let german = ("content-language", "de");
    let html = ("content-type", "text/html; charset=utf-8");
    for (name, first, response, second, expected) in [
        // A client that names no coding must not get a coded body.
        (CODING, "gzip", gzip, "", false),
        (CODING, "gzip", gzip, "br", false),
        (CODING, "gzip", gzip, "gzip;q=0, br", false),
        (CODING, "gzip", gzip, "br, GZip;q=0.5", true),
        (CODING, "gzip", gzip, "x-gzip", true),
        (CODING, "gzip", gzip, "*", true),
        (CODING, "gzip", gzip, "*, gzip;q=0", false),
        // A client that accepts more codings than the first client must not get the larger, uncoded body.
        (CODING, "", plain, "gzip", false),
        (CODING, "", plain, "*", false),
        (CODING, "", plain, "identity", true),
        (CODING, "", plain, "gzip;q=0", true),
        (CODING, "gzip, br", plain, "gzip", true),
        (CODING, "gzip, br", plain, "", true),
        (CODING, "gzip", plain, "gzip, br", false),
        // The coding did not select the response, so all clients get it.
        ("x-other", "1", plain, "2", true),
        (LANGUAGE, "de", german, "fr", false),
        (LANGUAGE, "de", german, "", false),
        (LANGUAGE, "de", german, "en, de;q=0.5", false),
        (LANGUAGE, "de", german, "DE, en;q=0.5", true),
        (LANGUAGE, "de", plain, "fr", true),
        ("accept", "text/html", html, "application/json", false),
        ("accept", "text/html", html, "text/*;q=0.1", true),
        ("accept", "text/html", html, "*/*, text/html;q=0", false),
        ("accept", "text/html", html, "", true),
        ("accept-charset", "utf-8", html, "latin1", false),
    ] {
        let request = |value: &'static str| {
            let fields = [(name, value)];
            headers(if value.is_empty() { &[] } else { &fields })
        };
        let response = headers(&[("vary", name), response]);
        let variant = Variant::of(&response, &[], &request(first), &Plain);
        let is_offered = may_be_offered(&variant, &response, &request(second));
        assert_eq!(is_offered, expected, "{name}: {first:?} got {response:?}, then {second:?}");
    }
}
