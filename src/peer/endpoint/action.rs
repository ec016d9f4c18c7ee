//! [`Action`]: the operation that an admitted request asks for.

use http::{Request, Response};

use super::forms::Named;
use crate::message::body::Body;
use crate::message::nonblocking::{Ask, Lane, Step};
use crate::message::url::CanonicalUrl;

/// The operation that an admitted request asks for.
#[derive(Debug)]
pub(crate) enum Action {
    /// Report whether the peer is alive.
    Health,
    /// Report whether the peer is ready for requests.
    Ready,
    /// Apply the method of the request to the URL, in this peer's own cache.
    Fetch(CanonicalUrl),
    /// Apply the method of the request to the URL, at the owner of the URL.
    Forward(Box<Named>),
    /// Open a tunnel to the host of the URL.
    Tunnel(CanonicalUrl),
    /// Purge stored responses.
    Purge {
        /// Whether the purge includes other peers, and so has to wait for them.
        is_of_pool: bool,
    },
    /// Explain what a request for the URL would result in.
    Why(CanonicalUrl),
    /// Record that another peer is leaving.
    Leaving,
}

impl Action {
    /// Returns the origin from which the action fetches, if it does.
    pub(crate) fn origin(&self) -> Option<CanonicalUrl> {
        match self {
            Self::Fetch(target) | Self::Tunnel(target) => Some(target.origin()),
            Self::Forward(named) => Some(named.target.origin()),
            _ => None,
        }
    }
}

/// The next step of a request on a thread that must not block.
pub(crate) enum Next {
    /// A step that the cache has decided on.
    Step(Step<Response<Body>>),
    /// A job for a thread of this lane, which calls [`Proxy::run`](super::Proxy::run), and a request that may replace it.
    Work(Lane, Action, Request<Body>, Option<Box<Ask>>),
}
