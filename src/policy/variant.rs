//! Selects the stored response of a URL that answers a request (RFC 9111 section 4.1).

use std::borrow::Cow;
use std::cmp::Reverse;

use bytes::Bytes;
use http::header::{
    ACCEPT, ACCEPT_CHARSET, ACCEPT_ENCODING, ACCEPT_LANGUAGE, CONNECTION, COOKIE, HOST, HeaderName, VARY,
};
use http::{HeaderMap, HeaderValue};

use super::rules::Rules;
use crate::message::header::cache_control::ResponseDirectives;
use crate::message::header::credential::is_credential;
use crate::message::header::{list, quality};
use crate::message::nonblocking::{PlainField, PlainRequest};

/// The request fields that selected a stored response: the fields that its `Vary` names, each with the normalised value
/// from the request. The fields are sorted by name, so that equal sets compare as equal.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Variant {
    pub(crate) fields: Box<[(HeaderName, Option<Bytes>)]>,
}

/// Returns the request fields that select a response even if its `Vary` does not name them: unknown fields that are
/// configured to [select](super::selecting), and `Cookie` for a private response.
///
/// An origin generates a `private` response for one user, and most origins tell users apart by a cookie. So in private
/// mode, such a response never answers a request with another cookie. That also holds if only some of its fields are
/// private.
pub(crate) fn implied_fields(
    selecting: &[HeaderName],
    directives: &ResponseDirectives,
    rules: &Rules,
) -> Vec<HeaderName> {
    let is_private = directives.private || !directives.private_fields.is_empty();
    let cookie = (is_private && !rules.is_shared()).then_some(COOKIE);
    selecting.iter().cloned().chain(cookie).collect()
}

/// The most members of a `Vary` that selects responses. Every request for the URL is compared with each of them.
const MAX_NAMES: usize = 64;

/// Returns whether no request can select a response: a member of its `Vary` is `*` or not a valid field name, or there are too
/// many.
pub(crate) fn varies_by_anything(response: &HeaderMap) -> bool {
    vary_names(response).enumerate().any(|(at, name)| at >= MAX_NAMES || name.is_none_or(|name| name == "*"))
}

/// Returns the members of `Vary`; `None` for a member that is not a valid field name. Quotes have no meaning there.
fn vary_names(response: &HeaderMap) -> impl Iterator<Item = Option<HeaderName>> {
    let lines = response.get_all(VARY).into_iter().map(HeaderValue::as_bytes);
    lines.flat_map(list::members_without_quotes).map(|name| HeaderName::from_bytes(name).ok())
}

/// Computes keyed digests of credentials, so that credentials can be compared without being stored.
pub(crate) trait CredentialDigest {
    fn digest(&self, credential: &[u8]) -> u128;
}

impl Variant {
    /// Returns the variant of this response: the request's values of the fields that `Vary` names and of those in
    /// `implied`. Not for a response that [varies by anything](varies_by_anything).
    pub(crate) fn of(
        response: &HeaderMap,
        implied: &[HeaderName],
        request: &HeaderMap,
        digest: &impl CredentialDigest,
    ) -> Self {
        let mut names: Vec<HeaderName> =
            vary_names(response).flatten().chain(implied.iter().cloned()).collect();
        names.sort_unstable_by(|one, other| one.as_str().cmp(other.as_str()));
        names.dedup();
        let fields = names.into_iter().map(|name| {
            let value = normalised(&name, request, digest).map(|value| Bytes::copy_from_slice(&value));
            (name, value)
        });
        Self { fields: fields.collect() }
    }

    /// Returns the variant with the same field names and the values of another request.
    pub(crate) fn for_request(&self, request: &HeaderMap, digest: &impl CredentialDigest) -> Self {
        let fields = self.fields.iter().map(|(name, _)| {
            let value = normalised(name, request, digest).map(|value| Bytes::copy_from_slice(&value));
            (name.clone(), value)
        });
        Self { fields: fields.collect() }
    }

    /// Returns whether this field belongs to the variant, whatever its value.
    pub(crate) fn is_by(&self, name: &HeaderName) -> bool {
        self.fields.iter().any(|(field, _)| field == name)
    }

    /// Returns whether a credential of the request selected the response.
    #[cfg(any(feature = "disk", feature = "redis"))]
    pub(crate) fn has_credentials(&self) -> bool {
        self.fields.iter().any(|(name, value)| value.is_some() && is_credential(name))
    }

    /// Returns whether any field belongs to the variant.
    pub(crate) fn has_fields(&self) -> bool {
        !self.fields.is_empty()
    }

    /// Returns the normalised value of a field of the variant: `Some(None)` if the request had no such field, `None` if
    /// the field does not belong to the variant.
    pub(crate) fn selected_by(&self, name: &HeaderName) -> Option<Option<&[u8]>> {
        self.fields.iter().find(|(field, _)| field == name).map(|(_, value)| value.as_deref())
    }

    /// Returns whether this request selects the response.
    pub(crate) fn matches(&self, request: &HeaderMap, digest: &impl CredentialDigest) -> bool {
        self.fields
            .iter()
            .all(|(name, value)| normalised(name, request, digest).as_deref() == value.as_deref())
    }

    /// Returns whether this request selects the response, or `None` if the answer depends on the grammar of a field.
    pub(crate) fn matches_plainly(&self, request: &PlainRequest<'_>) -> Option<bool> {
        for (name, stored) in &self.fields {
            let asked = match request.field(name.as_str()) {
                PlainField::Absent => None,
                // These fields end at this hop, so the full comparison ignores them.
                PlainField::Once(_) if [CONNECTION, HOST].contains(name) => return None,
                PlainField::Once(value) if is_plain(value) && !is_credential(name) => Some(value),
                PlainField::Once(_) | PlainField::Repeated => return None,
            };
            if asked != stored.as_deref() {
                return Some(false);
            }
        }
        Some(true)
    }

    /// Returns whether this request selects the response although its `Accept-Language` differs: the request prefers
    /// one language, and the response is in that language. No server could do better (RFC 9110 section 12.5.4).
    pub(crate) fn matches_in_language(
        &self,
        request: &HeaderMap,
        language: &[u8],
        digest: &impl CredentialDigest,
    ) -> bool {
        self.fields.iter().all(|(name, value)| {
            normalised(name, request, digest).as_deref() == value.as_deref()
                || (*name == ACCEPT_LANGUAGE
                    && quality::favourite(request, name)
                        .is_some_and(|wanted| wanted.eq_ignore_ascii_case(language.trim_ascii())))
        })
    }

    /// Returns whether this request has the credentials of the request that fetched the response, whatever its other
    /// fields.
    pub(crate) fn is_for_credentials_of(&self, request: &HeaderMap, digest: &impl CredentialDigest) -> bool {
        self.fields
            .iter()
            .filter(|(name, _)| is_credential(name))
            .all(|(name, value)| normalised(name, request, digest).as_deref() == value.as_deref())
    }
}

/// Returns the value of a field without differences that have no meaning by the field's grammar.
fn normalised<'a>(
    name: &HeaderName,
    request: &'a HeaderMap,
    digest: &impl CredentialDigest,
) -> Option<Cow<'a, [u8]>> {
    if !request.contains_key(name) {
        return None;
    }
    if is_credential(name) {
        let credential = list::joined(request, name)?;
        return Some(Cow::Owned(digest.digest(&credential).to_be_bytes().to_vec()));
    }
    if let [only] = request.get_all(name).into_iter().collect::<Vec<_>>()[..]
        && is_plain(only.as_bytes())
    {
        return Some(Cow::Borrowed(only.as_bytes()));
    }
    if ![ACCEPT, ACCEPT_CHARSET, ACCEPT_ENCODING, ACCEPT_LANGUAGE].contains(name) {
        // For other fields, only the list syntax is known: several lines form one list, and whitespace around commas
        // has no meaning (RFC 9110 section 5.6.1).
        let joined = list::joined(request, name)?;
        let members: Vec<&[u8]> = list::split(&joined, b',').map(<[u8]>::trim_ascii).collect();
        return Some(Cow::Owned(members.join(&b","[..])));
    }
    // Members are case-insensitive and ordered by weight. Some servers prefer the first of several languages or types
    // with the same weight (RFC 9110 section 12.5.4); the order of encodings has no meaning.
    let mut members: Vec<Vec<u8>> = list::members_of(request, name).map(without_space).collect();
    members.iter_mut().for_each(|member| member.make_ascii_lowercase());
    if *name == ACCEPT_ENCODING {
        members.sort_unstable();
    } else {
        let weight = |member: &Vec<u8>| quality::weighed(member).map(|(_, weight)| weight);
        members.sort_by_key(|member| Reverse(weight(member)));
    }
    members.dedup();
    Some(Cow::Owned(members.join(&b","[..])))
}

/// Returns whether the value is already normalised: a single member without whitespace and capitals.
fn is_plain(value: &[u8]) -> bool {
    value.iter().all(|byte| !byte.is_ascii_uppercase() && !matches!(byte, b',' | b' ' | b'\t' | b'"'))
}

/// Returns a list member without optional whitespace around its delimiters. Whitespace inside a quoted string or
/// between words has a meaning and stays.
fn without_space(member: &[u8]) -> Vec<u8> {
    let parts: Vec<&[u8]> = list::split(member, b';').map(<[u8]>::trim_ascii).collect();
    parts.join(&b";"[..])
}

#[cfg(test)]
mod tests;
