//! forwardcache: a distributed, private, forward HTTP cache for programs that block.

mod body;
mod byte_size;
mod clock;
mod error;
#[cfg(feature = "peer")]
mod flight;
mod header;
mod round_trip;

#[cfg(feature = "peer")]
mod policy;
#[cfg(feature = "peer")]
mod store;

pub use body::Body;
pub use byte_size::{BadSize, ByteSize};
pub use clock::{Clock, ManualClock, SystemClock};
pub use error::{Error, ErrorKind, Result};
pub use round_trip::{Nowhere, RoundTrip, RoundTripFn};

#[cfg(feature = "peer")]
pub use policy::{LifetimeSource, Mode, Rules, Validity, Variant};
#[cfg(feature = "peer")]
pub use store::{
    BackedStore, Cache, Key, Lru, MAX_VARIANTS, MemoryCache, MemoryStore, NoCache, NoStore, Store,
    StoreError, StoredResponse, Usage, Variants, default_capacity,
};
