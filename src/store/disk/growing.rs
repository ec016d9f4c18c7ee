//! The files of bodies that are still written.

use std::collections::HashMap;

use parking_lot::Mutex;

/// The files that are still written, by their number.
#[derive(Default)]
pub(super) struct Growing(Mutex<HashMap<u64, Booked>>);

/// What the index has of such a file.
#[derive(Clone, Copy, Default)]
struct Booked {
    /// The hash of the key.
    hash: u64,
    /// What the row is charged with for the file, in bytes; 0 if no row names the file. The room for the file is
    /// reserved too, so these bytes are counted twice.
    bytes: u64,
}

impl Growing {
    /// Notes that a file is written; false if another body is written to it already.
    pub(super) fn begin(&self, number: u64) -> bool {
        let mut files = self.0.lock();
        let is_new = !files.contains_key(&number);
        if is_new {
            files.insert(number, Booked::default());
        }
        is_new
    }

    /// Notes that the index has this much of the file.
    pub(super) fn book(&self, number: u64, hash: u64, bytes: u64) {
        if let Some(booked) = self.0.lock().get_mut(&number) {
            *booked = Booked { hash, bytes };
        }
    }

    /// Notes that the index has nothing of the file; returns whether it is still written.
    pub(super) fn unbook(&self, number: u64) -> bool {
        let mut files = self.0.lock();
        let booked = files.get_mut(&number);
        let is_growing = booked.is_some();
        if let Some(booked) = booked {
            booked.bytes = 0;
        }
        is_growing
    }

    /// Notes that the file is not written any more; returns the hash of the key whose row names it.
    pub(super) fn end(&self, number: u64) -> Option<u64> {
        self.0.lock().remove(&number).filter(|booked| booked.bytes > 0).map(|booked| booked.hash)
    }

    /// Returns how many bytes are counted twice.
    pub(super) fn booked(&self) -> u64 {
        self.0.lock().values().map(|booked| booked.bytes).sum()
    }
}
