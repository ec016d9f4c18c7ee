//! Selects the field of a response that holds the directives for this cache (RFC 9213).

use http::{HeaderMap, HeaderName};

use super::rules::Rules;
use crate::message::header::cache_control::ResponseDirectives;

/// The target list of a shared cache (section 2.2). A private cache has an empty list, because it does not act on behalf
/// of an origin.
static TARGET_LIST: [HeaderName; 1] = [CDN_CACHE_CONTROL];

/// `CDN-Cache-Control` (RFC 9213 section 3).
pub(crate) const CDN_CACHE_CONTROL: HeaderName = HeaderName::from_static("cdn-cache-control");

/// Returns the directives of a response for this cache. The first valid field of the target list replaces `Cache-Control`
/// and `Expires`; without one, `Cache-Control` counts.
pub(crate) fn response_directives(headers: &HeaderMap, rules: &Rules) -> ResponseDirectives {
    let targets = if rules.is_shared() { &TARGET_LIST[..] } else { &[] };
    targets
        .iter()
        .find_map(|name| ResponseDirectives::targeted(headers, name))
        .unwrap_or_else(|| ResponseDirectives::of(headers))
}

impl ResponseDirectives {
    /// Returns the response fields that are not stored: those that a qualified `no-cache` names, and in a shared cache
    /// those that a qualified `private` names (RFC 9111 section 3.1).
    pub(crate) fn unstored_fields(&self, rules: &Rules) -> impl Iterator<Item = &HeaderName> {
        let private = if rules.is_shared() { &self.private_fields[..] } else { &[] };
        self.no_cache_fields.iter().chain(private)
    }
}

#[cfg(test)]
mod tests;
