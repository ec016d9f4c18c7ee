//! A purge of the whole pool, in two rounds.
//!
//! In the first round, every peer purges its own cache and its near cache. A peer that has already done so may
//! fetch a URL again from an owner that has not purged yet, and then keep the old response in its near cache.
//! The second round prevents that: once all peers have answered, each clears its near cache again, which by
//! then only holds responses of peers that have purged. Finally, this client clears its own near cache.

use std::time::Instant;

use http::{Request, Response, StatusCode};

use super::client::Client;
use super::dispatch::reason;
use super::fan_out::fan_out;
use crate::base::error::{Error, ErrorKind, Result};
use crate::message::body::Body;
use crate::message::deadline::Deadline;
use crate::message::purge::{Purge, Purged};
use crate::pool::peer_url::PeerUrl;
use crate::pool::protocol::{self, Hop, Scope};
use crate::pool::purge::{PeerPurged, PoolPurged, parse_own_report};

/// Maximum length of a peer's purge report, in bytes.
const MAX_REPORT: u64 = 16 << 10;

impl Client {
    /// Purges matching responses on every peer of the pool, since any peer may have a copy. Returns the result
    /// for each peer.
    ///
    /// The client asks up to 16 peers at the same time; all must answer within the
    /// [`purge_timeout`](crate::client::ClientBuilder::purge_timeout). Then a second round clears the near caches of
    /// the peers that succeeded. A peer that could not be reached may still hold and serve matching responses:
    /// see [`PoolPurged::failed`]. A purge can be repeated.
    ///
    /// ```no_run
    /// use forwardcache::{Client, Purge};
    ///
    /// let client = Client::builder().pool(["http://10.0.0.1:3000", "http://10.0.0.2:3000"]).build()?;
    /// let purged = client.purge(&Purge::prefix("https://example.com/news/")?)?;
    /// println!("{} responses purged", purged.total().responses);
    /// for (peer, error) in purged.failed() {
    ///     eprintln!("{peer} may still have old responses: {error}");
    /// }
    /// # Ok::<(), forwardcache::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`ErrorKind::NoPeers`] if the pool is empty. Errors of single peers are part of the result.
    pub fn purge(&self, purge: &Purge) -> Result<PoolPurged> {
        self.purge_at(&self.pool(), purge)
    }

    /// Like [`purge`](Self::purge), for these peers only: a program that purges several times can leave out
    /// peers that have failed before.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::NoPeers`] if `peers` is empty.
    pub fn purge_at(&self, peers: &[PeerUrl], purge: &Purge) -> Result<PoolPurged> {
        let purged = self.purge_each(peers, purge);
        if peers.is_empty() {
            return Err(Error::new(ErrorKind::NoPeers, "the pool has no peers"));
        }
        Ok(PoolPurged::new(purged))
    }

    /// Purges all peers except this one, which purges itself.
    pub(crate) fn purge_others(&self, purge: &Purge, own: &PeerUrl) -> Vec<PeerPurged> {
        self.purge_each(&self.others(own), purge)
    }

    fn purge_each(&self, peers: &[PeerUrl], purge: &Purge) -> Vec<PeerPurged> {
        let deadline = Deadline::within(self.inner.options.purge_timeout);
        let purged = fan_out(peers, |peer| self.purge_peer(peer, purge, deadline));
        let mut purged: Vec<_> = purged.into_iter().map(|(_, purged)| purged).collect();
        // With a single peer, no response in its near cache can come from a peer that purged later.
        if peers.len() > 1 {
            let done = purged.iter().filter(|peer| peer.result.is_ok()).map(|peer| peer.peer.clone());
            let done: Vec<_> = done.collect();
            for (peer, forgot) in fan_out(&done, |peer| self.clear_near_cache_at(peer, purge, deadline)) {
                // Its near cache may still hold a purged response.
                if let Err(error) = forgot
                    && let Some(purged) = purged.iter_mut().find(|purged| purged.peer == peer)
                {
                    purged.result = Err(error);
                }
            }
        }
        // This must be the last step: before it, this client could receive an old response again.
        #[cfg(feature = "peer")]
        self.purge_near_cache(purge);
        purged
    }

    /// Purges one peer's own cache, and compares its list of members with this client's.
    fn purge_peer(&self, peer: &PeerUrl, purge: &Purge, deadline: Deadline) -> PeerPurged {
        let mut answer = self.send_purge(peer, purge, Scope::Own, deadline);
        let other = answer.as_mut().ok().and_then(|answer| protocol::take_members(answer.headers_mut()));
        if let Some(members) = other {
            self.inner.ring_mismatches.note(peer, members, &self.inner.pool, Instant::now());
        }
        let mut purged =
            PeerPurged::new(peer.clone(), answer.and_then(|answer| own_share_report(peer, answer)));
        purged.knows_other_pool = other.is_some();
        purged
    }

    /// Clears the near cache of one peer that has purged its own cache.
    fn clear_near_cache_at(&self, peer: &PeerUrl, purge: &Purge, deadline: Deadline) -> Result<()> {
        let response = self.send_purge(peer, purge, Scope::Near, deadline)?;
        // Peers of older releases reject the second round with 400.
        if response.status() == StatusCode::BAD_REQUEST {
            return Ok(());
        }
        let response = accepted(peer, response)?;
        if !response.status().is_success() {
            let text = format!(
                "the peer did not clear its near cache: it responds with status {}",
                response.status().as_u16()
            );
            return Err(Error::new(ErrorKind::BadResponse, text).with_peer(peer));
        }
        Ok(())
    }

    fn send_purge(
        &self,
        peer: &PeerUrl,
        purge: &Purge,
        scope: Scope,
        deadline: Deadline,
    ) -> Result<Response<Body>> {
        let mut request = Request::new(Body::empty());
        *request.method_mut() = protocol::purge();
        *request.uri_mut() = peer.url_with_query(self.path(), &purge.query());
        scope.put(request.headers_mut());
        if purge.is_soft() {
            protocol::ask_for_soft_purge(request.headers_mut());
        }
        if scope == Scope::Own {
            // Sent in one round only, so that a peer with other members is counted once.
            let members = Some(self.inner.pool.digest());
            Hop { members, ..Hop::default() }.put(request.headers_mut());
        }
        request.extensions_mut().insert(deadline);
        self.inner.add_operator_token(&mut request);
        self.inner.transport.round_trip(request).map_err(|error| error.with_peer(peer))
    }
}

/// Reads a peer's report of what it purged from its own cache.
fn own_share_report(peer: &PeerUrl, response: Response<Body>) -> Result<Purged> {
    let response = accepted(peer, response)?;
    let bad = |text: String| Error::new(ErrorKind::BadResponse, text).with_peer(peer);
    if response.status() != StatusCode::OK {
        return Err(bad(format!(
            "the peer did not purge: it responds with status {}",
            response.status().as_u16()
        )));
    }
    let text = response.into_body().into_bytes_limited(MAX_REPORT).map_err(|error| error.with_peer(peer))?;
    let purged = parse_own_report(&String::from_utf8_lossy(&text));
    purged.ok_or_else(|| bad("the purge report of the peer is not valid".to_owned()))
}

/// Returns the response, or the failure that the peer reports in it.
fn accepted(peer: &PeerUrl, response: Response<Body>) -> Result<Response<Body>> {
    match protocol::failure(response.headers()) {
        Some(kind) => Err(Error::new(kind, reason(response.into_body())).reported_by_peer(peer)),
        None => Ok(response),
    }
}

#[cfg(test)]
mod tests;
