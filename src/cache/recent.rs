//! Which bodies in lower tiers were requested several times recently: only such a body is worth a place in memory.
//!
//! The system keeps files in memory too, so it takes less time to send a body from its file a few times than to load it once.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, VecDeque};
use std::hash::{BuildHasher, RandomState};

use parking_lot::Mutex;

/// How many requests are remembered at most.
const MOST: usize = 65_536;

/// What a request counts besides its body, in bytes.
const OVERHEAD: u64 = 2048;

/// The last requests whose bodies fit into memory together.
pub(super) struct Recent {
    state: Mutex<State>,
    hasher: RandomState,
    /// The bytes that the bodies may have together.
    room: u64,
    /// How many requests a body must have before the one that loads it into memory.
    enough: u32,
}

#[derive(Default)]
struct State {
    /// The hashes of keys with the bytes that they count, the oldest first.
    order: VecDeque<(u64, u64)>,
    /// How often each of these keys was requested.
    counts: HashMap<u64, u32>,
    bytes: u64,
}

impl Recent {
    /// Of bodies in files: remembers the requests whose bodies fit into a tenth of this memory, as much as the store in memory
    /// gives to responses that were not requested again.
    pub(super) fn in_files(memory: u64) -> Self {
        Self::new(memory / 10, 2)
    }

    /// Of small bodies, which are read by a thread that waits for the disk: remembers the requests whose bodies fit into this
    /// memory.
    pub(super) fn small(memory: u64) -> Self {
        Self::new(memory, 1)
    }

    fn new(room: u64, enough: u32) -> Self {
        Self { state: Mutex::default(), hasher: RandomState::new(), room, enough }
    }

    /// Notes a request for a body of this length. Returns whether the key was requested often enough recently.
    pub(super) fn note(&self, key: &str, length: u64) -> bool {
        let (hash, bytes) = (self.hasher.hash_one(key), length + OVERHEAD);
        let mut state = self.state.lock();
        match state.counts.entry(hash) {
            Entry::Occupied(mut entry) => {
                let is_enough = *entry.get() >= self.enough;
                *entry.get_mut() += u32::from(!is_enough);
                return is_enough;
            }
            Entry::Vacant(entry) => _ = entry.insert(1),
        }
        state.order.push_back((hash, bytes));
        state.bytes += bytes;
        while state.bytes > self.room || state.order.len() > MOST {
            let Some((oldest, bytes)) = state.order.pop_front() else { break };
            state.counts.remove(&oldest);
            state.bytes -= bytes;
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_recent_while_memory_could_have_held_its_body() {
        let recent = Recent::in_files(1000 << 10);
        let is_recent = |key, kibibytes: u64| recent.note(key, kibibytes << 10);
        assert!(!is_recent("a", 30) && !is_recent("a", 30) && is_recent("a", 30));
        assert!(!is_recent("b", 60) && !is_recent("b", 60) && is_recent("a", 30));
        assert!(!is_recent("c", 30) && is_recent("b", 60));
        assert!(!is_recent("a", 30), "the others are newer");
        assert!(!is_recent("large", 1 << 10) && !is_recent("large", 1 << 10) && !is_recent("large", 1 << 10));
    }

    #[test]
    fn small_body_is_worth_memory_at_its_second_request() {
        let recent = Recent::small(100 << 10);
        let is_recent = |key| recent.note(key, 30 << 10);
        assert!(!is_recent("a") && is_recent("a") && is_recent("a"));
        assert!(!is_recent("b") && !is_recent("c") && !is_recent("d"));
        assert!(!is_recent("a"), "the others are newer");
    }

    #[test]
    fn the_number_of_keys_is_bounded() {
        let recent = Recent::in_files(u64::MAX);
        (0..2 * MOST).for_each(|number| _ = recent.note(&number.to_string(), 0));
        assert_eq!(recent.state.lock().order.len(), MOST);
        assert_eq!(recent.state.lock().counts.len(), MOST);
    }
}
