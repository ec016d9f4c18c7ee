//! Whether a request that failed at one peer goes on to the next. Pure.

use std::time::Duration;

use super::health::Sign;
use crate::error::{Error, ErrorKind};

/// What a failed attempt means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Failure {
    /// The peer could not be asked, or takes nothing: the next one may.
    Peer,
    /// The peer could not reach the origin: another may.
    Origin,
    /// Of the request itself: it fails the same way everywhere.
    Request,
}

/// Whose failure it was.
pub(super) fn failure(error: &Error) -> Failure {
    use ErrorKind::{
        BadResponse, DigestMismatch, IncompleteBody, Io, Timeout, Tls, Unavailable, Unreachable, Unresolved,
    };
    match (error.kind(), error.is_told_by_peer()) {
        (Unavailable, _) => Failure::Peer,
        // A short body is read before anything is said of it: see `Inner::collected`.
        (
            Unreachable | Unresolved | Tls | Timeout | BadResponse | Io | IncompleteBody | DigestMismatch,
            false,
        ) => Failure::Peer,
        (
            Unreachable | Unresolved | Tls | Timeout | BadResponse | Io | IncompleteBody | DigestMismatch,
            true,
        ) => Failure::Origin,
        _ => Failure::Request,
    }
}

/// What a failed attempt says about the peer; `None` where it says nothing.
pub(super) fn sign(error: &Error) -> Option<Sign> {
    match (failure(error), error.kind()) {
        (Failure::Peer, ErrorKind::Timeout) if error.is_unsent() => Some(Sign::Failed),
        // A large head or an origin that takes its time may be all there is to it: one URL must not take
        // peer after peer out of the pool.
        (
            Failure::Peer,
            ErrorKind::Timeout
            | ErrorKind::BadResponse
            | ErrorKind::IncompleteBody
            | ErrorKind::DigestMismatch,
        ) => Some(Sign::Suspicious),
        (Failure::Peer, _) => Some(Sign::Failed),
        _ if error.is_told_by_peer() => Some(Sign::Answered),
        _ => None,
    }
}

/// What may still be tried for one request.
///
/// All peers together may take as long as one may, and a hop on top.
#[derive(Debug)]
pub(super) struct Attempts {
    is_idempotent: bool,
    head_timeout: Duration,
    hop: Duration,
    told_of_origin: bool,
}

impl Attempts {
    /// Of a request that may be repeated (RFC 9110 section 9.2.2) or not; `head_timeout` is how long one peer
    /// may take, and `hop` how long one may that is asked when that time is over.
    pub(super) fn new(is_idempotent: bool, head_timeout: Duration, hop: Duration) -> Self {
        Self { is_idempotent, head_timeout, hop: hop.min(head_timeout), told_of_origin: false }
    }

    /// How long the next attempt may take, after so long; `None` where there is none.
    pub(super) fn next(&self, elapsed: Duration) -> Option<Duration> {
        let left = self.head_timeout.saturating_add(self.hop).saturating_sub(elapsed);
        let limit = self.head_timeout.saturating_sub(elapsed).max(self.hop).min(left);
        (!limit.is_zero()).then_some(limit)
    }

    /// Whether it goes on after this error; `can_repeat`: its body can be sent again.
    pub(super) fn goes_on(&mut self, error: &Error, can_repeat: bool) -> bool {
        if !can_repeat || !(self.is_idempotent || error.is_unsent() || is_refused_whole(error)) {
            return false;
        }
        match failure(error) {
            Failure::Peer => true,
            // An origin that is down must not cost as many tries as there are peers.
            Failure::Origin => !std::mem::replace(&mut self.told_of_origin, true),
            Failure::Request => false,
        }
    }

    /// Whether the origin may be asked directly in the end: not after a peer has tried.
    pub(super) fn may_fetch_directly(&self) -> bool {
        !self.told_of_origin
    }
}

/// Whether the peer said that it has not begun with it.
fn is_refused_whole(error: &Error) -> bool {
    error.is_told_by_peer() && error.kind() == ErrorKind::Unavailable
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn error(kind: ErrorKind) -> Error {
        Error::new(kind, "broken")
    }

    fn told(kind: ErrorKind) -> Error {
        error(kind).told_by_peer("http://peer:1")
    }

    fn attempts(is_idempotent: bool) -> Attempts {
        Attempts::new(is_idempotent, 60 * SECOND, 10 * SECOND)
    }

    #[test]
    fn whose_failure_it_is() {
        use Failure::{Origin, Peer, Request};
        for (kind, here, when_told) in [
            (ErrorKind::Unreachable, Peer, Origin),
            (ErrorKind::Unresolved, Peer, Origin),
            (ErrorKind::Tls, Peer, Origin),
            (ErrorKind::Timeout, Peer, Origin),
            (ErrorKind::BadResponse, Peer, Origin),
            (ErrorKind::Io, Peer, Origin),
            (ErrorKind::Unavailable, Peer, Peer),
            (ErrorKind::IncompleteBody, Peer, Origin),
            (ErrorKind::DigestMismatch, Peer, Origin),
            (ErrorKind::BadUrl, Request, Request),
            (ErrorKind::BadRequest, Request, Request),
            (ErrorKind::Forbidden, Request, Request),
            (ErrorKind::OriginBusy, Request, Request),
            (ErrorKind::Unauthorized, Request, Request),
            (ErrorKind::Loop, Request, Request),
            (ErrorKind::BodyTooLarge, Request, Request),
        ] {
            assert_eq!((failure(&error(kind)), failure(&told(kind))), (here, when_told), "{kind}");
        }
    }

    #[test]
    fn what_it_says_of_the_peer() {
        for (error, expected) in [
            (error(ErrorKind::Unreachable), Some(Sign::Failed)),
            (told(ErrorKind::Unavailable), Some(Sign::Failed)),
            (error(ErrorKind::Timeout), Some(Sign::Suspicious)),
            (error(ErrorKind::Timeout).unsent(), Some(Sign::Failed)),
            (error(ErrorKind::BadResponse), Some(Sign::Suspicious)),
            (told(ErrorKind::Timeout), Some(Sign::Answered)),
            (told(ErrorKind::Loop), Some(Sign::Answered)),
            (error(ErrorKind::BadRequest), None),
        ] {
            assert_eq!(sign(&error), expected, "{error:?}");
        }
    }

    #[test]
    fn all_together_take_as_long_as_one_and_a_hop() {
        for (head_timeout, hop, elapsed, limit) in [
            (60, 10, 0, Some(60)),
            (60, 10, 10, Some(50)),
            (60, 10, 55, Some(10)),
            (60, 10, 60, Some(10)),
            (60, 10, 65, Some(5)),
            (60, 10, 70, None),
            (60, 10, 1000, None),
            // Who fails at once costs nothing, also where a hop may take as long as all.
            (1, 10, 0, Some(1)),
            (1, 10, 1, Some(1)),
            (1, 10, 2, None),
        ] {
            let attempts = Attempts::new(true, head_timeout * SECOND, hop * SECOND);
            let found = attempts.next(elapsed * SECOND);
            assert_eq!(found, limit.map(|limit| limit * SECOND), "{head_timeout} {hop} {elapsed}");
        }
    }

    #[test]
    fn an_origin_that_is_down_costs_one_more_try() {
        let mut attempts = attempts(true);
        assert!(attempts.goes_on(&error(ErrorKind::Unreachable), true));
        assert!(attempts.may_fetch_directly());
        assert!(attempts.goes_on(&told(ErrorKind::Unreachable), true));
        assert!(!attempts.goes_on(&told(ErrorKind::Timeout), true));
        assert!(!attempts.may_fetch_directly());
    }

    #[test]
    fn what_may_not_be_repeated_goes_on_only_unsent() {
        let mut attempts = attempts(false);
        assert!(!attempts.goes_on(&error(ErrorKind::Unreachable), true));
        assert!(!attempts.goes_on(&error(ErrorKind::Timeout), true));
        assert!(!attempts.goes_on(&told(ErrorKind::Timeout), true));
        assert!(attempts.goes_on(&told(ErrorKind::Unavailable), true));
        assert!(attempts.goes_on(&error(ErrorKind::Unreachable).unsent(), true));
        assert!(!attempts.goes_on(&error(ErrorKind::Unreachable).unsent(), false));
    }
}
