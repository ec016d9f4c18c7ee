//! Fields whose meaning depends on the host that sends the response.

use http::HeaderName;
use http::header::{
    ALT_SVC, CONTENT_LOCATION, LOCATION, REFRESH, SET_COOKIE, STRICT_TRANSPORT_SECURITY, WWW_AUTHENTICATE,
};

/// Fields with an effect on the whole host.
pub(crate) static SET_FOR_HOST: [HeaderName; 16] = [
    STRICT_TRANSPORT_SECURITY,
    ALT_SVC,
    HeaderName::from_static("accept-ch"),
    HeaderName::from_static("accept-ch-lifetime"),
    HeaderName::from_static("alternate-protocol"),
    HeaderName::from_static("clear-site-data"),
    HeaderName::from_static("critical-ch"),
    HeaderName::from_static("expect-ct"),
    HeaderName::from_static("nel"),
    HeaderName::from_static("origin-agent-cluster"),
    HeaderName::from_static("public-key-pins"),
    HeaderName::from_static("public-key-pins-report-only"),
    HeaderName::from_static("report-to"),
    HeaderName::from_static("reporting-endpoints"),
    HeaderName::from_static("service-worker-allowed"),
    HeaderName::from_static("speculation-rules"),
];

pub(crate) static SET_COOKIE2: HeaderName = HeaderName::from_static("set-cookie2");

/// Returns whether a field, named in lower case, would have another meaning if another host sent it.
pub(crate) fn is_host_bound(name: &[u8]) -> bool {
    let others = [&SET_COOKIE, &SET_COOKIE2, &LOCATION, &CONTENT_LOCATION, &REFRESH, &WWW_AUTHENTICATE];
    SET_FOR_HOST.iter().chain(others).any(|field| field.as_str().as_bytes() == name)
}
