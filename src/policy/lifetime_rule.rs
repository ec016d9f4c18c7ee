//! What the operator says of freshness where the origin's word is not enough: a lifetime of one's own, a cap,
//! or how long an error is remembered.

use std::time::Duration;

use http::StatusCode;

use crate::target::Target;

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
/// stored for any other reason, stays what it is. Of several rules that match, the first counts.
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
    path: String,
    statuses: Vec<u16>,
}

impl LifetimeRule {
    /// A rule for every response.
    #[must_use]
    pub fn new(lifetime: Lifetime) -> Self {
        Self { lifetime, host: "*".to_owned(), path: "*".to_owned(), statuses: Vec::new() }
    }

    /// For hosts that match this pattern alone: `*` stands for any letters, dots among them. Capitals do not
    /// matter, and neither does the port. Default: every host.
    #[must_use]
    pub fn host(mut self, pattern: impl Into<String>) -> Self {
        self.host = pattern.into().to_ascii_lowercase();
        self
    }

    /// For paths that match this pattern alone: `*` stands for any letters, slashes among them. The query is
    /// no part of the path. Default: every path.
    #[must_use]
    pub fn path(mut self, pattern: impl Into<String>) -> Self {
        self.path = pattern.into();
        self
    }

    /// For this status, beside those named before. Default: every status.
    #[must_use]
    pub fn status(mut self, status: u16) -> Self {
        self.statuses.push(status);
        self
    }

    fn matches(&self, target: &Target, status: StatusCode) -> bool {
        (self.statuses.is_empty() || self.statuses.contains(&status.as_u16()))
            && glob(self.host.as_bytes(), target.host().as_bytes())
            && glob(self.path.as_bytes(), target.path().as_bytes())
    }
}

/// What the first rule that matches does.
pub(crate) fn lifetime_rule(rules: &[LifetimeRule], target: &Target, status: StatusCode) -> Option<Lifetime> {
    rules.iter().find(|rule| rule.matches(target, status)).map(|rule| rule.lifetime)
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
    pub(crate) fn gives_one(self) -> bool {
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
            let target = Target::parse(url).unwrap();
            let found = lifetime_rule(&rules, &target, StatusCode::from_u16(status).unwrap());
            assert_eq!(found, expected, "{url} {status}");
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
