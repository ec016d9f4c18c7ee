//! Where stored responses live.
//!
//! | file | what it holds |
//! |---|---|
//! | `stored_response` | one response, immutable and ready to be sent |
//! | `contract` | `Store`: what the caching engine uses, responses by key |

mod contract;
mod standin;
mod stored_response;
pub use standin::MemoryStore;

pub use contract::{Key, MAX_VARIANTS, NoStore, Store, StoreError, Usage, Variants};
pub use stored_response::StoredResponse;
