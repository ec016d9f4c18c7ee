//! Functions that a `Peer` needs of its client, and access to the near cache.

use std::cell::Cell;
use std::sync::Arc;

use http::{HeaderMap, Method, Request, Response, StatusCode};

use super::client::Client;
use super::inner::Fallback;
use super::observation::Observation;
use super::pool::Pool;
use super::replayable_request::ReplayableRequest;
use crate::base::error::Result;
use crate::base::token::Tokens;
use crate::client::near_cache::NearHttpCache;
use crate::message::body::Body;
use crate::message::purge::Purge;
use crate::message::round_trip::RoundTrip;
use crate::message::url::CanonicalUrl;
use crate::metrics::Stats;
use crate::pool::peer_url::PeerUrl;
use crate::pool::protocol::Endpoint;
use crate::store::Usage;

impl Client {
    /// Returns the tokens that this client shows to peers.
    pub(crate) fn shown_tokens(&self) -> Vec<Tokens> {
        let options = &self.inner.options;
        options.tokens.iter().chain(&options.operator_tokens).cloned().collect()
    }

    /// Returns this client with a near cache, which asks the owners through it.
    pub(super) fn with_near(self, near: NearHttpCache) -> Self {
        Self { near: Some(Arc::new(near)), ..self }
    }

    /// Returns the counters of the [near cache](super::ClientBuilder::near_cache); `None` if it is off.
    #[must_use]
    pub fn near_stats(&self) -> Option<&Arc<Stats>> {
        self.near.as_ref().map(|near| near.stats())
    }

    /// Returns the memory use and capacity of the [near cache](super::ClientBuilder::near_cache); `None` if it
    /// is off.
    #[must_use]
    pub fn near_usage(&self) -> Option<Usage> {
        self.near.as_ref().map(|near| near.usage())
    }

    /// Clears the [near cache](super::ClientBuilder::near_cache).
    pub fn clear_near_cache(&self) {
        self.purge_near_cache(&Purge::all());
    }

    /// Removes responses that the purge covers from this client's near cache. A response requested before this
    /// call is not stored after it.
    pub(crate) fn purge_near_cache(&self, purge: &Purge) {
        let Some(near) = &self.near else { return };
        match purge.single_url().and_then(|url| CanonicalUrl::parse(url).ok()) {
            Some(target) => near.forget(&target),
            None => near.forget_all(),
        }
    }

    /// Removes from this client's near cache what the response to an unsafe request invalidates.
    pub(crate) fn forget_near(
        &self,
        method: &Method,
        target: &CanonicalUrl,
        status: StatusCode,
        headers: &HeaderMap,
    ) {
        if let Some(near) = &self.near {
            near.forget_after(method, target, status, headers);
        }
    }

    /// Returns the pool and its previous owners.
    pub(crate) fn pool_state(&self) -> &Pool {
        &self.inner.pool
    }

    /// Sends a request to a previous owner.
    pub(crate) fn ask_previous_owner(
        &self,
        former: &PeerUrl,
        target: &CanonicalUrl,
        request: Request<Body>,
    ) -> Result<Response<Body>> {
        self.inner.send_to_peer(
            former,
            &ReplayableRequest::new(target.clone(), request),
            Endpoint::Proxy,
            |_| {},
        )
    }

    /// Returns whether this is the URL of an endpoint of one of the peers.
    pub(crate) fn is_peer(&self, target: &CanonicalUrl) -> bool {
        self.inner.pool.is_peer(target, &self.inner.paths)
    }

    /// Returns the weight of this peer, and the total weight of this peer and all other members that are not
    /// known to be down.
    pub(crate) fn weights(&self, own: &PeerUrl) -> (u32, u32) {
        self.inner.pool.weights(own, &self.inner.peers.away())
    }

    /// Like [`round_trip`](RoundTrip::round_trip), on behalf of `peer`: uses `own` when the peer itself is the
    /// next owner in the order, or when no other peer is left.
    pub(crate) fn round_trip_for_peer(
        &self,
        target: &CanonicalUrl,
        request: Request<Body>,
        peer: &PeerUrl,
        own: &dyn RoundTrip,
    ) -> Result<Response<Body>> {
        self.inner.observed(request, |request| self.send_for_peer(target, request, peer, own))
    }

    fn send_for_peer(
        &self,
        target: &CanonicalUrl,
        mut request: Request<Body>,
        peer: &PeerUrl,
        own: &dyn RoundTrip,
    ) -> Result<Response<Body>> {
        self.inner.add_deadline(&mut request);
        let went_past = Cell::new(false);
        let past = |target: &CanonicalUrl, request| {
            went_past.set(true);
            self.inner
                .round_trip(ReplayableRequest::new(target.clone(), request), &Fallback::OwnCache(peer, own))
        };
        let Some(near) = &self.near else { return past(target, request) };
        let again = request.body().is_empty().then(|| copy_of(&request));
        let is_own = |target: &CanonicalUrl, own: &PeerUrl| self.inner.pool.is_own(target.ring_key(), own);
        // If the request bypassed the near cache, all owners and `own` have been tried. Otherwise it is a GET,
        // and the near cache knows only the other owners, so that `own` has not been tried yet.
        match (near.round_trip(target.clone(), request, is_own, past), again) {
            (Err(error), Some(again))
                if !went_past.get() && Observation::of(&error) != Observation::BadRequest =>
            {
                own.round_trip(again)
            }
            (answer, _) => answer,
        }
    }
}

/// Copies a request without a body.
fn copy_of(request: &Request<Body>) -> Request<Body> {
    let mut copy = Request::new(Body::empty());
    copy.method_mut().clone_from(request.method());
    copy.uri_mut().clone_from(request.uri());
    copy.headers_mut().clone_from(request.headers());
    copy.extensions_mut().clone_from(request.extensions());
    copy
}
