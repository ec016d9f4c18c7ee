//! The bounded list of tombstones, and the sequence of numbers.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::time::{SystemTime, UNIX_EPOCH};

use crate::message::purge::Purge;

/// For how many origins "everything older is void" is remembered.
const MAX_ORIGINS: usize = 1024;

/// A number in the sequence of fetches and invalidations. Numbers grow with the system clock, so that the numbers of
/// an earlier process are smaller.
pub(crate) type Sequence = u64;

/// The tombstones in order, with indexes, and the fetches that are under way.
#[derive(Default)]
pub(super) struct TombstoneList {
    pub(super) last: Sequence,
    /// The fetches that are under way.
    pub(super) fetches: BTreeSet<Sequence>,
    /// The tombstones, oldest first.
    pub(super) list: VecDeque<Tombstone>,
    /// The newest tombstone for each digest of a URL, key or group.
    pub(super) exact: HashMap<u64, Sequence>,
    pub(super) prefixes: Vec<(Box<str>, Sequence)>,
    /// The soft purges, oldest first, each with its number and time.
    pub(super) soft: Vec<(Purge, Sequence)>,
    /// For each origin, all responses up to this number are void: see [`TombstoneList::widen_oldest`].
    pub(super) origins: HashMap<u64, Sequence>,
    /// The length of the list above which it is searched for tombstones to retire.
    pub(super) search_threshold: usize,
    /// All responses up to this number are void.
    pub(super) all: Sequence,
    /// No fetch up to this number may store its response.
    pub(super) unstorable: Sequence,
}

/// One invalidation.
pub(super) struct Tombstone {
    pub(super) sequence: Sequence,
    pub(super) scope: Scope,
    /// Whether the store has removed the responses that this tombstone covers.
    pub(super) is_swept: bool,
}

/// The responses that a tombstone covers.
#[derive(Clone)]
pub(super) enum Scope {
    Exact(u64),
    /// The digests of the group and of its origin.
    Group(u64, u64),
    Prefix(Box<str>),
    All,
    /// A soft purge: the responses are stale, not void.
    Soft(Box<Purge>),
}

impl TombstoneList {
    pub(super) fn next(&mut self, now: SystemTime) -> Sequence {
        let micros = now.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_micros());
        self.last = (self.last + 1).max(u64::try_from(micros).unwrap_or(0));
        self.last
    }

    /// Whether a tombstone can no longer cover any response, or a later one covers the same.
    pub(super) fn is_retirable(&self, tombstone: &Tombstone) -> bool {
        let is_done = tombstone.is_swept && tombstone.sequence < self.oldest_fetch();
        is_done || !self.is_the_latest(tombstone)
    }

    pub(super) fn oldest_fetch(&self) -> Sequence {
        self.fetches.first().copied().unwrap_or(Sequence::MAX)
    }

    /// Whether no later tombstone covers the same.
    pub(super) fn is_the_latest(&self, tombstone: &Tombstone) -> bool {
        match &tombstone.scope {
            Scope::Exact(digest) | Scope::Group(digest, _) => {
                self.exact.get(digest) == Some(&tombstone.sequence)
            }
            Scope::Prefix(_) | Scope::All | Scope::Soft(_) => true,
        }
    }

    /// Removes retired tombstones. Doubling `search_threshold` amortises the cost of the search.
    pub(super) fn remove_retirable(&mut self) {
        let list = std::mem::take(&mut self.list);
        for tombstone in list {
            if self.is_retirable(&tombstone) {
                self.remove(&tombstone);
            } else {
                self.list.push_back(tombstone);
            }
        }
        self.search_threshold = (2 * self.list.len()).max(64);
    }

    pub(super) fn remove(&mut self, tombstone: &Tombstone) {
        match &tombstone.scope {
            Scope::Exact(digest) | Scope::Group(digest, _) if self.is_the_latest(tombstone) => {
                self.exact.remove(digest);
            }
            Scope::Prefix(_) => self.prefixes.retain(|(_, sequence)| *sequence != tombstone.sequence),
            Scope::Soft(_) => self.soft.retain(|(_, sequence)| *sequence != tombstone.sequence),
            Scope::All if self.all == tombstone.sequence => self.all = 0,
            Scope::Exact(_) | Scope::Group(..) | Scope::All => {}
        }
    }

    /// Replaces the oldest tombstone by a wider one that takes no room in the list. A group is widened to its origin
    /// only, so that one origin cannot void the responses of others.
    pub(super) fn widen_oldest(&mut self) {
        let Some(oldest) = self.list.pop_front() else { return };
        if matches!(oldest.scope, Scope::Soft(_)) && !oldest.is_swept {
            // Its purge stays: there are few of them.
            return;
        }
        self.remove(&oldest);
        self.unstorable = self.unstorable.max(oldest.sequence);
        match oldest.scope {
            _ if oldest.is_swept => {}
            Scope::Group(_, origin)
                if self.origins.len() < MAX_ORIGINS || self.origins.contains_key(&origin) =>
            {
                self.origins.insert(origin, oldest.sequence);
            }
            _ => self.all = self.all.max(oldest.sequence),
        }
    }

    /// Replaces the two oldest soft purges by one of everything.
    pub(super) fn widen_oldest_soft(&mut self, now: SystemTime) {
        let (_, sequence) = self.soft.remove(0);
        self.list.retain(|tombstone| tombstone.sequence != sequence);
        let Some((purge, sequence)) = self.soft.first_mut() else { return };
        *purge = Purge::all().soft().before(*sequence).at(now);
        self.list
            .iter_mut()
            .filter(|listed| listed.sequence == *sequence)
            .for_each(|listed| listed.is_swept = false);
    }
}
