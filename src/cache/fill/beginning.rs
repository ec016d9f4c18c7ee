//! Keeps the beginning of a body whose transfer ends early, so that a later fetch needs only the rest.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::{Duration, Instant};

use log::error;

use super::failure::Failure;
use super::keeping::{Arrived, KeepBeginning};
use super::state::State;
use super::transfer::Fill;
use crate::base::error::ErrorKind;
use crate::message::stored_bytes::Spill;

/// How often the part of a file that is complete is reported to the store. A process that is killed loses the rest.
const BETWEEN_CHECKPOINTS: Duration = Duration::from_secs(1);

/// When a body is reported, and to whom.
pub(super) struct Beginning {
    keep: KeepBeginning,
    /// How much of the body is stored already, in bytes. Less is not worth keeping.
    stored: u64,
    reported: Instant,
}

/// What has arrived of a body that ends early.
pub(super) struct Interrupted {
    keep: KeepBeginning,
    stored: u64,
    arrived: Remains,
}

enum Remains {
    Memory(Arrived, u64),
    File(Arc<dyn Spill>),
}

impl Beginning {
    pub(super) fn new(keep: KeepBeginning, stored: u64) -> Self {
        Self { keep, stored, reported: Instant::now() }
    }
}

/// Whether the bytes before an error are those that the origin meant to send.
fn is_interruption(kind: ErrorKind) -> bool {
    matches!(
        kind,
        ErrorKind::IncompleteBody
            | ErrorKind::Timeout
            | ErrorKind::Cancelled
            | ErrorKind::Unreachable
            | ErrorKind::Io
    )
}

impl State {
    /// Takes what has arrived if the transfer was interrupted. From then on there is nothing to keep.
    pub(super) fn end_beginning(&mut self, end: &Result<(), Failure>) -> Option<Interrupted> {
        let is_interrupted = end.as_ref().is_err_and(|failure| is_interruption(failure.kind()));
        let interrupted = if is_interrupted { self.take_beginning() } else { None };
        self.beginning = None;
        interrupted
    }

    /// Takes what has arrived, if it may be kept.
    pub(super) fn take_beginning(&mut self) -> Option<Interrupted> {
        let Beginning { keep, stored, .. } = self.beginning.take()?;
        let arrived = match &self.spill {
            Some(spill) => Remains::File(Arc::clone(spill)),
            None if self.keeps_all => Remains::Memory(Arrived::Pieces(self.kept.pieces()), self.received),
            None => return None,
        };
        Some(Interrupted { keep, stored, arrived })
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

impl Fill {
    /// Reports what the file holds to the store, once a second.
    pub(super) fn report_beginning(&self, spill: &Arc<dyn Spill>) {
        let mut state = self.state.lock();
        let Some(beginning) = &mut state.beginning else { return };
        if beginning.reported.elapsed() < BETWEEN_CHECKPOINTS {
            return;
        }
        beginning.reported = Instant::now();
        let (keep, stored) = (Arc::clone(&beginning.keep), beginning.stored);
        drop(state);
        let (number, length) = spill.written();
        if length > stored {
            keep(Arrived::Growing(Arc::clone(spill) as _, length, number));
        }
    }
}
