//! The operator's lifetime rules: a fixed lifetime, a minimum, or a cap, by host, path and status.

use std::time::Duration;

use http::StatusCode;

use crate::message::header::cache_control::ResponseDirectives;
use crate::message::url::CanonicalUrl;

/// The effect of a rule on a freshness lifetime.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Lifetime {
    /// Replaces the lifetime by this one.
    Exactly(Duration),
    /// Raises a shorter lifetime to this one.
    AtLeast(Duration),
    /// Caps a longer lifetime at this one.
    AtMost(Duration),
}

/// A rule on the freshness lifetime of responses, selected by URL and status.
///
/// The rule changes for how long a response is fresh, never whether it may be stored or reused. Directives such as
/// `no-store`, `no-cache` and `private` keep their effect, unless the rule [overrides](Self::override_no_store) them.
/// If several rules match, the first one applies. For the text form, see [`FromStr`](#impl-FromStr-for-LifetimeRule).
///
/// ```
/// use std::time::Duration;
/// use forwardcache::policy::{Lifetime, LifetimeRule, Rules};
///
/// let rules = Rules::default().lifetimes([
///     // At least an hour for the pictures of a host without useful lifetimes.
///     LifetimeRule::new(Lifetime::AtLeast(Duration::from_secs(3600))).host("*.example.com").path("/images/*"),
///     // Remember 404 for ten seconds, for all hosts.
///     LifetimeRule::new(Lifetime::Exactly(Duration::from_secs(10))).status(404),
///     // Keep no response fresh for longer than a day.
///     LifetimeRule::new(Lifetime::AtMost(Duration::from_secs(86_400))),
/// ]);
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
    /// Creates a rule for all successful responses; for [`AtMost`](Lifetime::AtMost), for all responses.
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

    /// Limits the rule to hosts that match this pattern, ignoring case. `*` matches any characters, including dots. A
    /// pattern with a port, such as `example.com:8443`, matches only that port; otherwise it matches all ports.
    /// Default: all hosts.
    #[must_use]
    pub fn host(mut self, pattern: impl Into<String>) -> Self {
        let pattern = pattern.into().to_ascii_lowercase();
        let (host, port) = host_and_port(&pattern);
        let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
        (self.host, self.port) = (host.to_owned(), port);
        self
    }

    /// Limits the rule to paths that match this pattern. `*` matches any characters, including slashes. A pattern that
    /// ends with `/` also matches all paths below it. The path does not include the query. Default: all paths.
    #[must_use]
    pub fn path(mut self, pattern: impl Into<String>) -> Self {
        self.path = pattern.into();
        self
    }

    /// Adds a status to which the rule applies. Default: successes (200 to 299); for [`AtMost`](Lifetime::AtMost), all
    /// statuses.
    #[must_use]
    pub fn status(mut self, status: u16) -> Self {
        self.statuses.push(status);
        self
    }

    /// Stores responses with `no-store` too, for origins that are known to send it by mistake. Default: `no-store` is
    /// honoured.
    #[must_use]
    pub fn override_no_store(mut self) -> Self {
        self.overrides_no_store = true;
        self
    }

    /// Ignores `private` in responses: shared mode stores such a response, and private mode serves it to requests with
    /// other cookies. **A user may get a response that was generated for another user**, unless the origin sends
    /// `private` by mistake. Default: only private mode stores such a response, separately for each cookie.
    #[must_use]
    pub fn override_private(mut self) -> Self {
        self.overrides_private = true;
        self
    }

    pub(super) fn lifetime(&self) -> Lifetime {
        self.lifetime
    }

    /// Returns whether the rule sets a lifetime for responses without one.
    pub(crate) fn gives_lifetime(&self) -> bool {
        self.lifetime.is_positive_minimum()
    }

    /// Removes the directives that this rule overrides.
    pub(crate) fn override_directives(&self, directives: &mut ResponseDirectives) {
        directives.no_store &= !self.overrides_no_store;
        if self.overrides_private {
            directives.private = false;
            directives.private_fields.clear();
        }
    }

    fn matches(&self, target: &CanonicalUrl, status: StatusCode) -> bool {
        let matches_status = match self.lifetime {
            _ if !self.statuses.is_empty() => self.statuses.contains(&status.as_u16()),
            Lifetime::AtMost(_) => true,
            Lifetime::Exactly(_) | Lifetime::AtLeast(_) => status.is_success(),
        };
        let (pattern, path) = (self.path.as_bytes(), target.path().as_bytes());
        matches_status
            && self.port.is_none_or(|port| port == target.port())
            && glob(self.host.as_bytes(), target.host().as_bytes())
            && (glob(pattern, path) || (pattern.ends_with(b"/") && glob(&[pattern, b"*"].concat(), path)))
    }
}

/// Returns the first rule that matches.
pub(crate) fn lifetime_rule<'a>(
    rules: &'a [LifetimeRule],
    target: &CanonicalUrl,
    status: StatusCode,
) -> Option<&'a LifetimeRule> {
    rules.iter().find(|rule| rule.matches(target, status))
}

/// Splits a host pattern into host and port. An IPv6 address needs brackets if a port follows.
pub(super) fn host_and_port(pattern: &str) -> (&str, Option<u16>) {
    let split = pattern.rsplit_once(':').filter(|(host, _)| !host.contains(':') || host.ends_with(']'));
    let number = |port: &str| port.parse().ok().filter(|port| *port > 0);
    match split.and_then(|(host, port)| Some((host, number(port)?))) {
        Some((host, port)) => (host, Some(port)),
        None => (pattern, None),
    }
}

impl Lifetime {
    /// Applies the rule to the lifetime of a response.
    pub(crate) fn of(self, original: Duration) -> Duration {
        match self {
            Self::Exactly(lifetime) => lifetime,
            Self::AtLeast(least) => original.max(least),
            Self::AtMost(most) => original.min(most),
        }
    }

    /// Returns whether the rule sets a lifetime for responses without one.
    fn is_positive_minimum(self) -> bool {
        matches!(self, Self::Exactly(lifetime) | Self::AtLeast(lifetime) if !lifetime.is_zero())
    }
}

/// Returns whether a text matches a pattern in which `*` matches any bytes. On a mismatch, the matcher goes back only
/// to the last `*`, so that no pattern takes exponential time.
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
        } else if let Some((star, start)) = last_star {
            at = star + 1;
            position = start + 1;
            last_star = Some((star, start + 1));
        } else {
            return false;
        }
    }
    pattern[at..].iter().all(|byte| *byte == b'*')
}

#[cfg(test)]
mod tests;
