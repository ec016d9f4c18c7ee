//! Selects the URLs that an unsafe request invalidates (RFC 9111 section 4.4).

use http::header::{CONTENT_LOCATION, LOCATION};
use http::{HeaderMap, Method, StatusCode};

use crate::message::url::CanonicalUrl;

/// Returns the URLs whose stored responses are invalidated by this response to an unsafe request: the URL of the
/// request, and the URLs of the same origin in `Location` and `Content-Location`. Returns no URL for an error response
/// or a safe method.
pub(crate) fn invalidated(
    method: &Method,
    target: &CanonicalUrl,
    status: StatusCode,
    headers: &HeaderMap,
) -> Vec<CanonicalUrl> {
    if method.is_safe() || !(status.is_success() || status.is_redirection()) {
        return Vec::new();
    }
    let named = [LOCATION, CONTENT_LOCATION]
        .into_iter()
        .filter_map(|name| target.join_field(headers.get(name)?.as_bytes()))
        // An origin must not be able to invalidate responses of another origin.
        .filter(|named| named.same_origin(target));
    let mut targets: Vec<CanonicalUrl> = std::iter::once(target.clone()).chain(named).collect();
    targets.dedup();
    targets
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn after(method: &Method, status: u16, fields: &[(&'static str, &'static str)]) -> Vec<String> {
        let headers = fields
            .iter()
            .map(|(name, value)| (name.parse().unwrap(), HeaderValue::from_static(value)))
            .collect();
        let target = CanonicalUrl::parse("http://example.com/a/b").unwrap();
        invalidated(method, &target, StatusCode::from_u16(status).unwrap(), &headers)
            .iter()
            .map(ToString::to_string)
            .collect()
    }

    #[test]
    fn a_successful_unsafe_request_invalidates_its_url() {
        let own = ["http://example.com/a/b"];
        assert_eq!(after(&Method::POST, 200, &[]), own);
        assert_eq!(after(&Method::from_bytes(b"M-SEARCH").unwrap(), 303, &[]), own);
        assert!(after(&Method::DELETE, 404, &[]).is_empty());
        assert!(after(&Method::PUT, 500, &[]).is_empty());
        assert!(after(&Method::OPTIONS, 200, &[]).is_empty());
    }

    #[test]
    fn only_named_urls_of_the_same_origin_are_invalidated() {
        let fields = [("location", "/c"), ("content-location", "http://example.com:80/d")];
        assert_eq!(
            after(&Method::POST, 201, &fields),
            ["http://example.com/a/b", "http://example.com/c", "http://example.com/d"]
        );
        let foreign = [("location", "http://other.example/c"), ("content-location", "https://example.com/d")];
        assert_eq!(after(&Method::POST, 201, &foreign), ["http://example.com/a/b"]);
    }
}
