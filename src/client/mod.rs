//! The asking side: every request goes to the peer that owns its URL, and on to the next while that is away.
//!
//! | file | what it holds |
//! |---|---|
//! | `client` | [`Client`]: its face |
//! | `builder` | [`ClientBuilder`]: pool, path, ring, time limits, transport |
//! | `choices` | what it may be told to do where its pool does not answer |
//! | `ring_mismatches` | peers that know another pool |
//! | `previous_owners` | who owned what before the pool was changed |
//! | `of_peer` | what it does for the peer that it belongs to, and what it keeps near |
//! | `purging` | a purge of every peer |
//! | `leaving` | peers that say that they are about to end |
//! | `fan_out` | several peers that are asked at the same time |
//! | `pool` | the peers and their ring, swapped in whole |
//! | `replayable_request` | a request that may be sent more than once |
//! | `candidates` | which of the owners may be asked, one after another |
//! | `dispatch` | from owner to owner until one answers; a peer's failure is told from an origin's answer |
//! | `observation` | what an answer says about the peer, and where the request goes next; pure |
//! | `budget` | how many requests may go on because a peer was busy |
//! | `circuit_breaker` | whether a peer is asked, after what it did so far; pure, over a given time |
//! | `peers` | what was learnt of each peer, with its locks |
//! | `watch` | peers that are waited for are asked whether they are there |
//! | `helpers` | a bounded number of threads for that |
//! | `buffering` | a short body is read before its response is handed out |
//! | `resume` | a body that breaks off goes on from another peer |
//! | `counts` | what is counted |

pub(crate) mod agent;
mod announced_digest;
mod answer;
mod budget;
mod buffering;
mod builder;
mod candidates;
mod circuit_breaker;
mod client;
mod counts;
mod dispatch;
mod exchange;
mod fan_out;
mod helpers;
mod inner;
mod leaving;
mod liveness;
mod members;
pub(crate) mod membership;
#[cfg(feature = "peer")]
pub(crate) mod near_cache;
mod observation;
mod on_no_peers;
mod options;
#[cfg(feature = "peer")]
mod peer_support;
mod peers;
mod pool;
mod previous_owners;
mod purging;
mod replayable_request;
mod resume;
mod ring_mismatches;
#[cfg(test)]
mod tests;

pub use builder::ClientBuilder;
pub use circuit_breaker::PeerState;
pub use client::Client;
pub use counts::ClientCounts;
pub(crate) use members::{distinct, parse};
pub use on_no_peers::OnNoPeers;
pub use peers::PeerHealth;
