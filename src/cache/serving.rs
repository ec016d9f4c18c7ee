//! Returns responses to the client: stored ones, those of the origin, and 504 for `only-if-cached`.

use std::sync::Arc;

use http::header::CACHE_CONTROL;
use http::{HeaderMap, HeaderValue, Response, StatusCode};

use super::answer::{answer, response};
use super::engine::Inner;
use super::incoming::Incoming;
use crate::message::body::Body;
use crate::message::stats::{CacheStatus, Outcome};
use crate::policy::is_due_early;
use crate::pool::protocol::WantsDigest;
use crate::store::StoredResponse;

impl Inner {
    pub(super) fn serve(
        self: &Arc<Self>,
        stored: &StoredResponse,
        incoming: &Arc<Incoming>,
        outcome: Outcome,
    ) -> Response<Body> {
        let percent = self.rules.early_refresh;
        let is_due = || percent > 0 && is_due_early(stored.validity(), percent, self.clock.now());
        let is_refreshed = outcome == Outcome::StaleWhileRevalidate || (outcome == Outcome::Hit && is_due());
        if is_refreshed && !incoming.is_refresh {
            self.offer_refresh(incoming);
        }
        self.serve_with(stored, incoming, CacheStatus::new(outcome))
    }

    /// Returns a stored response. If its body turns out to be damaged, the origin completes it.
    pub(super) fn serve_with(
        &self,
        stored: &StoredResponse,
        incoming: &Incoming,
        status: CacheStatus<'_>,
    ) -> Response<Body> {
        self.recovering(self.serve_stored(stored, incoming, status), stored, incoming)
    }

    /// Like [`serve_with`](Self::serve_with), for a response that a GET would not bring.
    pub(super) fn serve_stored(
        &self,
        stored: &StoredResponse,
        incoming: &Incoming,
        status: CacheStatus<'_>,
    ) -> Response<Body> {
        self.note(status.outcome(), &incoming.target, incoming.is_refresh);
        let status = match stored.tier() {
            Some(tier) => {
                self.stats.count_hit_of(tier);
                if status.outcome() == Outcome::Hit { status.detail(tier) } else { status }
            }
            None => status,
        };
        let status = self.with_identity(status, incoming);
        answer(stored, incoming, status, self.clock.moment(), &self.ledger)
    }

    pub(super) fn only_if_cached(&self, incoming: &Incoming) -> Response<Body> {
        self.note(Outcome::OnlyIfCached, &incoming.target, incoming.is_refresh);
        let mut headers = HeaderMap::new();
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        self.with_identity(CacheStatus::new(Outcome::OnlyIfCached), incoming).append_to(&mut headers);
        response(StatusCode::GATEWAY_TIMEOUT, headers, Body::empty())
    }

    /// Returns a response of the origin to the client.
    pub(super) fn forward_response(
        &self,
        incoming: &Incoming,
        code: StatusCode,
        headers: HeaderMap,
        body: Body,
        status: CacheStatus<'_>,
    ) -> Response<Body> {
        self.note(status.outcome(), &incoming.target, incoming.is_refresh);
        if self.near.is_some() {
            // The response already has the owner's Cache-Status member.
            return response(code, headers, body);
        }
        mark_digest_wanted(with_status(code, headers, body, self.with_identity(status, incoming)), incoming)
    }

    /// Adds the near-cache mark and, if keys are chosen, the key to a status.
    pub(super) fn with_identity<'a>(
        &self,
        status: CacheStatus<'a>,
        incoming: &'a Incoming,
    ) -> CacheStatus<'a> {
        let status = if self.near.is_some() { status.near() } else { status };
        if self.keys.are_chosen() { status.key(incoming.key.url()) } else { status }
    }
}

/// Marks a response whose server must send a digest, because the client requested one.
pub(super) fn mark_digest_wanted(mut response: Response<Body>, incoming: &Incoming) -> Response<Body> {
    if incoming.hop.wants_digest {
        response.extensions_mut().insert(WantsDigest);
    }
    response
}

/// Builds a response with its `Cache-Status`.
pub(super) fn with_status(
    code: StatusCode,
    mut headers: HeaderMap,
    body: Body,
    status: CacheStatus<'_>,
) -> Response<Body> {
    status.append_to(&mut headers);
    response(code, headers, body)
}
