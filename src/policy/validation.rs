//! Asking the origin whether a stored response still holds, and what its answer changes (RFC 9111
//! sections 3.2, 4.3.1, 4.3.4 and 4.3.5).

use http::header::{
    AGE, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_RANGE, DATE, ETAG, HeaderName, IF_MODIFIED_SINCE,
    IF_NONE_MATCH, IF_RANGE, LAST_MODIFIED, RANGE,
};
use http::{HeaderMap, HeaderValue};

use crate::header::entity_tag::EntityTag;
use crate::header::hop_by_hop;

/// Puts our validators in place of the client's own conditions, and says whether there is one.
///
/// `entity_tags` are those of all stored responses that an answer could confirm; `last_modified` is
/// given where it is one response alone.
pub(crate) fn validators(
    request: &mut HeaderMap,
    entity_tags: &[HeaderValue],
    last_modified: Option<HeaderValue>,
) -> bool {
    for name in [IF_NONE_MATCH, IF_MODIFIED_SINCE, IF_RANGE, RANGE] {
        request.remove(name);
    }
    let listed = entity_tags.iter().map(HeaderValue::as_bytes).collect::<Vec<_>>().join(&b", "[..]);
    if !listed.is_empty()
        && let Ok(value) = HeaderValue::from_bytes(&listed)
    {
        request.insert(IF_NONE_MATCH, value);
    }
    if let Some(last_modified) = last_modified {
        request.insert(IF_MODIFIED_SINCE, last_modified);
    }
    request.contains_key(IF_NONE_MATCH) || request.contains_key(IF_MODIFIED_SINCE)
}

/// Which of the stored responses that we asked about a 304 confirms (section 4.3.4), given the entity tag
/// of each.
///
/// A 304 to a question about the one that the request selects is about that one, whatever tag it names or
/// leaves out: it was asked about nothing else. That is laxer than the RFC, and what origins are written
/// against. Of those that the request does not select it has to name one, and strongly: gzip and identity
/// may share a weak tag, and a request that selects neither must not be given the wrong one.
pub(crate) fn confirmed(
    entity_tags: &[Option<&[u8]>],
    is_selected: bool,
    update: &HeaderMap,
) -> Option<usize> {
    if is_selected && entity_tags.len() == 1 {
        return Some(0);
    }
    let named = EntityTag::parse(update.get(ETAG)?.as_bytes())?;
    let matches = |tag: &Option<&[u8]>| {
        tag.and_then(EntityTag::parse).is_some_and(|candidate| candidate.matches_strongly(named))
    };
    entity_tags.iter().position(matches)
}

/// Fields that describe the stored bytes, which neither a 304 nor a HEAD brings anew (section 3.2).
/// `Content-MD5` is obsolete and still sent; the entity tag is what selected the response.
static ABOUT_THE_BODY: [HeaderName; 7] = [
    CONTENT_ENCODING,
    CONTENT_LENGTH,
    HeaderName::from_static("content-md5"),
    CONTENT_RANGE,
    ETAG,
    HeaderName::from_static("content-digest"),
    HeaderName::from_static("repr-digest"),
];

/// The fields of a stored response after a 304 or a HEAD confirmed it: new ones added, present ones
/// replaced with all their lines.
///
/// `Age` is that of the update alone: it says how old the confirmation is. A `Date` that the update
/// does not bring is taken away, because it would make the confirmed response look old.
pub(crate) fn freshened(stored: &HeaderMap, update: &HeaderMap) -> HeaderMap {
    let mut update = update.clone();
    hop_by_hop::remove(&mut update);
    for name in &ABOUT_THE_BODY {
        update.remove(name);
    }
    let mut merged = stored.clone();
    merged.remove(AGE);
    merged.remove(DATE);
    for name in update.keys() {
        merged.remove(name);
    }
    for (name, value) in &update {
        merged.append(name, value.clone());
    }
    merged
}

/// What a 200 to a HEAD says of a stored response (section 4.3.5).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum HeadSays {
    /// A validator matches, and nothing contradicts: it is as good as confirmed.
    Confirmed,
    /// A validator or the length differs: it has changed.
    Changed,
    /// Nothing that would tell. Taking that for a confirmation would let any client keep a response fresh
    /// for ever whose origin sends no validators.
    Nothing,
}

/// Compares a stored response, whose body has this length, with the fields of a HEAD.
pub(crate) fn head_says(stored: &HeaderMap, stored_length: usize, head: &HeaderMap) -> HeadSays {
    let tag = |headers: &HeaderMap| headers.get(ETAG).cloned();
    let tags_agree = tag(head).map(|received| {
        tag(stored).is_some_and(|known| {
            EntityTag::parse(received.as_bytes())
                .zip(EntityTag::parse(known.as_bytes()))
                .is_some_and(|(received, known)| received.matches_weakly(known))
        })
    });
    let dates_agree = head.get(LAST_MODIFIED).map(|received| stored.get(LAST_MODIFIED) == Some(received));
    let lengths_agree =
        head.get(CONTENT_LENGTH).map(|received| received.as_bytes() == stored_length.to_string().as_bytes());
    let said = [tags_agree, dates_agree, lengths_agree];
    if said.contains(&Some(false)) {
        HeadSays::Changed
    } else if tags_agree == Some(true) || dates_agree == Some(true) {
        HeadSays::Confirmed
    } else {
        HeadSays::Nothing
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(fields: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.append(*name, HeaderValue::from_static(value));
        }
        headers
    }

    #[test]
    fn our_validators_take_the_place_of_the_clients() {
        let mut request = headers(&[
            ("if-none-match", "\"theirs\""),
            ("if-modified-since", "then"),
            ("range", "bytes=0-1"),
            ("if-range", "\"x\""),
            ("accept", "a"),
        ]);
        let tags = [HeaderValue::from_static("\"a\""), HeaderValue::from_static("W/\"b\"")];
        assert!(validators(&mut request, &tags, None));
        assert_eq!(request, headers(&[("accept", "a"), ("if-none-match", "\"a\", W/\"b\"")]));
        assert!(!validators(&mut request, &[], None));
        assert!(validators(&mut request, &[], Some(HeaderValue::from_static("now"))));
    }

    #[test]
    fn a_304_confirms_the_selected_one_or_names_another() {
        let (a, b): (Option<&[u8]>, Option<&[u8]>) = (Some(b"\"a\""), Some(b"W/\"b\""));
        let silent = headers(&[]);
        let naming = |tag| headers(&[("etag", tag)]);
        for (tags, is_selected, update, expected) in [
            (&[a][..], true, &silent, Some(0)),
            (&[a], true, &naming("\"c\""), Some(0)),
            (&[b], true, &naming("\"b\""), Some(0)),
            (&[a], false, &silent, None),
            (&[a], false, &naming("\"a\""), Some(0)),
            (&[a], false, &naming("W/\"a\""), None),
            (&[b], false, &naming("\"b\""), None),
            (&[b], false, &naming("W/\"b\""), None),
            (&[b, None, a], false, &naming("\"a\""), Some(2)),
            (&[a, b], false, &naming("\"c\""), None),
            (&[a, b], false, &silent, None),
            (&[], false, &silent, None),
        ] {
            assert_eq!(confirmed(tags, is_selected, update), expected, "{tags:?} {is_selected} {update:?}");
        }
    }

    #[test]
    fn a_304_adds_replaces_and_keeps() {
        let stored = headers(&[
            ("x-kept", "1"),
            ("link", "<old>"),
            ("age", "5"),
            ("date", "then"),
            ("etag", "\"a\""),
            ("content-type", "text/plain"),
        ]);
        let update = headers(&[
            ("link", "<one>"),
            ("link", "<two>"),
            ("x-new", "1"),
            ("etag", "\"b\""),
            ("content-length", "0"),
            ("content-type", "text/html"),
            ("connection", "x-hop"),
            ("x-hop", "1"),
        ]);
        let expected = headers(&[
            ("x-kept", "1"),
            ("etag", "\"a\""),
            ("link", "<one>"),
            ("link", "<two>"),
            ("x-new", "1"),
            ("content-type", "text/html"),
        ]);
        assert_eq!(freshened(&stored, &update), expected);
    }

    #[test]
    fn a_head_confirms_contradicts_or_says_nothing() {
        use HeadSays::{Changed, Confirmed, Nothing};
        let stored = headers(&[("etag", "\"a\""), ("last-modified", "then")]);
        for (head, says) in [
            (&[][..], Nothing),
            (&[("content-length", "3")], Nothing),
            (&[("etag", "W/\"a\""), ("content-length", "3")], Confirmed),
            (&[("last-modified", "then")], Confirmed),
            (&[("etag", "\"a\""), ("last-modified", "now")], Changed),
            (&[("etag", "\"b\"")], Changed),
            (&[("last-modified", "now")], Changed),
            (&[("content-length", "4")], Changed),
        ] {
            assert_eq!(head_says(&stored, 3, &headers(head)), says, "{head:?}");
        }
        assert_eq!(head_says(&headers(&[]), 3, &headers(&[("etag", "\"a\"")])), Changed);
    }
}
