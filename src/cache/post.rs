//! POST requests whose responses are stored under the request content: queries that are too long for a URL, as
//! GraphQL and search interfaces send them.
//!
//! The cache never repeats, shares or refreshes a POST. It answers from the store while the stored response is fresh,
//! and forwards the request otherwise. A forwarded POST invalidates as usual.

use http::header::{CONTENT_ENCODING, CONTENT_TYPE};
use http::{HeaderMap, Method, Response, StatusCode};

use super::engine::Inner;
use super::incoming::{BypassRequest, Incoming};
use super::keys::Keys;
use super::lookup::{Lookup, lookup};
use crate::base::cancellation::Cancellation;
use crate::base::error::Result;
use crate::message::body::Body;
use crate::message::digest::Digest;
use crate::message::header::list;
use crate::message::stats::{CacheStatus, Forward, Outcome};
use crate::message::url::CanonicalUrl;
use crate::policy::{CredentialDigest, LifetimeRule, UnknownFields, has_explicit_lifetime, lifetime_rule};
use crate::pool::protocol::Hop;
use crate::store::Key;

impl Inner {
    /// Whether a request may be answered with a response that is stored under its content.
    pub(super) fn is_cached_post(&self, method: &Method, body: &Body) -> bool {
        *method == Method::POST
            && !body.is_empty()
            && body.length().is_some_and(|length| length <= self.cache_post)
            // The origin also sees fields that are dropped from a GET, and those fields would not be part of the key.
            && self.rules.unknown_fields == UnknownFields::Forward
    }

    /// Answers with the response stored under the content while it is fresh, and forwards the request otherwise.
    pub(super) fn answer_post(
        &self,
        request: BypassRequest,
        body: Body,
        hop: Hop,
        cancellation: Option<Cancellation>,
    ) -> Result<Response<Body>> {
        let content =
            body.into_bytes_limited(self.cache_post).map_err(|error| error.with_url(&request.target))?;
        let key = self.keys.of_content(&request.target, &request.headers, &content);
        let (target, headers) = (request.target.clone(), request.headers.clone());
        let mut get = Incoming::new(Method::GET, target, headers, hop, request.via.clone(), &self.keys);
        get.key = key;
        if !get.is_for_origin() {
            let found = self.find_in_tiers(&get);
            match lookup(&found.variants, &get, &self.digest, self.clock.moment()) {
                Lookup::Serve(stored, Outcome::Hit) => {
                    return Ok(self.serve_stored(&stored, &get, CacheStatus::new(Outcome::Hit)));
                }
                _ if get.directives.only_if_cached => return Ok(self.only_if_cached(&get)),
                _ => {}
            }
        }
        self.bypass(request, Body::from(content), Forward::Method, cancellation, Some(get))
    }

    /// Whether a response to a POST may answer the same POST again: its fields or the operator specify its lifetime.
    pub(super) fn is_for_post(&self, target: &CanonicalUrl, status: StatusCode, headers: &HeaderMap) -> bool {
        let rule = lifetime_rule(&self.rules.lifetimes, target, status);
        status.is_success()
            && (has_explicit_lifetime(headers, &self.rules) || rule.is_some_and(LifetimeRule::gives_lifetime))
    }
}

impl Keys {
    /// Returns the key of the responses to a request with this content.
    fn of_content(&self, target: &CanonicalUrl, headers: &HeaderMap, content: &[u8]) -> Key {
        let own = self.of(target, headers);
        let mut input = own.as_str().as_bytes().to_vec();
        for name in [CONTENT_TYPE, CONTENT_ENCODING] {
            input.push(0);
            input.extend_from_slice(&list::joined(headers, &name).unwrap_or_default());
        }
        input.push(0);
        input.extend_from_slice(Digest::of(content).as_bytes());
        Key::partitioned(own.url(), self.digest.digest(&input))
    }
}
