//! Rewrites header fields that an origin sets for its own host, for programs that see all origins under the host of this
//! peer.
//!
//! A client of this crate and a program that uses the peer as its proxy know the origin of each response. Any other
//! program treats the peer as the origin: it would send the cookies of one origin to all others, apply a policy for a
//! whole host to the peer, and resolve a relative `Location` to the peer. It would also send the credentials for one origin
//! to all others: after a redirect, or when another origin asks for them with the same realm.

use http::header::{
    AUTHORIZATION, CONTENT_LOCATION, COOKIE, LINK, LOCATION, REFRESH, SET_COOKIE, WWW_AUTHENTICATE,
};
use http::{HeaderMap, HeaderName, HeaderValue, Request};

use super::{Form, Mirrors, Seen};
use crate::message::header::host_bound::{SET_COOKIE2, SET_FOR_HOST, is_host_bound};
use crate::message::interim::OnInterim;
use crate::message::url::CanonicalUrl;
use crate::peer::endpoint::access::SEC_FETCH_SITE;

/// The most bytes of all lines of a field whose references are rewritten. Further lines are removed: an origin could name thousands of
/// short relative references, each of which gets the whole URL of the request in front.
const MAX_LENGTH: usize = 64 << 10;

/// How a program sees the header fields of responses.
#[derive(Clone, Debug)]
pub(in crate::peer::endpoint) struct View {
    pub(in crate::peer::endpoint) form: Form,
    pub(in crate::peer::endpoint) mirrors: Mirrors,
    /// Whether programs that request `/proxy?q=` receive `Set-Cookie`.
    pub(in crate::peer::endpoint) pass_cookies: bool,
    /// Whether a browser sent the request. It keeps the credentials that its user enters, and sends them to every origin
    /// with the same realm.
    pub(in crate::peer::endpoint) is_browser: bool,
    /// Whether the request has credentials of its client for the origin. The client would repeat them after a redirect.
    pub(in crate::peer::endpoint) has_credentials: bool,
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
            rewrite_lines(headers, &LINK, |line, most| self.links(line, most, target));
        }
        if !headers.keys().any(|name| is_host_bound(name.as_str().as_bytes())) {
            return;
        }
        for name in &SET_FOR_HOST {
            headers.remove(name);
        }
        if self.is_browser {
            headers.remove(WWW_AUTHENTICATE);
        }
        if !(self.pass_cookies && matches!(self.form, Form::Query)) {
            headers.remove(SET_COOKIE);
            headers.remove(&SET_COOKIE2);
        }
        for name in [LOCATION, CONTENT_LOCATION] {
            rewrite_lines(headers, &name, |line, _| self.reference(line, target));
        }
        rewrite_lines(headers, &REFRESH, |line, _| self.refresh(line, target));
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

    /// Returns a `Refresh` such as `5; url=/next` with the URL in this form. The value is read as browsers do: the separator may be
    /// a space, and `url=` may be absent.
    fn refresh(&self, value: &[u8], target: &CanonicalUrl) -> Seen {
        let is_time = |byte: &u8| byte.is_ascii_digit() || *byte == b'.';
        let value = value.trim_ascii();
        let after = value.iter().position(|byte| !is_time(byte)).unwrap_or(value.len());
        let (time, rest) = value.split_at(after);
        let rest = rest.trim_ascii_start();
        let rest =
            rest.strip_prefix(b";").or_else(|| rest.strip_prefix(b",")).unwrap_or(rest).trim_ascii_start();
        if rest.is_empty() {
            return Seen::Unchanged;
        }
        let named = rest.split_first_chunk::<3>().filter(|(name, _)| name.eq_ignore_ascii_case(b"url"));
        let named = named.and_then(|(_, rest)| rest.trim_ascii_start().strip_prefix(b"="));
        let reference = match named.unwrap_or(rest).trim_ascii_start() {
            [quote @ (b'"' | b'\''), rest @ ..] => {
                rest.split(|byte| byte == quote).next().unwrap_or_default()
            }
            reference => reference,
        };
        match self.reference(reference, target) {
            Seen::As(url) => Seen::As(format!("{}; url={url}", String::from_utf8_lossy(time))),
            seen => seen,
        }
    }

    /// Rewrites the targets of all links (RFC 8288 section 3), which are in angle brackets outside of quoted strings, of a line
    /// that may have about `most` bytes then.
    fn links(&self, line: &[u8], most: usize, target: &CanonicalUrl) -> Seen {
        // Each byte becomes a character, so that other bytes than ASCII stay.
        let line: String = line.iter().copied().map(char::from).collect();
        let mut rewritten = String::with_capacity(line.len() + 64);
        let (mut rest, mut is_quoted) = (&*line, false);
        while let Some(at) = rest.find(['<', '"', '\\']) {
            if rewritten.len() > most {
                return Seen::Nowhere;
            }
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
                    let bytes: Vec<u8> =
                        reference.chars().filter_map(|byte| u8::try_from(byte).ok()).collect();
                    rewritten.push('<');
                    match self.reference(&bytes, target) {
                        Seen::Unchanged => rewritten.push_str(reference),
                        Seen::As(reference) => rewritten.push_str(&reference),
                        Seen::Nowhere => return Seen::Nowhere,
                    }
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
        Seen::As(rewritten)
    }

    fn reference(&self, value: &[u8], target: &CanonicalUrl) -> Seen {
        let form = match self.form {
            Form::Prefix | Form::Mirror(_) if self.has_credentials && leads_elsewhere(value, target) => {
                &Form::Query
            }
            _ => &self.form,
        };
        form.reference(value, target, &self.mirrors)
    }
}

/// Returns whether a reference leads from this URL to another origin.
fn leads_elsewhere(value: &[u8], target: &CanonicalUrl) -> bool {
    target.join_field(value).is_some_and(|url| !url.same_origin(target))
}

/// Returns whether a browser sent a request with these header fields.
pub(in crate::peer::endpoint) fn is_browser(headers: &HeaderMap) -> bool {
    headers.contains_key(&SEC_FETCH_SITE)
}

/// Returns whether a request with these header fields has credentials that programs leave out after a redirect to another
/// host.
pub(in crate::peer::endpoint) fn has_credentials(headers: &HeaderMap) -> bool {
    headers.contains_key(AUTHORIZATION) || headers.contains_key(COOKIE)
}

/// Rewrites all lines of a field. `rewrite` gets a line, and how many bytes it may have. A line that has no meaning for the
/// program, or would be too long, is removed.
fn rewrite_lines(headers: &mut HeaderMap, name: &HeaderName, rewrite: impl Fn(&[u8], usize) -> Seen) {
    if !headers.contains_key(name) {
        return;
    }
    let lines: Vec<HeaderValue> = headers.get_all(name).iter().cloned().collect();
    headers.remove(name);
    let mut left = MAX_LENGTH;
    for line in lines {
        if left == 0 {
            return;
        }
        let seen = match rewrite(line.as_bytes(), left) {
            Seen::Unchanged => Some(line),
            // The characters of a link are bytes, and all other references are ASCII.
            Seen::As(text) => {
                let bytes: Vec<u8> = text.chars().filter_map(|byte| u8::try_from(byte).ok()).collect();
                HeaderValue::from_bytes(&bytes).ok()
            }
            Seen::Nowhere => None,
        };
        match seen {
            Some(seen) => {
                left = left.saturating_sub(seen.len());
                headers.append(name, seen);
            }
            // It may have taken as much time as the longest line, so only some lines can be removed in this way.
            None => left /= 2,
        }
    }
}

#[cfg(test)]
mod tests;
