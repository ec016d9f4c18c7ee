//! The base URL of a peer.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;

use http::Uri;

use crate::base::error::{Error, ErrorKind};
use crate::message::url::{CanonicalUrl, InvalidUrl, push_normalized, query_escape};

/// The base URL of a peer: an `http` or `https` URL such as `http://10.0.1.1:3000`, with a path if the peer is behind a
/// prefix.
///
/// Each peer has one canonical text: that of a [`CanonicalUrl`] without the final slash. `http://Host:80/` and
/// `http://host` are the same peer. The ring hashes this text. An implementation that hashes a peer's URL as listed
/// gets the same result if its list uses the canonical text: lower case, no final slash, and no default port.
///
/// ```
/// use forwardcache::origin::CanonicalUrl;
/// use forwardcache::pool::PeerUrl;
///
/// let peer = PeerUrl::parse("http://10.0.1.1:3000/")?;
/// assert_eq!(peer.as_str(), "http://10.0.1.1:3000");
/// let target = CanonicalUrl::parse("http://example.com/a?b=c")?;
/// assert_eq!(
///     peer.request_url("/proxy", &target),
///     "http://10.0.1.1:3000/proxy?q=http%3A%2F%2Fexample.com%2Fa%3Fb%3Dc"
/// );
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PeerUrl {
    // Invariant: the path ends with a slash, and there is no query.
    base: CanonicalUrl,
}

impl PeerUrl {
    /// Parses the base URL of a peer. Trailing slashes are removed.
    ///
    /// # Errors
    ///
    /// [`InvalidPeerUrl`] if the text is not an absolute `http` or `https` URL, or has userinfo, a query or a fragment,
    /// even an empty one.
    pub fn parse(url: &str) -> Result<Self, InvalidPeerUrl> {
        let target = CanonicalUrl::parse(url).map_err(InvalidPeerUrl::Url)?;
        // `CanonicalUrl` drops the fragment.
        if url.contains('#') {
            return Err(InvalidPeerUrl::Fragment);
        }
        if target.query().is_some() {
            return Err(InvalidPeerUrl::Query);
        }
        let base = format!("{}/", target.as_str().trim_end_matches('/'));
        Ok(Self { base: CanonicalUrl::parse(&base).map_err(InvalidPeerUrl::Url)? })
    }

    /// Returns the canonical text, without a final slash. The ring hashes this text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        let base = self.base.as_str();
        base.strip_suffix('/').unwrap_or(base)
    }

    /// Returns the host, with the port unless it is the default port of the scheme.
    #[must_use]
    pub fn authority(&self) -> &str {
        self.base.authority()
    }

    /// Returns the host, without brackets.
    pub(crate) fn host(&self) -> &str {
        self.base.host()
    }

    /// Returns the port of the URL, or the default port of its scheme.
    #[cfg(feature = "peer")]
    pub(crate) fn port(&self) -> u16 {
        self.base.port()
    }

    /// Returns the default port of the scheme.
    #[cfg(feature = "peer")]
    pub(crate) fn default_port(&self) -> u16 {
        if self.base.is_https() { 443 } else { 80 }
    }

    /// Returns the URL with this address in place of the host.
    pub(crate) fn at(&self, address: IpAddr) -> Result<Self, InvalidPeerUrl> {
        let scheme = if self.base.is_https() { "https" } else { "http" };
        let address = SocketAddr::new(address.to_canonical(), self.base.port());
        Self::parse(&format!("{scheme}://{address}{}", self.base.path()))
    }

    /// Returns the URL of a path below the base. The path must begin with a slash.
    pub(crate) fn url_below(&self, path: &str) -> Option<Uri> {
        format!("{}{path}", self.as_str()).parse().ok()
    }

    /// Returns the URL that requests `target` from this peer: `<base><path>?q=<target, escaped>`.
    ///
    /// The leading slash of `path` is optional. Bytes that are not allowed in a path, including `?` and `#`, are
    /// escaped.
    ///
    /// # Panics
    ///
    /// Panics if the URL would exceed the greatest length of a URI, which needs a `path` of about 10 KiB.
    #[must_use]
    pub fn request_url(&self, path: &str, target: &CanonicalUrl) -> Uri {
        self.url_with_query(path, &format!("q={}", query_escape(target.as_str())))
    }

    /// Like [`request_url`](Self::request_url), with any escaped query.
    pub(crate) fn url_with_query(&self, path: &str, query: &str) -> Uri {
        let mut url = self.base.as_str().to_owned();
        for (at, part) in path.strip_prefix('/').unwrap_or(path).split('?').enumerate() {
            if at > 0 {
                url.push_str("%3F");
            }
            push_normalized(&mut url, part);
        }
        url.push('?');
        url.push_str(query);
        url.parse().expect("an escaped base, path and query form a URI")
    }
}

impl FromStr for PeerUrl {
    type Err = InvalidPeerUrl;

    fn from_str(url: &str) -> Result<Self, InvalidPeerUrl> {
        Self::parse(url)
    }
}

impl fmt::Display for PeerUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Describes why a text is not the base URL of a peer.
///
/// The message is one line and shows nothing of the URL.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum InvalidPeerUrl {
    /// The text is not a valid URL.
    Url(InvalidUrl),
    /// The URL has a query.
    Query,
    /// The URL has a fragment.
    Fragment,
}

impl fmt::Display for InvalidPeerUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Url(error) => write!(f, "invalid URL of a peer: {error}"),
            Self::Query => f.write_str("the URL of a peer must not have a query"),
            Self::Fragment => f.write_str("the URL of a peer must not have a fragment"),
        }
    }
}

impl std::error::Error for InvalidPeerUrl {}

impl From<InvalidPeerUrl> for Error {
    fn from(bad: InvalidPeerUrl) -> Self {
        Self::new(ErrorKind::BadPeer, bad.to_string())
    }
}

#[cfg(test)]
mod tests;
