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
mod tests {
    use std::time::Duration;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn error(kind: ErrorKind) -> Error {
        Error::new(kind, "broken")
    }

    fn told(kind: ErrorKind) -> Error {
        error(kind).told_by_peer("http://peer:1")
    }

    #[test]
    fn the_table_of_observations() {
        use ErrorKind::*;
        use Mark::{Alive, Broken, Failed, Nothing};
        use Next::{Nobody, Owner, OwnerOnBudget, OwnerOnce};
        use Observation as O;
        for (error, expected, mark, next) in [
            (error(Unreachable), O::Dead, Failed, Owner),
            (error(Unresolved), O::Dead, Failed, Owner),
            (error(BadResponse), O::Dead, Failed, Owner),
            (error(Tls), O::Dead, Failed, Owner),
            (error(Io), O::Dead, Failed, Owner),
            (error(Timeout).unsent(), O::Unconnected, Nothing, Owner),
            (error(Timeout).because(Cause::Silent), O::Silent, Nothing, Owner),
            (error(Timeout), O::Late, Nothing, Owner),
            (error(IncompleteBody), O::BrokenBody, Broken, Owner),
            (error(DigestMismatch), O::BrokenBody, Broken, Owner),
            (told(Unavailable), O::Busy, Alive, OwnerOnBudget),
            (told(Unauthorized), O::Misconfigured, Alive, Owner),
            (told(BadPeer), O::Misconfigured, Alive, Owner),
            (error(BadResponse).because(Cause::Stranger), O::Stranger, Nothing, Owner),
            (error(Tls).because(Cause::Trust), O::Untrusted, Nothing, Owner),
            (error(Io).because(Cause::Trust), O::Untrusted, Nothing, Owner),
            (error(BadResponse).because(Cause::Limits), O::Oversized, Alive, Nobody),
            (told(Unreachable), O::OriginFailed, Alive, OwnerOnce),
            (told(Timeout), O::OriginFailed, Alive, OwnerOnce),
            (told(BadResponse), O::OriginFailed, Alive, OwnerOnce),
            (told(IncompleteBody), O::OriginFailed, Alive, OwnerOnce),
            (told(OriginBusy), O::BadRequest, Nothing, Nobody),
            (told(Loop), O::BadRequest, Nothing, Nobody),
            (told(Forbidden), O::BadRequest, Nothing, Nobody),
            (error(BadUrl), O::BadRequest, Nothing, Nobody),
            (error(BadRequest), O::BadRequest, Nothing, Nobody),
            (error(BodyTooLarge), O::BadRequest, Nothing, Nobody),
        ] {
            let found = Observation::of(&error);
            let Consequence { mark: found_mark, next: found_next, .. } = found.consequence();
            assert_eq!((found, found_mark, found_next), (expected, mark, next), "{error:?}");
        }
    }

    #[test]
    fn only_an_error_of_a_server_without_the_mark_is_a_strangers() {
        for (status, is_marked, accepts, expected) in [
            (502, false, false, true),
            (503, false, false, true),
            (503, true, false, false),
            (503, false, true, false),
            (200, false, false, false),
            (404, false, false, false),
        ] {
            let status = StatusCode::from_u16(status).unwrap();
            assert_eq!(is_strangers(status, is_marked, accepts), expected, "{status}");
        }
    }

    #[test]
    fn all_together_take_as_long_as_one_and_a_hop() {
        for (head_timeout, hop, elapsed, limit) in [
            (60, 10, 0, Some(60)),
            (60, 10, 10, Some(50)),
            (60, 10, 55, Some(10)),
            (60, 10, 65, Some(5)),
            (60, 10, 70, None),
            (1, 10, 1, Some(1)),
            (1, 10, 2, None),
        ] {
            let attempts = Attempts::new(true, head_timeout * SECOND, hop * SECOND);
            let found = attempts.next(elapsed * SECOND);
            assert_eq!(found, limit.map(|limit| limit * SECOND), "{head_timeout} {hop} {elapsed}");
        }
    }

    fn attempts(is_idempotent: bool) -> Attempts {
        Attempts::new(is_idempotent, 60 * SECOND, 10 * SECOND)
    }

    #[test]
    fn an_origin_that_is_down_costs_one_more_try_and_a_busy_peer_one_of_the_budget() {
        let mut one = attempts(true);
        assert!(one.goes_on(&error(ErrorKind::Unreachable), true, || false));
        assert!(one.may_fetch_directly());
        assert!(one.goes_on(&told(ErrorKind::Unreachable), true, || false));
        assert!(!one.goes_on(&told(ErrorKind::Timeout), true, || false));
        assert!(!one.may_fetch_directly());
        assert!(!attempts(true).goes_on(&told(ErrorKind::Unavailable), true, || false));
        let mut busy = attempts(false);
        assert!(busy.goes_on(&told(ErrorKind::Unavailable), true, || true));
        assert!(!busy.goes_on(&told(ErrorKind::Unavailable), true, || true));
        assert!(!busy.may_fetch_directly());
    }

    #[test]
    fn what_may_not_be_repeated_goes_on_only_where_nothing_has_begun() {
        let mut attempts = attempts(false);
        for (error, can_repeat, expected) in [
            (error(ErrorKind::Unreachable), true, false),
            (error(ErrorKind::Timeout).because(Cause::Silent), true, false),
            (told(ErrorKind::Timeout), true, false),
            (told(ErrorKind::Unauthorized), true, true),
            (error(ErrorKind::Unreachable).unsent(), true, true),
            (error(ErrorKind::Unreachable).unsent(), false, false),
        ] {
            assert_eq!(attempts.goes_on(&error, can_repeat, || true), expected, "{error:?}");
        }
    }

    #[test]
    fn a_fault_of_the_setup_never_leads_past_the_pool() {
        let trust = || error(ErrorKind::Tls).because(Cause::Trust);
        let mut local = attempts(true);
        assert!(local.goes_on(&trust(), true, || true) && !local.may_fetch_directly());
        // One peer that is not trusted among those that are away is a fault of that peer.
        assert!(local.goes_on(&error(ErrorKind::Unreachable), true, || true) && local.may_fetch_directly());
    }
}
