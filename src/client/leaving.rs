//! Leave notices: a peer tells the others that it is about to stop.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use http::{Method, Request, StatusCode};

use super::client::Client;
use super::fan_out::fan_out;
use crate::message::body::Body;
use crate::message::url::query_escape;
use crate::pool::peer_url::PeerUrl;
use crate::pool::protocol::{self, Endpoint, HeadTimeout};

/// Time limit for each peer to acknowledge the notice.
const NOTICE_TIMEOUT: Duration = Duration::from_secs(1);

impl Client {
    /// Sends a leave notice to all other peers; returns how many acknowledged it.
    pub(crate) fn announce_leaving(&self, own: &PeerUrl) -> usize {
        // A transport that panics counts as not acknowledged.
        let notify =
            |peer: &PeerUrl| catch_unwind(AssertUnwindSafe(|| self.notify(peer, own))).unwrap_or(false);
        fan_out(&self.others(own), notify).into_iter().filter(|(_, is_notified)| *is_notified).count()
    }

    /// Returns all peers of the pool except this one.
    pub(super) fn others(&self, own: &PeerUrl) -> Vec<PeerUrl> {
        self.pool().into_iter().filter(|peer| peer != own).collect()
    }

    fn notify(&self, peer: &PeerUrl, own: &PeerUrl) -> bool {
        let mut request = Request::new(Body::empty());
        *request.method_mut() = Method::POST;
        *request.uri_mut() = peer.url_with_query(
            self.inner.paths.of(Endpoint::Leaving),
            &format!("{}={}", protocol::QUERY, query_escape(own.as_str())),
        );
        request.extensions_mut().insert(HeadTimeout(NOTICE_TIMEOUT));
        self.inner.add_operator_token(&mut request);
        self.inner.transport.round_trip(request).is_ok_and(|answer| answer.status() == StatusCode::NO_CONTENT)
    }

    /// Stops sending requests to a peer that is about to stop, until a probe finds it up again. Returns
    /// whether the peer is a member of the pool.
    pub(crate) fn note_leaving(&self, peer: &PeerUrl) -> bool {
        let is_known = self.inner.pool.has(peer.as_str());
        if is_known {
            self.inner.peers.record_leaving(&self.inner.peers.entry(peer));
        }
        is_known
    }
}
