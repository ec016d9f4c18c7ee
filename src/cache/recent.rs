//! Which bodies in lower tiers were requested recently: only such a body is worth a place in memory.

use std::collections::{HashSet, VecDeque};
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
}

#[derive(Default)]
struct State {
    /// The hashes of keys with the bytes that they count, the oldest first.
    order: VecDeque<(u64, u64)>,
    hashes: HashSet<u64>,
    bytes: u64,
}

impl Recent {
    /// Remembers the requests whose bodies fit into a tenth of this memory: as much as the store in memory gives to responses
    /// that were not requested again.
    pub(super) fn new(memory: u64) -> Self {
        Self { state: Mutex::default(), hasher: RandomState::new(), room: memory / 10 }
    }

    /// Notes a request for a body of this length. Returns whether the key was requested recently.
    pub(super) fn note(&self, key: &str, length: u64) -> bool {
        let (hash, bytes) = (self.hasher.hash_one(key), length + OVERHEAD);
        let mut state = self.state.lock();
        if !state.hashes.insert(hash) {
            return true;
        }
        state.order.push_back((hash, bytes));
        state.bytes += bytes;
        while state.bytes > self.room || state.order.len() > MOST {
            let Some((oldest, bytes)) = state.order.pop_front() else { break };
            state.hashes.remove(&oldest);
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
        let recent = Recent::new(1000 << 10);
        assert!(!recent.note("a", 30 << 10) && recent.note("a", 30 << 10));
        assert!(!recent.note("b", 60 << 10) && recent.note("a", 30 << 10));
        assert!(!recent.note("c", 30 << 10) && recent.note("b", 60 << 10));
        assert!(!recent.note("a", 30 << 10), "the others are newer");
        assert!(!recent.note("large", 1 << 20) && !recent.note("large", 1 << 20));
    }

    #[test]
    fn the_number_of_keys_is_bounded() {
        let recent = Recent::new(u64::MAX);
        (0..2 * MOST).for_each(|number| _ = recent.note(&number.to_string(), 0));
        assert_eq!(recent.state.lock().order.len(), MOST);
        assert_eq!(recent.state.lock().hashes.len(), MOST);
    }
}
