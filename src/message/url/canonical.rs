use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;
use std::sync::Arc;

use http::Uri;

use super::InvalidUrl;
use super::as_spelled::{self, Parts};
use super::host::{literal_address, push_host, read_port, split_port};
use super::spelling::{push_spelled, without_dot_segments};

/// The longest URL, in bytes.
pub(super) const LONGEST: usize = 8192;

/// The absolute `http` or `https` URL of what is fetched and cached, in its canonical form.
///
/// Equal URLs have equal text: the text is what is cached under and what the ring hashes. The form
/// is that of RFC 3986 sections 6.2.2 and 6.2.3:
///
/// * scheme and host are lower case, an IPv6 address has its shortest form;
/// * the default port, the fragment, and dot segments are gone, and an empty path is `/`;
/// * percent-escapes are upper case, those of unreserved characters are decoded, and a byte that
///   cannot stand in a URL (any outside ASCII, `"`, `<`, `>`, `\`, `^`, `` ` ``, `{`, `|`, `}`, and
///   a `%` that begins no escape) is escaped.
///
/// Nothing else is changed: order and case of a query, empty segments, a query that is empty
/// (`/?` is not `/`) and a dot at the end of the host stay as they are.
///
/// Cloning copies a pointer, not the text.
///
/// ```
/// use forwardcache::CanonicalUrl;
///
/// let target = CanonicalUrl::parse("HTTP://Example.COM:80/a/../%7euser?q=%c3%bc#part")?;
/// assert_eq!(target.as_str(), "http://example.com/~user?q=%C3%BC");
/// # Ok::<(), forwardcache::InvalidUrl>(())
/// ```
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CanonicalUrl {
    text: Arc<str>,
    // All that follows is a function of the text: where its parts end, and the port.
    host_end: u16,
    authority_end: u16,
    path_end: u16,
    port: u16,
}

impl CanonicalUrl {
    /// Reads an absolute URL, of 8 KiB at most.
    ///
    /// Stricter than a browser: no white space is trimmed, a host is never unescaped, and numbers
    /// that only some programs take for an IPv4 address (`127.1`, `0x7f000001`) are refused, so that
    /// all who read the URL mean the same host.
    ///
    /// # Errors
    ///
    /// [`InvalidUrl`] says what is wrong with the text.
    pub fn parse(url: &str) -> Result<Self, InvalidUrl> {
        if url.is_empty() {
            return Err(InvalidUrl::Empty);
        }
        if url.len() > LONGEST {
            return Err(InvalidUrl::TooLong);
        }
        if let Some(parts) = as_spelled::parts(url) {
            return Self::of_parts(url.into(), parts);
        }
        Self::parse_thoroughly(url)
    }

    /// Puts the canonical text together.
    pub(super) fn parse_thoroughly(url: &str) -> Result<Self, InvalidUrl> {
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
        let port = read_port(port)?.unwrap_or(default_port);

        let mut text = String::with_capacity(url.len() + 1);
        text.push_str(if https { "https://" } else { "http://" });
        push_host(&mut text, host)?;
        let host_end = text.len();
        if port != default_port {
            text.push(':');
            text.push_str(&port.to_string());
        }
        let authority_end = text.len();
        let mut spelled = String::with_capacity(path.len());
        push_spelled(&mut spelled, path);
        // Escapes come first: `%2E%2E` is a dot segment too.
        text.push_str(&without_dot_segments(&spelled));
        let path_end = text.len();
        if let Some(query) = query {
            text.push('?');
            push_spelled(&mut text, query);
        }
        if text.len() > LONGEST {
            return Err(InvalidUrl::TooLong);
        }
        Self::of_parts(text.into(), Parts { host_end, authority_end, path_end, port })
    }

    /// The URL of a canonical text.
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

    /// The canonical text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The text whose hash decides who owns this URL: the canonical text.
    ///
    /// The rings of other implementations agree as long as they hash this form. The Go ancestor
    /// hashes a URL as its caller spelled it, fragment and case of the host included.
    #[must_use]
    pub fn ring_key(&self) -> &str {
        &self.text
    }

    /// The same URL in the words of `http`.
    #[must_use]
    pub fn uri(&self) -> Uri {
        self.text.parse().expect("every canonical text is a URI of the http crate")
    }

    /// Whether the scheme is `https`.
    #[must_use]
    pub fn is_https(&self) -> bool {
        self.scheme().len() == "https".len()
    }

    /// The host, with the port if it is not that of the scheme: the value of `Host`.
    #[must_use]
    pub fn authority(&self) -> &str {
        &self.text[self.host_start()..self.authority_end.into()]
    }

    /// The host in lower case; an IPv6 address stands without brackets.
    #[must_use]
    pub fn host(&self) -> &str {
        let host = &self.text[self.host_start()..self.host_end.into()];
        host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host)
    }

    /// The port, from the URL or by its scheme: 80 or 443.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The path, which begins with `/`.
    #[must_use]
    pub fn path(&self) -> &str {
        &self.text[self.authority_end.into()..self.path_end.into()]
    }

    /// The query without its `?`; an empty query is not the same as none.
    #[must_use]
    pub fn query(&self) -> Option<&str> {
        self.text[self.path_end.into()..].strip_prefix('?')
    }

    /// The address, where the host is one and no name has to be resolved.
    #[must_use]
    pub fn literal_address(&self) -> Option<IpAddr> {
        literal_address(self.host())
    }

    /// Whether both have the same scheme, host and port (RFC 6454).
    #[must_use]
    pub fn same_origin(&self, other: &Self) -> bool {
        self.text[..self.authority_end.into()] == other.text[..other.authority_end.into()]
    }

    /// The root of its origin: `http://example.com/` of all that is there.
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
