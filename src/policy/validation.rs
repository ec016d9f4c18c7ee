//! Validates stored responses with the origin: which validators are sent, and what the origin's response changes (RFC
//! 9111 sections 3.2, 4.3.1, 4.3.4 and 4.3.5).

use http::header::{
    AGE, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_RANGE, DATE, ETAG, HeaderName, IF_MODIFIED_SINCE,
    IF_NONE_MATCH, LAST_MODIFIED,
};
use http::{HeaderMap, HeaderValue};

use crate::message::header::entity_tag::EntityTag;
use crate::message::header::{date, hop_by_hop};

/// Replaces the client's conditions by the validators of stored responses, and returns whether there is a validator.
/// The client's range stays: if the stored response is outdated, the range applies to its replacement (RFC 9110
/// section 13.2.2).
///
/// `entity_tags` are the tags of all stored responses that the origin could confirm. `last_modified` is given only for
/// a single stored response.
pub(crate) fn validators(
    request: &mut HeaderMap,
    entity_tags: &[HeaderValue],
    last_modified: Option<HeaderValue>,
) -> bool {
    for name in [IF_NONE_MATCH, IF_MODIFIED_SINCE] {
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

/// The validators of a stored response.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Validators<'a> {
    pub(crate) entity_tag: Option<&'a [u8]>,
    pub(crate) last_modified: Option<&'a [u8]>,
}

/// Returns the index of the stored response that a 304 confirms (section 4.3.4). `stored` holds the validators that
/// were sent.
///
/// If the request selects the only stored response, the 304 confirms it unless their entity tags differ, or, where one
/// of them has no tag, their dates: then the 304 is about a response that is not stored. The 304 may omit its
/// validators, and a gateway may have weakened one of the tags.
///
/// A response that the request does not select is confirmed only if the 304 has the same strong tag. Gzip and identity
/// may share a weak tag, and the client must not get the wrong one.
pub(crate) fn confirmed(stored: &[Validators<'_>], is_selected: bool, update: &HeaderMap) -> Option<usize> {
    let named = update.get(ETAG).and_then(|tag| EntityTag::parse(tag.as_bytes()));
    let tag_of = |tag: Option<_>| tag.and_then(EntityTag::parse);
    if is_selected && let [selected] = stored {
        let is_confirmed = match (tag_of(selected.entity_tag), named) {
            (Some(known), Some(named)) => known.matches_weakly(named),
            _ => {
                let known = selected.last_modified.and_then(date::parse);
                known.zip(date::of(update, &LAST_MODIFIED)).is_none_or(|(known, received)| known == received)
            }
        };
        return is_confirmed.then_some(0);
    }
    let named = named?;
    stored.iter().position(|stored| tag_of(stored.entity_tag).is_some_and(|tag| tag.matches_strongly(named)))
}

/// Fields that describe the stored bytes; a 304 or a HEAD response does not update them (section 3.2). `Content-MD5` is
/// obsolete, but some origins still send it. The entity tag selected the stored response, so it stays.
static BODY_FIELDS: [HeaderName; 7] = [
    CONTENT_ENCODING,
    CONTENT_LENGTH,
    HeaderName::from_static("content-md5"),
    CONTENT_RANGE,
    ETAG,
    HeaderName::from_static("content-digest"),
    HeaderName::from_static("repr-digest"),
];

/// Returns the fields of a stored response after a 304 or a HEAD response confirmed it: fields of the update are added,
/// and replace all lines of existing fields of the same name.
///
/// `Age` is taken only from the update, because it is the age of the confirmation. If the update has no `Date`, the
/// stored `Date` is removed, because it would make the confirmed response look old.
pub(crate) fn freshened(stored: &HeaderMap, update: &HeaderMap) -> HeaderMap {
    let mut update = update.clone();
    hop_by_hop::remove(&mut update);
    for name in &BODY_FIELDS {
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

/// The result of comparing a 200 to a HEAD request with a stored response (section 4.3.5).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum HeadComparison {
    /// A validator matches and nothing differs: the stored response is confirmed.
    Confirmed,
    /// A validator or the length differs: the stored response is outdated.
    Changed,
    /// Neither side has a validator to compare. Such a HEAD must not confirm the response: otherwise any client could
    /// keep a response without validators fresh forever.
    Nothing,
}

/// Compares a stored response with a body of `stored_length` bytes with the fields of a HEAD response.
pub(crate) fn compare_with_head(
    stored: &HeaderMap,
    stored_length: usize,
    head: &HeaderMap,
) -> HeadComparison {
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
    let comparisons = [tags_agree, dates_agree, lengths_agree];
    if comparisons.contains(&Some(false)) {
        HeadComparison::Changed
    } else if tags_agree == Some(true) || dates_agree == Some(true) {
        HeadComparison::Confirmed
    } else {
        HeadComparison::Nothing
    }
}

#[cfg(test)]
mod tests;
