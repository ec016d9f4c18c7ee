//! Fields that an origin sets for its own host, for clients that see all origins at the host of this peer.
//!
//! A client of this crate knows which origin a response is of. Any other program that asks `/proxy?q=` takes the peer for
//! the origin: the cookie of one origin would be sent to all, a policy for the whole host would be set for the peer, and
//! a relative `Location` would lead to the peer.

use http::header::{CONTENT_LOCATION, LOCATION, REFRESH, SET_COOKIE};
use http::{HeaderMap, HeaderName, HeaderValue, Request};

use crate::message::header::host_bound::{SET_COOKIE2, SET_FOR_HOST, is_host_bound};
use crate::message::interim::OnInterim;
use crate::message::url::CanonicalUrl;

/// Makes the fields of the response of this URL right for a client that sees it at another host.
pub(super) fn for_another_host(headers: &mut HeaderMap, target: &CanonicalUrl, pass_cookies: bool) {
    if !headers.keys().any(is_host_bound) {
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
    if let Some(refresh) = headers.get(REFRESH).and_then(|refresh| refreshing(refresh, target)) {
        headers.insert(REFRESH, refresh);
    }
}

/// The same for the interim responses to a request for this URL.
pub(super) fn interim_for_another_host<T>(request: &mut Request<T>, target: &CanonicalUrl) {
    let Some(on_interim) = request.extensions_mut().remove::<OnInterim>() else { return };
    let target = target.clone();
    request.extensions_mut().insert(OnInterim::new(move |status, headers| {
        let mut headers = headers.clone();
        for_another_host(&mut headers, &target, false);
        on_interim.tell(status, &headers);
    }));
}

/// A reference that cannot be read is left as it is: it leads nowhere.
fn make_absolute(headers: &mut HeaderMap, name: &HeaderName, target: &CanonicalUrl) {
    let joined = headers.get(name).and_then(|value| absolute(value.to_str().ok()?, target));
    if let Some(value) = joined.and_then(|url| HeaderValue::try_from(url).ok()) {
        headers.insert(name, value);
    }
}

/// The URL that a reference means, with its fragment; `None` where it is absolute already, or unreadable.
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

/// `5; url=/next`, with the whole URL.
fn refreshing(value: &HeaderValue, target: &CanonicalUrl) -> Option<HeaderValue> {
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
