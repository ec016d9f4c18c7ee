//! Peers that say that they are about to end.

use std::thread;
use std::time::Duration;

use http::header::PROXY_AUTHORIZATION;
use http::{Method, Request, StatusCode};

use super::asking::Client;
use crate::body::Body;
use crate::peer_url::PeerUrl;
use crate::protocol::{self, ForPeer, Within};
use crate::target::query_escape;

/// How long each of the others has to take note.
const PATIENCE: Duration = Duration::from_secs(1);

/// How many are told at a time.
const AT_A_TIME: usize = 16;

impl Client {
    /// Tells all other peers that this one is leaving; says how many took note.
    pub(crate) fn tell_of_leaving(&self, own: &PeerUrl) -> usize {
        let others: Vec<PeerUrl> = self.pool().into_iter().filter(|peer| peer != own).collect();
        let mut told = 0;
        for some in others.chunks(AT_A_TIME) {
            told += thread::scope(|scope| {
                let telling: Vec<_> =
                    some.iter().map(|peer| scope.spawn(move || self.tell(peer, own))).collect();
                telling.into_iter().filter_map(|thread| thread.join().ok()).filter(|is_told| *is_told).count()
            });
        }
        told
    }

    fn tell(&self, peer: &PeerUrl, own: &PeerUrl) -> bool {
        let mut request = Request::new(Body::empty());
        *request.method_mut() = Method::POST;
        *request.uri_mut() = peer.url_with_query(
            &protocol::leaving_path(self.path_of_peers()),
            &format!("{}={}", protocol::QUERY, query_escape(own.as_str())),
        );
        request.extensions_mut().insert(Within(PATIENCE));
        if let Some(credential) = self.credential() {
            request.headers_mut().insert(PROXY_AUTHORIZATION, credential);
            request.extensions_mut().insert(ForPeer);
        }
        self.transport().round_trip(request).is_ok_and(|answer| answer.status() == StatusCode::NO_CONTENT)
    }

    /// This peer is about to end: it is asked no more until it is found to be there again. Says whether it is one of
    /// the pool.
    pub(crate) fn is_left_by(&self, peer: &PeerUrl) -> bool {
        let is_known = self.pool().contains(peer);
        if is_known {
            self.inner.peers.left(&self.inner.peers.of(peer));
        }
        is_known
    }
}
