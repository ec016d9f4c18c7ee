//! A request, with the values that the cache derives from it.

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
    /// The `Via` member for the hop over which the request arrived; `None` in a near cache.
    pub(crate) via: Option<HeaderValue>,
    pub(crate) directives: RequestDirectives,
    /// The options that the client sent for this hop.
    pub(crate) hop: Hop,
    /// When the client stops waiting.
    pub(crate) deadline: Option<Deadline>,
    pub(crate) key: Key,
    /// The request fields that select the response in addition to those that `Vary` lists.
    pub(crate) selecting: Vec<HeaderName>,
    /// Whether unknown request fields select responses.
    pub(crate) selects_by_unknown: bool,
    /// Receives the interim responses of the origin.
    pub(crate) on_interim: Option<OnInterim>,
    /// Whether this is a refresh, for which no client waits.
    pub(crate) is_refresh: bool,
    /// A refresh of a fresh response contacts the origin if less than this percentage of its lifetime is left.
    pub(crate) early_refresh: u8,
}

/// A request that is forwarded past the store, without its body.
#[derive(Debug)]
pub(crate) struct BypassRequest {
    pub(crate) method: Method,
    pub(crate) target: CanonicalUrl,
    pub(crate) headers: HeaderMap,
    /// The `Via` member for the hop over which the request arrived.
    pub(crate) via: Option<HeaderValue>,
    /// When the client stops waiting.
    pub(crate) deadline: Option<Deadline>,
    /// Receives the interim responses of the origin.
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

    /// Sets the deadline.
    pub(crate) fn with_deadline(self, deadline: Option<Deadline>) -> Self {
        Self { deadline, ..self }
    }

    /// Sets the receiver of interim responses.
    pub(crate) fn with_interim(self, on_interim: Option<OnInterim>) -> Self {
        Self { on_interim, ..self }
    }

    pub(crate) fn into_bypass_request(self) -> BypassRequest {
        let Self { method, target, headers, via, deadline, on_interim, .. } = self;
        BypassRequest { method, target, headers, via, deadline, on_interim }
    }

    /// Whether the variant includes all fields that select the response to this request.
    pub(crate) fn is_answered_by(&self, variant: &Variant) -> bool {
        self.selecting.iter().all(|name| variant.is_by(name))
    }

    pub(crate) fn is_head(&self) -> bool {
        self.method == Method::HEAD
    }

    /// Whether only the origin can answer: the condition of the request concerns the origin's state (RFC 9110
    /// sections 13.1.1 and 13.1.4).
    pub(crate) fn is_for_origin(&self) -> bool {
        self.headers.contains_key(IF_MATCH) || self.headers.contains_key(IF_UNMODIFIED_SINCE)
    }

    /// Whether the request may share a fetch with others: a GET for the whole, whose directives accept a response
    /// that another request caused.
    pub(crate) fn may_collapse(&self) -> bool {
        let whole = ![RANGE, IF_RANGE, IF_NONE_MATCH, IF_MODIFIED_SINCE]
            .iter()
            .any(|name| self.headers.contains_key(name));
        whole && self.is_patient()
    }

    /// The same for a request for a range of a stored beginning and its rest.
    pub(crate) fn has_no_condition(&self) -> bool {
        let conditions = [IF_NONE_MATCH, IF_MODIFIED_SINCE];
        !conditions.iter().any(|name| self.headers.contains_key(name)) && self.is_patient()
    }

    /// Whether this is a GET that may be answered with the response to another request.
    fn is_patient(&self) -> bool {
        self.method == Method::GET && !self.directives.no_store && !self.is_reload()
    }

    /// Whether the client demands a response of the origin (RFC 9111 section 5.2.1).
    pub(crate) fn is_reload(&self) -> bool {
        self.directives.no_cache || self.directives.max_age.is_some_and(|max_age| max_age.is_zero())
    }

    /// Whether the request is for a range that begins at byte 0.
    pub(crate) fn is_for_beginning(&self) -> bool {
        const FROM_0: &[u8] = b"bytes=0-";
        let range = self.headers.get(RANGE).and_then(|range| range.as_bytes().get(..FROM_0.len()));
        range.is_some_and(|range| range.eq_ignore_ascii_case(FROM_0))
    }

    pub(crate) fn for_storing(&self) -> StoringRequest<'_> {
        StoringRequest { method: &self.method, headers: &self.headers, directives: &self.directives }
    }
}
