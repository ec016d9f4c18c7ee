//! How far a body, each of its readers and what is kept of it are. Nothing here waits.

use std::io;
use std::mem;
use std::sync::Arc;

use super::failure::Failure;
use super::kept::Kept;
use super::transfer::{BeginSpill, Commit, PIECE};
use crate::base::error::ErrorKind;
use crate::base::ledger::Hold;
use crate::message::body::{Body, Wake};
use crate::message::digest::RunningDigest;
use crate::message::pieces::Pieces;
use crate::message::stored_bytes::{Spill, StoredBytes};

/// How far a body that is not kept may run ahead of its slowest reader while nobody waits for more, in bytes.
pub(super) const WINDOW: u64 = 256 * 1024;

/// How far beyond that it may run while another reader waits for more, in bytes.
pub(super) const BACKLOG: u64 = 16 * 1024 * 1024;

pub(super) struct State {
    pub(super) progress: Progress,
    pub(super) kept: Kept,
    /// Whether everything from the beginning on stays, to be stored.
    pub(super) keeps_all: bool,
    /// How many bytes came in all.
    pub(super) received: u64,
    pub(super) readers: Vec<Position>,
    next_reader: u64,
    /// Whether somebody moves the body on whoever reads it.
    pub(super) is_driven: bool,
    /// Whether its last byte is here, also if that is still being stored.
    pub(super) is_whole: bool,
    /// Whether its transfer was cancelled.
    pub(super) is_cancelled: bool,
    pub(super) commit: Option<Commit>,
    pub(super) begin_spill: Option<BeginSpill>,
    /// Where all of it is while it is kept in a file.
    pub(super) spill: Option<Arc<dyn Spill>>,
}

/// How far one reader has read.
pub(super) struct Position {
    pub(super) reader: u64,
    pub(super) at: u64,
    /// To be called at the next change.
    wake: Option<Wake>,
}

pub(super) enum Progress {
    Idle(Box<Source>),
    Busy,
    Ended(Result<(), Failure>),
}

pub(super) struct Source {
    pub(super) body: Body,
    pub(super) buffer: Box<[u8]>,
    pub(super) _counted: Hold,
    /// Of what came; `None` for what is not stored.
    pub(super) digest: Option<RunningDigest>,
    /// What was here at first and is not in the digest yet.
    pub(super) beginning: Pieces,
}

/// What a body that is not stored had for that.
pub(super) type Unused = (Option<Commit>, Option<Arc<dyn Spill>>);

impl State {
    pub(super) fn new(source: Source, commit: Option<Commit>) -> Self {
        let (mut kept, mut received) = (Kept::default(), 0);
        for piece in source.beginning.iter() {
            let length = piece.len() as u64;
            kept.push(received, piece);
            received += length;
        }
        Self {
            progress: Progress::Idle(Box::new(source)),
            kept,
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
        }
    }

    /// One more reader, if the beginning is still here and something may come of the rest.
    pub(super) fn admit(&mut self) -> Option<u64> {
        let has_failed = matches!(self.progress, Progress::Ended(Err(_)));
        let has_beginning = self.received == 0 || self.kept.start() == Some(0) || self.spill.is_some();
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

    /// Gives up the hope to store it.
    pub(super) fn keep_no_more(&mut self) -> Option<Commit> {
        self.keeps_all = false;
        self.forget_read();
        self.commit.take()
    }

    /// Notes how far a reader is.
    pub(super) fn moved(&mut self, reader: u64, at: u64) {
        if let Some(position) = self.readers.iter_mut().find(|position| position.reader == reader) {
            position.at = at;
        }
        self.forget_read();
    }

    /// Lets go of what every reader has read, unless all of it stays.
    pub(super) fn forget_read(&mut self) {
        if !self.keeps_all {
            let recent = if self.spill.is_some() { self.received.saturating_sub(WINDOW) } else { 0 };
            self.kept.forget_before(self.slowest().max(recent));
        }
    }

    /// From now on the body is kept in a file, and in memory no more than what came last.
    pub(super) fn keep_in_file(&mut self, spill: Arc<dyn Spill>) {
        self.keeps_all = false;
        self.spill = Some(spill);
        self.forget_read();
    }

    /// Gives up the file, and with it the readers that need it: gives what is to be dropped, and what they are to be woken
    /// by.
    pub(super) fn lose_file(&mut self) -> (Unused, Vec<Wake>) {
        let from = self.kept.start().unwrap_or(self.received);
        let unused = (self.commit.take(), self.spill.take());
        let (stay, cut): (Vec<Position>, Vec<Position>) =
            mem::take(&mut self.readers).into_iter().partition(|reader| reader.at >= from);
        self.readers = stay;
        (unused, cut.into_iter().filter_map(|position| position.wake).collect())
    }

    /// Where a position is read that is not in memory any more.
    pub(super) fn spilled(&self, position: u64) -> Option<Arc<dyn StoredBytes>> {
        let spill = self.spill.as_ref().filter(|_| position < self.received)?;
        Some(Arc::<dyn Spill>::clone(spill))
    }

    pub(super) fn wake_later(&mut self, reader: u64, wake: &Wake) {
        if let Some(position) = self.readers.iter_mut().find(|position| position.reader == reader) {
            position.wake = Some(Arc::clone(wake));
        }
    }

    /// Those to be called after a change.
    pub(super) fn take_wakes(&mut self) -> Vec<Wake> {
        self.readers.iter_mut().filter_map(|position| position.wake.take()).collect()
    }

    /// Removes the slowest readers, if another one waits for them: it has read all there is. Gives what they are to
    /// be woken by.
    pub(super) fn cut_slowest(&mut self) -> Option<Vec<Wake>> {
        let slowest = self.slowest();
        if slowest == self.received || !self.is_waited_for() || self.spill.is_some() {
            return None;
        }
        let (cut, others) = mem::take(&mut self.readers).into_iter().partition(|reader| reader.at == slowest);
        self.readers = others;
        self.forget_read();
        let cut: Vec<Position> = cut;
        Some(cut.into_iter().filter_map(|position| position.wake).collect())
    }

    /// Whether some reader has read all that came.
    pub(super) fn is_waited_for(&self) -> bool {
        self.readers.iter().any(|position| position.at == self.received)
    }

    pub(super) fn slowest(&self) -> u64 {
        self.readers.iter().map(|position| position.at).min().unwrap_or(self.received)
    }

    /// What has to be in memory when this much has come.
    pub(super) fn room_for(&self, received: u64) -> Room {
        let ahead = if self.spill.is_some() { 0 } else { received - self.slowest() };
        if ahead < WINDOW + PIECE as u64 {
            Room::Window
        } else if ahead < WINDOW + BACKLOG {
            Room::Backlog
        } else {
            Room::None
        }
    }

    /// Whether the source is left alone until what came has been read.
    pub(super) fn is_far_ahead(&self) -> bool {
        !self.keeps_all
            && self.spill.is_none()
            && self.received - self.slowest() >= WINDOW
            && !self.is_waited_for()
    }

    pub(super) fn has_ended(&self) -> bool {
        matches!(self.progress, Progress::Ended(_))
    }
}

/// How what is held for slow readers is accounted for.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Room {
    /// Within the window, which every transfer has.
    Window,
    /// Beyond it: as long as there is memory.
    Backlog,
    /// Too much.
    None,
}
