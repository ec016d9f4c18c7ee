//! The members before the last few changes, for a while.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use super::members::Members;
use crate::message::purge::Purge;
use crate::message::url::CanonicalUrl;
use crate::pool::peer_url::PeerUrl;

/// How many changes are remembered at most.
const MOST_CHANGES: usize = 4;

/// How many purges are remembered at most. One more, and no former owner is asked for anything.
const MOST_PURGES: usize = 64;

/// Who owned what before the pool was changed, and what was purged since.
#[derive(Debug, Default)]
pub(crate) struct Former {
    is_any: AtomicBool,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// The oldest first.
    changes: VecDeque<Change>,
    /// Those who did not answer when they were asked, since the last change.
    gone: Vec<PeerUrl>,
}

#[derive(Debug)]
struct Change {
    /// Those before it.
    members: Arc<Members>,
    /// Without end, where it is beyond what a clock can tell.
    until: Option<Instant>,
    /// What was purged after it and before the next one.
    purges: Vec<Purge>,
}

impl State {
    /// Returns what is remembered no longer.
    fn remember(&mut self, members: Arc<Members>, until: Option<Instant>, now: Instant) -> Vec<Change> {
        self.gone.clear();
        let mut before = self.take_overdue(now);
        if until.is_some_and(|until| until <= now) {
            return before;
        }
        if self.changes.len() == MOST_CHANGES {
            before.extend(self.changes.pop_front());
        }
        self.changes.push_back(Change { members, until, purges: Vec::new() });
        before
    }

    fn take_overdue(&mut self, now: Instant) -> Vec<Change> {
        let is_overdue = |change: &&Change| change.until.is_some_and(|until| until <= now);
        let overdue = self.changes.iter().take_while(is_overdue).count();
        self.changes.drain(..overdue).collect()
    }

    /// Whether there is still room for what was purged.
    fn purge(&mut self, purge: &Purge) -> bool {
        if self.purges().any(|before| before == purge) {
            return true;
        }
        let has_room = !purge.is_of_all() && self.purges().count() < MOST_PURGES;
        if has_room && let Some(last) = self.changes.back_mut() {
            last.purges.push(purge.clone());
        }
        has_room
    }

    fn purges(&self) -> impl Iterator<Item = &Purge> {
        self.changes.iter().flat_map(|change| &change.purges)
    }

    /// The newest former owner that may be asked. Where that did not answer before, no older one is: what that has may
    /// have been changed by way of the newer one.
    fn owner(&self, target: &CanonicalUrl, may_be_asked: impl Fn(&PeerUrl) -> bool) -> Option<PeerUrl> {
        if self.purges().any(|purge| purge.covers(target.as_str())) {
            return None;
        }
        let owners = self.changes.iter().rev().filter_map(|change| change.members.owner(target));
        let owner = { owners }.find(|owner| may_be_asked(owner))?;
        (!self.gone.contains(owner)).then(|| owner.clone())
    }
}

impl Former {
    /// For so long from now on.
    pub(super) fn remember(&self, members: Arc<Members>, handover: Duration, now: Instant) {
        let mut state = self.state.lock();
        let before = state.remember(members, now.checked_add(handover), now);
        self.is_any.store(!state.changes.is_empty(), Ordering::Relaxed);
        drop(state);
        drop(before);
    }

    /// Nobody is asked for what they have.
    pub(crate) fn forget(&self) {
        let mut state = self.state.lock();
        let before = std::mem::take(&mut *state);
        self.is_any.store(false, Ordering::Relaxed);
        drop(state);
        drop(before);
    }

    /// Nobody is asked for what this covers.
    pub(crate) fn purge(&self, purge: &Purge) {
        if !self.state.lock().purge(purge) {
            self.forget();
        }
    }

    /// Whether it is worth asking for one.
    pub(crate) fn are_any(&self) -> bool {
        self.is_any.load(Ordering::Relaxed)
    }

    /// Who owned it last, of those who may be asked.
    pub(super) fn owner(
        &self,
        target: &CanonicalUrl,
        now: Instant,
        may_be_asked: impl Fn(&PeerUrl) -> bool,
    ) -> Option<PeerUrl> {
        let mut state = self.state.lock();
        let overdue = state.take_overdue(now);
        self.is_any.store(!state.changes.is_empty(), Ordering::Relaxed);
        let owner = state.owner(target, may_be_asked);
        drop(state);
        drop(overdue);
        owner
    }

    /// It did not answer.
    pub(crate) fn is_gone(&self, peer: &PeerUrl) {
        let mut state = self.state.lock();
        if !state.changes.is_empty() && !state.gone.contains(peer) {
            state.gone.push(peer.clone());
        }
    }
}

#[cfg(test)]
mod tests;
