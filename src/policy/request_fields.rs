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
/// does. Those that begin with `x-forwarded` are meant in any case.
const ABOUT_THE_CLIENT: [&str; 26] = [
    "cf-connecting-ip",
    "cf-connecting-ipv6",
    "client-ip",
    "fastly-client-ip",
    "forwarded",
    "forwarded-for",
    "front-end-https",
    "proxy",
    "true-client-ip",
    "x-azure-clientip",
    "x-azure-socketip",
    "x-client-ip",
    "x-cluster-client-ip",
    "x-envoy-external-address",
    "x-host",
    "x-http-destinationurl",
    "x-http-host-override",
    "x-original-forwarded-for",
    "x-original-host",
    "x-original-url",
    "x-proxyuser-ip",
    "x-real-ip",
    "x-remote-addr",
    "x-remote-ip",
    "x-rewrite-url",
    "x-url-scheme",
];

/// Fields by which a request claims to be of another method: of no use to a GET but to make it something else.
const OF_ANOTHER_METHOD: [&str; 4] =
    ["x-http-method", "x-http-method-override", "x-method", "x-method-override"];

/// Takes out of a request what no origin is to see.
pub(crate) fn remove_unsent(method: &Method, headers: &mut HeaderMap, rules: &Rules) {
    let may_be_stored = matches!(*method, Method::GET | Method::HEAD);
    let drops = may_be_stored && rules.unknown_fields == UnknownFields::Drop;
    let is_unsent = |name: &HeaderName| {
        let text = name.as_str();
        // Most names do not begin like one of them.
        let may_be = matches!(text.as_bytes().first(), Some(b'x' | b'f' | b'c' | b't' | b'p'));
        (may_be && is_about_the_client(text))
            || (may_be && may_be_stored && OF_ANOTHER_METHOD.contains(&text))
            || (drops && !is_known(name, rules))
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
    name.starts_with("x-forwarded") || ABOUT_THE_CLIENT.binary_search(&name).is_ok()
}

/// Fields that the standards give a meaning, so that an origin which answers to one knows that it has to name it in
/// `Vary`; and those by which requests are counted and traced, to which none answers.
const KNOWN: [&str; 66] = [
    "a-im",
    "accept",
    "accept-charset",
    "accept-datetime",
    "accept-encoding",
    "accept-language",
    "access-control-request-headers",
    "access-control-request-method",
    "alt-used",
    "authorization",
    "b3",
    "baggage",
    "cache-control",
    "cdn-loop",
    "content-encoding",
    "content-language",
    "content-length",
    "content-type",
    "cookie",
    "correlation-id",
    "date",
    "device-memory",
    "dnt",
    "downlink",
    "dpr",
    "early-data",
    "ect",
    "expect",
    "from",
    "host",
    "idempotency-key",
    "if-match",
    "if-modified-since",
    "if-none-match",
    "if-range",
    "if-unmodified-since",
    "max-forwards",
    "origin",
    "pragma",
    "prefer",
    "priority",
    "range",
    "referer",
    "request-id",
    "rtt",
    "save-data",
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

fn is_known(name: &HeaderName, rules: &Rules) -> bool {
    let text = name.as_str();
    KNOWN.binary_search(&text).is_ok()
        || text.starts_with("sec-")
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
        assert!(
            ABOUT_THE_CLIENT
                .iter()
                .chain(&OF_ANOTHER_METHOD)
                .all(|name| name.starts_with(['x', 'f', 'c', 't', 'p']))
        );
    }

    #[test]
    fn no_origin_is_told_who_asks_or_for_what_else() {
        for method in [Method::GET, Method::POST] {
            for name in
                ABOUT_THE_CLIENT.into_iter().chain(["x-forwarded-for", "x-forwarded-host", "x-forwarded"])
            {
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
