//! The pool of a client, as the endpoint sees it.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Instant;

use http::{Extensions, HeaderMap, Method, Request, Response, StatusCode};

use super::addresses::MemberAddresses;
use crate::base::error::Result;
use crate::client::Client;
use crate::message::body::Body;
use crate::message::nonblocking::Ask;
use crate::message::purge::Purge;
use crate::message::round_trip::RoundTrip;
use crate::message::url::CanonicalUrl;
use crate::peer::endpoint::PoolView;
use crate::pool::peer_url::PeerUrl;
use crate::pool::protocol::PoolDigest;
use crate::pool::purge::PeerPurged;

/// The pool of a client, as the member with this URL sees it.
#[derive(Clone, Debug)]
pub(super) struct ClientPool {
    pub(super) client: Client,
    pub(super) self_url: PeerUrl,
    pub(super) addresses: Arc<MemberAddresses>,
}

impl PoolView for ClientPool {
    fn is_peer(&self, target: &CanonicalUrl) -> bool {
        self.client.is_peer(target)
    }

    fn is_own(&self, url: &str) -> bool {
        self.client.pool_state().is_own(url, &self.self_url)
    }

    fn ask_owner(
        &self,
        target: &CanonicalUrl,
        request: Request<Body>,
        own: &dyn RoundTrip,
    ) -> Result<Response<Body>> {
        self.client.round_trip_for_peer(target, request, &self.self_url, own)
    }

    fn ask_without_thread(
        &self,
        target: &CanonicalUrl,
        request: Request<Body>,
        extensions: &mut Extensions,
    ) -> Option<Box<Ask>> {
        self.client.ask_without_thread(target, request, extensions)
    }

    fn has_address(&self, address: IpAddr) -> bool {
        self.addresses
            .contain(address, self.client.pool_state().digest(), Instant::now(), || self.client.pool())
    }

    fn has_socket(&self, socket: SocketAddr) -> bool {
        let pool = self.client.pool();
        let mut members = pool.iter().filter(|member| member.port() == socket.port()).peekable();
        // A member at one loopback address may be bound to all of them.
        members.peek().is_some()
            && (self.has_address(socket.ip())
                || (socket.ip().to_canonical().is_loopback() && members.any(is_at_loopback)))
    }

    fn digest(&self) -> PoolDigest {
        self.client.pool_state().digest()
    }

    fn own_url(&self) -> &PeerUrl {
        &self.self_url
    }

    fn note_leaving(&self, peer: &PeerUrl) -> bool {
        self.client.note_leaving(peer)
    }

    fn purge_previous_owners(&self, purge: &Purge) {
        self.client.pool_state().former().purge(purge);
    }

    fn purge_near_cache(&self, purge: &Purge) {
        self.client.purge_near_cache(purge);
    }

    fn forget_after(&self, method: &Method, target: &CanonicalUrl, status: StatusCode, headers: &HeaderMap) {
        self.client.forget_near(method, target, status, headers);
    }

    fn is_alone(&self) -> bool {
        self.client.pool().iter().all(|peer| *peer == self.self_url)
    }

    fn purge_others(&self, purge: &Purge) -> Vec<PeerPurged> {
        self.client.purge_others(purge, &self.self_url)
    }
}

fn is_at_loopback(member: &PeerUrl) -> bool {
    let host = member.host().trim_start_matches('[').trim_end_matches(']');
    let literal = host.parse::<IpAddr>().ok();
    literal.map_or(host == "localhost", |address| address.to_canonical().is_loopback())
}
