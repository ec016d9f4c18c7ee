use std::time::UNIX_EPOCH;

use super::*;

fn at(millis: u64) -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(1_000_000) + Duration::from_millis(millis)
}

fn ask(breaker: &mut CircuitBreaker, millis: u64) -> Epoch {
    match breaker.admit(at(millis), 0) {
        Admission::Ask(epoch) => epoch,
        other => panic!("{other:?} at {millis}"),
    }
}

/// Returns the breaker of a peer that failed at 0 and is down until 1000.
fn down() -> CircuitBreaker {
    let mut breaker = CircuitBreaker::default();
    let epoch = ask(&mut breaker, 0);
    breaker.record(Evidence::Failed, epoch, at(0), 1.0);
    breaker
}

#[test]
fn pauses_double_up_to_a_minute_and_half_of_each_is_random() {
    for (failures, seconds) in [(1, 1.0), (2, 2.0), (3, 4.0), (6, 32.0), (7, 60.0), (u32::MAX, 60.0)] {
        assert_eq!(pause(failures, 1.0), Duration::from_secs_f64(seconds), "{failures}");
        assert_eq!(pause(failures, 0.0), Duration::from_secs_f64(seconds / 2.0), "{failures}");
    }
    assert_eq!(pause(1, f64::INFINITY), FIRST_PAUSE);
}

#[test]
fn failed_peer_is_skipped_and_then_probed_once() {
    let mut breaker = down();
    assert_eq!((breaker.state(), breaker.until()), (PeerState::Down, Some(at(1000))));
    assert_eq!(breaker.admit(at(999), 0), Admission::Skip);
    assert!(!breaker.begin_probe(at(999)));
    assert!(matches!(breaker.admit(at(1000), 0), Admission::Trial(_)));
    assert!(breaker.begin_probe(at(1000)) && !breaker.begin_probe(at(1000)));
    assert!(matches!(breaker.admit(at(1000), 0), Admission::Trial(_)));
    breaker.finish_probe(ProbeResult::Down, at(1000), 1.0);
    assert_eq!((breaker.failures(), breaker.until()), (2, Some(at(3000))));
}

#[test]
fn returning_peer_gets_its_keys_back_gradually() {
    let mut breaker = down();
    assert!(breaker.begin_probe(at(1000)));
    breaker.finish_probe(ProbeResult::Up, at(1000), 1.0);
    let epoch = breaker.epoch();
    for (millis, key, is_asked) in
        [(1001, 0, false), (1100, 19, true), (1100, 20, false), (3500, 499, true), (5990, 999, false)]
    {
        let expected = if is_asked { Admission::Ask(epoch) } else { Admission::LastResort(epoch) };
        assert_eq!(breaker.admit(at(millis), key), expected, "{key} at {millis}");
    }
    assert_eq!(breaker.state(), PeerState::Returning);
    assert_eq!(breaker.admit(at(6000), 999), Admission::Ask(epoch));
    assert!(!breaker.is_settled());
    breaker.record(Evidence::Answered, epoch, at(6000), 1.0);
    assert!(breaker.is_settled());
}

#[test]
fn simultaneous_failures_count_once() {
    let mut breaker = CircuitBreaker::default();
    let epochs: Vec<_> = (0..100).map(|_| ask(&mut breaker, 0)).collect();
    for epoch in &epochs {
        breaker.record(Evidence::Failed, *epoch, at(5), 1.0);
    }
    assert_eq!((breaker.failures(), breaker.until()), (1, Some(at(1005))));
    // A response from before the failure does not change the state.
    breaker.record(Evidence::Answered, epochs[0], at(6), 1.0);
    assert_eq!(breaker.state(), PeerState::Down);
}

#[test]
fn consecutive_broken_bodies_of_several_urls_are_a_failure() {
    let mut breaker = CircuitBreaker::default();
    let epoch = ask(&mut breaker, 0);
    (0..10).for_each(|_| breaker.record(Evidence::BodyBroken(1), epoch, at(0), 1.0));
    breaker.record(Evidence::BodyBroken(2), epoch, at(0), 1.0);
    assert_eq!(breaker.state(), PeerState::Up);
    breaker.record(Evidence::BodyComplete, epoch, at(0), 1.0);
    for url in 1..3 {
        breaker.record(Evidence::BodyBroken(url), epoch, at(0), 1.0);
        breaker.record(Evidence::Answered, epoch, at(0), 1.0);
    }
    assert_eq!(breaker.state(), PeerState::Up);
    breaker.record(Evidence::BodyBroken(3), epoch, at(0), 1.0);
    assert_eq!((breaker.state(), breaker.until()), (PeerState::Down, Some(at(1000))));
}

#[test]
fn clock_set_back_does_not_extend_the_pause() {
    let mut breaker = down();
    let earlier = at(0) - Duration::from_secs(3600);
    assert!(breaker.begin_probe(earlier));
    breaker.finish_probe(ProbeResult::Up, at(0), 1.0);
    assert!(matches!(breaker.admit(earlier, 999), Admission::Ask(_)));
}

#[test]
fn pause_of_a_stopping_peer_never_grows() {
    let mut breaker = CircuitBreaker::default();
    let epoch = ask(&mut breaker, 0);
    breaker.record(Evidence::Leaving, epoch, at(0), 1.0);
    breaker.record(Evidence::Failed, epoch, at(0), 1.0);
    for second in 1..100 {
        assert_eq!((breaker.state(), breaker.failures()), (PeerState::Draining, 0));
        assert_eq!(breaker.until(), Some(at(second * 1000)));
        assert!(breaker.begin_probe(at(second * 1000)));
        let found = if second % 2 == 0 { ProbeResult::Leaving } else { ProbeResult::Down };
        breaker.finish_probe(found, at(second * 1000), 1.0);
    }
    assert!(breaker.begin_probe(at(1_000_000)));
    breaker.finish_probe(ProbeResult::Up, at(1_000_000), 1.0);
    assert_eq!(breaker.state(), PeerState::Returning);
}

#[test]
fn trial_with_a_response_marks_the_peer_as_returning() {
    let mut breaker = down();
    let Admission::Trial(epoch) = breaker.admit(at(1000), 0) else { panic!("no trial") };
    breaker.record(Evidence::Answered, epoch, at(1000), 1.0);
    assert_eq!(breaker.state(), PeerState::Returning);
}
