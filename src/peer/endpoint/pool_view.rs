//! [`PoolView`]: the pool, as the endpoint sees it.

use std::fmt;
use std::net::{IpAddr, SocketAddr};

use http::{Extensions, HeaderMap, Method, Request, Response, StatusCode};

use crate::base::error::Result;
use crate::message::body::Body;
use crate::message::nonblocking::Ask;
use crate::message::purge::Purge;
use crate::message::round_trip::RoundTrip;
use crate::message::url::CanonicalUrl;
use crate::pool::peer_url::PeerUrl;
use crate::pool::protocol::PoolDigest;
use crate::pool::purge::PeerPurged;

/// The pool, as one of its members sees it. All methods except [`purge_others`](Self::purge_others)
/// and [`ask_owner`](Self::ask_owner) are cheap and never block.
pub(crate) trait PoolView: fmt::Debug + Send + Sync {
    /// Returns whether the URL names a peer of the pool. Peers are not fetched as origins.
    fn is_peer(&self, target: &CanonicalUrl) -> bool;

    /// Returns whether this peer owns the URL with this canonical text, or the pool is empty.
    fn is_own(&self, url: &str) -> bool;

    /// Sends a request to the owner of its URL, and if the owner fails, to the next one. `own` answers if this peer is the
    /// next one, or if no other peer is left. Blocks.
    fn ask_owner(
        &self,
        target: &CanonicalUrl,
        request: Request<Body>,
        own: &dyn RoundTrip,
    ) -> Result<Response<Body>>;

    /// Returns the message to the owner of the URL, if an event loop may send it; see
    /// [`Client::ask_without_thread`](crate::Client).
    fn ask_without_thread(
        &self,
        _target: &CanonicalUrl,
        _request: Request<Body>,
        _extensions: &mut Extensions,
    ) -> Option<Box<Ask>> {
        None
    }

    /// Returns whether a member is known to have this address.
    fn has_address(&self, address: IpAddr) -> bool;

    /// Returns whether a member is known to have this address and the port of a member.
    fn has_socket(&self, socket: SocketAddr) -> bool;

    /// Returns the digest of the members, which differs between different pools.
    fn digest(&self) -> PoolDigest;

    /// Returns the base URL of this peer.
    fn own_url(&self) -> &PeerUrl;

    /// Records that another peer is leaving. Returns whether that peer is a member of the pool.
    fn note_leaving(&self, peer: &PeerUrl) -> bool;

    /// Marks responses as purged, so that this peer no longer takes them over from previous owners.
    fn purge_previous_owners(&self, purge: &Purge);

    /// Removes matching responses from the near cache of this peer.
    fn purge_near_cache(&self, purge: &Purge);

    /// Removes from the near cache of this peer what the response to an unsafe request invalidates (RFC 9111 section 4.4).
    fn forget_after(&self, method: &Method, target: &CanonicalUrl, status: StatusCode, headers: &HeaderMap);

    /// Returns whether the pool has no other peer.
    fn is_alone(&self) -> bool;

    /// Purges the shares of all other peers. Blocks until each peer has responded or its time limit is over.
    fn purge_others(&self, purge: &Purge) -> Vec<PeerPurged>;
}
