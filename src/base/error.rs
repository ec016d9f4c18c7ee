//! The error type of the public API.
//!
//! Modules use small errors of their own; the public API returns [`Error`]. It is opaque, has a [`kind`](Error::kind)
//! to decide on, the URL and the peer that it concerns, and the cause as [`source`](std::error::Error::source).
//! Neither `Display` nor `Debug` shows userinfo or query of a URL, because both may contain secrets.

use std::error::Error as StdError;
use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use http::StatusCode;

use crate::base::named::named;
use crate::base::redacted::redacted;

/// A result with this crate's [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

named! {
    /// The category of an [`Error`], for programs to decide on.
    #[non_exhaustive]
    pub enum ErrorKind: ALL {
        /// The URL is not an absolute `http` or `https` URL that can be fetched.
        BadUrl = "bad-url",
        /// A peer's URL or a URL in the pool's list cannot be used, or a request is not for a path that peers serve.
        BadPeer = "bad-peer",
        /// An option has an invalid value, or a file that it names cannot be used.
        BadOption = "bad-option",
        /// The request cannot be sent: `CONNECT`, a body too large to buffer, an invalid header field.
        BadRequest = "bad-request",
        /// The pool has no peers, or all of them failed recently and are not asked for a while, and
        /// [`OnNoPeers::Fail`](crate::client::OnNoPeers::Fail) is configured.
        NoPeers = "no-peer-left",
        /// The host name cannot be resolved.
        Unresolved = "unresolved",
        /// The connection was refused, the host is unreachable, or the connection ended before a response arrived.
        Unreachable = "unreachable",
        /// The TLS handshake failed.
        Tls = "tls",
        /// No response arrived in time.
        Timeout = "timeout",
        /// The request was cancelled: see [`Cancellation`](crate::Cancellation).
        Cancelled = "cancelled",
        /// The response is not valid HTTP: a malformed or oversized head, or ambiguous framing.
        BadResponse = "bad-response",
        /// The body ended before it was complete.
        IncompleteBody = "incomplete-body",
        /// The body does not match the announced digest: it was altered or damaged in transit.
        DigestMismatch = "digest-mismatch",
        /// The body is larger than the caller's limit.
        BodyTooLarge = "body-too-large",
        /// The peer rejected the credentials: the request has no token, or one that the peer does not accept.
        Unauthorized = "unauthorized",
        /// The request leads back to its sender.
        Loop = "loop",
        /// The access rules do not allow this origin: see [`OriginRules`](crate::origin::OriginRules).
        Forbidden = "forbidden",
        /// The address to listen on cannot be bound.
        Listen = "listen",
        /// The peer is shutting down or overloaded, or the origin cannot be asked now because its limit is reached or
        /// because it requested a pause. See [`Error::retry_after`].
        Unavailable = "unavailable",
        /// The origin cannot be asked now: its limit is reached, or it requested a pause. See
        /// [`retry_after`](Error::retry_after).
        OriginBusy = "origin-busy",
        /// The response has an error status (4xx or 5xx): see
        /// [`ResponseExt::error_for_status`](crate::ResponseExt::error_for_status).
        Status = "status",
        /// Any other I/O failure.
        Io = "io",
    }
}

impl ErrorKind {
    /// Returns the kind with this [`name`](Self::name).
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }
}

/// The error type of forwardcache.
///
/// [`kind`](Self::kind) helps a program to decide what to do, [`url`](Self::url) and [`peer`](Self::peer) tell what the
/// error concerns, and the chain of [`source`](StdError::source) explains the cause.
#[derive(Debug)]
pub struct Error {
    inner: Box<Inner>,
}

/// Details about an error for the health check of peers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cause {
    /// A certificate was rejected: the peer's by this program, or this program's by the peer.
    Trust,
    /// The head of the response exceeds this program's limit.
    Limits,
    /// The response does not come from a forwardcache peer.
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
    is_reported_by_peer: bool,
    is_unsent: bool,
    cause: Option<Cause>,
    retry_after: Option<Duration>,
    status: Option<StatusCode>,
    source: Option<Arc<dyn StdError + Send + Sync>>,
}

impl Error {
    /// Creates an error with a message: one line, lower case, without a full stop.
    ///
    /// Implementations of [`RoundTrip`](crate::RoundTrip) use this constructor.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self {
            inner: Box::new(Inner {
                kind,
                message: message.into(),
                url: None,
                peer: None,
                is_reported_by_peer: false,
                is_unsent: false,
                cause: None,
                retry_after: None,
                status: None,
                source: None,
            }),
        }
    }

    /// Adds the cause.
    #[must_use]
    pub fn with_source(mut self, source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        self.inner.source = Some(source.into().into());
        self
    }

    /// Adds the URL without its userinfo, query and fragment.
    #[must_use]
    pub fn with_url(mut self, url: impl fmt::Display) -> Self {
        self.inner.url = Some(redacted(&url.to_string()));
        self
    }

    /// Adds the URL of the peer.
    #[must_use]
    pub fn with_peer(mut self, peer: impl fmt::Display) -> Self {
        self.inner.peer = Some(redacted(&peer.to_string()));
        self
    }

    /// Marks the error as reported by this peer: the peer answered, and something behind it failed.
    #[must_use]
    pub(crate) fn reported_by_peer(mut self, peer: impl fmt::Display) -> Self {
        self.inner.is_reported_by_peer = true;
        self.with_peer(peer)
    }

    /// Marks the error as one that occurred before any part of the request was sent.
    #[must_use]
    pub(crate) fn unsent(mut self) -> Self {
        self.inner.is_unsent = true;
        self
    }

    /// Returns whether nothing of the request was sent, so that even a request that is not idempotent may be sent again.
    #[must_use]
    pub fn is_unsent(&self) -> bool {
        self.inner.is_unsent
    }

    /// Adds details for the health check of peers.
    #[must_use]
    pub(crate) fn because(mut self, cause: Cause) -> Self {
        self.inner.cause = Some(cause);
        self
    }

    /// Returns the details for the health check of peers.
    #[must_use]
    pub(crate) fn cause(&self) -> Option<Cause> {
        self.inner.cause
    }

    /// Adds the time after which a retry may succeed.
    #[must_use]
    pub fn with_retry_after(mut self, time: Duration) -> Self {
        self.inner.retry_after = Some(time);
        self
    }

    /// Adds the status of the response.
    #[must_use]
    pub(crate) fn with_status(mut self, status: StatusCode) -> Self {
        self.inner.status = Some(status);
        self
    }

    /// Returns a copy for another request that waited for the same result.
    pub(crate) fn shared(&self) -> Self {
        Self { inner: self.inner.clone() }
    }

    /// Removes the URL.
    pub(crate) fn without_url(mut self) -> Self {
        self.inner.url = None;
        self
    }

    /// Returns the category.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        self.inner.kind
    }

    /// Returns the message without URL and peer.
    #[must_use]
    pub fn message(&self) -> &str {
        &self.inner.message
    }

    /// Returns the message followed by its causes, without URL and peer, for places that have one line. A cause that an
    /// earlier part already shows is left out.
    #[must_use]
    pub fn reason(&self) -> String {
        let mut reason = self.inner.message.clone();
        for cause in std::iter::successors(self.source(), |cause| (*cause).source()) {
            let cause = cause.to_string();
            // ureq adds this to the message of the system.
            let cause = cause.strip_prefix("io: ").unwrap_or(&cause);
            if !reason.contains(cause) {
                reason.push_str(": ");
                reason.push_str(cause);
            }
        }
        reason
    }

    /// Returns the URL without its userinfo, query and fragment.
    #[must_use]
    pub fn url(&self) -> Option<&str> {
        self.inner.url.as_deref()
    }

    /// Returns the URL of the peer.
    #[must_use]
    pub fn peer(&self) -> Option<&str> {
        self.inner.peer.as_deref()
    }

    /// Returns the time after which a retry may succeed, if known.
    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        self.inner.retry_after
    }

    /// Returns the status of the response, if the error is about one ([`ErrorKind::Status`]).
    #[must_use]
    pub fn status(&self) -> Option<StatusCode> {
        self.inner.status
    }

    /// Returns whether a time limit caused the error.
    #[must_use]
    pub fn is_timeout(&self) -> bool {
        self.inner.kind == ErrorKind::Timeout
    }

    /// Returns whether the same request may succeed if it is sent again later: the pool, a peer, the network or the
    /// origin failed temporarily. [`retry_after`](Self::retry_after) returns the time to wait, if known.
    ///
    /// The origin may have processed the failed request, so repeat only idempotent requests (RFC 9110 section 9.2.2).
    ///
    /// ```
    /// use forwardcache::{Error, ErrorKind};
    ///
    /// assert!(Error::new(ErrorKind::Timeout, "no response in time").is_retryable());
    /// assert!(!Error::new(ErrorKind::BadUrl, "not a URL").is_retryable());
    /// ```
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        match self.inner.kind {
            ErrorKind::NoPeers
            | ErrorKind::Unresolved
            | ErrorKind::Unreachable
            | ErrorKind::Timeout
            | ErrorKind::IncompleteBody
            | ErrorKind::Unavailable
            | ErrorKind::OriginBusy => true,
            // RFC 9110 sections 15.5.9 and 15.6, and RFC 6585 section 4.
            ErrorKind::Status => {
                self.inner.status.is_some_and(|status| matches!(status.as_u16(), 408 | 429 | 502..=504))
            }
            _ => false,
        }
    }

    /// Returns whether [`peer`](Self::peer) reported a failure behind it, most often of the origin. Otherwise the
    /// peer itself could not be asked.
    #[must_use]
    pub fn is_reported_by_peer(&self) -> bool {
        self.inner.is_reported_by_peer
    }
}

/// `{}` shows the message, the URL and the peer. `{:#}` also shows the causes, for places that have one line.
impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if f.alternate() {
            f.write_str(&self.reason())?;
        } else {
            f.write_str(&self.inner.message)?;
        }
        if let Some(url) = &self.inner.url {
            write!(f, ": {url}")?;
        }
        if let Some(peer) = &self.inner.peer {
            let role =
                if self.inner.is_reported_by_peer { "reported by the peer" } else { "asking the peer" };
            write!(f, " ({role} {peer})")?;
        }
        Ok(())
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.inner.source.as_deref().map(|source| source as _)
    }
}

/// Recovers an [`Error`] that passed through [`io::Read`] inside an [`io::Error`], and converts any other I/O error.
impl From<io::Error> for Error {
    fn from(error: io::Error) -> Self {
        match error.downcast::<Self>() {
            Ok(ours) => ours,
            Err(error) => {
                let (kind, message) = match error.kind() {
                    io::ErrorKind::TimedOut | io::ErrorKind::WouldBlock => {
                        (ErrorKind::Timeout, "reading or writing took too long")
                    }
                    io::ErrorKind::UnexpectedEof => (ErrorKind::IncompleteBody, "the data ended too early"),
                    _ => (ErrorKind::Io, "cannot read or write"),
                };
                Self::new(kind, message).with_source(error)
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
    fn kinds_are_found_by_name() {
        for kind in ErrorKind::ALL {
            assert_eq!(ErrorKind::from_name(kind.name()), Some(kind));
        }
        assert_eq!(ErrorKind::from_name("no-such-kind"), None);
    }

    #[test]
    fn url_secrets_are_not_shown() {
        let error = Error::new(ErrorKind::Timeout, "no answer in time")
            .with_url("https://user:pa@ss@example.com/a?token=secret#part");
        assert_eq!(error.to_string(), "no answer in time: https://example.com/a");
        assert!(!format!("{error:?}").contains("secret"));
    }

    #[test]
    fn error_survives_conversion_through_io_error() {
        let io = io::Error::from(Error::new(ErrorKind::IncompleteBody, "cut").with_peer("http://p:1"));
        assert_eq!(io.kind(), io::ErrorKind::UnexpectedEof);
        let back = Error::from(io);
        assert_eq!(back.kind(), ErrorKind::IncompleteBody);
        assert_eq!(back.peer(), Some("http://p:1"));
    }

    #[test]
    fn source_is_kept() {
        let error = Error::from(io::Error::new(io::ErrorKind::TimedOut, "slow"));
        assert_eq!(error.kind(), ErrorKind::Timeout);
        assert_eq!(error.source().map(ToString::to_string).as_deref(), Some("slow"));
    }

    #[test]
    fn causes_are_shown_once_and_only_on_request() {
        let refused = io::Error::other("io: refused");
        let cause = Error::new(ErrorKind::Unreachable, "cannot connect").with_source(refused);
        let error = Error::new(ErrorKind::Timeout, "late").with_source(cause).with_url("http://a/");
        assert_eq!(error.to_string(), "late: http://a/");
        assert_eq!(format!("{error:#}"), "late: cannot connect: refused: http://a/");
        let repeated = Error::new(ErrorKind::Io, "it is slow").with_source(io::Error::other("slow"));
        assert_eq!(format!("{repeated:#}"), "it is slow");
    }

    #[test]
    fn transient_failures_are_retryable() {
        for kind in ErrorKind::ALL {
            let error = Error::new(kind, "");
            assert_eq!(error.is_timeout(), kind == ErrorKind::Timeout);
            let is_permanent = matches!(
                kind,
                ErrorKind::BadUrl
                    | ErrorKind::BadPeer
                    | ErrorKind::BadOption
                    | ErrorKind::BadRequest
                    | ErrorKind::Tls
                    | ErrorKind::Cancelled
                    | ErrorKind::BadResponse
                    | ErrorKind::DigestMismatch
                    | ErrorKind::BodyTooLarge
                    | ErrorKind::Unauthorized
                    | ErrorKind::Loop
                    | ErrorKind::Forbidden
                    | ErrorKind::Listen
                    | ErrorKind::Status
                    | ErrorKind::Io
            );
            assert_ne!(error.is_retryable(), is_permanent, "{kind}");
        }
    }
}
