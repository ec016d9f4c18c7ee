//! `PURGE <path>?...`: removes stored responses here and at the other peers.
//!
//! A client that may purge can cause a request to the origin for every request to the cache, so purging needs its own
//! right. It requires an operator token, or a token if there are no operator tokens. Without any token, clients on this
//! machine may purge while the peer is served only on loopback addresses. All clients may purge if the peer is
//! configured so, for example because its server requires client certificates.
//!
//! A purge of the pool waits for the other peers. Each of them needs a thread to purge its own share, which waits for
//! nothing. The server of this crate runs the two kinds on separate threads. On any other server they share the threads,
//! so only one purge of the pool runs at a time, and the other threads stay free to answer other peers.

use std::time::Duration;

use http::{Request, Response, StatusCode};

use super::proxy::Proxy;
use super::refusal::{failure, refusal};
use crate::base::error::{Error, ErrorKind};
use crate::message::body::Body;
use crate::message::purge::Purge;
use crate::pool::protocol::{self, Hop, Scope};
use crate::pool::purge::{self, PeerPurged, PoolPurged};

/// The `Retry-After` of a purge that another one blocks. Most purges take some milliseconds.
const RETRY_AFTER: Duration = Duration::from_secs(1);

impl Proxy {
    /// Answers a purge of the pool, or returns 503 with `Retry-After` while another one runs.
    pub(super) fn answer_exclusive_purge(&self, request: &Request<Body>) -> Response<Body> {
        if let Some(_exclusive) = self.pool_purge.try_lock() {
            return self.answer_purge(request);
        }
        let text = "another purge of the pool is running: retry later, or purge each peer separately";
        failure(&Error::new(ErrorKind::Unavailable, text).with_retry_after(RETRY_AFTER))
    }

    /// Answers a purge request of a client that is already authorized.
    pub(crate) fn answer_purge(&self, request: &Request<Body>) -> Response<Body> {
        let Some(scope) = Scope::of(request.headers()) else {
            let text = "invalid forwardcache-scope: specify own or near, or omit the header field";
            return refusal(StatusCode::BAD_REQUEST, ErrorKind::BadRequest, text);
        };
        let purge = match Purge::from_query(request.uri().query()) {
            Ok(purge) => purge,
            Err(reason) => return refusal(StatusCode::BAD_REQUEST, ErrorKind::BadRequest, reason),
        };
        let purge = match protocol::is_soft_purge(request.headers()) {
            Some(true) => purge.soft(),
            Some(false) => purge,
            None => {
                let text = "invalid forwardcache-purge: specify soft, or omit the header field";
                return refusal(StatusCode::BAD_REQUEST, ErrorKind::BadRequest, text);
            }
        };
        if scope == Scope::Near {
            self.pool.purge_near_cache(&purge);
            let mut response = Response::new(Body::empty());
            *response.status_mut() = StatusCode::NO_CONTENT;
            return response;
        }
        // Other peers receive the purge with the scope `own`, so they do not forward it.
        let includes_others = scope == Scope::Pool && !self.pool.is_alone();
        let mut response = purge::response(&self.purge(&purge, includes_others));
        if let Some(own) = self.ring_mismatch(Hop::of(request.headers())) {
            protocol::announce_members(response.headers_mut(), own);
        }
        response
    }

    /// Purges this peer's own share and its near cache, and optionally the other peers.
    pub(crate) fn purge(&self, purge: &Purge, includes_others: bool) -> PoolPurged {
        // Otherwise this peer could take purged responses over from previous owners.
        self.pool.purge_previous_owners(purge);
        let own = Ok(self.cache.purge(purge));
        let mut peers = if includes_others { self.pool.purge_others(purge) } else { Vec::new() };
        // The near cache is last, because it could fill again from peers that have not purged yet.
        self.pool.purge_near_cache(purge);
        peers.push(PeerPurged::new(self.pool.own_url().clone(), own));
        PoolPurged::new(peers)
    }
}

#[cfg(test)]
mod tests;
