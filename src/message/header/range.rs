//! `Range` and `Content-Range` (RFC 9110 section 14).

/// What a `Range` field asks of a body of known length.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Requested {
    /// Nothing that is understood: the field is ignored and the whole is sent.
    Whole,
    /// These parts, each start and end (exclusive), within the body, in the order asked for.
    Parts(Vec<(u64, u64)>),
    /// No part that exists: 416.
    Unsatisfiable,
}

/// More parts than this are no honest request (RFC 9110 section 17.15).
const MAX_PARTS: usize = 16;

/// Reads a `Range` field against a body of `length` bytes.
///
/// Several parts that overlap, or that together ask for no less than the whole, are answered with the
/// whole: an attack otherwise (RFC 9110 section 17.15). Nothing is no part of nothing: a field about an empty body is
/// ignored, as by most servers, since some clients send one with every request.
pub(crate) fn requested(field: &[u8], length: u64) -> Requested {
    let Some(specs) = specs(field).filter(|_| length > 0) else { return Requested::Whole };
    let mut parts = Vec::new();
    for spec in &specs {
        let (start, end) = match *spec {
            Spec::From(first) => (first, length),
            Spec::Between(first, last) => (first, last.saturating_add(1).min(length)),
            Spec::Last(count) => (length.saturating_sub(count), length),
        };
        if start < end {
            parts.push((start, end));
        }
    }
    if parts.is_empty() {
        return Requested::Unsatisfiable;
    }
    if parts.len() > 1 {
        let mut sorted = parts.clone();
        sorted.sort_unstable();
        let overlaps = sorted.windows(2).any(|pair| pair[1].0 < pair[0].1);
        // Each is at most `length`, which is what an origin claims: their sum may have no room.
        let sum = parts.iter().fold(0_u64, |sum, (start, end)| sum.saturating_add(end - start));
        if overlaps || sum >= length {
            return Requested::Whole;
        }
    }
    Requested::Parts(parts)
}

/// A `Content-Range` of bytes, as a 206 carries it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ContentRange {
    pub(crate) start: u64,
    /// Exclusive.
    pub(crate) end: u64,
    /// Length of the whole, where it is known.
    pub(crate) complete: Option<u64>,
}

impl ContentRange {
    /// Reads `bytes 0-4/10` or `bytes 0-4/*`; anything else is none.
    pub(crate) fn parse(field: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(field).ok()?.trim();
        let (unit, rest) = text.split_once(' ')?;
        let (range, complete) = rest.trim_start().split_once('/')?;
        let (first, last) = range.split_once('-')?;
        let start = number(first.as_bytes())?;
        let end = number(last.as_bytes())?.checked_add(1)?;
        let complete = if complete == "*" { None } else { Some(number(complete.as_bytes())?) };
        let sound = start < end && complete.is_none_or(|complete| end <= complete);
        (unit.eq_ignore_ascii_case("bytes") && sound).then_some(Self { start, end, complete })
    }

    /// As it goes into the field.
    pub(crate) fn text(self) -> String {
        let complete = self.complete.map_or_else(|| "*".to_owned(), |complete| complete.to_string());
        format!("bytes {}-{}/{complete}", self.start, self.end - 1)
    }
}

enum Spec {
    From(u64),
    Between(u64, u64),
    Last(u64),
}

/// The range specs of a `bytes` range; `None` where any of it is malformed, because such a field is
/// ignored as a whole (RFC 9110 section 14.2).
fn specs(field: &[u8]) -> Option<Vec<Spec>> {
    let text = std::str::from_utf8(field).ok()?;
    let (unit, set) = text.split_once('=')?;
    if !unit.trim().eq_ignore_ascii_case("bytes") {
        return None;
    }
    let mut specs = Vec::new();
    for member in set.split(',').map(str::trim).filter(|member| !member.is_empty()) {
        let (first, last) = member.split_once('-')?;
        let spec = match (first, last) {
            ("", count) => Spec::Last(number(count.as_bytes())?),
            (first, "") => Spec::From(number(first.as_bytes())?),
            (first, last) => Spec::Between(number(first.as_bytes())?, number(last.as_bytes())?),
        };
        if matches!(spec, Spec::Between(first, last) if last < first) || specs.len() == MAX_PARTS {
            return None;
        }
        specs.push(spec);
    }
    (!specs.is_empty()).then_some(specs)
}

/// `1*DIGIT`; what does not fit is larger than any body.
fn number(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    Some(
        digits
            .iter()
            .fold(0_u64, |sum, digit| sum.saturating_mul(10).saturating_add(u64::from(digit - b'0'))),
    )
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn ranges_against_ten_bytes() {
        use Requested::{Parts, Unsatisfiable, Whole};
        for (field, expected) in [
            ("bytes=0-1", Parts(vec![(0, 2)])),
            ("Bytes = 1-", Parts(vec![(1, 10)])),
            ("bytes=-3", Parts(vec![(7, 10)])),
            ("bytes=-30", Parts(vec![(0, 10)])),
            ("bytes=4-999999999999999999999999", Parts(vec![(4, 10)])),
            ("bytes=0-0,-1", Parts(vec![(0, 1), (9, 10)])),
            ("bytes=20-30, 1-2", Parts(vec![(1, 3)])),
            ("bytes=10-", Unsatisfiable),
            ("bytes=-0", Unsatisfiable),
            ("bytes=0-5,3-8", Whole),
            ("bytes=0-4,5-9", Whole),
            ("bytes=3-1", Whole),
            ("bytes=", Whole),
            ("bytes=a-b", Whole),
            ("bytes=+1-2", Whole),
            ("items=0-1", Whole),
            ("bytes", Whole),
        ] {
            assert_eq!(requested(field.as_bytes(), 10), expected, "{field}");
        }
        for field in ["bytes=0-", "bytes=0-0", "bytes=5-", "bytes=-5"] {
            assert_eq!(requested(field.as_bytes(), 0), Whole, "{field}");
        }
    }

    #[test]
    fn a_claimed_length_may_be_the_largest_number() {
        assert_eq!(requested(b"bytes=0-,0-,0-", u64::MAX), Requested::Whole);
        assert_eq!(
            requested(b"bytes=0-1,-1", u64::MAX),
            Requested::Parts(vec![(0, 2), (u64::MAX - 1, u64::MAX)])
        );
    }

    #[test]
    fn content_ranges() {
        assert_eq!(ContentRange { start: 4, end: 10, complete: Some(10) }.text(), "bytes 4-9/10");
        assert_eq!(ContentRange { start: 4, end: 10, complete: None }.text(), "bytes 4-9/*");
        for text in ["bytes 4-9/10", "bytes 4-9/*"] {
            assert_eq!(ContentRange::parse(text.as_bytes()).unwrap().text(), text);
        }
        for bad in ["bytes */10", "bytes 9-4/10", "bytes 4-10/10", "items 0-1/2", "bytes 4-9", ""] {
            assert_eq!(ContentRange::parse(bad.as_bytes()), None, "{bad}");
        }
    }

    proptest! {
        #[test]
        fn parts_lie_within_the_body(field in "(bytes=)?[0-9,\\- ]{0,40}", length in 0_u64..100) {
            if let Requested::Parts(parts) = requested(field.as_bytes(), length) {
                prop_assert!(parts.iter().all(|(start, end)| start < end && *end <= length));
            }
        }
    }
}
