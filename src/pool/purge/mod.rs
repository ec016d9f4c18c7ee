//! Purges between peers: requests, and reports of what each peer removed.
//!
//! | file | content |
//! |---|---|
//! | `purged` | [`PeerPurged`], [`PoolPurged`]: the result at each peer |
//! | `report` | the text form of these results, one line for each peer |
//! | `wire` | the query of a purge request between peers |

mod purged;
mod report;
mod wire;

pub use purged::{PeerPurged, PoolPurged};
pub(crate) use report::{parse_own_report, response};
