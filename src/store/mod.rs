//! Where stored responses live.
//!
//! | file | what it holds |
//! |---|---|
//! | `stored_response` | one response, immutable and ready to be sent |
//! | `contract` | `Store`: what the caching engine uses, responses by key |
//! | `variants` | how a new response joins those of its key |
//! | `memory` | `MemoryStore`: the default, parsed responses within a byte budget |
//! | `shard` | what a `MemoryStore` holds behind one lock, and what of it goes first |
//! | `allocated` | what a piece of memory takes of the process |
//! | `purging` | which responses a purge is about |
//! | `byte_store` | `ByteStore`: what a backend author implements, bytes by key |
//! | `memory_byte_store` | `MemoryByteStore`: a cache in memory without a bound |
//! | `lru` | `Lru`: a bound in bytes around any cache |
//! | `lru_index` | what `Lru` knows of the cache inside |
//! | `backed` | `BackedStore`: a store over any cache |
//! | `record` | the bytes that a cache holds for a key |
//! | `stripes` | locks by key, for what takes several steps over a backend |
//! | `tier` | `Tier`: what is below the store in memory |
//! | `disk` | `DiskStore`: the tier that outlives the process |
//! | `capacity` | how much memory a store takes where nobody says |

mod allocated;
mod backed;
mod byte_store;
mod capacity;
mod contract;
#[cfg(test)]
mod contract_tests;
#[cfg(feature = "disk")]
mod disk;
#[cfg(test)]
mod ledger_tests;
mod lru;
mod lru_index;
mod memory;
mod memory_byte_store;
mod purging;
mod record;
mod shard;
mod stored_response;
mod stripes;
#[cfg(test)]
mod testing;
mod tier;
mod variants;

pub use backed::BackedStore;
pub use byte_store::{ByteStore, ByteStoreKeys};
pub use capacity::default_capacity;
pub use contract::{Key, MAX_VARIANTS, Store, StoreError, Usage, Variants};
#[cfg(feature = "disk")]
pub use disk::DiskStore;
pub use lru::Lru;
pub use memory::MemoryStore;
pub use memory_byte_store::MemoryByteStore;
pub(crate) use purging::url_of;
pub(crate) use stored_response::RemoteBody;
pub use stored_response::StoredResponse;
pub(crate) use tier::Tier;
