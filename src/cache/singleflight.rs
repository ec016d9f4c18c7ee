//! Singleflight: concurrent requests for the same thing share one piece of work. One request leads, the others
//! follow.
//!
//! ```text
//! join(key) ── no leader ────▶ Lead(Leader, Waiter)    the leader must finish; dropping it releases the followers
//!           └─ a leader ─────▶ Follow(Waiter)          is woken when the leader finishes
//! ```
//!
//! A leader that panics, gives up or returns early drops its [`Leader`], which also ends the flight. A flight without
//! waiters is cancelled and cannot be joined.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::Arc;

use parking_lot::Mutex;

use crate::base::cancellation::Cancellation;
use crate::message::body::Wake;

/// The flights that are under way, by key.
pub(crate) struct Flights<K: Eq + Hash + Clone, T: Clone> {
    by_key: ByKey<K, T>,
}

type ByKey<K, T> = Arc<Mutex<HashMap<K, Arc<Flight<T>>>>>;

/// The role of a request in a flight.
pub(crate) enum Role<K: Eq + Hash + Clone, T: Clone> {
    /// The request leads: do the work, then finish.
    Lead(Leader<K, T>, Waiter<T>),
    /// Another request leads.
    Follow(Waiter<T>),
}

/// The state of a flight, for a waiter.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum FlightState<T> {
    /// The flight is under way.
    Pending,
    /// The leader finished with this result.
    Finished(T),
    /// The leader was dropped without a result.
    Abandoned,
}

/// One flight: the work of its leader, and its waiters.
struct Flight<T> {
    /// The number of the flight, which `is_joinable` examines: see [`Flights::join`].
    sequence: u64,
    cancellation: Cancellation,
    state: Mutex<State<T>>,
}

struct State<T> {
    phase: Phase<T>,
    waiters: usize,
    wakes: Vec<Wake>,
    /// Keeps the result alive for the waiters.
    keeper: Option<Keeper>,
}

/// A value that keeps the result of a flight alive: see [`Leader::finish_keeping`].
pub(crate) type Keeper = Box<dyn Send>;

#[derive(Clone)]
enum Phase<T> {
    Running,
    /// The flight has no waiters and cannot be joined.
    Cancelled,
    Finished(T),
    Abandoned,
}

impl<K: Eq + Hash + Clone, T: Clone> Flights<K, T> {
    pub(crate) fn new() -> Self {
        Self { by_key: Arc::default() }
    }

    /// Joins the flight of this key if `is_joinable` accepts its sequence number; otherwise leads a new flight with
    /// the number `sequence`. A finished flight can be joined until its leader is dropped. `wake` is called when a
    /// flight that is under way ends. Never waits; `is_joinable` is called under a lock.
    pub(crate) fn join(
        &self,
        key: K,
        sequence: u64,
        is_joinable: impl FnOnce(u64) -> bool,
        wake: &Wake,
    ) -> Role<K, T> {
        let mut by_key = self.by_key.lock();
        if let Some(flight) = by_key.get(&key)
            && is_joinable(flight.sequence)
            && flight.add_waiter(wake)
        {
            return Role::Follow(Waiter { flight: Arc::clone(flight) });
        }
        let state = State { phase: Phase::Running, waiters: 1, wakes: Vec::new(), keeper: None };
        let flight =
            Arc::new(Flight { sequence, cancellation: Cancellation::new(), state: Mutex::new(state) });
        let replaced = by_key.insert(key.clone(), Arc::clone(&flight));
        drop(by_key);
        drop(replaced);
        let leader = Leader { by_key: Arc::clone(&self.by_key), key, flight: Arc::clone(&flight) };
        Role::Lead(leader, Waiter { flight })
    }
}

impl<K: Eq + Hash + Clone, T: Clone> Flights<K, T> {
    /// Whether a flight of this key is under way that [`join`](Self::join) would follow now.
    pub(crate) fn is_joinable(&self, key: &K, is_joinable: impl FnOnce(u64) -> bool) -> bool {
        let by_key = self.by_key.lock();
        by_key.get(key).is_some_and(|flight| {
            is_joinable(flight.sequence)
                && matches!(flight.state.lock().phase, Phase::Running | Phase::Finished(_))
        })
    }
}

impl<T: Clone> Flight<T> {
    /// Adds a waiter. Returns false if the flight cannot be joined.
    fn add_waiter(&self, wake: &Wake) -> bool {
        let mut state = self.state.lock();
        match state.phase {
            Phase::Running => state.wakes.push(Arc::clone(wake)),
            Phase::Finished(_) => {}
            Phase::Cancelled | Phase::Abandoned => return false,
        }
        state.waiters += 1;
        true
    }

    /// Ends the flight. Only the first end counts: dropping a leader that has finished changes nothing.
    fn end(&self, end: Phase<T>) {
        let mut state = self.state.lock();
        if !matches!(state.phase, Phase::Running | Phase::Cancelled) {
            drop(state);
            return drop(end);
        }
        state.phase = end;
        let wakes = std::mem::take(&mut state.wakes);
        drop(state);
        wakes.iter().for_each(|wake| wake());
    }
}

/// Does the work of a flight. Dropping it ends the flight; the next request leads a new one.
pub(crate) struct Leader<K: Eq + Hash + Clone, T: Clone> {
    by_key: ByKey<K, T>,
    key: K,
    flight: Arc<Flight<T>>,
}

impl<K: Eq + Hash + Clone, T: Clone> Leader<K, T> {
    /// Returns the token that is cancelled when the last waiter has left.
    pub(crate) fn cancellation(&self) -> &Cancellation {
        &self.flight.cancellation
    }

    /// Whether the flight has waiters besides the leader's own request.
    pub(crate) fn has_followers(&self) -> bool {
        self.flight.state.lock().waiters > 1
    }

    /// Gives `result` to all followers, present ones and those that join before this leader is dropped.
    pub(crate) fn finish(&self, result: T) {
        self.flight.end(Phase::Finished(result));
    }

    /// Like [`finish`](Self::finish), and holds `keeper` until the last waiter has left or this leader is dropped.
    pub(crate) fn finish_keeping(&self, result: T, keeper: Keeper) {
        let mut state = self.flight.state.lock();
        let unused = if state.waiters > 0 { state.keeper.replace(keeper) } else { Some(keeper) };
        drop(state);
        self.finish(result);
        drop(unused);
    }

    /// Gives `result` to the present followers, and lets the next request lead a new flight.
    pub(crate) fn finish_and_release(self, result: T) {
        self.close(Phase::Finished(result));
    }

    /// Frees the key, and ends the flight if it has not ended.
    fn close(&self, end: Phase<T>) {
        let mut by_key = self.by_key.lock();
        // A new flight may have replaced this one.
        let is_own = by_key.get(&self.key).is_some_and(|flight| Arc::ptr_eq(flight, &self.flight));
        let left = if is_own { by_key.remove(&self.key) } else { None };
        drop(by_key);
        self.flight.end(end);
        let keeper = self.flight.state.lock().keeper.take();
        drop((left, keeper));
    }
}

impl<K: Eq + Hash + Clone, T: Clone> Drop for Leader<K, T> {
    fn drop(&mut self) {
        self.close(Phase::Abandoned);
    }
}

/// A request that waits for a flight. Dropping the last waiter of an unfinished flight cancels it.
pub(crate) struct Waiter<T: Clone> {
    flight: Arc<Flight<T>>,
}

impl<T: Clone> Waiter<T> {
    /// Returns the state of the flight.
    pub(crate) fn state(&self) -> FlightState<T> {
        match &self.flight.state.lock().phase {
            Phase::Running | Phase::Cancelled => FlightState::Pending,
            Phase::Finished(result) => FlightState::Finished(result.clone()),
            Phase::Abandoned => FlightState::Abandoned,
        }
    }

    /// Leaves the flight, which then continues even without waiters.
    pub(crate) fn leave_running(&self) {
        self.flight.state.lock().waiters += 1;
    }
}

impl<T: Clone> Drop for Waiter<T> {
    fn drop(&mut self) {
        let mut state = self.flight.state.lock();
        state.waiters -= 1;
        let is_unwanted = state.waiters == 0 && matches!(state.phase, Phase::Running);
        if is_unwanted {
            state.phase = Phase::Cancelled;
        }
        let keeper = if state.waiters == 0 { state.keeper.take() } else { None };
        drop(state);
        drop(keeper);
        if is_unwanted {
            self.flight.cancellation.cancel();
        }
    }
}

#[cfg(test)]
mod tests;
