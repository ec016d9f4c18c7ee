//! One origin: what is under way, who waits, and whether it asked to be left alone.

use std::collections::VecDeque;
use std::time::{Duration, SystemTime};

use super::kept::Kept;
use super::options::{Limits, Politeness};
use super::pause::Pause;

/// Somebody who waits: a number of his own, greater than those of all who came before.
pub(super) type Ticket = u64;

/// What one who asks is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Admission {
    /// Go, and give the place back.
    Go,
    /// Wait: it is worth asking again after this long, if that is known, and when something has changed.
    Wait(Option<Duration>),
    /// There is no place within the time that is waited, or too many wait; when it may be worth asking again.
    Full(Duration),
    /// The origin is left alone for this long.
    Paused(Duration),
}

/// What is known of one origin.
#[derive(Debug)]
pub(super) struct Budget {
    pub(super) in_flight: u32,
    queue: VecDeque<Ticket>,
    pub(super) pause: Pause,
    kept: Kept,
    pub(super) used: SystemTime,
}

/// How soon it is worth asking again where nobody knows.
const SOON: Duration = Duration::from_secs(1);

impl Budget {
    pub(super) fn new(limits: Limits, now: SystemTime) -> Self {
        Self {
            in_flight: 0,
            queue: VecDeque::new(),
            pause: Pause::default(),
            kept: Kept::new(limits),
            used: now,
        }
    }

    /// Decides on one who comes, or who has waited; `may_wait` says whether there is room for one more who waits.
    pub(super) fn admit(
        &mut self,
        ticket: Ticket,
        options: &Politeness,
        may_wait: bool,
        now: SystemTime,
    ) -> Admission {
        self.used = now;
        if let Some(left) = self.pause.left(now) {
            return Admission::Paused(left);
        }
        let place = self.queue.iter().position(|waiting| *waiting == ticket);
        let ahead = place.unwrap_or(self.queue.len());
        let again = if ahead > 0 {
            None
        } else {
            match self.kept.admit(self.in_flight, now) {
                Ok(()) => {
                    self.leave(ticket);
                    self.in_flight += 1;
                    return Admission::Go;
                }
                Err(again) => again,
            }
        };
        if place.is_none() {
            let ahead = u32::try_from(ahead).unwrap_or(u32::MAX);
            let wait = self.kept.wait(ahead.saturating_add(1), now);
            if !may_wait || self.queue.len() >= options.max_waiting || wait > options.patience {
                return Admission::Full(if wait.is_zero() { SOON } else { wait });
            }
            self.queue.push_back(ticket);
        }
        Admission::Wait(again)
    }

    /// Takes one who waits no longer out of the queue; says whether it was there.
    pub(super) fn leave(&mut self, ticket: Ticket) -> bool {
        let place = self.queue.iter().position(|waiting| *waiting == ticket);
        place.and_then(|place| self.queue.remove(place)).is_some()
    }

    /// When it may be worth asking again for one who has waited in vain.
    pub(super) fn again(&self, now: SystemTime) -> Duration {
        let wait = self.kept.wait(1, now);
        if wait.is_zero() { SOON } else { wait }
    }

    /// Whether somebody needs it at this moment.
    pub(super) fn is_in_use(&self) -> bool {
        self.in_flight > 0 || !self.queue.is_empty()
    }

    /// Whether a new one would be the same.
    pub(super) fn is_idle(&self, options: &Politeness, now: SystemTime) -> bool {
        !self.is_in_use()
            && (self.pause.is_over(now) || self.pause.is_forgotten(options.longest_pause, now))
            && self.kept.is_whole(now)
    }
}
