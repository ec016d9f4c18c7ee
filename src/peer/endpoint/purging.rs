//! `PURGE <path>?...`: what is stored is removed, here and at the other peers.
//!
//! A client that purges can make every request go to its origin, so it is not enough to reach the peer. Purging needs
//! an operator token, or a token where there are no operator tokens. Without any token, clients on this machine may
//! purge while the peer is served on loopback addresses only; and every client may where the peer was told so, as by a
//! program whose server asks for certificates.
//!
//! A purge of the pool waits for the other peers, each of which needs a thread to purge its own share, which waits for
//! nobody. On the front of this crate the two have threads of their own. On another server, where they are the same
//! threads, one purge of the pool is under way at a time: the other threads answer the other peers.

use std::time::Duration;

use http::{Request, Response, StatusCode};

use super::proxy::Proxy;
use super::refusal::{failure, refusal};
use crate::base::error::{Error, ErrorKind};
use crate::message::body::Body;
use crate::message::purge::Purge;
use crate::pool::protocol::{self, Hop, Scope};
use crate::pool::purge::{self, PeerPurged, PoolPurged};

/// When it is worth coming again. Most often the others take some milliseconds.
const AGAIN: Duration = Duration::from_secs(1);

impl Proxy {
    /// Purges the pool, if nobody else does at the moment.
    pub(super) fn purge_in_turn(&self, request: &Request<Body>) -> Response<Body> {
        if let Some(_one_at_a_time) = self.purging.try_lock() {
            return self.purge_by_known(request);
        }
        let text = "another purge of the pool is under way: come again, or purge each peer by itself";
        failure(&Error::new(ErrorKind::Unavailable, text).with_retry_after(AGAIN))
    }

    /// Answers a purge by one who may.
    pub(crate) fn purge_by_known(&self, request: &Request<Body>) -> Response<Body> {
        let Some(scope) = Scope::of(request.headers()) else {
            let text = "forwardcache-scope says something else than own or near";
            return refusal(StatusCode::BAD_REQUEST, ErrorKind::BadRequest, text);
        };
        let purge = match Purge::from_query(request.uri().query()) {
            Ok(purge) => purge,
            Err(reason) => return refusal(StatusCode::BAD_REQUEST, ErrorKind::BadRequest, reason),
        };
        let purge = match protocol::is_soft_purge(request.headers()) {
            Some(is_soft) => {
                if is_soft {
                    purge.soft()
                } else {
                    purge
                }
            }
            None => {
                let text = "forwardcache-purge says something else than soft";
                return refusal(StatusCode::BAD_REQUEST, ErrorKind::BadRequest, text);
            }
        };
        if scope == Scope::Near {
            self.pool.forget_near(&purge);
            let mut response = Response::new(Body::empty());
            *response.status_mut() = StatusCode::NO_CONTENT;
            return response;
        }
        // Those who are asked by this peer ask nobody: they are asked for their own.
        let asks_others = scope == Scope::Pool && !self.pool.is_alone();
        let mut response = purge::response(&self.purge(&purge, asks_others));
        if let Some(own) = self.other_members(Hop::of(request.headers())) {
            protocol::announce_members(response.headers_mut(), own);
        }
        response
    }

    /// Purges this peer's own share, what it keeps near, and the others where that is wanted.
    pub(crate) fn purge(&self, purge: &Purge, asks_others: bool) -> PoolPurged {
        // What former owners have would come back.
        self.pool.purge_former(purge);
        let own = Ok(self.caching.purge(purge));
        let mut peers = if asks_others { self.pool.purge_others(purge) } else { Vec::new() };
        // Last, as until then it could be given anew what was to go.
        self.pool.forget_near(purge);
        peers.push(PeerPurged::new(self.pool.own_url().clone(), own));
        PoolPurged::new(peers)
    }
}

#[cfg(test)]
mod tests;
