//! forwardcache: a distributed, private, forward HTTP cache for programs that block.

mod body;
mod client;
mod clock;
mod error;
#[cfg(feature = "peer")]
mod flight;
mod header;
mod origin;
mod protocol;
mod round_trip;

#[cfg(feature = "peer")]
mod caching;
#[cfg(feature = "peer")]
mod handler;
#[cfg(feature = "peer")]
mod peer;
#[cfg(feature = "peer")]
mod policy;
#[cfg(feature = "peer")]
mod stats;
#[cfg(feature = "peer")]
mod store;

pub use body::Body;
pub use client::{Client, ClientBuilder, EmptyPool};
pub use clock::{Clock, ManualClock, SystemClock};
pub use error::{Error, ErrorKind, Result};
pub use origin::{Origin, OriginBuilder};
pub use round_trip::{Nowhere, RoundTrip, RoundTripFn};

#[cfg(feature = "peer")]
pub use caching::{Caching, CachingBuilder};
#[cfg(feature = "peer")]
pub use peer::{Peer, PeerBuilder};
#[cfg(feature = "peer")]
pub use policy::{LifetimeSource, Mode, Rules, Validity, Variant};
#[cfg(feature = "peer")]
pub use stats::{Counts, Forward, Outcome, Stats};
#[cfg(feature = "peer")]
pub use store::{Key, MAX_VARIANTS, NoStore, Store, StoreError, StoredResponse, Usage, Variants};
