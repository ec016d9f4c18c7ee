//! Derives the verdict about a stored response again, under the rules of the cache that reads it.
//!
//! A store outlives a process, and several processes can share one. A response that was stored under other rules is
//! used as if it were received now: what these rules would not have stored is not found.

use http::header::AUTHORIZATION;
use http::{HeaderMap, HeaderValue, Method, StatusCode};

use super::freshness::{ExchangeTimes, validity};
use super::operator::{apply_rules, directives_by_rules, may_store_by_rules};
use super::request_fields::is_known;
use super::rules::Rules;
use super::storing::Request;
use super::unknown_fields::UnknownFields;
use super::validity::{LifetimeSource, Validity};
use super::variant::{Variant, implied_fields};
use crate::message::header::cache_control::RequestDirectives;
use crate::message::url::CanonicalUrl;

/// A digest of rules. Zero stands for unknown rules.
pub(crate) type RulesDigest = [u8; 4];

/// The inputs of the verdict about a stored response that are neither in its head nor in its validity.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Basis {
    /// The rules by which the response was stored.
    pub(crate) rules: RulesDigest,
    /// The bits [`AUTHORIZED`] and [`UNSELECTED`].
    pub(crate) request: u8,
}

/// The request had `Authorization`.
const AUTHORIZED: u8 = 1;

/// The request had a field that is not standardised and does not select the response.
const UNSELECTED: u8 = 2;

impl Rules {
    /// Returns a digest of the rules, which is not zero.
    pub(crate) fn digest(&self) -> RulesDigest {
        (crc32fast::hash(format!("{self:?}").as_bytes()) | 1).to_be_bytes()
    }
}

impl Basis {
    /// Returns the basis of the response to a request with these fields.
    pub(crate) fn of(rules: RulesDigest, request: &HeaderMap, variant: &Variant) -> Self {
        // The operator's known fields are no input: those of the reader may differ.
        let standard = Rules::default();
        let is_unselected = request.keys().any(|name| !is_known(name, &standard) && !variant.is_by(name));
        let authorized = if request.contains_key(AUTHORIZATION) { AUTHORIZED } else { 0 };
        Self { rules, request: authorized | if is_unselected { UNSELECTED } else { 0 } }
    }

    /// Returns the basis of a response that also has content from a response with the other basis.
    pub(crate) fn and(self, other: Self) -> Self {
        Self { request: self.request | other.request, ..self }
    }

    /// Whether the verdict was derived by these rules, or by rules that are unknown.
    pub(crate) fn is_of(self, rules: RulesDigest) -> bool {
        self.rules == rules || self.rules == RulesDigest::default()
    }

    fn has(self, bit: u8) -> bool {
        self.request & bit != 0
    }
}

/// A stored response, without its body.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Stored<'a> {
    pub(crate) url: &'a str,
    /// Whether it is stored for one credential.
    pub(crate) is_partitioned: bool,
    pub(crate) status: StatusCode,
    pub(crate) headers: &'a HeaderMap,
    pub(crate) variant: &'a Variant,
    pub(crate) validity: &'a Validity,
    pub(crate) basis: Basis,
}

/// Returns the validity of a stored response under these rules; `None` if they would not have stored it. `chance` is a
/// random number that belongs to the response.
pub(crate) fn judge_again(stored: Stored<'_>, rules: &Rules, chance: u64) -> Option<Validity> {
    let Stored { url, status, headers, variant, basis, .. } = stored;
    let target = CanonicalUrl::parse(url).ok()?;
    let mut request = HeaderMap::new();
    if basis.has(AUTHORIZED) {
        if !rules.is_shared() && !stored.is_partitioned {
            return None;
        }
        request.insert(AUTHORIZATION, HeaderValue::from_static(""));
    }
    if basis.has(UNSELECTED) && rules.unknown_fields != UnknownFields::Forward {
        return None;
    }
    let directives = RequestDirectives::default();
    let request = Request { method: &Method::GET, headers: &request, directives: &directives };
    // A part is stored if the whole may be stored.
    let whole = if status == StatusCode::PARTIAL_CONTENT { StatusCode::OK } else { status };
    may_store_by_rules(request, &target, whole, headers, rules).ok()?;
    let (directives, rule) = directives_by_rules(&target, status, headers, rules);
    // These rules would have removed such a field before the response was stored.
    if directives.unstored_fields(rules).any(|name| headers.contains_key(name)) {
        return None;
    }
    if !implied_fields(&[], &directives, rules).iter().all(|name| variant.is_by(name)) {
        return None;
    }
    let received = stored.validity.response_time;
    let times = ExchangeTimes { request: received, response: received };
    let mut again = validity(status, headers, &directives, times, rules);
    apply_rules(&mut again, &directives, rule, rules, chance);
    // `Age` is not stored: it is part of the initial age.
    again.initial_age = stored.validity.initial_age;
    if stored.validity.lifetime_source == LifetimeSource::Purge {
        again.lifetime = again.lifetime.min(stored.validity.lifetime);
        again.lifetime_source = LifetimeSource::Purge;
    }
    Some(again)
}

#[cfg(test)]
mod tests;
