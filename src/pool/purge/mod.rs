//! Purges between peers: requests, and reports of what was removed.
//!
//! | file | what it holds |
//! |---|---|
//! | `wire` | the same as the query of a request between peers |
//! | `purged` | [`PeerPurged`], [`PoolPurged`]: what went, and who could not be asked |
//! | `report` | the same as lines of an answer |

mod purged;
mod report;
mod wire;

pub use purged::{PeerPurged, PoolPurged};
pub(crate) use report::{own_report, response};
