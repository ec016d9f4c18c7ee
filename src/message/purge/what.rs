//! What is to be purged.

use std::fmt;
use std::time::SystemTime;

use crate::base::error::{Error, ErrorKind, Result, redacted};
use crate::message::url::CanonicalUrl;

/// What is to be purged: one URL, all URLs that begin alike, a cache group of an origin, or everything.
///
/// Of a URL all variants go, and what is kept for each credential. A purge is about what is stored and what
/// is on its way when it is asked for; what is fetched from then on is stored as ever.
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
    pub(crate) what: What,
    /// Only what fetches before this one brought, where it is said.
    before: Option<u64>,
    /// Keys are other texts than URLs: which URLs are stored is told by the responses.
    are_keys_chosen: bool,
    is_soft: bool,
    /// When it was asked for, where that is known.
    at: Option<SystemTime>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum What {
    Url(Box<str>),
    Prefix(Box<str>),
    /// The origin is a canonical URL up to its path.
    Group {
        origin: Box<str>,
        name: Box<str>,
    },
    All,
}

/// The longest name of a group, in bytes. A response names its groups in its head.
const LONGEST_NAME: usize = 4096;

impl Purge {
    fn of(what: What) -> Self {
        Self { what, before: None, are_keys_chosen: false, is_soft: false, at: None }
    }

    /// The same, which removes nothing and marks it as stale: it is validated with its origin when it is asked for next,
    /// and may be served if the origin fails, or while it is refreshed (`stale-while-revalidate`), for as long as that is
    /// allowed from then on.
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

    /// Whether it marks as stale, and removes nothing.
    #[must_use]
    pub fn is_soft(&self) -> bool {
        self.is_soft
    }

    /// The same, asked for at this time.
    #[cfg_attr(not(feature = "peer"), allow(dead_code))]
    pub(crate) fn at(self, at: SystemTime) -> Self {
        Self { at: Some(at), ..self }
    }

    /// When it was asked for.
    #[cfg_attr(not(feature = "peer"), allow(dead_code))]
    pub(crate) fn time(&self) -> Option<SystemTime> {
        self.at
    }

    /// The same, for no response of a later [sequence](crate::StoredResponse::sequence) than this.
    pub(crate) fn before(self, sequence: u64) -> Self {
        Self { before: Some(sequence), ..self }
    }

    /// The same where keys are other texts than URLs.
    pub(crate) fn among_chosen_keys(self) -> Self {
        Self { are_keys_chosen: true, ..self }
    }

    /// Whether the text of a key is the URL that this is about: of a single one it always is.
    #[cfg_attr(not(feature = "peer"), allow(dead_code))]
    pub(crate) fn is_about_keys(&self) -> bool {
        !self.are_keys_chosen || self.single_url().is_some()
    }

    /// Whether it is about responses of this sequence.
    pub(crate) fn is_about_sequence(&self, sequence: u64) -> bool {
        self.before.is_none_or(|before| sequence <= before)
    }

    /// All that is stored of one URL.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::BadUrl`] when it is not an absolute `http` or `https` URL.
    pub fn url(url: &str) -> Result<Self> {
        Ok(Self::of_target(&CanonicalUrl::parse(url)?))
    }

    /// The same of a URL that was read before.
    pub(crate) fn of_target(target: &CanonicalUrl) -> Self {
        Self::of_key(target.as_str())
    }

    /// All that is stored of the URLs that begin with this text, once it is in the form of a [`CanonicalUrl`].
    ///
    /// It holds the scheme, the whole host and the `/` after it, so that nobody who means `https://a.example/`
    /// meets `https://a.example.net/`. It may end anywhere after that, but for where it would be another
    /// prefix in its canonical form: within a percent-escape, or at the dots of a `.` or `..`.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::BadUrl`] when it is no such text.
    pub fn prefix(prefix: &str) -> Result<Self> {
        let bad = |text: &str| Error::new(ErrorKind::BadUrl, format!("no prefix to purge: {text}"));
        let after_scheme = prefix.split_once("://").map_or("", |(_, rest)| rest);
        if !after_scheme.find(['/', '?', '#']).is_some_and(|at| after_scheme[at..].starts_with('/')) {
            return Err(bad("it has to hold scheme, host and the / after it, such as http://example.com/"));
        }
        if prefix.contains('#') {
            return Err(bad("nothing is stored under a fragment"));
        }
        if prefix.char_indices().rev().take(2).any(|(_, letter)| letter == '%') {
            return Err(bad("it ends within a percent-escape"));
        }
        let last_segment = prefix.rsplit('/').next().unwrap_or_default();
        let is_in_path = !prefix.contains('?');
        if is_in_path && matches!(&*last_segment.to_ascii_lowercase().replace("%2e", "."), "." | "..") {
            return Err(bad("it ends in a dot segment"));
        }
        Ok(Self::of(What::Prefix(CanonicalUrl::parse(prefix)?.as_str().into())))
    }

    /// All responses of an origin that named this group in `Cache-Groups` (RFC 9875): the origin is a URL
    /// without path and query. Those of other origins in a group of the same name stay.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::BadUrl`] when the origin is none, and [`ErrorKind::BadOption`] for a name that no group
    /// can have: one with other characters than those of ASCII that can be seen, and spaces.
    pub fn group(origin: &str, name: &str) -> Result<Self> {
        let target = CanonicalUrl::parse(origin)?;
        let is_bare = target.path() == "/" && target.query().is_none() && !origin.contains('#');
        if !is_bare {
            let text = "no origin of a group: it has to be a URL without path and query";
            return Err(Error::new(ErrorKind::BadUrl, text));
        }
        if name.len() > LONGEST_NAME || !name.bytes().all(|byte| matches!(byte, b' '..=b'~')) {
            let text = "no name of a group: it has up to 4096 characters of ASCII that can be seen";
            return Err(Error::new(ErrorKind::BadOption, text));
        }
        let origin = target.as_str().trim_end_matches('/').into();
        Ok(Self::of(What::Group { origin, name: name.into() }))
    }

    /// All that is stored.
    #[must_use]
    pub fn all() -> Self {
        Self::of(What::All)
    }

    /// What is stored under the text of a key, which need not be a URL.
    pub(crate) fn of_key(text: &str) -> Self {
        Self::of(What::Url(text.into()))
    }

    /// Whether it is about everything.
    pub(crate) fn is_of_all(&self) -> bool {
        self.what == What::All
    }

    /// Whether it is about this canonical URL: about what is stored of it, and where a
    /// [group](Self::group_name) is named, about those responses alone that are in it.
    #[must_use]
    pub fn covers(&self, url: &str) -> bool {
        match &self.what {
            What::Url(own) => **own == *url,
            What::Prefix(prefix) => url.starts_with(&**prefix),
            What::Group { origin, .. } => {
                url.strip_prefix(&**origin).is_some_and(|path| path.starts_with('/'))
            }
            What::All => true,
        }
    }

    /// The group that a response has to be in.
    #[must_use]
    pub fn group_name(&self) -> Option<&str> {
        let What::Group { name, .. } = &self.what else { return None };
        Some(name)
    }

    /// The URL, where it is about a single one.
    #[must_use]
    pub fn single_url(&self) -> Option<&str> {
        let What::Url(url) = &self.what else { return None };
        Some(url)
    }

    /// The beginning that the URLs have in common, where it is about that.
    #[must_use]
    pub fn common_prefix(&self) -> Option<&str> {
        let What::Prefix(prefix) = &self.what else { return None };
        Some(prefix)
    }

    /// The origin of the group, without the slash of its path.
    #[must_use]
    pub fn group_origin(&self) -> Option<&str> {
        let What::Group { origin, .. } = &self.what else { return None };
        Some(origin)
    }
}

/// For people, and without what of a URL is not shown in logs.
impl fmt::Display for Purge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_soft {
            f.write_str("softly ")?;
        }
        match &self.what {
            What::Url(url) => f.write_str(&redacted(url)),
            What::Prefix(prefix) => write!(f, "all that begins with {}", redacted(prefix)),
            What::Group { origin, name } => write!(f, "the group {name:?} of {origin}"),
            What::All => f.write_str("everything"),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_url_is_one_in_every_spelling() {
        let purge = Purge::url("HTTP://Example.com:80/%7ea?b#c").unwrap();
        assert!(purge.covers("http://example.com/~a?b"));
        for other in ["http://example.com/~a", "http://example.com/~a?bc", "https://example.com/~a?b"] {
            assert!(!purge.covers(other), "{other}");
        }
        assert_eq!(Purge::url("example.com").unwrap_err().kind(), ErrorKind::BadUrl);
    }

    #[test]
    fn a_prefix_never_leaves_its_host() {
        for (prefix, covered, not_covered) in [
            ("http://a.ex/", "http://a.ex/b?c", "http://a.example/"),
            ("HTTP://A.ex:80/b", "http://a.ex/bc", "http://a.ex/"),
            ("http://a.ex/b/", "http://a.ex/b/", "http://a.ex/b"),
            ("http://a.ex/b?x=", "http://a.ex/b?x=1&y", "http://a.ex/b"),
            ("http://a.ex:8/", "http://a.ex:8/b", "http://a.ex:80/b"),
            ("http://a.ex/%c3%bc", "http://a.ex/%C3%BCa", "http://a.ex/%C3"),
            ("http://a.ex/b/../c", "http://a.ex/cd", "http://a.ex/b/"),
            ("http://a.ex/.well", "http://a.ex/.well-known/x", "http://a.ex/well"),
            ("http://a.ex/a?b/..", "http://a.ex/a?b/../c", "http://a.ex/"),
        ] {
            let purge = Purge::prefix(prefix).unwrap();
            assert!(purge.covers(covered), "{prefix} {covered}");
            assert!(!purge.covers(not_covered), "{prefix} {not_covered}");
        }
        for bad in [
            "",
            "http:",
            "http://",
            "http://a.ex",
            "http://a.ex?b/",
            "http://a.ex#/",
            "http://a.ex/#b",
            "a.ex/",
            "ftp://a.ex/",
            "http://user@a.ex/",
            "http://a.ex/%",
            "http://a.ex/%4",
            "http://a.ex/b/.",
            "http://a.ex/b/..",
            "http://a.ex/b/%2E%2e",
            "http://a.ex/b/.%2e",
        ] {
            assert_eq!(Purge::prefix(bad).unwrap_err().kind(), ErrorKind::BadUrl, "{bad}");
        }
    }

    #[test]
    fn a_group_is_one_origins() {
        for origin in ["https://a.ex", "HTTPS://a.EX:443/"] {
            let purge = Purge::group(origin, "news of today").unwrap();
            assert_eq!(
                (purge.group_name(), purge.group_origin()),
                (Some("news of today"), Some("https://a.ex"))
            );
            assert!(purge.covers("https://a.ex/b") && purge.covers("https://a.ex/"));
            for other in ["http://a.ex/", "https://a.example/", "https://a.ex:8443/", "https://b.a.ex/"] {
                assert!(!purge.covers(other), "{other}");
            }
        }
        for bad in ["a.ex", "https://a.ex/b", "https://a.ex/?b", "https://a.ex/#b"] {
            assert_eq!(Purge::group(bad, "news").unwrap_err().kind(), ErrorKind::BadUrl, "{bad}");
        }
        for bad in ["a\nb", "caf\u{e9}", &"a".repeat(4097)] {
            assert_eq!(Purge::group("https://a.ex", bad).unwrap_err().kind(), ErrorKind::BadOption);
        }
    }

    #[test]
    fn what_may_be_secret_is_not_displayed() {
        for (purge, text) in [
            (Purge::url("http://a.ex/b?secret"), "http://a.ex/b"),
            (Purge::prefix("http://a.ex/b?secret"), "all that begins with http://a.ex/b"),
            (Purge::group("http://a.ex", "news"), "the group \"news\" of http://a.ex"),
            (Ok(Purge::all()), "everything"),
        ] {
            assert_eq!(purge.unwrap().to_string(), text);
        }
    }

    proptest! {
        #[test]
        fn what_goes_on_after_a_prefix_is_covered(start in "[a-z/.~%?=ü]{0,12}", rest in "[a-z0-9~?=]{0,8}") {
            let prefix = format!("http://a.ex/{start}");
            if let Ok(purge) = Purge::prefix(&prefix)
                && let Ok(target) = CanonicalUrl::parse(&format!("{prefix}{rest}"))
            {
                prop_assert!(purge.covers(target.as_str()), "{prefix} {target}");
            }
        }
    }
}
