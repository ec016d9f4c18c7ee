//! One source, any number of readers, and what is kept of it.
//!
//! ```text
//!            read                       whole
//! Idle ──────────────▶ Busy ─────────────────────▶ Ended(Whole)     committed, then told
//!   ◀──────────────────┘ │
//!         more to come   └── failed, or panicked ─▶ Ended(Failed)   nothing committed
//! ```
//!
//! A body of known length is whole when that many bytes are here, one of unknown length when its end is
//! proven. It is committed before its last piece is handed out, so that a client which has read to the
//! end and asks again finds it stored; all pieces before can be read meanwhile.
//!
//! A body that turns out larger than the limit, or for which the ledger has no room, goes on in a file where the store
//! has one: who is behind, or joins, reads that. Otherwise it is not committed: what every reader has read is let go. As long as some reader waits for more, more is read, and what slower readers have not
//! read stays in memory up to a bound; past it, or when the ledger is full, the slowest reader is cut off. If nobody
//! waits for more, the source is not read past a window.

use std::fmt;
use std::io::{self, Read};
use std::mem;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::thread;
use std::time::Instant;

use bytes::Bytes;
use log::{error, warn};
use parking_lot::{Condvar, Mutex, MutexGuard};

use super::failure::Failure;
use super::kept::Kept;
use super::reader::FillReader;
use super::state::{Progress, Room, Source, State};
use crate::base::cancellation::Cancellation;
use crate::base::error::ErrorKind;
use crate::base::ledger::{Ledger, Use};
use crate::message::body::{Body, FINISHING, Grown, Wake};
use crate::message::digest::{Digest, RunningDigest};
use crate::message::pieces::{Pieces, merged};
use crate::message::stored_bytes::{ReadAhead, Spill, StoredBytes};

/// How much is read from the source at a time, in bytes.
pub(super) const PIECE: usize = 64 * 1024;

/// How often something is read of a body that nobody reads any more, where its length is not known. Whoever drops a body
/// may wait for [`FINISHING`].
pub(super) const FINISHING_READS: usize = 2;

/// What is done with a whole body and its SHA-256: it is stored, and whoever waits for that is told. Dropped undone
/// when the body does not become whole.
pub(crate) type Commit = Box<dyn FnOnce(Whole, Digest) + Send>;

/// A body that has come to its end.
pub(crate) enum Whole {
    Pieces(Pieces),
    /// So many bytes in a file, which the store knows by this number.
    Spilled(Arc<dyn StoredBytes>, u64, u64),
}

/// Begins to write a body to a file while it comes; `None` where it cannot be.
pub(crate) type BeginSpill = Box<dyn FnOnce(Option<u64>) -> Option<Arc<dyn Spill>> + Send>;

/// What is to become of a body that is kept.
pub(crate) struct Keeping {
    /// The most that is kept, in bytes; a larger body streams through.
    pub(crate) limit: u64,
    /// How much may be left of a body that nobody reads any more for it to be fetched to its end.
    pub(crate) worth_finishing: u64,
    /// Where what is in memory is entered.
    pub(crate) ledger: Arc<Ledger>,
    /// Cancelled when nobody reads the body any more and it is not worth finishing.
    pub(crate) cancellation: Cancellation,
    /// Where a body goes that is larger than the limit, or for which there is no memory.
    pub(crate) spill: Option<BeginSpill>,
    pub(crate) commit: Commit,
}

/// A body that is being fetched.
pub(crate) struct Fill {
    pub(super) state: Mutex<State>,
    /// Told at every change of `state` that somebody may wait for.
    pub(super) changed: Condvar,
    length: Option<u64>,
    limit: u64,
    worth_finishing: u64,
    ledger: Arc<Ledger>,
    cancellation: Cancellation,
}

impl Fill {
    /// Starts to fetch a body that is to be kept; the reader is its first.
    pub(crate) fn start(body: Body, keeping: Keeping) -> FillReader {
        let Keeping { limit, worth_finishing, ledger, cancellation, spill, commit } = keeping;
        let reader = Self::with(body, limit, worth_finishing, Some(commit), ledger, cancellation);
        reader.fill().state.lock().begin_spill = spill;
        reader
    }

    /// Starts to fetch a body of which nothing is kept beyond what its readers have not read yet.
    pub(crate) fn pass(body: Body, ledger: Arc<Ledger>, cancellation: Cancellation) -> FillReader {
        Self::with(body, 0, 0, None, ledger, cancellation)
    }

    fn with(
        mut body: Body,
        limit: u64,
        worth_finishing: u64,
        commit: Option<Commit>,
        ledger: Arc<Ledger>,
        cancellation: Cancellation,
    ) -> FillReader {
        let length = body.length();
        let beginning = body.take_beginning();
        // One byte more than announced, so that a source which yields too much is found out.
        let most = body.length().and_then(|length| usize::try_from(length.saturating_add(1)).ok());
        let buffer = vec![0; most.unwrap_or(PIECE).min(PIECE)].into_boxed_slice();
        let source = Source {
            body,
            _counted: ledger.hold(Use::Fetches, buffer.len() as u64),
            buffer,
            digest: commit.is_some().then(RunningDigest::new),
            beginning,
        };
        let fill = Arc::new(Self {
            state: Mutex::new(State::new(source, commit)),
            changed: Condvar::new(),
            length,
            limit,
            worth_finishing,
            ledger,
            cancellation,
        });
        FillReader::new(fill, 0)
    }

    /// One more reader from the beginning; `None` when the beginning is gone or the transfer failed.
    pub(crate) fn reader(self: &Arc<Self>) -> Option<FillReader> {
        let reader = self.state.lock().admit()?;
        Some(FillReader::new(Arc::clone(self), reader))
    }

    /// The length of the whole, where it is known.
    pub(crate) fn length(&self) -> Option<u64> {
        self.length
    }

    /// Reads for one who waits, and who moves the body on where nobody else does.
    pub(super) fn read(&self, reader: u64, position: u64, out: &mut [u8]) -> io::Result<usize> {
        if out.is_empty() {
            return Ok(0);
        }
        let mut state = self.state.lock();
        loop {
            state.check_admitted(reader)?;
            if let Some((bytes, skip)) = state.kept.at(position) {
                let count = out.len().min(bytes.len() - skip);
                out[..count].copy_from_slice(&bytes[skip..skip + count]);
                state.moved(reader, position + count as u64);
                return Ok(count);
            }
            if let Some(source) = state.spilled(position) {
                drop(state);
                let most = out.len().min(PIECE);
                let read = source.read(position, most)?;
                out[..read.len()].copy_from_slice(&read);
                self.state.lock().moved(reader, position + read.len() as u64);
                return Ok(read.len());
            }
            match &state.progress {
                Progress::Ended(Ok(())) => return Ok(0),
                Progress::Ended(Err(failure)) => return Err(failure.to_error()),
                Progress::Idle(_) => self.advance(&mut state),
                Progress::Busy => self.changed.wait(&mut state),
            }
        }
    }

    /// Reads for one who never waits: what is here, `most` bytes of it in one piece.
    pub(super) fn read_at_once(
        &self,
        reader: u64,
        position: u64,
        most: usize,
        behind: &ReadAhead,
        wake: &Wake,
    ) -> io::Result<Grown> {
        let mut state = self.state.lock();
        state.check_admitted(reader)?;
        if let Some((bytes, skip)) = state.kept.at(position) {
            let bytes = bytes.slice(skip..bytes.len().min(skip.saturating_add(most)));
            state.moved(reader, position + bytes.len() as u64);
            return Ok(Grown::Bytes(bytes));
        }
        if let Some(source) = state.spilled(position) {
            let received = state.received;
            drop(state);
            // No further than that: what comes next is in memory most often.
            let until = received.min(position + PIECE as u64);
            let Some(bytes) = behind.take(&source, position..until, most, &self.ledger, wake)? else {
                return Ok(Grown::Pending);
            };
            self.state.lock().moved(reader, position + bytes.len() as u64);
            return Ok(Grown::Bytes(bytes));
        }
        match &state.progress {
            Progress::Ended(Ok(())) => Ok(Grown::End),
            Progress::Ended(Err(failure)) => Err(failure.to_error()),
            Progress::Idle(_) | Progress::Busy => {
                state.wake_later(reader, wake);
                Ok(Grown::Pending)
            }
        }
    }

    /// Moves the body on until it has ended or a time has passed; says whether it has ended. What is not kept is
    /// not read past its window.
    pub(super) fn wait_for_end(&self, until: Instant) -> bool {
        let mut state = self.state.lock();
        loop {
            match &state.progress {
                Progress::Ended(_) => return true,
                _ if Instant::now() >= until => return false,
                Progress::Idle(_) if state.is_far_ahead() => return false,
                Progress::Idle(_) => self.advance(&mut state),
                Progress::Busy => drop(self.changed.wait_until(&mut state, until)),
            }
        }
    }

    /// Lets everybody know that something has changed.
    pub(super) fn tell(&self, mut state: MutexGuard<'_, State>) {
        let wakes = state.take_wakes();
        drop(state);
        self.changed.notify_all();
        for wake in wakes {
            wake();
        }
    }

    /// Takes a reader off the list. Where nobody drives the body, the last one that `may_finish` it does so if
    /// little is missing. Any other body that nobody reads is given up, and its transfer cancelled.
    pub(super) fn leave(&self, reader: u64, may_finish: bool) {
        let mut state = self.state.lock();
        let is_last = |state: &State| matches!(&state.readers[..], [last] if last.reader == reader);
        let deadline = Instant::now() + FINISHING;
        let mut reads = 0;
        while may_finish
            && !state.is_driven
            && is_last(&state)
            && matches!(state.progress, Progress::Idle(_))
            && self.is_worth_finishing(&state, reads)
            && !thread::panicking()
            && Instant::now() < deadline
        {
            self.advance(&mut state);
            reads += 1;
        }
        state.readers.retain(|position| position.reader != reader);
        state.forget_read();
        if !state.is_driven {
            return self.give_up_unread(state);
        }
        let is_left_to_driver = may_finish && self.is_worth_finishing(&state, 0);
        let is_unread = state.readers.is_empty() && !state.has_ended() && !state.is_whole;
        state.is_cancelled |= is_unread && !is_left_to_driver;
        // Nobody may count on it any more, whenever its thread ends.
        let unused =
            if state.is_cancelled { (state.commit.take(), state.spill.take()) } else { (None, None) };
        self.tell_cancelled(state);
        drop(unused);
    }

    /// Ends a body that nobody reads and nobody moves on.
    pub(super) fn give_up_unread(&self, mut state: MutexGuard<'_, State>) {
        let unused = (state.readers.is_empty() && matches!(state.progress, Progress::Idle(_))).then(|| {
            let failure = Failure::new(ErrorKind::IncompleteBody, "nobody read the body to its end");
            state.is_cancelled = true;
            (
                mem::replace(&mut state.progress, Progress::Ended(Err(failure))),
                mem::take(&mut state.kept),
                (state.commit.take(), state.spill.take()),
            )
        });
        self.tell_cancelled(state);
        drop(unused);
    }

    /// Lets everybody know, the transfer too if it was cancelled.
    fn tell_cancelled(&self, state: MutexGuard<'_, State>) {
        let is_cancelled = state.is_cancelled;
        self.tell(state);
        if is_cancelled {
            self.cancellation.cancel();
        }
    }

    pub(super) fn is_worth_finishing(&self, state: &State, reads: usize) -> bool {
        state.commit.is_some()
            && !state.is_cancelled
            && match self.length {
                Some(length) => length - state.received <= self.worth_finishing,
                // Most often its end is all that is missing.
                None => self.worth_finishing > 0 && reads < FINISHING_READS,
            }
    }

    /// Reads one piece from the source, with the lock released. The source is idle.
    pub(super) fn advance(&self, state: &mut MutexGuard<'_, State>) {
        let Progress::Idle(source) = mem::replace(&mut state.progress, Progress::Busy) else {
            unreachable!("only an idle source is read");
        };
        MutexGuard::unlocked(state, || {
            let mut turn = Turn { fill: self, next: None };
            turn.next = Some(self.step(source));
        });
    }

    /// What one read from the source comes to.
    fn step(&self, mut source: Box<Source>) -> Progress {
        let count = loop {
            match source.body.read(&mut source.buffer) {
                Ok(count) => break count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Progress::Ended(Err(error.into())),
            }
        };
        let read = &source.buffer[..count];
        let state = self.state.lock();
        // Whoever reads from the source is alone in that: only what was read by all may go meanwhile.
        let (received, last) = (state.received + count as u64, state.kept.last().cloned());
        drop(state);
        match self.length {
            Some(length) if received > length || (count == 0 && received < length) => {
                let text = format!("the body was announced with {length} bytes and has another length");
                return Progress::Ended(Err(Failure::new(ErrorKind::IncompleteBody, text)));
            }
            _ => {}
        }
        self.spill(read, received);
        let piece = merged(last.as_ref(), read).unwrap_or_else(|| read.into());
        drop(last);
        let at = received - piece.len() as u64;
        let piece = self.enter(piece, received, read);

        let mut state = self.state.lock();
        state.is_whole = count == 0 || self.length == Some(received);
        if !state.keeps_all && state.spill.is_none() {
            source.digest = None;
        }
        if let Some(digest) = &mut source.digest {
            drop(state);
            mem::take(&mut source.beginning).slices().for_each(|piece| digest.update(piece));
            digest.update(read);
            state = self.state.lock();
        }
        if state.is_whole
            && let Some(digest) = source.digest.take()
        {
            let mut whole = state.kept.clone();
            whole.push(at, piece);
            let (commit, spill) = (state.commit.take(), state.spill.clone());
            drop(state);
            self.commit(whole, commit.map(|commit| (commit, spill)), digest.finish(), received);
            return Progress::Ended(Ok(()));
        }
        state.received = received;
        state.kept.push(at, piece);
        state.forget_read();
        if state.is_whole { Progress::Ended(Ok(())) } else { Progress::Idle(source) }
    }

    /// Enters a piece in the ledger, with which `received` bytes have come. Where there is no room for it, the body is
    /// kept no more; where there is none for what slow readers have not read either, the slowest ones are cut off.
    fn enter(&self, mut piece: Box<[u8]>, received: u64, read: &[u8]) -> Bytes {
        let keeps_all = self.state.lock().keeps_all;
        if keeps_all {
            if received <= self.limit && self.length.is_none_or(|length| length <= self.limit) {
                match self.ledger.try_share(Use::Bodies, piece) {
                    Ok(bytes) => return bytes,
                    Err(refused) => piece = refused,
                }
            }
            self.begin_spill(read);
        }
        loop {
            let room = self.state.lock().room_for(received);
            match room {
                Room::Window => return self.ledger.share(Use::Windows, piece),
                Room::Backlog => match self.ledger.try_share(Use::Windows, piece) {
                    Ok(bytes) => return bytes,
                    Err(refused) => piece = refused,
                },
                Room::None => {}
            }
            let cut = self.state.lock().cut_slowest();
            let Some(wakes) = cut else { return self.ledger.share(Use::Windows, piece) };
            self.changed.notify_all();
            wakes.into_iter().for_each(|wake| wake());
        }
    }

    /// Writes what was kept so far to a file, and then what was read now, where there is such a store. Otherwise the
    /// hope to store the body is given up.
    fn begin_spill(&self, read: &[u8]) {
        let mut state = self.state.lock();
        let (begin, kept) = (state.begin_spill.take(), state.kept.clone());
        drop(state);
        let spill = begin.and_then(|begin| begin(self.length)).filter(|spill| {
            let pieces = kept.pieces();
            pieces.slices().chain([read]).try_for_each(|piece| spill.write(piece)).is_ok()
        });
        let mut state = self.state.lock();
        let unused = match spill {
            // Nobody may count on it any more.
            Some(_) if state.is_cancelled => None,
            Some(spill) => {
                state.keep_in_file(spill);
                None
            }
            None => state.keep_no_more(),
        };
        drop(state);
        drop(unused);
    }

    /// Writes what was read to the file in which the body is kept, if it is.
    fn spill(&self, read: &[u8], received: u64) {
        let spill = self.state.lock().spill.clone();
        if let Some(spill) = spill
            && let Err(error) = spill.write(read)
        {
            warn!("a body is not stored after {received} bytes: {error}");
            let mut state = self.state.lock();
            let (unused, wakes) = state.lose_file();
            drop(state);
            drop(unused);
            self.changed.notify_all();
            wakes.into_iter().for_each(|wake| wake());
        }
    }

    fn commit(
        &self,
        whole: Kept,
        commit: Option<(Commit, Option<Arc<dyn Spill>>)>,
        digest: Digest,
        received: u64,
    ) {
        if let Some((commit, spill)) = commit {
            let stored = match spill {
                None => Ok(Whole::Pieces(whole.pieces())),
                Some(spill) => spill.finish().map(|number| Whole::Spilled(spill, received, number)),
            };
            // What stores it is not ours: its panic is not the readers' trouble.
            match stored {
                Ok(stored) => {
                    if catch_unwind(AssertUnwindSafe(|| commit(stored, digest))).is_err() {
                        error!("storing a response panicked");
                    }
                }
                Err(error) => warn!("a body is not stored: {error}"),
            }
        }
        let mut state = self.state.lock();
        state.kept = whole;
        state.received = received;
    }
}

/// One read from the source. However it ends, by a panic too, the others go on.
struct Turn<'a> {
    fill: &'a Fill,
    next: Option<Progress>,
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        let next = self.next.take().unwrap_or_else(|| {
            Progress::Ended(Err(Failure::new(ErrorKind::Io, "reading the body panicked")))
        });
        let mut state = self.fill.state.lock();
        let has_ended = matches!(next, Progress::Ended(_));
        let unused = if has_ended { state.commit.take() } else { None };
        state.progress = next;
        self.fill.tell(state);
        drop(unused);
    }
}

impl fmt::Debug for Fill {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Fill").field("length", &self.length).finish_non_exhaustive()
    }
}
