//! Whether a peer is asked: what it did so far, and when it is tried again. Pure, over a given time.

use std::time::{Duration, SystemTime};

/// How long a peer is left alone after its first failure; twice as long after each that follows.
const FIRST_PAUSE: Duration = Duration::from_secs(1);

/// How long at most.
pub(super) const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// How long it takes until a peer that returned has all of its keys again. It returns with an empty cache as
/// often as not: who had its keys meanwhile has what it would have to fetch.
const RETURN: Duration = Duration::from_secs(5);

/// So many failures on end that may be the request's fault as well, and no answer between them, are the
/// peer's.
const SUSPICIONS: u32 = 3;

/// What is known of one peer.
///
/// Many requests are under way at a time, and all of them fail when a peer dies: that is one failure. So each
/// holds the [`Ticket`] of the moment when it was sent, and what is told with one of an earlier time is not
/// counted.
#[derive(Clone, Debug, Default)]
pub(super) struct Standing {
    state: State,
    /// Since the last answer.
    failures: u32,
    ticket: Ticket,
}

/// Which time of a peer's life it was.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Ticket(pub(super) u64);

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    #[default]
    Up,
    /// Left alone up to then.
    Down { until: SystemTime, why: Why },
    /// Somebody asks whether it is there.
    Probing { why: Why },
    /// It is there, and its keys come back.
    Returning { since: SystemTime },
}

/// What a peer is down for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Why {
    /// It failed.
    Failed,
    /// Something failed that may have been the request: a probe decides.
    Suspected,
    /// It was slower than the others.
    Slow,
}

/// What a peer's standing is, as it is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum PeerState {
    /// It is asked for what it owns.
    Up,
    /// It failed, and is left alone for a while.
    Down,
    /// It was left alone for long enough, and one request finds out whether it is there again.
    Probing,
    /// It is there again, and is asked for more of its share from second to second.
    Returning,
}

impl PeerState {
    /// Its name: `up`, `down`, `probing`, `returning`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Up => "up",
            Self::Down => "down",
            Self::Probing => "probing",
            Self::Returning => "returning",
        }
    }
}

/// What to do about a peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Look {
    /// Ask it.
    Ask(Ticket),
    /// Pass it over, and ask it all the same where no other is left: it is not known to be dead.
    Spare(Ticket),
    /// Pass it over.
    Skip,
    /// Find out whether it is there, and say so by [`Standing::probed`]: nobody else does.
    Probe,
}

/// What became of a request to a peer, as far as it says something about the peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sign {
    /// It answered.
    Answered,
    /// It is not there, or takes nothing.
    Failed,
    /// It failed at this request: it may fail at others.
    Suspicious,
}

impl Standing {
    /// As another program left it.
    pub(super) fn marked(until: SystemTime, failures: u32) -> Self {
        Self { state: State::Down { until, why: Why::Failed }, failures: failures.max(1), ticket: Ticket(1) }
    }

    /// What to do with a request whose key is this one, in thousandths of all keys, and which may wait for a
    /// probe or not.
    pub(super) fn look(&mut self, now: SystemTime, key: u16, may_probe: bool) -> Look {
        match self.state {
            State::Up => Look::Ask(self.ticket),
            State::Down { why, .. } if may_probe && self.is_due(now) => {
                self.enter(State::Probing { why });
                Look::Probe
            }
            State::Down { why, .. } | State::Probing { why } => match why {
                Why::Failed => Look::Skip,
                Why::Suspected | Why::Slow => Look::Spare(self.ticket),
            },
            State::Returning { since } => {
                let returned = now.duration_since(since).unwrap_or(RETURN);
                if returned >= RETURN {
                    // What was sent before goes on as it began.
                    self.state = State::Up;
                    return Look::Ask(self.ticket);
                }
                let has = returned.as_millis() * 1000 / RETURN.as_millis();
                if u128::from(key) < has { Look::Ask(self.ticket) } else { Look::Spare(self.ticket) }
            }
        }
    }

    /// Whether it was left alone for long enough.
    pub(super) fn is_due(&self, now: SystemTime) -> bool {
        let State::Down { until, .. } = self.state else { return false };
        // A clock that was set back must not keep it down for longer than any pause.
        let left = until.duration_since(now).unwrap_or_default();
        left.is_zero() || left > LONGEST_PAUSE
    }

    /// Whether it failed, and the time is not over for which it is left alone.
    #[cfg(feature = "peer")]
    pub(super) fn is_away(&self, now: SystemTime) -> bool {
        match self.state {
            State::Down { why: Why::Failed, .. } => !self.is_due(now),
            State::Probing { why: Why::Failed } => true,
            _ => false,
        }
    }

    /// What became of a request that was sent with this ticket. `jitter` is from 0 to 1.
    pub(super) fn told(&mut self, sign: Sign, ticket: Ticket, now: SystemTime, jitter: f64) {
        if ticket != self.ticket {
            return;
        }
        match sign {
            Sign::Answered => self.failures = 0,
            Sign::Failed => self.fail(now, jitter),
            Sign::Suspicious if self.failures + 1 >= SUSPICIONS => self.fail(now, jitter),
            Sign::Suspicious => {
                self.failures += 1;
                self.enter(State::Down { until: now, why: Why::Suspected });
            }
        }
    }

    /// What a probe found; the ticket for the request that waited for it, where the peer is there.
    pub(super) fn probed(&mut self, is_there: bool, now: SystemTime, jitter: f64) -> Option<Ticket> {
        let State::Probing { why } = self.state else { return None };
        match (is_there, why) {
            (false, _) => self.fail(now, jitter),
            (true, Why::Failed | Why::Slow) => self.enter(State::Returning { since: now }),
            (true, Why::Suspected) => self.enter(State::Up),
        }
        is_there.then_some(self.ticket)
    }

    /// Leaves it alone for so long, for no failure of its own.
    pub(super) fn pause(&mut self, pause: Duration, ticket: Ticket, now: SystemTime) {
        if ticket == self.ticket {
            self.enter(State::Down { until: now + pause, why: Why::Slow });
        }
    }

    fn fail(&mut self, now: SystemTime, jitter: f64) {
        self.failures = self.failures.saturating_add(1);
        self.enter(State::Down { until: now + pause(self.failures, jitter), why: Why::Failed });
    }

    fn enter(&mut self, state: State) {
        self.state = state;
        self.ticket = Ticket(self.ticket.0 + 1);
    }

    pub(super) fn ticket(&self) -> Ticket {
        self.ticket
    }

    /// Whether it is up, and nothing is held against it.
    pub(super) fn is_settled(&self) -> bool {
        self.state == State::Up && self.failures == 0
    }

    pub(super) fn state(&self) -> PeerState {
        match self.state {
            State::Up => PeerState::Up,
            State::Down { .. } => PeerState::Down,
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
            State::Down { until, .. } => Some(until),
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
mod tests {
    use std::time::UNIX_EPOCH;

    use super::*;

    fn at(millis: u64) -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(1_000_000) + Duration::from_millis(millis)
    }

    fn ask(standing: &mut Standing, millis: u64) -> Ticket {
        match standing.look(at(millis), 0, true) {
            Look::Ask(ticket) => ticket,
            other => panic!("{other:?} at {millis}"),
        }
    }

    /// A peer that failed at 0 and is down up to 1000.
    fn down() -> Standing {
        let mut standing = Standing::default();
        let ticket = ask(&mut standing, 0);
        standing.told(Sign::Failed, ticket, at(0), 1.0);
        standing
    }

    #[test]
    fn pauses_double_up_to_a_minute_and_half_of_each_is_chance() {
        for (failures, seconds) in [(1, 1.0), (2, 2.0), (3, 4.0), (6, 32.0), (7, 60.0), (u32::MAX, 60.0)] {
            assert_eq!(pause(failures, 1.0), Duration::from_secs_f64(seconds), "{failures}");
            assert_eq!(pause(failures, 0.0), Duration::from_secs_f64(seconds / 2.0), "{failures}");
        }
        assert_eq!(pause(1, f64::INFINITY), FIRST_PAUSE);
    }

    #[test]
    fn a_peer_that_failed_is_passed_over_and_then_probed_by_one() {
        let mut standing = down();
        assert_eq!((standing.state(), standing.until()), (PeerState::Down, Some(at(1000))));
        assert_eq!(standing.look(at(999), 0, true), Look::Skip);
        #[cfg(feature = "peer")]
        assert!(standing.is_away(at(999)) && !standing.is_away(at(1000)));
        assert_eq!(standing.look(at(1000), 0, true), Look::Probe);
        assert_eq!(standing.look(at(1000), 0, true), Look::Skip);
        assert_eq!(standing.probed(false, at(1000), 1.0), None);
        assert_eq!((standing.failures(), standing.until()), (2, Some(at(3000))));
    }

    #[test]
    fn it_gets_its_keys_back_little_by_little() {
        let mut standing = down();
        assert_eq!(standing.look(at(1000), 999, true), Look::Probe);
        let ticket = standing.probed(true, at(1000), 1.0).unwrap();
        for (millis, key, is_asked) in
            [(1001, 0, false), (1100, 19, true), (1100, 20, false), (3500, 499, true), (5990, 999, false)]
        {
            let expected = if is_asked { Look::Ask(ticket) } else { Look::Spare(ticket) };
            assert_eq!(standing.look(at(millis), key, true), expected, "{key} at {millis}");
        }
        assert_eq!(standing.state(), PeerState::Returning);
        assert_eq!(standing.look(at(6000), 999, true), Look::Ask(ticket));
        assert!(!standing.is_settled());
        standing.told(Sign::Answered, ticket, at(6000), 1.0);
        assert!(standing.is_settled());
    }

    #[test]
    fn all_that_fail_at_once_are_one_failure() {
        let mut standing = Standing::default();
        let tickets: Vec<_> = (0..100).map(|_| ask(&mut standing, 0)).collect();
        for ticket in &tickets {
            standing.told(Sign::Failed, *ticket, at(5), 1.0);
        }
        assert_eq!((standing.failures(), standing.until()), (1, Some(at(1005))));
        // What was answered before it died does not bring it back.
        standing.told(Sign::Answered, tickets[0], at(6), 1.0);
        assert_eq!(standing.state(), PeerState::Down);
    }

    #[test]
    fn what_may_be_the_requests_fault_is_probed_at_once_and_forgiven() {
        let mut standing = Standing::default();
        for failures in 1..SUSPICIONS {
            let ticket = ask(&mut standing, 0);
            standing.told(Sign::Suspicious, ticket, at(0), 1.0);
            assert_eq!(standing.failures(), failures);
            assert_eq!(standing.look(at(0), 999, true), Look::Probe);
            standing.probed(true, at(0), 1.0).unwrap();
            assert_eq!(standing.state(), PeerState::Up);
        }
        // It is there, and fails at everything.
        let ticket = ask(&mut standing, 0);
        standing.told(Sign::Suspicious, ticket, at(0), 1.0);
        assert_eq!(standing.look(at(1), 0, true), Look::Skip);
        assert_eq!(standing.until(), Some(at(4000)));
    }

    #[test]
    fn a_clock_that_was_set_back_does_not_keep_it_down() {
        let mut standing = down();
        let earlier = at(0) - Duration::from_secs(3600);
        assert_eq!(standing.look(earlier, 0, true), Look::Probe);
        standing.probed(true, at(0), 1.0).unwrap();
        assert!(matches!(standing.look(earlier, 999, true), Look::Ask(_)));
    }

    #[test]
    fn a_pause_is_no_failure() {
        let mut standing = Standing::default();
        let ticket = ask(&mut standing, 0);
        standing.pause(Duration::from_secs(10), ticket, at(0));
        let slow = Look::Spare(standing.ticket());
        assert_eq!((standing.failures(), standing.look(at(9999), 0, true)), (0, slow));
        assert_eq!(standing.look(at(10_000), 0, true), Look::Probe);
        assert_eq!(standing.look(at(10_000), 0, true), Look::Spare(standing.ticket()));
        standing.probed(true, at(10_000), 1.0).unwrap();
        assert_eq!(standing.state(), PeerState::Returning);
    }

    #[test]
    fn who_may_not_probe_leaves_it_to_another() {
        let mut dead = down();
        let mut suspected = Standing::default();
        let ticket = ask(&mut suspected, 0);
        suspected.told(Sign::Suspicious, ticket, at(0), 1.0);
        let spare = Look::Spare(suspected.ticket());
        for (standing, expected) in [(&mut dead, Look::Skip), (&mut suspected, spare)] {
            assert_eq!(standing.look(at(1000), 0, false), expected);
            assert!(standing.is_due(at(1000)));
            assert_eq!(standing.look(at(1000), 0, true), Look::Probe);
            assert!(!standing.is_due(at(1000)));
            let after = standing.look(at(1000), 0, true);
            assert!(matches!((after, expected), (Look::Skip, Look::Skip) | (Look::Spare(_), Look::Spare(_))));
        }
        assert!(!down().is_due(at(999)));
    }
}
