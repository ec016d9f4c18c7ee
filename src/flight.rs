//! Request collapsing: of several threads that want the same thing, one leads, the others follow.
//!
//! ```text
//! join(key) ── nobody is there ──▶ Lead(Leader)   must land; dropping it releases the followers
//!           └─ a leader is there ─▶ Follow(Follower)   waits for what the leader lands
//! ```
//!
//! A leader that panics, gives up or returns early drops its [`Leader`], and that is a landing too:
//! no follower ever waits for somebody who is gone.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::hash::Hash;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::{Condvar, Mutex};

/// The flights that are under way, by key.
pub(crate) struct Flights<K: Eq + Hash + Clone, T: Clone> {
    by_key: Arc<Mutex<HashMap<K, Arc<Flight<T>>>>>,
}

/// What joining made of the caller.
pub(crate) enum Role<K: Eq + Hash + Clone, T: Clone> {
    /// Nobody was there: do the work, then land.
    Lead(Leader<K, T>),
    /// Somebody is at it: wait.
    Follow(Follower<T>),
}

/// How a flight ended, for those who followed.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Landing<T> {
    /// With this.
    With(T),
    /// Without anything: the leader was dropped.
    Abandoned,
    /// The follower's patience ended first.
    TimedOut,
}

/// Called once with how a flight ended, from the thread that ends it; it must be quick.
pub(crate) type Told<T> = Box<dyn FnOnce(Landing<T>) + Send>;

/// What one who does not wait finds.
pub(crate) enum Watched<T> {
    /// The flight has landed with this, and its leader has not left yet.
    Landed(T),
    /// It will be told.
    Later,
}

struct Flight<T> {
    state: Mutex<State<T>>,
    changed: Condvar,
}

enum State<T> {
    /// Those are told of the end who do not wait for it.
    Flying(Vec<Told<T>>),
    Landed(T),
    Abandoned,
}

impl<K: Eq + Hash + Clone, T: Clone> Flights<K, T> {
    pub(crate) fn new() -> Self {
        Self { by_key: Arc::new(Mutex::new(HashMap::new())) }
    }

    /// Leads, if nobody does; follows otherwise, also one who has landed and not yet left.
    pub(crate) fn join(&self, key: K) -> Role<K, T> {
        match self.by_key.lock().entry(key) {
            Entry::Occupied(flying) => Role::Follow(Follower { flight: Arc::clone(flying.get()) }),
            Entry::Vacant(free) => {
                let flight = Arc::new(Flight {
                    state: Mutex::new(State::Flying(Vec::new())),
                    changed: Condvar::new(),
                });
                let key = free.key().clone();
                free.insert(Arc::clone(&flight));
                Role::Lead(Leader { by_key: Arc::clone(&self.by_key), key, flight })
            }
        }
    }
}

/// For those who may not wait.
impl<K: Eq + Hash + Clone, T: Clone> Flights<K, T> {
    /// Leads, if nobody does.
    pub(crate) fn lead(&self, key: &K) -> Option<Leader<K, T>> {
        match self.join(key.clone()) {
            Role::Lead(leader) => Some(leader),
            Role::Follow(_) => None,
        }
    }

    /// Looks at what flies under this key. What is still under way ends with a call of what `told` makes.
    pub(crate) fn watch(&self, key: &K, told: impl FnOnce() -> Told<T>) -> Option<Watched<T>> {
        let flight = Arc::clone(self.by_key.lock().get(key)?);
        let mut state = flight.state.lock();
        match &mut *state {
            State::Flying(watching) => {
                watching.push(told());
                Some(Watched::Later)
            }
            State::Landed(result) => Some(Watched::Landed(result.clone())),
            State::Abandoned => None,
        }
    }
}

impl<K: Eq + Hash + Clone, T: Clone> Flights<K, T> {
    /// Lets nobody join what flies under this key now; those who follow already still do.
    pub(crate) fn forget(&self, key: &K) {
        let left = self.by_key.lock().remove(key);
        drop(left);
    }

    /// The same for every key of which this is true. It is asked under a lock.
    pub(crate) fn forget_where(&self, is_forgotten: impl Fn(&K) -> bool) {
        let left: Vec<_> = self.by_key.lock().extract_if(|key, _| is_forgotten(key)).collect();
        drop(left);
    }
}

/// The one who does the work. Dropping it ends the flight: whoever joins later leads anew.
pub(crate) struct Leader<K: Eq + Hash + Clone, T: Clone> {
    by_key: Arc<Mutex<HashMap<K, Arc<Flight<T>>>>>,
    key: K,
    flight: Arc<Flight<T>>,
}

impl<K: Eq + Hash + Clone, T: Clone> Leader<K, T> {
    /// One who waits for it.
    pub(crate) fn follower(&self) -> Follower<T> {
        Follower { flight: Arc::clone(&self.flight) }
    }

    /// Gives `result` to all who follow, and lets whoever joins from now on lead anew.
    pub(crate) fn leave_with(self, result: T) {
        self.leave(State::Landed(result));
    }

    /// Gives `result` to all who follow now or join before this leader is dropped.
    pub(crate) fn land(&self, result: T) {
        self.flight.end(State::Landed(result));
    }

    /// Frees the key, and ends what has not ended yet.
    fn leave(&self, end: State<T>) {
        let mut by_key = self.by_key.lock();
        // After `forget` somebody else may fly under this key.
        let is_own = by_key.get(&self.key).is_some_and(|flight| Arc::ptr_eq(flight, &self.flight));
        let left = if is_own { by_key.remove(&self.key) } else { None };
        drop(by_key);
        self.flight.end(end);
        drop(left);
    }
}

impl<K: Eq + Hash + Clone, T: Clone> Drop for Leader<K, T> {
    fn drop(&mut self) {
        self.leave(State::Abandoned);
    }
}

/// One who waits for the leader.
pub(crate) struct Follower<T> {
    flight: Arc<Flight<T>>,
}

impl<T: Clone> Follower<T> {
    /// Blocks until the leader lands or leaves, `patience` at most.
    pub(crate) fn wait(&self, patience: Duration) -> Landing<T> {
        let mut state = self.flight.state.lock();
        let flying = |state: &mut State<T>| matches!(state, State::Flying(_));
        if self.flight.changed.wait_while_for(&mut state, flying, patience).timed_out() {
            return Landing::TimedOut;
        }
        match &*state {
            State::Landed(result) => Landing::With(result.clone()),
            State::Flying(_) | State::Abandoned => Landing::Abandoned,
        }
    }
}

impl<T: Clone> Flight<T> {
    /// The first end counts: a leader that landed and is dropped has landed.
    fn end(&self, end: State<T>) {
        let mut state = self.state.lock();
        let State::Flying(watching) = &mut *state else {
            drop(state);
            return drop(end);
        };
        let watching = std::mem::take(watching);
        let result = if let State::Landed(result) = &end { Some(result.clone()) } else { None };
        *state = end;
        drop(state);
        self.changed.notify_all();
        for told in watching {
            told(result.clone().map_or(Landing::Abandoned, Landing::With));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;

    const PATIENCE: Duration = Duration::from_secs(10);

    fn lead<T: Clone>(flights: &Flights<u32, T>) -> Leader<u32, T> {
        match flights.join(1) {
            Role::Lead(leader) => leader,
            Role::Follow(_) => panic!("somebody leads already"),
        }
    }

    fn follow<T: Clone>(flights: &Flights<u32, T>) -> Follower<T> {
        match flights.join(1) {
            Role::Lead(_) => panic!("nobody leads"),
            Role::Follow(follower) => follower,
        }
    }

    #[test]
    fn followers_get_what_the_leader_lands_however_late_they_join() {
        let flights = Flights::new();
        let leader = lead(&flights);
        let early = follow(&flights);
        let waiting = thread::spawn(move || early.wait(PATIENCE));
        leader.land("done");
        assert_eq!(waiting.join().unwrap(), Landing::With("done"));
        assert_eq!(follow(&flights).wait(PATIENCE), Landing::With("done"));
    }

    #[test]
    fn a_leader_that_panics_releases_its_followers() {
        let flights: Flights<u32, ()> = Flights::new();
        let leader = lead(&flights);
        let follower = follow(&flights);
        let panicked = thread::spawn(move || {
            let _leader = leader;
            panic!("the work failed");
        });
        assert!(panicked.join().is_err());
        assert_eq!(follower.wait(PATIENCE), Landing::Abandoned);
        lead(&flights);
    }

    #[test]
    fn after_the_leader_left_the_next_one_leads() {
        let flights = Flights::new();
        let leader = lead(&flights);
        leader.land(1);
        drop(leader);
        lead(&flights).land(2);
    }

    #[test]
    fn nobody_joins_a_flight_that_was_forgotten() {
        let flights = Flights::new();
        let forgotten = lead(&flights);
        let follower = follow(&flights);
        flights.forget(&1);
        let next = lead(&flights);
        forgotten.land("old");
        drop(forgotten);
        assert_eq!(follower.wait(PATIENCE), Landing::With("old"));
        let follower = follow(&flights);
        next.land("new");
        assert_eq!(follower.wait(PATIENCE), Landing::With("new"));
    }

    #[test]
    fn of_several_flights_those_are_forgotten_that_are_meant() {
        let flights: Flights<u32, u32> = Flights::new();
        let leaders: Vec<_> = (0..4).map(|key| flights.lead(&key).unwrap()).collect();
        flights.forget_where(|key| key % 2 == 0);
        let free: Vec<u32> = (0..4).filter(|key| flights.lead(key).is_some()).collect();
        assert_eq!(free, [0, 2]);
        drop(leaders);
    }

    #[test]
    fn one_who_does_not_wait_is_told_of_the_end() {
        let flights = Flights::new();
        assert!(flights.watch(&1, || panic!("nothing flies")).is_none());
        for lands in [true, false] {
            let leader = lead(&flights);
            assert!(flights.lead(&1).is_none());
            let (tell, told) = std::sync::mpsc::channel();
            let watched = flights.watch(&1, || Box::new(move |landing| tell.send(landing).unwrap()));
            assert!(matches!(watched, Some(Watched::Later)));
            if lands {
                leader.land("done");
                assert!(matches!(
                    flights.watch(&1, || panic!("it has landed")),
                    Some(Watched::Landed("done"))
                ));
            }
            drop(leader);
            assert_eq!(told.recv().unwrap(), if lands { Landing::With("done") } else { Landing::Abandoned });
            assert!(told.recv().is_err(), "once");
        }
    }

    #[test]
    fn a_followers_patience_ends() {
        let flights: Flights<u32, ()> = Flights::new();
        let _leader = lead(&flights);
        assert_eq!(follow(&flights).wait(Duration::ZERO), Landing::TimedOut);
    }
}
