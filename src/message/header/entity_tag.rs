//! Entity tags (RFC 9110 section 8.8.3).

use http::{HeaderMap, HeaderName};

use super::list;

/// An entity tag, borrowed from its field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct EntityTag<'a> {
    weak: bool,
    /// Includes the quotes, which distinguish a quoted tag from an unquoted one.
    opaque: &'a [u8],
}

impl<'a> EntityTag<'a> {
    /// Parses a tag. Unquoted tags are accepted because some servers send them; comparing them byte by byte can at
    /// worst miss a match.
    pub(crate) fn parse(text: &'a [u8]) -> Option<Self> {
        let text = text.trim_ascii();
        let (weak, opaque) = match text.strip_prefix(b"W/") {
            Some(opaque) => (true, opaque),
            None => (false, text),
        };
        (!opaque.is_empty()).then_some(Self { weak, opaque })
    }

    /// Returns whether the tag is strong.
    pub(crate) fn is_strong(self) -> bool {
        !self.weak
    }

    /// Compares weakly, which suffices to tell that a response has not changed.
    pub(crate) fn matches_weakly(self, other: EntityTag<'_>) -> bool {
        self.opaque == other.opaque
    }

    /// Compares strongly, which is required for combining bytes of two responses.
    pub(crate) fn matches_strongly(self, other: EntityTag<'_>) -> bool {
        !self.weak && !other.weak && self.opaque == other.opaque
    }
}

/// Returns whether a list of tags, as in `If-None-Match`, contains `*` or a tag that matches weakly.
pub(crate) fn any_matches_weakly(headers: &HeaderMap, name: &HeaderName, tag: Option<EntityTag<'_>>) -> bool {
    list::members_of(headers, name).any(|member| {
        member == b"*"
            || EntityTag::parse(member).zip(tag).is_some_and(|(listed, tag)| listed.matches_weakly(tag))
    })
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;
    use http::header::IF_NONE_MATCH;

    use super::*;

    fn tag(text: &str) -> EntityTag<'_> {
        EntityTag::parse(text.as_bytes()).unwrap()
    }

    /// The table of RFC 9110 section 8.8.3.2.
    #[test]
    fn tags_compare_strongly_and_weakly() {
        for (one, other, strong, weak) in [
            ("W/\"1\"", "W/\"1\"", false, true),
            ("W/\"1\"", "W/\"2\"", false, false),
            ("W/\"1\"", "\"1\"", false, true),
            ("\"1\"", "\"1\"", true, true),
        ] {
            assert_eq!(tag(one).matches_strongly(tag(other)), strong, "{one} {other}");
            assert_eq!(tag(one).matches_weakly(tag(other)), weak, "{one} {other}");
        }
        assert!(EntityTag::parse(b"").is_none());
        assert!(EntityTag::parse(b"W/").is_none());
    }

    #[test]
    fn comma_in_a_tag_does_not_split_it() {
        let headers: HeaderMap =
            [(IF_NONE_MATCH, HeaderValue::from_static("\"a,b\", W/\"c\""))].into_iter().collect();
        assert!(any_matches_weakly(&headers, &IF_NONE_MATCH, Some(tag("\"a,b\""))));
        assert!(any_matches_weakly(&headers, &IF_NONE_MATCH, Some(tag("\"c\""))));
        assert!(!any_matches_weakly(&headers, &IF_NONE_MATCH, Some(tag("\"a\""))));
        assert!(!any_matches_weakly(&headers, &IF_NONE_MATCH, None));
    }
}
