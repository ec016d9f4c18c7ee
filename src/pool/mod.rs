//! The members of a pool, the owner of each URL, and the sources for the list of members.

// The members of a pool, the owner of each URL, and the protocol between peers.
//
// Entry: `ring::Placement`, which names the owners of a URL. Reading order:
//
// | module | content |
// |---|---|
// | `peer_url`, `member` | the base URL of a peer, and its weight |
// | `peer_state` | the health of a peer |
// | `ring` | the owner of a URL: [`Rendezvous`](ring::Rendezvous), and the ring of the Go package |
// | `discovery` | sources for the list of members: a file, DNS, a closure |
// | `protocol` | paths and header fields between clients and peers |
// | `purge` | purges between peers: requests and reports |
//
// This hall imports `base` and `message`.

pub(crate) mod discovery;
pub(crate) mod member;
pub(crate) mod peer_state;
pub(crate) mod peer_url;
pub(crate) mod protocol;
pub(crate) mod purge;
pub(crate) mod ring;

pub use crate::base::token::Tokens;
pub use crate::message::purge::Purged;
pub use discovery::{Discovery, DnsDiscovery, FileDiscovery, FnDiscovery, MembershipChange};
pub use member::{InvalidMember, Member};
pub use peer_url::{InvalidPeerUrl, PeerUrl};
pub use purge::{PeerPurged, PoolPurged};
pub use ring::{HashFunction, Rendezvous, Ring, RingKind};
