//! The bytes that wait to be written, within a bound.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::{Condvar, Mutex};

use crate::base::memory_limit::{Hold, Ledger, MemoryUse};

/// How many bytes may wait.
const MAX_WAITING: u64 = 32 << 20;

#[derive(Clone, Default)]
pub(super) struct Waiting(Arc<Shared>);

#[derive(Default)]
struct Shared {
    bytes: Mutex<u64>,
    changed: Condvar,
}

/// Bytes that wait until this value is dropped.
pub(super) struct Waits {
    waiting: Waiting,
    bytes: u64,
    _hold: Option<Hold>,
}

impl Waiting {
    /// Adds bytes; `None` if too many wait, or memory is short.
    pub(super) fn try_add(&self, bytes: u64, ledger: Option<&Arc<Ledger>>) -> Option<Waits> {
        let hold = match ledger {
            Some(ledger) => Some(ledger.reserve(MemoryUse::Bodies, bytes)?),
            None => None,
        };
        let mut all = self.0.bytes.lock();
        if *all + bytes > MAX_WAITING {
            return None;
        }
        *all += bytes;
        drop(all);
        Some(Waits { waiting: self.clone(), bytes, _hold: hold })
    }

    pub(super) fn bytes(&self) -> u64 {
        *self.0.bytes.lock()
    }

    /// Waits until nothing waits; returns whether that is so.
    pub(super) fn flush(&self, within: Duration) -> bool {
        let mut bytes = self.0.bytes.lock();
        !self.0.changed.wait_while_for(&mut bytes, |bytes| *bytes > 0, within).timed_out()
    }
}

impl Drop for Waits {
    fn drop(&mut self) {
        let mut all = self.waiting.0.bytes.lock();
        *all -= self.bytes;
        drop(all);
        self.waiting.0.changed.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waiting_bytes_are_bounded_and_counted() {
        let (waiting, ledger) = (Waiting::default(), Ledger::new(1 << 30));
        let first = waiting.try_add(MAX_WAITING, Some(&ledger)).unwrap();
        assert_eq!((waiting.bytes(), ledger.held(MemoryUse::Bodies)), (MAX_WAITING, MAX_WAITING));
        assert!(waiting.try_add(1, Some(&ledger)).is_none());
        assert!(!waiting.flush(Duration::ZERO));
        drop(first);
        assert!(waiting.flush(Duration::ZERO) && waiting.flush(Duration::MAX));
        assert_eq!(ledger.held(MemoryUse::Bodies), 0);
        assert!(waiting.try_add(2 << 20, Some(&Ledger::new(1 << 20))).is_none());
    }
}
