//! Where responses live.
//!
//! [`MemoryStore`] is the default. To keep responses elsewhere, implement [`ByteStore`] (bytes by key) and wrap it in
//! [`Lru`] (a size limit) and [`BackedStore`] (which makes it a [`Store`]).

// Storage for responses. A cache uses it through the trait `Store`; `MemoryStore` is the default.
//
// To keep responses elsewhere, implement `ByteStore` (bytes by key) and wrap it in `Lru` (a size limit) and
// `BackedStore` (which makes it a `Store`).
//
// Files in reading order:
//
// | file | content |
// |---|---|
// | `contract` | `Store`, the entry: responses by key |
// | `stored_response` | one response, immutable and ready to be sent |
// | `variants` | merges a new response into the stored variants of its key |
// | `memory_store` | `MemoryStore`: parsed responses in memory, within a limit in bytes |
// | `shard` | the entries of a `MemoryStore` behind one lock, and their eviction order |
// | `allocated` | the memory that an allocation takes |
// | `capacity` | the default capacity of a `MemoryStore` |
// | `purging` | matches stored responses against a purge |
// | `byte_store` | `ByteStore`: the trait for backends, bytes by key |
// | `memory_byte_store` | `MemoryByteStore`: bytes in memory without a limit |
// | `no_store` | `NoStore`: keeps nothing, for collapsing only |
// | `lru` | `Lru`: a size limit around any `ByteStore` |
// | `lru_index` | the keys of an `Lru` and their sizes |
// | `backed` | `BackedStore`: a `Store` over any `ByteStore` |
// | `record` | the binary format of the responses of one key |
// | `stripes` | locks by key, for operations that need several backend calls |
// | `key_file` | `StoreKey`: keeps the entries of credentials apart across processes |
// | `tier` | `Tier`: the storage below the store in memory |
// | `lane` | the threads that wait for a lower tier |
// | `trouble` | logs the failures of a lower tier |
// | `disk` | `DiskStore`: the tier that outlives the process |
// | `redis` | `RedisStore`: the tier that peers share |

mod allocated;
mod backed;
mod byte_store;
mod capacity;
mod contract;
#[cfg(test)]
pub(crate) mod contract_suite;
#[cfg(test)]
mod contract_tests;
#[cfg(feature = "disk")]
mod disk;
#[cfg(any(feature = "disk", feature = "redis"))]
mod key_file;
#[cfg(any(feature = "disk", feature = "redis"))]
mod lane;
#[cfg(test)]
mod ledger_tests;
mod lru;
mod lru_index;
mod memory_byte_store;
mod memory_store;
mod no_store;
mod purging;
mod record;
#[cfg(feature = "redis")]
mod redis;
mod shard;
mod stored_response;
mod stripes;
#[cfg(test)]
pub(crate) mod testing;
pub(crate) mod tier;
#[cfg(any(feature = "disk", feature = "redis"))]
mod trouble;
mod variants;

#[cfg(feature = "redis")]
pub use self::redis::{RedisStore, RedisStoreBuilder};
pub use crate::base::byte_size::{ByteSize, InvalidByteSize};
pub use crate::base::memory_limit::Ledger;
pub use crate::message::pieces::Pieces;
pub use backed::BackedStore;
pub use byte_store::{ByteStore, ByteStoreKeys};
pub use capacity::default_capacity;
pub use contract::{Key, MAX_VARIANTS, Store, StoreError, Usage, Variants};
#[cfg(feature = "disk")]
pub use disk::{DiskEntries, DiskEntry, DiskStore};
#[cfg(any(feature = "disk", feature = "redis"))]
pub(crate) use key_file::StoreKey;
pub use lru::Lru;
pub use memory_byte_store::MemoryByteStore;
pub use memory_store::MemoryStore;
pub use no_store::NoStore;
pub(crate) use purging::url_of;
pub(crate) use stored_response::RemoteBody;
pub use stored_response::StoredResponse;
pub(crate) use tier::{Position, Tier, TierUsage, Work};
