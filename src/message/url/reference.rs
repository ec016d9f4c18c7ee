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
mod tests;
