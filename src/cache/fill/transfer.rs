//! One source, any number of readers, and the store at the end.
//!
//! ```text
//!            read                       whole
//! Idle ──────────────▶ Busy ─────────────────────▶ Ended(Ok)        stored, then readers are woken
//!   ◀──────────────────┘ │
//!         more to come   └── failed, or panicked ─▶ Ended(Err)        not stored
//! ```
//!
//! A body of known length is whole when that many bytes have arrived; one of unknown length when its end is proven.
//! It is stored before its last piece is handed out, so that a client which has read to the end and requests it again
//! gets a hit. Readers get all earlier pieces as they arrive.
//!
//! A body that exceeds the limit, or for which the ledger has no room, continues in a file if the store has one; slow
//! and new readers then read from the file. Without a file, a body is not stored if it exceeds the limit or the ledger has no room for it. The bytes that every reader has
//! read are then dropped. While some reader waits for more, the source is read, and the bytes that slower readers
//! still need stay in memory up to a bound. Beyond the bound, or if the ledger is full, the slowest readers are cut
//! off. If no reader waits for more, the source is read one window ahead at most.

use std::fmt;
use std::io::{self, Read};
use std::mem;
use std::sync::Arc;
use std::thread;
use std::time::Instant;

use bytes::Bytes;
use parking_lot::{Condvar, Mutex, MutexGuard};

use super::failure::Failure;
use super::hashing::Hashing;
use super::keeping::Commit;
use super::keeping::PIECE;
use super::state::{BufferGrant, Progress, Source, State, WINDOW};
use crate::base::cancellation::Cancellation;
use crate::base::error::ErrorKind;
use crate::base::memory_limit::{Ledger, MemoryUse};
use crate::message::body::{Body, FINISH_TIMEOUT, PollRead, Wake};
use crate::message::pieces::merged;
use crate::message::stored_bytes::{ReadAhead, StoredBytes};

/// How many reads may finish a body of unknown length after its last reader has left. The thread that drops the last
/// reader may spend up to [`FINISH_TIMEOUT`] on them.
pub(super) const FINISHING_READS: usize = 2;

/// A body in transit.
pub(crate) struct Fill {
    pub(super) state: Mutex<State>,
    /// Notified at every change of `state` for which a reader may wait.
    pub(super) changed: Condvar,
    pub(super) length: Option<u64>,
    limit: u64,
    worth_finishing: u64,
    ledger: Arc<Ledger>,
    cancellation: Cancellation,
}

impl Fill {
    /// Creates the transfer of a body whose first `present` bytes are in a file.
    pub(super) fn new(
        mut body: Body,
        present: u64,
        limit: u64,
        worth_finishing: u64,
        commit: Option<Commit>,
        ledger: Arc<Ledger>,
        cancellation: Cancellation,
    ) -> Arc<Self> {
        let length = body.length().map(|length| length + present);
        let beginning = body.take_beginning();
        // One byte more than announced, so that a source that sends too much is detected.
        let most = body.length().and_then(|length| usize::try_from(length.saturating_add(1)).ok());
        let buffer = vec![0; most.unwrap_or(PIECE).min(PIECE)].into_boxed_slice();
        let source = Source {
            body,
            _counted: ledger.hold(MemoryUse::Fetches, buffer.len() as u64),
            buffer,
            digest: commit.is_some().then(Hashing::new),
            beginning,
        };
        Arc::new(Self {
            state: Mutex::new(State::new(source, commit)),
            changed: Condvar::new(),
            length,
            limit,
            worth_finishing,
            ledger,
            cancellation,
        })
    }

    /// Returns the length of the whole body, if known.
    pub(crate) fn length(&self) -> Option<u64> {
        self.length
    }

    /// Reads for a reader that may block. Reads from the source if no other thread does.
    pub(super) fn read(&self, reader: u64, position: u64, out: &mut [u8]) -> io::Result<usize> {
        if out.is_empty() {
            return Ok(0);
        }
        let mut state = self.state.lock();
        loop {
            state.check_admitted(reader)?;
            if let Some((bytes, skip)) = state.buffered.at(position) {
                let count = out.len().min(bytes.len() - skip);
                out[..count].copy_from_slice(&bytes[skip..skip + count]);
                state.note_position(reader, position + count as u64);
                return Ok(count);
            }
            if let Some((source, until)) = state.spilled(position) {
                drop(state);
                let most = usize::try_from(until - position).unwrap_or(PIECE).min(out.len()).min(PIECE);
                let read = source.read(position, most).inspect_err(|_| self.forget_beginning())?;
                out[..read.len()].copy_from_slice(&read);
                self.state.lock().note_position(reader, position + read.len() as u64);
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

    /// Reads for a reader that never blocks: at most `most` bytes that are in memory, in one piece.
    pub(super) fn read_nonblocking(
        &self,
        reader: u64,
        position: u64,
        most: usize,
        behind: &ReadAhead,
        wake: &Wake,
    ) -> io::Result<PollRead> {
        let mut state = self.state.lock();
        state.check_admitted(reader)?;
        if let Some((bytes, skip)) = state.buffered.at(position) {
            let bytes = bytes.slice(skip..bytes.len().min(skip.saturating_add(most)));
            state.note_position(reader, position + bytes.len() as u64);
            return Ok(PollRead::Bytes(bytes.into()));
        }
        if let Some((source, end)) = state.spilled(position) {
            drop(state);
            // A reader that is far behind reads ahead. For others, the next bytes are usually in memory.
            let is_far_behind = end - position > 2 * WINDOW;
            let until = if is_far_behind { end } else { end.min(position + PIECE as u64) };
            let taken = behind.take(&source, position..until, most, &self.ledger, wake);
            let Some(bytes) = taken.inspect_err(|_| self.forget_beginning())? else {
                return Ok(PollRead::Pending);
            };
            self.state.lock().note_position(reader, position + bytes.len() as u64);
            return Ok(PollRead::Bytes(bytes));
        }
        match &state.progress {
            Progress::Ended(Ok(())) => Ok(PollRead::End),
            Progress::Ended(Err(failure)) => Err(failure.to_error()),
            Progress::Idle(_) | Progress::Busy => {
                state.register_wake(reader, wake);
                Ok(PollRead::Pending)
            }
        }
    }

    /// Reads from the source until the body ends or the time has passed; returns whether it has ended. A body that is
    /// not stored is read one window ahead at most.
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

    /// Wakes all readers after a change.
    pub(super) fn wake_readers(&self, mut state: MutexGuard<'_, State>) {
        let wakes = state.take_wakes();
        drop(state);
        self.changed.notify_all();
        for wake in wakes {
            wake();
        }
    }

    /// Removes a reader. If no driver reads the body, the last reader that `may_finish` reads the rest if little is
    /// missing. Any other body without readers is given up, and its transfer is cancelled.
    pub(super) fn remove_reader(&self, reader: u64, may_finish: bool) {
        let mut state = self.state.lock();
        let is_last = |state: &State| matches!(&state.readers[..], [last] if last.reader == reader);
        let deadline = Instant::now() + FINISH_TIMEOUT;
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
        state.drop_read();
        if !state.is_driven {
            return self.give_up_unread(state);
        }
        let is_left_to_driver = may_finish && self.is_worth_finishing(&state, 0);
        let is_unread = state.readers.is_empty() && !state.has_ended() && !state.is_whole;
        state.is_cancelled |= is_unread && !is_left_to_driver;
        // The driver may still run for a while, but no reader may join a cancelled transfer. The driver keeps the
        // beginning when it ends.
        let unused = if state.is_cancelled { state.commit.take() } else { None };
        self.wake_and_cancel(state);
        drop(unused);
    }

    /// Ends a body that has neither readers nor a driver, and keeps what has arrived.
    pub(super) fn give_up_unread(&self, mut state: MutexGuard<'_, State>) {
        let unused = (state.readers.is_empty() && matches!(state.progress, Progress::Idle(_))).then(|| {
            let failure = Failure::new(ErrorKind::IncompleteBody, "no reader read the body to its end");
            state.is_cancelled = true;
            let interrupted = state.take_beginning();
            let unused = (
                mem::replace(&mut state.progress, Progress::Ended(Err(failure))),
                mem::take(&mut state.buffered),
                (state.commit.take(), state.spill.take()),
            );
            (unused, interrupted)
        });
        let (unused, interrupted) = unused.unzip();
        self.wake_and_cancel(state);
        drop(unused);
        if let Some(interrupted) = interrupted.flatten() {
            interrupted.keep();
        }
    }

    /// Wakes all readers, and cancels the transfer at the origin if the fill is cancelled.
    fn wake_and_cancel(&self, state: MutexGuard<'_, State>) {
        let is_cancelled = state.is_cancelled;
        self.wake_readers(state);
        if is_cancelled {
            self.cancellation.cancel();
        }
    }

    pub(super) fn is_worth_finishing(&self, state: &State, reads: usize) -> bool {
        state.commit.is_some()
            && !state.is_cancelled
            && match self.length {
                Some(length) => length - state.received <= self.worth_finishing,
                // Most often only the end marker is missing.
                None => self.worth_finishing > 0 && reads < FINISHING_READS,
            }
    }

    /// Reads one piece from the source, with the lock released. The source must be idle.
    pub(super) fn advance(&self, state: &mut MutexGuard<'_, State>) {
        let Progress::Idle(source) = mem::replace(&mut state.progress, Progress::Busy) else {
            unreachable!("only an idle source is read");
        };
        MutexGuard::unlocked(state, || {
            let mut guard = ReadGuard { fill: self, next: None };
            guard.next = Some(self.read_piece(source));
        });
    }

    /// Reads from the source once and returns the new progress.
    fn read_piece(&self, mut source: Box<Source>) -> Progress {
        let count = loop {
            match source.body.read(&mut source.buffer) {
                Ok(count) => break count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Progress::Ended(Err(error.into())),
            }
        };
        let read = &source.buffer[..count];
        let state = self.state.lock();
        // Only this thread adds pieces; other threads may only drop pieces that all readers have read.
        let (received, last) = (state.received + count as u64, state.buffered.last().cloned());
        drop(state);
        match self.length {
            Some(length) if received > length || (count == 0 && received < length) => {
                if received > length {
                    // One of the two lengths is wrong, so the bytes may be wrong too.
                    self.forget_beginning();
                }
                let text = format!("expected a body of {length} bytes, but its length differs");
                return Progress::Ended(Err(Failure::new(ErrorKind::IncompleteBody, text)));
            }
            _ => {}
        }
        self.spill(read, received);
        let piece = merged(last.as_ref(), read).unwrap_or_else(|| read.into());
        drop(last);
        let at = received - piece.len() as u64;
        let piece = self.account(piece, received, read);

        let mut state = self.state.lock();
        state.is_whole = count == 0 || self.length == Some(received);
        if !state.keeps_all && !state.is_kept_in_file() {
            source.digest = None;
        }
        if let Some(digest) = &mut source.digest {
            let (spill, is_whole) = (state.spill.clone(), state.is_whole);
            drop(state);
            digest.add_pieces(&mem::take(&mut source.beginning));
            let file = spill.as_ref().map(|spill| &**spill as &dyn StoredBytes);
            if let Err(error) = digest.follow(read, received, is_whole, file) {
                self.forget_beginning();
                return Progress::Ended(Err(error.into()));
            }
            state = self.state.lock();
        }
        if state.is_whole
            && let Some(digest) = source.digest.take()
        {
            let mut whole = state.buffered.clone();
            whole.push(at, piece);
            let (commit, spill) = (state.commit.take(), state.spill.clone());
            drop(state);
            self.commit(whole, commit.map(|commit| (commit, spill)), digest.finish(), received);
            return Progress::Ended(Ok(()));
        }
        state.received = received;
        state.buffered.push(at, piece);
        state.drop_read();
        if state.is_whole { Progress::Ended(Ok(())) } else { Progress::Idle(source) }
    }

    /// Accounts for a piece, with which `received` bytes have arrived. If the ledger has no room for it, the body
    /// continues in a file or is not stored. If it has no room for the bytes that slow readers need either, the slowest readers are cut off.
    fn account(&self, mut piece: Box<[u8]>, received: u64, read: &[u8]) -> Bytes {
        let keeps_all = self.state.lock().keeps_all;
        if keeps_all {
            if received <= self.limit && self.length.is_none_or(|length| length <= self.limit) {
                match self.ledger.try_share(MemoryUse::Bodies, piece) {
                    Ok(bytes) => return bytes,
                    Err(refused) => piece = refused,
                }
            }
            self.begin_spill(read);
        }
        loop {
            let grant = self.state.lock().grant_for(received);
            match grant {
                BufferGrant::Window => return self.ledger.share(MemoryUse::Windows, piece),
                BufferGrant::Backlog => match self.ledger.try_share(MemoryUse::Windows, piece) {
                    Ok(bytes) => return bytes,
                    Err(refused) => piece = refused,
                },
                BufferGrant::None => {}
            }
            let cut = self.state.lock().disconnect_slowest();
            let Some(wakes) = cut else { return self.ledger.share(MemoryUse::Windows, piece) };
            self.changed.notify_all();
            wakes.into_iter().for_each(|wake| wake());
        }
    }
}

/// One read from the source. However it ends, even by a panic, the other readers continue.
struct ReadGuard<'a> {
    fill: &'a Fill,
    next: Option<Progress>,
}

impl Drop for ReadGuard<'_> {
    fn drop(&mut self) {
        let next = self.next.take().unwrap_or_else(|| {
            Progress::Ended(Err(Failure::new(ErrorKind::Io, "reading the body panicked")))
        });
        let mut state = self.fill.state.lock();
        let unused = if let Progress::Ended(end) = &next {
            if let Some(interrupted) = state.end_beginning(end) {
                // Before the readers learn about the failure: a request that is repeated finds the beginning.
                MutexGuard::unlocked(&mut state, || interrupted.keep());
            }
            state.commit.take()
        } else {
            None
        };
        state.progress = next;
        self.fill.wake_readers(state);
        drop(unused);
    }
}

impl fmt::Debug for Fill {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Fill").field("length", &self.length).finish_non_exhaustive()
    }
}
