//! When a list that differs is put in place: once it has stayed the same for a while.
//!
//! A list is often written in several steps, and half of one is as well-formed as the whole. So a change has to
//! be seen twice, some time apart, before it counts.

use std::time::{Duration, SystemTime};

use crate::pool::member::Member;

/// A list that differs from the pool, and since when it has been seen.
#[derive(Debug, Default)]
pub(super) struct Settling {
    candidate: Option<(Vec<Member>, SystemTime)>,
}

/// What follows from a reading.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Decision {
    /// The list is the pool's.
    Same,
    /// It differs, and has not stayed so for long enough.
    Wait,
    /// It has.
    Swap(Vec<Member>),
}

impl Settling {
    /// A list was read. It is sorted as the pool is, so that order is no difference; `None` stands for the
    /// list of the last reading.
    pub(super) fn seen(
        &mut self,
        read: Option<Vec<Member>>,
        pool: &[Member],
        settle: Duration,
        now: SystemTime,
    ) -> Decision {
        let former = self.candidate.take();
        let Some(list) = read.or_else(|| former.as_ref().map(|(list, _)| list.clone())) else {
            return Decision::Same;
        };
        if list == pool {
            return Decision::Same;
        }
        let since = match former {
            // A clock that went back says nothing of how long ago it was.
            Some((seen, since)) if seen == list && since <= now => since,
            _ => now,
        };
        if now.duration_since(since).is_ok_and(|age| age >= settle) {
            return Decision::Swap(list);
        }
        self.candidate = Some((list, since));
        Decision::Wait
    }

    /// Nothing could be read: what was seen before has not stayed.
    pub(super) fn start_over(&mut self) {
        self.candidate = None;
    }

    /// Whether a list waits to be seen again.
    pub(super) fn is_waiting(&self) -> bool {
        self.candidate.is_some()
    }
}

#[cfg(test)]
mod tests;
