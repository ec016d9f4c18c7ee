//! Which of the stored responses of one URL answers a request (RFC 9111 section 4.1).

use std::borrow::Cow;
use std::cmp::Reverse;

use bytes::Bytes;
use http::header::{
    ACCEPT, ACCEPT_CHARSET, ACCEPT_ENCODING, ACCEPT_LANGUAGE, CONNECTION, COOKIE, HOST, HeaderName, VARY,
};
use http::{HeaderMap, HeaderValue};

use super::rules::Rules;
use crate::message::header::cache_control::ResponseDirectives;
use crate::message::header::{list, quality};
use crate::message::nonblocking::{PlainField, PlainRequest};

/// The request fields that selected a stored response: what its `Vary` names, each with the
/// normalised value that the request had. Sorted by name, so that equal sets are equal.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Variant {
    pub(crate) fields: Box<[(HeaderName, Option<Bytes>)]>,
}

/// The request fields that select a response whether or not its `Vary` names them: those that nobody knows, where
/// they are to [select](super::selecting), and the cookie of a private answer.
///
/// What an origin calls `private` it made for one user, and a cookie is how most tell users apart: in
/// private mode such a response answers nobody who shows another one. The same holds where only some of its fields are
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

/// Whether no request selects a response: its `Vary` has a member that is not the name of a field, be it `*` or an
/// error, so that nobody knows what selects it.
pub(crate) fn varies_by_anything(response: &HeaderMap) -> bool {
    vary_names(response).any(|name| name.is_none_or(|name| name == "*"))
}

/// What `Vary` names: `None` for what cannot be the name of a field. A quote means nothing there.
fn vary_names(response: &HeaderMap) -> impl Iterator<Item = Option<HeaderName>> {
    let lines = response.get_all(VARY).into_iter().map(HeaderValue::as_bytes);
    lines.flat_map(list::members_without_quotes).map(|name| HeaderName::from_bytes(name).ok())
}

/// How a credential is told from another without being kept: a keyed digest.
pub(crate) trait CredentialDigest {
    fn digest(&self, credential: &[u8]) -> u128;
}

impl Variant {
    /// What selected this response: the fields that its `Vary` names, and those in `implied`. Not for one that
    /// [varies by anything](varies_by_anything).
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

    /// What the same fields of another request select.
    pub(crate) fn by_same_fields(&self, request: &HeaderMap, digest: &impl CredentialDigest) -> Self {
        let fields = self.fields.iter().map(|(name, _)| {
            let value = normalised(name, request, digest).map(|value| Bytes::copy_from_slice(&value));
            (name.clone(), value)
        });
        Self { fields: fields.collect() }
    }

    /// Whether a field is among those that selected it, whatever its value.
    pub(crate) fn is_by(&self, name: &HeaderName) -> bool {
        self.fields.iter().any(|(field, _)| field == name)
    }

    /// Whether a credential is among what selected it.
    #[cfg(feature = "disk")]
    pub(crate) fn has_credentials(&self) -> bool {
        self.fields.iter().any(|(name, value)| value.is_some() && is_credential(name))
    }

    /// Whether any field selected it.
    pub(crate) fn is_by_any(&self) -> bool {
        !self.fields.is_empty()
    }

    /// The normalised value of a field that selected it: `Some(None)` where the request had none.
    pub(crate) fn selected_by(&self, name: &HeaderName) -> Option<Option<&[u8]>> {
        self.fields.iter().find(|(field, _)| field == name).map(|(_, value)| value.as_deref())
    }

    /// Whether this request selects it.
    pub(crate) fn matches(&self, request: &HeaderMap, digest: &impl CredentialDigest) -> bool {
        self.fields
            .iter()
            .all(|(name, value)| normalised(name, request, digest).as_deref() == value.as_deref())
    }

    /// Whether this request selects it; `None` where that is not to be seen without interpreting a field.
    pub(crate) fn matches_plainly(&self, request: &PlainRequest<'_>) -> Option<bool> {
        for (name, stored) in &self.fields {
            let asked = match request.field(name.as_str()) {
                PlainField::Absent => None,
                // They end at this hop, so whoever reads all of a request does not look at them.
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

    /// Whether this request selects it although its `Accept-Language` is another: it wants one language most,
    /// and that is the one in which the response is. No server could do better (RFC 9110 section 12.5.4).
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

    /// Whether this request has the credentials that it was made for, whatever else selects it.
    pub(crate) fn is_for_credentials_of(&self, request: &HeaderMap, digest: &impl CredentialDigest) -> bool {
        self.fields
            .iter()
            .filter(|(name, _)| is_credential(name))
            .all(|(name, value)| normalised(name, request, digest).as_deref() == value.as_deref())
    }
}

/// Whether a field may hold what tells one user from another: the standard ones, and what is named like
/// one. Such a value is compared and never kept.
fn is_credential(name: &HeaderName) -> bool {
    const WORDS: [&str; 8] = ["auth", "cookie", "token", "key", "secret", "session", "signature", "password"];
    WORDS.iter().any(|word| name.as_str().contains(word))
}

/// A field's value, with the differences taken out that its grammar says mean nothing.
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
    if let [only] = request.get_all(name).into_iter().collect::<SmallLines<'_>>().as_slice()
        && is_plain(only.as_bytes())
    {
        return Some(Cow::Borrowed(only.as_bytes()));
    }
    if ![ACCEPT, ACCEPT_CHARSET, ACCEPT_ENCODING, ACCEPT_LANGUAGE].contains(name) {
        // Of other fields this much is known: several lines are one list, and space around its commas
        // means nothing (RFC 9110 section 5.6.1).
        let joined = list::joined(request, name)?;
        let members: Vec<&[u8]> = list::split(&joined, b',').map(<[u8]>::trim_ascii).collect();
        return Some(Cow::Owned(members.join(&b","[..])));
    }
    // Their members are case-insensitive, and weighed by quality. Of those that weigh the same, some servers take the
    // first (RFC 9110 section 12.5.4); of encodings the order says nothing.
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

type SmallLines<'a> = Vec<&'a HeaderValue>;

/// Whether normalising would change nothing: one member without space and capitals.
fn is_plain(value: &[u8]) -> bool {
    value.iter().all(|byte| !byte.is_ascii_uppercase() && !matches!(byte, b',' | b' ' | b'\t' | b'"'))
}

/// A list member without the optional space around its delimiters; inside a quoted string and between
/// words space has a meaning and stays.
fn without_space(member: &[u8]) -> Vec<u8> {
    let parts: Vec<&[u8]> = list::split(member, b';').map(<[u8]>::trim_ascii).collect();
    parts.join(&b";"[..])
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Plain;

    impl CredentialDigest for Plain {
        fn digest(&self, credential: &[u8]) -> u128 {
            credential.iter().fold(7, |sum, byte| sum * 31 + u128::from(*byte))
        }
    }

    fn headers(fields: &[(&'static str, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.append(*name, HeaderValue::from_str(value).unwrap());
        }
        headers
    }

    fn matches(vary: &[&str], stored: &[(&'static str, &str)], asked: &[(&'static str, &str)]) -> bool {
        let vary: Vec<(&'static str, &str)> = vary.iter().map(|line| ("vary", *line)).collect();
        let variant = Variant::of(&headers(&vary), &[], &headers(stored), &Plain);
        variant.matches(&headers(asked), &Plain)
    }

    #[test]
    fn every_named_field_must_match() {
        let stored = [("foo", "1"), ("bar", "abc")];
        assert!(matches(&["Foo, Bar"], &stored, &[("bar", "abc"), ("foo", "1"), ("other", "x")]));
        assert!(matches(&["Foo", "Bar"], &stored, &stored));
        assert!(!matches(&["Foo", "Bar"], &stored, &[("foo", "1"), ("bar", "x")]));
        assert!(!matches(&["Foo, Bar"], &stored, &[("foo", "1")]));
        assert!(!matches(&["Foo, Baz"], &stored, &[("foo", "1"), ("baz", "1")]));
        assert!(matches(&["Foo, Baz"], &stored, &[("foo", "1")]));
        assert!(matches(&[], &stored, &[]));
    }

    #[test]
    fn what_is_no_list_of_names_is_as_good_as_any() {
        for (lines, expected) in [
            (&["foo, bar"][..], false),
            (&["", ", foo"], false),
            (&["*"], true),
            (&["foo", "bar, *"], true),
            (&["foo bar"], true),
            (&[": : foo"], true),
            (&["Accept-Encoding, User-Agent)"], true),
            (&["\"foo, bar\""], true),
        ] {
            let lines: Vec<_> = lines.iter().map(|line| ("vary", *line)).collect();
            assert_eq!(varies_by_anything(&headers(&lines)), expected, "{lines:?}");
        }
    }

    #[test]
    fn a_plain_request_matches_as_any_other_or_nobody_knows() {
        let asked = [("host", "a"), ("foo", "1"), ("accept", "x, y"), ("cookie", "c")];
        let fields = asked.map(|(name, value)| httparse::Header { name, value: value.as_bytes() });
        let plain = PlainRequest::new("/", &fields).unwrap();
        for (vary, stored, expected) in [
            ("foo", &[("foo", "1")][..], Some(true)),
            ("foo", &[("foo", "2")][..], Some(false)),
            ("foo", &[][..], Some(false)),
            ("bar", &[][..], Some(true)),
            ("bar", &[("bar", "1")][..], Some(false)),
            ("accept", &[("accept", "x, y")][..], None),
            ("cookie", &[("cookie", "c")][..], None),
            // The engine selects without it.
            ("host", &[][..], None),
        ] {
            let variant = Variant::of(&headers(&[("vary", vary)]), &[], &headers(stored), &Plain);
            assert_eq!(variant.matches_plainly(&plain), expected, "{vary}");
        }
    }

    #[test]
    fn lines_space_case_and_order_count_only_where_the_grammar_says_so() {
        assert!(matches(&["foo"], &[("foo", "1, 2")], &[("foo", "1"), ("foo", "2")]));
        assert!(matches(&["foo"], &[("foo", "1,2")], &[("foo", " 1, 2 ")]));
        assert!(!matches(&["foo"], &[("foo", "1,2")], &[("foo", "2,1")]));
        assert!(!matches(&["foo"], &[("foo", "a")], &[("foo", "A")]));
        assert!(!matches(&["foo"], &[("foo", "a b")], &[("foo", "ab")]));
        assert!(!matches(&["foo"], &[("foo", "a;b")], &[("foo", "a ; b")]));
        assert!(!matches(&["foo"], &[("foo", "a,,b")], &[("foo", "a,b")]));
        let language = "accept-language";
        assert!(matches(&[language], &[(language, "en, de")], &[(language, "En ,  dE")]));
        assert!(!matches(&[language], &[(language, "en, de")], &[(language, "de, en")]));
        assert!(matches(&[language], &[(language, "en;q=0.5, de")], &[(language, "de, en;q=0.5")]));
        let encoding = "accept-encoding";
        assert!(matches(&[encoding], &[(encoding, "gzip, br")], &[(encoding, "br, gzip")]));
        assert!(!matches(&[encoding], &[(encoding, "gzip, br;q=0")], &[(encoding, "br, gzip")]));
        assert!(matches(&[language], &[(language, "en;q=0.5")], &[(language, "en ; q=0.5")]));
        assert!(!matches(&[language], &[(language, "en;q=0.5, de")], &[(language, "en, de;q=0.5")]));
    }

    #[test]
    fn the_language_that_is_wanted_most_is_taken_as_it_is() {
        let vary = headers(&[("vary", "accept-language, foo")]);
        let variant =
            Variant::of(&vary, &[], &headers(&[("accept-language", "en, de"), ("foo", "1")]), &Plain);
        let matches =
            |fields: &[(&'static str, &str)]| variant.matches_in_language(&headers(fields), b"de", &Plain);
        assert!(matches(&[("accept-language", "fr;q=0.5, DE;q=1.0"), ("foo", "1")]));
        assert!(!matches(&[("accept-language", "fr, de;q=0.5"), ("foo", "1")]));
        assert!(!matches(&[("accept-language", "fr, de"), ("foo", "1")]));
        assert!(!matches(&[("accept-language", "de"), ("foo", "2")]));
        assert!(!matches(&[("foo", "1")]));
    }

    #[test]
    fn credentials_are_compared_and_not_kept() {
        let stored = [("authorization", "Basic secret")];
        assert!(matches(&["authorization"], &stored, &stored));
        assert!(!matches(&["authorization"], &stored, &[("authorization", "Basic other")]));
        let variant = Variant::of(&headers(&[]), &[COOKIE], &headers(&[("cookie", "secret")]), &Plain);
        assert!(!format!("{variant:?}").contains("secret"));
        assert!(!variant.matches(&headers(&[]), &Plain));
        let vary = headers(&[("vary", "accept, x-api-key")]);
        let request = headers(&[("accept", "a"), ("x-api-key", "secret")]);
        let variant = Variant::of(&vary, &[], &request, &Plain);
        assert!(!format!("{variant:?}").contains("secret"));
        assert!(variant.is_for_credentials_of(&headers(&[("x-api-key", "secret"), ("accept", "b")]), &Plain));
        assert!(!variant.is_for_credentials_of(&headers(&[("x-api-key", "other"), ("accept", "a")]), &Plain));
    }
}
