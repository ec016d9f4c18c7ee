//! forwardcache: a distributed, private, forward HTTP cache for programs that block.

mod body;
mod clock;
mod error;
#[cfg(feature = "peer")]
mod flight;
mod header;
mod round_trip;

#[cfg(feature = "peer")]
mod front;
#[cfg(feature = "peer")]
mod policy;
#[cfg(feature = "peer")]
mod store;

pub use body::Body;
pub use clock::{Clock, ManualClock, SystemClock};
pub use error::{Error, ErrorKind, Result};
pub use round_trip::{Nowhere, RoundTrip, RoundTripFn};

#[cfg(feature = "tiny_http")]
pub use front::TinyHttpFront;
#[cfg(feature = "peer")]
pub use front::{FrontOptions, Handler, RemoteAddress, Serving, ShutdownHandle};
#[cfg(feature = "peer")]
pub use policy::{LifetimeSource, Mode, Rules, Validity, Variant};
#[cfg(feature = "peer")]
pub use store::{Key, MAX_VARIANTS, NoStore, Store, StoreError, StoredResponse, Usage, Variants};
