//! The circuit breaker of Redis as a state machine over a given time. Pure.

use std::time::{Duration, Instant};

/// Pause after the first failure. Each further failure without a success doubles it.
const FIRST_PAUSE: Duration = Duration::from_secs(1);

/// Maximum pause after a failure.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// Decides whether Redis is asked. A failure opens the circuit for a pause; a probe in the background closes it.
///
/// When Redis fails, all operations in progress fail; they count as one failure. To that end, each operation holds the
/// epoch in which it began, and results from earlier epochs are ignored.
#[derive(Debug, Default)]
pub(super) struct CircuitBreaker {
    state: State,
    /// Failures since the last success of an operation.
    failures: u32,
    epoch: u64,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    #[default]
    Closed,
    /// No operations until this time.
    Open { until: Instant },
    /// A probe is running.
    Probing,
}

impl CircuitBreaker {
    /// Returns the epoch of an operation that begins now; `None` if none may begin.
    pub(super) fn admit(&self) -> Option<u64> {
        self.is_closed().then_some(self.epoch)
    }

    /// Returns the name of the state.
    pub(super) fn state(&self) -> &'static str {
        match self.state {
            State::Closed => "closed",
            State::Open { .. } => "open",
            State::Probing => "probing",
        }
    }

    pub(super) fn is_closed(&self) -> bool {
        self.state == State::Closed
    }

    /// Whether no operation has succeeded between the last two failures.
    pub(super) fn has_failed_again(&self) -> bool {
        self.failures > 1
    }

    /// Begins a probe if one is due; returns whether it began.
    pub(super) fn begin_probe(&mut self, now: Instant) -> bool {
        let is_due = matches!(self.state, State::Open { until } if until <= now);
        if is_due {
            self.state = State::Probing;
        }
        is_due
    }

    /// Records that an operation of this epoch succeeded.
    pub(super) fn succeed(&mut self, epoch: u64) {
        if epoch == self.epoch {
            self.failures = 0;
        }
    }

    /// Records that an operation of this epoch failed; returns whether that opens the circuit. `jitter` is between 0 and 1.
    pub(super) fn fail(&mut self, epoch: u64, now: Instant, jitter: f64) -> bool {
        let is_first = epoch == self.epoch && self.is_closed();
        if is_first {
            self.open(now, jitter);
        }
        is_first
    }

    /// Opens the circuit, whatever its state.
    pub(super) fn open(&mut self, now: Instant, jitter: f64) {
        self.failures = self.failures.saturating_add(1);
        self.epoch += 1;
        self.state = State::Open { until: now + pause(self.failures, jitter) };
    }

    /// Records that the probe succeeded.
    pub(super) fn close(&mut self) {
        self.epoch += 1;
        self.state = State::Closed;
    }
}

/// Returns the pause after this many failures. Its second half is random, so that processes that saw the same failure do not
/// return at the same moment.
fn pause(failures: u32, jitter: f64) -> Duration {
    let doubled = FIRST_PAUSE.saturating_mul(1 << failures.saturating_sub(1).min(16));
    doubled.min(LONGEST_PAUSE).mul_f64(0.5 + 0.5 * jitter.clamp(0.0, 1.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_failure_opens_the_circuit_and_a_probe_closes_it() {
        let (mut breaker, now) = (CircuitBreaker::default(), Instant::now());
        let epoch = breaker.admit().unwrap();
        assert!(breaker.fail(epoch, now, 1.0));
        // Operations in progress count as the same failure.
        assert!(!breaker.fail(epoch, now, 1.0));
        assert_eq!(breaker.admit(), None);
        assert!(!breaker.begin_probe(now + FIRST_PAUSE / 2));
        assert!(breaker.begin_probe(now + FIRST_PAUSE));
        assert!(!breaker.begin_probe(now + FIRST_PAUSE), "one probe at a time");
        assert_eq!(breaker.admit(), None);
        breaker.close();
        let later = breaker.admit().unwrap();
        assert!(!breaker.fail(epoch, now, 1.0), "a result of an earlier epoch is ignored");
        assert!(breaker.fail(later, now, 1.0));
    }

    #[test]
    fn pauses_double_up_to_a_limit_and_begin_again_after_a_success() {
        let (mut breaker, mut now) = (CircuitBreaker::default(), Instant::now());
        for seconds in [1, 2, 4, 8, 16, 30, 30] {
            breaker.open(now, 1.0);
            assert!(!breaker.begin_probe(now + Duration::from_secs(seconds) - Duration::from_millis(1)));
            now += Duration::from_secs(seconds);
            assert!(breaker.begin_probe(now));
        }
        breaker.close();
        let epoch = breaker.admit().unwrap();
        breaker.succeed(epoch - 1);
        assert_eq!(breaker.failures, 7);
        breaker.succeed(epoch);
        assert!(breaker.fail(epoch, now, 0.0));
        assert!(breaker.begin_probe(now + FIRST_PAUSE / 2), "jitter halves the pause");
    }
}
