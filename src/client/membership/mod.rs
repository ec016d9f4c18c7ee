//! Keeps the pool of a client equal to a list that somebody else maintains.
//!
//! | file | what it holds |
//! |---|---|
//! | `settling` | when a list that differs is put in place |
//! | `failures` | which failures have been told of |
//! | `membership` | [`Membership`]: reads, decides, and puts a list in place of the one before |
//! | `watch` | [`MembershipWatcher`]: the thread that does so in time |

mod failures;
mod membership;
mod settling;
#[cfg(test)]
mod tests;
mod watch;

pub use membership::{Membership, Polled};
pub use watch::MembershipWatcher;
