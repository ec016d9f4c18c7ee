//! What is to be purged, and what went.
//!
//! | file | what it holds |
//! |---|---|
//! | `what` | [`Purge`]: a URL, a prefix, a group of an origin, or everything |
//! | `wire` | the same as the query of a request between peers |
//! | `purged` | [`Purged`], [`PeerPurged`], [`PoolPurged`]: what went, and who could not be asked |
//! | `report` | the same as lines of an answer |

mod purged;
mod report;
mod what;
mod wire;

pub use purged::{PeerPurged, PoolPurged, Purged};
pub(crate) use report::{own_report, response};
pub use what::Purge;
