//! What happened, under one name everywhere.
//!
//! | file | what it holds |
//! |---|---|
//! | `outcome` | what happened to a request: one enum, one text |
//! | `cache_status` | the outcome as a `Cache-Status` field (RFC 9211) |
//! | `counters` | how often each outcome came about, and what went wrong behind the scenes |
//! | `front` | what a server counts of its connections |

mod cache_status;
#[cfg(feature = "peer")]
mod counters;
#[cfg(feature = "peer")]
mod front;
mod outcome;

pub(crate) use cache_status::{CACHE_STATUS, CacheStatus, X_FROM_CACHE, time_to_live};
#[cfg(feature = "peer")]
pub use counters::{Counts, Stats};
#[cfg(feature = "peer")]
pub(crate) use front::{ConnectionRefusal, Handshake, Named, RequestRefusal, ServerStats};
pub use outcome::{Forward, Outcome};
