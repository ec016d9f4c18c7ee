//! The asking side: every request goes to the peer that owns its URL.
//!
//! | file | what it holds |
//! |---|---|
//! | `asking` | [`Client`]: route, send, tell a peer's failure from an origin's answer |
//! | `builder` | [`ClientBuilder`]: pool, path, ring, time limits, transport |
//! | `disagreements` | peers that know another pool |
//! | `former` | who owned what before the pool was changed |
//! | `purging` | a purge of every peer |
//! | `pool` | the peers and their ring, swapped in whole |

mod asking;
mod builder;
mod disagreements;
#[cfg(feature = "peer")]
mod former;
mod pool;
mod purging;

pub use asking::Client;
pub use builder::{ClientBuilder, EmptyPool};
#[cfg(feature = "peer")]
pub(crate) use pool::Listed;
