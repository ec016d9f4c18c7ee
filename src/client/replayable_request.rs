//! A request that may be sent more than once.

use std::io::{self, Read};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::header::HOST;
use http::request::Parts;
use http::{Request, Uri};
use parking_lot::Mutex;

use crate::base::cancellation::Cancellation;
use crate::message::body::Body;
use crate::message::deadline::Deadline;
use crate::message::header::hop_by_hop;
use crate::message::url::CanonicalUrl;
use crate::pool::peer_url::PeerUrl;
use crate::pool::protocol::{Hop, PoolDigest};

/// A request before it is addressed to a peer.
pub(super) struct ReplayableRequest {
    pub(super) target: CanonicalUrl,
    pub(super) parts: Parts,
    pub(super) body: Repeatable,
    /// Peers to skip because they have just failed at this request.
    pub(super) but_not: Vec<PeerUrl>,
}

impl ReplayableRequest {
    pub(super) fn new(target: CanonicalUrl, request: Request<Body>) -> Self {
        let (mut parts, body) = request.into_parts();
        hop_by_hop::remove(&mut parts.headers);
        parts.headers.remove(HOST);
        Self { target, parts, body: Repeatable::new(body), but_not: Vec::new() }
    }

    /// Returns the fields for the next hop: the remaining time, and the digest of the pool that this client
    /// knows.
    pub(super) fn hop(&self, members: PoolDigest) -> Hop {
        let (deadline, now) = (self.deadline(), Instant::now());
        Hop {
            wants_digest: true,
            deadline: deadline.and_then(|deadline| deadline.remaining(now)),
            soft_deadline: deadline.and_then(|deadline| deadline.softly_remaining(now)),
            members: Some(members),
        }
    }

    /// Returns whether the caller has cancelled the request or its deadline has passed.
    pub(super) fn is_over(&self) -> bool {
        let cancellation: Option<&Cancellation> = self.parts.extensions.get();
        self.left().is_some_and(|left| left.is_zero()) || cancellation.is_some_and(Cancellation::is_cancelled)
    }

    fn left(&self) -> Option<Duration> {
        self.deadline().and_then(|deadline| deadline.remaining(Instant::now()))
    }

    fn deadline(&self) -> Option<Deadline> {
        Deadline::of(&self.parts.extensions)
    }

    /// Returns a copy of the request, addressed to this URL.
    pub(super) fn request(&self, url: Uri) -> Request<Body> {
        let mut parts = self.parts.clone();
        parts.uri = url;
        Request::from_parts(parts, self.body.lend())
    }
}

/// A request body that may be sent more than once.
pub(super) enum Repeatable {
    /// In memory: can be sent any number of times.
    Bytes(Bytes),
    /// A stream: can be sent again until its first byte has been read.
    Stream { body: Arc<Mutex<Option<Body>>>, length: Option<u64> },
}

impl Repeatable {
    fn new(body: Body) -> Self {
        match body.as_bytes() {
            Some(bytes) => Self::Bytes(bytes.clone()),
            None => {
                let length = body.length();
                Self::Stream { body: Arc::new(Mutex::new(Some(body))), length }
            }
        }
    }

    fn lend(&self) -> Body {
        match self {
            Self::Bytes(bytes) if bytes.is_empty() => Body::empty(),
            Self::Bytes(bytes) => Body::from(bytes.clone()),
            Self::Stream { body, length } => {
                Body::from_reader(Lent { body: Arc::clone(body), own: None }, *length)
            }
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        matches!(self, Self::Bytes(bytes) if bytes.is_empty())
    }

    /// Returns whether the body can be sent (again).
    pub(super) fn is_whole(&self) -> bool {
        match self {
            Self::Bytes(_) => true,
            Self::Stream { body, .. } => body.lock().is_some(),
        }
    }
}

/// Takes the body out of the shared slot at the first read.
struct Lent {
    body: Arc<Mutex<Option<Body>>>,
    own: Option<Body>,
}

impl Read for Lent {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.own.is_none() {
            self.own = self.body.lock().take();
        }
        match &mut self.own {
            Some(body) => body.read(buffer),
            None => Err(io::Error::other("the request body has already been sent and cannot be repeated")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn body_in_memory_can_be_sent_repeatedly() {
        let body = Repeatable::new(Body::from("abc"));
        for _ in 0..2 {
            assert_eq!(body.lend().into_text().unwrap(), "abc");
            assert!(body.is_whole() && !body.is_empty());
        }
        assert!(Repeatable::new(Body::empty()).is_empty());
    }

    #[test]
    fn stream_can_be_sent_until_it_is_read() {
        let body = Repeatable::new(Body::from_reader(&b"abc"[..], Some(3)));
        assert_eq!(body.lend().length(), Some(3));
        drop(body.lend());
        assert!(body.is_whole());
        assert_eq!(body.lend().into_text().unwrap(), "abc");
        assert!(!body.is_whole());
        assert!(body.lend().into_text().is_err());
    }
}
