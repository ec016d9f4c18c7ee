//! Moves a body in transit to a file, and stores it when it is whole.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use log::{Level, error, log, warn};

use super::buffered_pieces::BufferedPieces;
use super::keeping::{Arrived, Commit};
use super::transfer::Fill;
use crate::message::digest::Digest;
use crate::message::stored_bytes::Spill;

impl Fill {
    /// Writes the bytes in memory and the latest read to a file, if the store has one. Otherwise gives up storing the
    /// body.
    pub(super) fn begin_spill(&self, read: &[u8]) {
        let mut state = self.state.lock();
        let (begin, kept) = (state.begin_spill.take(), state.buffered.clone());
        drop(state);
        let spill = begin.and_then(|begin| begin(self.length)).filter(|spill| {
            let pieces = kept.pieces();
            pieces.slices().chain([read]).try_for_each(|piece| spill.write(piece)).is_ok()
        });
        let mut state = self.state.lock();
        let unused = match spill {
            // No reader may use a cancelled transfer.
            Some(_) if state.is_cancelled => None,
            Some(spill) => {
                state.keep_in_file(spill);
                None
            }
            None => state.stop_keeping(),
        };
        drop(state);
        drop(unused);
    }

    /// Writes the latest read to the file, if the body is kept in one.
    pub(super) fn spill(&self, read: &[u8], received: u64) {
        let Some(spill) = self.state.lock().open_file() else { return };
        if let Err(error) = spill.write(read) {
            let is_too_large = error.kind() == io::ErrorKind::FileTooLarge;
            let level = if is_too_large { Level::Debug } else { Level::Warn };
            log!(level, "a body is not stored after {received} bytes: {error:#}");
            let unused = self.state.lock().end_file();
            drop(unused);
        } else {
            self.report_beginning(&spill);
        }
    }

    pub(super) fn commit(
        &self,
        whole: BufferedPieces,
        commit: Option<(Commit, Option<Arc<dyn Spill>>)>,
        digest: Digest,
        received: u64,
    ) {
        if let Some((commit, spill)) = commit {
            let stored = match spill {
                None => Ok(Arrived::Pieces(whole.pieces())),
                Some(spill) => spill.finish().map(|number| Arrived::Spilled(spill, received, number)),
            };
            // A panic of the store must not fail the readers.
            match stored {
                Ok(stored) => {
                    if catch_unwind(AssertUnwindSafe(|| commit(stored, digest))).is_err() {
                        error!("storing a response panicked");
                    }
                }
                Err(error) => warn!("a body is not stored: {error:#}"),
            }
        }
        let mut state = self.state.lock();
        state.buffered = whole;
        state.received = received;
    }
}
