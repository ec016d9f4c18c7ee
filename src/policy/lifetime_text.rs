//! Parses the text form of a lifetime rule.

use std::error::Error as StdError;
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use super::lifetime_rule::{Lifetime, LifetimeRule, host_and_port};

/// Parses words such as `host=api.example.com path=/v1/ status=200 at-least=1h`, in any order:
///
/// | word | meaning | default |
/// |---|---|---|
/// | `host=PATTERN` or `host=PATTERN:PORT` | see [`LifetimeRule::host`] | all hosts |
/// | `path=PATTERN` | see [`LifetimeRule::path`] | all paths |
/// | `status=CODE,...` | see [`LifetimeRule::status`] | successes; for `at-most`, all |
/// | `exactly=TIME`, `at-least=TIME`, `at-most=TIME` | the [`Lifetime`]; exactly one is required | |
/// | `override=WORD,...` | `no-store`, `private`: see [`LifetimeRule::override_no_store`] | none |
///
/// A time is a whole number with the unit `s`, `m`, `h`, `d` or `w`. Without a unit, it is in seconds.
///
/// ```
/// use std::time::Duration;
///
/// use forwardcache::policy::{Lifetime, LifetimeRule};
///
/// let rule: LifetimeRule = "host=api.example.com path=/v1/ status=200 at-least=1h".parse()?;
/// let same = LifetimeRule::new(Lifetime::AtLeast(Duration::from_secs(3600)));
/// assert_eq!(rule, same.host("api.example.com").path("/v1/").status(200));
/// let error = "host=api.example.com".parse::<LifetimeRule>().unwrap_err();
/// assert_eq!(error.to_string(), "the lifetime is missing: add exactly=, at-least= or at-most=, as in at-least=1h");
/// # Ok::<(), forwardcache::policy::BadLifetimeRule>(())
/// ```
impl FromStr for LifetimeRule {
    type Err = BadLifetimeRule;

    fn from_str(text: &str) -> Result<Self, BadLifetimeRule> {
        let (mut lifetime, mut host, mut path) = (None, None, None);
        let (mut statuses, mut overrides) = (Vec::new(), Vec::new());
        for word in text.split_whitespace() {
            let (name, value) =
                word.split_once('=').ok_or_else(|| bad(format!("{word:?} is not of the form NAME=VALUE")))?;
            let twice = || bad(format!("{name} is given twice"));
            let is_new = match name {
                "host" => host.replace(host_pattern(value)?).is_none(),
                "path" => path.replace(path_pattern(value)?).is_none(),
                "exactly" => lifetime.replace(Lifetime::Exactly(time(word, value)?)).is_none(),
                "at-least" => lifetime.replace(Lifetime::AtLeast(time(word, value)?)).is_none(),
                "at-most" => lifetime.replace(Lifetime::AtMost(time(word, value)?)).is_none(),
                "status" => {
                    for code in value.split(',') {
                        statuses.push(status(code)?);
                    }
                    true
                }
                "override" => {
                    overrides.extend(value.split(','));
                    true
                }
                _ => {
                    let known = "host, path, status, exactly, at-least, at-most and override";
                    return Err(bad(format!("unknown word {name:?}: use {known}")));
                }
            };
            if !is_new && matches!(name, "host" | "path") {
                return Err(twice());
            }
            if !is_new {
                return Err(bad("give only one of exactly=, at-least= and at-most=".to_owned()));
            }
        }
        let missing = "the lifetime is missing: add exactly=, at-least= or at-most=, as in at-least=1h";
        let mut rule = Self::new(lifetime.ok_or_else(|| bad(missing.to_owned()))?);
        rule = host.into_iter().fold(rule, Self::host);
        rule = path.into_iter().fold(rule, Self::path);
        rule = statuses.into_iter().fold(rule, Self::status);
        for word in overrides {
            rule = match word {
                "no-store" => rule.override_no_store(),
                "private" => rule.override_private(),
                _ => {
                    return Err(bad(format!("override={word}: only no-store and private can be overridden")));
                }
            };
        }
        Ok(rule)
    }
}

fn host_pattern(value: &str) -> Result<String, BadLifetimeRule> {
    let bad = |problem: &str| bad(format!("host={value}: {problem}"));
    if value.is_empty() || value.contains('/') || value.contains('@') || value.contains('?') {
        return Err(bad("give a host or a pattern such as *.example.com, without scheme and path"));
    }
    match host_and_port(value) {
        (host, Some(_)) if !host.is_empty() => Ok(value.to_owned()),
        // A host with a colon but without a port is an IPv6 address, or an error.
        (host, None) if !host.contains(':') || is_ipv6(host) => Ok(value.to_owned()),
        _ => Err(bad("the port is not a number from 1 to 65535")),
    }
}

fn is_ipv6(host: &str) -> bool {
    host.trim_start_matches('[').trim_end_matches(']').parse::<std::net::Ipv6Addr>().is_ok()
}

fn path_pattern(value: &str) -> Result<String, BadLifetimeRule> {
    if !value.starts_with(['/', '*']) {
        return Err(bad(format!("path={value}: a path must begin with / or *")));
    }
    if value.contains(['?', '#']) {
        return Err(bad(format!("path={value}: remove the query, which is not part of the path")));
    }
    Ok(value.to_owned())
}

fn status(code: &str) -> Result<u16, BadLifetimeRule> {
    let code_of = |code: &str| code.parse().ok().filter(|code| (200..=599).contains(code));
    code_of(code).ok_or_else(|| bad(format!("status={code}: a status must be a number from 200 to 599")))
}

fn time(word: &str, value: &str) -> Result<Duration, BadLifetimeRule> {
    let digits = value.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = value.split_at(digits);
    let seconds: Option<u64> = match unit {
        "" | "s" => Some(1),
        "m" => Some(60),
        "h" => Some(60 * 60),
        "d" => Some(24 * 60 * 60),
        "w" => Some(7 * 24 * 60 * 60),
        _ => None,
    };
    // RFC 9111 section 1.2.2: caches may treat all greater ages alike.
    let time =
        seconds.zip(number.parse().ok()).and_then(|(unit, number): (u64, u64)| unit.checked_mul(number));
    let time = time.filter(|time| u32::try_from(*time).is_ok());
    let form = "a time must be a whole number followed by s, m, h, d or w, as in 90s or 1h";
    time.map(Duration::from_secs).ok_or_else(|| bad(format!("{word}: {form}")))
}

/// Describes why a text is not a valid [`LifetimeRule`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadLifetimeRule(String);

fn bad(problem: String) -> BadLifetimeRule {
    BadLifetimeRule(problem)
}

impl fmt::Display for BadLifetimeRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl StdError for BadLifetimeRule {}

#[cfg(test)]
mod tests;
