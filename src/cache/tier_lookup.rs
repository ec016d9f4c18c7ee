//! A lookup in the tier below memory. It runs on a thread of that tier while the request waits.

use std::sync::Arc;
use std::time::Instant;

use http::HeaderMap;
use http::header::RANGE;

use super::engine::Inner;
use super::guarded_store::Below;
use super::incoming::Incoming;
use super::lookup::{Found, Lookup, lookup, selected};
use super::pending::NextStep;
use super::tombstones::Fetch;
use crate::message::body::Wake;
use crate::message::nonblocking::{Content, Slot, Step, Waiting, Wakes};
use crate::message::stats::Forward;
use crate::policy::{Part, Variant, single_range};
use crate::store::{RemoteBody, StoredResponse, Variants};

/// The largest body in a file that is loaded into memory, in bytes. A larger one is read while it is sent, and so is one that was
/// not requested often recently.
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
        below: Below,
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
        let Some(max_wait) = inner.store.spawn_tier_lookup(&incoming.key, below, work) else {
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
    /// Returns the tiers to ask before a request is sent to the origin. `None` if the responses in memory answer the request, or
    /// could not do so in any process: the request demands a reload, or each request has to be validated.
    pub(super) fn wanted_below(&self, in_memory: &Variants, incoming: &Incoming) -> Option<Below> {
        // Without tiers, nothing is looked up twice.
        self.store.tiers().next()?;
        match lookup(in_memory, incoming, &self.digest, self.clock.moment()) {
            Lookup::Serve(..) => None,
            Lookup::Forward(plan) => match plan.why {
                Forward::UriMiss | Forward::VaryMiss => Some(Below::All),
                _ if incoming.is_reload() || plan.is_always_validated() => None,
                _ => Some(Below::Newer),
            },
        }
    }

    /// Returns the length of the largest body that is loaded into memory: one in a file may be read while it is sent.
    fn max_raised(&self, body: &RemoteBody) -> u64 {
        let of_memory = self.store.max_body_in_memory();
        if body.source.file_number().is_some() { MAX_RAISED.min(of_memory) } else { of_memory }
    }

    /// Whether a body is read while it is sent, and not loaded into memory: it is in a file, and is large or was not requested
    /// often recently. Notes the request.
    pub(super) fn is_streamed(&self, key: &str, body: &RemoteBody) -> bool {
        body.source.file_number().is_some()
            && (body.length > self.max_raised(body) || !self.recent_in_files.note(key, body.length))
    }

    /// Whether a small body on disk was not requested recently, and so does not take the place of others in memory. Notes the
    /// request.
    fn stays_on_disk(&self, key: &str, body: &RemoteBody) -> bool {
        let is_small_on_disk = body.tier == RemoteBody::DISK && body.source.file_number().is_none();
        is_small_on_disk && !self.recent_small.note(key, body.length)
    }

    /// Looks up a request in memory and in one tier after the other, until a response can be served. Loads the body of the
    /// selected response into memory if it is small enough. May block.
    pub(super) fn find_in_tiers(&self, incoming: &Incoming) -> Found {
        // From here on the tombstones of all later invalidations are kept until the lookup ends.
        let fetch = self.begin(&incoming.key);
        let latest = self.store.tombstones().latest();
        let in_memory = self.store.variants(&incoming.key);
        let Some(below) = self.wanted_below(&in_memory, incoming) else {
            return Found { variants: in_memory, latest };
        };
        let now = self.clock.moment();
        let is_enough =
            |variants: &Variants| matches!(lookup(variants, incoming, &self.digest, now), Lookup::Serve(..));
        let variants = self.store.all(&incoming.key, in_memory.clone(), now.wall(), below, is_enough);
        Found { variants: self.with_body(&fetch, incoming, in_memory, variants), latest }
    }

    /// Opens the body of the selected response and checks the first block that is sent, or loads it into memory. If that fails,
    /// the response counts as not stored.
    fn with_body(
        &self,
        fetch: &Fetch,
        incoming: &Incoming,
        in_memory: Variants,
        found: Variants,
    ) -> Variants {
        let chosen = selected(&found, incoming, &self.digest).filter(|_| !incoming.is_head());
        let Some(chosen) = chosen.cloned() else { return found };
        let Some(remote) = chosen.remote() else { return found };
        let source = &remote.source;
        let replaces = selected(&in_memory, incoming, &self.digest).is_some();
        // Several ranges are cut from a body in memory only. A response that replaces one in memory takes its place.
        let has_several =
            incoming.headers.get_all(RANGE).iter().any(|range| range.as_bytes().contains(&b','));
        let is_streamed = remote.length > self.max_raised(remote)
            || !has_several && !replaces && self.is_streamed(incoming.key.as_str(), remote);
        let checked = match first_byte(&chosen, &incoming.headers) {
            _ if !is_streamed => Ok(()),
            at if at < remote.length => source.open().and_then(|()| source.read(at, 1).map(drop)),
            _ => source.open(),
        };
        let raised = match checked {
            Ok(()) if is_streamed => {
                if replaces {
                    self.store.forget_in_memory(&incoming.key);
                }
                return found;
            }
            Ok(()) if !replaces && self.stays_on_disk(incoming.key.as_str(), remote) => {
                self.store.load(&incoming.key, &chosen)
            }
            Ok(()) => self.store.raise(fetch, &chosen),
            Err(_) => None,
        };
        if raised.is_none() && replaces {
            return in_memory;
        }
        let of =
            |stored| if Arc::ptr_eq(stored, &chosen) { raised.clone() } else { Some(Arc::clone(stored)) };
        found.iter().filter_map(of).collect()
    }
}

/// Returns the position in a stored body of the first byte that a request gets.
fn first_byte(stored: &StoredResponse, request: &HeaderMap) -> u64 {
    let part = Part::of(stored.status(), &stored.headers());
    let (from, complete) = part.map_or((0, stored.body_length() as u64), |part| (part.start, part.complete));
    single_range(request, complete).map_or(0, |(start, _)| start.saturating_sub(from))
}
