//! The trait for storage backends: bytes by key.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;

use super::{StoreError, Usage};

/// An iterator over the keys of a [`ByteStore`].
pub type ByteStoreKeys<'a> = Box<dyn Iterator<Item = Result<String, StoreError>> + 'a>;

/// A storage backend that keeps bytes by key, such as a disk or a server. [`BackedStore`](super::BackedStore)
/// makes it a [`Store`](super::Store), and [`Lru`](super::Lru) limits its size.
///
/// # Contract
///
/// * Methods are called from many threads at once. They may block, but should have a timeout, because a
///   request waits for them.
/// * The backend may forget any key at any time. `get` must return exactly the bytes that were last set for
///   the key.
/// * After `set` returns `Ok(false)`, nothing is stored under the key. After an error of `set` or `delete`,
///   the old value, the new value, or nothing may be stored.
/// * An error means that the backend failed. The cache counts and logs it and asks the origin instead; the
///   client does not see it.
/// * Keys are text without line breaks: a URL, sometimes followed by a space and more text. They may be long.
///
/// ```
/// use std::collections::HashMap;
/// use std::sync::Mutex;
///
/// use bytes::Bytes;
/// use forwardcache::store::{BackedStore, ByteStore, Lru, StoreError};
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
/// # let _: &dyn forwardcache::store::Store = &store;
/// ```
pub trait ByteStore: fmt::Debug + Send + Sync {
    /// Returns the value that was last set for the key.
    ///
    /// # Errors
    ///
    /// [`StoreError`] if the backend fails.
    fn get(&self, key: &str) -> Result<Option<Bytes>, StoreError>;

    /// Stores the value under the key and replaces the old one. Returns `false` if the value is too large;
    /// nothing is then stored under the key.
    ///
    /// # Errors
    ///
    /// [`StoreError`] if the backend fails.
    fn set(&self, key: &str, value: Bytes) -> Result<bool, StoreError>;

    /// Deletes the key. Returns whether it was stored.
    ///
    /// # Errors
    ///
    /// [`StoreError`] if the backend fails.
    fn delete(&self, key: &str) -> Result<bool, StoreError>;

    /// Returns all keys, each once; `None` if the backend cannot list them. Default: `None`.
    ///
    /// A [purge](super::Store::purge) needs the keys. Keys that are set
    /// or deleted during the iteration may or may not appear. The caller sets and deletes keys between two
    /// items, so the iterator must not hold a lock.
    fn keys(&self) -> Option<ByteStoreKeys<'_>> {
        None
    }

    /// Returns the largest value in bytes that the backend accepts. Default: no limit.
    fn max_value(&self) -> u64 {
        u64::MAX
    }

    /// Returns how full the backend is. Default: all zero, which means unknown.
    fn usage(&self) -> Usage {
        Usage::default()
    }
}

/// Implements the trait for shared, boxed and borrowed backends.
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
