//! Hop-by-hop fields (RFC 9110 section 7.6.1), which are neither forwarded nor stored.

use http::header::{self, HeaderMap, HeaderName};

/// Fields that are always hop-by-hop, whether or not `Connection` lists them.
static ALWAYS: [HeaderName; 10] = [
    header::CONNECTION,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
    header::TE,
    header::TRAILER,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
    header::PROXY_AUTHENTICATE,
    header::PROXY_AUTHORIZATION,
    HeaderName::from_static("proxy-authentication-info"),
];

/// Fields for all recipients, which are never appropriate as a connection option (RFC 9110 section 7.6.1). They stay although
/// `Connection` lists them: without them, a cache would store what it must not, or read a body in another way.
static FOR_ALL_RECIPIENTS: [HeaderName; 8] = [
    header::AUTHORIZATION,
    header::CACHE_CONTROL,
    header::CONTENT_ENCODING,
    header::CONTENT_RANGE,
    header::CONTENT_TYPE,
    HeaderName::from_static("cdn-cache-control"),
    header::PRAGMA,
    header::VARY,
];

/// Names of framing and hop-by-hop fields with `_` for `-`. CGI gateways and similar programs treat both as equal.
const WITH_UNDERSCORE: [&str; 7] = [
    "content_length",
    "transfer_encoding",
    "keep_alive",
    "proxy_connection",
    "proxy_authenticate",
    "proxy_authorization",
    "proxy_authentication_info",
];

/// Removes hop-by-hop fields, the fields that `Connection` lists, and names that some recipients mistake for them.
pub(crate) fn remove(headers: &mut HeaderMap) {
    // Most requests to a cache have no hop-by-hop fields.
    if !headers.keys().any(is_hop_by_hop) {
        return;
    }
    if headers.contains_key(header::CONNECTION) {
        // Members of `Connection` are tokens. A stray quote must not hide the members after it.
        let named: Vec<HeaderName> = headers
            .get_all(header::CONNECTION)
            .into_iter()
            .flat_map(|line| line.as_bytes().split(|byte| *byte == b','))
            .filter_map(|member| HeaderName::from_bytes(member.trim_ascii()).ok())
            .filter(|name| !FOR_ALL_RECIPIENTS.contains(name))
            .collect();
        for name in named {
            headers.remove(name);
        }
    }
    for name in &ALWAYS {
        headers.remove(name);
    }
    let ambiguous: Vec<HeaderName> = headers.keys().filter(|name| is_ambiguous(name)).cloned().collect();
    for name in ambiguous {
        headers.remove(name);
    }
}

fn is_hop_by_hop(name: &HeaderName) -> bool {
    ALWAYS.contains(name) || is_ambiguous(name)
}

/// Returns whether the name is one of `WITH_UNDERSCORE`, also if some of its underscores are `-`.
fn is_ambiguous(name: &HeaderName) -> bool {
    let name = name.as_str();
    let is_same = |known: &str| {
        known.len() == name.len()
            && known
                .bytes()
                .zip(name.bytes())
                .all(|(known, byte)| known == byte || known == b'_' && byte == b'-')
    };
    name.contains('_') && WITH_UNDERSCORE.into_iter().any(is_same)
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn listed_and_ambiguous_fields_are_removed() {
        let mut headers = HeaderMap::new();
        for (name, value) in [
            ("connection", "close, X-Hop, Cache-Control"),
            ("cache-control", "no-store"),
            ("connection", "b\"d name, x-other"),
            ("x-hop", "1"),
            ("x-other", "1"),
            ("x-end", "1"),
            ("te", "trailers"),
            ("transfer-encoding", "chunked"),
            ("proxy-authorization", "secret"),
            ("content_length", "1"),
            ("transfer_encoding", "chunked"),
            ("keep_alive", "1"),
            ("proxy_authorization", "secret"),
            ("proxy_authentication-info", "1"),
        ] {
            headers.append(name, HeaderValue::from_static(value));
        }
        remove(&mut headers);
        assert!(headers.len() == 2 && headers.contains_key("cache-control") && headers.contains_key("x-end"));
        for (name, stays) in
            [("content_length", false), ("content-length", true), ("x_end", true), ("content_type", true)]
        {
            let mut headers = HeaderMap::new();
            headers.insert(name, HeaderValue::from_static("1"));
            remove(&mut headers);
            assert_eq!(!headers.is_empty(), stays, "{name}");
        }
    }
}
