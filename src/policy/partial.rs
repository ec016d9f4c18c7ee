//! Handles parts of a representation: which ranges they answer, and how they combine (RFC 9111 sections 3.3 and 3.4).

use std::ops::Range;

use bytes::Bytes;
use http::header::{CONTENT_RANGE, ETAG, RANGE};
use http::{HeaderMap, HeaderValue, StatusCode};

use super::condition::range_applies;
use crate::message::header::entity_tag::EntityTag;
use crate::message::header::range::{ContentRange, Requested, requested};
use crate::message::pieces::Pieces;

/// One contiguous part of a representation whose length is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Part {
    pub(crate) start: u64,
    /// The first byte after the part.
    pub(crate) end: u64,
    /// The length of the whole representation.
    pub(crate) complete: u64,
}

impl Part {
    /// Returns the part that a 206 with these fields contains. Returns `None` for several parts in one response, and if
    /// the position or the complete length is unknown.
    pub(crate) fn of(status: StatusCode, headers: &HeaderMap) -> Option<Self> {
        let mut lines = headers.get_all(CONTENT_RANGE).into_iter();
        let (line, None) = (lines.next()?, lines.next()) else { return None };
        let range = ContentRange::parse(line.as_bytes())?;
        let part = Self { start: range.start, end: range.end, complete: range.complete? };
        (status == StatusCode::PARTIAL_CONTENT).then_some(part)
    }

    pub(crate) fn length(self) -> u64 {
        self.end - self.start
    }

    pub(crate) fn is_whole(self) -> bool {
        self.length() == self.complete
    }

    /// Returns the requested range if the request has a single range and it lies within this part.
    pub(crate) fn answers(self, request: &HeaderMap, stored: &HeaderMap) -> Option<Range<u64>> {
        let (start, end) = single_range(request, self.complete)?;
        let holds = self.start <= start && end <= self.end;
        (holds && range_applies(request, stored)).then_some(start..end)
    }

    /// Returns the value of the `Content-Range` field.
    pub(crate) fn value(self) -> HeaderValue {
        let range = ContentRange { start: self.start, end: self.end, complete: Some(self.complete) };
        HeaderValue::try_from(range.text()).expect("digits are visible ASCII")
    }

    /// Whether the request has a single range that begins within this part, or right after it, and reaches to the end
    /// of the representation. Then the missing rest is all that has to be fetched.
    pub(crate) fn begins_answer(self, request: &HeaderMap, stored: &HeaderMap) -> bool {
        let single = single_range(request, self.complete).filter(|_| range_applies(request, stored));
        single.is_some_and(|(start, end)| {
            (self.start..=self.end).contains(&start) && end == self.complete && self.end < end
        })
    }

    /// Returns the union of two parts if they touch or overlap.
    fn joined(self, other: Self) -> Option<Self> {
        let touches = self.start <= other.end && other.start <= self.end;
        (touches && self.complete == other.complete).then_some(Self {
            start: self.start.min(other.start),
            end: self.end.max(other.end),
            complete: self.complete,
        })
    }
}

/// Returns the range that a request selects from a representation of this length, if it selects exactly one.
pub(crate) fn single_range(request: &HeaderMap, complete: u64) -> Option<(u64, u64)> {
    let mut lines = request.get_all(RANGE).into_iter();
    let (line, None) = (lines.next()?, lines.next()) else { return None };
    let Requested::Parts(parts) = requested(line.as_bytes(), complete) else { return None };
    let [range] = parts[..] else { return None };
    Some(range)
}

/// Returns whether parts with these fields belong to the same representation: both have the same strong entity tag. RFC
/// 9111 section 3.4 allows combining only then.
pub(crate) fn have_same_strong_tag(one: &HeaderMap, other: &HeaderMap) -> bool {
    strong_tag(one).zip(strong_tag(other)).is_some_and(|(one, other)| one.matches_strongly(other))
}

/// Returns the entity tag if it is strong.
pub(crate) fn strong_tag(headers: &HeaderMap) -> Option<EntityTag<'_>> {
    headers.get(ETAG).and_then(|value| EntityTag::parse(value.as_bytes())).filter(|tag| tag.is_strong())
}

/// Combines two parts of the same representation. Returns `None` if there is a gap between them. The result shares the
/// pieces of both; only small neighbours are merged, into a piece that `share` allocates.
pub(crate) fn combined(
    one: (Part, &Pieces),
    other: (Part, &Pieces),
    share: impl Fn(Box<[u8]>) -> Bytes,
) -> Option<(Part, Pieces)> {
    let whole = one.0.joined(other.0)?;
    let (first, second) = if one.0.start <= other.0.start { (one, other) } else { (other, one) };
    // Overlapping bytes are equal in both parts: take them from the first.
    let known = usize::try_from(first.0.end.saturating_sub(second.0.start)).ok()?;
    let rest = second.1.slice(known.min(second.1.len())..second.1.len());
    let pieces = first.1.joined(&rest, share);
    (pieces.len() as u64 == whole.length()).then_some((whole, pieces))
}

#[cfg(test)]
mod tests;
