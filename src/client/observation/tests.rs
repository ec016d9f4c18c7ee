use std::time::Duration;

use super::*;

const SECOND: Duration = Duration::from_secs(1);

fn error(kind: ErrorKind) -> Error {
    Error::new(kind, "broken")
}

fn told(kind: ErrorKind) -> Error {
    error(kind).reported_by_peer("http://peer:1")
}

#[test]
fn errors_are_classified() {
    use ErrorKind::*;
    use HealthEffect::{Alive, Broken, Failed, Nothing};
    use Next::{Fail, Owner, OwnerOnBudget, OwnerOnce};
    use Observation as O;
    for (error, expected, health, next) in [
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
        (error(BadResponse).because(Cause::Stranger), O::NotAPeer, Nothing, Owner),
        (error(Tls).because(Cause::Trust), O::Untrusted, Nothing, Owner),
        (error(Io).because(Cause::Trust), O::Untrusted, Nothing, Owner),
        (error(BadResponse).because(Cause::Limits), O::Oversized, Alive, Fail),
        (told(Unreachable), O::OriginFailed, Alive, OwnerOnce),
        (told(Timeout), O::OriginFailed, Alive, OwnerOnce),
        (told(BadResponse), O::OriginFailed, Alive, OwnerOnce),
        (told(IncompleteBody), O::OriginFailed, Alive, OwnerOnce),
        (told(OriginBusy), O::BadRequest, Nothing, Fail),
        (told(Loop), O::BadRequest, Nothing, Fail),
        (told(Forbidden), O::BadRequest, Nothing, Fail),
        (error(BadUrl), O::BadRequest, Nothing, Fail),
        (error(BadRequest), O::BadRequest, Nothing, Fail),
        (error(BodyTooLarge), O::BadRequest, Nothing, Fail),
    ] {
        let found = Observation::of(&error);
        let Consequence { health: found_health, next: found_next, .. } = found.consequence();
        assert_eq!((found, found_health, found_next), (expected, health, next), "{error:?}");
    }
}

#[test]
fn unmarked_server_error_is_from_another_program() {
    for (status, is_marked, accepts, expected) in [
        (502, false, false, true),
        (503, false, false, true),
        (503, true, false, false),
        (503, false, true, false),
        (200, false, false, false),
        (404, false, false, false),
    ] {
        let status = StatusCode::from_u16(status).unwrap();
        assert_eq!(is_from_another_program(status, is_marked, accepts), expected, "{status}");
    }
}

#[test]
fn all_attempts_take_as_long_as_one_and_a_connection() {
    for (head_timeout, connect_timeout, elapsed, limit) in [
        (60, 10, 0, Some(60)),
        (60, 10, 10, Some(50)),
        (60, 10, 55, Some(10)),
        (60, 10, 65, Some(5)),
        (60, 10, 70, None),
        (1, 10, 1, Some(1)),
        (1, 10, 2, None),
    ] {
        let attempts = Attempts::new(true, head_timeout * SECOND, connect_timeout * SECOND);
        let found = attempts.next(elapsed * SECOND);
        assert_eq!(found, limit.map(|limit| limit * SECOND), "{head_timeout} {connect_timeout} {elapsed}");
    }
}

fn attempts(is_idempotent: bool) -> Attempts {
    Attempts::new(is_idempotent, 60 * SECOND, 10 * SECOND)
}

#[test]
fn failed_origin_is_tried_twice_and_a_busy_peer_spends_budget() {
    let mut one = attempts(true);
    assert!(one.record_error(&error(ErrorKind::Unreachable), true, || false));
    assert!(one.may_fetch_directly());
    assert!(one.record_error(&told(ErrorKind::Unreachable), true, || false));
    assert!(!one.record_error(&told(ErrorKind::Timeout), true, || false));
    assert!(!one.may_fetch_directly());
    assert!(!attempts(true).record_error(&told(ErrorKind::Unavailable), true, || false));
    let mut busy = attempts(false);
    assert!(busy.record_error(&told(ErrorKind::Unavailable), true, || true));
    assert!(!busy.record_error(&told(ErrorKind::Unavailable), true, || true));
    assert!(!busy.may_fetch_directly());
}

#[test]
fn request_that_is_not_idempotent_is_retried_only_if_unprocessed() {
    let mut attempts = attempts(false);
    for (error, can_repeat, expected) in [
        (error(ErrorKind::Unreachable), true, false),
        (error(ErrorKind::Timeout).because(Cause::Silent), true, false),
        (told(ErrorKind::Timeout), true, false),
        (told(ErrorKind::Unauthorized), true, true),
        (error(ErrorKind::Unreachable).unsent(), true, true),
        (error(ErrorKind::Unreachable).unsent(), false, false),
    ] {
        assert_eq!(attempts.record_error(&error, can_repeat, || true), expected, "{error:?}");
    }
}

#[test]
fn misconfiguration_never_bypasses_the_pool() {
    let trust = || error(ErrorKind::Tls).because(Cause::Trust);
    let mut local = attempts(true);
    assert!(local.record_error(&trust(), true, || true) && !local.may_fetch_directly());
    // With other peers down, one untrusted peer is that peer's fault.
    assert!(local.record_error(&error(ErrorKind::Unreachable), true, || true) && local.may_fetch_directly());
}
