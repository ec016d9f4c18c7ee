//! The members before the last few changes, for a while.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use super::pool::Members;
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
mod tests {
    use super::super::pool::{Pool, RingChoice, parse};
    use super::*;

    const HANDOVER: Duration = Duration::from_secs(60);

    /// Those who were alone before each of the changes, the oldest first, each a second after the one before.
    fn changed(alone: &[&str], begun: Instant) -> Former {
        let former = Former::default();
        for (peer, second) in alone.iter().zip(0..) {
            remember(&former, peer, begun + Duration::from_secs(second));
        }
        former
    }

    fn remember(former: &Former, peer: &str, now: Instant) {
        let pool = Pool::new(parse([peer]).unwrap(), RingChoice::Rendezvous, Duration::ZERO).unwrap();
        former.remember(pool.snapshot(), HANDOVER, now);
    }

    fn owner(former: &Former, url: &str, now: Instant, members: &[&str]) -> Option<String> {
        let target = CanonicalUrl::parse(url).unwrap();
        let owner = former.owner(&target, now, |peer| members.contains(&peer.as_str()));
        owner.map(|owner| owner.to_string())
    }

    #[test]
    fn the_newest_that_may_be_asked_is_and_each_for_its_time() {
        let begun = Instant::now();
        let former = changed(&["http://a", "http://b", "http://c"], begun);
        let all = ["http://a", "http://b", "http://c"];
        for (second, members, expected) in [
            (3, &all[..], Some("http://c")),
            (3, &all[..2], Some("http://b")),
            (3, &all[..1], Some("http://a")),
            (3, &[], None),
            (60, &all[..1], None),
            (60, &all[..2], Some("http://b")),
            (61, &all[..2], None),
            (61, &all[..], Some("http://c")),
        ] {
            let found = owner(&former, "http://h/", begun + Duration::from_secs(second), members);
            assert_eq!(found.as_deref(), expected, "{second} {members:?}");
        }
        assert!(former.are_any());
        assert_eq!(owner(&former, "http://h/", begun + Duration::from_secs(62), &all), None);
        assert!(!former.are_any());
    }

    #[test]
    fn no_more_than_four_changes_are_remembered_and_none_for_no_time() {
        let begun = Instant::now();
        let former = changed(&["http://a", "http://b", "http://c", "http://d", "http://e"], begun);
        let now = begun + Duration::from_secs(5);
        assert_eq!(owner(&former, "http://h/", now, &["http://a"]), None);
        assert_eq!(owner(&former, "http://h/", now, &["http://b"]).as_deref(), Some("http://b"));
        let former = Former::default();
        let pool = Pool::new(parse(["http://a"]).unwrap(), RingChoice::Rendezvous, Duration::ZERO).unwrap();
        former.remember(pool.snapshot(), Duration::ZERO, begun);
        assert!(!former.are_any());
    }

    #[test]
    fn one_that_is_gone_is_passed_over_for_nobody() {
        let begun = Instant::now();
        let former = changed(&["http://a", "http://b"], begun);
        let all = ["http://a", "http://b"];
        former.is_gone(&"http://b".parse().unwrap());
        assert_eq!(owner(&former, "http://h/", begun, &all), None);
        assert_eq!(owner(&former, "http://h/", begun, &all[..1]).as_deref(), Some("http://a"));
        remember(&former, "http://b", begun);
        assert_eq!(owner(&former, "http://h/", begun, &all).as_deref(), Some("http://b"));
    }

    #[test]
    fn a_purge_excludes_what_it_covers() {
        let begun = Instant::now();
        let group = Purge::group("http://g", "news").unwrap();
        for (purge, covered, other) in [
            (Purge::url("http://h/a").unwrap(), "http://h/a", "http://h/ab"),
            (Purge::prefix("http://h/a").unwrap(), "http://h/ab", "http://h/b"),
            (group, "http://g/anything", "http://h/a"),
        ] {
            let former = changed(&["http://a", "http://b"], begun);
            former.purge(&purge);
            let after = begun + Duration::from_secs(2);
            // What was purged stays so after the next change.
            remember(&former, "http://c", after);
            for member in ["http://a", "http://b", "http://c"] {
                assert_eq!(owner(&former, covered, after, &[member]), None, "{purge}");
                assert_eq!(owner(&former, other, after, &[member]).as_deref(), Some(member), "{purge}");
            }
            // The purge was after a change that is too long ago to matter.
            let late = begun + Duration::from_secs(61);
            assert_eq!(owner(&former, covered, late, &["http://c"]).as_deref(), Some("http://c"));
        }
        let former = changed(&["http://a", "http://b"], begun);
        former.purge(&Purge::all());
        assert!(!former.are_any());
    }

    #[test]
    fn more_purges_than_are_remembered_exclude_everything() {
        let (begun, former) = (Instant::now(), changed(&["http://a"], Instant::now()));
        let purge = |number: usize| Purge::url(&format!("http://h/{number}")).unwrap();
        for _ in 0..2 {
            (0..MOST_PURGES).for_each(|number| former.purge(&purge(number)));
        }
        assert_eq!(owner(&former, "http://h/", begun, &["http://a"]).as_deref(), Some("http://a"));
        former.purge(&purge(MOST_PURGES));
        assert!(!former.are_any());
        assert_eq!(owner(&former, "http://h/", begun, &["http://a"]), None);
        // Nothing is remembered without a change.
        former.purge(&purge(0));
        remember(&former, "http://a", begun);
        assert_eq!(owner(&former, "http://h/0", begun, &["http://a"]).as_deref(), Some("http://a"));
    }
}
