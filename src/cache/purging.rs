//! Purges: invalidation at an operator's or a program's request.

use std::borrow::Cow;

use log::debug;

use super::engine::{HttpCache, Inner};
use crate::message::purge::{Purge, Purged};
use crate::message::url::CanonicalUrl;
use crate::metrics::PurgeFinished;

impl HttpCache {
    /// Removes the responses that the purge selects and returns how many were removed. Purging a URL removes all its
    /// variants and all credential partitions. After the return, no selected response is served, and no response that
    /// was requested from the origin before is stored or shared. A client that already reads a body reads it to its
    /// end.
    ///
    /// A [soft](Purge::soft) purge removes nothing: the selected responses become stale, and are counted as removed.
    ///
    /// If [keys are chosen](super::HttpCacheBuilder::key), purging one URL removes all responses under the key of
    /// that URL. A prefix or a group selects responses by the URLs for which they were fetched.
    ///
    /// A store that cannot list its responses gives no count, see [`Purged::is_counted`]. Responses older than the
    /// purge then count as not stored for the lifetime of this cache.
    ///
    /// ```
    /// use forwardcache::store::MemoryStore;
    /// use forwardcache::{Body, HttpCache, Purge, ResponseExt, RoundTripFn};
    /// use http::Response;
    ///
    /// let origin = RoundTripFn(|_| {
    ///     Ok(Response::builder().header("cache-control", "max-age=60").body(Body::from("hello")).unwrap())
    /// });
    /// let cache = HttpCache::builder().origin(origin).store(MemoryStore::new(1 << 20)).build()?;
    /// cache.get("http://example.com/a").send()?.text()?;
    /// assert_eq!(cache.purge(&Purge::prefix("http://example.com/")?).responses, 1);
    /// # Ok::<(), forwardcache::Error>(())
    /// ```
    pub fn purge(&self, purge: &Purge) -> Purged {
        self.inner.purge(&self.inner.keys.to_purge(purge))
    }
}

impl Inner {
    fn purge(&self, purge: &Purge) -> Purged {
        let purged = self.store.purge(purge, self.clock.now());
        self.stats.count_purge(purged);
        self.watcher.tell(|observer| observer.purged(&PurgeFinished { purge, purged }));
        debug!("purged {purge}: {purged}");
        purged
    }
}

impl super::keys::Keys {
    /// Translates the purge of one URL into the purge of its key.
    pub(super) fn to_purge<'a>(&self, purge: &'a Purge) -> Cow<'a, Purge> {
        match purge.single_url().map(CanonicalUrl::parse) {
            Some(Ok(target)) if self.are_chosen() => {
                let of_key = Purge::of_key(self.public(&target).url());
                Cow::Owned(if purge.is_soft() { of_key.soft() } else { of_key })
            }
            None if self.are_chosen() => Cow::Owned(purge.clone().with_custom_keys()),
            _ => Cow::Borrowed(purge),
        }
    }
}
