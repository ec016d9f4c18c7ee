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

/// What is asked for, apart from whom.
pub(super) struct ReplayableRequest {
    pub(super) target: CanonicalUrl,
    pub(super) parts: Parts,
    pub(super) body: Repeatable,
    /// Peers that are not to be asked: they have just failed at this.
    pub(super) but_not: Vec<PeerUrl>,
}

impl ReplayableRequest {
    pub(super) fn new(target: CanonicalUrl, request: Request<Body>) -> Self {
        let (mut parts, body) = request.into_parts();
        hop_by_hop::remove(&mut parts.headers);
        parts.headers.remove(HOST);
        Self { target, parts, body: Repeatable::new(body), but_not: Vec::new() }
    }

    /// What is said beside it to whoever is asked now, who is to know which pool is known here.
    pub(super) fn hop(&self, members: PoolDigest) -> Hop {
        let (deadline, now) = (self.deadline(), Instant::now());
        Hop {
            wants_digest: true,
            deadline: deadline.and_then(|deadline| deadline.remaining(now)),
            soft_deadline: deadline.and_then(|deadline| deadline.softly_remaining(now)),
            members: Some(members),
        }
    }

    /// Whether nobody waits for an answer any more.
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

    /// The request as it goes to this URL.
    pub(super) fn request(&self, url: Uri) -> Request<Body> {
        let mut parts = self.parts.clone();
        parts.uri = url;
        Request::from_parts(parts, self.body.lend())
    }
}

/// A body to send.
pub(super) enum Repeatable {
    /// As often as need be.
    Bytes(Bytes),
    /// Once: but as long as nobody has read from it, that once is to come.
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

    /// Whether it can be sent, also after it was.
    pub(super) fn is_whole(&self) -> bool {
        match self {
            Self::Bytes(_) => true,
            Self::Stream { body, .. } => body.lock().is_some(),
        }
    }
}

/// Takes the body when it is first read.
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
            None => Err(io::Error::other("the body was sent before")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_lent_again_and_again() {
        let body = Repeatable::new(Body::from("abc"));
        for _ in 0..2 {
            assert_eq!(body.lend().into_text().unwrap(), "abc");
            assert!(body.is_whole() && !body.is_empty());
        }
        assert!(Repeatable::new(Body::empty()).is_empty());
    }

    #[test]
    fn a_stream_is_lent_until_it_is_read() {
        let body = Repeatable::new(Body::from_reader(&b"abc"[..], Some(3)));
        assert_eq!(body.lend().length(), Some(3));
        drop(body.lend());
        assert!(body.is_whole());
        assert_eq!(body.lend().into_text().unwrap(), "abc");
        assert!(!body.is_whole());
        assert!(body.lend().into_text().is_err());
    }
}
