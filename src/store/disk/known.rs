//! What is known in memory of the keys on disk: that they are there, what they take, and which goes first. Pure.
//!
//! The order is first in, first out, and a key that was used since it came to the front has another turn. A key takes 16
//! bytes in a table and 8 in the queue, twice that at most where these have just grown.

use std::collections::{HashMap, HashSet, VecDeque};

#[derive(Debug, Default)]
pub(super) struct Known {
    slots: HashMap<u64, Slot>,
    /// The oldest first. Those that were removed are still in it for a while.
    queue: VecDeque<u64>,
    kibibytes: u64,
    /// Whether all that is in the index is known.
    is_loaded: bool,
}

#[derive(Clone, Copy, Debug)]
struct Slot {
    kibibytes: u32,
    is_used: bool,
    /// Whether the digest of its bodies was checked by this process.
    is_checked: bool,
}

impl Known {
    /// Whether something may be stored under the hash of a key.
    pub(super) fn may_hold(&self, hash: u64) -> bool {
        !self.is_loaded || self.slots.contains_key(&hash)
    }

    pub(super) fn len(&self) -> usize {
        self.slots.len()
    }

    pub(super) fn bytes(&self) -> u64 {
        self.kibibytes << 10
    }

    pub(super) fn set_loaded(&mut self) {
        self.is_loaded = true;
    }

    pub(super) fn put(&mut self, hash: u64, kibibytes: u32) {
        let new = Slot { kibibytes, is_used: false, is_checked: false };
        self.kibibytes += u64::from(kibibytes);
        match self.slots.insert(hash, new) {
            Some(old) => {
                self.kibibytes -= u64::from(old.kibibytes);
                self.slots.entry(hash).and_modify(|slot| slot.is_used = true);
            }
            None => self.queue.push_back(hash),
        }
        if self.queue.len() > 2 * self.slots.len() + 1024 {
            let (slots, mut seen) = (&self.slots, HashSet::new());
            self.queue.retain(|hash| slots.contains_key(hash) && seen.insert(*hash));
        }
    }

    pub(super) fn remove(&mut self, hash: u64) {
        if let Some(slot) = self.slots.remove(&hash) {
            self.kibibytes -= u64::from(slot.kibibytes);
        }
    }

    pub(super) fn use_of(&mut self, hash: u64) {
        self.slots.entry(hash).and_modify(|slot| slot.is_used = true);
    }

    pub(super) fn is_checked(&self, hash: u64) -> bool {
        self.slots.get(&hash).is_some_and(|slot| slot.is_checked)
    }

    pub(super) fn set_checked(&mut self, hash: u64) {
        self.slots.entry(hash).and_modify(|slot| slot.is_checked = true);
    }

    /// Takes out the one that is to go, and gives how many bytes that frees; `None` if there is none.
    pub(super) fn evict(&mut self) -> Option<(u64, u64)> {
        // Each is passed over once at most.
        for _ in 0..=2 * self.queue.len() {
            let hash = self.queue.pop_front()?;
            let Some(slot) = self.slots.get_mut(&hash) else { continue };
            if std::mem::take(&mut slot.is_used) {
                self.queue.push_back(hash);
                continue;
            }
            let bytes = u64::from(slot.kibibytes) << 10;
            self.remove(hash);
            return Some((hash, bytes));
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_goes_first_unless_it_was_used() {
        let mut known = Known::default();
        assert!(known.may_hold(1), "nothing is known yet");
        known.set_loaded();
        for hash in 1..=4 {
            known.put(hash, 2);
        }
        known.use_of(1);
        known.remove(2);
        known.put(3, 5);
        assert!(known.may_hold(1) && !known.may_hold(2) && known.bytes() == 9 << 10);
        // What was stored anew is in use, too.
        assert_eq!(known.evict(), Some((4, 2 << 10)));
        assert_eq!(known.evict(), Some((1, 2 << 10)));
        assert_eq!(known.evict(), Some((3, 5 << 10)));
        assert_eq!((known.evict(), known.bytes(), known.len()), (None, 0, 0));
    }

    #[test]
    fn the_queue_does_not_grow_with_what_comes_and_goes() {
        let mut known = Known::default();
        for hash in 0..100_000 {
            known.put(hash % 10, 1);
            known.remove(hash % 10);
        }
        assert!(known.queue.len() < 2000, "{}", known.queue.len());
    }
}
