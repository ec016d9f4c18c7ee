//! Invalidated groups that wait to be removed from the store. One job at a time removes them, because the responses of an origin can
//! invalidate more of them than all threads can remove, and other work needs these threads too.

use std::collections::VecDeque;
use std::sync::Arc;

use parking_lot::Mutex;

use super::tombstones::Sequence;
use crate::message::purge::Purge;

/// How many groups may wait. The tombstones of further ones remain, so their responses are not served either.
const MAX_WAITING: usize = 256;

/// The groups that wait, each with its tombstone.
#[derive(Default)]
pub(super) struct Sweeps(Mutex<State>);

#[derive(Default)]
struct State {
    waiting: VecDeque<(Purge, Sequence)>,
    has_sweeper: bool,
}

/// An iterator over the groups that wait, for the only job. Dropping it lets another job begin.
pub(super) struct Sweeper {
    sweeps: Arc<Sweeps>,
    /// Whether another job may have begun.
    has_ended: bool,
}

impl Sweeps {
    /// Adds a group. Returns what a job has to do, unless there is a job.
    pub(super) fn add(self: &Arc<Self>, purge: Purge, tombstone: Sequence) -> Option<Sweeper> {
        let mut state = self.0.lock();
        if state.waiting.len() < MAX_WAITING {
            state.waiting.push_back((purge, tombstone));
        }
        let has_sweeper = std::mem::replace(&mut state.has_sweeper, true);
        (!has_sweeper).then(|| Sweeper { sweeps: Arc::clone(self), has_ended: false })
    }
}

impl Iterator for Sweeper {
    type Item = (Purge, Sequence);

    /// Takes the next group. After the last one another job may begin.
    fn next(&mut self) -> Option<Self::Item> {
        if self.has_ended {
            return None;
        }
        let mut state = self.sweeps.0.lock();
        let next = state.waiting.pop_front();
        state.has_sweeper = next.is_some();
        self.has_ended = next.is_none();
        next
    }
}

impl Drop for Sweeper {
    fn drop(&mut self) {
        if !self.has_ended {
            self.sweeps.0.lock().has_sweeper = false;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_job_at_a_time_takes_a_bounded_number_of_groups() {
        let sweeps = Arc::<Sweeps>::default();
        let add = |tombstone| sweeps.add(Purge::group("http://h/", "a").unwrap(), tombstone);
        let mut first = add(0).unwrap();
        assert!((1..2 * MAX_WAITING as u64).all(|number| add(number).is_none()));
        assert_eq!(first.by_ref().count(), MAX_WAITING);
        // It has ended, so its drop does not let a third job run beside the second.
        let mut second = add(1).unwrap();
        drop(first);
        assert!(add(2).is_none());
        assert_eq!(second.next().map(|(_, tombstone)| tombstone), Some(1));
        // After a job that was refused, the next one takes what is left.
        drop(second);
        let third = add(3).unwrap();
        assert_eq!(third.map(|(_, tombstone)| tombstone).collect::<Vec<_>>(), [2, 3]);
    }
}
