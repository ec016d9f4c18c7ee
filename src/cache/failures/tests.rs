use std::time::UNIX_EPOCH;

use super::*;

fn at(milliseconds: u64) -> SystemTime {
    UNIX_EPOCH + Duration::from_millis(milliseconds)
}

fn target(url: &str) -> CanonicalUrl {
    CanonicalUrl::parse(url).unwrap()
}

#[test]
fn a_failed_connection_counts_for_the_origin_and_a_failed_response_for_the_key() {
    let (a, b) = (target("http://h/a"), target("http://h/b"));
    let key = |target: &CanonicalUrl| Key::new(target.as_str());
    let failed = |kind| Error::new(kind, "failed");
    for (error, is_origins) in [
        (failed(ErrorKind::Unreachable).unsent(), true),
        (failed(ErrorKind::Unreachable), false),
        (failed(ErrorKind::BadResponse), false),
    ] {
        let (failures, kind) = (Failures::default(), error.kind());
        failures.remember(&key(&a), &a, &error, at(0));
        assert_eq!(failures.recent(&key(&a), &a, at(999)).unwrap().kind(), kind);
        assert_eq!(failures.recent(&key(&b), &b, at(999)).is_some(), is_origins);
        assert!(failures.recent(&key(&a), &a, at(1000)).is_none());
        failures.forget(&key(&a), &a);
        assert!(failures.recent(&key(&a), &a, at(1)).is_none());
    }
}

#[test]
fn failures_caused_by_the_request_are_not_remembered() {
    let failures = Failures::default();
    let a = target("http://h/a");
    for kind in [ErrorKind::BadRequest, ErrorKind::Forbidden, ErrorKind::OriginBusy, ErrorKind::Loop] {
        failures.remember(&Key::new(a.as_str()), &a, &Error::new(kind, "failed"), at(0));
    }
    assert!(failures.recent(&Key::new(a.as_str()), &a, at(0)).is_none());
}
