//! Pauses a reply until the test continues.

use std::sync::Arc;

use parking_lot::{Condvar, Mutex};

use crate::support::TEST_TIMEOUT;

/// Closed at first; once opened it stays open. Clones share the same gate.
#[derive(Clone, Debug, Default)]
pub(crate) struct Gate(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    open: Mutex<bool>,
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

    /// Blocks until the gate is open.
    ///
    /// # Panics
    ///
    /// If the gate is not opened within [`TEST_TIMEOUT`].
    pub(crate) fn wait(&self) {
        let mut open = self.0.open.lock();
        let waited = self.0.opened.wait_while_for(&mut open, |open| !*open, TEST_TIMEOUT);
        assert!(!waited.timed_out(), "the gate was not opened within {TEST_TIMEOUT:?}");
    }
}
