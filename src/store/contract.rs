//! What the caching engine asks of a store.

use std::borrow::Borrow;
use std::error::Error as StdError;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use super::StoredResponse;
use crate::base::ledger::Ledger;
use crate::message::purge::{Purge, Purged};

/// What a stored response is found by: the canonical URL, and whose answer it is.
///
/// The partition keeps the answers to one credential apart from those to another (RFC 9111 section
/// 7): a keyed digest, so that a key never shows the credential.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Key {
    text: Box<str>,
    url_length: usize,
}

/// How long a partition is in the text of a key: a space and 32 digits.
pub(super) const PARTITION: usize = 33;

impl Key {
    /// The key of what anybody may be answered with.
    #[must_use]
    pub fn new(url: &str) -> Self {
        Self { text: url.into(), url_length: url.len() }
    }

    /// The key of what only the holder of one credential may be answered with.
    #[must_use]
    pub fn partitioned(url: &str, partition: u128) -> Self {
        Self { text: format!("{url} {partition:032x}").into(), url_length: url.len() }
    }

    /// The URL.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.text[..self.url_length]
    }

    /// The whole key, as a byte-level backend knows it: the URL, and after a space (which no URL
    /// holds) the partition.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }
}

/// By its text alone, which is all of it: where the URL ends, a space says.
impl Hash for Key {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.text.hash(state);
    }
}

/// So that a key is found by its [text](Key::as_str), without making one.
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

/// The responses stored under one key, the newest first. Never two with the same variant.
pub type Variants = Arc<[Arc<StoredResponse>]>;

/// How full a store is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// How many keys it holds.
    pub keys: u64,
    /// How many bytes it takes: heads, bodies, keys and bookkeeping.
    pub bytes: u64,
    /// How many bytes it may take.
    pub capacity: u64,
    /// How many keys it has given up for room since it was made.
    pub evictions: u64,
}

/// Stored responses by key.
///
/// # Contract
///
/// * Called from many threads at once, on every request. `variants` of an in-memory store must be
///   cheap; of others it may block as long as its backend's own timeout.
/// * It may forget anything at any time; it must never return what was not inserted under that key.
/// * An error means that the store could not say or do; the engine counts it, logs it and goes on
///   to the origin. It never becomes the client's error.
pub trait Store: fmt::Debug + Send + Sync {
    /// What is stored under the key; empty where nothing is.
    ///
    /// # Errors
    ///
    /// When the backend fails or holds a record that cannot be read.
    fn variants(&self, key: &Key) -> Result<Variants, StoreError>;

    /// The same, found by the [text](Key::as_str) of a key, where nothing has to be waited for; `None` where
    /// something would. It is called by threads that serve thousands of connections: a store that may wait
    /// for a disk, a network or a long lock leaves it as it is. By default it never knows.
    fn at_once(&self, key: &str) -> Option<Variants> {
        let _ = key;
        None
    }

    /// The same for one who only looks: it should not count as a use of what is stored. By default it does.
    ///
    /// # Errors
    ///
    /// As [`variants`](Self::variants).
    fn peek(&self, key: &Key) -> Result<Variants, StoreError> {
        self.variants(key)
    }

    /// Stores a response in place of the one with the same [`Variant`](crate::Variant), beside those
    /// with others; past [`MAX_VARIANTS`] the oldest goes. Says whether it was stored: `false` when it
    /// is larger than the store takes. The one with the same variant is gone even then: something newer
    /// came after it. Nothing else is. A response of a smaller [sequence](StoredResponse::sequence) than the stored one
    /// of its variant is not stored, and changes nothing.
    ///
    /// # Errors
    ///
    /// When the backend fails.
    fn insert(&self, key: &Key, response: Arc<StoredResponse>) -> Result<bool, StoreError>;

    /// Removes all that is stored under the key; says whether there was something.
    ///
    /// # Errors
    ///
    /// When the backend fails.
    fn remove(&self, key: &Key) -> Result<bool, StoreError>;

    /// Removes all that the purge is about, under whatever key: each response that it
    /// [matches](Purge::matches). Where it is [soft](Purge::is_soft), [what it makes of a response](Purge::stale) is
    /// stored in its place. Says how much that was, or `None` where the store cannot list what it
    /// holds, as by default; what is older than the purge counts as not stored then, for as long as this
    /// process lives. It may take a while, in which others use the store: none of its locks is held for long.
    ///
    /// # Errors
    ///
    /// When the backend fails. What could be removed is, and the rest counts as not stored, as above.
    fn purge(&self, purge: &Purge) -> Result<Option<Purged>, StoreError> {
        let _ = purge;
        Ok(None)
    }

    /// The largest body in bytes that is worth offering.
    fn max_body(&self) -> u64;

    /// How full it is.
    fn usage(&self) -> Usage;

    /// The account of memory that the store keeps its entries in, for a cache that enters what it holds itself.
    /// `None`, as by default: the store keeps its own account.
    fn ledger(&self) -> Option<Arc<Ledger>> {
        None
    }
}

/// A shared or boxed store is a store.
macro_rules! forward {
    ($($pointer:ty),*) => {$(
        impl<S: Store + ?Sized> Store for $pointer {
            fn variants(&self, key: &Key) -> Result<Variants, StoreError> {
                (**self).variants(key)
            }

            fn at_once(&self, key: &str) -> Option<Variants> {
                (**self).at_once(key)
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
        }
    )*};
}

forward!(Arc<S>, Box<S>);

/// How many responses are kept for one key: enough for the encodings and languages of a page, few
/// enough that a `Vary` on something random cannot fill the store.
pub const MAX_VARIANTS: usize = 16;

/// Why a store could not say or do.
#[derive(Debug)]
pub struct StoreError {
    message: String,
    source: Option<Box<dyn StdError + Send + Sync>>,
}

impl StoreError {
    /// An error that says `message`.
    pub fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), source: None }
    }

    /// The same error with its cause.
    #[must_use]
    pub fn with_source(mut self, source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        self.source = Some(source.into());
        self
    }
}

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl StdError for StoreError {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.source.as_deref().map(|source| source as _)
    }
}
