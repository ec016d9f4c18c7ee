//! Applies the operator's rules to the validity of a response before it is stored.

use std::time::Duration;

use http::{HeaderMap, StatusCode};

use super::lifetime_rule::{LifetimeRule, lifetime_rule};
use super::rules::Rules;
use super::storing::{NotStored, Request, may_store};
use super::targeted::response_directives;
use super::validity::{LifetimeSource, Validity};
use crate::base::clock::Moment;
use crate::message::header::cache_control::ResponseDirectives;
use crate::message::url::CanonicalUrl;

/// Returns the caching directives of a response, overridden by the operator's rule, and that rule.
pub(crate) fn directives_by_rules<'r>(
    target: &CanonicalUrl,
    status: StatusCode,
    headers: &HeaderMap,
    rules: &'r Rules,
) -> (ResponseDirectives, Option<&'r LifetimeRule>) {
    let mut directives = response_directives(headers, rules);
    let rule = lifetime_rule(&rules.lifetimes, target, status);
    if let Some(rule) = rule {
        rule.override_directives(&mut directives);
    }
    (directives, rule)
}

/// Returns whether a response may be stored, by RFC 9111 and by the operator's rules, or the reason why not.
pub(crate) fn may_store_by_rules(
    request: Request<'_>,
    target: &CanonicalUrl,
    status: StatusCode,
    headers: &HeaderMap,
    rules: &Rules,
) -> Result<(), NotStored> {
    let (directives, rule) = directives_by_rules(target, status, headers, rules);
    match may_store(request, status, headers, &directives, rules) {
        Err(NotStored::NoLifetime) if rule.is_some_and(LifetimeRule::gives_lifetime) => Ok(()),
        verdict => verdict,
    }
}

/// Applies the operator's lifetime rule, the default of `stale-while-revalidate`, and jitter. `chance` is a random
/// number for each response.
pub(crate) fn apply_rules(
    validity: &mut Validity,
    directives: &ResponseDirectives,
    rule: Option<&LifetimeRule>,
    rules: &Rules,
    chance: u64,
) {
    if let Some(rule) = rule {
        let lifetime = rule.lifetime().of(validity.lifetime);
        if lifetime != validity.lifetime {
            (validity.lifetime, validity.lifetime_source) = (lifetime, LifetimeSource::Rule);
        }
    }
    // A response that was never fresh is validated for each request.
    if directives.stale_while_revalidate.is_none() && !validity.lifetime.is_zero() {
        validity.stale_while_revalidate = rules.stale_while_revalidate;
    }
    validity.lifetime = shorten_by_jitter(validity.lifetime, rules.jitter, chance);
}

/// Returns the lifetime less a random part of at most this percentage.
fn shorten_by_jitter(lifetime: Duration, percent: u8, chance: u64) -> Duration {
    if percent == 0 {
        return lifetime;
    }
    let random = u128::from(chance % 1024);
    let part = lifetime.as_millis() * u128::from(percent.min(100)) * random / (100 * 1024);
    lifetime.saturating_sub(Duration::from_millis(u64::try_from(part).unwrap_or(u64::MAX)))
}

/// Returns whether a fresh response should be refreshed early, because less than this percentage of its lifetime is
/// left.
pub(crate) fn is_due_early(validity: &Validity, percent: u8, now: impl Into<Moment>) -> bool {
    percent > 0
        && !validity.no_cache
        && validity.remaining(now).as_millis() * 100 < validity.lifetime.as_millis() * u128::from(percent)
}

#[cfg(test)]
mod tests;
