//! A request, with what the engine asks of it computed once.

use http::header::{IF_MATCH, IF_MODIFIED_SINCE, IF_NONE_MATCH, IF_RANGE, IF_UNMODIFIED_SINCE, RANGE};
use http::{HeaderMap, HeaderName, HeaderValue, Method};

use super::keys::Keys;
use crate::message::deadline::Deadline;
use crate::message::header::cache_control::RequestDirectives;
use crate::message::interim::OnInterim;
use crate::message::url::CanonicalUrl;
use crate::policy::{StoringRequest, Variant};
use crate::pool::protocol::Hop;
use crate::store::Key;

/// A GET or HEAD without a body.
#[derive(Clone, Debug)]
pub(crate) struct Incoming {
    pub(crate) method: Method,
    pub(crate) target: CanonicalUrl,
    pub(crate) headers: HeaderMap,
    /// What `Via` says of the hop over which it came, where it is to say anything.
    pub(crate) via: Option<HeaderValue>,
    pub(crate) directives: RequestDirectives,
    /// What the one who asks over the last hop wants beside it.
    pub(crate) hop: Hop,
    /// Until when it wants an answer.
    pub(crate) deadline: Option<Deadline>,
    pub(crate) key: Key,
    /// The fields that select its answer beside those that `Vary` names.
    pub(crate) selecting: Vec<HeaderName>,
    /// Whether fields that nobody knows select answers.
    pub(crate) selects_by_unknown: bool,
    /// Who receives the interim responses of the origin.
    pub(crate) on_interim: Option<OnInterim>,
    /// Whether no client waits for it.
    pub(crate) is_refresh: bool,
    /// In the last part of a lifetime, of this many percent, it asks the origin in any case.
    pub(crate) early_refresh: u8,
}

/// A request that goes to the origin past the store, without its body.
#[derive(Debug)]
pub(crate) struct Passing {
    pub(crate) method: Method,
    pub(crate) target: CanonicalUrl,
    pub(crate) headers: HeaderMap,
    /// What `Via` says of the hop over which it came.
    pub(crate) via: Option<HeaderValue>,
    /// Until when an answer is wanted.
    pub(crate) deadline: Option<Deadline>,
    /// Who receives the interim responses of the origin.
    pub(crate) on_interim: Option<OnInterim>,
}

impl Incoming {
    pub(crate) fn new(
        method: Method,
        target: CanonicalUrl,
        headers: HeaderMap,
        hop: Hop,
        via: Option<HeaderValue>,
        keys: &Keys,
    ) -> Self {
        let directives = RequestDirectives::of(&headers);
        let key = keys.of(&target, &headers);
        let selecting = keys.selecting(&headers);
        Self {
            method,
            target,
            headers,
            hop,
            deadline: None,
            via,
            directives,
            key,
            selecting,
            selects_by_unknown: keys.select_by_unknown(),
            on_interim: None,
            is_refresh: false,
            early_refresh: 0,
        }
    }

    /// Wanted until then.
    pub(crate) fn until(self, deadline: Option<Deadline>) -> Self {
        Self { deadline, ..self }
    }

    /// Whose interim responses go there.
    pub(crate) fn telling(self, on_interim: Option<OnInterim>) -> Self {
        Self { on_interim, ..self }
    }

    pub(crate) fn into_passing(self) -> Passing {
        let Self { method, target, headers, via, deadline, on_interim, .. } = self;
        Passing { method, target, headers, via, deadline, on_interim }
    }

    /// Whether a response was made for one who sent each of the fields that select its answer.
    pub(crate) fn is_answered_by(&self, variant: &Variant) -> bool {
        self.selecting.iter().all(|name| variant.is_by(name))
    }

    pub(crate) fn is_head(&self) -> bool {
        self.method == Method::HEAD
    }

    /// Whether only the origin can answer: its condition is about the origin's state (RFC 9110 sections
    /// 13.1.1 and 13.1.4).
    pub(crate) fn is_for_origin(&self) -> bool {
        self.headers.contains_key(IF_MATCH) || self.headers.contains_key(IF_UNMODIFIED_SINCE)
    }

    /// Whether it may wait for what another request fetches, and others for what it fetches: a plain GET
    /// for the whole, by somebody who does not insist on an answer made for them.
    pub(crate) fn may_collapse(&self) -> bool {
        let whole = ![RANGE, IF_RANGE, IF_NONE_MATCH, IF_MODIFIED_SINCE]
            .iter()
            .any(|name| self.headers.contains_key(name));
        let patient = !self.directives.no_cache
            && !self.directives.no_store
            && self.directives.max_age.is_none_or(|max_age| !max_age.is_zero());
        self.method == Method::GET && whole && patient
    }

    /// Whether it asks for a range that begins at 0.
    pub(crate) fn is_for_beginning(&self) -> bool {
        const FROM_0: &[u8] = b"bytes=0-";
        let range = self.headers.get(RANGE).and_then(|range| range.as_bytes().get(..FROM_0.len()));
        range.is_some_and(|range| range.eq_ignore_ascii_case(FROM_0))
    }

    pub(crate) fn for_storing(&self) -> StoringRequest<'_> {
        StoringRequest { method: &self.method, headers: &self.headers, directives: &self.directives }
    }
}
