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
//! proven. It is committed before the last bytes are handed out, so that a client which has read to the
//! end and asks again finds it stored. A body that turns out larger than the limit, or for which there is no
//! room, is not committed: what every reader has read is let go, and the fastest waits for the slowest, so
//! that memory is bounded.

use std::fmt;
use std::io::{self, Read};
use std::mem;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use bytes::Bytes;
use log::error;
use parking_lot::{Condvar, Mutex, MutexGuard};

use super::reader::FillReader;
use super::state::{Failure, Kept, Progress, Source, State};
use crate::body::{Body, Grown, Wake};
use crate::error::ErrorKind;

/// How much is read from the source at a time, in bytes.
pub(super) const PIECE: usize = 64 * 1024;

/// For how long it is tried to finish a body that nobody reads any more, and how often something is read of
/// one whose length is not known. What comes too slowly is given up: whoever drops a body may wait for this.
pub(super) const FINISHING: Duration = Duration::from_secs(1);
pub(super) const FINISHING_READS: usize = 2;

/// How long the others wait for a reader that stands still, once the body is too large to be kept.
const PATIENCE: Duration = Duration::from_secs(10);

/// What is done with a whole body: it is stored, and whoever waits for that is told. Dropped undone when
/// the body does not become whole.
pub(crate) type Commit = Box<dyn FnOnce(Bytes) + Send>;

/// Where there has to be room for what is kept of a body.
pub(crate) trait Room: Send + Sync {
    /// Sets this many bytes aside, or says that there is no room.
    fn reserve(&self, bytes: u64) -> bool;

    /// Gives back what was set aside.
    fn release(&self, bytes: u64);
}

/// What is to become of a body that is kept.
pub(crate) struct Keeping {
    /// The most that is kept, in bytes; a larger body streams through.
    pub(crate) limit: u64,
    /// How much may be left of a body that nobody reads any more for it to be fetched to its end.
    pub(crate) worth_finishing: u64,
    pub(crate) room: Arc<dyn Room>,
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
    room: Option<Arc<dyn Room>>,
    patience: Duration,
}

impl Fill {
    /// Starts to fetch a body that is to be kept; the reader is its first.
    pub(crate) fn start(body: Body, keeping: Keeping) -> FillReader {
        Self::with_patience(body, Some(keeping), PATIENCE)
    }

    /// Starts to fetch a body of which nothing is kept beyond what its reader has not read yet.
    pub(crate) fn pass(body: Body) -> FillReader {
        Self::with_patience(body, None, PATIENCE)
    }

    pub(super) fn with_patience(body: Body, keeping: Option<Keeping>, patience: Duration) -> FillReader {
        let length = body.length();
        let (limit, worth_finishing, room, commit) = match keeping {
            Some(Keeping { limit, worth_finishing, room, commit }) => {
                (limit, worth_finishing, Some(room), Some(commit))
            }
            None => (0, 0, None, None),
        };
        // One byte more than announced, so that a source which yields too much is found out.
        let piece = length.and_then(|length| usize::try_from(length.saturating_add(1)).ok()).unwrap_or(PIECE);
        let source = Source { body, piece: vec![0; piece.min(PIECE)].into() };
        let fill = Arc::new(Self {
            state: Mutex::new(State::new(source, commit)),
            changed: Condvar::new(),
            length,
            limit,
            worth_finishing,
            room,
            patience,
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
            let count = state.kept.copy(position, out);
            if count > 0 {
                let is_waited_for = state.moved(reader, position + count as u64);
                if is_waited_for {
                    self.tell(state);
                }
                return Ok(count);
            }
            match &state.progress {
                Progress::Ended(Ok(())) => return Ok(0),
                Progress::Ended(Err(failure)) => return Err(failure.to_error()),
                Progress::Idle(_) if !state.is_far_ahead() => self.advance(&mut state),
                Progress::Idle(_) => self.wait_for_the_slowest(&mut state),
                Progress::Busy => self.changed.wait(&mut state),
            }
        }
    }

    /// Reads for one who never waits: what is here, `most` bytes of it unless all of the body is.
    pub(super) fn read_at_once(
        &self,
        reader: u64,
        position: u64,
        most: usize,
        wake: &Wake,
    ) -> io::Result<Grown> {
        let mut state = self.state.lock();
        state.check_admitted(reader)?;
        let bytes = state.kept.bytes(position, most);
        if !bytes.is_empty() {
            let is_waited_for = state.moved(reader, position + bytes.len() as u64);
            if is_waited_for {
                self.tell(state);
            }
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

    /// Lets everybody know that something has changed.
    pub(super) fn tell(&self, mut state: MutexGuard<'_, State>) {
        let wakes = state.take_wakes();
        drop(state);
        self.changed.notify_all();
        for wake in wakes {
            wake();
        }
    }

    /// Waits until the slowest reader moves, and leaves it behind if it does not while another one has
    /// nothing to read: it must not be able to hold the others for ever, least of all when it is in the same
    /// thread.
    pub(super) fn wait_for_the_slowest(&self, state: &mut MutexGuard<'_, State>) {
        let slowest = state.slowest();
        let deadline = Instant::now() + self.patience;
        while state.is_far_ahead() && state.slowest() == slowest {
            if self.changed.wait_until(state, deadline).timed_out() {
                if state.leave_behind(slowest) {
                    let wakes = state.take_wakes();
                    self.changed.notify_all();
                    MutexGuard::unlocked(state, || wakes.into_iter().for_each(|wake| wake()));
                }
                return;
            }
        }
    }

    /// Takes a reader off the list. Where nobody drives the body, the last one finishes it if little is
    /// missing, and gives up any other.
    pub(super) fn leave(&self, reader: u64) {
        let mut state = self.state.lock();
        let is_last = |state: &State| matches!(&state.readers[..], [last] if last.reader == reader);
        let deadline = Instant::now() + FINISHING;
        let mut reads = 0;
        while !state.is_driven
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
        if state.is_driven {
            self.tell(state);
        } else {
            self.give_up_unread(state);
        }
    }

    /// Ends a body that nobody reads and nobody moves on.
    pub(super) fn give_up_unread(&self, mut state: MutexGuard<'_, State>) {
        let unused = (state.readers.is_empty() && matches!(state.progress, Progress::Idle(_))).then(|| {
            let failure = Failure::new(ErrorKind::IncompleteBody, "nobody read the body to its end");
            (
                mem::replace(&mut state.progress, Progress::Ended(Err(failure))),
                mem::replace(&mut state.kept, Kept::All(Vec::new())),
                state.commit.take(),
            )
        });
        self.tell(state);
        drop(unused);
    }

    pub(super) fn is_worth_finishing(&self, state: &State, reads: usize) -> bool {
        state.commit.is_some()
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
    fn step(&self, mut source: Source) -> Progress {
        let count = loop {
            match source.body.read(&mut source.piece) {
                Ok(count) => break count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Progress::Ended(Err(Failure::of(error))),
            }
        };
        let has_room = self.make_room(count);
        let mut state = self.state.lock();
        state.received += count as u64;
        match self.length {
            Some(length) if state.received > length || (count == 0 && state.received < length) => {
                let text = format!("the body was announced with {length} bytes and has another length");
                return Progress::Ended(Err(Failure::new(ErrorKind::IncompleteBody, &text)));
            }
            _ => {}
        }
        let is_kept = has_room && state.received <= self.limit;
        let uncommitted = if is_kept { None } else { state.keep_no_more() };
        state.append(&source.piece[..count], self.length, self.limit);
        if count == 0 || self.length == Some(state.received) {
            self.commit(state);
            drop(uncommitted);
            return Progress::Ended(Ok(()));
        }
        // What is held for slow readers is in memory all the same.
        let unneeded = if is_kept { 0 } else { state.unneeded_room() };
        drop(state);
        self.release(unneeded);
        drop(uncommitted);
        Progress::Idle(source)
    }

    /// Sees to it that as much is set aside as is kept with this many bytes more; `false` where there is no
    /// room.
    fn make_room(&self, count: usize) -> bool {
        let Some(room) = &self.room else { return true };
        let missing = self.state.lock().missing_room(count as u64, self.length, self.limit);
        // Whoever reads from the source is alone in that, so nothing changes in between.
        if missing == 0 {
            return true;
        }
        let has_room = room.reserve(missing);
        if has_room {
            self.state.lock().reserved += missing;
        }
        has_room
    }

    fn release(&self, bytes: u64) {
        if let Some(room) = self.room.as_ref().filter(|_| bytes > 0) {
            room.release(bytes);
        }
    }

    fn commit(&self, mut state: MutexGuard<'_, State>) {
        let commit = state.commit.take();
        // What is too large is let go as it is read: there is nothing to commit.
        let Kept::All(bytes) = &mut state.kept else { return };
        let bytes = mem::take(bytes);
        let reserved = mem::take(&mut state.reserved);
        state.kept = Kept::Committing;
        drop(state);
        // From here on it is the store that counts it.
        self.release(reserved);
        let whole = Bytes::from(bytes.into_boxed_slice());
        if let Some(commit) = commit {
            let bytes = whole.clone();
            // What stores it is not ours: its panic is not the readers' trouble.
            if catch_unwind(AssertUnwindSafe(|| commit(bytes))).is_err() {
                error!("storing a response panicked");
            }
        }
        self.state.lock().kept = Kept::Whole(whole);
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

impl Drop for Fill {
    fn drop(&mut self) {
        let reserved = mem::take(&mut self.state.get_mut().reserved);
        self.release(reserved);
    }
}

impl fmt::Debug for Fill {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Fill").field("length", &self.length).finish_non_exhaustive()
    }
}
