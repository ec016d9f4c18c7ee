//! Header fields that keep browsers from running responses of a peer without a token.
//!
//! For a browser, all responses of such a peer have the same origin. With `Content-Security-Policy: sandbox`, each
//! document gets an origin of its own and runs no scripts. With `nosniff`, the browser does not guess a content type.
//! With `Cross-Origin-Resource-Policy`, pages of other origins cannot embed the response.

use http::header::{CONTENT_SECURITY_POLICY, X_CONTENT_TYPE_OPTIONS};
use http::{HeaderMap, HeaderName, HeaderValue, Response};

use crate::message::body::Body;
use crate::pool::protocol;

const SANDBOX: &str = "content-security-policy: sandbox\r\n";
const LINES: &str = "x-content-type-options: nosniff\r\ncross-origin-resource-policy: same-origin\r\n";

static RESOURCE_POLICY: HeaderName = HeaderName::from_static("cross-origin-resource-policy");

/// Header fields that the peer adds to every response of a request.
#[derive(Clone, Copy, Debug)]
pub(super) enum Mark {
    /// For a client of the pool: mark the response as one of a peer. A web page cannot send such a request.
    Peer,
    /// For any other program, which may be a browser: keep it from running the response.
    Guard,
    /// For any other program, which may be a browser that may run the response.
    Pages,
    /// Add nothing.
    None,
}

impl Mark {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_forms_agree_and_keep_the_policy_of_the_origin() {
        for mark in [Mark::Peer, Mark::Guard, Mark::Pages, Mark::None] {
            let response = mark.apply(Response::new(Body::empty()));
            let fields = response.headers().iter();
            let lines: String =
                fields.map(|(name, value)| format!("{name}: {}\r\n", value.to_str().unwrap())).collect();
            let mut written = String::new();
            mark.write(&mut written);
            assert_eq!(lines, written, "{mark:?}");
        }
        let mut response = Response::new(Body::empty());
        response
            .headers_mut()
            .insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static("default-src 'self'"));
        response.headers_mut().append(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("x"));
        let response = Mark::Guard.apply(response);
        let headers = response.headers();
        let policies: Vec<_> = headers.get_all(CONTENT_SECURITY_POLICY).into_iter().collect();
        assert_eq!(policies, ["default-src 'self'", "sandbox"]);
        assert_eq!(headers.get_all(X_CONTENT_TYPE_OPTIONS).into_iter().count(), 1);
    }
}
