//! Header fields that keep browsers from running responses of a peer without a token.
//!
//! For a browser, all responses of such a peer have the same origin. With `Content-Security-Policy: sandbox`, each
//! document gets an origin of its own and runs no scripts; `allow-downloads` lets the user save the files to which its
//! links lead. With `nosniff`, the browser does not guess a content type. With `Cross-Origin-Resource-Policy`, pages of
//! other origins cannot embed the response.
//!
//! Because a sandboxed document has an origin of its own, a browser states that all its links come from a foreign page.
//! [`is_followed_link`] tells them from requests that a page sends.

use http::header::{CONTENT_SECURITY_POLICY, HOST, ORIGIN, X_CONTENT_TYPE_OPTIONS};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Response};

use super::access::{Fields, SEC_FETCH_SITE};
use crate::message::body::Body;
use crate::message::nonblocking::PlainField;
use crate::pool::protocol;

const SANDBOX_LINE: &str = "content-security-policy: sandbox allow-downloads\r\n";
static SANDBOX: HeaderValue = HeaderValue::from_static("sandbox allow-downloads");
const LINES: &str = "x-content-type-options: nosniff\r\ncross-origin-resource-policy: same-origin\r\n";

static RESOURCE_POLICY: HeaderName = HeaderName::from_static("cross-origin-resource-policy");

static SEC_FETCH_MODE: HeaderName = HeaderName::from_static("sec-fetch-mode");
static SEC_FETCH_DEST: HeaderName = HeaderName::from_static("sec-fetch-dest");
static SEC_FETCH_USER: HeaderName = HeaderName::from_static("sec-fetch-user");

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
                response.headers_mut().append(CONTENT_SECURITY_POLICY, SANDBOX.clone());
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
            Self::Guard => lines.extend([SANDBOX_LINE, LINES]),
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

/// Returns whether a browser sent the request because its user followed a link, of whatever page, to show the response in
/// a tab or to save it. The page with the link learns nothing of a response in a sandbox, and a page cannot set these fields.
pub(super) fn is_followed_link(method: &Method, fields: &impl Fields) -> bool {
    let has = |name, value: &[u8]| matches!(fields.look_up(name), PlainField::Once(field) if field == value);
    *method == Method::GET
        && has(&SEC_FETCH_MODE, b"navigate")
        && has(&SEC_FETCH_DEST, b"document")
        && has(&SEC_FETCH_USER, b"?1")
        && matches!(fields.look_up(&ORIGIN), PlainField::Absent)
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
        assert_eq!(policies, ["default-src 'self'", "sandbox allow-downloads"]);
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

    #[test]
    fn only_a_link_that_the_user_follows_to_a_page_is_one() {
        let complete =
            [("sec-fetch-mode", "navigate"), ("sec-fetch-dest", "document"), ("sec-fetch-user", "?1")];
        let is_followed = |method: &Method, fields: &[(&'static str, &'static str)]| {
            let mut headers = HeaderMap::new();
            for (name, value) in fields {
                headers.append(*name, HeaderValue::from_static(value));
            }
            is_followed_link(method, &headers)
        };
        assert!(is_followed(&Method::GET, &complete));
        for (left_out, (name, _)) in complete.iter().enumerate() {
            let mut fields = complete.to_vec();
            fields.remove(left_out);
            assert!(!is_followed(&Method::GET, &fields), "{name}");
            for value in ["cors", "no-cors", "iframe", "image", "?0", ""] {
                let fields = [&fields[..], &[(name, value)]].concat();
                assert!(!is_followed(&Method::GET, &fields), "{name}: {value}");
            }
            let fields = [&complete[..], &complete[left_out..=left_out]].concat();
            assert!(!is_followed(&Method::GET, &fields), "{name} twice");
        }
        assert!(!is_followed(&Method::GET, &[&complete[..], &[("origin", "null")]].concat()));
        for method in [Method::POST, Method::HEAD, Method::PUT] {
            assert!(!is_followed(&method, &complete), "{method}");
        }
    }
}
