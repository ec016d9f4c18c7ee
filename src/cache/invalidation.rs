//! Invalidation of stored responses, by unsafe requests and by responses (RFC 9111 section 4.4, RFC 9875).

use http::{HeaderMap, Method, StatusCode};

use super::engine::{HttpCache, Inner};
use super::tombstones::{Sequence, invalidated_groups};
use crate::base::cancellation::Cancellation;
use crate::message::nonblocking::{Job, Lane, RunMode};
use crate::message::purge::Purge;
use crate::message::url::CanonicalUrl;
use crate::policy::invalidated;
use crate::store::Key;

/// How many cache groups one response may invalidate.
const MAX_GROUPS: usize = 32;

impl HttpCache {
    /// Invalidates the responses of a URL to requests without credentials. A fetch that is under way is not stored.
    pub(crate) fn forget(&self, target: &CanonicalUrl) {
        self.inner.invalidate(&self.inner.keys.public(target));
    }

    /// Invalidates what the response to a forwarded request affects (RFC 9111 section 4.4).
    pub(crate) fn forget_after(
        &self,
        method: &Method,
        target: &CanonicalUrl,
        status: StatusCode,
        headers: &HeaderMap,
    ) {
        self.inner.invalidate_after(method, target, status, headers, None);
    }
}

impl Inner {
    /// Invalidates what the response to a request affects: responses to requests without credentials, and, if the header fields of
    /// the request are known, those for its credential.
    pub(super) fn invalidate_after(
        &self,
        method: &Method,
        target: &CanonicalUrl,
        status: StatusCode,
        headers: &HeaderMap,
        request: Option<&HeaderMap>,
    ) {
        for target in invalidated(method, target, status, headers) {
            let public = self.keys.public(&target);
            // A POST that is stored under its content is a query, and only another method changes what it finds.
            if self.cache_post > 0 && *method != Method::POST {
                self.store.purge(&Purge::of_key(public.url()), self.clock.now());
                continue;
            }
            let own = request.map(|fields| self.keys.of(&target, fields));
            if let Some(own) = own.filter(|own| *own != public) {
                self.invalidate(&own);
            }
            self.invalidate(&public);
        }
        self.invalidate_groups(target.as_str(), &invalidated_groups(method, headers));
    }

    /// Removes the responses under a key. A fetch that began before is neither stored nor shared afterwards.
    pub(super) fn invalidate(&self, key: &Key) {
        let tombstone = self.store.tombstones().add_key(key, self.clock.now());
        if self.store.try_remove(key) {
            self.store.tombstones().note_swept(tombstone);
        }
    }

    /// Invalidates the responses of the URL's origin that belong to these groups (RFC 9875 section 3).
    pub(super) fn invalidate_groups(&self, url: &str, groups: &[Vec<u8>]) {
        for name in groups.iter().take(MAX_GROUPS) {
            let tombstone = self.store.tombstones().add_group(url, name, self.clock.now());
            self.sweep_group(url, name, tombstone);
        }
    }

    /// Lets a job remove an invalidated group from the store. If no thread is available, the tombstone remains.
    pub(super) fn sweep_group(&self, url: &str, name: &[u8], tombstone: Sequence) {
        let origin = CanonicalUrl::parse(url).map(|target| target.origin());
        let name = str::from_utf8(name);
        let (Ok(origin), Ok(name)) = (origin, name) else { return };
        let Ok(purge) = Purge::group(origin.as_str(), name) else { return };
        let purge = self.keys.to_purge(&purge).into_owned();
        let Some(sweeper) = self.sweeps.add(purge, tombstone) else { return };
        let store = self.store.clone();
        let job = Job::new(Lane::Own, Cancellation::new(), move |mode| {
            if mode == RunMode::Worker {
                for (purge, tombstone) in sweeper {
                    store.sweep(&purge, tombstone);
                }
            }
        });
        drop(self.refreshes.spawn(job));
    }
}
