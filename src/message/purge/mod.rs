//! Purges: which responses to remove (`selection`), and how many were removed (`purged`).

mod purged;
mod selection;

pub use purged::Purged;
pub use selection::Purge;
pub(crate) use selection::PurgeScope;
