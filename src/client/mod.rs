//! The asking side: every request goes to the peer that owns its URL, and on to the next while that is away.
//!
//! | file | what it holds |
//! |---|---|
//! | `asking` | [`Client`]: its face |
//! | `builder` | [`ClientBuilder`]: pool, path, ring, time limits, transport |
//! | `choices` | what it may be told to do about peers that fail or are slow |
//! | `disagreements` | peers that know another pool |
//! | `former` | who owned what before the pool was changed |
//! | `purging` | a purge of every peer |
//! | `leaving` | peers that say that they are about to end |
//! | `side_by_side` | several peers that are asked at the same time |
//! | `pool` | the peers and their ring, swapped in whole |
//! | `asked` | a request that may be sent more than once |
//! | `candidates` | which of the owners may be asked, one after another |
//! | `sending` | from owner to owner until one answers; a peer's failure is told from an origin's answer |
//! | `failover` | whether a request that failed goes on; pure |
//! | `health` | whether a peer is asked, after what it did so far; pure, over a given time |
//! | `peers` | what was learnt of each peer, with its locks |
//! | `marks` | the same as text, for the next program |
//! | `latency` | how long a peer takes: a histogram |
//! | `in_flight` | how many requests a peer has, and may have |
//! | `hedge` | a second peer is asked when the first is slow |
//! | `collecting` | a short body is read before its response is handed out |
//! | `resume` | a body that breaks off goes on from another peer |
//! | `counts` | what is counted |

mod asked;
mod asking;
mod builder;
mod candidates;
mod choices;
mod collecting;
mod counts;
mod disagreements;
mod failover;
#[cfg(feature = "peer")]
mod former;
mod health;
mod hedge;
mod in_flight;
mod latency;
#[cfg(feature = "peer")]
mod leaving;
mod marks;
mod peers;
mod pool;
mod purging;
mod resume;
mod sending;
mod side_by_side;
#[cfg(test)]
mod tests;

pub use asking::Client;
pub use builder::ClientBuilder;
pub use choices::{NoPeerLeft, SlowPeers};
pub use counts::ClientCounts;
pub use health::PeerState;
pub use marks::Marks;
pub use peers::PeerHealth;
#[cfg(feature = "peer")]
pub(crate) use pool::Listed;
