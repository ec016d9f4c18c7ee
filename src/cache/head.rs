//! Builds the head of a response to store, and the stored response itself.

use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;

use http::header::{AGE, CONTENT_RANGE};
use http::{HeaderMap, StatusCode};

use super::engine::Inner;
use super::flight::Head;
use super::incoming::Incoming;
use super::tombstones::Sequence;
use crate::message::digest::{CONTENT_DIGEST, Digest};
use crate::message::pieces::Pieces;
use crate::message::stats::time_to_live;
use crate::policy::{Basis, ExchangeTimes, Part, Variant, apply_rules, implied_fields, validity};
use crate::store::StoredResponse;

impl Head {
    /// Builds the head to store from the fields of a response to this request.
    pub(super) fn of(
        inner: &Inner,
        incoming: &Incoming,
        status: StatusCode,
        mut headers: HeaderMap,
        times: ExchangeTimes,
    ) -> Self {
        let (directives, rule) = inner.directives(incoming, status, &headers);
        let mut validity = validity(status, &headers, &directives, times, &inner.rules);
        let chance = if inner.rules.jitter > 0 { RandomState::new().hash_one(()) } else { 0 };
        apply_rules(&mut validity, &directives, rule, &inner.rules, chance);
        if let Some(near) = inner.near {
            let ttl = time_to_live(&headers).unwrap_or_default();
            near.limit(&mut validity, ttl, times, &inner.rules);
        }
        headers.remove(AGE);
        let implied = implied_fields(&incoming.selecting, &directives, &inner.rules);
        let variant = Variant::of(&headers, &implied, &incoming.headers, &inner.digest);
        let basis = Basis::of(inner.rules_digest, &incoming.headers, &variant);
        let url = inner.keys.are_chosen().then(|| incoming.target.as_str().into());
        Self { status, headers, validity, variant, url, basis }
    }

    pub(super) fn into_stored(self, body: Pieces, digest: Digest, sequence: Sequence) -> Arc<StoredResponse> {
        let Self { status, headers, validity, variant, url, basis } = self;
        let stored = StoredResponse::with_digest(status, &headers, body, Some(digest), validity, variant);
        Arc::new(stored.with_sequence(sequence).with_url(url).with_basis(basis))
    }

    /// Combines this head with the body of a stored response.
    pub(super) fn into_freshened(self, stored: &StoredResponse, sequence: Sequence) -> Arc<StoredResponse> {
        let Self { status, headers, validity, variant, url, basis } = self;
        let (body, digest) = (stored.body(), stored.digest());
        let freshened = StoredResponse::with_digest(status, &headers, body, digest, validity, variant);
        let freshened = freshened.with_sequence(sequence).with_url(url).with_body_counted_as(stored);
        let freshened = freshened.with_basis(basis.and(stored.basis()));
        Arc::new(match stored.remote() {
            Some(remote) => freshened.with_remote(remote.clone()),
            None => freshened,
        })
    }

    pub(super) fn to_stored(&self, body: Pieces, digest: Digest, sequence: Sequence) -> Arc<StoredResponse> {
        Arc::new(self.stored_as(self.status, &self.headers, body, Some(digest), sequence))
    }

    /// Combines this head with a part of its body.
    pub(super) fn to_part(&self, part: Part, body: Pieces, sequence: Sequence) -> StoredResponse {
        let mut headers = self.headers.clone();
        headers.insert(CONTENT_RANGE, part.value());
        // This digest describes another content.
        headers.remove(&CONTENT_DIGEST);
        self.stored_as(StatusCode::PARTIAL_CONTENT, &headers, body, None, sequence)
    }

    fn stored_as(
        &self,
        status: StatusCode,
        headers: &HeaderMap,
        body: Pieces,
        digest: Option<Digest>,
        sequence: Sequence,
    ) -> StoredResponse {
        let variant = self.variant.clone();
        let stored = StoredResponse::with_digest(status, headers, body, digest, self.validity, variant);
        let stored = stored.with_sequence(sequence).with_url(self.url.clone());
        stored.with_basis(self.basis).with_counted_body()
    }
}
