//! Reports the beginning of a body while it arrives, and takes it when the transfer ends early.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::beginning::{Beginning, Interrupted, Remains};
use super::failure::Failure;
use super::keeping::Arrived;
use super::state::State;
use super::transfer::Fill;
use crate::base::error::ErrorKind;
use crate::message::stored_bytes::Spill;

/// How often the part of a file that is complete is reported to the store. A process that is killed loses the rest.
const BETWEEN_CHECKPOINTS: Duration = Duration::from_secs(1);

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
            None if self.keeps_all => Remains::Memory(Arrived::Pieces(self.buffered.pieces()), self.received),
            None => return None,
        };
        Some(Interrupted { keep, stored, arrived })
    }
}

impl Fill {
    /// Keeps nothing of a body whose bytes are wrong, or whose file cannot be read, if its transfer is interrupted.
    pub(super) fn forget_beginning(&self) {
        self.state.lock().beginning = None;
    }

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
