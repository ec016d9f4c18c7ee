//! Decides whether a stored response may answer a request now (RFC 9111 sections 4 and 5.2.1).

use std::time::Duration;

use http::StatusCode;

use super::rules::Rules;
use super::validity::Validity;
use crate::base::clock::Moment;
use crate::message::header::cache_control::RequestDirectives;

/// How to use a stored response that was selected for a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reuse {
    /// The response is fresh: serve it.
    Fresh,
    /// The response is stale, and the client accepts that with `max-stale`: serve it.
    StaleAccepted,
    /// The response is stale, and the origin allows serving it while it is refreshed.
    StaleWhileRevalidate,
    /// Validate the response with the origin first.
    Validate(ValidateBecause),
}

/// The reason for validation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ValidateBecause {
    /// The response is stale.
    Stale,
    /// The response has `no-cache`.
    NoCache,
    /// The request has `no-cache`, or requires more freshness than is left.
    Request,
}

/// Decides how to use a stored response. For a request without directives and a fresh response, this costs two
/// comparisons.
pub(crate) fn reuse(validity: &Validity, request: &RequestDirectives, now: impl Into<Moment>) -> Reuse {
    let now = now.into();
    if validity.no_cache {
        return Reuse::Validate(ValidateBecause::NoCache);
    }
    let fresh = validity.is_fresh(now);
    if fresh && request.is_empty() {
        return Reuse::Fresh;
    }
    if request.no_cache {
        return Reuse::Validate(ValidateBecause::Request);
    }
    if fresh {
        // RFC 8246 section 2: validating a fresh immutable response is useless.
        let too_old = is_too_old(validity, request, now) && !validity.immutable;
        return if is_fresh_too_shortly(validity, request, now) || too_old {
            Reuse::Validate(ValidateBecause::Request)
        } else {
            Reuse::Fresh
        };
    }
    if validity.must_revalidate || !accepts_staleness(validity, request, now) {
        return Reuse::Validate(ValidateBecause::Stale);
    }
    if request.max_stale.is_some() {
        return Reuse::StaleAccepted;
    }
    if validity.staleness(now) < validity.stale_while_revalidate {
        return Reuse::StaleWhileRevalidate;
    }
    Reuse::Validate(ValidateBecause::Stale)
}

/// Returns whether the request accepts the response at its present age (RFC 9111 section 5.2.1). Each way of serving a
/// stale response requires this.
///
/// A request with `max-age` or `min-fresh` accepts no stale response unless it also has `max-stale`.
fn accepts_staleness(validity: &Validity, request: &RequestDirectives, now: Moment) -> bool {
    let wants_fresh = request.max_age.is_some() || request.min_fresh.is_some();
    let limit = request.max_stale.or((!wants_fresh).then_some(Duration::MAX));
    !request.no_cache
        && !is_fresh_too_shortly(validity, request, now)
        && !is_too_old(validity, request, now)
        && limit.is_some_and(|limit| validity.staleness(now) <= limit)
}

fn is_fresh_too_shortly(validity: &Validity, request: &RequestDirectives, now: Moment) -> bool {
    request.min_fresh.is_some_and(|min_fresh| validity.remaining(now) < min_fresh)
}

fn is_too_old(validity: &Validity, request: &RequestDirectives, now: Moment) -> bool {
    request.max_age.is_some_and(|max_age| validity.age(now) > max_age)
}

/// Returns whether a stored response with this status may be served although the origin failed (RFC 9111 section 4.2.4,
/// RFC 5861 section 4).
///
/// The request's `stale-if-error` takes precedence over the response's, and that over the operator's default. Without
/// `stale-if-error` in the request, the request must also accept a stale response. `no-cache` and `must-revalidate` of
/// the response forbid it in any case. A stored error response never replaces a newer error.
pub(crate) fn may_serve_on_error(
    status: StatusCode,
    validity: &Validity,
    request: &RequestDirectives,
    rules: &Rules,
    now: impl Into<Moment>,
) -> bool {
    let now = now.into();
    if validity.no_cache || validity.must_revalidate || status.is_server_error() {
        return false;
    }
    if let Some(limit) = request.stale_if_error {
        return validity.staleness(now) <= limit;
    }
    accepts_staleness(validity, request, now)
        && validity.staleness(now) <= validity.stale_if_error.unwrap_or(rules.stale_if_error)
}

/// Returns whether a stored response may be served because the cache is offline (RFC 9111 section 4.2.4).
pub(crate) fn may_serve_offline(
    validity: &Validity,
    request: &RequestDirectives,
    now: impl Into<Moment>,
) -> bool {
    !validity.no_cache && !validity.must_revalidate && accepts_staleness(validity, request, now.into())
}

/// Returns whether a stored response may be served because another request is already waiting for the origin.
pub(crate) fn may_serve_in_grace(
    validity: &Validity,
    request: &RequestDirectives,
    rules: &Rules,
    now: impl Into<Moment>,
) -> bool {
    let now = now.into();
    !rules.grace.is_zero()
        && validity.staleness(now) <= rules.grace
        && may_serve_offline(validity, request, now)
}

#[cfg(test)]
mod tests;
