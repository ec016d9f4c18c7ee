//! What keeps a browser from running what a peer without a token answers.
//!
//! All that such a peer answers is of one origin for a browser that is led there. With `Content-Security-Policy: sandbox`
//! each document has an origin of its own and runs no scripts, with `nosniff` it is what its type says, and with
//! `Cross-Origin-Resource-Policy` no page of another origin can embed it.

use http::header::{CONTENT_SECURITY_POLICY, X_CONTENT_TYPE_OPTIONS};
use http::{HeaderMap, HeaderName, HeaderValue, Response};

use crate::message::body::Body;
use crate::pool::protocol;

const LINES: &str = "content-security-policy: sandbox\r\nx-content-type-options: nosniff\r\n\
    cross-origin-resource-policy: same-origin\r\n";

static RESOURCE_POLICY: HeaderName = HeaderName::from_static("cross-origin-resource-policy");

/// What every response to a request says beside what was asked for.
#[derive(Clone, Copy, Debug)]
pub(super) enum Mark {
    /// To a client of the pool, that a peer answers. No page can send such a request.
    Peer,
    /// To a browser, that it runs nothing of it.
    Guard,
    None,
}

impl Mark {
    pub(super) fn on(self, mut response: Response<Body>) -> Response<Body> {
        match self {
            Self::Peer => protocol::mark_peer(response.headers_mut()),
            Self::Guard => guard(response.headers_mut()),
            Self::None => {}
        }
        response
    }
}

/// Adds all of them. A security policy of the origin stays, and holds as well.
fn guard(headers: &mut HeaderMap) {
    headers.append(CONTENT_SECURITY_POLICY, HeaderValue::from_static("sandbox"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(&RESOURCE_POLICY, HeaderValue::from_static("same-origin"));
}

/// The same as field lines.
pub(super) fn write_guard(lines: &mut String) {
    lines.push_str(LINES);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_forms_say_the_same_and_a_policy_of_the_origin_stays() {
        let mut headers = HeaderMap::new();
        guard(&mut headers);
        let lines: String =
            headers.iter().map(|(name, value)| format!("{name}: {}\r\n", value.to_str().unwrap())).collect();
        assert_eq!(lines, LINES);
        headers.insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static("default-src 'self'"));
        headers.append(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("x"));
        guard(&mut headers);
        let policies: Vec<_> = headers.get_all(CONTENT_SECURITY_POLICY).into_iter().collect();
        assert_eq!(policies, ["default-src 'self'", "sandbox"]);
        assert_eq!(headers.get_all(X_CONTENT_TYPE_OPTIONS).into_iter().count(), 1);
    }
}
