//! What is to be forgotten because somebody says so, and not the origin.

use std::borrow::Cow;

use log::debug;

use super::engine::{HttpCache, Inner};
use super::tombstones::Sequence;
use crate::base::cancellation::Cancellation;
use crate::message::nonblocking::{Job, Lane, Turn};
use crate::message::purge::{Purge, Purged};
use crate::message::url::CanonicalUrl;

impl HttpCache {
    /// Removes what the purge is about, and says what went: of a URL all variants and what is kept for each
    /// credential. When it returns, none of it is served any more, and nothing that was asked of the origin
    /// before is stored or shared. Who reads a body already reads it to its end.
    ///
    /// A [soft](Purge::soft) purge removes nothing: it is stale from then on, and counted as what went.
    ///
    /// Where [keys are chosen](super::HttpCacheBuilder::key), a single URL is looked for under its key: all that is stored
    /// under the same one goes. A prefix and a group are about the URLs for which the responses were fetched.
    ///
    /// A store that cannot list what it holds gives no count: see [`Purged::is_counted`]. What is older than the
    /// purge then counts as not stored, as long as this cache lives.
    ///
    /// ```
    /// use forwardcache::{Body, HttpCache, MemoryStore, Purge, RoundTrip, RoundTripFn};
    /// use http::{Request, Response};
    ///
    /// let origin = RoundTripFn(|_| {
    ///     Ok(Response::builder().header("cache-control", "max-age=60").body(Body::from("hello")).unwrap())
    /// });
    /// let cache = HttpCache::builder().origin(origin).store(MemoryStore::new(1 << 20)).build()?;
    /// let request = Request::get("http://example.com/a").body(Body::empty()).unwrap();
    /// cache.round_trip(request)?.into_body().into_text()?;
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
        debug!("purged {purge}: {purged}");
        purged
    }
}

impl Inner {
    /// Has a thread remove what is in a group that was invalidated. Where there is none, it is left to the tombstone.
    pub(super) fn sweep_group(&self, url: &str, name: &[u8], tombstone: Sequence) {
        let origin = CanonicalUrl::parse(url).map(|target| target.origin());
        let name = str::from_utf8(name);
        let (Ok(origin), Ok(name)) = (origin, name) else { return };
        let Ok(purge) = Purge::group(origin.as_str(), name) else { return };
        let purge = self.keys.to_purge(&purge).into_owned();
        let store = self.store.clone();
        let job = Job::new(Lane::Own, Cancellation::new(), move |turn| {
            if turn == Turn::Pool {
                store.sweep(&purge, tombstone);
            }
        });
        drop(self.refreshes.spawn(job));
    }
}

impl super::keys::Keys {
    /// The purge of what is stored under the key of a URL.
    fn to_purge<'a>(&self, purge: &'a Purge) -> Cow<'a, Purge> {
        match purge.single_url().map(CanonicalUrl::parse) {
            Some(Ok(target)) if self.are_chosen() => {
                let of_key = Purge::of_key(self.public(&target).url());
                Cow::Owned(if purge.is_soft() { of_key.soft() } else { of_key })
            }
            None if self.are_chosen() => Cow::Owned(purge.clone().among_chosen_keys()),
            _ => Cow::Borrowed(purge),
        }
    }
}
