//! Decides when a changed list replaces the pool: once it has been stable for a while.
//!
//! A list is often written in several steps, and half of it can be well-formed. So two readings, some time
//! apart, must see a change before it takes effect.

use std::time::{Duration, SystemTime};

use crate::pool::member::Member;

/// A list that differs from the pool, and the time since when it has been stable.
#[derive(Debug, Default)]
pub(super) struct Settling {
    candidate: Option<(Vec<Member>, SystemTime)>,
}

/// The decision after a reading.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Decision {
    /// The list equals the pool.
    Same,
    /// The list differs, but has not been stable for long enough.
    Wait,
    /// The list has been stable for long enough.
    Replace(Vec<Member>),
}

impl Settling {
    /// Decides about a list that was just read. The list must be sorted as the pool is. `None` means that it
    /// is unchanged since the last reading.
    pub(super) fn observe(
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
            // If the clock was set back, the age is unknown.
            Some((seen, since)) if seen == list && since <= now => since,
            _ => now,
        };
        if now.duration_since(since).is_ok_and(|age| age >= settle) {
            return Decision::Replace(list);
        }
        self.candidate = Some((list, since));
        Decision::Wait
    }

    /// Restarts the waiting time after a failed reading.
    pub(super) fn reset(&mut self) {
        self.candidate = None;
    }

    /// Returns whether a changed list waits for its next reading.
    pub(super) fn is_waiting(&self) -> bool {
        self.candidate.is_some()
    }
}

#[cfg(test)]
mod tests;
