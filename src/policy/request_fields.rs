//! Which fields of a request an origin is shown, and which of them select what it answers.
//!
//! A cache answers one client with what another one caused. Whatever an origin makes of a field that neither the key
//! nor `Vary` knows, everybody gets: that is how caches are poisoned. So what names the client or rewrites the
//! request is not sent on, and what no standard knows can be told to select the answer.

use http::header::HeaderName;
use http::{HeaderMap, Method};

use super::rules::Rules;

/// What becomes of request fields that no standard knows and that are not among
/// [`Rules::known_fields`](crate::Rules::known_fields), where a response may be stored.
///
/// By RFC 9111 an origin names in `Vary` what it answers to. One that does not can be made to answer everybody with
/// what it made of the field of one client. Where clients of one cache do not trust each other, this closes that.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum UnknownFields {
    /// They are sent to the origin, which is believed. The default.
    #[default]
    Forward,
    /// They are sent, and select the answer as if `Vary` named them: what was made of one answers nobody who does not
    /// send the same.
    Select,
    /// They are not sent.
    Drop,
}

/// Fields that name the client to whom they are about, or that say what was asked for, other than the request line
/// does. Servers that read fields as variables take an underscore for a hyphen.
const ABOUT_THE_CLIENT: [&str; 51] = [
    "base-url",
    "cf-connecting-ip",
    "cf-connecting-ipv6",
    "cf-ipcountry",
    "cf-visitor",
    "client-ip",
    "cloudfront-forwarded-proto",
    "cluster-client-ip",
    "fastly-client-ip",
    "forwarded",
    "forwarded-for",
    "forwarded-host",
    "front-end-https",
    "proxy",
    "proxy-client-ip",
    "request-uri",
    "true-client-ip",
    "wl-proxy-client-ip",
    "x-appengine-user-ip",
    "x-arr-ssl",
    "x-azure-clientip",
    "x-azure-socketip",
    "x-backend-host",
    "x-client-ip",
    "x-cluster-client-ip",
    "x-envoy-external-address",
    "x-host",
    "x-http-destinationurl",
    "x-http-host-override",
    "x-http-path-override",
    "x-matched-path",
    "x-nextjs-data",
    "x-now-route-matches",
    "x-original-forwarded-for",
    "x-original-host",
    "x-original-uri",
    "x-original-url",
    "x-originating-ip",
    "x-override-url",
    "x-proxy-url",
    "x-proxyuser-ip",
    "x-real-ip",
    "x-remote-addr",
    "x-remote-host",
    "x-remote-ip",
    "x-remote-user",
    "x-rewrite-url",
    "x-scheme",
    "x-url-scheme",
    "x-waws-unencoded-url",
    "z-forwarded-for",
];

/// Beginnings of such names.
const FAMILIES: [&str; 7] = [
    "cloudfront-viewer-",
    "ssl-client-",
    "x-forward",
    "x-invoke-",
    "x-middleware-",
    "x-ssl",
    "x-envoy-original",
];

/// Fields by which a request claims to be of another method: of no use to a GET but to make it something else.
const OF_ANOTHER_METHOD: [&str; 4] =
    ["x-http-method", "x-http-method-override", "x-method", "x-method-override"];

/// Fields of which a GET without content has no use (RFC 9110 sections 8 and 7.6.2).
const ABOUT_CONTENT: [&str; 6] = [
    "content-encoding",
    "content-language",
    "content-location",
    "content-range",
    "content-type",
    "max-forwards",
];

/// Takes out of a request what no origin is to see.
pub(crate) fn remove_unsent(method: &Method, headers: &mut HeaderMap, rules: &Rules) {
    let may_be_stored = matches!(*method, Method::GET | Method::HEAD);
    let drops = may_be_stored && rules.unknown_fields == UnknownFields::Drop;
    let is_unsent = |name: &HeaderName| {
        let text = name.as_str();
        // Most names do not begin like one of them.
        let may_be = matches!(
            text.as_bytes().first(),
            Some(b'x' | b'f' | b'c' | b't' | b'p' | b'b' | b'r' | b's' | b'w' | b'z' | b'm')
        );
        (may_be && is_never_sent(text, may_be_stored)) || (drops && !is_known(name, rules))
    };
    // Most requests have none.
    if !headers.keys().any(is_unsent) {
        return;
    }
    let unsent: Vec<HeaderName> = headers.keys().filter(|name| is_unsent(name)).cloned().collect();
    for name in unsent {
        headers.remove(name);
    }
}

/// The fields of a request that select what it was answered with, whatever `Vary` says.
pub(crate) fn selecting<'a>(
    headers: &'a HeaderMap,
    rules: &'a Rules,
) -> impl Iterator<Item = &'a HeaderName> {
    let selects = rules.unknown_fields == UnknownFields::Select;
    headers.keys().filter(move |name| selects && !is_known(name, rules))
}

fn is_about_the_client(name: &str) -> bool {
    FAMILIES.iter().any(|family| name.starts_with(family)) || ABOUT_THE_CLIENT.binary_search(&name).is_ok()
}

/// Whether a field is never sent with a request that may be stored, or with any.
fn is_never_sent(name: &str, may_be_stored: bool) -> bool {
    let hyphened;
    let name = if name.contains('_') {
        hyphened = name.replace('_', "-");
        &hyphened
    } else {
        name
    };
    is_about_the_client(name)
        || (may_be_stored && (OF_ANOTHER_METHOD.contains(&name) || ABOUT_CONTENT.contains(&name)))
}

/// Fields that the standards give a meaning, so that an origin which answers to one knows that it has to name it in
/// `Vary`; and those by which requests are counted and traced, to which none answers.
const KNOWN: [&str; 61] = [
    "accept",
    "accept-charset",
    "accept-encoding",
    "accept-language",
    "authorization",
    "b3",
    "baggage",
    "cache-control",
    "cdn-loop",
    "connection",
    "content-length",
    "cookie",
    "correlation-id",
    "device-memory",
    "dnt",
    "downlink",
    "dpr",
    "ect",
    "expect",
    "forwardcache",
    "host",
    "if-match",
    "if-modified-since",
    "if-none-match",
    "if-range",
    "if-unmodified-since",
    "pragma",
    "priority",
    "proxy-authorization",
    "range",
    "referer",
    "request-id",
    "rtt",
    "save-data",
    "sec-fetch-dest",
    "sec-fetch-mode",
    "sec-fetch-site",
    "sec-fetch-user",
    "sec-forwardcache",
    "sec-gpc",
    "sec-purpose",
    "sentry-trace",
    "te",
    "traceparent",
    "tracestate",
    "uber-trace-id",
    "upgrade-insecure-requests",
    "user-agent",
    "via",
    "viewport-width",
    "want-content-digest",
    "want-repr-digest",
    "width",
    "x-amzn-trace-id",
    "x-cloud-trace-context",
    "x-correlation-id",
    "x-datadog-parent-id",
    "x-datadog-sampling-priority",
    "x-datadog-trace-id",
    "x-request-id",
    "x-trace-id",
];

pub(crate) fn is_known(name: &HeaderName, rules: &Rules) -> bool {
    let text = name.as_str();
    KNOWN.binary_search(&text).is_ok()
        || text.starts_with("sec-ch-")
        || text.starts_with("x-b3-")
        || rules.known_fields.contains(name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::Mode;

    fn headers(names: &[&str]) -> HeaderMap {
        names.iter().map(|name| (name.parse::<HeaderName>().unwrap(), "x".parse().unwrap())).collect()
    }

    fn rules(unknown_fields: UnknownFields) -> Rules {
        Rules { unknown_fields, known_fields: vec!["x-mine".parse().unwrap()], ..Rules::new(Mode::Shared) }
    }

    fn sent(method: &Method, names: &[&str], unknown_fields: UnknownFields) -> Vec<String> {
        let mut headers = headers(names);
        remove_unsent(method, &mut headers, &rules(unknown_fields));
        headers.keys().map(ToString::to_string).collect()
    }

    #[test]
    fn the_lists_are_in_order() {
        assert!(ABOUT_THE_CLIENT.is_sorted() && KNOWN.is_sorted());
        let first = ['x', 'f', 'c', 't', 'p', 'b', 'r', 's', 'w', 'z', 'm'];
        let all = ABOUT_THE_CLIENT.iter().chain(&OF_ANOTHER_METHOD).chain(&FAMILIES).chain(&ABOUT_CONTENT);
        assert!(all.into_iter().all(|name| name.starts_with(first)));
    }

    #[test]
    fn no_origin_is_told_who_asks_or_for_what_else() {
        for method in [Method::GET, Method::POST] {
            for name in ABOUT_THE_CLIENT.into_iter().chain([
                "x-forwarded-for",
                "x-forwarded-host",
                "x-forwarded",
                "x_forwarded_host",
                "x-original_url",
                "x-middleware-rewrite",
                "ssl-client-cert",
            ]) {
                assert!(sent(&method, &[name], UnknownFields::Forward).is_empty(), "{name}");
            }
        }
        for name in OF_ANOTHER_METHOD {
            assert!(sent(&Method::GET, &[name], UnknownFields::Forward).is_empty());
            assert_eq!(sent(&Method::POST, &[name], UnknownFields::Forward), [name]);
        }
        let names = ["accept", "x-anything"];
        assert_eq!(sent(&Method::GET, &names, UnknownFields::Forward), names);
    }

    #[test]
    fn what_is_not_known_is_dropped_from_what_may_be_stored_where_that_is_wanted() {
        let names = ["accept", "sec-fetch-mode", "x-b3-spanid", "x-mine", "x-anything"];
        assert_eq!(sent(&Method::GET, &names, UnknownFields::Drop), names[..4]);
        assert_eq!(sent(&Method::POST, &names, UnknownFields::Drop), names);
        assert_eq!(sent(&Method::GET, &names, UnknownFields::Select), names);
    }

    #[test]
    fn what_is_not_known_selects_where_that_is_wanted() {
        let headers = headers(&["accept", "cookie", "x-mine", "x-anything"]);
        for (unknown_fields, selecting_fields) in [
            (UnknownFields::Forward, &[][..]),
            (UnknownFields::Drop, &[]),
            (UnknownFields::Select, &["x-anything"]),
        ] {
            let rules = rules(unknown_fields);
            assert_eq!(selecting(&headers, &rules).collect::<Vec<_>>(), selecting_fields);
        }
    }
}
