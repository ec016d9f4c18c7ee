//! Reads a body on disk, and writes a body while it arrives.

use std::fmt;
use std::fs::File;
use std::io;
use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use parking_lot::Mutex;

use super::body_file::{self, BLOCK, file_length};
use super::core::Core;
use super::open_bodies::OpenNote;
use super::process::try_lock;
use crate::base::memory_limit::Ledger;
use crate::message::body_piece::BodyPiece;
use crate::message::open_file::OpenFile;
use crate::message::stored_bytes::{Spill, StoredBytes};

/// The unit in which room is reserved, in bytes.
const STEP: u64 = 1 << 20;

/// The body of a response on disk.
pub(super) struct StoredBody {
    pub(super) core: Arc<Core>,
    /// Of the key.
    pub(super) hash: u64,
    pub(super) number: u64,
    pub(super) length: u64,
    pub(super) content: Content,
}

/// Where the bytes of a body are.
pub(super) enum Content {
    /// In the index. The lookup may have read and checked them, together with the row.
    Index(Option<Bytes>),
    /// In a file, which is opened when it is needed.
    File(OnceLock<Arc<OpenFile>>),
}

impl StoredBody {
    fn read_part(&self, at: u64, most: usize) -> io::Result<Box<[u8]>> {
        let found = match &self.content {
            Content::File(opened) => {
                let file = self.file(opened)?;
                return body_file::read(&file, self.number, self.length, at, most);
            }
            Content::Index(found) => found.clone(),
        };
        let body = found.map_or_else(|| self.core.small_body(self.number, self.length), Ok)?;
        let from = usize::try_from(at).unwrap_or(usize::MAX).min(body.len());
        let until = from.saturating_add(most).min(body.len());
        Ok(body[from..until].into())
    }

    /// Returns the file, which stays open unless too many are.
    fn file(&self, opened: &OnceLock<Arc<OpenFile>>) -> io::Result<Arc<OpenFile>> {
        if let Some(file) = opened.get() {
            return Ok(Arc::clone(file));
        }
        let (note, may_stay) = self.core.open_bodies.note(self.number);
        let file = Arc::new(shared(&self.core, File::open(self.core.file_of(self.number))?, note));
        Ok(if may_stay { Arc::clone(opened.get_or_init(|| file)) } else { file })
    }
}

/// A file that a thread of the store closes if its name is removed.
fn shared(core: &Core, file: File, note: OpenNote) -> OpenFile {
    let lane = Arc::clone(&core.lane);
    OpenFile::new(file, move |file| {
        let _until_closed = &note;
        lane.submit_always(Box::new(move || drop(file)));
    })
}

impl StoredBytes for StoredBody {
    fn read(&self, at: u64, most: usize) -> io::Result<Box<[u8]>> {
        self.read_part(at, most)
            .inspect_err(|error| self.core.report_unreadable(self.hash, self.number, error))
    }

    fn read_now(&self, at: u64, most: usize, ledger: &Arc<Ledger>) -> io::Result<Option<BodyPiece>> {
        let Content::File(opened) = &self.content else { return Ok(None) };
        let Some(file) = opened.get() else { return Ok(None) };
        body_file::read_now(file, self.number, self.length, at, most, ledger)
            .inspect_err(|error| self.core.report_unreadable(self.hash, self.number, error))
    }

    fn open(&self) -> io::Result<()> {
        let Content::File(opened) = &self.content else { return Ok(()) };
        let result = self.file(opened).map(drop);
        result.inspect_err(|error| self.core.report_unreadable(self.hash, self.number, error))
    }

    fn spawn(&self, work: Box<dyn FnOnce() + Send>) {
        self.core.lane.submit_always(work);
    }

    fn file_number(&self) -> Option<u64> {
        matches!(self.content, Content::File(_)).then_some(self.number)
    }
}

impl fmt::Debug for StoredBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StoredBody").field("number", &self.number).finish_non_exhaustive()
    }
}

/// A body that is being written.
pub(super) struct BodyWriter {
    core: Arc<Core>,
    number: u64,
    file: OpenFile,
    /// The limit of the cache that writes it, in bytes.
    most: u64,
    state: Mutex<State>,
}

struct State {
    /// The bytes after the last whole block.
    rest: Vec<u8>,
    /// The length of the whole blocks that are written.
    length: u64,
    /// The reserved bytes.
    reserved: u64,
    is_finished: bool,
}

impl BodyWriter {
    pub(super) fn begin(core: &Arc<Core>, length: Option<u64>, most: u64) -> io::Result<Arc<Self>> {
        let reserved = file_length(length.unwrap_or(0)).next_multiple_of(STEP);
        core.space.reserve(reserved)?;
        let (number, file) = core.create_file().inspect_err(|_| core.space.release(reserved))?;
        core.growing.begin(number);
        // Other processes see by the lock that it is written. Nothing else locks a new file.
        let _ = try_lock(&file);
        Ok(Self::new(core, (number, file), 0, reserved, most))
    }

    /// Opens the file of a part and locks it. Fails if it is still written, by any process.
    pub(super) fn lock(core: &Core, number: u64) -> io::Result<File> {
        let file = File::options().read(true).write(true).open(core.file_of(number))?;
        if try_lock(&file)? { Ok(file) } else { Err(io::ErrorKind::WouldBlock.into()) }
    }

    /// Continues the locked file of a part of `stored` bytes, whole blocks, which is noted as growing.
    pub(super) fn resume(
        core: &Arc<Core>,
        (number, file): (u64, File),
        stored: u64,
        length: Option<u64>,
        most: u64,
    ) -> io::Result<Arc<Self>> {
        file.set_len(file_length(stored))?;
        let reserved = file_length(length.unwrap_or(stored)).next_multiple_of(STEP);
        core.space.reserve(reserved)?;
        Ok(Self::new(core, (number, file), stored, reserved, most))
    }

    fn new(
        core: &Arc<Core>,
        (number, file): (u64, File),
        length: u64,
        reserved: u64,
        most: u64,
    ) -> Arc<Self> {
        let state = State { rest: Vec::with_capacity(BLOCK), length, reserved, is_finished: false };
        let (note, _) = core.open_bodies.note(number);
        let (file, state) = (shared(core, file, note), Mutex::new(state));
        Arc::new(Self { core: Arc::clone(core), number, file, most, state })
    }
}

impl Spill for BodyWriter {
    fn write(&self, piece: &[u8]) -> io::Result<()> {
        let mut state = self.state.lock();
        let length = state.length + (state.rest.len() + piece.len()) as u64;
        if length > self.core.max_body().min(self.most) {
            return Err(io::Error::new(
                io::ErrorKind::FileTooLarge,
                "the body is larger than a stored one may be",
            ));
        }
        if file_length(length) > state.reserved {
            let more = (file_length(length) - state.reserved).next_multiple_of(STEP);
            self.core.space.reserve(more)?;
            state.reserved += more;
        }
        let mut piece = piece;
        while !piece.is_empty() {
            let count = piece.len().min(BLOCK - state.rest.len());
            let (now, later) = piece.split_at(count);
            state.rest.extend_from_slice(now);
            piece = later;
            if state.rest.len() == BLOCK {
                body_file::write_block(&self.file, self.number, state.length / BLOCK as u64, &state.rest)
                    .inspect_err(|error| self.core.trouble.report("write", error))?;
                state.rest.clear();
                state.length += BLOCK as u64;
            }
        }
        Ok(())
    }

    fn finish(&self) -> io::Result<u64> {
        let mut state = self.state.lock();
        if !state.rest.is_empty() {
            body_file::write_block(&self.file, self.number, state.length / BLOCK as u64, &state.rest)?;
        }
        state.is_finished = true;
        // The room stays reserved until the entry is in the index.
        self.core.space.release_later(self.number, state.reserved);
        Ok(self.number)
    }

    fn written(&self) -> (u64, u64) {
        (self.number, self.state.lock().length)
    }

    fn finish_beginning(&self) -> (u64, u64) {
        let mut state = self.state.lock();
        state.is_finished = true;
        self.core.space.release_later(self.number, state.reserved);
        (self.number, state.length)
    }
}

impl StoredBytes for BodyWriter {
    fn read(&self, at: u64, most: usize) -> io::Result<Box<[u8]>> {
        let state = self.state.lock();
        if at >= state.length {
            let from = usize::try_from(at - state.length).unwrap_or(usize::MAX).min(state.rest.len());
            let until = from.saturating_add(most).min(state.rest.len());
            if from == until {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            return Ok(state.rest[from..until].into());
        }
        let length = state.length;
        drop(state);
        // Up to the end of the last whole block; the next read returns the rest.
        body_file::read(&self.file, self.number, length, at, most)
    }

    fn spawn(&self, work: Box<dyn FnOnce() + Send>) {
        self.core.lane.submit_always(work);
    }

    fn file_number(&self) -> Option<u64> {
        Some(self.number)
    }
}

impl Drop for BodyWriter {
    fn drop(&mut self) {
        let state = self.state.get_mut();
        if !state.is_finished {
            // At once: a store that is closed soon after still writes that the body is given up.
            self.core.abandon(self.number);
            self.core.space.release(state.reserved);
            let file = self.file.take();
            // If its name is removed by then, closing it takes time. The thread here may be one that never waits.
            self.core.lane.submit_always(Box::new(move || drop(file)));
        }
    }
}

impl fmt::Debug for BodyWriter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BodyWriter").field("number", &self.number).finish_non_exhaustive()
    }
}
