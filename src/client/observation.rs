//! What an answer of a peer, or its lack, says about the peer, and what follows. Pure.

use http::StatusCode;

use crate::base::error::{Cause, Error, ErrorKind};

/// What was seen of a peer when it was asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Observation {
    /// The connection was refused, or reset before a head; what came is not valid HTTP; the peer's TLS failed.
    Dead,
    /// There was no connection yet when the next owner was tried.
    Unconnected,
    /// The head, or the rest of the body, was late, and `/healthz` was not answered either.
    Silent,
    /// Its time was over while the peer answered `/healthz`: the origin is slow.
    Late,
    /// The body was cut, came too slowly, or is not the one that was announced.
    BrokenBody,
    /// The peer has too much to do.
    Busy,
    /// The peer refuses this client, or does not have this path.
    Misconfigured,
    /// The response comes from another program.
    Stranger,
    /// This client does not trust the peer's certificate, or the peer does not trust this client's.
    Untrusted,
    /// The limits of this client refuse the response.
    Oversized,
    /// The peer reports that the origin failed.
    OriginFailed,
    /// The request itself cannot be answered, wherever it goes.
    BadRequest,
}

/// What is held against the peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mark {
    Nothing,
    /// It answers.
    Alive,
    /// It is left alone for a while.
    Failed,
    /// The same when it repeats.
    Broken,
}

/// Where the request goes next, if it may be sent once more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Next {
    Owner,
    /// One other owner, where the retry budget allows it.
    OwnerOnBudget,
    /// One other owner.
    OwnerOnce,
    Nobody,
}

/// What follows from an observation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Consequence {
    pub(super) mark: Mark,
    pub(super) next: Next,
    /// Whether the peer has not begun with the request, so that it may be sent elsewhere whatever its method.
    pub(super) is_unbegun: bool,
    /// Whether the operator has to be told: something is set up wrongly.
    pub(super) warns: bool,
    /// Whether the request may go past the pool if no owner answers.
    pub(super) may_go_past: bool,
}

impl Observation {
    pub(super) fn of(error: &Error) -> Self {
        use ErrorKind::{
            BadPeer, BadResponse, DigestMismatch, IncompleteBody, Io, Timeout, Tls, Unauthorized,
            Unavailable, Unreachable, Unresolved,
        };
        match (error.kind(), error.is_told_by_peer(), error.cause()) {
            (_, false, Some(Cause::Trust)) => Self::Untrusted,
            (_, false, Some(Cause::Limits)) => Self::Oversized,
            (_, false, Some(Cause::Stranger)) => Self::Stranger,
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
        use Mark::{Alive, Broken, Failed, Nothing};
        use Next::{Nobody, Owner, OwnerOnBudget, OwnerOnce};
        let (mark, next) = match self {
            Self::Dead => (Failed, Owner),
            // Whether it is there is found out in the background.
            Self::Unconnected | Self::Silent | Self::Late | Self::Stranger | Self::Untrusted => {
                (Nothing, Owner)
            }
            Self::BrokenBody => (Broken, Owner),
            Self::Busy => (Alive, OwnerOnBudget),
            Self::Misconfigured => (Alive, Owner),
            Self::OriginFailed => (Alive, OwnerOnce),
            Self::Oversized => (Alive, Nobody),
            Self::BadRequest => (Nothing, Nobody),
        };
        let is_setup = matches!(self, Self::Misconfigured | Self::Untrusted);
        Consequence {
            mark,
            next,
            is_unbegun: is_setup || matches!(self, Self::Busy | Self::Unconnected),
            warns: is_setup || self == Self::Stranger,
            may_go_past: !is_setup && !matches!(self, Self::Busy | Self::OriginFailed),
        }
    }
}

/// Whether a response comes from another program: a balancer, or whatever answers where a peer was.
pub(super) fn is_strangers(status: StatusCode, is_marked: bool, accepts_unmarked: bool) -> bool {
    status.is_server_error() && !is_marked && !accepts_unmarked
}

/// What may still be tried for one request.
///
/// All peers together may take as long as one may, and a connection on top.
#[derive(Debug)]
pub(super) struct Attempts {
    is_idempotent: bool,
    head_timeout: std::time::Duration,
    hop: std::time::Duration,
    origin_failed: bool,
    was_busy: bool,
    /// Whether some attempt allowed it to go past the pool, and whether one forbade it.
    may_go_past: bool,
    is_held_back: bool,
}

impl Attempts {
    /// Of a request that may be repeated (RFC 9110 section 9.2.2) or not; `head_timeout` is how long one peer may
    /// take, and `hop` how long one may that is asked when that time is over.
    pub(super) fn new(
        is_idempotent: bool,
        head_timeout: std::time::Duration,
        hop: std::time::Duration,
    ) -> Self {
        Self {
            is_idempotent,
            head_timeout,
            hop: hop.min(head_timeout),
            origin_failed: false,
            was_busy: false,
            may_go_past: false,
            is_held_back: false,
        }
    }

    /// How long the next attempt may take, after so long; `None` where there is none.
    pub(super) fn next(&self, elapsed: std::time::Duration) -> Option<std::time::Duration> {
        let left = self.head_timeout.saturating_add(self.hop).saturating_sub(elapsed);
        let limit = self.head_timeout.saturating_sub(elapsed).max(self.hop).min(left);
        (!limit.is_zero()).then_some(limit)
    }

    /// Whether it goes on after this error. `can_repeat`: its body can be sent again; `has_budget` takes a token.
    pub(super) fn goes_on(
        &mut self,
        error: &Error,
        can_repeat: bool,
        has_budget: impl FnOnce() -> bool,
    ) -> bool {
        let observation = Observation::of(error);
        let Consequence { next, is_unbegun, may_go_past, .. } = observation.consequence();
        match observation {
            Observation::Misconfigured | Observation::Untrusted => self.is_held_back = true,
            _ => self.may_go_past |= may_go_past,
        }
        if !can_repeat || !(self.is_idempotent || error.is_unsent() || is_unbegun) {
            return false;
        }
        match next {
            Next::Owner => true,
            Next::OwnerOnBudget => !std::mem::replace(&mut self.was_busy, true) && has_budget(),
            // An origin that is down must not cost as many tries as there are peers.
            Next::OwnerOnce => !std::mem::replace(&mut self.origin_failed, true),
            Next::Nobody => false,
        }
    }

    /// Whether the origin may be asked directly in the end: not after a peer has tried, not while the pool is busy,
    /// and not where all that is wrong is how this client or its peers were set up.
    pub(super) fn may_fetch_directly(&self) -> bool {
        !self.origin_failed && !self.was_busy && (self.may_go_past || !self.is_held_back)
    }
}

#[cfg(test)]
mod tests;
