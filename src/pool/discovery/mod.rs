//! Sources for the list of a pool's members.
//!
//! | file | content |
//! |---|---|
//! | `source` | [`Discovery`]: the trait; a fixed list and a closure as sources |
//! | `file`, `list` | [`FileDiscovery`]: a list in a file, and the parser for its text |
//! | `dns` | [`DnsDiscovery`]: the addresses of a name |
//! | `change` | [`MembershipChange`]: the difference between two lists |

mod change;
mod dns;
mod file;
mod list;
mod source;

pub use change::MembershipChange;
pub use dns::DnsDiscovery;
pub use file::FileDiscovery;
pub use source::{Discovery, FnDiscovery};
