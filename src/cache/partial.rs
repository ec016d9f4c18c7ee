//! Partial responses: storing them, joining them and completing them.

use std::sync::Arc;
use std::time::SystemTime;

use http::header::{CONTENT_LENGTH, CONTENT_RANGE, RANGE};
use http::{HeaderMap, HeaderValue, Response, StatusCode};

use super::engine::Inner;
use super::flight::Head;
use super::forwarding::Received;
use super::guarded_store::{Below, GuardedStore};
use super::incoming::Incoming;
use super::tombstones::Fetch;
use crate::base::cancellation::Cancellation;
use crate::base::memory_limit::{Ledger, MemoryUse};
use crate::cache::fill::{Arrived, Fill, Keeping};
use crate::message::body::Body;
use crate::message::digest::{CONTENT_DIGEST, Digest, checked, expected_representation_digests};
use crate::message::pieces::Pieces;
use crate::message::stats::CacheStatus;
use crate::message::stored_bytes::StoredReader;
use crate::policy::{Part, combined, freshened, have_same_strong_tag, strong_tag};
use crate::store::{RemoteBody, StoredResponse, Variants};

/// Joins the response to a request for the rest with the stored beginning; `None` if it is not the rest.
pub(super) fn whole(
    received: Received,
    stored: &Arc<StoredResponse>,
    ledger: &Arc<Ledger>,
) -> Option<Received> {
    let fields = stored.headers();
    let known = Part::of(stored.status(), &fields)?;
    let rest = Part::of(received.status, &received.headers)?;
    let fits = rest.start == known.end
        && rest.end == rest.complete
        && rest.complete == known.complete
        && received.body.is_end_proven()
        && received.body.length().is_none_or(|length| length == rest.length());
    if !fits || !have_same_strong_tag(&fields, &received.headers) {
        return None;
    }
    let mut headers = freshened(&fields, &received.headers);
    headers.remove(CONTENT_RANGE);
    // This digest describes the part and not the whole.
    headers.remove(&CONTENT_DIGEST);
    headers.insert(CONTENT_LENGTH, HeaderValue::from(known.complete));
    let rest = Body::from_reader(received.body, Some(rest.length()));
    let body = match stored.remote() {
        Some(remote) => {
            let source = Arc::clone(&remote.source);
            let beginning = StoredReader::body(source, 0..known.length(), Arc::clone(ledger));
            Body::continued(beginning, rest)
        }
        None => Body::with_beginning(stored.body(), rest),
    };
    let continues = Some(Arc::clone(stored));
    Some(Received { status: StatusCode::OK, headers, body, times: received.times, continues })
}

impl Inner {
    /// Returns a part to the client and stores it.
    pub(super) fn keep_part(
        &self,
        incoming: &Incoming,
        received: Received,
        status: CacheStatus<'_>,
        (fetch, cancellation): (Fetch, Cancellation),
    ) -> Response<Body> {
        let fields = received.fields_to_store(&self.rules, self.upstream());
        let Received { status: code, headers, body, times, .. } = received;
        let part = Part::of(code, &fields);
        let head = Arc::new(Head::of(self, incoming, code, fields, times));
        let fetch = Arc::new(fetch);
        let is_tagged = strong_tag(&head.headers).is_some() && self.near.is_none();
        let beginning = part.filter(|_| is_tagged).map(|part| self.beginning(&head, part, &fetch));
        let (store, ledger, now) = (self.store.clone(), Arc::clone(&self.ledger), self.clock.now());
        let commit = move |whole, digest| match whole {
            Arrived::Pieces(pieces) => {
                let part = head.to_stored(pieces, digest, fetch.sequence());
                if let Some(joined) = joined(&store, &ledger, &fetch, &part, now) {
                    store.insert(&fetch, &joined);
                }
            }
            Arrived::Spilled(source, length, number) | Arrived::Growing(source, length, number) => {
                let part = head.to_stored(Pieces::new(), digest, fetch.sequence());
                let part = StoredResponse::clone(&part).with_remote(RemoteBody::on_disk(length, source));
                store.insert_spilled(&fetch, &Arc::new(part), number);
            }
        };
        let keeping = self.keeping(cancellation, Box::new(commit));
        let keeping = Keeping { spill: self.store.begin_spill(), beginning, ..keeping };
        let body = Fill::start(body, keeping).into_body();
        self.forward_response(incoming, code, headers, body, status.stored())
    }

    /// Whether a response is a part that is stored and that a later part can complete.
    pub(super) fn is_part_to_complete(&self, incoming: &Incoming, received: &Received) -> bool {
        strong_tag(&received.headers).is_some() && self.is_part_to_keep(incoming, received)
    }

    /// Whether a response is a part worth storing: a single range of known place and length, of a whole that may be
    /// stored.
    pub(super) fn is_part_to_keep(&self, incoming: &Incoming, received: &Received) -> bool {
        let Some(part) = Part::of(received.status, &received.headers) else { return false };
        if !incoming.headers.contains_key(RANGE) {
            return false;
        }
        let is_storable = self.may_store(incoming, StatusCode::OK, &received.headers);
        // If the length contradicts the range, one of them is wrong.
        received.body.length() == Some(part.length())
            && part.length() <= self.store.max_body()
            && is_storable.is_ok()
    }
}

/// Whether the bytes match the digests of the whole that the fields of both parts announce.
fn is_announced(parts: [&HeaderMap; 2], whole: &Pieces) -> bool {
    let mut expected: Vec<_> = parts.into_iter().flat_map(expected_representation_digests).collect();
    expected.dedup();
    checked(Body::from(whole.clone()), expected, || ()).is_ok()
}

/// Returns what to store for a new part: the part itself, or the stored part joined with it; `None` if the whole is
/// stored already.
fn joined(
    store: &GuardedStore,
    ledger: &Arc<Ledger>,
    fetch: &Fetch,
    new: &Arc<StoredResponse>,
    now: SystemTime,
) -> Option<Arc<StoredResponse>> {
    let is_same = |stored: &&Arc<StoredResponse>| stored.variant() == new.variant();
    let is_enough = |variants: &Variants| variants.iter().any(|stored| is_same(&stored));
    let variants = store.all(fetch.key(), store.variants(fetch.key()), now, Below::All, is_enough);
    let Some(stored) = variants.iter().find(is_same) else {
        return Some(Arc::clone(new));
    };
    let (fields, new_fields) = (stored.headers(), new.headers());
    if stored.status() != StatusCode::PARTIAL_CONTENT {
        // A part with another strong tag proves that the whole has changed.
        let has_changed = strong_tag(&fields).is_some() && !have_same_strong_tag(&fields, &new_fields);
        return (has_changed && strong_tag(&new_fields).is_some()).then(|| Arc::clone(new));
    }
    // The longer of two parts is kept if they cannot be joined in memory.
    let limit = store.max_body_in_memory();
    let loaded = if stored.remote().is_some() && stored.body_length() as u64 <= limit {
        store.load(fetch.key(), stored)
    } else {
        None
    };
    let stored = loaded.as_ref().unwrap_or(stored);
    if stored.remote().is_some() && have_same_strong_tag(&fields, &new_fields) {
        return (new.body_length() > stored.body_length()).then(|| Arc::clone(new));
    }
    let parts = Part::of(stored.status(), &fields).zip(Part::of(new.status(), &new_fields));
    let joined = parts
        .filter(|_| have_same_strong_tag(&fields, &new_fields))
        .and_then(|(one, other)| {
            let share = |bytes| ledger.share(MemoryUse::Bodies, bytes);
            combined((one, &stored.body()), (other, &new.body()), share)
        })
        .filter(|(part, _)| part.length() <= limit)
        // A whole that does not match the announced digests is discarded.
        .filter(|(part, pieces)| !part.is_whole() || is_announced([&fields, &new_fields], pieces));
    let Some((part, pieces)) = joined else { return Some(Arc::clone(new)) };
    let mut headers = freshened(&fields, &new_fields);
    headers.remove(&CONTENT_DIGEST);
    let status = if part.is_whole() {
        headers.remove(CONTENT_RANGE);
        StatusCode::OK
    } else {
        headers.insert(CONTENT_RANGE, part.value());
        StatusCode::PARTIAL_CONTENT
    };
    let (validity, variant) = (*new.validity(), new.variant().clone());
    let digest = part.is_whole().then(|| Digest::of_pieces(&pieces));
    let joined = StoredResponse::with_digest(status, &headers, pieces, digest, validity, variant);
    let joined = joined.with_sequence(fetch.sequence()).with_url(new.url().map(Into::into));
    let joined = joined.with_basis(new.basis().and(stored.basis()));
    Some(Arc::new(joined.with_counted_body()))
}
