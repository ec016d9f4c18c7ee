//! Rewrites header fields that an origin sets for its own host, for programs that see all origins under the host of this
//! peer.
//!
//! A client of this crate and a program that uses the peer as its proxy know the origin of each response. Any other
//! program treats the peer as the origin: it would send the cookies of one origin to all others, apply a policy for a
//! whole host to the peer, and resolve a relative `Location` to the peer.

use http::header::{CONTENT_LOCATION, LINK, LOCATION, REFRESH, SET_COOKIE};
use http::{HeaderMap, HeaderName, HeaderValue, Request};

use super::{Form, Mirrors};
use crate::message::header::host_bound::{SET_COOKIE2, SET_FOR_HOST, is_host_bound};
use crate::message::interim::OnInterim;
use crate::message::url::CanonicalUrl;

/// How a program sees the header fields of responses.
#[derive(Clone, Debug)]
pub(in crate::peer::endpoint) struct View {
    pub(in crate::peer::endpoint) form: Form,
    pub(in crate::peer::endpoint) mirrors: Mirrors,
    /// Whether programs that request `/proxy?q=` receive `Set-Cookie`.
    pub(in crate::peer::endpoint) pass_cookies: bool,
}

impl View {
    /// Rewrites the header fields of a response to this URL.
    pub(in crate::peer::endpoint) fn rewrite(&self, headers: &mut HeaderMap, target: &CanonicalUrl) {
        let has_links = match self.form {
            Form::Pool | Form::Absolute => return,
            Form::Query => false,
            Form::Prefix | Form::Mirror(_) => headers.contains_key(LINK),
        };
        if has_links {
            self.rewrite_links(headers, target);
        }
        if !headers.keys().any(|name| is_host_bound(name.as_str().as_bytes())) {
            return;
        }
        for name in &SET_FOR_HOST {
            headers.remove(name);
        }
        if !(self.pass_cookies && matches!(self.form, Form::Query)) {
            headers.remove(SET_COOKIE);
            headers.remove(&SET_COOKIE2);
        }
        for name in [LOCATION, CONTENT_LOCATION] {
            self.rewrite_reference(headers, &name, target);
        }
        if let Some(refresh) = headers.get(REFRESH).and_then(|refresh| self.refresh(refresh, target)) {
            headers.insert(REFRESH, refresh);
        }
    }

    /// Like [`rewrite`](Self::rewrite), for the interim responses (1xx) to a request for this URL.
    pub(in crate::peer::endpoint) fn rewrite_interim<T>(
        &self,
        request: &mut Request<T>,
        target: &CanonicalUrl,
    ) {
        if matches!(self.form, Form::Pool | Form::Absolute) {
            return;
        }
        let Some(on_interim) = request.extensions_mut().remove::<OnInterim>() else { return };
        let (target, view) = (target.clone(), Self { pass_cookies: false, ..self.clone() });
        request.extensions_mut().insert(OnInterim::new(move |status, headers| {
            let mut headers = headers.clone();
            view.rewrite(&mut headers, &target);
            on_interim.tell(status, &headers);
        }));
    }

    /// Replaces the URI reference in a header field. An invalid reference stays unchanged.
    fn rewrite_reference(&self, headers: &mut HeaderMap, name: &HeaderName, target: &CanonicalUrl) {
        let rewritten = headers.get(name).and_then(|value| self.reference(value.to_str().ok()?, target));
        if let Some(value) = rewritten.and_then(|url| HeaderValue::try_from(url).ok()) {
            headers.insert(name, value);
        }
    }

    /// Returns a `Refresh` such as `5; url=/next` with the URL in this form.
    fn refresh(&self, value: &HeaderValue, target: &CanonicalUrl) -> Option<HeaderValue> {
        let (after, rest) = value.to_str().ok()?.split_once([';', ','])?;
        let (name, reference) = rest.split_once('=')?;
        if !name.trim().eq_ignore_ascii_case("url") {
            return None;
        }
        let url = self.reference(reference.trim().trim_matches(['"', '\'']), target)?;
        HeaderValue::try_from(format!("{after}; url={url}")).ok()
    }

    /// Rewrites the targets of all links (RFC 8288 section 3), which are in angle brackets outside of quoted strings.
    fn rewrite_links(&self, headers: &mut HeaderMap, target: &CanonicalUrl) {
        let lines: Vec<HeaderValue> = headers.get_all(LINK).iter().cloned().collect();
        headers.remove(LINK);
        for line in lines {
            let rewritten = line.to_str().ok().map(|line| self.links(line, target));
            headers.append(LINK, rewritten.and_then(|line| HeaderValue::try_from(line).ok()).unwrap_or(line));
        }
    }

    fn links(&self, line: &str, target: &CanonicalUrl) -> String {
        let mut rewritten = String::with_capacity(line.len() + 64);
        let (mut rest, mut is_quoted) = (line, false);
        while let Some(at) = rest.find(['<', '"', '\\']) {
            let (before, found) = rest.split_at(at);
            rewritten.push_str(before);
            let length = match found.as_bytes()[0] {
                b'"' => {
                    is_quoted = !is_quoted;
                    1
                }
                b'\\' if is_quoted => found.chars().take(2).map(char::len_utf8).sum(),
                b'<' if !is_quoted && let Some(end) = found.find('>') => {
                    let reference = &found[1..end];
                    let seen = self.reference(reference.trim(), target);
                    rewritten.push('<');
                    rewritten.push_str(seen.as_deref().unwrap_or(reference));
                    rewritten.push('>');
                    rest = &found[end + 1..];
                    continue;
                }
                _ => 1,
            };
            rewritten.push_str(&found[..length]);
            rest = &found[length..];
        }
        rewritten.push_str(rest);
        rewritten
    }

    fn reference(&self, text: &str, target: &CanonicalUrl) -> Option<String> {
        self.form.reference(text, target, &self.mirrors)
    }
}

#[cfg(test)]
mod tests;
