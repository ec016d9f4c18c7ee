//! Peers that say that they are about to end.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use http::{Method, Request, StatusCode};

use super::client::Client;
use super::fan_out::side_by_side;
use crate::message::body::Body;
use crate::message::url::query_escape;
use crate::pool::peer_url::PeerUrl;
use crate::pool::protocol::{self, Endpoint, Within};

/// How long each of the others has to take note.
const PATIENCE: Duration = Duration::from_secs(1);

impl Client {
    /// Tells all other peers that this one is leaving; says how many took note.
    pub(crate) fn tell_of_leaving(&self, own: &PeerUrl) -> usize {
        // A transport that panics has told nobody.
        let tell = |peer: &PeerUrl| catch_unwind(AssertUnwindSafe(|| self.tell(peer, own))).unwrap_or(false);
        side_by_side(&self.others(own), tell).into_iter().filter(|(_, is_told)| *is_told).count()
    }

    /// The peers of the pool but this one.
    pub(super) fn others(&self, own: &PeerUrl) -> Vec<PeerUrl> {
        self.pool().into_iter().filter(|peer| peer != own).collect()
    }

    fn tell(&self, peer: &PeerUrl, own: &PeerUrl) -> bool {
        let mut request = Request::new(Body::empty());
        *request.method_mut() = Method::POST;
        *request.uri_mut() = peer.url_with_query(
            self.inner.paths.of(Endpoint::Leaving),
            &format!("{}={}", protocol::QUERY, query_escape(own.as_str())),
        );
        request.extensions_mut().insert(Within(PATIENCE));
        self.inner.show_operator_token(&mut request);
        self.inner.transport.round_trip(request).is_ok_and(|answer| answer.status() == StatusCode::NO_CONTENT)
    }

    /// This peer is about to end: it is asked no more until it is found to be there again. Says whether it is one of
    /// the pool.
    pub(crate) fn is_left_by(&self, peer: &PeerUrl) -> bool {
        let is_known = self.inner.pool.has(peer.as_str());
        if is_known {
            self.inner.peers.left(&self.inner.peers.of(peer));
        }
        is_known
    }
}
