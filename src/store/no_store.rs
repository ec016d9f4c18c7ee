//! `NoStore`: a store that keeps nothing.

use std::sync::Arc;

use super::{Key, Store, StoreError, StoredResponse, Usage, Variants};
use crate::message::purge::{Purge, Purged};

/// The largest body that is shared by default, in bytes.
const MAX_BODY: u64 = 64 << 20;

/// A store that keeps nothing: simultaneous requests for one URL still share one fetch.
///
/// Use it for collapsing only, if each answer must come from the origin. A response is shared while its body is in
/// transit, if its fields allow that it is stored.
///
/// ```
/// use forwardcache::HttpCache;
/// use forwardcache::store::NoStore;
///
/// let cache = HttpCache::builder().store(NoStore::new()).build()?;
/// # Ok::<(), forwardcache::Error>(())
/// ```
#[derive(Clone, Copy, Debug)]
pub struct NoStore {
    max_body: u64,
}

impl NoStore {
    /// Creates the store. Bodies of up to 64 MiB are shared.
    #[must_use]
    pub const fn new() -> Self {
        Self { max_body: MAX_BODY }
    }

    /// Sets the largest body in bytes that simultaneous requests share. It is in memory while it is in transit.
    #[must_use]
    pub const fn with_max_body(self, bytes: u64) -> Self {
        Self { max_body: bytes }
    }
}

impl Default for NoStore {
    fn default() -> Self {
        Self::new()
    }
}

impl Store for NoStore {
    fn variants(&self, _: &Key) -> Result<Variants, StoreError> {
        Ok(Arc::default())
    }

    fn variants_nonblocking(&self, _: &str) -> Option<Variants> {
        Some(Arc::default())
    }

    fn insert(&self, _: &Key, _: Arc<StoredResponse>) -> Result<bool, StoreError> {
        Ok(false)
    }

    fn remove(&self, _: &Key) -> Result<bool, StoreError> {
        Ok(false)
    }

    fn purge(&self, _: &Purge) -> Result<Option<Purged>, StoreError> {
        Ok(Some(Purged::default()))
    }

    fn max_body(&self) -> u64 {
        self.max_body
    }

    fn usage(&self) -> Usage {
        Usage::default()
    }
}
