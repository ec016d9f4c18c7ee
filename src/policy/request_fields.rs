//! Selects the request fields that are forwarded to the origin, and those that select a response.
//!
//! A cache serves one client a response that another client's request caused. If an origin uses a field that belongs
//! neither to the key nor to `Vary`, one client can affect the responses of all clients: this is cache poisoning.
//! Therefore, fields that name the client or rewrite the request are not forwarded, and fields that are not
//! standardised can be configured to select the response.
use http::header::HeaderName;
use http::{HeaderMap, Method};

use super::rules::Rules;
use super::unknown_fields::UnknownFields;

/// Fields that name the client, or that specify another URL than the request line. Names have hyphens here; servers
/// that read fields as variables treat an underscore as a hyphen.
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

/// Prefixes of such names.
const CLIENT_PREFIXES: [&str; 7] = [
    "cloudfront-viewer-",
    "ssl-client-",
    "x-forward",
    "x-invoke-",
    "x-middleware-",
    "x-ssl",
    "x-envoy-original",
];

/// Fields that replace the method of a request. They could turn a GET into another request.
const METHOD_OVERRIDES: [&str; 4] =
    ["x-http-method", "x-http-method-override", "x-method", "x-method-override"];

/// Fields without a meaning for a GET without content (RFC 9110 sections 8 and 7.6.2).
const ABOUT_CONTENT: [&str; 6] = [
    "content-encoding",
    "content-language",
    "content-location",
    "content-range",
    "content-type",
    "max-forwards",
];

/// Removes the fields that no origin may receive.
pub(crate) fn remove_unforwarded_fields(method: &Method, headers: &mut HeaderMap, rules: &Rules) {
    let may_be_stored = matches!(*method, Method::GET | Method::HEAD);
    let drops = may_be_stored && rules.unknown_fields == UnknownFields::Drop;
    let is_unsent = |name: &HeaderName| {
        let text = name.as_str();
        // Fast path: most names have another first letter.
        let may_be_listed = matches!(
            text.as_bytes().first(),
            Some(b'x' | b'f' | b'c' | b't' | b'p' | b'b' | b'r' | b's' | b'w' | b'z' | b'm')
        );
        (may_be_listed && is_never_sent(text, may_be_stored)) || (drops && !is_known(name, rules))
    };
    // Fast path: most requests have no such field.
    if !headers.keys().any(is_unsent) {
        return;
    }
    let unsent: Vec<HeaderName> = headers.keys().filter(|name| is_unsent(name)).cloned().collect();
    for name in unsent {
        headers.remove(name);
    }
}

/// Returns the fields of a request that select its response, regardless of `Vary`.
pub(crate) fn selecting<'a>(
    headers: &'a HeaderMap,
    rules: &'a Rules,
) -> impl Iterator<Item = &'a HeaderName> {
    let selects = rules.unknown_fields == UnknownFields::Vary;
    headers.keys().filter(move |name| selects && !is_known(name, rules))
}

fn is_about_the_client(name: &str) -> bool {
    CLIENT_PREFIXES.iter().any(|prefix| name.starts_with(prefix))
        || ABOUT_THE_CLIENT.binary_search(&name).is_ok()
}

/// Returns whether a field is never forwarded: with any request, or with a request whose response may be stored.
fn is_never_sent(name: &str, may_be_stored: bool) -> bool {
    let hyphened;
    let name = if name.contains('_') {
        hyphened = name.replace('_', "-");
        &hyphened
    } else {
        name
    };
    is_about_the_client(name)
        || (may_be_stored && (METHOD_OVERRIDES.contains(&name) || ABOUT_CONTENT.contains(&name)))
}

/// Standardised fields, for which an origin knows that it must name them in `Vary`, and fields for tracing and counting
/// requests, which do not affect responses.
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
mod tests;
