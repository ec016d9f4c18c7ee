//! Rewrites URLs in bodies that a mirror serves.

use std::io::{self, Read, Write as _};
use std::sync::Arc;

use flate2::Compression;
use flate2::read::MultiGzDecoder;
use flate2::write::GzEncoder;
use http::header::{
    ACCEPT_ENCODING, ACCEPT_RANGES, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, ETAG,
    IF_MODIFIED_SINCE, IF_NONE_MATCH, IF_RANGE, LAST_MODIFIED, RANGE,
};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Response, StatusCode};
use memchr::memmem;

use super::Mirrors;
use crate::base::counted_buffer::CountedBuffer;
use crate::base::error::{Error, ErrorKind, Result};
use crate::base::memory_limit::{Ledger, MemoryUse};
use crate::message::body::Body;
use crate::message::digest::{CONTENT_DIGEST, Digest, REPR_DIGEST};
use crate::message::header::list;
use crate::message::pieces::Pieces;
use crate::message::url::CanonicalUrl;
use crate::peer::mirror::Mirror;

/// The longest body that is rewritten, in bytes, before and after it is decompressed.
const MAX_BODY: usize = 16 << 20;

/// The longest rewritten body, in bytes. The new URLs may be longer, because the client chooses the name of the peer.
const MAX_RESULT: usize = 2 * MAX_BODY;

/// The begin of the `ETag` of a rewritten response. It is weak, because the stored response has other bytes.
const TAG: &str = "W/\"rewritten-";

static OLD_DIGESTS: [HeaderName; 2] =
    [HeaderName::from_static("digest"), HeaderName::from_static("content-md5")];

/// Rewrites the bodies of responses to one request.
#[derive(Clone, Debug)]
pub(in crate::peer::endpoint) struct BodyLinks {
    mirror: Arc<Mirror>,
    mirrors: Mirrors,
    /// Scheme and authority under which the client reaches the peer.
    peer: String,
    method: Method,
    /// The `If-None-Match` of a client that has a rewritten response.
    known: Option<HeaderValue>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Syntax {
    Html,
    Json,
}

/// A reference in a text.
struct Reference<'a> {
    /// Where it begins.
    start: usize,
    scheme: &'a str,
    authority: &'a str,
    /// The text after the authority.
    after: &'a [u8],
}

impl BodyLinks {
    /// Returns how to rewrite the bodies of responses to a request in the form of this mirror, if the mirror rewrites
    /// any. Changes the request so that its response has a form that can be rewritten.
    pub(in crate::peer::endpoint) fn of(
        mirror: &Arc<Mirror>,
        mirrors: &Mirrors,
        peer: String,
        method: &Method,
        headers: &mut HeaderMap,
    ) -> Option<Self> {
        if mirror.rewritten().is_empty() || !matches!(*method, Method::GET | Method::HEAD) {
            return None;
        }
        headers.remove(RANGE);
        headers.remove(IF_RANGE);
        let is_gzip = |coding: &[u8]| {
            let name = coding.split(|byte| *byte == b';').next().unwrap_or_default().trim_ascii();
            let is_refused = coding.ends_with(b"q=0") || coding.ends_with(b"q=0.0");
            (name.eq_ignore_ascii_case(b"gzip") || name == b"*") && !is_refused
        };
        let accepts_gzip = list::members_of(headers, &ACCEPT_ENCODING).any(is_gzip);
        headers.insert(
            ACCEPT_ENCODING,
            HeaderValue::from_static(if accepts_gzip { "gzip" } else { "identity" }),
        );
        let is_ours = |value: &&HeaderValue| memmem::find(value.as_bytes(), TAG.as_bytes()).is_some();
        let known = headers.get(IF_NONE_MATCH).filter(is_ours).cloned();
        if known.is_some() {
            headers.remove(IF_NONE_MATCH);
            headers.remove(IF_MODIFIED_SINCE);
        }
        let (mirror, mirrors) = (Arc::clone(mirror), mirrors.clone());
        Some(Self { mirror, mirrors, peer, method: method.clone(), known })
    }

    /// Returns whether [`rewrite`](Self::rewrite) may change the response. Cheap.
    pub(in crate::peer::endpoint) fn may_change(
        &self,
        response: &Response<Body>,
        target: &CanonicalUrl,
    ) -> bool {
        let headers = response.headers();
        let is_short = response.body().length().is_none_or(|length| length <= MAX_BODY as u64);
        response.status() == StatusCode::OK
            && is_short
            && syntax(headers, target).is_some()
            && coding(headers).is_some()
            && !list::members_of(headers, &CACHE_CONTROL)
                .any(|directive| directive.eq_ignore_ascii_case(b"no-transform"))
    }

    /// Rewrites a response. Reads its body, so it may block. A body that is longer than allowed or not valid gzip stays
    /// as it is.
    ///
    /// # Errors
    ///
    /// The errors of reading the body, and [`ErrorKind::Unavailable`] if the memory limit is reached.
    pub(in crate::peer::endpoint) fn rewrite(
        &self,
        response: Response<Body>,
        target: &CanonicalUrl,
        ledger: &Arc<Ledger>,
    ) -> Result<Response<Body>> {
        let (Some(syntax), Some(is_gzip)) = (syntax(response.headers(), target), coding(response.headers()))
        else {
            return Ok(response);
        };
        let (mut parts, mut body) = response.into_parts();
        if self.method == Method::HEAD {
            remove_validators(&mut parts.headers);
            return Ok(Response::from_parts(parts, Body::empty()));
        }
        let mut bytes = CountedBuffer::new(ledger, MAX_BODY + 1);
        bytes.reserve(body.length().unwrap_or_default())?;
        io::copy(&mut body.by_ref().take(MAX_BODY as u64 + 1), &mut bytes).map_err(Error::from)?;
        let changed = if bytes.len() > MAX_BODY {
            None
        } else {
            match self.changed(&bytes, is_gzip, syntax, ledger) {
                Err(error) if error.kind() == ErrorKind::Unavailable => return Err(error),
                // It is too long, or not valid gzip.
                changed => changed.ok().flatten(),
            }
        };
        let Some(changed) = changed else {
            let beginning = Pieces::from(bytes.into_shared(ledger, MemoryUse::Bodies));
            return Ok(Response::from_parts(parts, Body::with_beginning(beginning, body)));
        };
        drop(bytes);
        let tag = tag(&changed, is_gzip);
        remove_validators(&mut parts.headers);
        let is_known =
            self.known.as_ref().is_some_and(|known| memmem::find(known.as_bytes(), tag.as_bytes()).is_some());
        parts
            .headers
            .insert(ETAG, HeaderValue::try_from(tag).expect("a hexadecimal number is visible ASCII"));
        if is_known {
            parts.status = StatusCode::NOT_MODIFIED;
            parts.headers.remove(CONTENT_ENCODING);
            return Ok(Response::from_parts(parts, Body::empty()));
        }
        let content = if is_gzip { compressed(&changed, ledger)? } else { changed };
        Ok(Response::from_parts(parts, Body::from(content.into_shared(ledger, MemoryUse::Bodies))))
    }

    /// Returns the text of a body with other URLs, if it contains any to rewrite.
    fn changed(
        &self,
        bytes: &[u8],
        is_gzip: bool,
        syntax: Syntax,
        ledger: &Arc<Ledger>,
    ) -> Result<Option<CountedBuffer>> {
        if !is_gzip {
            return self.rewritten(bytes, syntax, ledger);
        }
        let mut text = CountedBuffer::new(ledger, MAX_BODY);
        // A body may have several members (RFC 1952 section 2.2).
        io::copy(&mut MultiGzDecoder::new(bytes), &mut text).map_err(Error::from)?;
        self.rewritten(&text, syntax, ledger)
    }

    /// Returns the text with other URLs, if it contains any to rewrite.
    fn rewritten(&self, text: &[u8], syntax: Syntax, ledger: &Arc<Ledger>) -> Result<Option<CountedBuffer>> {
        let changed = self.replaced(text, syntax, "/", ledger)?;
        if syntax == Syntax::Json && memmem::find(text, br"\/\/").is_some() {
            let again = self.replaced(changed.as_deref().unwrap_or(text), syntax, r"\/", ledger)?;
            return Ok(again.or(changed));
        }
        Ok(changed)
    }

    /// Replaces the URLs whose slashes are written in this way.
    fn replaced(
        &self,
        text: &[u8],
        syntax: Syntax,
        slash: &str,
        ledger: &Arc<Ledger>,
    ) -> Result<Option<CountedBuffer>> {
        let (mut output, mut copied) = (CountedBuffer::new(ledger, MAX_RESULT), 0);
        for at in memmem::find_iter(text, slash.as_bytes()) {
            let Some(found) = self.reference_at(text, at, syntax, slash) else { continue };
            if found.start < copied {
                continue;
            }
            let (path, length) = self.place(found.scheme, found.authority, found.after, slash);
            output.push(&text[copied..found.start])?;
            if syntax == Syntax::Json {
                output.push(self.peer.as_bytes())?;
            }
            output.push(path.as_bytes())?;
            copied = text.len() - found.after.len() + length;
        }
        if copied == 0 {
            return Ok(None);
        }
        output.push(&text[copied..])?;
        Ok(Some(output))
    }

    /// Returns the reference to rewrite whose first slash is at this place, if there is one: a URL, or in HTML also a path of
    /// the origin's host, which would lead to the peer.
    fn reference_at<'a>(
        &'a self,
        text: &'a [u8],
        at: usize,
        syntax: Syntax,
        slash: &str,
    ) -> Option<Reference<'a>> {
        let document = self.mirror.url();
        let slash = slash.as_bytes();
        let Some(rest) = text[at..].strip_prefix(slash).and_then(|rest| rest.strip_prefix(slash)) else {
            let is_path =
                syntax == Syntax::Html && begins_link(&text[..at]) && text.get(at + 1) != Some(&b'\\');
            let scheme = if document.is_https() { "https" } else { "http" };
            let (authority, after) = (document.authority(), &text[at..]);
            return is_path.then_some(Reference { start: at, scheme, authority, after });
        };
        let (start, scheme) = scheme_before(text, at, syntax, document)?;
        let default_port: &[u8] = if scheme == "https" { b":443" } else { b":80" };
        self.mirror.rewritten().iter().find_map(|authority| {
            let (shown, after) = rest.split_at_checked(authority.len())?;
            // A canonical authority has no default port, but a document may write it.
            let after = after.strip_prefix(default_port).unwrap_or(after);
            let is_found = shown.eq_ignore_ascii_case(authority.as_bytes()) && is_end_of_authority(after);
            is_found.then_some(Reference { start, scheme, authority, after })
        })
    }

    /// Returns the path under which the peer serves the URLs that begin like this one, and how many bytes after the
    /// authority the path replaces.
    fn place(&self, scheme: &str, authority: &str, after: &[u8], slash: &str) -> (String, usize) {
        let root = format!("{scheme}://{authority}/");
        let own = std::iter::once(&self.mirror).chain(self.mirrors.0.iter());
        for mirror in own {
            let Some(below) = mirror.url().as_str().strip_prefix(&root) else { continue };
            let written = format!("/{below}").replace('/', slash);
            if after.starts_with(written.as_bytes()) {
                return (mirror.path().to_owned(), written.len());
            }
            if below.is_empty() {
                return (mirror.path().to_owned(), 0);
            }
        }
        (format!("{}{}", super::FETCH, &root[..root.len() - 1]), 0)
    }
}

/// Returns where the URL with `//` at this place begins, and its scheme. A reference without a scheme has that of the
/// document, and is recognized only in attributes of HTML.
fn scheme_before<'a>(
    text: &[u8],
    at: usize,
    syntax: Syntax,
    document: &'a CanonicalUrl,
) -> Option<(usize, &'a str)> {
    for scheme in ["https", "http"] {
        let Some(start) = at.checked_sub(scheme.len() + 1) else { continue };
        let written = &text[start..at];
        let is_scheme =
            written.ends_with(b":") && written[..scheme.len()].eq_ignore_ascii_case(scheme.as_bytes());
        let is_word = start.checked_sub(1).is_some_and(|before| text[before].is_ascii_alphanumeric());
        if is_scheme && !is_word {
            return Some((start, scheme));
        }
    }
    let is_attribute = syntax == Syntax::Html
        && at.checked_sub(1).is_some_and(|before| matches!(text[before], b'"' | b'\'' | b'='));
    is_attribute.then(|| (at, if document.is_https() { "https" } else { "http" }))
}

/// Returns whether the value of an attribute that is a link begins after this text.
fn begins_link(before: &[u8]) -> bool {
    let before = before.strip_suffix(b"\"").or_else(|| before.strip_suffix(b"'")).unwrap_or(before);
    let Some(before) = before.strip_suffix(b"=") else { return false };
    [&b"href"[..], b"src"].iter().any(|name| {
        before.split_at_checked(before.len().wrapping_sub(name.len())).is_some_and(|(before, found)| {
            found.eq_ignore_ascii_case(name) && before.last().is_some_and(u8::is_ascii_whitespace)
        })
    })
}

/// Returns whether an authority may end before these bytes.
fn is_end_of_authority(after: &[u8]) -> bool {
    !matches!(after.first(), Some(byte) if byte.is_ascii_alphanumeric() || b"-._~:@%".contains(byte))
}

/// Returns the syntax of a body that is rewritten.
fn syntax(headers: &HeaderMap, target: &CanonicalUrl) -> Option<Syntax> {
    let value = headers.get(CONTENT_TYPE).map(HeaderValue::as_bytes).unwrap_or_default();
    let value = value.to_ascii_lowercase();
    if memmem::find(&value, b"utf-16").is_some() || memmem::find(&value, b"utf-32").is_some() {
        return None;
    }
    let name = value.split(|byte| *byte == b';').next().unwrap_or_default().trim_ascii();
    match name {
        b"text/html" | b"application/xhtml+xml" => Some(Syntax::Html),
        b"application/json" | b"text/json" => Some(Syntax::Json),
        _ if name.ends_with(b"+html") => Some(Syntax::Html),
        _ if name.ends_with(b"+json") => Some(Syntax::Json),
        // Servers of static files do not always know the type.
        b"" | b"text/plain" | b"application/octet-stream" | b"binary/octet-stream" => {
            target.path().ends_with(".json").then_some(Syntax::Json)
        }
        _ => None,
    }
}

/// Returns whether the body is compressed with gzip. `None` if it has another coding.
fn coding(headers: &HeaderMap) -> Option<bool> {
    let mut codings = list::members_of(headers, &CONTENT_ENCODING);
    match (codings.next(), codings.next()) {
        (None, _) => Some(false),
        (Some(coding), None) if coding.eq_ignore_ascii_case(b"identity") => Some(false),
        (Some(coding), None) => {
            (coding.eq_ignore_ascii_case(b"gzip") || coding.eq_ignore_ascii_case(b"x-gzip")).then_some(true)
        }
        _ => None,
    }
}

fn remove_validators(headers: &mut HeaderMap) {
    for name in [ETAG, LAST_MODIFIED, ACCEPT_RANGES, CONTENT_LENGTH] {
        headers.remove(name);
    }
    for name in [&CONTENT_DIGEST, &REPR_DIGEST].into_iter().chain(&OLD_DIGESTS) {
        headers.remove(name);
    }
}

fn tag(text: &[u8], is_gzip: bool) -> String {
    let mut digest = String::new();
    Digest::of(text).write(&mut digest);
    let letters: String = digest.chars().filter(char::is_ascii_alphanumeric).take(32).collect();
    format!("{TAG}{letters}{}\"", if is_gzip { "-gzip" } else { "" })
}

fn compressed(text: &[u8], ledger: &Arc<Ledger>) -> Result<CountedBuffer> {
    let mut encoder = GzEncoder::new(CountedBuffer::new(ledger, usize::MAX), Compression::fast());
    encoder.write_all(text).and_then(|()| encoder.finish()).map_err(Error::from)
}

#[cfg(test)]
mod tests;
