//! Which operations may run, and the invalidations that Redis has not received yet.

use std::collections::BTreeMap;
use std::hash::{BuildHasher, RandomState};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use super::breaker::CircuitBreaker;
use super::lookup_cost::{Lookup, LookupCost};
use crate::message::purge::Purge;

/// How many invalidations wait for Redis. Beyond that, everything is invalidated when it is back.
const MAX_OWED: usize = 1024;

/// How many bytes the texts of these invalidations may have together.
const MAX_OWED_BYTES: usize = 1 << 20;

/// The circuit breaker, the operations in progress, and the invalidations that are owed.
///
/// While an invalidation is owed the circuit is open, so nothing is read that it covers.
#[derive(Default)]
pub(super) struct Circuit {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    breaker: CircuitBreaker,
    /// The operations of this epoch, with the times at which they began.
    running: BTreeMap<u64, Instant>,
    last: u64,
    owed: Vec<Purge>,
    cost: LookupCost,
    /// Failures and slow lookups after which there was a pause.
    failures: u64,
}

impl State {
    fn open(&mut self, now: Instant) {
        self.breaker.open(now, jitter());
        self.running.clear();
        self.failures += 1;
    }
}

/// An operation in progress until this value is dropped.
pub(super) struct Running<'a> {
    circuit: &'a Circuit,
    number: u64,
    epoch: u64,
    has_succeeded: bool,
}

impl Circuit {
    /// Whether operations may begin. An operation that has run for longer than `longest` opens the circuit.
    pub(super) fn is_closed(&self, now: Instant, longest: Duration) -> bool {
        let mut state = self.state.lock();
        let oldest = state.running.first_key_value().map(|(_, since)| *since);
        if state.breaker.is_closed()
            && oldest.is_some_and(|since| now.saturating_duration_since(since) > longest)
        {
            state.open(now);
        }
        state.breaker.is_closed()
    }

    /// Whether responses may be looked up as far as their cost is concerned.
    pub(super) fn are_lookups_worth_it(&self, now: Instant) -> bool {
        !self.state.lock().cost.is_paused(now)
    }

    /// Records a lookup. Returns how long lookups take on average if they pause from now on.
    pub(super) fn looked_up(&self, lookup: Lookup, limit: Duration) -> Option<Duration> {
        let mut state = self.state.lock();
        let mean = state.cost.looked_up(lookup, limit, jitter());
        state.failures += u64::from(mean.is_some());
        mean
    }

    /// Records how long the fetch of a response took.
    pub(super) fn fetched(&self, took: Duration) {
        self.state.lock().cost.fetched(took);
    }

    /// Begins an operation; `None` if none may begin.
    pub(super) fn begin(&self, now: Instant) -> Option<Running<'_>> {
        let mut state = self.state.lock();
        let epoch = state.breaker.admit()?;
        state.last += 1;
        let number = state.last;
        state.running.insert(number, now);
        Some(Running { circuit: self, number, epoch, has_succeeded: false })
    }

    /// Begins a probe if one is due; returns whether it began.
    pub(super) fn begin_probe(&self, now: Instant) -> bool {
        self.state.lock().breaker.begin_probe(now)
    }

    /// Records that the probe failed.
    pub(super) fn fail_probe(&self, now: Instant) {
        self.state.lock().open(now);
    }

    /// Records that the probe succeeded. Returns the owed invalidations, and closes the circuit if the list is empty.
    pub(super) fn close_or_take_owed(&self) -> Vec<Purge> {
        let mut state = self.state.lock();
        if state.owed.is_empty() {
            state.breaker.close();
        }
        std::mem::take(&mut state.owed)
    }

    /// Notes an invalidation that has to reach Redis before anything is read. Opens the circuit.
    pub(super) fn owe(&self, purges: impl IntoIterator<Item = Purge>, now: Instant) {
        let mut state = self.state.lock();
        state.owed.extend(purges);
        let bytes: usize = state.owed.iter().map(Purge::text_length).sum();
        if state.owed.len() > MAX_OWED || bytes > MAX_OWED_BYTES {
            state.owed = vec![Purge::all()];
        }
        if state.breaker.is_closed() {
            state.open(now);
        }
    }

    /// Returns the name of the state, and how many pauses there were.
    pub(super) fn state(&self, now: Instant) -> (&'static str, u64) {
        let state = self.state.lock();
        let is_slow = state.breaker.is_closed() && state.cost.is_paused(now);
        (if is_slow { "slow" } else { state.breaker.state() }, state.failures)
    }
}

impl Running<'_> {
    pub(super) fn succeed(mut self) {
        self.has_succeeded = true;
    }

    /// Records that the operation failed or took too long.
    pub(super) fn fail(self, now: Instant) {
        let mut state = self.circuit.state.lock();
        if state.breaker.fail(self.epoch, now, jitter()) {
            if state.breaker.has_failed_again() {
                state.cost.forget_lookups();
            }
            state.running.clear();
            state.failures += 1;
        }
    }
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        let mut state = self.circuit.state.lock();
        state.running.remove(&self.number);
        if self.has_succeeded {
            state.breaker.succeed(self.epoch);
        }
    }
}

/// A random number between 0 and 1.
#[expect(clippy::cast_precision_loss, reason = "32 bits fit")]
fn jitter() -> f64 {
    (RandomState::new().hash_one(()) >> 32) as f64 / f64::from(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::super::lookup_cost::LOOKUPS;
    use super::*;

    const LONGEST: Duration = Duration::from_millis(100);

    #[test]
    fn overdue_operation_opens_the_circuit() {
        let (circuit, now) = (Circuit::default(), Instant::now());
        let running = circuit.begin(now).unwrap();
        assert!(circuit.is_closed(now + LONGEST, LONGEST));
        assert!(!circuit.is_closed(now + LONGEST * 2, LONGEST));
        running.succeed();
        assert!(circuit.begin(now).is_none());
        assert_eq!(circuit.state(now), ("open", 1));
    }

    #[test]
    fn slow_lookups_pause_only_lookups() {
        let (circuit, mut now) = (Circuit::default(), Instant::now());
        let limit = Duration::from_millis(25);
        let pause = std::iter::repeat_with(|| {
            let begun = now;
            now += limit * 2;
            circuit.looked_up(Lookup { begun, ended: now, is_hit: false }, limit)
        })
        .take(LOOKUPS)
        .find_map(|pause| pause);
        assert_eq!(pause, Some(limit * 2));
        assert_eq!((circuit.are_lookups_worth_it(now), circuit.state(now)), (false, ("slow", 1)));
        assert!(circuit.is_closed(now, LONGEST) && circuit.begin(now).is_some());
    }

    #[test]
    fn lookups_of_a_server_that_is_away_are_not_slow() {
        let (circuit, mut now) = (Circuit::default(), Instant::now());
        for _ in 0..2 * LOOKUPS {
            let begun = now;
            let running = circuit.begin(now).unwrap();
            now += LONGEST;
            running.fail(now);
            assert_eq!(circuit.looked_up(Lookup { begun, ended: now, is_hit: false }, LONGEST / 2), None);
            now += Duration::from_secs(30);
            assert!(circuit.begin_probe(now) && circuit.close_or_take_owed().is_empty());
        }
    }

    #[test]
    fn circuit_stays_open_while_an_invalidation_is_owed() {
        let (circuit, now) = (Circuit::default(), Instant::now());
        circuit.owe([Purge::all()], now);
        assert!(circuit.begin_probe(now + Duration::from_secs(1)));
        // Another one comes while the first is sent.
        assert_eq!(circuit.close_or_take_owed(), [Purge::all()]);
        circuit.owe([Purge::of_key("http://a/")], now);
        assert!(circuit.begin(now).is_none());
        assert_eq!(circuit.close_or_take_owed(), [Purge::of_key("http://a/")]);
        assert!(circuit.close_or_take_owed().is_empty());
        assert!(circuit.begin(now).is_some());
    }

    #[test]
    fn too_many_owed_invalidations_become_one_of_everything() {
        let (circuit, now) = (Circuit::default(), Instant::now());
        circuit.owe((0..=MAX_OWED).map(|number| Purge::of_key(&number.to_string())), now);
        assert_eq!(circuit.close_or_take_owed(), [Purge::all()]);
        let long = |number: usize| Purge::of_key(&format!("{number}{}", "x".repeat(8000)));
        circuit.owe((0..131).map(long), now);
        assert_eq!(circuit.close_or_take_owed().len(), 131);
        circuit.owe((0..132).map(long), now);
        assert_eq!(circuit.close_or_take_owed(), [Purge::all()]);
    }
}
