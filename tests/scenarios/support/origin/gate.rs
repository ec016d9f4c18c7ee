//! Pauses a reply until the test continues.

use std::sync::Arc;
use std::time::Instant;

use parking_lot::{Condvar, Mutex};

use crate::support::TEST_TIMEOUT;

/// Closed at first; once opened it stays open. Clones share the same gate.
#[derive(Clone, Debug, Default)]
pub(crate) struct Gate(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    open: Mutex<bool>,
    /// When the test last stated that it goes on.
    kept: Mutex<Option<Instant>>,
    opened: Condvar,
}

impl Gate {
    pub(crate) fn new() -> Self {
        Self::default()
    }

    pub(crate) fn open(&self) {
        *self.0.open.lock() = true;
        self.0.opened.notify_all();
    }

    pub(crate) fn is_open(&self) -> bool {
        *self.0.open.lock()
    }

    /// States that the test goes on, and opens the gate later.
    pub(crate) fn keep(&self) {
        *self.0.kept.lock() = Some(Instant::now());
    }

    /// Blocks until the gate is open.
    ///
    /// # Panics
    ///
    /// If the gate is not opened within [`TEST_TIMEOUT`], nor within this time after the last [`keep`](Self::keep).
    pub(crate) fn wait(&self) {
        let began = Instant::now();
        let mut open = self.0.open.lock();
        while !*open {
            let until = self.0.kept.lock().map_or(began, |kept| kept.max(began)) + TEST_TIMEOUT;
            assert!(Instant::now() < until, "the gate was not opened within {TEST_TIMEOUT:?}");
            self.0.opened.wait_until(&mut open, until);
        }
    }
}
