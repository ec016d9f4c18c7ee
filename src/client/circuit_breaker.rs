//! Whether a peer is asked: what it did so far, and when it is tried again. Pure, over a given time.

use std::time::{Duration, SystemTime};

use crate::base::named::named;

/// How long a peer is left alone after its first failure; twice as long after each that follows.
const FIRST_PAUSE: Duration = Duration::from_secs(1);

/// How long at most.
pub(super) const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// How long it takes until a peer that returned has all of its keys again. It returns with an empty cache as
/// often as not: who had its keys meanwhile has what it would have to fetch.
const RETURN: Duration = Duration::from_secs(5);

/// How long a peer that leaves is left alone before it is asked whether it is back.
const DRAIN: Duration = Duration::from_secs(1);

/// So many broken bodies on end, of more than one URL, are the peer's.
const BROKEN: u32 = 3;

/// What is known of one peer.
///
/// Many requests are under way at a time, and all of them fail when a peer dies: that is one failure. So each
/// holds the [`Epoch`] of the moment when it was sent, and what is told with one of an earlier time is not
/// counted.
#[derive(Clone, Debug, Default)]
pub(super) struct CircuitBreaker {
    state: State,
    /// Since the last answer.
    failures: u32,
    /// Bodies that were broken since the last whole one, and of which URL the last of them was.
    broken: u32,
    broken_url: u32,
    ticket: Epoch,
}

/// Which time of a peer's life it was.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Epoch(pub(super) u64);

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    #[default]
    Up,
    /// Left alone up to then.
    Away { until: SystemTime, why: Why },
    /// It is being asked whether it is there.
    Probing { why: Why },
    /// It is there, and its keys come back.
    Returning { since: SystemTime },
}

/// What a peer is away for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Why {
    Failed,
    /// It said that it leaves.
    Leaving,
}

named! {
    /// What a peer's standing is, as it is shown: `up`, `down`, `draining`, `probing` or `returning`.
    #[non_exhaustive]
    pub enum PeerState: ALL {
        /// It is asked for what it owns.
        Up = "up",
        /// It failed, and is left alone for a while.
        Down = "down",
        /// It said that it leaves: it gets no new requests until it is back.
        Draining = "draining",
        /// It was left alone for long enough, and is asked in the background whether it is there again.
        Probing = "probing",
        /// It is there again, and is asked for more of its share from second to second.
        Returning = "returning",
    }
}

/// What to do about a peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Admission {
    /// Ask it.
    Ask(Epoch),
    /// Pass it over, and ask it where no other is left: it answers.
    Spare(Epoch),
    /// Pass it over, and ask it only where the request would fail otherwise: it may be back.
    Trial(Epoch),
    /// Pass it over.
    Skip,
}

/// What became of a request to a peer, as far as it says something about the peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Evidence {
    /// It answered.
    Answered,
    /// A body came whole.
    Whole,
    /// It is not there, or takes nothing.
    Failed,
    /// The body of this URL, by its hash, was broken.
    Broken(u32),
    /// It says that it is about to end.
    Leaving,
}

/// What a probe found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Found {
    There,
    Leaving,
    Nothing,
}

impl CircuitBreaker {
    /// What to do with a request whose key is this one, in thousandths of all keys.
    pub(super) fn look(&mut self, now: SystemTime, key: u16) -> Admission {
        match self.state {
            State::Up => Admission::Ask(self.ticket),
            State::Away { .. } if !self.is_due(now) => Admission::Skip,
            State::Away { .. } | State::Probing { .. } => Admission::Trial(self.ticket),
            State::Returning { since } => {
                let returned = now.duration_since(since).unwrap_or(RETURN);
                if returned >= RETURN {
                    // What was sent before goes on as it began.
                    self.state = State::Up;
                    return Admission::Ask(self.ticket);
                }
                let has = returned.as_millis() * 1000 / RETURN.as_millis();
                if u128::from(key) < has {
                    Admission::Ask(self.ticket)
                } else {
                    Admission::Spare(self.ticket)
                }
            }
        }
    }

    /// Whether it was left alone for long enough.
    pub(super) fn is_due(&self, now: SystemTime) -> bool {
        let State::Away { until, .. } = self.state else { return false };
        // A clock that was set back must not keep it away for longer than any pause.
        let left = until.duration_since(now).unwrap_or_default();
        left.is_zero() || left > LONGEST_PAUSE
    }

    /// Whether it is left alone at this time, because it failed or because it is leaving.
    pub(super) fn is_away(&self, now: SystemTime) -> bool {
        match self.state {
            State::Away { .. } => !self.is_due(now),
            State::Probing { .. } => true,
            State::Up | State::Returning { .. } => false,
        }
    }

    /// Begins a probe, whose result [`probed`](Self::probed) takes, where it is time for one.
    pub(super) fn begin_probe(&mut self, now: SystemTime) -> bool {
        let State::Away { why, .. } = self.state else { return false };
        let is_due = self.is_due(now);
        if is_due {
            self.enter(State::Probing { why });
        }
        is_due
    }

    /// What became of a request that was sent with this ticket. `jitter` is from 0 to 1.
    pub(super) fn told(&mut self, sign: Evidence, ticket: Epoch, now: SystemTime, jitter: f64) {
        if ticket != self.ticket {
            return;
        }
        match sign {
            // It answers already before the pause is over.
            Evidence::Answered
                if matches!(self.state, State::Away { why: Why::Failed, .. } | State::Probing { .. }) =>
            {
                self.enter(State::Returning { since: now });
            }
            Evidence::Answered => self.failures = 0,
            Evidence::Whole => self.broken = 0,
            Evidence::Failed => self.fail(now, jitter),
            // One URL that its origin breaks off takes no peer out of the pool.
            Evidence::Broken(url) if self.broken > 0 && url == self.broken_url => {}
            Evidence::Broken(url) => {
                (self.broken, self.broken_url) = (self.broken + 1, url);
                if self.broken >= BROKEN {
                    self.broken = 0;
                    self.fail(now, jitter);
                }
            }
            Evidence::Leaving if matches!(self.state, State::Up | State::Returning { .. }) => self.drain(now),
            Evidence::Leaving => {}
        }
    }

    /// What a probe found.
    pub(super) fn probed(&mut self, found: Found, now: SystemTime, jitter: f64) {
        let State::Probing { why } = self.state else { return };
        match (found, why) {
            (Found::There, _) => self.enter(State::Returning { since: now }),
            (Found::Leaving, _) | (Found::Nothing, Why::Leaving) => self.drain(now),
            (Found::Nothing, Why::Failed) => self.fail(now, jitter),
        }
    }

    fn fail(&mut self, now: SystemTime, jitter: f64) {
        self.failures = self.failures.saturating_add(1);
        self.enter(State::Away { until: now + pause(self.failures, jitter), why: Why::Failed });
    }

    fn drain(&mut self, now: SystemTime) {
        self.enter(State::Away { until: now + DRAIN, why: Why::Leaving });
    }

    fn enter(&mut self, state: State) {
        self.state = state;
        self.ticket = Epoch(self.ticket.0 + 1);
    }

    pub(super) fn ticket(&self) -> Epoch {
        self.ticket
    }

    /// Whether it is up, and nothing is held against it.
    pub(super) fn is_settled(&self) -> bool {
        self.state == State::Up && self.failures == 0 && self.broken == 0
    }

    pub(super) fn state(&self) -> PeerState {
        match self.state {
            State::Up => PeerState::Up,
            State::Away { why: Why::Leaving, .. } | State::Probing { why: Why::Leaving } => {
                PeerState::Draining
            }
            State::Away { .. } => PeerState::Down,
            State::Probing { .. } => PeerState::Probing,
            State::Returning { .. } => PeerState::Returning,
        }
    }

    pub(super) fn failures(&self) -> u32 {
        self.failures
    }

    /// Up to when it is left alone.
    pub(super) fn until(&self) -> Option<SystemTime> {
        match self.state {
            State::Away { until, .. } => Some(until),
            _ => None,
        }
    }
}

/// How long a peer is left alone after so many failures. The second half of the time is left to chance, so
/// that those who saw it fail at one moment do not come back at one.
fn pause(failures: u32, jitter: f64) -> Duration {
    let doubled = FIRST_PAUSE.saturating_mul(1 << failures.saturating_sub(1).min(16));
    doubled.min(LONGEST_PAUSE).mul_f64(0.5 + 0.5 * jitter.clamp(0.0, 1.0))
}

#[cfg(test)]
mod tests;
