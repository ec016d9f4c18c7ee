//! What a backend author implements: bytes by key.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;

use super::{StoreError, Usage};

/// The keys that a cache holds, one after the other.
pub type ByteStoreKeys<'a> = Box<dyn Iterator<Item = Result<String, StoreError>> + 'a>;

/// Bytes by key: the small trait for those who keep responses somewhere else, on a disk or in a
/// server. [`BackedStore`](super::BackedStore) makes a [`Store`](super::Store) of it, and
/// [`Lru`](super::Lru) bounds it.
///
/// # Contract
///
/// * Called from many threads at once. Calls may block; a backend that waits for something should have
///   a timeout of its own, because a request waits with it.
/// * It may forget anything at any time. What `get` gives for a key must be, byte by byte, what was last
///   set for it.
/// * After `set` said `Ok(false)`, nothing is held under the key. After an error of `set` or `delete`
///   it may hold the old value, the new one, or none.
/// * An error means that it could not say or do. It is counted and logged, and the origin is asked
///   instead: it never becomes the client's error.
/// * Keys are text without line ends: a URL, and perhaps a space and more. They may be long.
///
/// ```
/// use std::collections::HashMap;
/// use std::sync::Mutex;
///
/// use bytes::Bytes;
/// use forwardcache::{BackedStore, ByteStore, Lru, StoreError};
///
/// #[derive(Debug, Default)]
/// struct Shelf(Mutex<HashMap<String, Bytes>>);
///
/// impl ByteStore for Shelf {
///     fn get(&self, key: &str) -> Result<Option<Bytes>, StoreError> {
///         Ok(self.0.lock().unwrap().get(key).cloned())
///     }
///
///     fn set(&self, key: &str, value: Bytes) -> Result<bool, StoreError> {
///         self.0.lock().unwrap().insert(key.to_owned(), value);
///         Ok(true)
///     }
///
///     fn delete(&self, key: &str) -> Result<bool, StoreError> {
///         Ok(self.0.lock().unwrap().remove(key).is_some())
///     }
/// }
///
/// let store = BackedStore::new(Lru::new(Shelf::default(), 64 << 20));
/// # let _: &dyn forwardcache::Store = &store;
/// ```
pub trait ByteStore: fmt::Debug + Send + Sync {
    /// What was last set for the key.
    ///
    /// # Errors
    ///
    /// When the backend fails.
    fn get(&self, key: &str) -> Result<Option<Bytes>, StoreError>;

    /// Holds the value under the key, in place of what was there. Says whether it does: `false` when
    /// the value is larger than it takes.
    ///
    /// # Errors
    ///
    /// When the backend fails.
    fn set(&self, key: &str, value: Bytes) -> Result<bool, StoreError>;

    /// Forgets the key; says whether there was something.
    ///
    /// # Errors
    ///
    /// When the backend fails.
    fn delete(&self, key: &str) -> Result<bool, StoreError>;

    /// All keys that it holds, each once, or `None` where it cannot list them, as by default: a
    /// [purge](super::Store::purge) of what begins alike, or of everything, asks for them. Keys that are set or
    /// deleted meanwhile may come or not. Between two of them others are set and deleted, so no lock may be
    /// held there.
    fn keys(&self) -> Option<ByteStoreKeys<'_>> {
        None
    }

    /// The largest value in bytes that is worth offering. Unbounded where a backend does not say.
    fn max_value(&self) -> u64 {
        u64::MAX
    }

    /// How full it is. All zero where a backend does not know.
    fn usage(&self) -> Usage {
        Usage::default()
    }
}

/// A shared, boxed or borrowed cache is a cache.
macro_rules! forward {
    ($($pointer:ty),*) => {$(
        impl<C: ByteStore + ?Sized> ByteStore for $pointer {
            fn get(&self, key: &str) -> Result<Option<Bytes>, StoreError> {
                (**self).get(key)
            }

            fn set(&self, key: &str, value: Bytes) -> Result<bool, StoreError> {
                (**self).set(key, value)
            }

            fn delete(&self, key: &str) -> Result<bool, StoreError> {
                (**self).delete(key)
            }

            fn keys(&self) -> Option<ByteStoreKeys<'_>> {
                (**self).keys()
            }

            fn max_value(&self) -> u64 {
                (**self).max_value()
            }

            fn usage(&self) -> Usage {
                (**self).usage()
            }
        }
    )*};
}

forward!(Arc<C>, Box<C>, &C);
