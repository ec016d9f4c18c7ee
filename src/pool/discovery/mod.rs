//! Where the list of a pool's members comes from.
//!
//! | file | content |
//! |---|---|
//! | `source` | [`Discovery`]: the trait; a closure as a source, and no source at all |
//! | `file`, `list` | [`FileDiscovery`]: a list in a file, and its text, line by line |
//! | `dns` | [`DnsDiscovery`]: the addresses of a name |
//! | `change` | [`MembershipChange`]: who joined and who left |

mod change;
mod dns;
mod file;
mod list;
mod source;

pub use change::MembershipChange;
pub use dns::DnsDiscovery;
pub use file::FileDiscovery;
pub use source::{Discovery, FnDiscovery};
