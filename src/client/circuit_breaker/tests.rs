use std::time::UNIX_EPOCH;

use super::*;

fn at(millis: u64) -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(1_000_000) + Duration::from_millis(millis)
}

fn ask(standing: &mut CircuitBreaker, millis: u64) -> Epoch {
    match standing.look(at(millis), 0) {
        Admission::Ask(ticket) => ticket,
        other => panic!("{other:?} at {millis}"),
    }
}

/// Returns the breaker of a peer that failed at 0 and is down until 1000.
fn down() -> CircuitBreaker {
    let mut standing = CircuitBreaker::default();
    let ticket = ask(&mut standing, 0);
    standing.told(Evidence::Failed, ticket, at(0), 1.0);
    standing
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
    let mut standing = down();
    assert_eq!((standing.state(), standing.until()), (PeerState::Down, Some(at(1000))));
    assert_eq!(standing.look(at(999), 0), Admission::Skip);
    assert!(!standing.begin_probe(at(999)));
    assert!(matches!(standing.look(at(1000), 0), Admission::Trial(_)));
    assert!(standing.begin_probe(at(1000)) && !standing.begin_probe(at(1000)));
    assert!(matches!(standing.look(at(1000), 0), Admission::Trial(_)));
    standing.probed(Found::Nothing, at(1000), 1.0);
    assert_eq!((standing.failures(), standing.until()), (2, Some(at(3000))));
}

#[test]
fn returning_peer_gets_its_keys_back_gradually() {
    let mut standing = down();
    assert!(standing.begin_probe(at(1000)));
    standing.probed(Found::There, at(1000), 1.0);
    let ticket = standing.ticket();
    for (millis, key, is_asked) in
        [(1001, 0, false), (1100, 19, true), (1100, 20, false), (3500, 499, true), (5990, 999, false)]
    {
        let expected = if is_asked { Admission::Ask(ticket) } else { Admission::Spare(ticket) };
        assert_eq!(standing.look(at(millis), key), expected, "{key} at {millis}");
    }
    assert_eq!(standing.state(), PeerState::Returning);
    assert_eq!(standing.look(at(6000), 999), Admission::Ask(ticket));
    assert!(!standing.is_settled());
    standing.told(Evidence::Answered, ticket, at(6000), 1.0);
    assert!(standing.is_settled());
}

#[test]
fn simultaneous_failures_count_once() {
    let mut standing = CircuitBreaker::default();
    let tickets: Vec<_> = (0..100).map(|_| ask(&mut standing, 0)).collect();
    for ticket in &tickets {
        standing.told(Evidence::Failed, *ticket, at(5), 1.0);
    }
    assert_eq!((standing.failures(), standing.until()), (1, Some(at(1005))));
    // A response from before the failure does not change the state.
    standing.told(Evidence::Answered, tickets[0], at(6), 1.0);
    assert_eq!(standing.state(), PeerState::Down);
}

#[test]
fn consecutive_broken_bodies_of_several_urls_are_a_failure() {
    let mut standing = CircuitBreaker::default();
    let ticket = ask(&mut standing, 0);
    (0..10).for_each(|_| standing.told(Evidence::Broken(1), ticket, at(0), 1.0));
    standing.told(Evidence::Broken(2), ticket, at(0), 1.0);
    assert_eq!(standing.state(), PeerState::Up);
    standing.told(Evidence::Whole, ticket, at(0), 1.0);
    for url in 1..3 {
        standing.told(Evidence::Broken(url), ticket, at(0), 1.0);
        standing.told(Evidence::Answered, ticket, at(0), 1.0);
    }
    assert_eq!(standing.state(), PeerState::Up);
    standing.told(Evidence::Broken(3), ticket, at(0), 1.0);
    assert_eq!((standing.state(), standing.until()), (PeerState::Down, Some(at(1000))));
}

#[test]
fn clock_set_back_does_not_extend_the_pause() {
    let mut standing = down();
    let earlier = at(0) - Duration::from_secs(3600);
    assert!(standing.begin_probe(earlier));
    standing.probed(Found::There, at(0), 1.0);
    assert!(matches!(standing.look(earlier, 999), Admission::Ask(_)));
}

#[test]
fn pause_of_a_stopping_peer_never_grows() {
    let mut standing = CircuitBreaker::default();
    let ticket = ask(&mut standing, 0);
    standing.told(Evidence::Leaving, ticket, at(0), 1.0);
    standing.told(Evidence::Failed, ticket, at(0), 1.0);
    for second in 1..100 {
        assert_eq!((standing.state(), standing.failures()), (PeerState::Draining, 0));
        assert_eq!(standing.until(), Some(at(second * 1000)));
        assert!(standing.begin_probe(at(second * 1000)));
        let found = if second % 2 == 0 { Found::Leaving } else { Found::Nothing };
        standing.probed(found, at(second * 1000), 1.0);
    }
    assert!(standing.begin_probe(at(1_000_000)));
    standing.probed(Found::There, at(1_000_000), 1.0);
    assert_eq!(standing.state(), PeerState::Returning);
}

#[test]
fn trial_with_a_response_marks_the_peer_as_returning() {
    let mut standing = down();
    let Admission::Trial(ticket) = standing.look(at(1000), 0) else { panic!("no trial") };
    standing.told(Evidence::Answered, ticket, at(1000), 1.0);
    assert_eq!(standing.state(), PeerState::Returning);
}
