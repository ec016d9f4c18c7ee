//! `/healthz`, `/readyz` and `/proxy/leaving`: the state of this peer, and notices of other peers about theirs.

use std::sync::atomic::Ordering;
use std::time::Instant;

use http::{Request, Response, StatusCode};

use super::proxy::Proxy;
use super::readiness::Readiness;
use super::refusal::refusal;
use crate::base::error::ErrorKind;
use crate::message::body::Body;
use crate::message::url::query_value;
use crate::pool::peer_url::PeerUrl;
use crate::pool::protocol::{self, TEXT, answer};

impl Proxy {
    /// Makes all later responses state that this peer is leaving. Returns whether this call is the first.
    pub(crate) fn start_leaving(&self) -> bool {
        !self.is_leaving.swap(true, Ordering::Relaxed)
    }

    /// Returns whether this peer is leaving.
    pub(crate) fn is_leaving(&self) -> bool {
        self.is_leaving.load(Ordering::Relaxed)
    }

    /// Returns the response to `/readyz`: whether clients should send requests to this peer, and the reason if they
    /// should not, in one line. Never blocks.
    pub(crate) fn readiness(&self) -> Response<Body> {
        let ledger = self.cache.store().ledger();
        let readiness = Readiness {
            is_leaving: self.is_leaving(),
            is_stopping: self.servers.are_stopping(),
            is_behind: self.servers.are_behind(Instant::now()),
            is_out_of_memory: ledger.is_some_and(|ledger| ledger.is_exhausted()),
        };
        match readiness.obstacle() {
            None => answer(TEXT, "ok\n".to_owned()),
            Some(reason) => refusal(StatusCode::SERVICE_UNAVAILABLE, ErrorKind::Unavailable, reason),
        }
    }

    /// Returns the response to `/healthz`: whether this peer is alive and not leaving. The response reveals nothing
    /// else, because it needs no token.
    pub(crate) fn health(&self) -> Response<Body> {
        if self.is_leaving() {
            let text = "this peer is leaving the pool";
            let mut response = refusal(StatusCode::SERVICE_UNAVAILABLE, ErrorKind::Unavailable, text);
            protocol::announce_leaving(response.headers_mut());
            return response;
        }
        answer(TEXT, "ok\n".to_owned())
    }

    /// Records that another peer is leaving, and returns the response.
    pub(super) fn answer_leaving(&self, request: &Request<Body>) -> Response<Body> {
        let url = query_value(request.uri().query(), protocol::QUERY).ok().flatten();
        let peer = url.and_then(|url| PeerUrl::parse(&url).ok());
        if peer.is_some_and(|peer| peer != *self.pool.own_url() && self.pool.note_leaving(&peer)) {
            let mut response = Response::new(Body::empty());
            *response.status_mut() = StatusCode::NO_CONTENT;
            return response;
        }
        refusal(StatusCode::BAD_REQUEST, ErrorKind::BadPeer, "q does not name another peer of this pool")
    }
}
