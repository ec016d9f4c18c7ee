//! Rewrites header fields that an origin sets for its own host, for programs that see all origins under the host of this
//! peer.
//!
//! A client of this crate knows the origin of each response. Any other program that requests `/proxy?q=` treats the peer
//! as the origin: it would send the cookies of one origin to all others, apply a policy for a whole host to the peer, and
//! resolve a relative `Location` to the peer.

use http::header::{CONTENT_LOCATION, LOCATION, REFRESH, SET_COOKIE};
use http::{HeaderMap, HeaderName, HeaderValue, Request};

use crate::message::header::host_bound::{SET_COOKIE2, SET_FOR_HOST, is_host_bound};
use crate::message::interim::OnInterim;
use crate::message::url::CanonicalUrl;

/// Rewrites the header fields of a response to this URL for a program that sees it under another host.
pub(super) fn rewrite_for_other_host(headers: &mut HeaderMap, target: &CanonicalUrl, pass_cookies: bool) {
    if !headers.keys().any(|name| is_host_bound(name.as_str().as_bytes())) {
        return;
    }
    for name in &SET_FOR_HOST {
        headers.remove(name);
    }
    if !pass_cookies {
        headers.remove(SET_COOKIE);
        headers.remove(&SET_COOKIE2);
    }
    for name in [LOCATION, CONTENT_LOCATION] {
        make_absolute(headers, &name, target);
    }
    if let Some(refresh) = headers.get(REFRESH).and_then(|refresh| absolute_refresh(refresh, target)) {
        headers.insert(REFRESH, refresh);
    }
}

/// Like [`rewrite_for_other_host`], for the interim responses (1xx) to a request for this URL.
pub(super) fn rewrite_interim_for_other_host<T>(request: &mut Request<T>, target: &CanonicalUrl) {
    let Some(on_interim) = request.extensions_mut().remove::<OnInterim>() else { return };
    let target = target.clone();
    request.extensions_mut().insert(OnInterim::new(move |status, headers| {
        let mut headers = headers.clone();
        rewrite_for_other_host(&mut headers, &target, false);
        on_interim.tell(status, &headers);
    }));
}

/// Replaces the URI reference in a header field with an absolute URL. An invalid reference stays unchanged.
fn make_absolute(headers: &mut HeaderMap, name: &HeaderName, target: &CanonicalUrl) {
    let joined = headers.get(name).and_then(|value| absolute(value.to_str().ok()?, target));
    if let Some(value) = joined.and_then(|url| HeaderValue::try_from(url).ok()) {
        headers.insert(name, value);
    }
}

/// Resolves a URI reference to a URL, including its fragment. Returns `None` if it is already absolute, or invalid.
fn absolute(reference: &str, target: &CanonicalUrl) -> Option<String> {
    let scheme = reference.split([':', '/', '?', '#']).next().unwrap_or_default();
    if reference[scheme.len()..].starts_with(':') {
        return None;
    }
    let (without_fragment, fragment) = match reference.split_once('#') {
        Some((before, fragment)) => (before, format!("#{fragment}")),
        None => (reference, String::new()),
    };
    target.join(without_fragment).map(|url| format!("{}{fragment}", url.as_str()))
}

/// Returns a `Refresh` such as `5; url=/next` with an absolute URL.
fn absolute_refresh(value: &HeaderValue, target: &CanonicalUrl) -> Option<HeaderValue> {
    let (after, rest) = value.to_str().ok()?.split_once([';', ','])?;
    let (name, reference) = rest.split_once('=')?;
    if !name.trim().eq_ignore_ascii_case("url") {
        return None;
    }
    let url = absolute(reference.trim().trim_matches(['"', '\'']), target)?;
    HeaderValue::try_from(format!("{after}; url={url}")).ok()
}

#[cfg(test)]
mod tests;
