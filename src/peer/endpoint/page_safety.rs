//! Header fields that keep browsers from running responses of a peer without a token.
//!
//! For a browser, all responses of such a peer have the same origin. With `Content-Security-Policy: sandbox`, each
//! document gets an origin of its own and runs no scripts. With `nosniff`, the browser does not guess a content type.
//! With `Cross-Origin-Resource-Policy`, pages of other origins cannot embed the response.

use http::header::{CONTENT_SECURITY_POLICY, HOST, ORIGIN, X_CONTENT_TYPE_OPTIONS};
use http::{HeaderMap, HeaderName, HeaderValue, Response};

use super::access::{Fields, SEC_FETCH_SITE};
use crate::message::body::Body;
use crate::message::nonblocking::PlainField;
use crate::pool::protocol;

const SANDBOX: &str = "content-security-policy: sandbox\r\n";
const LINES: &str = "x-content-type-options: nosniff\r\ncross-origin-resource-policy: same-origin\r\n";

static RESOURCE_POLICY: HeaderName = HeaderName::from_static("cross-origin-resource-policy");

/// Header fields that the peer adds to every response of a request.
#[derive(Clone, Copy, Debug)]
pub(super) enum AddedFields {
    /// For a client of the pool: mark the response as one of a peer. A web page cannot send such a request.
    Peer,
    /// For any other program, which may be a browser: keep it from running the response.
    Guard,
    /// For any other program, which may be a browser that may run the response.
    Pages,
    /// Add nothing.
    None,
}

impl AddedFields {
    /// Adds the header fields to the response.
    pub(super) fn apply(self, mut response: Response<Body>) -> Response<Body> {
        match self {
            Self::Peer => protocol::mark_peer(response.headers_mut()),
            Self::Guard => {
                // A security policy of the origin stays and applies too.
                response.headers_mut().append(CONTENT_SECURITY_POLICY, HeaderValue::from_static("sandbox"));
                add_isolation(response.headers_mut());
            }
            Self::Pages => add_isolation(response.headers_mut()),
            Self::None => {}
        }
        response
    }

    /// Like [`apply`](Self::apply), for a head that is written as text.
    pub(super) fn write(self, lines: &mut String) {
        match self {
            Self::Peer => protocol::write_peer(lines),
            Self::Guard => lines.extend([SANDBOX, LINES]),
            Self::Pages => lines.push_str(LINES),
            Self::None => {}
        }
    }
}

fn add_isolation(headers: &mut HeaderMap) {
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(&RESOURCE_POLICY, HeaderValue::from_static("same-origin"));
}

/// Returns whether a page of another origin caused the request. Programs other than browsers send none of these fields.
pub(super) fn is_cross_origin(headers: &HeaderMap) -> bool {
    match headers.look_up(&SEC_FETCH_SITE) {
        PlainField::Once(b"same-origin" | b"none") => return false,
        PlainField::Once(_) | PlainField::Repeated => return true,
        PlainField::Absent => {}
    }
    match (headers.look_up(&ORIGIN), headers.look_up(&HOST)) {
        (PlainField::Absent, _) => false,
        (PlainField::Once(origin), PlainField::Once(host)) => {
            let authority = origin.strip_prefix(b"http://").or_else(|| origin.strip_prefix(b"https://"));
            authority.is_none_or(|authority| !authority.eq_ignore_ascii_case(host))
        }
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_forms_agree_and_keep_the_policy_of_the_origin() {
        for added in [AddedFields::Peer, AddedFields::Guard, AddedFields::Pages, AddedFields::None] {
            let response = added.apply(Response::new(Body::empty()));
            let fields = response.headers().iter();
            let lines: String =
                fields.map(|(name, value)| format!("{name}: {}\r\n", value.to_str().unwrap())).collect();
            let mut written = String::new();
            added.write(&mut written);
            assert_eq!(lines, written, "{added:?}");
        }
        let mut response = Response::new(Body::empty());
        response
            .headers_mut()
            .insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static("default-src 'self'"));
        response.headers_mut().append(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("x"));
        let response = AddedFields::Guard.apply(response);
        let headers = response.headers();
        let policies: Vec<_> = headers.get_all(CONTENT_SECURITY_POLICY).into_iter().collect();
        assert_eq!(policies, ["default-src 'self'", "sandbox"]);
        assert_eq!(headers.get_all(X_CONTENT_TYPE_OPTIONS).into_iter().count(), 1);
    }

    #[test]
    fn request_of_another_origin_is_recognized_with_and_without_fetch_metadata() {
        let is_cross = |fields: &[(&'static str, &'static str)]| {
            let mut headers = HeaderMap::new();
            headers.insert(HOST, HeaderValue::from_static("127.0.0.1:3001"));
            for (name, value) in fields {
                headers.append(*name, HeaderValue::from_static(value));
            }
            is_cross_origin(&headers)
        };
        assert!(!is_cross(&[]));
        assert!(!is_cross(&[("sec-fetch-site", "same-origin"), ("origin", "null")]));
        assert!(!is_cross(&[("sec-fetch-site", "none")]));
        assert!(!is_cross(&[("origin", "http://127.0.0.1:3001")]));
        assert!(is_cross(&[("sec-fetch-site", "cross-site")]));
        assert!(is_cross(&[("sec-fetch-site", "same-site")]));
        assert!(is_cross(&[("origin", "null")]));
        assert!(is_cross(&[("origin", "http://127.0.0.1:3002")]));
        assert!(is_cross(&[("origin", "http://127.0.0.1:3001"), ("origin", "http://evil.example")]));
    }
}
