//! Locks by key, for what takes several steps over a backend.

use std::hash::{BuildHasher, RandomState};

use parking_lot::{RwLock, RwLockReadGuard, RwLockWriteGuard};

/// A fixed number of locks; a key always has the same one, and shares it with others.
///
/// A stripe is held over backend calls: that is what it is for. So nobody holds two of them, and only
/// locks that are never held over a call are taken inside one.
#[derive(Debug)]
pub(super) struct Stripes {
    locks: Box<[RwLock<()>]>,
    hasher: RandomState,
}

/// Many more than threads, so that keys seldom wait for one another.
const COUNT: usize = 64;

impl Stripes {
    pub(super) fn new() -> Self {
        Self { locks: (0..COUNT).map(|_| RwLock::new(())).collect(), hasher: RandomState::new() }
    }

    /// Nobody changes the key while the guard lives.
    pub(super) fn unchanged(&self, key: &str) -> RwLockReadGuard<'_, ()> {
        self.lock_of(key).read()
    }

    /// Nobody else reads or changes the key while the guard lives.
    pub(super) fn alone(&self, key: &str) -> RwLockWriteGuard<'_, ()> {
        self.lock_of(key).write()
    }

    fn lock_of(&self, key: &str) -> &RwLock<()> {
        let index = self.hasher.hash_one(key) % COUNT as u64;
        &self.locks[usize::try_from(index).expect("less than the number of stripes")]
    }
}
