//! The hashes of the keys on disk, in memory, and which of them this process used. Pure.
//!
//! The keys are learnt in the order in which they were written, so that the writes of other processes are learnt the same
//! way. A key takes 17 bytes of a table that is at least 44 % full after it has grown.

use std::collections::{HashMap, HashSet};

/// How many used keys are remembered until they are marked in the index.
const USED: usize = 65_536;

/// Two facts about a key.
#[derive(Clone, Copy, Debug, Default)]
struct Flags(u8);

impl Flags {
    /// This process has checked the digests of its bodies.
    const CHECKED: u8 = 1;
    /// Another process may have written it last.
    const FOREIGN: u8 = 2;

    fn has(self, flag: u8) -> bool {
        self.0 & flag != 0
    }
}

#[derive(Debug, Default)]
pub(super) struct Known {
    keys: HashMap<u64, Flags>,
    used: HashSet<u64>,
    /// The next place to read in the order of the index.
    place: u64,
    is_loaded: bool,
}

impl Known {
    /// Whether responses may be stored under the hash of a key.
    pub(super) fn may_hold(&self, hash: u64) -> bool {
        !self.is_loaded || self.keys.contains_key(&hash)
    }

    /// Whether another process may have written the key since this one did.
    pub(super) fn may_hold_newer(&self, hash: u64) -> bool {
        !self.is_loaded || self.keys.get(&hash).is_some_and(|flags| flags.has(Flags::FOREIGN))
    }

    pub(super) fn is_loaded(&self) -> bool {
        self.is_loaded
    }

    /// Returns the next place to read.
    pub(super) fn place(&self) -> u64 {
        self.place
    }

    /// Adds keys that were written up to a place. `is_all` states that no other keys are in the index.
    pub(super) fn learn(&mut self, hashes: &[u64], place: u64, is_all: bool) {
        for hash in hashes {
            self.keys.insert(*hash, Flags(Flags::FOREIGN));
        }
        self.place = place;
        self.is_loaded |= is_all;
    }

    /// Passes over places that this process has filled, unless others before them are still to be read.
    pub(super) fn skip(&mut self, from: u64, to: u64) {
        if self.is_loaded && self.place == from {
            self.place = to;
        }
    }

    /// Whether so many keys were removed by other processes that the table should be read again.
    pub(super) fn is_outgrown(&self, keys: u64) -> bool {
        self.keys.len() as u64 > 2 * keys + 10_000
    }

    /// Forgets all keys, until they are read again.
    pub(super) fn reload(&mut self) {
        *self = Self { used: std::mem::take(&mut self.used), ..Self::default() };
    }

    /// Adds a key that this process wrote.
    pub(super) fn put(&mut self, hash: u64) {
        self.keys.insert(hash, Flags::default());
    }

    pub(super) fn remove(&mut self, hash: u64) {
        self.keys.remove(&hash);
        self.used.remove(&hash);
    }

    /// Notes a use of a key.
    pub(super) fn note_use(&mut self, hash: u64) {
        if self.used.len() < USED {
            self.used.insert(hash);
        }
    }

    /// Whether the key was used since the last [`take_used`](Self::take_used); forgets that.
    pub(super) fn take_use(&mut self, hash: u64) -> bool {
        self.used.remove(&hash)
    }

    /// Returns the keys that were used, and forgets that.
    pub(super) fn take_used(&mut self) -> Vec<u64> {
        std::mem::take(&mut self.used).into_iter().collect()
    }

    pub(super) fn is_checked(&self, hash: u64) -> bool {
        self.keys.get(&hash).is_some_and(|flags| flags.has(Flags::CHECKED))
    }

    pub(super) fn set_checked(&mut self, hash: u64) {
        self.keys.entry(hash).and_modify(|flags| flags.0 |= Flags::CHECKED);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_may_be_held_until_all_are_learnt() {
        let mut known = Known::default();
        known.learn(&[1, 2], 5, false);
        assert!(known.may_hold(1) && known.may_hold(9) && !known.is_loaded());
        known.learn(&[3], 6, true);
        assert!(known.may_hold(1) && known.may_hold(3) && !known.may_hold(9) && known.place() == 6);
        known.remove(1);
        assert!(!known.may_hold(1));
        known.reload();
        assert!(known.may_hold(9) && known.place() == 0);
    }

    #[test]
    fn uses_are_taken_once_and_a_new_body_is_unchecked() {
        let mut known = Known::default();
        known.put(1);
        known.set_checked(1);
        known.note_use(1);
        known.note_use(2);
        assert!(known.is_checked(1) && known.take_use(1) && !known.take_use(1));
        assert_eq!((known.take_used(), known.take_used()), (vec![2], vec![]));
        known.learn(&[1], 9, true);
        assert!(!known.is_checked(1));
    }

    #[test]
    fn keys_of_other_processes_may_be_newer_until_this_one_writes_them() {
        let mut known = Known::default();
        assert!(known.may_hold_newer(1), "the keys are not known yet");
        known.learn(&[1, 2], 5, true);
        assert!(known.may_hold_newer(1) && known.may_hold_newer(2) && !known.may_hold_newer(3));
        known.put(1);
        known.set_checked(2);
        // Both the places of this process and those of others are read again if others come first.
        known.skip(6, 9);
        assert!(!known.may_hold_newer(1) && known.may_hold_newer(2) && known.place() == 5);
        known.skip(5, 9);
        assert_eq!(known.place(), 9);
    }

    #[test]
    fn keys_that_others_removed_are_dropped_by_reading_again() {
        let mut known = Known::default();
        known.learn(&(0..20_000).collect::<Vec<_>>(), 20_000, true);
        assert!(known.is_outgrown(4_999) && !known.is_outgrown(5_000));
    }
}
