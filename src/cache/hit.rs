//! The shortest way: a plain request for what is stored, fresh and whole.

use std::fmt::Write;
use std::sync::Arc;

use log::debug;

use super::engine::HttpCache;
use crate::base::error::redacted;
use crate::message::header::cache_control::RequestDirectives;
use crate::message::nonblocking::PlainRequest;
use crate::message::stats::{CacheStatus, Outcome, X_FROM_CACHE};
use crate::policy::{Reuse, is_due_early, reuse};
use crate::pool::protocol::{self, Hop};
use crate::store::StoredResponse;

impl HttpCache {
    /// What is stored under this URL, if it answers a plain request as it is, fresh and whole. What it says
    /// of the moment is added to `lines`, as field lines.
    ///
    /// The URL need not be in its canonical form: one that is not is not found. A client that sends no hop field sees the
    /// response at another host, and is not given one whose fields are for its own host.
    pub(crate) fn hit(
        &self,
        url: &str,
        request: &PlainRequest<'_>,
        hop: Option<Hop>,
        lines: &mut String,
    ) -> Option<Arc<StoredResponse>> {
        let inner = &self.inner;
        // A key is another text where it is chosen, and behind a space there is somebody's partition.
        if inner.keys.are_chosen() || url.contains(' ') || inner.keys.are_selecting(request) {
            return None;
        }
        let variants = inner.store.at_once(url)?;
        let mut selected = None;
        for stored in variants.iter() {
            if stored.variant().matches_plainly(request)? {
                selected = selected.or(Some(stored));
                // As whoever reads all of a request chooses.
                if stored.variant().is_by_any() {
                    selected = Some(stored);
                    break;
                }
            }
        }
        let is_as_it_is =
            |stored: &&Arc<StoredResponse>| is_whole(stored) && (hop.is_some() || !stored.is_host_bound());
        let stored = selected.filter(is_as_it_is)?;
        let (validity, now) = (stored.validity(), inner.clock.moment());
        let is_due = is_due_early(validity, inner.rules.early_refresh, now);
        if is_due || reuse(validity, &RequestDirectives::default(), now) != Reuse::Fresh {
            return None;
        }
        inner.count(Outcome::Hit);
        debug!("{} {}", Outcome::Hit, redacted(url));
        let status =
            CacheStatus::new(Outcome::Hit).time_to_live(validity.remaining(now), validity.staleness(now));
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

/// Whether it is the whole of a response that has a body.
fn is_whole(stored: &StoredResponse) -> bool {
    !matches!(stored.status().as_u16(), 204 | 205 | 206 | 304)
}
