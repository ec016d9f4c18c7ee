//! The health of one peer as a state machine over a given time. Pure.

use std::time::{Duration, SystemTime};

use crate::pool::peer_state::PeerState;

/// Pause after a peer's first failure. Each further failure doubles it.
const FIRST_PAUSE: Duration = Duration::from_secs(1);

/// Maximum pause after a failure.
pub(super) const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// Time in which a recovered peer gets its keys back. It often returns with an empty cache, while the peers
/// that took over its keys have the responses.
const RAMP_UP: Duration = Duration::from_secs(5);

/// Pause before the first probe of a peer that is stopping, and between later probes.
const LEAVING_PAUSE: Duration = Duration::from_secs(1);

/// Number of consecutive broken bodies, of more than one URL, that count as a failure of the peer.
const MAX_BROKEN_BODIES: u32 = 3;

/// The circuit breaker of one peer.
///
/// When a peer dies, all requests in progress to it fail; they count as one failure. To that end, each request
/// holds the [`Epoch`] in which it was sent, and results from earlier epochs are ignored.
#[derive(Clone, Debug, Default)]
pub(super) struct CircuitBreaker {
    state: State,
    /// Failures since the last response.
    failures: u32,
    /// Broken bodies since the last complete one, and the hash of the URL of the last broken one.
    broken_bodies: u32,
    broken_url: u32,
    epoch: Epoch,
}

/// Numbers the periods between two changes of a peer's state.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Epoch(pub(super) u64);

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    #[default]
    Up,
    /// No requests until this time.
    Away { until: SystemTime, reason: AwayReason },
    /// A probe is running.
    Probing { reason: AwayReason },
    /// It is up again, and its keys return gradually.
    Returning { since: SystemTime },
}

/// Why a peer gets no requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum AwayReason {
    Failed,
    /// It announced that it is stopping.
    Leaving,
}

/// Whether a request may be sent to a peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Admission {
    /// Send the request.
    Ask(Epoch),
    /// Skip the peer unless no other peer is left: it responds, but does not have all of its keys back.
    LastResort(Epoch),
    /// Skip the peer unless the request would fail otherwise: it may be up again.
    Trial(Epoch),
    /// Skip the peer.
    Skip,
}

/// What the result of a request shows about the peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Evidence {
    /// The peer sent a response head.
    Answered,
    /// A body arrived completely.
    BodyComplete,
    /// The peer is down or does not accept requests.
    Failed,
    /// The body of the URL with this hash was broken.
    BodyBroken(u32),
    /// The peer announced that it is about to stop.
    Leaving,
}

/// The result of a probe.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ProbeResult {
    Up,
    Leaving,
    Down,
}

impl CircuitBreaker {
    /// Decides whether to send a request to this peer. `key` is the position of the request's URL among all
    /// keys, in thousandths.
    pub(super) fn admit(&mut self, now: SystemTime, key: u16) -> Admission {
        match self.state {
            State::Up => Admission::Ask(self.epoch),
            State::Away { .. } if !self.is_due(now) => Admission::Skip,
            State::Away { .. } | State::Probing { .. } => Admission::Trial(self.epoch),
            State::Returning { since } => {
                let returned = now.duration_since(since).unwrap_or(RAMP_UP);
                if returned >= RAMP_UP {
                    // The epoch stays, so that requests in progress still count.
                    self.state = State::Up;
                    return Admission::Ask(self.epoch);
                }
                let has = returned.as_millis() * 1000 / RAMP_UP.as_millis();
                if u128::from(key) < has {
                    Admission::Ask(self.epoch)
                } else {
                    Admission::LastResort(self.epoch)
                }
            }
        }
    }

    /// Returns whether the pause is over.
    pub(super) fn is_due(&self, now: SystemTime) -> bool {
        let State::Away { until, .. } = self.state else { return false };
        // A clock that was set back must not extend the pause.
        let left = until.duration_since(now).unwrap_or_default();
        left.is_zero() || left > LONGEST_PAUSE
    }

    /// Returns whether the peer gets no requests at this time, because it failed or is stopping.
    pub(super) fn is_away(&self, now: SystemTime) -> bool {
        match self.state {
            State::Away { .. } => !self.is_due(now),
            State::Probing { .. } => true,
            State::Up | State::Returning { .. } => false,
        }
    }

    /// Begins a probe if one is due; [`finish_probe`](Self::finish_probe) takes its result. Returns whether it
    /// began.
    pub(super) fn begin_probe(&mut self, now: SystemTime) -> bool {
        let State::Away { reason, .. } = self.state else { return false };
        let is_due = self.is_due(now);
        if is_due {
            self.enter(State::Probing { reason });
        }
        is_due
    }

    /// Records the result of a request sent in this epoch. `jitter` is between 0 and 1.
    pub(super) fn record(&mut self, evidence: Evidence, epoch: Epoch, now: SystemTime, jitter: f64) {
        if epoch != self.epoch {
            return;
        }
        match evidence {
            // The peer responded before its pause was over.
            Evidence::Answered
                if matches!(
                    self.state,
                    State::Away { reason: AwayReason::Failed, .. } | State::Probing { .. }
                ) =>
            {
                self.enter(State::Returning { since: now });
            }
            Evidence::Answered => self.failures = 0,
            Evidence::BodyComplete => self.broken_bodies = 0,
            Evidence::Failed => self.fail(now, jitter),
            // A single URL whose origin breaks off must not take a peer out of the pool.
            Evidence::BodyBroken(url) if self.broken_bodies > 0 && url == self.broken_url => {}
            Evidence::BodyBroken(url) => {
                (self.broken_bodies, self.broken_url) = (self.broken_bodies + 1, url);
                if self.broken_bodies >= MAX_BROKEN_BODIES {
                    self.broken_bodies = 0;
                    self.fail(now, jitter);
                }
            }
            Evidence::Leaving if matches!(self.state, State::Up | State::Returning { .. }) => self.drain(now),
            Evidence::Leaving => {}
        }
    }

    /// The result of a probe.
    pub(super) fn finish_probe(&mut self, found: ProbeResult, now: SystemTime, jitter: f64) {
        let State::Probing { reason } = self.state else { return };
        match (found, reason) {
            (ProbeResult::Up, _) => self.enter(State::Returning { since: now }),
            (ProbeResult::Leaving, _) | (ProbeResult::Down, AwayReason::Leaving) => self.drain(now),
            (ProbeResult::Down, AwayReason::Failed) => self.fail(now, jitter),
        }
    }

    fn fail(&mut self, now: SystemTime, jitter: f64) {
        self.failures = self.failures.saturating_add(1);
        self.enter(State::Away { until: now + pause(self.failures, jitter), reason: AwayReason::Failed });
    }

    fn drain(&mut self, now: SystemTime) {
        self.enter(State::Away { until: now + LEAVING_PAUSE, reason: AwayReason::Leaving });
    }

    fn enter(&mut self, state: State) {
        self.state = state;
        self.epoch = Epoch(self.epoch.0 + 1);
    }

    pub(super) fn epoch(&self) -> Epoch {
        self.epoch
    }

    /// Returns whether the peer is up and has no recent failures.
    pub(super) fn is_settled(&self) -> bool {
        self.state == State::Up && self.failures == 0 && self.broken_bodies == 0
    }

    pub(super) fn state(&self) -> PeerState {
        match self.state {
            State::Up => PeerState::Up,
            State::Away { reason: AwayReason::Leaving, .. }
            | State::Probing { reason: AwayReason::Leaving } => PeerState::Draining,
            State::Away { .. } => PeerState::Down,
            State::Probing { .. } => PeerState::Probing,
            State::Returning { .. } => PeerState::Returning,
        }
    }

    pub(super) fn failures(&self) -> u32 {
        self.failures
    }

    /// Returns the end of the pause, if there is one.
    pub(super) fn until(&self) -> Option<SystemTime> {
        match self.state {
            State::Away { until, .. } => Some(until),
            _ => None,
        }
    }
}

/// Returns the pause after this many failures. Its second half is random, so that clients that saw the same
/// failure do not return at the same moment.
fn pause(failures: u32, jitter: f64) -> Duration {
    let doubled = FIRST_PAUSE.saturating_mul(1 << failures.saturating_sub(1).min(16));
    doubled.min(LONGEST_PAUSE).mul_f64(0.5 + 0.5 * jitter.clamp(0.0, 1.0))
}

#[cfg(test)]
mod tests;
