//! When things were invalidated, remembered one by one up to a number, and all together from then on.

use std::collections::{BTreeMap, HashMap};
use std::time::SystemTime;

/// When something was invalidated.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Invalidation {
    /// The time by the clock that stored responses are dated with.
    pub(crate) time: SystemTime,
    /// The last fetch that had begun.
    pub(crate) ticket: u64,
}

impl Invalidation {
    pub(super) fn later(self, other: Self) -> Self {
        Self { time: self.time.max(other.time), ticket: self.ticket.max(other.ticket) }
    }
}

/// What is invalid, by its digest, which needs the same room however long its name is. Where two have the
/// same, something is forgotten too early, which is safe.
#[derive(Default)]
pub(super) struct Invalidations {
    by_digest: HashMap<u64, Remembered>,
    /// The same by age, the oldest first.
    by_age: BTreeMap<u64, u64>,
    last_age: u64,
    /// The latest of what is not remembered one by one any more: that of everything.
    of_all: Option<Invalidation>,
}

struct Remembered {
    age: u64,
    invalidation: Invalidation,
}

impl Invalidations {
    /// Remembers one more, and no more than `most` of them one by one.
    pub(super) fn remember(&mut self, digest: u64, invalidation: Invalidation, most: usize) {
        self.last_age += 1;
        let age = self.last_age;
        let known = self.by_digest.remove(&digest);
        if let Some(known) = &known {
            self.by_age.remove(&known.age);
        }
        let invalidation = known.map_or(invalidation, |known| known.invalidation.later(invalidation));
        self.by_digest.insert(digest, Remembered { age, invalidation });
        self.by_age.insert(age, digest);
        while self.by_digest.len() > most {
            let Some((_, oldest)) = self.by_age.pop_first() else { break };
            if let Some(dropped) = self.by_digest.remove(&oldest) {
                self.remember_all(dropped.invalidation);
            }
        }
    }

    /// Remembers that everything is invalid.
    pub(super) fn remember_all(&mut self, invalidation: Invalidation) {
        self.of_all = self.of_all.into_iter().chain([invalidation]).reduce(Invalidation::later);
    }

    /// That of this one alone.
    pub(super) fn of(&self, digest: u64) -> Option<Invalidation> {
        Some(self.by_digest.get(&digest)?.invalidation)
    }

    /// That of everything.
    pub(super) fn of_all(&self) -> Option<Invalidation> {
        self.of_all
    }

    #[cfg(test)]
    pub(super) fn counts(&self) -> (usize, usize) {
        (self.by_digest.len(), self.by_age.len())
    }
}
