//! Which responses a purge removes.

use std::fmt;
use std::time::SystemTime;

use crate::base::error::{Error, ErrorKind, Result};
use crate::base::redacted::redacted;
use crate::message::url::CanonicalUrl;

/// Selects the responses to purge: one URL, all URLs with a prefix, a cache group of an origin, or everything.
///
/// Purging a URL removes all its variants and the responses stored for each credential. A purge affects responses that
/// are stored or being fetched when it is requested; responses fetched later are stored as usual.
///
/// ```
/// use forwardcache::Purge;
///
/// assert!(Purge::url("HTTP://example.com:80/a")?.covers("http://example.com/a"));
/// assert!(Purge::prefix("http://example.com/a/")?.covers("http://example.com/a/b?c"));
/// assert!(Purge::prefix("http://example.co").is_err());
/// assert!(Purge::all().covers("http://example.com/"));
/// # Ok::<(), forwardcache::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Purge {
    pub(crate) scope: PurgeScope,
    /// Limits the purge to responses whose fetch has at most this sequence number.
    before: Option<u64>,
    /// Store keys are not URLs, so the URL of a stored response has to be read from its record.
    are_keys_chosen: bool,
    is_soft: bool,
    /// The time of the request for this purge, if known.
    at: Option<SystemTime>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum PurgeScope {
    Url(Box<str>),
    Prefix(Box<str>),
    /// The origin is a canonical URL up to its path.
    Group {
        origin: Box<str>,
        name: Box<str>,
    },
    All,
}

/// The maximum length of a group's name, in bytes. Responses name their groups in their head.
const MAX_NAME_LENGTH: usize = 4096;

impl Purge {
    fn of(scope: PurgeScope) -> Self {
        Self { scope, before: None, are_keys_chosen: false, is_soft: false, at: None }
    }

    /// Makes this a soft purge: responses stay stored but become stale.
    ///
    /// The next request for such a response validates it with the origin. It may be served stale if the origin fails
    /// or during a refresh (`stale-while-revalidate`); the periods for both start at the purge.
    ///
    /// ```
    /// use forwardcache::Purge;
    ///
    /// assert!(Purge::prefix("https://example.com/news/")?.soft().is_soft());
    /// # Ok::<(), forwardcache::Error>(())
    /// ```
    #[must_use]
    pub fn soft(self) -> Self {
        Self { is_soft: true, ..self }
    }

    /// Returns whether the purge marks responses as stale instead of removing them.
    #[must_use]
    pub fn is_soft(&self) -> bool {
        self.is_soft
    }

    /// Sets the time at which the purge was requested.
    #[cfg_attr(not(feature = "peer"), allow(dead_code))]
    pub(crate) fn at(self, at: SystemTime) -> Self {
        Self { at: Some(at), ..self }
    }

    /// Returns the time at which the purge was requested.
    #[cfg_attr(not(feature = "peer"), allow(dead_code))]
    pub(crate) fn time(&self) -> Option<SystemTime> {
        self.at
    }

    /// Limits the purge to responses whose [sequence](crate::store::StoredResponse::sequence) is at most this one.
    pub(crate) fn before(self, sequence: u64) -> Self {
        Self { before: Some(sequence), ..self }
    }

    /// Marks the purge as one of a store whose keys are not URLs.
    pub(crate) fn with_custom_keys(self) -> Self {
        Self { are_keys_chosen: true, ..self }
    }

    /// Returns whether the keys of the store tell which responses are affected. For a single URL they always do.
    #[cfg_attr(not(feature = "peer"), allow(dead_code))]
    pub(crate) fn matches_by_key(&self) -> bool {
        !self.are_keys_chosen || self.single_url().is_some()
    }

    /// Returns whether responses with this sequence number are affected.
    pub(crate) fn covers_sequence(&self, sequence: u64) -> bool {
        self.before.is_none_or(|before| sequence <= before)
    }

    /// Returns the length of the texts that the purge holds, in bytes.
    #[cfg_attr(not(feature = "redis"), allow(dead_code))]
    pub(crate) fn text_length(&self) -> usize {
        match &self.scope {
            PurgeScope::Url(text) | PurgeScope::Prefix(text) => text.len(),
            PurgeScope::Group { origin, name } => origin.len() + name.len(),
            PurgeScope::All => 0,
        }
    }

    /// Selects all responses of one URL.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::BadUrl`] if `url` is not an absolute `http` or `https` URL.
    pub fn url(url: &str) -> Result<Self> {
        Ok(Self::of_target(&CanonicalUrl::parse(url)?))
    }

    /// Selects all responses of a URL that is already parsed.
    pub(crate) fn of_target(target: &CanonicalUrl) -> Self {
        Self::of_key(target.as_str())
    }

    /// Selects all responses whose canonical URL starts with the canonical form of `prefix`.
    ///
    /// The prefix must contain the scheme, the complete host and the `/` after it, so `https://a.example/` never
    /// covers `https://a.example.net/`. It may end anywhere after that, except where its canonical form would be a
    /// different prefix: within a percent-escape or after a `.` or `..` segment.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::BadUrl`] if `prefix` does not have this form.
    pub fn prefix(prefix: &str) -> Result<Self> {
        let bad = |text: &str| Error::new(ErrorKind::BadUrl, format!("invalid purge prefix: {text}"));
        let after_scheme = prefix.split_once("://").map_or("", |(_, rest)| rest);
        if !after_scheme.find(['/', '?', '#']).is_some_and(|at| after_scheme[at..].starts_with('/')) {
            return Err(bad("it must contain scheme, host and the / after it, such as http://example.com/"));
        }
        if prefix.contains('#') {
            return Err(bad("it must not contain a fragment"));
        }
        if prefix.char_indices().rev().take(2).any(|(_, letter)| letter == '%') {
            return Err(bad("it must not end within a percent-escape"));
        }
        let last_segment = prefix.rsplit('/').next().unwrap_or_default();
        let is_in_path = !prefix.contains('?');
        if is_in_path && matches!(&*last_segment.to_ascii_lowercase().replace("%2e", "."), "." | "..") {
            return Err(bad("it must not end in a dot segment"));
        }
        Ok(Self::of(PurgeScope::Prefix(CanonicalUrl::parse(prefix)?.as_str().into())))
    }

    /// Selects all responses of an origin that listed the group `name` in `Cache-Groups` (RFC 9875). `origin` is a URL
    /// without path and query. Responses of other origins are not affected, even in a group of the same name.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::BadUrl`] if `origin` is not such a URL, and [`ErrorKind::BadOption`] if `name` contains other
    /// characters than visible ASCII and spaces or has more than 4096 bytes.
    pub fn group(origin: &str, name: &str) -> Result<Self> {
        let target = CanonicalUrl::parse(origin)?;
        let is_bare = target.path() == "/" && target.query().is_none() && !origin.contains('#');
        if !is_bare {
            let text = "invalid origin of a cache group: it must be a URL without path, query and fragment";
            return Err(Error::new(ErrorKind::BadUrl, text));
        }
        if name.len() > MAX_NAME_LENGTH || !name.bytes().all(|byte| matches!(byte, b' '..=b'~')) {
            let text =
                "invalid name of a cache group: it may have up to 4096 visible ASCII characters and spaces";
            return Err(Error::new(ErrorKind::BadOption, text));
        }
        let origin = target.as_str().trim_end_matches('/').into();
        Ok(Self::of(PurgeScope::Group { origin, name: name.into() }))
    }

    /// Selects all responses.
    #[must_use]
    pub fn all() -> Self {
        Self::of(PurgeScope::All)
    }

    /// Selects the responses under a store key, which need not be a URL.
    pub(crate) fn of_key(text: &str) -> Self {
        Self::of(PurgeScope::Url(text.into()))
    }

    /// Returns whether the purge affects all responses.
    pub(crate) fn is_of_all(&self) -> bool {
        self.scope == PurgeScope::All
    }

    /// Returns whether the purge affects this canonical URL. With a [group](Self::group_name), only the URL's
    /// responses in that group are affected.
    #[must_use]
    pub fn covers(&self, url: &str) -> bool {
        match &self.scope {
            PurgeScope::Url(own) => **own == *url,
            PurgeScope::Prefix(prefix) => url.starts_with(&**prefix),
            PurgeScope::Group { origin, .. } => {
                url.strip_prefix(&**origin).is_some_and(|path| path.starts_with('/'))
            }
            PurgeScope::All => true,
        }
    }

    /// Returns the name of the group that affected responses must belong to.
    #[must_use]
    pub fn group_name(&self) -> Option<&str> {
        let PurgeScope::Group { name, .. } = &self.scope else { return None };
        Some(name)
    }

    /// Returns the URL if the purge affects a single URL.
    #[must_use]
    pub fn single_url(&self) -> Option<&str> {
        let PurgeScope::Url(url) = &self.scope else { return None };
        Some(url)
    }

    /// Returns the prefix if the purge affects all URLs with a prefix.
    #[must_use]
    pub fn common_prefix(&self) -> Option<&str> {
        let PurgeScope::Prefix(prefix) = &self.scope else { return None };
        Some(prefix)
    }

    /// Returns the origin of the group, without a trailing slash.
    #[must_use]
    pub fn group_origin(&self) -> Option<&str> {
        let PurgeScope::Group { origin, .. } = &self.scope else { return None };
        Some(origin)
    }
}

/// Formats the purge for logs, without those parts of URLs that may contain secrets.
impl fmt::Display for Purge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_soft {
            f.write_str("softly ")?;
        }
        match &self.scope {
            PurgeScope::Url(url) => f.write_str(&redacted(url)),
            PurgeScope::Prefix(prefix) => write!(f, "all that begins with {}", redacted(prefix)),
            PurgeScope::Group { origin, name } => write!(f, "the group {name:?} of {origin}"),
            PurgeScope::All => f.write_str("everything"),
        }
    }
}

#[cfg(test)]
mod tests;
