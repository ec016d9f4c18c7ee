//! A memory store with a check that can fail.

use std::fmt;
use std::sync::Arc;

use forwardcache::store::{Key, Ledger, MemoryStore, Store, StoreError, StoredResponse, Usage, Variants};

type Check = dyn Fn(&str) -> Result<(), StoreError> + Send + Sync;

/// A `MemoryStore` whose operations call a check with their key first, and fail if the check does.
pub(crate) struct CheckedStore {
    store: MemoryStore,
    check: Box<Check>,
    ledger: Option<Arc<Ledger>>,
}

impl CheckedStore {
    /// A store with this capacity and this check.
    pub(crate) fn new(
        bytes: u64,
        check: impl Fn(&str) -> Result<(), StoreError> + Send + Sync + 'static,
    ) -> Self {
        Self { store: MemoryStore::new(bytes), check: Box::new(check), ledger: None }
    }

    /// A store with this capacity that shares a ledger and has no check.
    pub(crate) fn with_ledger(bytes: u64, ledger: &Arc<Ledger>) -> Self {
        Self { ledger: Some(Arc::clone(ledger)), ..Self::new(bytes, |_| Ok(())) }
    }
}

impl Store for CheckedStore {
    fn variants(&self, key: &Key) -> Result<Variants, StoreError> {
        (self.check)(key.as_str()).and_then(|()| self.store.variants(key))
    }

    fn variants_nonblocking(&self, key: &str) -> Option<Variants> {
        (self.check)(key).ok().and_then(|()| self.store.variants_nonblocking(key))
    }

    fn insert(&self, key: &Key, response: Arc<StoredResponse>) -> Result<bool, StoreError> {
        (self.check)(key.as_str()).and_then(|()| self.store.insert(key, response))
    }

    fn remove(&self, key: &Key) -> Result<bool, StoreError> {
        (self.check)(key.as_str()).and_then(|()| self.store.remove(key))
    }

    fn max_body(&self) -> u64 {
        self.store.max_body()
    }

    fn usage(&self) -> Usage {
        self.store.usage()
    }

    fn ledger(&self) -> Option<Arc<Ledger>> {
        self.ledger.clone()
    }
}

impl fmt::Debug for CheckedStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CheckedStore").field("store", &self.store).finish_non_exhaustive()
    }
}
