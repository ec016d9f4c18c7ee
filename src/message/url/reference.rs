//! Relative references (RFC 3986 section 5.2).

use super::CanonicalUrl;
use super::canonical::LONGEST;

impl CanonicalUrl {
    /// What `reference` names, seen from this URL: an absolute URL, or a relative one as they stand
    /// in `Location`. None if that is not an `http` or `https` URL that can be fetched.
    ///
    /// ```
    /// use forwardcache::CanonicalUrl;
    ///
    /// let base = CanonicalUrl::parse("http://example.com/a/b?c")?;
    /// assert_eq!(base.join("../d").unwrap().as_str(), "http://example.com/d");
    /// assert_eq!(base.join("mailto:someone@example.com"), None);
    /// # Ok::<(), forwardcache::InvalidUrl>(())
    /// ```
    #[must_use]
    pub fn join(&self, reference: &str) -> Option<Self> {
        if reference.len() > LONGEST {
            return None;
        }
        let reference = reference.split_once('#').map_or(reference, |(before, _fragment)| before);
        if has_scheme(reference) {
            return Self::parse(reference).ok();
        }
        let (scheme, authority, path) = (self.scheme(), self.authority(), self.path());
        let url = if reference.starts_with("//") {
            format!("{scheme}:{reference}")
        } else if reference.starts_with('/') {
            format!("{scheme}://{authority}{reference}")
        } else if reference.starts_with('?') {
            format!("{scheme}://{authority}{path}{reference}")
        } else if reference.is_empty() {
            return Some(self.clone());
        } else {
            let directory = &path[..=path.rfind('/')?];
            format!("{scheme}://{authority}{directory}{reference}")
        };
        // Parsing removes the dot segments.
        Self::parse(&url).ok()
    }
}

fn has_scheme(reference: &str) -> bool {
    reference.split_once(':').is_some_and(|(scheme, _)| {
        scheme.starts_with(|first: char| first.is_ascii_alphabetic())
            && scheme.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'-' | b'.'))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn joined(reference: &str) -> Option<String> {
        let base = CanonicalUrl::parse("http://a/b/c/d;p?q").unwrap();
        base.join(reference).map(|target| target.to_string())
    }

    /// The table of RFC 3986 section 5.4.1; fragments are gone, and an empty path is `/`.
    #[test]
    fn normal_examples() {
        for (reference, expected) in [
            ("g", "http://a/b/c/g"),
            ("./g", "http://a/b/c/g"),
            ("g/", "http://a/b/c/g/"),
            ("/g", "http://a/g"),
            ("//g", "http://g/"),
            ("?y", "http://a/b/c/d;p?y"),
            ("g?y", "http://a/b/c/g?y"),
            ("#s", "http://a/b/c/d;p?q"),
            ("g#s", "http://a/b/c/g"),
            ("g?y#s", "http://a/b/c/g?y"),
            (";x", "http://a/b/c/;x"),
            ("g;x", "http://a/b/c/g;x"),
            ("g;x?y#s", "http://a/b/c/g;x?y"),
            ("", "http://a/b/c/d;p?q"),
            (".", "http://a/b/c/"),
            ("./", "http://a/b/c/"),
            ("..", "http://a/b/"),
            ("../", "http://a/b/"),
            ("../g", "http://a/b/g"),
            ("../..", "http://a/"),
            ("../../", "http://a/"),
            ("../../g", "http://a/g"),
        ] {
            assert_eq!(joined(reference).as_deref(), Some(expected), "{reference}");
        }
        assert_eq!(joined("g:h"), None);
    }

    /// The table of RFC 3986 section 5.4.2.
    #[test]
    fn abnormal_examples() {
        for (reference, expected) in [
            ("../../../g", "http://a/g"),
            ("../../../../g", "http://a/g"),
            ("/./g", "http://a/g"),
            ("/../g", "http://a/g"),
            ("g.", "http://a/b/c/g."),
            (".g", "http://a/b/c/.g"),
            ("g..", "http://a/b/c/g.."),
            ("..g", "http://a/b/c/..g"),
            ("./../g", "http://a/b/g"),
            ("./g/.", "http://a/b/c/g/"),
            ("g/./h", "http://a/b/c/g/h"),
            ("g/../h", "http://a/b/c/h"),
            ("g;x=1/./y", "http://a/b/c/g;x=1/y"),
            ("g;x=1/../y", "http://a/b/c/y"),
            ("g?y/./x", "http://a/b/c/g?y/./x"),
            ("g?y/../x", "http://a/b/c/g?y/../x"),
            ("g#s/./x", "http://a/b/c/g"),
            ("g#s/../x", "http://a/b/c/g"),
        ] {
            assert_eq!(joined(reference).as_deref(), Some(expected), "{reference}");
        }
        // Strict: the scheme of the base is not taken for one that is there.
        assert_eq!(joined("http:g"), None);
    }

    #[test]
    fn absolute_references_and_those_that_cannot_be_fetched() {
        assert_eq!(joined("HTTPS://Other.example:443").as_deref(), Some("https://other.example/"));
        assert_eq!(joined("./x:y").as_deref(), Some("http://a/b/c/x:y"));
        assert_eq!(joined("?a:b").as_deref(), Some("http://a/b/c/d;p?a:b"));
        assert_eq!(joined("1:2").as_deref(), Some("http://a/b/c/1:2"));
        for reference in ["//", "///g", "//user@g/", "a b", "javascript:alert(1)", "http://h:0/"] {
            assert_eq!(joined(reference), None, "{reference}");
        }
        assert_eq!(joined(&"a".repeat(LONGEST)), None);
    }

    #[test]
    fn a_reference_never_leaves_the_authority_by_its_path() {
        assert_eq!(joined("/.//evil.example/").as_deref(), Some("http://a//evil.example/"));
        assert_eq!(joined("/\\evil.example/").as_deref(), Some("http://a/%5Cevil.example/"));
    }
}
