//! `Cache-Groups`: the groups of its origin that a response belongs to (RFC 9875 section 2).

use http::HeaderName;

use super::{list, structured};

pub(crate) static CACHE_GROUPS: HeaderName = HeaderName::from_static("cache-groups");

/// Returns the names of the groups. Returns none if any line of the field is invalid.
pub(crate) fn names<'a>(lines: impl Iterator<Item = &'a [u8]>) -> Vec<Vec<u8>> {
    list::join(lines).and_then(|field| structured::strings(&field)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_invalid_line_invalidates_the_field() {
        let of = |lines: &[&'static str]| names(lines.iter().map(|line| line.as_bytes()));
        assert_eq!(of(&["\"a\";x=1, \"b c\"", "\"d\""]), [&b"a"[..], b"b c", b"d"]);
        for bad in [&[][..], &[""], &["a"], &["\"a\", b"], &["\"a\"", "b"]] {
            assert!(of(bad).is_empty(), "{bad:?}");
        }
    }
}
