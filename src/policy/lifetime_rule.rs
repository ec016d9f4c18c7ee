//! What the operator says of freshness where the origin's word is not enough: a lifetime of one's own, a cap,
//! or how long an error is remembered.

use std::time::Duration;

use http::StatusCode;

use crate::message::header::cache_control::ResponseDirectives;
use crate::message::url::CanonicalUrl;

/// What a rule does to a freshness lifetime.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Lifetime {
    /// It is this long, whatever the origin says of its length.
    Exactly(Duration),
    /// It is at least this long.
    AtLeast(Duration),
    /// It is at most this long: a cap.
    AtMost(Duration),
}

/// A rule on the freshness lifetime of responses, by where they come from and by their status.
///
/// It is about how long, never about whether: what says `no-store`, `no-cache` or `private`, or is not to be
/// stored for any other reason, stays what it is, unless the rule [overrides](Self::override_no_store) that. Of several
/// rules that match, the first counts. As text, see [`FromStr`](#impl-FromStr-for-LifetimeRule).
///
/// ```
/// use std::time::Duration;
/// use forwardcache::{Lifetime, LifetimeRule, Rules};
///
/// let mut rules = Rules::default();
/// rules.lifetimes = vec![
///     // An hour for the pictures of a host that says nothing useful.
///     LifetimeRule::new(Lifetime::AtLeast(Duration::from_secs(3600))).host("*.example.com").path("/images/*"),
///     // What is not there is remembered for ten seconds, wherever it is not.
///     LifetimeRule::new(Lifetime::Exactly(Duration::from_secs(10))).status(404),
///     // Nothing for longer than a day.
///     LifetimeRule::new(Lifetime::AtMost(Duration::from_secs(86_400))),
/// ];
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LifetimeRule {
    lifetime: Lifetime,
    host: String,
    port: Option<u16>,
    path: String,
    statuses: Vec<u16>,
    overrides_no_store: bool,
    overrides_private: bool,
}

impl LifetimeRule {
    /// A rule for every success; an [`AtMost`](Lifetime::AtMost), for every response.
    #[must_use]
    pub fn new(lifetime: Lifetime) -> Self {
        Self {
            lifetime,
            host: "*".to_owned(),
            port: None,
            path: "*".to_owned(),
            statuses: Vec::new(),
            overrides_no_store: false,
            overrides_private: false,
        }
    }

    /// For hosts that match this pattern alone: `*` stands for any letters, dots among them. Capitals do not
    /// matter. With a port, as in `example.com:8443`, it is for that port alone; without, for every port. Default: every
    /// host.
    #[must_use]
    pub fn host(mut self, pattern: impl Into<String>) -> Self {
        let pattern = pattern.into().to_ascii_lowercase();
        let (host, port) = host_and_port(&pattern);
        let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
        (self.host, self.port) = (host.to_owned(), port);
        self
    }

    /// For paths that match this pattern alone: `*` stands for any letters, slashes among them. One that ends with `/`
    /// also matches everything below it. The query is no part of the path. Default: every path.
    #[must_use]
    pub fn path(mut self, pattern: impl Into<String>) -> Self {
        self.path = pattern.into();
        self
    }

    /// For this status, beside those named before. Default: successes (200 to 299); of an
    /// [`AtMost`](Lifetime::AtMost), every status.
    #[must_use]
    pub fn status(mut self, status: u16) -> Self {
        self.statuses.push(status);
        self
    }

    /// Stores responses that say `no-store` too. The origin meant them not to be stored: this is for origins that are
    /// known to say so by mistake. Default: they are not stored.
    #[must_use]
    pub fn override_no_store(mut self) -> Self {
        self.overrides_no_store = true;
        self
    }

    /// Takes responses that say `private` for responses that do not: shared mode stores them, and private mode gives them
    /// to requests with other cookies. **One user is given what was made for another one**, unless the origin says
    /// `private` by mistake. Default: they are stored in private mode alone, and kept apart.
    #[must_use]
    pub fn override_private(mut self) -> Self {
        self.overrides_private = true;
        self
    }

    pub(super) fn lifetime(&self) -> Lifetime {
        self.lifetime
    }

    /// Whether it gives a lifetime to what has none.
    pub(crate) fn gives_lifetime(&self) -> bool {
        self.lifetime.gives_one()
    }

    /// Takes out of the directives of a response what it overrides.
    pub(crate) fn override_directives(&self, directives: &mut ResponseDirectives) {
        directives.no_store &= !self.overrides_no_store;
        if self.overrides_private {
            directives.private = false;
            directives.private_fields.clear();
        }
    }

    fn matches(&self, target: &CanonicalUrl, status: StatusCode) -> bool {
        let is_meant = match self.lifetime {
            _ if !self.statuses.is_empty() => self.statuses.contains(&status.as_u16()),
            Lifetime::AtMost(_) => true,
            Lifetime::Exactly(_) | Lifetime::AtLeast(_) => status.is_success(),
        };
        let (path, asked) = (self.path.as_bytes(), target.path().as_bytes());
        is_meant
            && self.port.is_none_or(|port| port == target.port())
            && glob(self.host.as_bytes(), target.host().as_bytes())
            && (glob(path, asked) || (path.ends_with(b"/") && glob(&[path, b"*"].concat(), asked)))
    }
}

/// The first rule that matches.
pub(crate) fn lifetime_rule<'a>(
    rules: &'a [LifetimeRule],
    target: &CanonicalUrl,
    status: StatusCode,
) -> Option<&'a LifetimeRule> {
    rules.iter().find(|rule| rule.matches(target, status))
}

/// A pattern of hosts, and the port behind it. An IPv6 address with a port has brackets.
pub(super) fn host_and_port(pattern: &str) -> (&str, Option<u16>) {
    let split = pattern.rsplit_once(':').filter(|(host, _)| !host.contains(':') || host.ends_with(']'));
    let number = |port: &str| port.parse().ok().filter(|port| *port > 0);
    match split.and_then(|(host, port)| Some((host, number(port)?))) {
        Some((host, port)) => (host, Some(port)),
        None => (pattern, None),
    }
}

impl Lifetime {
    /// The lifetime under this rule.
    pub(crate) fn of(self, said: Duration) -> Duration {
        match self {
            Self::Exactly(lifetime) => lifetime,
            Self::AtLeast(least) => said.max(least),
            Self::AtMost(most) => said.min(most),
        }
    }

    /// Whether it gives a lifetime to what has none.
    fn gives_one(self) -> bool {
        matches!(self, Self::Exactly(lifetime) | Self::AtLeast(lifetime) if !lifetime.is_zero())
    }
}

/// Whether a text matches a pattern in which `*` stands for any bytes. Linear but for going back to the last
/// `*`, so that no pattern makes it slow.
fn glob(pattern: &[u8], text: &[u8]) -> bool {
    let (mut at, mut position) = (0, 0);
    let mut last_star = None;
    while position < text.len() {
        if pattern.get(at) == Some(&b'*') {
            last_star = Some((at, position));
            at += 1;
        } else if pattern.get(at) == Some(&text[position]) {
            at += 1;
            position += 1;
        } else if let Some((star, began)) = last_star {
            at = star + 1;
            position = began + 1;
            last_star = Some((star, began + 1));
        } else {
            return false;
        }
    }
    pattern[at..].iter().all(|byte| *byte == b'*')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const HOUR: Duration = Duration::from_secs(3600);

    #[test]
    fn the_first_rule_that_matches_counts() {
        let rules = [
            LifetimeRule::new(Lifetime::Exactly(HOUR)).host("*.Example.com").path("/images/*").status(200),
            LifetimeRule::new(Lifetime::AtLeast(HOUR)).status(404).status(410),
            LifetimeRule::new(Lifetime::AtMost(HOUR)).host("example.com"),
        ];
        for (url, status, expected) in [
            ("http://a.example.com/images/b/c.png?x=/other", 200, Some(Lifetime::Exactly(HOUR))),
            ("https://a.example.com:8443/images/c.png", 200, Some(Lifetime::Exactly(HOUR))),
            ("http://a.example.com/images/c.png", 404, Some(Lifetime::AtLeast(HOUR))),
            ("http://a.example.com/other", 200, None),
            ("http://example.com/images/c.png", 200, Some(Lifetime::AtMost(HOUR))),
            ("http://example.org/", 410, Some(Lifetime::AtLeast(HOUR))),
        ] {
            let target = CanonicalUrl::parse(url).unwrap();
            let found = lifetime_rule(&rules, &target, StatusCode::from_u16(status).unwrap());
            assert_eq!(found.map(|rule| rule.lifetime), expected, "{url} {status}");
        }
    }

    #[test]
    fn without_a_status_only_successes_are_given_a_lifetime() {
        for (lifetime, of_errors) in [
            (Lifetime::AtLeast(HOUR), false),
            (Lifetime::Exactly(HOUR), false),
            (Lifetime::AtMost(HOUR), true),
        ] {
            let (rule, target) = (LifetimeRule::new(lifetime), CanonicalUrl::parse("http://a.ex/").unwrap());
            for (status, expected) in
                [(200, true), (206, true), (301, of_errors), (404, of_errors), (500, of_errors)]
            {
                let status = StatusCode::from_u16(status).unwrap();
                assert_eq!(rule.matches(&target, status), expected, "{lifetime:?} {status}");
            }
            assert!(rule.status(404).matches(&target, StatusCode::NOT_FOUND));
        }
    }

    #[test]
    fn a_port_and_what_is_below_a_path_are_matched() {
        let rule = |host: &str, path: &str| LifetimeRule::new(Lifetime::AtMost(HOUR)).host(host).path(path);
        for (host, path, url, expected) in [
            ("a.ex:8443", "*", "https://a.ex:8443/", true),
            ("a.ex:8443", "*", "https://a.ex/", false),
            ("a.ex:443", "*", "https://a.ex/", true),
            ("a.ex:443", "*", "http://a.ex/", false),
            ("*:80", "*", "http://b.ex/", true),
            ("[::1]:81", "*", "http://[::1]:81/", true),
            ("[::1]", "*", "http://[::1]:81/", true),
            ("::1", "*", "http://[::1]/", true),
            ("*", "/v1/", "http://a.ex/v1/", true),
            ("*", "/v1/", "http://a.ex/v1/b/c?d", true),
            ("*", "/v1/", "http://a.ex/v1", false),
            ("*", "/v*/", "http://a.ex/v2/x", true),
            ("*", "/v1", "http://a.ex/v1/b", false),
        ] {
            let target = CanonicalUrl::parse(url).unwrap();
            assert_eq!(rule(host, path).matches(&target, StatusCode::OK), expected, "{host} {path} {url}");
        }
    }

    #[test]
    fn what_a_rule_does() {
        assert_eq!(Lifetime::Exactly(HOUR).of(HOUR * 2), HOUR);
        assert_eq!(Lifetime::AtLeast(HOUR).of(HOUR / 2), HOUR);
        assert_eq!(Lifetime::AtLeast(HOUR).of(HOUR * 2), HOUR * 2);
        assert_eq!(Lifetime::AtMost(HOUR).of(HOUR * 2), HOUR);
    }

    proptest! {
        /// The twin tries every way to divide the text.
        #[test]
        fn a_pattern_matches_as_its_naive_twin(pattern in "[ab*]{0,6}", text in "[ab]{0,8}") {
            fn naive(pattern: &[u8], text: &[u8]) -> bool {
                match pattern.split_first() {
                    None => text.is_empty(),
                    Some((b'*', rest)) => (0..=text.len()).any(|skip| naive(rest, &text[skip..])),
                    Some((byte, rest)) => text.split_first().is_some_and(|(first, text)| first == byte && naive(rest, text)),
                }
            }
            prop_assert_eq!(glob(pattern.as_bytes(), text.as_bytes()), naive(pattern.as_bytes(), text.as_bytes()));
        }
    }
}
