//! `Range` and `Content-Range` (RFC 9110 section 14).

/// The parts that a `Range` field selects from a body of known length.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Requested {
    /// The field is absent or invalid and therefore ignored: the complete body is sent.
    Complete,
    /// The parts in the order of the field, as start and exclusive end. All lie within the body.
    Parts(Vec<(u64, u64)>),
    /// No requested part exists: respond with 416.
    Unsatisfiable,
}

/// The maximum number of parts. Requests for more are likely an attack (RFC 9110 section 17.15).
const MAX_PARTS: usize = 16;

/// Parses a `Range` field and applies it to a body of `length` bytes.
///
/// If several parts overlap or are in total at least as long as the body, the complete body is sent, because such
/// requests can be an attack (RFC 9110 section 17.15). The field is ignored if the body is empty, as most servers
/// do, because some clients send `Range` with every request.
pub(crate) fn requested(field: &[u8], length: u64) -> Requested {
    let Some(specs) = specs(field).filter(|_| length > 0) else { return Requested::Complete };
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
        // An origin may claim any length, so the sum could overflow.
        let sum = parts.iter().fold(0_u64, |sum, (start, end)| sum.saturating_add(end - start));
        if overlaps || sum >= length {
            return Requested::Complete;
        }
    }
    Requested::Parts(parts)
}

/// A `Content-Range` in bytes, as in a 206 response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ContentRange {
    pub(crate) start: u64,
    /// Exclusive.
    pub(crate) end: u64,
    /// The length of the complete body, if known.
    pub(crate) complete: Option<u64>,
}

impl ContentRange {
    /// Parses `bytes 0-4/10` or `bytes 0-4/*`. Returns `None` for anything else.
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

    /// Formats the range as a field value.
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

/// Parses the range specs of a `bytes` range. Returns `None` if any of them is invalid, because the complete field is
/// then ignored (RFC 9110 section 14.2).
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

/// Parses `1*DIGIT`. A number that does not fit becomes `u64::MAX`.
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
mod tests;
