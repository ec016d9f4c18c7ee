//! Classifies a peer's failure, and decides what it means for the peer and the request. Pure.

use http::StatusCode;

use crate::base::error::{Cause, Error, ErrorKind};

/// How a request to a peer failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Observation {
    /// The connection was refused or reset before a response head, the response is not valid HTTP, or the
    /// peer's TLS failed.
    Dead,
    /// No connection was established before the next owner was tried.
    Unconnected,
    /// The response head or the rest of the body was late, and `/healthz` did not respond either.
    Silent,
    /// The time limit passed although the peer answered `/healthz`: the origin is slow.
    Late,
    /// The body was truncated, arrived too slowly, or does not match its announced digest.
    BrokenBody,
    /// The peer is overloaded.
    Busy,
    /// The peer rejects this client, or does not have this path.
    Misconfigured,
    /// Another program sent the response.
    NotAPeer,
    /// This client does not trust the peer's certificate, or the peer does not trust this client's.
    Untrusted,
    /// The response exceeds limits of this client.
    Oversized,
    /// The peer reports that the origin failed.
    OriginFailed,
    /// The request itself is at fault, whichever peer it goes to.
    BadRequest,
}

/// The effect of a failure on the state of the peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum HealthEffect {
    Nothing,
    /// The peer responds.
    Alive,
    /// The peer failed and is skipped for a while.
    Failed,
    /// The peer counts as failed if this repeats.
    Broken,
}

/// Where the request is sent next, if it may be repeated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Next {
    Owner,
    /// One other owner, if the retry budget allows it.
    OwnerOnBudget,
    /// One other owner.
    OwnerOnce,
    Fail,
}

/// The consequence of a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Consequence {
    pub(super) health: HealthEffect,
    pub(super) next: Next,
    /// Whether the peer has not started to process the request, so that even a request that is not idempotent
    /// may be sent elsewhere.
    pub(super) is_unprocessed: bool,
    /// Whether to log a warning: something is configured wrongly.
    pub(super) needs_warning: bool,
    /// Whether the request may bypass the pool if no owner answers.
    pub(super) may_bypass_pool: bool,
}

impl Observation {
    pub(super) fn of(error: &Error) -> Self {
        use ErrorKind::{
            BadPeer, BadResponse, DigestMismatch, IncompleteBody, Io, Timeout, Tls, Unauthorized,
            Unavailable, Unreachable, Unresolved,
        };
        match (error.kind(), error.is_reported_by_peer(), error.cause()) {
            (_, false, Some(Cause::Trust)) => Self::Untrusted,
            (_, false, Some(Cause::Limits)) => Self::Oversized,
            (_, false, Some(Cause::Stranger)) => Self::NotAPeer,
            (_, false, Some(Cause::Silent)) => Self::Silent,
            (Unavailable, ..) => Self::Busy,
            (Unauthorized | BadPeer, true, _) => Self::Misconfigured,
            (
                Unreachable | Unresolved | Tls | Timeout | BadResponse | Io | IncompleteBody | DigestMismatch,
                true,
                _,
            ) => Self::OriginFailed,
            (Timeout, false, _) if error.is_unsent() => Self::Unconnected,
            (Timeout, false, _) => Self::Late,
            (IncompleteBody | DigestMismatch, false, _) => Self::BrokenBody,
            (Unreachable | Unresolved | Tls | BadResponse | Io, false, _) => Self::Dead,
            _ => Self::BadRequest,
        }
    }

    pub(super) fn consequence(self) -> Consequence {
        use HealthEffect::{Alive, Broken, Failed, Nothing};
        use Next::{Fail, Owner, OwnerOnBudget, OwnerOnce};
        let (health, next) = match self {
            Self::Dead => (Failed, Owner),
            // A background probe finds out whether the peer is up.
            Self::Unconnected | Self::Silent | Self::Late | Self::NotAPeer | Self::Untrusted => {
                (Nothing, Owner)
            }
            Self::BrokenBody => (Broken, Owner),
            Self::Busy => (Alive, OwnerOnBudget),
            Self::Misconfigured => (Alive, Owner),
            Self::OriginFailed => (Alive, OwnerOnce),
            Self::Oversized => (Alive, Fail),
            Self::BadRequest => (Nothing, Fail),
        };
        let is_setup = matches!(self, Self::Misconfigured | Self::Untrusted);
        Consequence {
            health,
            next,
            is_unprocessed: is_setup || matches!(self, Self::Busy | Self::Unconnected),
            needs_warning: is_setup || self == Self::NotAPeer,
            may_bypass_pool: !is_setup && !matches!(self, Self::Busy | Self::OriginFailed),
        }
    }
}

/// Returns whether another program than a peer sent a response: a load balancer, or a server that now has the
/// peer's address.
pub(super) fn is_from_another_program(status: StatusCode, is_marked: bool, accepts_unmarked: bool) -> bool {
    status.is_server_error() && !is_marked && !accepts_unmarked
}

/// The attempts of one request.
///
/// All peers together may take as long as one peer plus one connection.
#[derive(Debug)]
pub(super) struct Attempts {
    is_idempotent: bool,
    head_timeout: std::time::Duration,
    connect_timeout: std::time::Duration,
    origin_failed: bool,
    was_busy: bool,
    /// Whether a failed attempt allowed the request to bypass the pool, and whether one failed because of the
    /// configuration.
    may_bypass_pool: bool,
    was_misconfigured: bool,
}

impl Attempts {
    /// Starts the attempts of a request. `head_timeout` limits all attempts together; `connect_timeout` is the
    /// minimum for an attempt that starts late. For idempotence see RFC 9110 section 9.2.2.
    pub(super) fn new(
        is_idempotent: bool,
        head_timeout: std::time::Duration,
        connect_timeout: std::time::Duration,
    ) -> Self {
        Self {
            is_idempotent,
            head_timeout,
            connect_timeout: connect_timeout.min(head_timeout),
            origin_failed: false,
            was_busy: false,
            may_bypass_pool: false,
            was_misconfigured: false,
        }
    }

    /// Returns how long the next attempt may take; `None` if the time is over.
    pub(super) fn next(&self, elapsed: std::time::Duration) -> Option<std::time::Duration> {
        let left = self.head_timeout.saturating_add(self.connect_timeout).saturating_sub(elapsed);
        let limit = self.head_timeout.saturating_sub(elapsed).max(self.connect_timeout).min(left);
        (!limit.is_zero()).then_some(limit)
    }

    /// Records the failure of an attempt, and returns whether to try the next owner. `can_repeat`: the body
    /// can be sent again. `has_budget` takes a token of the retry budget.
    pub(super) fn record_error(
        &mut self,
        error: &Error,
        can_repeat: bool,
        has_budget: impl FnOnce() -> bool,
    ) -> bool {
        let observation = Observation::of(error);
        let Consequence { next, is_unprocessed, may_bypass_pool, .. } = observation.consequence();
        match observation {
            Observation::Misconfigured | Observation::Untrusted => self.was_misconfigured = true,
            _ => self.may_bypass_pool |= may_bypass_pool,
        }
        if !can_repeat || !(self.is_idempotent || error.is_unsent() || is_unprocessed) {
            return false;
        }
        match next {
            Next::Owner => true,
            Next::OwnerOnBudget => !std::mem::replace(&mut self.was_busy, true) && has_budget(),
            // A failed origin must not cost one attempt per peer.
            Next::OwnerOnce => !std::mem::replace(&mut self.origin_failed, true),
            Next::Fail => false,
        }
    }

    /// Returns whether the client may fetch directly in the end: not if a peer has tried the origin, if the
    /// pool is busy, or if only the configuration of this client or its peers is wrong.
    pub(super) fn may_fetch_directly(&self) -> bool {
        !self.origin_failed && !self.was_busy && (self.may_bypass_pool || !self.was_misconfigured)
    }
}

#[cfg(test)]
mod tests;
