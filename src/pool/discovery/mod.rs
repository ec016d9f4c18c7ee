//! Where the list of a pool's members comes from.
//!
//! | file | content |
//! |---|---|
//! | `source` | [`Members`]: the trait; a closure as a source, and no source at all |
//! | `file`, `list` | [`MembersFile`]: a list in a file, and its text, line by line |
//! | `dns` | [`MembersDns`]: the addresses of a name |
//! | `change` | [`MembersChange`]: who joined and who left |

mod change;
mod dns;
mod file;
mod list;
mod source;

pub use change::MembersChange;
pub use dns::MembersDns;
pub use file::MembersFile;
pub use source::{Members, MembersFn};
