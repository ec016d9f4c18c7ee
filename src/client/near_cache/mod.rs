//! A small local cache, in a client or a peer, of responses that it often requests from other peers.
//!
//! | file | what it holds |
//! |---|---|
//! | `cache` | `NearHttpCache`: which requests it serves, and when it drops a copy |
//! | `hot_keys` | `HotKeys`: which URLs are requested often |
//! | `options` | [`NearCache`]: the options |

mod cache;
mod hot_keys;
mod options;

pub(crate) use cache::{NearCacheParts, NearHttpCache};
pub use options::NearCache;
