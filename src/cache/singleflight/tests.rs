use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use super::*;

fn wake() -> (Wake, Arc<AtomicUsize>) {
    let count = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&count);
    (
        Arc::new(move || {
            counter.fetch_add(1, Ordering::Relaxed);
        }),
        count,
    )
}

fn lead<T: Clone>(flights: &Flights<u32, T>) -> (Leader<u32, T>, Waiter<T>) {
    match flights.join(1, 0, |_| true, &wake().0) {
        Role::Lead(leader, waiter) => (leader, waiter),
        Role::Follow(_) => panic!("another request leads already"),
    }
}

fn follow<T: Clone>(flights: &Flights<u32, T>, wake: &Wake) -> Waiter<T> {
    match flights.join(1, 0, |_| true, wake) {
        Role::Lead(..) => panic!("the flight has no leader"),
        Role::Follow(waiter) => waiter,
    }
}

#[test]
fn followers_get_the_result_however_late_they_join() {
    let flights = Flights::new();
    let (leader, own) = lead(&flights);
    let (wake, woken) = wake();
    let early = follow(&flights, &wake);
    assert!(leader.has_followers());
    assert_eq!(early.state(), FlightState::Pending);
    leader.finish("done");
    assert_eq!(woken.load(Ordering::Relaxed), 1);
    let late = follow(&flights, &wake);
    for waiter in [own, early, late] {
        assert_eq!(waiter.state(), FlightState::Finished("done"));
    }
    leader.finish("again");
    drop(leader);
    assert_eq!(woken.load(Ordering::Relaxed), 1);
    drop(lead(&flights));
}

#[test]
fn a_leader_that_panics_releases_its_followers() {
    let flights: Flights<u32, ()> = Flights::new();
    let (leader, _own) = lead(&flights);
    let (wake, woken) = wake();
    let follower = follow(&flights, &wake);
    let panicked = thread::spawn(move || {
        let _leader = leader;
        panic!("the work failed");
    });
    assert!(panicked.join().is_err());
    assert_eq!((follower.state(), woken.load(Ordering::Relaxed)), (FlightState::Abandoned, 1));
    drop(lead(&flights));
}

#[test]
fn a_flight_without_waiters_is_cancelled_and_not_joined() {
    let flights: Flights<u32, ()> = Flights::new();
    let (leader, own) = lead(&flights);
    let follower = follow(&flights, &wake().0);
    drop(own);
    assert!(!leader.cancellation().is_cancelled());
    drop(follower);
    assert!(leader.cancellation().is_cancelled());
    let (next, _own) = lead(&flights);
    drop(leader);
    assert!(!next.cancellation().is_cancelled());
    drop(follow(&flights, &wake().0));
}

#[test]
fn a_flight_left_running_or_finished_is_not_cancelled() {
    let flights = Flights::new();
    let (leader, own) = lead(&flights);
    own.leave_running();
    drop(own);
    assert!(!leader.cancellation().is_cancelled());
    drop(leader);
    let (leader, own) = lead(&flights);
    leader.finish(());
    drop(own);
    assert!(!leader.cancellation().is_cancelled());
}

#[test]
fn a_flight_with_an_unacceptable_sequence_is_not_joined() {
    let flights = Flights::new();
    let (old, _own) = lead(&flights);
    let Role::Lead(new, _waiter) = flights.join(1, 5, |sequence| sequence > 3, &wake().0) else {
        panic!("the flight is not joinable")
    };
    old.finish("old");
    drop(old);
    let follower = follow(&flights, &wake().0);
    new.finish("new");
    assert_eq!(follower.state(), FlightState::Finished("new"));
}

#[test]
fn a_keeper_is_dropped_with_the_last_waiter_or_the_leader() {
    struct Held(Arc<AtomicUsize>);
    impl Drop for Held {
        fn drop(&mut self) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }
    for is_left_running in [false, true] {
        let (flights, gone) = (Flights::new(), Arc::new(AtomicUsize::new(0)));
        let (leader, own) = lead(&flights);
        let follower = follow(&flights, &wake().0);
        drop(own);
        leader.finish_keeping((), Box::new(Held(Arc::clone(&gone))));
        assert_eq!(gone.load(Ordering::Relaxed), 0);
        if is_left_running {
            follower.leave_running();
        }
        drop(follower);
        assert_eq!(gone.load(Ordering::Relaxed), usize::from(!is_left_running));
        drop(leader);
        assert_eq!(gone.load(Ordering::Relaxed), 1);
    }
}
