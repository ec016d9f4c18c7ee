//! Keeps the pool of a client equal to a list that a file, DNS or another [`Discovery`](crate::pool::Discovery)
//! provides.
//!
//! | file | what it holds |
//! |---|---|
//! | `settling` | decides when a changed list replaces the pool |
//! | `discovery_failures` | which failures have been logged |
//! | `membership` | [`Membership`]: reads the list and replaces the pool |
//! | `watch` | [`MembershipWatcher`]: the thread that polls the list |

mod discovery_failures;
mod membership;
mod settling;
#[cfg(test)]
mod tests;
mod watch;

pub use membership::{Membership, Polled};
pub use watch::MembershipWatcher;
