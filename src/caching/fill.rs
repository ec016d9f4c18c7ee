//! A body on its way from the origin to everybody who waits for it.
//!
//! No thread of its own moves it: whoever needs bytes that are not here yet reads them from the origin,
//! one at a time, and the others wait for that one.
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
//! end and asks again finds it stored. A body that turns out larger than the limit is not committed:
//! what every reader has read is let go, and the fastest waits for the slowest, so that memory is
//! bounded.

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

use crate::body::Body;
use crate::error::{Error, ErrorKind};

/// How far a body that is not kept may run ahead of its slowest reader, in bytes.
const WINDOW: u64 = 256 * 1024;

/// How much is read from the origin at a time, in bytes.
const PIECE: usize = 64 * 1024;

/// What a body that is not kept needs at most.
const WINDOW_AND_PIECE: usize = 320 * 1024;

/// How much may be left of a body that nobody reads any more for it to be fetched to its end, in bytes:
/// less than a new connection costs.
const WORTH_FINISHING: u64 = 256 * 1024;

/// For how long that is tried, and how often something is read of a body whose length is not known. What
/// comes too slowly is given up: whoever drops a body waits for this.
const FINISHING: Duration = Duration::from_secs(1);
const FINISHING_READS: usize = 2;

/// How long the others wait for a reader that stands still, once the body is too large to be kept.
const PATIENCE: Duration = Duration::from_secs(10);

/// What is done with a whole body: it is stored, and whoever waits for that is told. Dropped undone when
/// the body does not become whole.
pub(crate) type Commit = Box<dyn FnOnce(Bytes) + Send>;

/// A body that is being fetched.
pub(crate) struct Fill {
    state: Mutex<State>,
    /// Told at every change of `state` that somebody may wait for.
    changed: Condvar,
    length: Option<u64>,
    limit: u64,
    patience: Duration,
}

struct State {
    progress: Progress,
    kept: Kept,
    /// How many bytes came in all.
    received: u64,
    readers: Vec<Position>,
    next_reader: u64,
    commit: Option<Commit>,
}

/// How far one reader has read.
struct Position {
    reader: u64,
    at: u64,
}

enum Progress {
    Idle(Source),
    Busy,
    Ended(Result<(), Failure>),
}

struct Source {
    body: Body,
    piece: Box<[u8]>,
}

/// Why a body did not become whole, for each of its readers.
struct Failure {
    kind: ErrorKind,
    message: Arc<str>,
}

/// What is in memory of the body.
enum Kept {
    /// All that came so far.
    All(Vec<u8>),
    /// What came since `from`: the whole is too large to be kept.
    Since { from: u64, bytes: Vec<u8> },
    /// All of it is being committed; nobody is served until that is done.
    Committing,
    /// All of it.
    Whole(Bytes),
}

impl Fill {
    /// Starts to fetch `body`; the reader is its first. Up to `limit` bytes are committed.
    pub(crate) fn start(body: Body, limit: u64, commit: Commit) -> FillReader {
        Self::with_patience(body, limit, commit, PATIENCE)
    }

    fn with_patience(body: Body, limit: u64, commit: Commit, patience: Duration) -> FillReader {
        let length = body.length();
        let source = Source { body, piece: vec![0; PIECE].into() };
        let fill = Arc::new(Self {
            state: Mutex::new(State {
                progress: Progress::Idle(source),
                kept: Kept::All(Vec::new()),
                received: 0,
                readers: vec![Position { reader: 0, at: 0 }],
                next_reader: 1,
                commit: Some(commit),
            }),
            changed: Condvar::new(),
            length,
            limit,
            patience,
        });
        FillReader { fill, reader: 0, position: 0 }
    }

    /// One more reader from the beginning; `None` when the beginning is gone or the transfer failed.
    pub(crate) fn reader(self: &Arc<Self>) -> Option<FillReader> {
        let mut state = self.state.lock();
        let failed = matches!(state.progress, Progress::Ended(Err(_)));
        if failed || matches!(state.kept, Kept::Since { .. }) {
            return None;
        }
        let reader = state.next_reader;
        state.next_reader += 1;
        state.readers.push(Position { reader, at: 0 });
        Some(FillReader { fill: Arc::clone(self), reader, position: 0 })
    }

    /// The length of the whole, where it is known.
    pub(crate) fn length(&self) -> Option<u64> {
        self.length
    }

    fn read(&self, reader: u64, position: u64, out: &mut [u8]) -> io::Result<usize> {
        if out.is_empty() {
            return Ok(0);
        }
        let mut state = self.state.lock();
        loop {
            if !state.readers.iter().any(|known| known.reader == reader) {
                let text = "the others on this transfer went on: it was read too slowly";
                return Err(Failure::new(ErrorKind::IncompleteBody, text).to_error());
            }
            let count = state.kept.copy(position, out);
            if count > 0 {
                if state.moved(reader, position + count as u64) {
                    self.changed.notify_all();
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

    /// Waits until the slowest reader moves, and leaves it behind if it does not: it must not be able to
    /// hold the others for ever, least of all when it is in the same thread.
    fn wait_for_the_slowest(&self, state: &mut MutexGuard<'_, State>) {
        let slowest = state.slowest();
        let deadline = Instant::now() + self.patience;
        while state.is_far_ahead() && state.slowest() == slowest {
            if self.changed.wait_until(state, deadline).timed_out() {
                state.readers.retain(|position| position.at != slowest);
                self.changed.notify_all();
                return;
            }
        }
    }

    /// Takes a reader off the list. The last one finishes a body of which little is missing, and gives
    /// up any other.
    fn leave(&self, reader: u64) {
        let mut state = self.state.lock();
        let is_last = |state: &State| matches!(&state.readers[..], [last] if last.reader == reader);
        let deadline = Instant::now() + FINISHING;
        let mut reads = 0;
        while is_last(&state)
            && matches!(state.progress, Progress::Idle(_))
            && self.is_worth_finishing(&state, reads)
            && !thread::panicking()
            && Instant::now() < deadline
        {
            self.advance(&mut state);
            reads += 1;
        }
        state.readers.retain(|position| position.reader != reader);
        let unused = (state.readers.is_empty() && matches!(state.progress, Progress::Idle(_))).then(|| {
            let failure = Failure::new(ErrorKind::IncompleteBody, "nobody read the body to its end");
            (
                mem::replace(&mut state.progress, Progress::Ended(Err(failure))),
                mem::replace(&mut state.kept, Kept::All(Vec::new())),
                state.commit.take(),
            )
        });
        drop(state);
        self.changed.notify_all();
        drop(unused);
    }

    fn is_worth_finishing(&self, state: &State, reads: usize) -> bool {
        state.commit.is_some()
            && match self.length {
                Some(length) => length - state.received <= WORTH_FINISHING,
                // Most often its end is all that is missing.
                None => reads < FINISHING_READS,
            }
    }

    /// Reads one piece from the origin, with the lock released. The source is idle.
    fn advance(&self, state: &mut MutexGuard<'_, State>) {
        let Progress::Idle(source) = mem::replace(&mut state.progress, Progress::Busy) else {
            unreachable!("only an idle source is read");
        };
        MutexGuard::unlocked(state, || {
            let mut turn = Turn { fill: self, next: None };
            turn.next = Some(self.step(source));
        });
    }

    /// What one read from the origin comes to.
    fn step(&self, mut source: Source) -> Progress {
        let count = loop {
            match source.body.read(&mut source.piece) {
                Ok(count) => break count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Progress::Ended(Err(Failure::of(error))),
            }
        };
        let mut state = self.state.lock();
        state.received += count as u64;
        match self.length {
            Some(length) if state.received > length || (count == 0 && state.received < length) => {
                let text = format!("the body was announced with {length} bytes and has another length");
                return Progress::Ended(Err(Failure::new(ErrorKind::IncompleteBody, &text)));
            }
            _ => {}
        }
        state.append(&source.piece[..count], self.length, self.limit);
        if count == 0 || self.length == Some(state.received) {
            self.commit(state);
            return Progress::Ended(Ok(()));
        }
        let uncommitted = if state.received > self.limit { state.keep_no_more() } else { None };
        drop(state);
        drop(uncommitted);
        Progress::Idle(source)
    }

    fn commit(&self, mut state: MutexGuard<'_, State>) {
        let commit = state.commit.take();
        // What is too large is let go as it is read: there is nothing to commit.
        let Kept::All(bytes) = &mut state.kept else { return };
        let bytes = mem::take(bytes);
        state.kept = Kept::Committing;
        drop(state);
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

impl State {
    fn append(&mut self, piece: &[u8], length: Option<u64>, limit: u64) {
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

    /// Lets go of the hope to store it.
    fn keep_no_more(&mut self) -> Option<Commit> {
        if let Kept::All(bytes) = &mut self.kept {
            self.kept = Kept::Since { from: 0, bytes: mem::take(bytes) };
        }
        self.commit.take()
    }

    /// Notes how far a reader is; says whether somebody may wait for that.
    fn moved(&mut self, reader: u64, at: u64) -> bool {
        if let Some(position) = self.readers.iter_mut().find(|position| position.reader == reader) {
            position.at = at;
        }
        matches!(self.kept, Kept::Since { .. }) && self.readers.len() > 1
    }

    fn slowest(&self) -> u64 {
        self.readers.iter().map(|position| position.at).min().unwrap_or(self.received)
    }

    /// Whether what came has to be read by everybody before more comes.
    fn is_far_ahead(&self) -> bool {
        matches!(self.kept, Kept::Since { .. }) && self.received - self.slowest() >= WINDOW
    }
}

impl Kept {
    fn copy(&self, position: u64, out: &mut [u8]) -> usize {
        let (from, bytes): (u64, &[u8]) = match self {
            Self::All(bytes) => (0, bytes),
            Self::Since { from, bytes } => (*from, bytes),
            Self::Whole(bytes) => (0, bytes),
            Self::Committing => return 0,
        };
        let start = usize::try_from(position - from).unwrap_or(usize::MAX).min(bytes.len());
        let count = out.len().min(bytes.len() - start);
        out[..count].copy_from_slice(&bytes[start..start + count]);
        count
    }
}

/// One read from the origin. However it ends, by a panic too, the others go on.
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
        let unused = if matches!(next, Progress::Ended(_)) { state.commit.take() } else { None };
        state.progress = next;
        drop(state);
        self.fill.changed.notify_all();
        drop(unused);
    }
}

impl Failure {
    fn new(kind: ErrorKind, message: &str) -> Self {
        Self { kind, message: message.into() }
    }

    fn of(error: io::Error) -> Self {
        let error = Error::from(error);
        Self::new(error.kind(), &error.to_string())
    }

    fn to_error(&self) -> io::Error {
        Error::new(self.kind, &*self.message).into()
    }
}

impl fmt::Debug for Fill {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Fill").field("length", &self.length).finish_non_exhaustive()
    }
}

/// Reads a body from its beginning while it is being fetched.
#[derive(Debug)]
pub(crate) struct FillReader {
    fill: Arc<Fill>,
    reader: u64,
    position: u64,
}

impl FillReader {
    pub(crate) fn fill(&self) -> &Arc<Fill> {
        &self.fill
    }

    /// As a body, of which no byte has been read.
    pub(crate) fn into_body(self) -> Body {
        let length = self.fill.length();
        Body::from_reader(self, length)
    }
}

impl Read for FillReader {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let count = self.fill.read(self.reader, self.position, out)?;
        self.position += count as u64;
        Ok(count)
    }
}

impl Drop for FillReader {
    fn drop(&mut self) {
        self.fill.leave(self.reader);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    /// A source that yields what is sent to it, a piece a read, and ends when the sender is gone.
    struct Pipe(mpsc::Receiver<io::Result<Vec<u8>>>);

    impl Read for Pipe {
        fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
            let Ok(piece) = self.0.recv() else { return Ok(0) };
            let piece = piece?;
            out[..piece.len()].copy_from_slice(&piece);
            Ok(piece.len())
        }
    }

    struct Setup {
        send: Option<mpsc::Sender<io::Result<Vec<u8>>>>,
        committed: mpsc::Receiver<Bytes>,
    }

    fn start(length: Option<u64>, limit: u64) -> (Setup, FillReader) {
        let (send, pieces) = mpsc::channel();
        let (commit, committed) = mpsc::channel();
        let body = Body::from_reader(Pipe(pieces), length);
        let commit = Box::new(move |bytes| commit.send(bytes).unwrap());
        (Setup { send: Some(send), committed }, Fill::start(body, limit, commit))
    }

    impl Setup {
        fn send(&self, piece: &[u8]) {
            self.send.as_ref().unwrap().send(Ok(piece.to_vec())).unwrap();
        }

        fn fail(&self) {
            let error = Error::new(ErrorKind::IncompleteBody, "cut");
            self.send.as_ref().unwrap().send(Err(error.into())).unwrap();
        }

        fn end(&mut self) {
            self.send = None;
        }

        fn committed(&self) -> Option<Bytes> {
            self.committed.try_recv().ok()
        }
    }

    fn rest(mut reader: impl Read) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        reader.read_to_end(&mut bytes).map(|_| bytes)
    }

    #[test]
    fn a_known_length_is_committed_before_its_last_bytes_are_handed_out() {
        let (setup, mut reader) = start(Some(6), 100);
        setup.send(b"abc");
        setup.send(b"def");
        let mut buffer = [0; 6];
        assert_eq!(reader.read(&mut buffer).unwrap(), 3);
        assert!(setup.committed().is_none());
        assert_eq!(reader.read(&mut buffer).unwrap(), 3);
        assert_eq!(setup.committed().unwrap(), "abcdef");
        assert_eq!(reader.read(&mut buffer).unwrap(), 0);
    }

    #[test]
    fn an_unknown_length_is_committed_at_its_end() {
        let (mut setup, reader) = start(None, 100);
        setup.send(b"abc");
        setup.end();
        assert_eq!(rest(reader).unwrap(), b"abc");
        assert_eq!(setup.committed().unwrap(), "abc");
    }

    #[test]
    fn a_late_reader_gets_the_beginning_and_the_end() {
        let (setup, mut first) = start(Some(6), 100);
        setup.send(b"abc");
        let mut buffer = [0; 3];
        first.read_exact(&mut buffer).unwrap();
        let late = first.fill().reader().unwrap();
        setup.send(b"def");
        assert_eq!(rest(late).unwrap(), b"abcdef");
        assert_eq!(rest(first).unwrap(), b"def");
    }

    #[test]
    fn many_readers_at_once_all_get_the_whole() {
        let (setup, first) = start(Some(300_000), 1 << 20);
        let whole: Vec<u8> = (0..300_000_u32).map(|n| (n % 251) as u8).collect();
        let readers: Vec<FillReader> = (0..8).map(|_| first.fill().reader().unwrap()).collect();
        let threads: Vec<_> = readers.into_iter().map(|reader| thread::spawn(|| rest(reader))).collect();
        for piece in whole.chunks(7_001) {
            setup.send(piece);
        }
        assert_eq!(rest(first).unwrap(), whole);
        for thread in threads {
            assert_eq!(thread.join().unwrap().unwrap(), whole);
        }
        assert_eq!(setup.committed().unwrap(), whole);
    }

    #[test]
    fn a_failure_reaches_every_reader_and_nothing_is_committed() {
        let (setup, reader) = start(Some(6), 100);
        let other = reader.fill().reader().unwrap();
        setup.send(b"abc");
        setup.fail();
        for reader in [reader, other] {
            let fill = Arc::clone(reader.fill());
            let error = Error::from(rest(reader).unwrap_err());
            assert_eq!(error.kind(), ErrorKind::IncompleteBody);
            assert!(fill.reader().is_none());
        }
        assert!(setup.committed().is_none());
    }

    #[test]
    fn an_end_before_the_announced_length_is_a_failure() {
        let (mut setup, reader) = start(Some(6), 100);
        setup.send(b"abc");
        setup.end();
        assert_eq!(Error::from(rest(reader).unwrap_err()).kind(), ErrorKind::IncompleteBody);
        assert!(setup.committed().is_none());
    }

    #[test]
    fn more_than_was_announced_is_a_failure() {
        let (setup, reader) = start(Some(2), 100);
        setup.send(b"abc");
        assert!(rest(reader).is_err());
        assert!(setup.committed().is_none());
    }

    #[test]
    fn a_panic_while_reading_releases_the_others() {
        struct Panics;
        impl Read for Panics {
            fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
                panic!("the source is broken");
            }
        }
        let reader = Fill::start(Body::from_reader(Panics, None), 100, Box::new(|_| {}));
        let other = reader.fill().reader().unwrap();
        assert!(thread::spawn(|| rest(reader)).join().is_err());
        assert!(rest(other).is_err());
    }

    #[test]
    fn a_panic_while_storing_is_not_the_readers_trouble() {
        let body = Body::from_reader(&b"abc"[..], None);
        let reader = Fill::start(body, 100, Box::new(|_| panic!("the store is broken")));
        assert_eq!(rest(reader).unwrap(), b"abc");
    }

    #[test]
    fn little_that_is_left_unread_is_fetched_and_committed() {
        for length in [Some(6), None] {
            let (mut setup, mut reader) = start(length, 100);
            setup.send(b"abc");
            setup.send(b"def");
            setup.end();
            let mut buffer = [0; 2];
            reader.read_exact(&mut buffer).unwrap();
            drop(reader);
            assert_eq!(setup.committed().unwrap(), "abcdef");
        }
    }

    #[test]
    fn much_that_is_left_unread_is_given_up() {
        let (setup, mut reader) = start(Some(WORTH_FINISHING + 4), WORTH_FINISHING * 2);
        setup.send(b"abc");
        let mut buffer = [0; 2];
        reader.read_exact(&mut buffer).unwrap();
        let fill = Arc::clone(reader.fill());
        drop(reader);
        assert!(fill.reader().is_none());
        assert!(setup.send.as_ref().unwrap().send(Ok(Vec::new())).is_err(), "the source is dropped");
        assert!(setup.committed().is_none());
    }

    #[test]
    fn one_that_stands_still_is_left_behind() {
        const LENGTH: u64 = 4 << 20;
        let body = Body::from_reader(io::repeat(7).take(LENGTH), None);
        let fast = Fill::with_patience(body, 1000, Box::new(|_| {}), Duration::ZERO);
        let still = fast.fill().reader().unwrap();
        assert_eq!(rest(fast).unwrap().len() as u64, LENGTH);
        assert_eq!(Error::from(rest(still).unwrap_err()).kind(), ErrorKind::IncompleteBody);
    }

    #[test]
    fn an_end_that_does_not_come_is_not_waited_for() {
        let (setup, mut reader) = start(None, 1 << 20);
        for _ in 0..=FINISHING_READS {
            setup.send(b"abc");
        }
        let mut buffer = [0; 2];
        reader.read_exact(&mut buffer).unwrap();
        drop(reader);
        assert!(setup.send.as_ref().unwrap().send(Ok(Vec::new())).is_err(), "the source is dropped");
        assert!(setup.committed().is_none());
    }

    #[test]
    fn what_is_too_large_streams_through_in_bounded_memory() {
        struct Endless(u64);
        impl Read for Endless {
            fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
                let count = out.len().min(usize::try_from(self.0).unwrap());
                out[..count].fill(7);
                self.0 -= count as u64;
                Ok(count)
            }
        }
        const LENGTH: u64 = 8 << 20;
        let (commit, committed) = mpsc::channel::<Bytes>();
        let commit: Commit = Box::new(move |bytes| commit.send(bytes).unwrap());
        let slow = Fill::start(Body::from_reader(Endless(LENGTH), None), 100_000, commit);
        let fast = slow.fill().reader().unwrap();
        let fill = Arc::clone(slow.fill());
        let thread = thread::spawn(move || rest(fast).unwrap().len());
        let mut slow = slow;
        let mut buffer = vec![0; 10_000];
        let mut read = 0;
        loop {
            let count = slow.read(&mut buffer).unwrap();
            if count == 0 {
                break;
            }
            read += count as u64;
            if let Kept::Since { bytes, .. } = &fill.state.lock().kept {
                assert!(bytes.len() as u64 <= WINDOW + 2 * PIECE as u64, "{}", bytes.len());
            }
        }
        assert_eq!(read, LENGTH);
        assert_eq!(thread.join().unwrap() as u64, LENGTH);
        assert!(committed.try_recv().is_err());
        assert!(fill.reader().is_none(), "the beginning is gone");
    }
}
