//! Decides what the stored responses of a key can do for a request: answer it, or validate a forwarded request.

use std::sync::Arc;

use http::header::{CONTENT_LANGUAGE, ETAG, LAST_MODIFIED};
use http::{HeaderValue, StatusCode};

use super::credential::KeyedDigest;
use super::incoming::Incoming;
use super::tombstones::Sequence;
use crate::base::clock::Moment;
use crate::message::header::entity_tag::EntityTag;
use crate::message::stats::{Forward, Outcome};
use crate::policy::{Part, Reuse, ValidateBecause, is_due_early, may_be_offered, reuse, strong_tag};
use crate::store::{StoredResponse, Variants};

/// The stored responses of a key, and the sequence number of the last invalidation before the lookup.
pub(super) struct Found {
    pub(super) variants: Variants,
    pub(super) latest: Sequence,
}

/// How to answer a request.
#[derive(Debug)]
pub(crate) enum Lookup {
    /// Answer with this stored response.
    Serve(Arc<StoredResponse>, Outcome),
    /// Send the request to the origin.
    Forward(Plan),
}

/// How to send a request to the origin.
#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) why: Forward,
    /// The stored response that the request selects, which may be served if the origin fails.
    pub(crate) selected: Option<Arc<StoredResponse>>,
    /// The stored responses that a 304 could confirm: the selected response. If the request selects no response,
    /// these are all responses with a strong entity tag (RFC 9111 section 4.1), because several encodings may share a
    /// weak tag.
    pub(crate) candidates: Vec<Arc<StoredResponse>>,
    /// A stored part that begins at byte 0 of the requested body; only the rest has to be fetched.
    pub(crate) beginning: Option<Arc<StoredResponse>>,
}

impl Plan {
    pub(crate) fn without_store(why: Forward) -> Self {
        Self { why, selected: None, candidates: Vec::new(), beginning: None }
    }

    /// Returns all stored responses that this plan depends on.
    pub(crate) fn stored(&self) -> impl Iterator<Item = &Arc<StoredResponse>> {
        self.selected.iter().chain(&self.candidates).chain(&self.beginning)
    }

    /// Whether every request must validate the stored response. A request then gains nothing by waiting for the fetch
    /// of another request.
    pub(crate) fn is_always_validated(&self) -> bool {
        let validity = self.selected.as_ref().map(|stored| stored.validity());
        validity.is_some_and(|validity| validity.no_cache || validity.lifetime.is_zero())
    }

    pub(crate) fn entity_tags(&self) -> Vec<HeaderValue> {
        self.candidates
            .iter()
            .filter_map(|candidate| HeaderValue::from_bytes(candidate.field(&ETAG)?).ok())
            .collect()
    }

    /// Returns the date for `If-Modified-Since`: that of the selected response. Several candidates have no common
    /// date.
    pub(crate) fn last_modified(&self) -> Option<HeaderValue> {
        let selected = self.selected.as_ref().filter(|_| !self.candidates.is_empty());
        HeaderValue::from_bytes(selected?.field(&LAST_MODIFIED)?).ok()
    }

    /// Returns this plan without validators, for a request for the whole response.
    pub(crate) fn unconditional(&self) -> Self {
        Self { selected: self.selected.clone(), ..Self::without_store(self.why) }
    }
}

/// Decides how to answer a request at this time.
pub(crate) fn lookup(variants: &Variants, incoming: &Incoming, digest: &KeyedDigest, now: Moment) -> Lookup {
    let Some(selected) = selected(variants, incoming, digest) else {
        let why = if variants.is_empty() { Forward::UriMiss } else { Forward::VaryMiss };
        // A tag must be strong, because several encodings may share a weak tag; some origins even give one strong tag
        // to several encodings. A response for one user must not be offered for another user.
        let is_candidate = |stored: &&Arc<StoredResponse>| {
            // A response that was selected by an unknown field may depend on that field in its header fields,
            // whatever its entity tag is.
            !incoming.selects_by_unknown
                && stored.status() != StatusCode::PARTIAL_CONTENT
                && stored.field(&ETAG).and_then(EntityTag::parse).is_some_and(EntityTag::is_strong)
                && stored.variant().is_for_credentials_of(&incoming.headers, digest)
                && may_be_offered(stored.variant(), &stored.headers(), &incoming.headers)
        };
        let candidates = variants.iter().filter(is_candidate).cloned().collect();
        return Lookup::Forward(Plan { candidates, ..Plan::without_store(why) });
    };
    if selected.status() == StatusCode::PARTIAL_CONTENT {
        return lookup_partial(selected, incoming, now);
    }
    let outcome = match reuse(selected.validity(), &incoming.directives, now) {
        Reuse::Fresh if is_due_early(selected.validity(), incoming.early_refresh, now) => {
            return forward(Forward::Stale, selected);
        }
        Reuse::Fresh => Outcome::Hit,
        Reuse::StaleAccepted => Outcome::StaleAccepted,
        // A refresh always sends a request to the origin.
        Reuse::StaleWhileRevalidate if !incoming.is_refresh => Outcome::StaleWhileRevalidate,
        Reuse::StaleWhileRevalidate | Reuse::Validate(ValidateBecause::Stale | ValidateBecause::NoCache) => {
            return forward(Forward::Stale, selected);
        }
        Reuse::Validate(ValidateBecause::Request) => return forward(Forward::Request, selected),
    };
    Lookup::Serve(Arc::clone(selected), outcome)
}

/// Returns the stored response that the fields of the request select.
pub(crate) fn selected<'a>(
    variants: &'a Variants,
    incoming: &Incoming,
    digest: &KeyedDigest,
) -> Option<&'a Arc<StoredResponse>> {
    let mut answering = variants.iter().filter(|stored| incoming.is_answered_by(stored.variant()));
    let mut matching = answering.clone().filter(|stored| stored.variant().matches(&incoming.headers, digest));
    // Some origins omit Vary if a request states no preference (RFC 9111 section 4.1).
    matching
        .clone()
        .find(|stored| stored.variant().has_fields())
        .or_else(|| matching.next())
        .or_else(|| answering.find(|stored| has_wanted_language(stored, incoming, digest)))
}

/// Decides about a stored part. A fresh part answers a range within it; a part that begins at byte 0 can be
/// completed.
fn lookup_partial(stored: &Arc<StoredResponse>, incoming: &Incoming, now: Moment) -> Lookup {
    let headers = stored.headers();
    let part = Part::of(stored.status(), &headers);
    let outcome = match reuse(stored.validity(), &incoming.directives, now) {
        Reuse::Fresh => Some(Outcome::Hit),
        Reuse::StaleAccepted => Some(Outcome::StaleAccepted),
        Reuse::Validate(ValidateBecause::Request) => {
            return Lookup::Forward(Plan::without_store(Forward::Request));
        }
        Reuse::StaleWhileRevalidate | Reuse::Validate(_) => None,
    };
    let why = if outcome.is_some() { Forward::Partial } else { Forward::Stale };
    let Some(part) = part.filter(|_| !incoming.is_head()) else {
        return Lookup::Forward(Plan::without_store(why));
    };
    if let Some(outcome) = outcome
        && part.answers(&incoming.headers, &headers).is_some()
    {
        return Lookup::Serve(Arc::clone(stored), outcome);
    }
    // The strong entity tag validates a stale part too, when its rest is fetched.
    let is_wanted = incoming.may_collapse()
        || incoming.has_no_condition() && part.begins_answer(&incoming.headers, &headers);
    let is_beginning = part.start == 0 && strong_tag(&headers).is_some() && is_wanted;
    let beginning = is_beginning.then(|| Arc::clone(stored));
    Lookup::Forward(Plan { beginning, ..Plan::without_store(why) })
}

fn has_wanted_language(stored: &StoredResponse, incoming: &Incoming, digest: &KeyedDigest) -> bool {
    stored
        .field(&CONTENT_LANGUAGE)
        .is_some_and(|language| stored.variant().matches_in_language(&incoming.headers, language, digest))
}

fn forward(why: Forward, selected: &Arc<StoredResponse>) -> Lookup {
    Lookup::Forward(Plan {
        selected: Some(Arc::clone(selected)),
        candidates: vec![Arc::clone(selected)],
        ..Plan::without_store(why)
    })
}
