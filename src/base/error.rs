//! The one error of the crate's face.
//!
//! Inside, each wall has its own small error; what leaves the crate is an [`Error`]: opaque, with a
//! [`kind`](Error::kind) to decide on, the URL and the peer it concerns, and the cause as
//! [`source`](std::error::Error::source). Neither text nor debug form ever shows userinfo or query:
//! both may carry secrets.

use std::error::Error as StdError;
use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use crate::base::named::named;

/// A result with this crate's [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

named! {
    /// What went wrong, for a program to decide on.
    #[non_exhaustive]
    pub enum ErrorKind: ALL {
        /// The URL is not an absolute `http` or `https` URL that can be fetched.
        BadUrl = "bad-url",
        /// A peer's URL cannot be used, a pool's list holds such a URL, or what was asked is no peer's path.
        BadPeer = "bad-peer",
        /// An option has a value that makes no sense, or a file that it names cannot be used.
        BadOption = "bad-option",
        /// The request itself cannot be sent: `CONNECT`, a body too large to hold, a bad field.
        BadRequest = "bad-request",
        /// The pool has no peer, or all of them failed lately and are left alone for a while, and
        /// [`OnNoPeers::Fail`](crate::OnNoPeers::Fail) was chosen.
        OnNoPeers = "no-peer-left",
        /// The host's name cannot be resolved.
        Unresolved = "unresolved",
        /// No connection: refused, unreachable, or ended before a response.
        Unreachable = "unreachable",
        /// The TLS handshake failed.
        Tls = "tls",
        /// No answer in time.
        Timeout = "timeout",
        /// The request was cancelled: see [`Cancellation`](crate::Cancellation).
        Cancelled = "cancelled",
        /// The answer is not HTTP that can be trusted: a bad or oversized head, ambiguous framing.
        BadResponse = "bad-response",
        /// The body ended before it was whole.
        IncompleteBody = "incomplete-body",
        /// The body is not the one whose digest was announced: it was altered or damaged on its way.
        DigestMismatch = "digest-mismatch",
        /// The body is larger than the caller's limit.
        BodyTooLarge = "body-too-large",
        /// The peer does not know who asks: no token was shown, or one that it does not accept.
        Unauthorized = "unauthorized",
        /// The request leads back to where it came from.
        Loop = "loop",
        /// The rules do not allow that this origin is fetched: see [`OriginRules`](crate::OriginRules).
        Forbidden = "forbidden",
        /// The address to serve on cannot be bound.
        Listen = "listen",
        /// The peer is shutting down or has too much to do, or the origin may not be asked at the moment: its limit is
        /// reached, or it asked to be left alone. See [`Error::retry_after`].
        Unavailable = "unavailable",
        /// The origin is not asked now: its limit is reached, or it asked to be left alone for a while. See
        /// [`retry_after`](Error::retry_after).
        OriginBusy = "origin-busy",
        /// Any other failure of input or output.
        Io = "io",
    }
}

impl ErrorKind {
    /// The kind of this [`name`](Self::name).
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }
}

/// An error of forwardcache.
///
/// Cloning nothing and naming everything: [`kind`](Self::kind) says what to do about it,
/// [`url`](Self::url) and [`peer`](Self::peer) what it was about, and the chain of
/// [`source`](StdError::source) how it came about.
#[derive(Debug)]
pub struct Error {
    inner: Box<Inner>,
}

/// What one kind of error may be due to, for those who judge a peer by it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cause {
    /// This program does not trust the other's certificate, or its own is refused.
    Trust,
    /// The head of the response is larger than this program accepts.
    Limits,
    /// The response is not one of a peer.
    Stranger,
    /// The peer does not answer `/healthz` either.
    Silent,
}

#[derive(Clone, Debug)]
struct Inner {
    kind: ErrorKind,
    message: String,
    url: Option<String>,
    peer: Option<String>,
    is_told_by_peer: bool,
    is_unsent: bool,
    cause: Option<Cause>,
    retry_after: Option<Duration>,
    source: Option<Arc<dyn StdError + Send + Sync>>,
}

impl Error {
    /// An error of `kind` that says `message`: one line, lower case, without a full stop.
    ///
    /// Public because whoever implements [`RoundTrip`](crate::RoundTrip) has to make them.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self {
            inner: Box::new(Inner {
                kind,
                message: message.into(),
                url: None,
                peer: None,
                is_told_by_peer: false,
                is_unsent: false,
                cause: None,
                retry_after: None,
                source: None,
            }),
        }
    }

    /// The same error with its cause.
    #[must_use]
    pub fn with_source(mut self, source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        self.inner.source = Some(source.into().into());
        self
    }

    /// The same error about this URL, of which userinfo, query and fragment are not kept.
    #[must_use]
    pub fn with_url(mut self, url: impl fmt::Display) -> Self {
        self.inner.url = Some(redacted(&url.to_string()));
        self
    }

    /// The same error about this peer.
    #[must_use]
    pub fn with_peer(mut self, peer: impl fmt::Display) -> Self {
        self.inner.peer = Some(redacted(&peer.to_string()));
        self
    }

    /// The same error, of which this peer told us: it was there, and something behind it failed.
    #[must_use]
    pub(crate) fn told_by_peer(mut self, peer: impl fmt::Display) -> Self {
        self.inner.is_told_by_peer = true;
        self.with_peer(peer)
    }

    /// The same error, before any of the request was sent.
    #[must_use]
    pub(crate) fn unsent(mut self) -> Self {
        self.inner.is_unsent = true;
        self
    }

    /// Whether it is known that nothing of the request was sent: whatever it is, it may be sent elsewhere.
    #[must_use]
    pub(crate) fn is_unsent(&self) -> bool {
        self.inner.is_unsent
    }

    /// The same error, of which this is known beside its kind.
    #[must_use]
    pub(crate) fn because(mut self, cause: Cause) -> Self {
        self.inner.cause = Some(cause);
        self
    }

    /// What is known of it beside its kind.
    #[must_use]
    pub(crate) fn cause(&self) -> Option<Cause> {
        self.inner.cause
    }

    /// The same error, of what may go better after this long.
    #[must_use]
    pub fn with_retry_after(mut self, time: Duration) -> Self {
        self.inner.retry_after = Some(time);
        self
    }

    /// The same error for another request that waited for the same thing.
    pub(crate) fn shared(&self) -> Self {
        Self { inner: self.inner.clone() }
    }

    /// What went wrong.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        self.inner.kind
    }

    /// What went wrong in words, without URL and peer.
    #[must_use]
    pub fn message(&self) -> &str {
        &self.inner.message
    }

    /// The URL it was about, without userinfo, query and fragment.
    #[must_use]
    pub fn url(&self) -> Option<&str> {
        self.inner.url.as_deref()
    }

    /// The peer it was about.
    #[must_use]
    pub fn peer(&self) -> Option<&str> {
        self.inner.peer.as_deref()
    }

    /// After how long it is worth trying again, where that is known.
    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        self.inner.retry_after
    }

    /// Whether that [`peer`](Self::peer) is there and told us of a failure behind it, most often of the
    /// origin. If not, it is the peer that could not be asked.
    #[must_use]
    pub fn is_told_by_peer(&self) -> bool {
        self.inner.is_told_by_peer
    }
}

/// What of a URL may be shown: secrets travel in userinfo, query and fragment.
pub(crate) fn redacted(url: &str) -> String {
    let end = url.find(['?', '#']).unwrap_or(url.len());
    let shown = &url[..end];
    let Some(authority) = shown.find("://").map(|at| at + 3) else {
        return shown.to_owned();
    };
    let path = shown[authority..].find('/').map_or(shown.len(), |at| authority + at);
    match shown[authority..path].rfind('@') {
        Some(at) => format!("{}{}", &shown[..authority], &shown[authority + at + 1..]),
        None => shown.to_owned(),
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.inner.message)?;
        if let Some(url) = &self.inner.url {
            write!(f, ": {url}")?;
        }
        if let Some(peer) = &self.inner.peer {
            let who = if self.inner.is_told_by_peer { "told by the peer" } else { "asking the peer" };
            write!(f, " ({who} {peer})")?;
        }
        Ok(())
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.inner.source.as_deref().map(|source| source as _)
    }
}

/// A body is read as [`io::Read`], so an error of ours may arrive inside an [`io::Error`]; it comes
/// out as it went in.
impl From<io::Error> for Error {
    fn from(error: io::Error) -> Self {
        match error.downcast::<Self>() {
            Ok(ours) => ours,
            Err(error) => {
                let kind = match error.kind() {
                    io::ErrorKind::TimedOut | io::ErrorKind::WouldBlock => ErrorKind::Timeout,
                    io::ErrorKind::UnexpectedEof => ErrorKind::IncompleteBody,
                    _ => ErrorKind::Io,
                };
                Self::new(kind, error.to_string()).with_source(error)
            }
        }
    }
}

impl From<Error> for io::Error {
    fn from(error: Error) -> Self {
        let kind = match error.kind() {
            ErrorKind::Timeout => io::ErrorKind::TimedOut,
            ErrorKind::IncompleteBody => io::ErrorKind::UnexpectedEof,
            _ => io::ErrorKind::Other,
        };
        Self::new(kind, error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_are_found_by_their_names() {
        for kind in ErrorKind::ALL {
            assert_eq!(ErrorKind::from_name(kind.name()), Some(kind));
        }
        assert_eq!(ErrorKind::from_name("no-such-kind"), None);
    }

    #[test]
    fn secrets_of_a_url_are_not_shown() {
        let error = Error::new(ErrorKind::Timeout, "no answer in time")
            .with_url("https://user:pa@ss@example.com/a?token=secret#part");
        assert_eq!(error.to_string(), "no answer in time: https://example.com/a");
        assert!(!format!("{error:?}").contains("secret"));
    }

    #[test]
    fn an_error_survives_the_way_through_io() {
        let io = io::Error::from(Error::new(ErrorKind::IncompleteBody, "cut").with_peer("http://p:1"));
        assert_eq!(io.kind(), io::ErrorKind::UnexpectedEof);
        let back = Error::from(io);
        assert_eq!(back.kind(), ErrorKind::IncompleteBody);
        assert_eq!(back.peer(), Some("http://p:1"));
    }

    #[test]
    fn the_cause_is_kept() {
        let error = Error::from(io::Error::new(io::ErrorKind::TimedOut, "slow"));
        assert_eq!(error.kind(), ErrorKind::Timeout);
        assert_eq!(error.source().map(ToString::to_string).as_deref(), Some("slow"));
    }
}
