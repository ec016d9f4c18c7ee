//! The fast path: answers a plain request with a stored response that is fresh and whole.

use std::fmt::Write;
use std::sync::Arc;

use log::debug;

use super::engine::HttpCache;
use crate::base::redacted::redacted;
use crate::message::body::Body;
use crate::message::header::cache_control::RequestDirectives;
use crate::message::nonblocking::PlainRequest;
use crate::message::stats::{CacheStatus, Outcome, X_FROM_CACHE};
use crate::policy::{Reuse, is_due_early, reuse};
use crate::pool::protocol::{self, Hop};
use crate::store::StoredResponse;

impl HttpCache {
    /// Returns the response that is stored under this URL if it answers a plain request unchanged, fresh and whole. Its body may be
    /// in an open file of a lower tier: then `body` is set. Never waits.
    /// Appends the field lines that depend on the time to `lines`.
    ///
    /// A URL that is not in canonical form is not found. A response that `accepts` refuses is not returned: the client may
    /// see the response under another host, which changes the meaning of some fields.
    pub(crate) fn hit(
        &self,
        url: &str,
        request: &PlainRequest<'_>,
        hop: Option<Hop>,
        accepts: impl FnOnce(&StoredResponse) -> bool,
        lines: &mut String,
        body: &mut Body,
    ) -> Option<Arc<StoredResponse>> {
        let inner = &self.inner;
        // A chosen key differs from the URL, and the text after a space would be another user's partition.
        if inner.keys.are_chosen() || url.contains(' ') || inner.keys.are_selecting(request) {
            return None;
        }
        let now = inner.clock.moment();
        let mut variants = inner.store.variants_nonblocking(url)?;
        if variants.is_empty() {
            variants = inner.store.at_hand(url, now.wall())?;
        }
        let mut selected = None;
        for stored in variants.iter() {
            if stored.variant().matches_plainly(request)? {
                selected = selected.or(Some(stored));
                // The same choice as `lookup::selected` makes.
                if stored.variant().has_fields() {
                    selected = Some(stored);
                    break;
                }
            }
        }
        let stored = selected.filter(|stored| is_whole(stored) && accepts(stored))?;
        let validity = stored.validity();
        let is_due = is_due_early(validity, inner.rules.early_refresh, now);
        if is_due || reuse(validity, &RequestDirectives::default(), now) != Reuse::Fresh {
            return None;
        }
        if let Some(remote) = stored.remote() {
            let read = remote.source.read_now(0, usize::MAX, &inner.ledger);
            let beginning = read.ok().flatten().filter(|_| inner.is_streamed(url, remote))?;
            *body = inner.recovering_hit(beginning, remote, stored, url);
        }
        inner.count(Outcome::Hit, url);
        debug!("{} {}", Outcome::Hit, redacted(url));
        let status =
            CacheStatus::new(Outcome::Hit).time_to_live(validity.remaining(now), validity.staleness(now));
        let status = match stored.tier() {
            Some(tier) => {
                inner.stats.count_hit_of(tier);
                status.detail(tier)
            }
            None => status,
        };
        // Writing to a String cannot fail.
        let _ = write!(lines, "age: {}\r\n{X_FROM_CACHE}: 1\r\ncache-status: ", validity.age(now).as_secs());
        status.write(lines);
        lines.push_str("\r\n");
        if let Some(digest) = stored.digest().filter(|_| hop.is_some_and(|hop| hop.wants_digest)) {
            protocol::write_digest(lines, digest);
        }
        Some(Arc::clone(stored))
    }
}

/// Whether this is a whole response with a body.
fn is_whole(stored: &StoredResponse) -> bool {
    !matches!(stored.status().as_u16(), 204 | 205 | 206 | 304)
}
