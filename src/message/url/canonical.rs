//! The canonical form of a URL.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;
use std::sync::Arc;

use http::Uri;

use super::InvalidUrl;
use super::already_canonical::{self, Parts};
use super::host::{literal_address, parse_port, push_host, split_port};
use super::normalization::{push_normalized, remove_dot_segments};

/// The maximum length of a URL, in bytes.
pub(super) const MAX_LENGTH: usize = 8192;

/// The absolute `http` or `https` URL of a resource, in its canonical form.
///
/// Equal URLs have equal text. The cache uses the text as key, and the ring hashes it. The form follows RFC 3986
/// sections 6.2.2 and 6.2.3:
///
/// * Scheme and host are in lower case; an IPv6 address has its shortest form.
/// * The default port, the fragment and dot segments are removed; an empty path becomes `/`.
/// * Percent-escapes are in upper case, and those of unreserved characters are decoded. Bytes that are not allowed in
///   a URL are escaped: all outside ASCII, `"`, `<`, `>`, `\`, `^`, `` ` ``, `{`, `|`, `}`, and a `%` that does not
///   begin an escape.
///
/// Everything else stays: the order and case of the query, empty segments, an empty query (`/?` differs from `/`),
/// and a dot at the end of the host.
///
/// Cloning does not copy the text.
///
/// ```
/// use forwardcache::origin::CanonicalUrl;
///
/// let target = CanonicalUrl::parse("HTTP://Example.COM:80/a/../%7euser?q=%c3%bc#part")?;
/// assert_eq!(target.as_str(), "http://example.com/~user?q=%C3%BC");
/// # Ok::<(), forwardcache::origin::InvalidUrl>(())
/// ```
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CanonicalUrl {
    text: Arc<str>,
    // The following fields are derived from the text: the ends of its parts, and the port.
    host_end: u16,
    authority_end: u16,
    path_end: u16,
    port: u16,
}

impl CanonicalUrl {
    /// Parses an absolute URL of at most 8 KiB.
    ///
    /// The parser is stricter than a browser: it does not trim white space or unescape hosts, and it rejects numbers
    /// that only some programs accept as an IPv4 address (`127.1`, `0x7f000001`). All programs that parse the
    /// URL therefore find the same host.
    ///
    /// # Errors
    ///
    /// [`InvalidUrl`] tells why the text is not such a URL.
    pub fn parse(url: &str) -> Result<Self, InvalidUrl> {
        if url.is_empty() {
            return Err(InvalidUrl::Empty);
        }
        if url.len() > MAX_LENGTH {
            return Err(InvalidUrl::TooLong);
        }
        if let Some(parts) = already_canonical::parts(url) {
            return Self::of_parts(url.into(), parts);
        }
        Self::normalize(url)
    }

    /// Parses any URL and builds its canonical text.
    pub(super) fn normalize(url: &str) -> Result<Self, InvalidUrl> {
        if url.bytes().any(|byte| byte == b' ' || byte.is_ascii_control()) {
            return Err(InvalidUrl::BadByte);
        }
        let (scheme, rest) = url.split_once(':').ok_or(InvalidUrl::NotAbsolute)?;
        let https = scheme.eq_ignore_ascii_case("https");
        if !https && !scheme.eq_ignore_ascii_case("http") {
            return Err(InvalidUrl::NotAbsolute);
        }
        let rest = rest.strip_prefix("//").ok_or(InvalidUrl::NotAbsolute)?;
        let rest = rest.split_once('#').map_or(rest, |(before, _fragment)| before);
        let (authority, rest) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
        let (path, query) = match rest.split_once('?') {
            Some((path, query)) => (path, Some(query)),
            None => (rest, None),
        };

        if authority.contains('@') {
            return Err(InvalidUrl::UserInfo);
        }
        let (host, port) = split_port(authority)?;
        let default_port = if https { 443 } else { 80 };
        let port = parse_port(port)?.unwrap_or(default_port);

        let mut text = String::with_capacity(url.len() + 1);
        text.push_str(if https { "https://" } else { "http://" });
        push_host(&mut text, host)?;
        let host_end = text.len();
        if port != default_port {
            text.push(':');
            text.push_str(&port.to_string());
        }
        let authority_end = text.len();
        let mut normalized = String::with_capacity(path.len());
        push_normalized(&mut normalized, path);
        // Escapes are normalized first because `%2E%2E` is a dot segment too.
        text.push_str(&remove_dot_segments(&normalized));
        let path_end = text.len();
        if let Some(query) = query {
            text.push('?');
            push_normalized(&mut text, query);
        }
        if text.len() > MAX_LENGTH {
            return Err(InvalidUrl::TooLong);
        }
        Self::of_parts(text.into(), Parts { host_end, authority_end, path_end, port })
    }

    /// Creates a URL from canonical text and the positions of its parts.
    fn of_parts(text: Arc<str>, parts: Parts) -> Result<Self, InvalidUrl> {
        let offset = |at: usize| u16::try_from(at).map_err(|_| InvalidUrl::TooLong);
        Ok(Self {
            host_end: offset(parts.host_end)?,
            authority_end: offset(parts.authority_end)?,
            path_end: offset(parts.path_end)?,
            port: parts.port,
            text,
        })
    }

    #[cfg(test)]
    pub(super) fn parts(&self) -> Parts {
        Parts {
            host_end: self.host_end.into(),
            authority_end: self.authority_end.into(),
            path_end: self.path_end.into(),
            port: self.port,
        }
    }

    /// Returns the canonical text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Returns the text whose hash determines the owner of the URL: the canonical text.
    ///
    /// Rings of other implementations agree if they hash this form. The Go package hashes URLs exactly as the caller
    /// wrote them, including the fragment and the case of the host.
    #[must_use]
    pub fn ring_key(&self) -> &str {
        &self.text
    }

    /// Returns the URL as the `http` crate's type.
    #[must_use]
    pub fn uri(&self) -> Uri {
        self.text.parse().expect("every canonical text is a URI of the http crate")
    }

    /// Returns whether the scheme is `https`.
    #[must_use]
    pub fn is_https(&self) -> bool {
        self.scheme().len() == "https".len()
    }

    /// Returns the host, and the port if it is not the scheme's default: the value of `Host`.
    #[must_use]
    pub fn authority(&self) -> &str {
        &self.text[self.host_start()..self.authority_end.into()]
    }

    /// Returns the host in lower case; an IPv6 address has no brackets.
    #[must_use]
    pub fn host(&self) -> &str {
        let host = &self.text[self.host_start()..self.host_end.into()];
        host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host)
    }

    /// Returns the port of the URL, or the scheme's default: 80 or 443.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Returns the path, which starts with `/`.
    #[must_use]
    pub fn path(&self) -> &str {
        &self.text[self.authority_end.into()..self.path_end.into()]
    }

    /// Returns the query without its `?`. An empty query differs from no query.
    #[must_use]
    pub fn query(&self) -> Option<&str> {
        self.text[self.path_end.into()..].strip_prefix('?')
    }

    /// Returns the address if the host is an IP address and no name has to be resolved.
    #[must_use]
    pub fn literal_address(&self) -> Option<IpAddr> {
        literal_address(self.host())
    }

    /// Returns whether both URLs have the same scheme, host and port (RFC 6454).
    #[must_use]
    pub fn same_origin(&self, other: &Self) -> bool {
        self.text[..self.authority_end.into()] == other.text[..other.authority_end.into()]
    }

    /// Returns the root URL of the origin, such as `http://example.com/`.
    pub(crate) fn origin(&self) -> Self {
        let root = self.authority_end + 1;
        Self { text: self.text[..root.into()].into(), path_end: root, ..*self }
    }

    pub(crate) fn scheme(&self) -> &str {
        if self.text.starts_with("https:") { "https" } else { "http" }
    }

    fn host_start(&self) -> usize {
        self.scheme().len() + "://".len()
    }
}

impl FromStr for CanonicalUrl {
    type Err = InvalidUrl;

    fn from_str(url: &str) -> Result<Self, InvalidUrl> {
        Self::parse(url)
    }
}

impl fmt::Display for CanonicalUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Debug for CanonicalUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("CanonicalUrl").field(&self.text).finish()
    }
}

#[cfg(test)]
mod tests;
