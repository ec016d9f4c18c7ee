//! Requests to healthy peers that an event loop sends itself, so that no thread waits for the response.

use std::sync::Arc;

use http::{Extensions, Method, Request, Response};
use parking_lot::Mutex;

use super::announced_digest::{verified, with_announced_digest};
use super::client::Client;
use super::inner::Inner;
use super::peer_circuit_breaker::Evidence;
use super::peers::{PeerEntry, Peers};
use super::replayable_request::ReplayableRequest;
use crate::message::body::Body;
use crate::message::deadline::Deadline;
use crate::message::nonblocking::Ask;
use crate::message::response_info::ResponseInfo;
use crate::message::url::CanonicalUrl;
use crate::origin::{Begun, BegunConnection};
use crate::pool::protocol::{self, Endpoint};

/// The response that an event loop has received, an extension of its request.
#[derive(Clone, Debug, Default)]
struct Answered(Arc<Mutex<Option<Response<Body>>>>);

impl Client {
    /// Returns the message that asks the owner of the URL, if an event loop may send it: a GET request without content, to
    /// a healthy peer over plain HTTP, of a client without deadlines or observer. Adds the place of the response to
    /// `extensions`, where [`take_answer`] finds it. Never blocks.
    pub(crate) fn ask_without_thread(
        &self,
        target: &CanonicalUrl,
        request: Request<Body>,
        extensions: &mut Extensions,
    ) -> Option<Box<Ask>> {
        let inner = &self.inner;
        let network = inner.networks.first()?;
        let has_deadline = inner.options.deadline.is_some()
            || inner.options.soft_deadline.is_some()
            || Deadline::of(extensions).is_some();
        let is_simple = *request.method() == Method::GET && request.body().is_empty();
        if !is_simple || has_deadline || inner.watcher.is_set() {
            return None;
        }
        let owner = inner.pool.owner(target)?;
        let peer = inner.peers.entry(&owner);
        if !Peers::is_healthy(&peer) || self.near.as_ref().is_some_and(|near| !near.passes(target, &request))
        {
            return None;
        }
        let replayable = ReplayableRequest::new(target.clone(), request);
        let message = inner.request_to(&owner, &replayable, Endpoint::Proxy);
        let (address, bytes) = network.encode(message)?;
        let (answered, begun) = (Answered::default(), Begun::new(owner.authority()));
        extensions.insert(answered.clone());
        extensions.insert(begun.clone());
        let inner = Arc::clone(inner);
        Some(Box::new(Ask {
            address,
            bytes,
            accept: Some(Box::new(move |response| {
                let response = inner.accepted(&peer, &replayable, response);
                let is_accepted = response.is_some();
                *answered.0.lock() = response;
                is_accepted
            })),
            hand_over: Box::new(move |socket, received| begun.put(BegunConnection { socket, received })),
        }))
    }
}

impl Inner {
    /// Returns a complete response of a peer as the client sees it; `None` if [`send`](Self::send) must interpret it.
    fn accepted(
        &self,
        peer: &PeerEntry,
        replayable: &ReplayableRequest,
        mut response: Response<Body>,
    ) -> Option<Response<Body>> {
        if !protocol::take_plain_peer(response.headers_mut()) {
            return None;
        }
        let mut response = verified(with_announced_digest(response, replayable, &peer.url), None).ok()?;
        self.counters.requests.count();
        self.retries.add_request();
        self.peers.record(peer, Evidence::BodyComplete, peer.epoch());
        ResponseInfo::of_mut(&mut response).set_peer(peer.url.as_str(), 1);
        Some(response)
    }
}

/// Takes the response that an event loop has received for this request.
pub(crate) fn take_answer(request: &Request<Body>) -> Option<Response<Body>> {
    request.extensions().get::<Answered>()?.0.lock().take()
}
