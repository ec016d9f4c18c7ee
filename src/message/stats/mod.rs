//! Outcomes. The same names appear in `Cache-Status`, metrics and logs.
//!
//! | file | content |
//! |---|---|
//! | `outcome` | [`Outcome`]: how a request was handled |
//! | `cache_status` | the outcome as a `Cache-Status` field (RFC 9211) |

mod cache_status;
mod outcome;

pub(crate) use cache_status::{CACHE_STATUS, CacheStatus, LastMember, X_FROM_CACHE, time_to_live};
pub use outcome::{Forward, Outcome};
