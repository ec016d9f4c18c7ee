//! What a [`Client`] does for the peer that it belongs to, and what it keeps near.

use std::cell::Cell;
use std::sync::Arc;

use http::{Request, Response};

use super::client::Client;
use super::inner::Fallback;
use super::observation::Observation;
use super::pool::Pool;
use super::replayable_request::ReplayableRequest;
use crate::base::error::Result;
use crate::client::near_cache::Near;
use crate::message::body::Body;
use crate::message::purge::Purge;
use crate::message::round_trip::RoundTrip;
use crate::message::stats::Stats;
use crate::message::url::CanonicalUrl;
use crate::pool::peer_url::PeerUrl;
use crate::pool::protocol::Endpoint;
use crate::store::Usage;

impl Client {
    /// With a near cache, which asks the owners through this client.
    pub(super) fn with_near(self, near: Near) -> Self {
        Self { near: Some(Arc::new(near)), ..self }
    }

    /// What was counted by its [near cache](super::ClientBuilder::near_cache); `None` where it has none.
    #[must_use]
    pub fn near_stats(&self) -> Option<&Arc<Stats>> {
        self.near.as_ref().map(|near| near.stats())
    }

    /// How much its [near cache](super::ClientBuilder::near_cache) holds, and the memory that it takes of what it may
    /// take; `None` where it has none.
    #[must_use]
    pub fn near_usage(&self) -> Option<Usage> {
        self.near.as_ref().map(|near| near.usage())
    }

    /// Forgets all that its [near cache](super::ClientBuilder::near_cache) holds.
    pub fn forget_near(&self) {
        self.forget_own_copies(&Purge::all());
    }

    /// Removes what this client itself keeps near. What it was asked for before is not kept after.
    pub(crate) fn forget_own_copies(&self, purge: &Purge) {
        let Some(near) = &self.near else { return };
        match purge.single_url().and_then(|url| CanonicalUrl::parse(url).ok()) {
            Some(target) => near.forget(&target),
            None => near.forget_all(),
        }
    }

    /// The pool and its former owners, as this client knows them.
    pub(crate) fn known_pool(&self) -> &Pool {
        &self.inner.pool
    }

    /// Asks a former owner.
    pub(crate) fn ask_former(
        &self,
        former: &PeerUrl,
        target: &CanonicalUrl,
        request: Request<Body>,
    ) -> Result<Response<Body>> {
        self.inner.ask_with(former, &ReplayableRequest::new(target.clone(), request), Endpoint::Proxy, |_| {})
    }

    /// Whether this is the URL under which a peer of the pool answers.
    pub(crate) fn is_peer(&self, target: &CanonicalUrl) -> bool {
        self.inner.pool.is_peer(target, &self.inner.paths)
    }

    /// The weight of this peer, and that of it and all other members that are not known to be away.
    pub(crate) fn weights(&self, own: &PeerUrl) -> (u32, u32) {
        self.inner.pool.weights(own, &self.inner.peers.away())
    }

    /// As [`round_trip`](RoundTrip::round_trip), for the peer that answers under this URL itself: it does when it
    /// is its turn, and when no other is left, as `own` does.
    pub(crate) fn round_trip_of_peer(
        &self,
        target: &CanonicalUrl,
        mut request: Request<Body>,
        peer: &PeerUrl,
        own: &dyn RoundTrip,
    ) -> Result<Response<Body>> {
        self.inner.limit(&mut request);
        let went_past = Cell::new(false);
        let past = |target: &CanonicalUrl, request| {
            went_past.set(true);
            self.inner.round_trip(ReplayableRequest::new(target.clone(), request), &Fallback::Own(peer, own))
        };
        let Some(near) = &self.near else { return past(target, request) };
        let again = request.body().is_empty().then(|| copy_of(&request));
        let is_own = |target: &CanonicalUrl, own: &PeerUrl| self.inner.pool.is_own(target, own);
        // What went past it has been everywhere; what did not is a GET.
        match (near.round_trip(target.clone(), request, is_own, past), again) {
            // The near cache knows of no share of its peer's.
            (Err(error), Some(again))
                if !went_past.get() && Observation::of(&error) != Observation::BadRequest =>
            {
                own.round_trip(again)
            }
            (answer, _) => answer,
        }
    }
}

/// The same request, which has no body.
fn copy_of(request: &Request<Body>) -> Request<Body> {
    let mut copy = Request::new(Body::empty());
    copy.method_mut().clone_from(request.method());
    copy.uri_mut().clone_from(request.uri());
    copy.headers_mut().clone_from(request.headers());
    copy.extensions_mut().clone_from(request.extensions());
    copy
}
