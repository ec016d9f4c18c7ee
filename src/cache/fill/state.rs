//! The progress of a body, of each of its readers, and of the part in memory. Nothing here waits.

use std::io;
use std::mem;
use std::sync::Arc;

use super::beginning::Beginning;
use super::buffered_pieces::BufferedPieces;
use super::failure::Failure;
use super::hashing::Hashing;
use super::keeping::{BeginSpill, Commit, PIECE};
use crate::base::error::ErrorKind;
use crate::base::memory_limit::Hold;
use crate::message::body::{Body, Wake};
use crate::message::pieces::Pieces;
use crate::message::stored_bytes::{Spill, StoredBytes};

/// How far a body that is not stored may run ahead of its slowest reader while no reader waits for more, in bytes.
pub(super) const WINDOW: u64 = 256 * 1024;

/// How far beyond the window it may run while another reader waits for more, in bytes.
pub(super) const BACKLOG: u64 = 16 * 1024 * 1024;

/// The state of a fill, which its lock protects.
pub(super) struct State {
    pub(super) progress: Progress,
    pub(super) buffered: BufferedPieces,
    /// Whether the body stays in memory from its first byte on, to be stored.
    pub(super) keeps_all: bool,
    /// The bytes that have arrived.
    pub(super) received: u64,
    pub(super) readers: Vec<Position>,
    next_reader: u64,
    /// Whether a driver reads the body.
    pub(super) is_driven: bool,
    /// Whether the last byte has arrived. The body may still be on its way to the store.
    pub(super) is_whole: bool,
    /// Whether its transfer was cancelled.
    pub(super) is_cancelled: bool,
    pub(super) commit: Option<Commit>,
    pub(super) begin_spill: Option<BeginSpill>,
    /// The file that holds the body, if the body does not stay in memory.
    pub(super) spill: Option<Arc<dyn Spill>>,
    /// How many bytes the file holds, if no more could be written to it.
    spilled_until: Option<u64>,
    /// What stores the beginning of the body if its transfer is interrupted.
    pub(super) beginning: Option<Beginning>,
}

/// The position of one reader.
pub(super) struct Position {
    pub(super) reader: u64,
    pub(super) at: u64,
    /// Called at the next change.
    wake: Option<Wake>,
}

/// The progress of a transfer.
pub(super) enum Progress {
    /// No thread reads from the source.
    Idle(Box<Source>),
    /// A thread reads from the source.
    Busy,
    /// The body is whole or has failed.
    Ended(Result<(), Failure>),
}

/// The source of a body, and what its reader needs.
pub(super) struct Source {
    pub(super) body: Body,
    pub(super) buffer: Box<[u8]>,
    pub(super) _counted: Hold,
    /// The digest of the bytes that have arrived; `None` if the body is not stored.
    pub(super) digest: Option<Hashing>,
    /// The bytes that were present at the start and are not in the digest yet.
    pub(super) beginning: Pieces,
}

impl State {
    pub(super) fn new(source: Source, commit: Option<Commit>) -> Self {
        let (mut buffered, mut received) = (BufferedPieces::default(), 0);
        for piece in source.beginning.iter() {
            let length = piece.len() as u64;
            buffered.push(received, piece);
            received += length;
        }
        Self {
            progress: Progress::Idle(Box::new(source)),
            buffered,
            keeps_all: commit.is_some(),
            received,
            readers: vec![Position { reader: 0, at: 0, wake: None }],
            next_reader: 1,
            is_driven: false,
            is_whole: false,
            is_cancelled: false,
            commit,
            begin_spill: None,
            spill: None,
            spilled_until: None,
            beginning: None,
        }
    }

    /// Continues a body of which the file holds this many bytes.
    pub(super) fn continue_file(&mut self, spill: Arc<dyn Spill>, length: u64) {
        self.received = length;
        self.keep_in_file(spill);
    }

    /// Adds a reader, unless the beginning is gone or the transfer has failed or is cancelled.
    pub(super) fn admit(&mut self) -> Option<u64> {
        let has_failed = matches!(self.progress, Progress::Ended(Err(_)));
        let has_beginning = self.received == 0 || self.buffered.start() == Some(0) || self.is_kept_in_file();
        if has_failed || self.is_cancelled || !has_beginning {
            return None;
        }
        let reader = self.next_reader;
        self.next_reader += 1;
        self.readers.push(Position { reader, at: 0, wake: None });
        Some(reader)
    }

    pub(super) fn check_admitted(&self, reader: u64) -> io::Result<()> {
        if self.readers.iter().any(|known| known.reader == reader) {
            return Ok(());
        }
        let text = "the body was read too slowly for the other readers of its transfer";
        Err(Failure::new(ErrorKind::IncompleteBody, text).to_error())
    }

    /// Gives up storing the body. Returns the unused commit.
    pub(super) fn stop_keeping(&mut self) -> Option<Commit> {
        self.keeps_all = false;
        self.beginning = None;
        self.drop_read();
        self.commit.take()
    }

    /// Notes the position of a reader.
    pub(super) fn note_position(&mut self, reader: u64, at: u64) {
        if let Some(position) = self.readers.iter_mut().find(|position| position.reader == reader) {
            position.at = at;
        }
        self.drop_read();
    }

    /// Drops the bytes that every reader has read, unless the body is stored.
    pub(super) fn drop_read(&mut self) {
        if !self.keeps_all {
            let recent = self.spill.is_some().then(|| self.received.saturating_sub(WINDOW));
            let in_file = recent.into_iter().chain(self.spilled_until).min().unwrap_or(0);
            self.buffered.drop_before(self.slowest_position().max(in_file));
        }
    }

    /// Keeps the body in a file from now on, and only the latest bytes in memory.
    pub(super) fn keep_in_file(&mut self, spill: Arc<dyn Spill>) {
        self.keeps_all = false;
        self.spill = Some(spill);
        self.drop_read();
    }

    /// Gives up storing the body, because no more can be written to its file. Its readers still read what the file holds;
    /// what follows is in memory until they have read it. Returns the unused commit.
    pub(super) fn end_file(&mut self) -> Option<Commit> {
        self.spilled_until = Some(self.received);
        self.beginning = None;
        self.commit.take()
    }

    /// Whether all that arrives is written to a file.
    pub(super) fn is_kept_in_file(&self) -> bool {
        self.spill.is_some() && self.spilled_until.is_none()
    }

    /// Returns the file that all that arrives is written to.
    pub(super) fn open_file(&self) -> Option<Arc<dyn Spill>> {
        self.spill.clone().filter(|_| self.is_kept_in_file())
    }

    /// Returns the file if it contains a position that is no longer in memory, and how much of the body it contains.
    pub(super) fn spilled(&self, position: u64) -> Option<(Arc<dyn StoredBytes>, u64)> {
        let until = self.spilled_until.unwrap_or(self.received);
        let spill = self.spill.as_ref().filter(|_| position < until)?;
        Some((Arc::<dyn Spill>::clone(spill), until))
    }

    pub(super) fn register_wake(&mut self, reader: u64, wake: &Wake) {
        if let Some(position) = self.readers.iter_mut().find(|position| position.reader == reader) {
            position.wake = Some(Arc::clone(wake));
        }
    }

    /// Takes the wake-up calls of all readers, to be called after a change.
    pub(super) fn take_wakes(&mut self) -> Vec<Wake> {
        self.readers.iter_mut().filter_map(|position| position.wake.take()).collect()
    }

    /// Removes the slowest readers, if another reader has read everything and waits for more. Returns the wake-up
    /// calls of the removed readers.
    pub(super) fn disconnect_slowest(&mut self) -> Option<Vec<Wake>> {
        let slowest = self.slowest_position();
        if slowest == self.received || !self.has_waiting_reader() || self.is_kept_in_file() {
            return None;
        }
        let (cut, others) = mem::take(&mut self.readers).into_iter().partition(|reader| reader.at == slowest);
        self.readers = others;
        self.drop_read();
        let cut: Vec<Position> = cut;
        Some(cut.into_iter().filter_map(|position| position.wake).collect())
    }

    /// Whether some reader has read everything that has arrived.
    pub(super) fn has_waiting_reader(&self) -> bool {
        self.readers.iter().any(|position| position.at == self.received)
    }

    pub(super) fn slowest_position(&self) -> u64 {
        self.readers.iter().map(|position| position.at).min().unwrap_or(self.received)
    }

    /// Returns from where on the readers need what is in memory, if not all of the body is kept.
    fn start_in_memory(&self) -> u64 {
        self.slowest_position().max(self.spilled_until.unwrap_or(0))
    }

    /// Returns how the memory is accounted for once this many bytes have arrived.
    pub(super) fn grant_for(&self, received: u64) -> BufferGrant {
        let ahead = if self.is_kept_in_file() { 0 } else { received - self.start_in_memory() };
        if ahead < WINDOW + PIECE as u64 {
            BufferGrant::Window
        } else if ahead < WINDOW + BACKLOG {
            BufferGrant::Backlog
        } else {
            BufferGrant::None
        }
    }

    /// Whether the source is not read until the readers have caught up.
    pub(super) fn is_far_ahead(&self) -> bool {
        !self.keeps_all
            && !self.is_kept_in_file()
            && self.received - self.start_in_memory() >= WINDOW
            && !self.has_waiting_reader()
    }

    pub(super) fn has_ended(&self) -> bool {
        matches!(self.progress, Progress::Ended(_))
    }
}

/// How the memory that slow readers need is accounted for.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum BufferGrant {
    /// Within the window, which every transfer is granted.
    Window,
    /// Beyond the window: granted if the ledger has room.
    Backlog,
    /// Beyond the limit: refused.
    None,
}
