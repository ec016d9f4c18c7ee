//! Who is in the pool: lists from outside, read while a client is used.
//!
//! | file | what it holds |
//! |---|---|
//! | `source` | [`Members`]: where a list comes from; a fixed one, a closure, none |
//! | `file` | [`MembersFile`]: a list in a file |
//! | `list` | the text of such a file, line by line |
//! | `dns` | [`MembersDns`]: the addresses of a name |
//! | `change` | [`MembersChange`]: who joined and who left |
//! | `settling` | when a list that differs is put in place |
//! | `failures` | which failures have been told of |
//! | `membership` | [`Membership`]: reads, decides, and puts a list in place of the one before |
//! | `watch` | [`Watch`]: the thread that does so in time |

mod change;
mod dns;
mod failures;
mod file;
mod list;
mod membership;
mod settling;
mod source;
#[cfg(test)]
mod tests;
mod watch;

pub use change::MembersChange;
pub use dns::MembersDns;
pub use file::MembersFile;
pub use membership::{Membership, Polled};
pub use source::{Members, MembersFn};
pub use watch::Watch;
