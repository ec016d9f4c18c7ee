//! forwardcache: a distributed, private, forward HTTP cache for programs that block.

mod body;
mod clock;
mod error;
#[cfg(feature = "peer")]
mod flight;
mod header;
mod peer_url;
mod ring;
mod round_trip;
mod target;

#[cfg(feature = "peer")]
mod policy;
#[cfg(feature = "peer")]
mod store;

pub use body::Body;
pub use clock::{Clock, ManualClock, SystemClock};
pub use error::{Error, ErrorKind, Result};
pub use peer_url::{BadPeerUrl, PeerUrl};
pub use ring::{HashFunction, Ring};
pub use round_trip::{Nowhere, RoundTrip, RoundTripFn};
pub use target::{BadTarget, Target};

#[cfg(feature = "peer")]
pub use policy::{LifetimeSource, Mode, Rules, Validity, Variant};
#[cfg(feature = "peer")]
pub use store::{Key, MAX_VARIANTS, NoStore, Store, StoreError, StoredResponse, Usage, Variants};
