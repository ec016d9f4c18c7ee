//! Relative references (RFC 3986 section 5.2).

use std::borrow::Cow;

use super::CanonicalUrl;
use super::canonical::MAX_LENGTH;
use super::normalization::push_escape;

impl CanonicalUrl {
    /// Resolves `reference`, an absolute or relative reference as in `Location`, against this URL (RFC 3986 section
    /// 5.2). Returns `None` if the result is not a valid `http` or `https` URL.
    ///
    /// ```
    /// use forwardcache::origin::CanonicalUrl;
    ///
    /// let base = CanonicalUrl::parse("http://example.com/a/b?c")?;
    /// assert_eq!(base.join("../d").unwrap().as_str(), "http://example.com/d");
    /// assert_eq!(base.join("mailto:someone@example.com"), None);
    /// # Ok::<(), forwardcache::origin::InvalidUrl>(())
    /// ```
    #[must_use]
    pub fn join(&self, reference: &str) -> Option<Self> {
        if reference.len() > MAX_LENGTH {
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

    /// Like [`join`](Self::join), for the value of a header field: see [`reference()`].
    pub(crate) fn join_field(&self, value: &[u8]) -> Option<Self> {
        self.join(&reference(value))
    }
}

/// Returns the reference in a header field such as `Location`. Bytes that a reference must not contain, but that many servers
/// send, are escaped as browsers do: spaces, and all bytes outside ASCII.
pub(crate) fn reference(value: &[u8]) -> Cow<'_, str> {
    let value = value.trim_ascii();
    match str::from_utf8(value) {
        Ok(text) if value.iter().all(u8::is_ascii_graphic) => Cow::Borrowed(text),
        _ => {
            let mut text = String::with_capacity(value.len() + 16);
            for byte in value {
                if byte.is_ascii_graphic() {
                    text.push(char::from(*byte));
                } else {
                    push_escape(&mut text, *byte);
                }
            }
            Cow::Owned(text)
        }
    }
}

/// Returns whether a reference begins with a scheme.
pub(crate) fn has_scheme(reference: &str) -> bool {
    reference.split_once(':').is_some_and(|(scheme, _)| {
        scheme.starts_with(|first: char| first.is_ascii_alphabetic())
            && scheme.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'-' | b'.'))
    })
}

#[cfg(test)]
mod tests;
