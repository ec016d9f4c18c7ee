//! How far a body, each of its readers and what is kept of it are. Nothing here waits.

use std::io;
use std::mem;
use std::sync::Arc;

use bytes::Bytes;

use super::transfer::{Commit, PIECE};
use crate::body::{Body, Wake};
use crate::error::{Error, ErrorKind};

/// How far a body that is not kept may run ahead of its slowest reader, in bytes.
pub(super) const WINDOW: u64 = 256 * 1024;

/// What a body that is not kept needs at most.
const WINDOW_AND_PIECE: usize = 320 * 1024;

pub(super) struct State {
    pub(super) progress: Progress,
    pub(super) kept: Kept,
    /// How many bytes came in all.
    pub(super) received: u64,
    /// How many bytes were set aside for what is kept.
    pub(super) reserved: u64,
    pub(super) readers: Vec<Position>,
    next_reader: u64,
    /// Whether somebody moves the body on whoever reads it.
    pub(super) is_driven: bool,
    pub(super) commit: Option<Commit>,
}

/// How far one reader has read.
pub(super) struct Position {
    pub(super) reader: u64,
    pub(super) at: u64,
    /// To be called at the next change.
    wake: Option<Wake>,
}

pub(super) enum Progress {
    Idle(Source),
    Busy,
    Ended(Result<(), Failure>),
}

pub(super) struct Source {
    pub(super) body: Body,
    pub(super) piece: Box<[u8]>,
}

/// Why a body did not become whole, for each of its readers.
pub(super) struct Failure {
    kind: ErrorKind,
    message: Arc<str>,
}

/// What is in memory of the body.
pub(super) enum Kept {
    /// All that came so far.
    All(Vec<u8>),
    /// What came since `from`: the whole is not kept.
    Since { from: u64, bytes: Vec<u8> },
    /// All of it is being committed; nobody is served until that is done.
    Committing,
    /// All of it.
    Whole(Bytes),
}

impl State {
    pub(super) fn new(source: Source, commit: Option<Commit>) -> Self {
        Self {
            progress: Progress::Idle(source),
            kept: Kept::All(Vec::new()),
            received: 0,
            reserved: 0,
            readers: vec![Position { reader: 0, at: 0, wake: None }],
            next_reader: 1,
            is_driven: false,
            commit,
        }
    }

    /// One more reader, if the beginning is still here and something may come of the rest.
    pub(super) fn admit(&mut self) -> Option<u64> {
        let failed = matches!(self.progress, Progress::Ended(Err(_)));
        if failed || matches!(self.kept, Kept::Since { .. }) {
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
        let text = "the others on this transfer went on: it was read too slowly";
        Err(Failure::new(ErrorKind::IncompleteBody, text).to_error())
    }

    pub(super) fn append(&mut self, piece: &[u8], length: Option<u64>, limit: u64) {
        let slowest = self.slowest();
        match &mut self.kept {
            Kept::All(bytes) => {
                if bytes.capacity() - bytes.len() < piece.len() {
                    // Twice what is here already, as long as that is no more than what may come.
                    let most = usize::try_from(length.unwrap_or(limit)).unwrap_or(usize::MAX);
                    let missing = most.saturating_sub(bytes.len());
                    bytes.reserve_exact(missing.min(bytes.len().max(PIECE)).max(piece.len()));
                }
                bytes.extend_from_slice(piece);
            }
            Kept::Since { from, bytes } => {
                let read_by_all = usize::try_from(slowest - *from).unwrap_or(0).min(bytes.len());
                bytes.drain(..read_by_all);
                *from += read_by_all as u64;
                if bytes.capacity() / 4 > bytes.len().max(WINDOW_AND_PIECE) {
                    bytes.shrink_to(WINDOW_AND_PIECE);
                }
                bytes.extend_from_slice(piece);
            }
            Kept::Committing | Kept::Whole(_) => {}
        }
    }

    /// How much more has to be set aside for `count` more bytes to be kept: a piece at least, where so much
    /// may still come. None for what is not kept in any case.
    pub(super) fn missing_room(&self, count: u64, length: Option<u64>, limit: u64) -> u64 {
        let needed = self.received + count;
        if self.commit.is_none() || needed > limit {
            return 0;
        }
        let most = length.unwrap_or(limit).min(limit).max(needed);
        match needed.saturating_sub(self.reserved) {
            0 => 0,
            missing => missing.max(PIECE as u64).min(most.saturating_sub(self.reserved)),
        }
    }

    /// What is set aside beyond what is in memory, to be given back.
    pub(super) fn unneeded_room(&mut self) -> u64 {
        let held = if let Kept::Since { bytes, .. } = &self.kept { bytes.len() as u64 } else { 0 };
        let unneeded = self.reserved.saturating_sub(held);
        self.reserved -= unneeded;
        unneeded
    }

    /// Lets go of the hope to store it.
    pub(super) fn keep_no_more(&mut self) -> Option<Commit> {
        if let Kept::All(bytes) = &mut self.kept {
            self.kept = Kept::Since { from: 0, bytes: mem::take(bytes) };
        }
        self.commit.take()
    }

    /// Notes how far a reader is; says whether somebody may wait for that.
    pub(super) fn moved(&mut self, reader: u64, at: u64) -> bool {
        if let Some(position) = self.readers.iter_mut().find(|position| position.reader == reader) {
            position.at = at;
        }
        matches!(self.kept, Kept::Since { .. }) && (self.readers.len() > 1 || self.is_driven)
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

    /// Gives up those who are no farther than `at`, if another one waits for them: it has read all there is.
    /// Says whether it did.
    pub(super) fn leave_behind(&mut self, at: u64) -> bool {
        let is_waited_for = self.is_waited_for();
        if is_waited_for {
            self.readers.retain(|position| position.at != at);
        }
        is_waited_for
    }

    /// Whether somebody has read all that came.
    pub(super) fn is_waited_for(&self) -> bool {
        self.readers.iter().any(|position| position.at == self.received)
    }

    pub(super) fn slowest(&self) -> u64 {
        self.readers.iter().map(|position| position.at).min().unwrap_or(self.received)
    }

    /// Whether what came has to be read by everybody before more comes.
    pub(super) fn is_far_ahead(&self) -> bool {
        matches!(self.kept, Kept::Since { .. }) && self.received - self.slowest() >= WINDOW
    }
}

impl Kept {
    pub(super) fn copy(&self, position: u64, out: &mut [u8]) -> usize {
        let here = self.from(position);
        let count = out.len().min(here.len());
        out[..count].copy_from_slice(&here[..count]);
        count
    }

    /// What is here from a position on: all of it without a copy where the whole is here, `most` bytes of it
    /// otherwise.
    pub(super) fn bytes(&self, position: u64, most: usize) -> Bytes {
        if let Self::Whole(whole) = self {
            return whole.slice(usize::try_from(position).unwrap_or(usize::MAX).min(whole.len())..);
        }
        let here = self.from(position);
        Bytes::copy_from_slice(&here[..here.len().min(most)])
    }

    fn from(&self, position: u64) -> &[u8] {
        let (from, bytes): (u64, &[u8]) = match self {
            Self::All(bytes) => (0, bytes),
            Self::Since { from, bytes } => (*from, bytes),
            Self::Whole(bytes) => (0, bytes),
            Self::Committing => return &[],
        };
        let start = usize::try_from(position - from).unwrap_or(usize::MAX).min(bytes.len());
        &bytes[start..]
    }
}

impl Failure {
    pub(super) fn new(kind: ErrorKind, message: &str) -> Self {
        Self { kind, message: message.into() }
    }

    pub(super) fn of(error: io::Error) -> Self {
        let error = Error::from(error);
        Self::new(error.kind(), &error.to_string())
    }

    pub(super) fn to_error(&self) -> io::Error {
        Error::new(self.kind, &*self.message).into()
    }
}
