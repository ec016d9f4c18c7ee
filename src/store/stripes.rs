//! Locks by key, for operations that need several backend calls.

use std::hash::{BuildHasher, RandomState};

use parking_lot::{RwLock, RwLockReadGuard, RwLockWriteGuard};

/// A fixed number of locks. Each key has one of them, and several keys share a lock.
///
/// A lock may be held during backend calls. A thread must therefore never hold two of them, and may take only
/// such locks inside that are never held during a backend call.
#[derive(Debug)]
pub(super) struct Stripes {
    locks: Box<[RwLock<()>]>,
    hasher: RandomState,
}

/// Many more locks than threads, so that threads rarely wait for another key.
const COUNT: usize = 64;

impl Stripes {
    pub(super) fn new() -> Self {
        Self { locks: (0..COUNT).map(|_| RwLock::new(())).collect(), hasher: RandomState::new() }
    }

    /// Prevents changes of the key until the guard is dropped.
    pub(super) fn unchanged(&self, key: &str) -> RwLockReadGuard<'_, ()> {
        self.lock_of(key).read()
    }

    /// Prevents other reads and changes of the key until the guard is dropped.
    pub(super) fn alone(&self, key: &str) -> RwLockWriteGuard<'_, ()> {
        self.lock_of(key).write()
    }

    fn lock_of(&self, key: &str) -> &RwLock<()> {
        let index = self.hasher.hash_one(key) % COUNT as u64;
        &self.locks[usize::try_from(index).expect("less than the number of stripes")]
    }
}
