//! Keeps the beginning of a body whose transfer ends early, so that a later fetch needs only the rest.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Instant;

use log::error;

use super::keeping::{Arrived, KeepBeginning};
use crate::message::stored_bytes::Spill;

/// When a body is reported, and to whom.
pub(super) struct Beginning {
    pub(super) keep: KeepBeginning,
    /// How much of the body is stored already, in bytes. Less is not worth keeping.
    pub(super) stored: u64,
    pub(super) reported: Instant,
}

/// What has arrived of a body that ends early.
pub(super) struct Interrupted {
    pub(super) keep: KeepBeginning,
    pub(super) stored: u64,
    pub(super) arrived: Remains,
}

pub(super) enum Remains {
    Memory(Arrived, u64),
    File(Arc<dyn Spill>),
}

impl Beginning {
    pub(super) fn new(keep: KeepBeginning, stored: u64) -> Self {
        Self { keep, stored, reported: Instant::now() }
    }
}

impl Interrupted {
    /// Stores it. Never waits for the disk.
    pub(super) fn keep(self) {
        let arrived = match self.arrived {
            Remains::Memory(arrived, length) => (length > self.stored).then_some(arrived),
            Remains::File(spill) => (spill.written().1 > self.stored).then(|| {
                let (number, length) = spill.finish_beginning();
                Arrived::Spilled(spill, length, number)
            }),
        };
        if let Some(arrived) = arrived
            && catch_unwind(AssertUnwindSafe(|| (self.keep)(arrived))).is_err()
        {
            error!("storing the beginning of a body panicked");
        }
    }
}
