//! The pool as a client uses it: options of a [`Client`], the health of peers, [`Membership`] and [`NearCache`].
//!
//! [`Client::builder`] is the entry. [`agent`](crate::agent()) makes a client usable through ureq.

// The client of a pool. It sends each request to the peer that owns its URL, or to the next owner if that fails.
//
// [`Client`] is the entry. A request takes this way through the files:
//
// ```text
// client      near_cache has a fresh copy? ── yes ──▶ response
//    │ no
//    ▼
// dispatch    candidates: which owner is next? ── none left ──▶ fallback (inner): the origin,
//    │                           ▲                              the peer's own cache, or an error
//    ▼                           │
// late_peer_probes registers the exchange, and probes a late peer
//    ▼                           │
// transport   sends the request, and reads the response head
//    ▼                           │ failure: observation classifies it,
// buffering   reads a short body │ peers records it, dispatch goes on
//    ▼                           │
// resume      returns the body; if it breaks off, another peer continues it
// ```
//
// Files in reading order:
//
// | file | what it holds |
// |---|---|
// | `client` | [`Client`]: the public methods |
// | `builder` `options` `on_no_peers` | [`ClientBuilder`] and the options that it sets |
// | `inner` | the state that clones share, and the fallbacks |
// | `members` `pool` | the members with their ring, and how they are replaced |
// | `replayable_request` | a request that may be sent more than once |
// | `candidates` | the owners that may be asked, in order of preference |
// | `dispatch` `answer` | tries owner after owner until one responds |
// | `observation` | classifies failures, and decides what follows; pure |
// | `budget` | limits retries after busy peers |
// | `peer_circuit_breaker` | the health of one peer as a state machine over a given time; pure |
// | `peers` | the circuit breakers of all peers, with their locks |
// | `exchange` `late_peer_probes` | requests in progress; probes peers that are late or return |
// | `helpers` | a bounded pool of threads for probes and short bodies |
// | `buffering` | reads a short body before its response is returned |
// | `announced_digest` | verifies bodies against announced digests |
// | `resume` | continues a broken body from another peer |
// | `redirects` | follows redirects |
// | `counts` | the counters |
// | `fan_out` | sends to several peers concurrently |
// | `purging` `leaving` | purges of all peers, and leave notices to them |
// | `previous_owners` `ring_mismatches` | owners before the last changes, and peers with another list |
// | `event_loop` | requests to peers that an event loop sends itself |
// | `peer_support` | functions for the `Peer` that this client belongs to |
// | `near_cache/` | local copies of popular URLs |
// | `membership/` | keeps the pool equal to a list |
// | `agent/` | a ureq agent on top of any [`RoundTrip`](crate::RoundTrip) |

pub(crate) mod agent;
mod announced_digest;
mod answer;
mod budget;
mod buffering;
mod builder;
mod candidates;
mod client;
mod counts;
mod dispatch;
#[cfg(feature = "peer")]
mod event_loop;
mod exchange;
mod fan_out;
mod helpers;
mod inner;
mod late_peer_probes;
mod leaving;
mod members;
pub(crate) mod membership;
#[cfg(feature = "peer")]
pub(crate) mod near_cache;
mod observation;
mod on_no_peers;
mod options;
mod peer_circuit_breaker;
#[cfg(feature = "peer")]
mod peer_support;
mod peers;
mod pool;
mod previous_owners;
mod purging;
mod redirects;
mod replayable_request;
mod resume;
mod ring_mismatches;
#[cfg(test)]
mod tests;

pub use crate::message::body_identity::BodyIdentity;
pub use crate::pool::peer_state::PeerState;
pub use builder::ClientBuilder;
pub use client::Client;
pub use counts::ClientCounts;
#[cfg(feature = "peer")]
pub(crate) use event_loop::take_answer;
pub(crate) use members::{distinct, parse};
pub use membership::{Membership, MembershipWatcher, Polled};
#[cfg(feature = "peer")]
pub use near_cache::NearCache;
pub use on_no_peers::OnNoPeers;
pub use peers::PeerHealth;
