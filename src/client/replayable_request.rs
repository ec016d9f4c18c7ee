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
    pub(super) body: ReplayableBody,
    /// Peers to skip because they have just failed at this request.
    pub(super) excluded: Vec<PeerUrl>,
}

impl ReplayableRequest {
    pub(super) fn new(target: CanonicalUrl, request: Request<Body>) -> Self {
        let (mut parts, body) = request.into_parts();
        hop_by_hop::remove(&mut parts.headers);
        parts.headers.remove(HOST);
        Self { target, parts, body: ReplayableBody::new(body), excluded: Vec::new() }
    }

    /// Returns the fields for the next hop: the remaining time, and the digest of the pool that this client
    /// knows.
    pub(super) fn hop(&self, members: PoolDigest) -> Hop {
        let (deadline, now) = (self.deadline(), Instant::now());
        Hop {
            wants_digest: true,
            deadline: deadline.and_then(|deadline| deadline.remaining(now)),
            soft_deadline: deadline.and_then(|deadline| deadline.soft_remaining(now)),
            members: Some(members),
        }
    }

    /// Returns whether the caller has cancelled the request or its deadline has passed.
    pub(super) fn is_abandoned(&self) -> bool {
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
pub(super) enum ReplayableBody {
    /// In memory: can be sent any number of times.
    Bytes(Bytes),
    /// A stream: can be sent again until its first byte has been read.
    Stream { body: Arc<Mutex<Option<Body>>>, length: Option<u64> },
}

impl ReplayableBody {
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
                Body::from_reader(LazyBody { body: Arc::clone(body), source: None }, *length)
            }
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        matches!(self, Self::Bytes(bytes) if bytes.is_empty())
    }

    /// Returns whether the body can be sent (again).
    pub(super) fn may_be_sent(&self) -> bool {
        match self {
            Self::Bytes(_) => true,
            Self::Stream { body, .. } => body.lock().is_some(),
        }
    }
}

/// Takes the body out of the shared slot at the first read.
struct LazyBody {
    body: Arc<Mutex<Option<Body>>>,
    source: Option<Body>,
}

impl Read for LazyBody {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.source.is_none() {
            self.source = self.body.lock().take();
        }
        match &mut self.source {
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
        let body = ReplayableBody::new(Body::from("abc"));
        for _ in 0..2 {
            assert_eq!(body.lend().into_text().unwrap(), "abc");
            assert!(body.may_be_sent() && !body.is_empty());
        }
        assert!(ReplayableBody::new(Body::empty()).is_empty());
    }

    #[test]
    fn stream_can_be_sent_until_it_is_read() {
        let body = ReplayableBody::new(Body::from_reader(&b"abc"[..], Some(3)));
        assert_eq!(body.lend().length(), Some(3));
        drop(body.lend());
        assert!(body.may_be_sent());
        assert_eq!(body.lend().into_text().unwrap(), "abc");
        assert!(!body.may_be_sent());
        assert!(body.lend().into_text().is_err());
    }
}
