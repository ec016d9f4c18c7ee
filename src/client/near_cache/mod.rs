//! A small cache beside whoever asks, for what is asked for often and owned by somebody else.
//!
//! | file | what it holds |
//! |---|---|
//! | `cache` | `Near`: what goes through it, what past it, and what it forgets |
//! | `hot_keys` | `HotKeys`: which keys are asked for often, by rate |
//! | `options` | [`NearCache`]: how much memory, what is hot, what is too large |

mod cache;
mod hot_keys;
mod options;

pub(crate) use cache::{Near, NearParts};
pub use options::NearCache;
