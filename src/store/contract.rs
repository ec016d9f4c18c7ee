//! The trait [`Store`], its keys and its errors.

use std::borrow::Borrow;
use std::error::Error as StdError;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use super::StoredResponse;
use crate::base::memory_limit::Ledger;
use crate::message::purge::{Purge, Purged};
use crate::metrics::Observer;

/// The key of stored responses: the canonical URL, and a partition for responses to requests with
/// credentials.
///
/// The partition separates the responses to one credential from all others (RFC 9111 section 7). It is a
/// keyed digest, so a key never reveals the credential.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Key {
    text: Box<str>,
    url_length: usize,
}

/// The length of a partition in the text of a key: a space and 32 hexadecimal digits.
pub(super) const PARTITION: usize = 33;

impl Key {
    /// Creates the key of responses that may be served to every client.
    #[must_use]
    pub fn new(url: &str) -> Self {
        Self { text: url.into(), url_length: url.len() }
    }

    /// Creates the key of responses that may be served only to clients with one credential.
    #[must_use]
    pub fn partitioned(url: &str, partition: u128) -> Self {
        Self { text: format!("{url} {partition:032x}").into(), url_length: url.len() }
    }

    /// Returns the URL.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.text[..self.url_length]
    }

    /// Returns the text of the key, as a [`ByteStore`](super::ByteStore) sees it: the URL, followed by a
    /// space and the partition if there is one. A URL contains no space.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }
}

/// Hashes only the text: it determines `url_length`, because a space ends the URL.
impl Hash for Key {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.text.hash(state);
    }
}

/// Allows lookups by the [text](Key::as_str) of a key, without an allocation.
impl Borrow<str> for Key {
    fn borrow(&self) -> &str {
        &self.text
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// The responses stored under one key, the newest first. No two have the same variant.
pub type Variants = Arc<[Arc<StoredResponse>]>;

/// How full a store is. A [`Store`] of your own starts with the default, which is zero everywhere, and sets the fields.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Usage {
    /// The number of keys.
    pub keys: u64,
    /// The size in bytes: heads, bodies, keys and bookkeeping.
    pub bytes: u64,
    /// The limit of the size in bytes.
    pub capacity: u64,
    /// The number of keys evicted since the store was created.
    pub evictions: u64,
}

/// Storage for responses by key.
///
/// # Contract
///
/// * Methods are called from many threads at once, on every request. `variants` of a store in memory must be
///   cheap. Other stores may block as long as the timeout of their backend.
/// * The store may forget a response at any time. It must never return a response that was not inserted under
///   that key.
/// * An error means that the store failed. The cache counts and logs it and asks the origin instead; the
///   client does not see it.
pub trait Store: fmt::Debug + Send + Sync {
    /// Returns the responses stored under the key; empty if there are none.
    ///
    /// # Errors
    ///
    /// [`StoreError`] if the backend fails or the record cannot be read.
    fn variants(&self, key: &Key) -> Result<Variants, StoreError>;

    /// Looks up the [text](Key::as_str) of a key without blocking. `None` if the lookup would have to wait.
    /// Default: `None`.
    ///
    /// Threads that serve thousands of connections call this method. A store that may wait for a disk, a
    /// network or a contended lock should keep the default.
    fn variants_nonblocking(&self, key: &str) -> Option<Variants> {
        let _ = key;
        None
    }

    /// Returns the responses stored under the key, for diagnostics: it should not count as a use for
    /// eviction. Default: calls [`variants`](Self::variants).
    ///
    /// # Errors
    ///
    /// Like [`variants`](Self::variants).
    fn peek(&self, key: &Key) -> Result<Variants, StoreError> {
        self.variants(key)
    }

    /// Stores a response. It replaces the response with the same [`Variant`](crate::policy::Variant) and keeps the
    /// others. The oldest variant is dropped if there are more than [`MAX_VARIANTS`].
    ///
    /// Returns whether the response was stored. It is not stored in two cases:
    ///
    /// * It is too large. The response with the same variant is still removed, because it is outdated; the
    ///   others stay.
    /// * Its [sequence](StoredResponse::sequence) is smaller than that of the stored response with the same
    ///   variant. Nothing changes.
    ///
    /// # Errors
    ///
    /// [`StoreError`] if the backend fails.
    fn insert(&self, key: &Key, response: Arc<StoredResponse>) -> Result<bool, StoreError>;

    /// Removes all responses stored under the key. Returns whether there were any.
    ///
    /// # Errors
    ///
    /// [`StoreError`] if the backend fails.
    fn remove(&self, key: &Key) -> Result<bool, StoreError>;

    /// Removes all responses that [match](Purge::matches) the purge, under every key. A
    /// [soft](Purge::is_soft) purge replaces them by [stale copies](Purge::stale) instead.
    ///
    /// Returns the number of responses and bytes, or `None` if the store cannot list its keys. Default:
    /// `None`. The cache then ignores responses older than the purge, as long as this process lives.
    ///
    /// A purge may take a while. Other calls run at the same time, so no lock may be held for long.
    ///
    /// # Errors
    ///
    /// [`StoreError`] if the backend fails. The other responses are still purged, and the cache ignores the
    /// rest as described above.
    fn purge(&self, purge: &Purge) -> Result<Option<Purged>, StoreError> {
        let _ = purge;
        Ok(None)
    }

    /// Returns the largest body in bytes that the store accepts.
    fn max_body(&self) -> u64;

    /// Returns how full the store is.
    fn usage(&self) -> Usage;

    /// Returns the memory ledger that counts the store's entries, so that the cache can count its own memory
    /// there. Default: `None`, for a store with its own accounting.
    fn ledger(&self) -> Option<Arc<Ledger>> {
        None
    }

    /// Accepts an observer for [evictions](Observer::evicted). The cache calls this once, before it uses the store.
    /// Default: ignores it.
    fn observe(&self, observer: Arc<dyn Observer>) {
        drop(observer);
    }
}

/// Implements the trait for shared and boxed stores.
macro_rules! forward {
    ($($pointer:ty),*) => {$(
        impl<S: Store + ?Sized> Store for $pointer {
            fn variants(&self, key: &Key) -> Result<Variants, StoreError> {
                (**self).variants(key)
            }

            fn variants_nonblocking(&self, key: &str) -> Option<Variants> {
                (**self).variants_nonblocking(key)
            }

            fn peek(&self, key: &Key) -> Result<Variants, StoreError> {
                (**self).peek(key)
            }

            fn insert(&self, key: &Key, response: Arc<StoredResponse>) -> Result<bool, StoreError> {
                (**self).insert(key, response)
            }

            fn remove(&self, key: &Key) -> Result<bool, StoreError> {
                (**self).remove(key)
            }

            fn purge(&self, purge: &Purge) -> Result<Option<Purged>, StoreError> {
                (**self).purge(purge)
            }

            fn max_body(&self) -> u64 {
                (**self).max_body()
            }

            fn usage(&self) -> Usage {
                (**self).usage()
            }

            fn ledger(&self) -> Option<Arc<Ledger>> {
                (**self).ledger()
            }

            fn observe(&self, observer: Arc<dyn Observer>) {
                (**self).observe(observer);
            }
        }
    )*};
}

forward!(Arc<S>, Box<S>);

/// The largest number of variants stored for one key. It suffices for the encodings and languages of a page,
/// and keeps a `Vary` on a random field from
/// filling the store.
pub const MAX_VARIANTS: usize = 16;

/// The error of a store or backend. Its message leaves the cause to [`source`](StdError::source); `{:#}` shows both.
#[derive(Debug)]
pub struct StoreError {
    message: String,
    source: Option<Box<dyn StdError + Send + Sync>>,
}

impl StoreError {
    /// Creates an error with this message.
    pub fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), source: None }
    }

    /// Adds the cause of the error.
    #[must_use]
    pub fn with_source(mut self, source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        self.source = Some(source.into());
        self
    }
}

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)?;
        if f.alternate() {
            let causes =
                std::iter::successors(self.source(), |cause| (*cause).source()).map(ToString::to_string);
            for cause in causes.filter(|cause| !self.message.contains(cause)) {
                write!(f, ": {cause}")?;
            }
        }
        Ok(())
    }
}

impl StdError for StoreError {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.source.as_deref().map(|source| source as _)
    }
}
