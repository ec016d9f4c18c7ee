//! Which responses to remove, and how many were removed.

mod purged;
mod what;

pub use purged::Purged;
pub use what::Purge;
pub(crate) use what::What;
