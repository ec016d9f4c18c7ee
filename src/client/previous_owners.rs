//! Remembers the members before the last few changes of the pool, for a limited time, so that a new owner can
//! fetch a URL from the previous one.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use super::members::Members;
use crate::message::purge::Purge;
use crate::message::url::CanonicalUrl;
use crate::pool::peer_url::PeerUrl;

/// Maximum number of remembered changes.
const MAX_CHANGES: usize = 4;

/// Maximum number of remembered purges. One more clears all previous owners.
const MAX_PURGES: usize = 64;

/// The members before recent changes, and the purges since then.
#[derive(Debug, Default)]
pub(crate) struct PreviousOwners {
    is_any: AtomicBool,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// Oldest first.
    changes: VecDeque<Change>,
    /// Previous owners that did not respond since the last change.
    unresponsive: Vec<PeerUrl>,
}

#[derive(Debug)]
struct Change {
    /// The members before the change.
    members: Arc<Members>,
    /// When the change is forgotten; `None` if that time is out of the clock's range.
    until: Option<Instant>,
    /// Purges between this change and the next.
    purges: Vec<Purge>,
}

impl State {
    /// Adds a change; returns the expired changes, to be dropped outside the lock.
    fn remember(&mut self, members: Arc<Members>, until: Option<Instant>, now: Instant) -> Vec<Change> {
        self.unresponsive.clear();
        let mut before = self.take_overdue(now);
        if until.is_some_and(|until| until <= now) {
            return before;
        }
        if self.changes.len() == MAX_CHANGES {
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

    /// Adds a purge. Returns `false` if there is no room for it.
    fn purge(&mut self, purge: &Purge) -> bool {
        if self.purges().any(|before| before == purge) {
            return true;
        }
        let has_room = !purge.is_of_all() && self.purges().count() < MAX_PURGES;
        if has_room && let Some(last) = self.changes.back_mut() {
            last.purges.push(purge.clone());
        }
        has_room
    }

    fn purges(&self) -> impl Iterator<Item = &Purge> {
        self.changes.iter().flat_map(|change| &change.purges)
    }

    /// Returns the newest previous owner that may be asked. If that one has not responded before, no older
    /// owner is returned: its response may be older than an update that went through the newer one.
    fn owner(&self, target: &CanonicalUrl, may_request: impl Fn(&PeerUrl) -> bool) -> Option<PeerUrl> {
        if self.purges().any(|purge| purge.covers(target.as_str())) {
            return None;
        }
        let owners = self.changes.iter().rev().filter_map(|change| change.members.owner(target));
        let owner = { owners }.find(|owner| may_request(owner))?;
        (!self.unresponsive.contains(owner)).then(|| owner.clone())
    }
}

impl PreviousOwners {
    /// Remembers these members for the time `warm_up`.
    pub(super) fn remember(&self, members: Arc<Members>, warm_up: Duration, now: Instant) {
        let mut state = self.state.lock();
        let before = state.remember(members, now.checked_add(warm_up), now);
        self.is_any.store(!state.changes.is_empty(), Ordering::Relaxed);
        drop(state);
        drop(before);
    }

    /// Forgets all previous owners.
    pub(crate) fn forget(&self) {
        let mut state = self.state.lock();
        let before = std::mem::take(&mut *state);
        self.is_any.store(false, Ordering::Relaxed);
        drop(state);
        drop(before);
    }

    /// Excludes URLs that this purge covers from [`owner`](Self::owner).
    pub(crate) fn purge(&self, purge: &Purge) {
        if !self.state.lock().purge(purge) {
            self.forget();
        }
    }

    /// Returns whether any previous owner is remembered. Takes no lock.
    pub(crate) fn are_any(&self) -> bool {
        self.is_any.load(Ordering::Relaxed)
    }

    /// Returns the last previous owner for which `may_request` returns true.
    pub(super) fn owner(
        &self,
        target: &CanonicalUrl,
        now: Instant,
        may_request: impl Fn(&PeerUrl) -> bool,
    ) -> Option<PeerUrl> {
        let mut state = self.state.lock();
        let overdue = state.take_overdue(now);
        self.is_any.store(!state.changes.is_empty(), Ordering::Relaxed);
        let owner = state.owner(target, may_request);
        drop(state);
        drop(overdue);
        owner
    }

    /// Records that this previous owner did not respond.
    pub(crate) fn is_gone(&self, peer: &PeerUrl) {
        let mut state = self.state.lock();
        if !state.changes.is_empty() && !state.unresponsive.contains(peer) {
            state.unresponsive.push(peer.clone());
        }
    }
}

#[cfg(test)]
mod tests;
