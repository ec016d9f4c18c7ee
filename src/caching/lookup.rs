//! What the stored responses of a key are good for.

use std::sync::Arc;
use std::time::SystemTime;

use http::HeaderValue;
use http::header::{ETAG, LAST_MODIFIED};

use super::credential::KeyedDigest;
use super::incoming::Incoming;
use crate::header::entity_tag::EntityTag;
use crate::policy::{Reuse, ValidateBecause, reuse};
use crate::stats::{Forward, Outcome};
use crate::store::{StoredResponse, Variants};

/// What to do with a request.
#[derive(Debug)]
pub(crate) enum Lookup {
    /// Answer with this.
    Serve(Arc<StoredResponse>, Outcome),
    /// Ask the origin.
    Forward(Plan),
}

/// How to ask the origin.
#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) why: Forward,
    /// The stored response that the request selects, which may be served if the origin fails.
    pub(crate) selected: Option<Arc<StoredResponse>>,
    /// What a 304 could confirm: the selected response, or, where none is selected, all that have a strong
    /// entity tag (RFC 9111 section 4.1). A weak one may be that of several encodings.
    pub(crate) candidates: Vec<Arc<StoredResponse>>,
}

impl Plan {
    pub(crate) fn without_store(why: Forward) -> Self {
        Self { why, selected: None, candidates: Vec::new() }
    }

    pub(crate) fn entity_tags(&self) -> Vec<HeaderValue> {
        self.candidates
            .iter()
            .filter_map(|candidate| HeaderValue::from_bytes(candidate.field(&ETAG)?).ok())
            .collect()
    }

    /// The date to ask with: that of the one selected response. Of several, none would be right.
    pub(crate) fn last_modified(&self) -> Option<HeaderValue> {
        HeaderValue::from_bytes(self.selected.as_ref()?.field(&LAST_MODIFIED)?).ok()
    }
}

/// Decides what a request is answered with at this time.
pub(crate) fn lookup(
    variants: &Variants,
    incoming: &Incoming,
    digest: &KeyedDigest,
    now: SystemTime,
) -> Lookup {
    let selected = variants.iter().find(|stored| stored.variant().matches(&incoming.headers, digest));
    let Some(selected) = selected else {
        let why = if variants.is_empty() { Forward::UriMiss } else { Forward::VaryMiss };
        // What was made for one user is no guess at what another would get; and a weak tag may stand for
        // several encodings.
        let is_candidate = |stored: &&Arc<StoredResponse>| {
            stored.field(&ETAG).and_then(EntityTag::parse).is_some_and(EntityTag::is_strong)
                && stored.variant().is_for_credentials_of(&incoming.headers, digest)
        };
        let candidates = variants.iter().filter(is_candidate).cloned().collect();
        return Lookup::Forward(Plan { why, selected: None, candidates });
    };
    let outcome = match reuse(selected.validity(), &incoming.directives, now) {
        Reuse::Fresh => Outcome::Hit,
        Reuse::StaleAccepted => Outcome::StaleAccepted,
        // Nobody refreshes behind the client's back yet: it waits for the validation.
        Reuse::StaleWhileRevalidate | Reuse::Validate(ValidateBecause::Stale | ValidateBecause::NoCache) => {
            return forward(Forward::Stale, selected);
        }
        Reuse::Validate(ValidateBecause::Request) => return forward(Forward::Request, selected),
    };
    Lookup::Serve(Arc::clone(selected), outcome)
}

fn forward(why: Forward, selected: &Arc<StoredResponse>) -> Lookup {
    Lookup::Forward(Plan {
        why,
        selected: Some(Arc::clone(selected)),
        candidates: vec![Arc::clone(selected)],
    })
}
