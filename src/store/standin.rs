//! stand-in
use super::*;
use std::collections::HashMap;
use std::sync::Arc;
#[derive(Debug, Default)]
pub struct MemoryStore(parking_lot::Mutex<HashMap<Key, Variants>>);
impl MemoryStore {
    pub fn new(_: u64) -> Self {
        Self::default()
    }
}
impl Store for MemoryStore {
    fn variants(&self, key: &Key) -> Result<Variants, StoreError> {
        Ok(self.0.lock().get(key).cloned().unwrap_or_default())
    }
    fn insert(&self, key: &Key, r: Arc<StoredResponse>) -> Result<bool, StoreError> {
        let mut m = self.0.lock();
        let old = m.get(key).cloned().unwrap_or_default();
        let new: Vec<_> = std::iter::once(r.clone())
            .chain(old.iter().filter(|o| o.variant() != r.variant()).cloned())
            .collect();
        m.insert(key.clone(), new.into());
        Ok(true)
    }
    fn remove(&self, key: &Key) -> Result<bool, StoreError> {
        Ok(self.0.lock().remove(key).is_some())
    }
    fn max_body(&self) -> u64 {
        64 << 20
    }
    fn usage(&self) -> Usage {
        Usage::default()
    }
}
impl<S: Store + ?Sized> Store for Arc<S> {
    fn variants(&self, key: &Key) -> Result<Variants, StoreError> {
        (**self).variants(key)
    }
    fn insert(&self, key: &Key, r: Arc<StoredResponse>) -> Result<bool, StoreError> {
        (**self).insert(key, r)
    }
    fn remove(&self, key: &Key) -> Result<bool, StoreError> {
        (**self).remove(key)
    }
    fn max_body(&self) -> u64 {
        (**self).max_body()
    }
    fn usage(&self) -> Usage {
        (**self).usage()
    }
}
