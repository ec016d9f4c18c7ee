//! `Cache-Groups`: which groups of its origin a response belongs to (RFC 9875 section 2).

use http::HeaderName;

use super::{list, structured};

pub(crate) static CACHE_GROUPS: HeaderName = HeaderName::from_static("cache-groups");

/// The names of the groups; none where the lines of the field are not what they should be.
pub(crate) fn names<'a>(lines: impl Iterator<Item = &'a [u8]>) -> Vec<Vec<u8>> {
    list::join(lines).and_then(|field| structured::strings(&field)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_all_lines_or_of_none() {
        let of = |lines: &[&'static str]| names(lines.iter().map(|line| line.as_bytes()));
        assert_eq!(of(&["\"a\";x=1, \"b c\"", "\"d\""]), [&b"a"[..], b"b c", b"d"]);
        for bad in [&[][..], &[""], &["a"], &["\"a\", b"], &["\"a\"", "b"]] {
            assert!(of(bad).is_empty(), "{bad:?}");
        }
    }
}
