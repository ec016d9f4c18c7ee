//! Parts of bodies: which of two is kept, which files are still written, and how such a file is continued.

use std::fs;
use std::sync::Arc;
use std::time::Duration;

use http::StatusCode;

use super::body_file::{BLOCK, file_length};
use super::core::Core;
use super::database::Access;
use super::database::failed;
use super::head::{Place, decode};
use super::pending::Op;
use super::process::try_lock;
use super::stored_body::BodyWriter;
use crate::message::stored_bytes::Spill;
use crate::policy::{have_same_strong_tag, strong_tag};
use crate::store::{Key, StoreError, StoredResponse};

/// How long a part that has just been put may take to be written before its file is continued.
const PATIENCE: Duration = Duration::from_secs(2);

/// Whether a stored response is kept and a newer part of the same variant is not: it is the whole of the same
/// representation, or a longer part of it. `length` is that of the old body.
pub(super) fn is_kept((old, length): (&StoredResponse, u64), new: &StoredResponse) -> bool {
    if new.status() != StatusCode::PARTIAL_CONTENT {
        return false;
    }
    let is_longer = old.status() != StatusCode::PARTIAL_CONTENT || length > new.body_length() as u64;
    is_longer && have_same_strong_tag(&old.headers(), &new.headers())
}

impl Core {
    /// Removes a file that no row names any more, unless it is still written. Returns whether it was removed.
    pub(super) fn remove_file(&self, number: u64) -> bool {
        let is_growing = self.growing.unbook(number);
        if !is_growing {
            self.open_bodies.remove(number, &self.file_of(number));
        }
        !is_growing
    }

    /// Gives up a file that is not written any more, and its row if it has one. Never waits.
    pub(super) fn abandon(self: &Arc<Self>, number: u64) {
        match self.growing.end(number) {
            // The row goes first, and its file with it.
            Some(hash) => drop(self.pending.push(hash, Op::Discard { hash, number: Some(number) })),
            None => {
                let core = Arc::clone(self);
                self.lane.submit_always(Box::new(move || _ = core.remove_file(number)));
            }
        }
    }

    /// Opens the file of a stored part, to add the rest of a body of this length and of up to `most` bytes.
    pub(super) fn resume(
        self: &Arc<Self>,
        key: &Key,
        part: &StoredResponse,
        length: Option<u64>,
        most: u64,
    ) -> Option<Arc<dyn Spill>> {
        let number = part.remote()?.source.file_number().filter(|_| self.access == Access::Write)?;
        let stored = part.body_length() as u64;
        let is_complete = stored.is_multiple_of(BLOCK as u64);
        if !is_complete || strong_tag(&part.headers()).is_none() || length? > self.max_body().min(most) {
            return None;
        }
        let hash = self.hash(key.as_str());
        if self.pending.has(hash) && !self.pending.flush(PATIENCE) {
            return None;
        }
        if !self.growing.begin(number) {
            return None;
        }
        let failed = |error| StoreError::new("a part cannot be continued").with_source(error);
        // The row is read while the file is locked: before, another process may have written more to it.
        let opened = BodyWriter::lock(self, number).map_err(failed).and_then(|file| {
            self.check_part(hash, key, number, stored)?;
            self.growing.book(number, hash, file_length(stored));
            BodyWriter::resume(self, (number, file), stored, length, most).map_err(failed)
        });
        match opened {
            Ok(writer) => Some(writer),
            Err(error) => {
                log::debug!("{error:#}");
                self.growing.end(number);
                None
            }
        }
    }

    /// Checks that the row of a key names this file with this length.
    fn check_part(&self, hash: u64, key: &Key, number: u64, length: u64) -> Result<(), StoreError> {
        let row = self.index()?.row(hash)?;
        let heads = row.and_then(|row| self.readable(hash, key.as_str(), &row)).unwrap_or_default();
        let is_there = heads.iter().any(|head| {
            (head.number, head.length, head.place) == (number, length, Place::File)
                && head.response.status() == StatusCode::PARTIAL_CONTENT
        });
        if is_there { Ok(()) } else { Err(StoreError::new("the part is not stored any more")) }
    }

    /// Cuts the files that killed processes wrote to the length that the index has of them.
    pub(super) fn cut_unfinished(&self) -> Result<(), StoreError> {
        let index = self.index()?;
        let mut cut = Vec::new();
        for (number, hash) in index.snapshot()?.growing()? {
            let file = fs::File::options().write(true).open(self.file_of(number));
            if let Ok(file) = &file {
                if !try_lock(file).unwrap_or(false) {
                    // It is still written.
                    continue;
                }
                let row = index.row(hash)?.and_then(|row| decode(&row).ok());
                let heads = row.map(|(_, heads)| heads).unwrap_or_default();
                if let Some(head) = heads.iter().find(|head| head.number == number) {
                    // If it is shorter than the index says, its blocks do not match their checksums.
                    let _ = file.set_len(file_length(head.length));
                }
            }
            cut.push(number);
        }
        if cut.is_empty() {
            return Ok(());
        }
        index.write(|tables| {
            for number in cut {
                tables.growing.remove(number).map_err(failed)?;
            }
            Ok(())
        })
    }
}
