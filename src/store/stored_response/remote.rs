//! A body that is not in memory.

use std::sync::Arc;

use crate::message::stored_bytes::StoredBytes;

/// A body that is not in memory.
#[derive(Clone, Debug)]
pub(crate) struct RemoteBody {
    pub(crate) length: u64,
    pub(crate) source: Arc<dyn StoredBytes>,
    /// The name of the tier that holds it.
    pub(crate) tier: &'static str,
}

impl RemoteBody {
    /// The name of the tier that takes bodies while they arrive.
    pub(crate) const DISK: &str = "disk";

    /// The name of the tier that several peers share.
    pub(crate) const REDIS: &str = "redis";

    /// Creates a body in a file that was written while the body arrived.
    pub(crate) fn on_disk(length: u64, source: Arc<dyn StoredBytes>) -> Self {
        Self { length, source, tier: Self::DISK }
    }
}
