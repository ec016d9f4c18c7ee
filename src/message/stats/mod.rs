//! Outcomes and counters. The same names appear in `Cache-Status`, metrics and logs.
//!
//! | file | content |
//! |---|---|
//! | `outcome` | [`Outcome`]: how a request was handled |
//! | `cache_status` | the outcome as a `Cache-Status` field (RFC 9211) |
//! | `counters` | counters of a cache: one for each outcome, and others for origins, the store and purges |
//! | `durations` | histograms of how long requests took |
//! | `server` | counters of a server: connections, refusals and handshakes |

mod cache_status;
#[cfg(feature = "peer")]
mod counters;
#[cfg(feature = "peer")]
mod durations;
mod outcome;
#[cfg(feature = "peer")]
mod server;

pub(crate) use cache_status::{CACHE_STATUS, CacheStatus, X_FROM_CACHE, time_to_live};
#[cfg(feature = "peer")]
pub use counters::{Counts, Stats};
pub use outcome::{Forward, Outcome};
#[cfg(feature = "peer")]
pub(crate) use server::{ConnectionRefusal, Handshake, Named, RequestRefusal, ServerStats};
