//! Where stored responses live.
//!
//! | file | what it holds |
//! |---|---|
//! | `stored_response` | one response, immutable and ready to be sent |
//! | `contract` | `Store`: what the caching engine uses, responses by key |
//! | `variants` | how a new response joins those of its key |
//! | `memory` | `MemoryStore`: the default, parsed responses within a byte budget |
//! | `capacity` | how much memory a store takes where nobody says |

mod capacity;
mod contract;
mod memory;
mod stored_response;
#[cfg(test)]
mod testing;
mod variants;

pub use capacity::default_capacity;
pub use contract::{Key, MAX_VARIANTS, NoStore, Store, StoreError, Usage, Variants};
pub use memory::MemoryStore;
pub use stored_response::StoredResponse;
