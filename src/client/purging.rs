//! A purge of the whole pool, in two rounds.
//!
//! In the first, every peer purges its own share, and forgets what it keeps near of what others own. One that has
//! done so may be asked in the same moment for what another owns that has not, and then keeps near, for as long as
//! that lasts, what was to go. So there is a second round, once all have answered: each forgets again what it keeps
//! near, which by now comes from nobody but those who have purged it. Last comes what this client keeps near.

use std::time::Instant;

use http::{Request, Response, StatusCode};

use super::client::Client;
use super::dispatch::reason;
use super::fan_out::side_by_side;
use crate::base::error::{Error, ErrorKind, Result};
use crate::message::body::Body;
use crate::message::deadline::Deadline;
use crate::message::purge::{Purge, Purged};
use crate::pool::peer_url::PeerUrl;
use crate::pool::protocol::{self, Hop, Scope};
use crate::pool::purge::{PeerPurged, PoolPurged, own_report};

/// How long the answer of a peer about itself may be, in bytes.
const MAX_REPORT: u64 = 16 << 10;

impl Client {
    /// Has every peer of the pool remove what the purge is about, and says for each what went, or why it could
    /// not be asked: a copy may be with any of them, not with the owner alone.
    ///
    /// The peers are asked side by side, up to 16 at a time, all within the
    /// [`purge_timeout`](crate::ClientBuilder::purge_timeout); and once all
    /// have answered, those that did it are asked again, to forget what their near caches were given in between. One that
    /// could not be reached may still hold, and serve, what was to go: see [`PoolPurged::failed`]. A purge may
    /// be repeated.
    ///
    /// ```no_run
    /// use forwardcache::{Client, Purge};
    ///
    /// let client = Client::builder().pool(["http://10.0.0.1:3000", "http://10.0.0.2:3000"]).build()?;
    /// let purged = client.purge(&Purge::prefix("https://example.com/news/")?)?;
    /// println!("{} responses went", purged.total().responses);
    /// for (peer, error) in purged.failed() {
    ///     eprintln!("{peer} still has what it had: {error}");
    /// }
    /// # Ok::<(), forwardcache::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`ErrorKind::OnNoPeers`] when the pool has no peer. What goes wrong at a peer is in the answer.
    pub fn purge(&self, purge: &Purge) -> Result<PoolPurged> {
        self.purge_at(&self.pool(), purge)
    }

    /// As [`purge`](Self::purge), by these peers alone: by those that are left of several purges where one of the pool
    /// has failed.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::OnNoPeers`] when there is no peer among them.
    pub fn purge_at(&self, peers: &[PeerUrl], purge: &Purge) -> Result<PoolPurged> {
        let purged = self.purge_each(peers, purge);
        if peers.is_empty() {
            return Err(Error::new(ErrorKind::OnNoPeers, "the pool has no peer"));
        }
        Ok(PoolPurged::new(purged))
    }

    /// The same at all peers but this one, which purges itself.
    pub(crate) fn purge_others(&self, purge: &Purge, own: &PeerUrl) -> Vec<PeerPurged> {
        self.purge_each(&self.others(own), purge)
    }

    fn purge_each(&self, peers: &[PeerUrl], purge: &Purge) -> Vec<PeerPurged> {
        let deadline = Deadline::within(self.inner.options.purge_timeout);
        let purged = side_by_side(peers, |peer| self.purge_peer(peer, purge, deadline));
        let mut purged: Vec<_> = purged.into_iter().map(|(_, purged)| purged).collect();
        // What one alone keeps near is of nobody that was purged after it.
        if peers.len() > 1 {
            let done = purged.iter().filter(|peer| peer.result.is_ok()).map(|peer| peer.peer.clone());
            let done: Vec<_> = done.collect();
            for (peer, forgot) in side_by_side(&done, |peer| self.forget_near_at(peer, purge, deadline)) {
                // It may have near what went from its share.
                if let Err(error) = forgot
                    && let Some(purged) = purged.iter_mut().find(|purged| purged.peer == peer)
                {
                    purged.result = Err(error);
                }
            }
        }
        // Last, as until then it could be given anew what was to go.
        #[cfg(feature = "peer")]
        self.forget_own_copies(purge);
        purged
    }

    /// Has one peer purge its own share, and compares which pool it knows.
    fn purge_peer(&self, peer: &PeerUrl, purge: &Purge, deadline: Deadline) -> PeerPurged {
        let mut answer = self.ask_to_purge(peer, purge, Scope::Own, deadline);
        let other = answer.as_mut().ok().and_then(|answer| protocol::take_members(answer.headers_mut()));
        if let Some(members) = other {
            self.inner.disagreements.note(peer, members, &self.inner.pool, Instant::now());
        }
        let mut purged = PeerPurged::new(peer.clone(), answer.and_then(|answer| own_share(peer, answer)));
        purged.knows_other_pool = other.is_some();
        purged
    }

    /// Has one peer, whose own share is purged, forget what it keeps near.
    fn forget_near_at(&self, peer: &PeerUrl, purge: &Purge, deadline: Deadline) -> Result<()> {
        let response = self.ask_to_purge(peer, purge, Scope::Near, deadline)?;
        // One of an older release, which took the first round and does not know of a second.
        if response.status() == StatusCode::BAD_REQUEST {
            return Ok(());
        }
        let response = told(peer, response)?;
        if !response.status().is_success() {
            let text = format!("the peer forgets nothing: it answers {}", response.status().as_u16());
            return Err(Error::new(ErrorKind::BadResponse, text).with_peer(peer));
        }
        Ok(())
    }

    fn ask_to_purge(
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
            // Asked once which pool it knows, it is counted once.
            let members = Some(self.inner.pool.digest());
            Hop { members, ..Hop::default() }.put(request.headers_mut());
        }
        request.extensions_mut().insert(deadline);
        self.inner.show_operator_token(&mut request);
        self.inner.transport.round_trip(request).map_err(|error| error.with_peer(peer))
    }
}

/// What a peer says that it purged of its own share.
fn own_share(peer: &PeerUrl, response: Response<Body>) -> Result<Purged> {
    let response = told(peer, response)?;
    let bad = |text: String| Error::new(ErrorKind::BadResponse, text).with_peer(peer);
    if response.status() != StatusCode::OK {
        return Err(bad(format!("the peer purges nothing: it answers {}", response.status().as_u16())));
    }
    let text = response.into_body().into_bytes_limited(MAX_REPORT).map_err(|error| error.with_peer(peer))?;
    let purged = own_report(&String::from_utf8_lossy(&text));
    purged.ok_or_else(|| bad("the peer does not say what it purged".to_owned()))
}

/// The answer of a peer, or what it says went wrong.
fn told(peer: &PeerUrl, response: Response<Body>) -> Result<Response<Body>> {
    match protocol::failure(response.headers()) {
        Some(kind) => Err(Error::new(kind, reason(response.into_body())).told_by_peer(peer)),
        None => Ok(response),
    }
}

#[cfg(test)]
mod tests;
