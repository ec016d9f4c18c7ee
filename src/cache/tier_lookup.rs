//! A lookup in the tier below memory. It runs on a thread of that tier while the request waits.

use std::sync::Arc;
use std::time::Instant;

use http::header::RANGE;

use super::engine::Inner;
use super::incoming::Incoming;
use super::lookup::{Found, Lookup, lookup, selected};
use super::pending::NextStep;
use super::tombstones::Fetch;
use crate::message::body::Wake;
use crate::message::nonblocking::{Content, Slot, Step, Waiting, Wakes};
use crate::policy::Variant;
use crate::store::{RemoteBody, Variants};

/// The largest body that is loaded into memory, in bytes. A larger body is read while it is sent, and so is a body in a file
/// that is requested for the first time.
const MAX_RAISED: u64 = 1 << 20;

/// A request that waits for the lookup in a tier.
pub(super) struct TierLookup {
    inner: Arc<Inner>,
    incoming: Arc<Incoming>,
    in_memory: Found,
    variant: Option<Variant>,
    waits_left: u8,
    wake: Wake,
    slot: Slot<Found>,
    until: Instant,
}

impl TierLookup {
    /// Starts the lookup on a thread of the tier. Never waits.
    pub(super) fn start(
        inner: &Arc<Inner>,
        incoming: Arc<Incoming>,
        in_memory: Found,
        variant: Option<Variant>,
        waits_left: u8,
        wakes: Wakes<'_>,
    ) -> NextStep {
        let wake = wakes();
        let (slot, promise) = Slot::new(Arc::clone(&wake));
        let work = {
            let (inner, incoming) = (Arc::clone(inner), Arc::clone(&incoming));
            Box::new(move || {
                // The request may have left while its lookup waited for a thread.
                if !promise.is_awaited() {
                    return;
                }
                let found = inner.find_in_tiers(&incoming);
                // A program may drop the cache as soon as it has the answer: the store is then closed before it exits.
                drop((inner, incoming));
                promise.keep(found.into());
            })
        };
        let Some(max_wait) = inner.store.spawn_tier_lookup(&incoming.key, work) else {
            return inner.decide(incoming, &in_memory, variant, waits_left, &|| Arc::clone(&wake));
        };
        let until = Instant::now() + max_wait;
        Self { inner: Arc::clone(inner), incoming, in_memory, variant, waits_left, wake, slot, until }.check()
    }

    fn check(self) -> NextStep {
        let now = Instant::now();
        let below = match self.slot.take(now) {
            Content::Full(found) => Some(found),
            Content::Empty | Content::Early(..) if now < self.until => {
                return Step::Wait(Waiting::new(Some(self.until), move || self.check()));
            }
            Content::Empty | Content::Early(..) | Content::Lost => {
                self.inner.stats.count_store_error();
                None
            }
        };
        let Self { inner, incoming, in_memory, variant, waits_left, wake, .. } = self;
        inner.decide(incoming, &below.unwrap_or(in_memory), variant, waits_left, &|| Arc::clone(&wake))
    }
}

impl Inner {
    /// Returns the length of the largest body that is loaded into memory.
    fn max_raised(&self) -> u64 {
        MAX_RAISED.min(self.store.max_body_in_memory())
    }

    /// Whether a body is read while it is sent, and not loaded into memory: it is in a file, and is large or was not requested
    /// often recently. Notes the request.
    pub(super) fn is_streamed(&self, key: &str, body: &RemoteBody) -> bool {
        body.source.file_number().is_some()
            && (body.length > self.max_raised() || !self.recent.note(key, body.length))
    }

    /// Looks up a request in one tier after the other, until a response can be served. Loads the body of the selected response into memory if it is small enough. May
    /// block.
    fn find_in_tiers(&self, incoming: &Incoming) -> Found {
        // From here on the tombstones of all later invalidations are kept until the lookup ends.
        let fetch = self.begin(&incoming.key);
        let latest = self.store.tombstones().latest();
        let variants = self.store.variants(&incoming.key);
        let now = self.clock.moment();
        let is_enough =
            |variants: &Variants| matches!(lookup(variants, incoming, &self.digest, now), Lookup::Serve(..));
        let variants = self.store.all(&incoming.key, variants, now.wall(), is_enough);
        Found { variants: self.with_body(&fetch, incoming, variants), latest }
    }

    /// Opens the body of the selected response and checks its beginning, or loads it into memory. If that fails, the response
    /// counts as not stored.
    fn with_body(&self, fetch: &Fetch, incoming: &Incoming, variants: Variants) -> Variants {
        let chosen = selected(&variants, incoming, &self.digest).filter(|_| !incoming.is_head());
        let Some(chosen) = chosen.cloned() else { return variants };
        let Some(remote) = chosen.remote() else { return variants };
        let (source, has_range) = (&remote.source, incoming.headers.contains_key(RANGE));
        // Several ranges are cut from a body in memory only.
        let is_streamed = remote.length > self.max_raised()
            || !has_range && self.is_streamed(incoming.key.as_str(), remote);
        let checked = match is_streamed {
            true if has_range || remote.length == 0 => source.open(),
            true => source.open().and_then(|()| source.read(0, 1).map(drop)),
            false => Ok(()),
        };
        let raised = match checked {
            Ok(()) if is_streamed => return variants,
            Ok(()) => self.store.raise(fetch, &chosen),
            Err(_) => None,
        };
        let of =
            |stored| if Arc::ptr_eq(stored, &chosen) { raised.clone() } else { Some(Arc::clone(stored)) };
        variants.iter().filter_map(of).collect()
    }
}
