//! Bodies that are in a file: read in blocks, by threads that may block.

use std::collections::VecDeque;
use std::fmt;
use std::io::{self, Read};
use std::mem;
use std::ops::Range;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use parking_lot::Mutex;

use crate::base::memory_limit::{Ledger, MemoryUse};
use crate::message::body::{Body, Driver, Growing, PollRead, Wake};
use crate::message::body_piece::BodyPiece;

/// The most that is read at a time for a reader that never waits, in bytes.
const BLOCK: usize = 256 * 1024;

/// The most that is read at a time when the memory limit leaves no room for a block, in bytes. Many slow readers then take little
/// memory until the slowest of them are cut off.
const SHORT_BLOCK: usize = 16 * 1024;

/// The bytes of a stored body.
pub(crate) trait StoredBytes: fmt::Debug + Send + Sync {
    /// Reads up to `most` bytes from a position on, and at least one: as many as can be read at once. Blocks.
    ///
    /// # Errors
    ///
    /// When the bytes cannot be read, or are not those that were stored.
    fn read(&self, at: u64, most: usize) -> io::Result<Box<[u8]>>;

    /// Like [`read`](Self::read), but never waits for the disk: `None` if the bytes would have to be waited for. Default: `None`.
    ///
    /// # Errors
    ///
    /// When the bytes are not those that were stored.
    fn read_now(&self, at: u64, most: usize, ledger: &Arc<Ledger>) -> io::Result<Option<BodyPiece>> {
        let _ = (at, most, ledger);
        Ok(None)
    }

    /// Opens what the bytes are read from, so that they can be read also if they are removed meanwhile. Blocks. Default: does
    /// nothing.
    ///
    /// # Errors
    ///
    /// When the bytes are not there.
    fn open(&self) -> io::Result<()> {
        Ok(())
    }

    /// Has a thread of the store do this, which may block. Never waits. Dropped undone where that cannot be.
    fn spawn(&self, work: Box<dyn FnOnce() + Send>);

    /// The number of the file that holds the bytes, if there is one.
    #[cfg_attr(not(feature = "disk"), allow(dead_code, reason = "only the disk has files"))]
    fn file_number(&self) -> Option<u64> {
        None
    }
}

/// A body that is written to a store while it comes. Dropped unfinished, nothing of it stays.
pub(crate) trait Spill: StoredBytes {
    /// Adds bytes at the end. Blocks.
    ///
    /// # Errors
    ///
    /// When there is no room for them, or they cannot be written.
    fn write(&self, piece: &[u8]) -> io::Result<()>;

    /// Ends the body. It stays if the store is given its head; gives the number by which the store knows it.
    ///
    /// # Errors
    ///
    /// When the last bytes cannot be written.
    fn finish(&self) -> io::Result<u64>;

    /// The number by which the store knows the body, and how many bytes from its start are in the file and checked.
    fn written(&self) -> (u64, u64);

    /// Ends the body before it is whole: what is [written](Self::written) stays if the store is given its head. Never
    /// waits for the disk.
    fn finish_beginning(&self) -> (u64, u64);
}

/// The next bytes of a source, read by another thread.
#[derive(Clone, Default)]
pub(crate) struct ReadAhead(Arc<Mutex<Slot>>);

#[derive(Default)]
enum Slot {
    #[default]
    Empty,
    Reading(Option<Wake>),
    /// What was read from a position on, and whether all of it was read without waiting for the disk. Then what follows is read
    /// only when it is needed.
    Read(u64, io::Result<VecDeque<BodyPiece>>, bool),
}

impl ReadAhead {
    /// What was read from this position on, up to `most` bytes of it; `None` while it is being read, and `wake` is
    /// called then.
    pub(crate) fn take(
        &self,
        source: &Arc<dyn StoredBytes>,
        range: Range<u64>,
        most: usize,
        ledger: &Arc<Ledger>,
        wake: &Wake,
    ) -> io::Result<Option<BodyPiece>> {
        let mut slot = self.0.lock();
        match mem::take(&mut *slot) {
            Slot::Read(at, read, is_cached) if at == range.start => {
                let mut pieces = read?;
                let Some(mut taken) = pieces.pop_front() else {
                    return Err(io::ErrorKind::UnexpectedEof.into());
                };
                if taken.len() > most {
                    let first = taken.split_to(most);
                    pieces.push_front(mem::replace(&mut taken, first));
                }
                let next = at + taken.len() as u64;
                if !pieces.is_empty() {
                    *slot = Slot::Read(next, Ok(pieces), is_cached);
                } else if next < range.end && !is_cached {
                    *slot = Slot::Reading(None);
                    drop(slot);
                    self.read(source, next..range.end, ledger);
                }
                Ok(Some(taken))
            }
            Slot::Reading(_) => {
                *slot = Slot::Reading(Some(Arc::clone(wake)));
                Ok(None)
            }
            Slot::Empty | Slot::Read(..) => {
                let left = usize::try_from(range.end - range.start).unwrap_or(usize::MAX);
                if let Some(bytes) = source.read_now(range.start, left.min(most), ledger)? {
                    return Ok(Some(bytes));
                }
                *slot = Slot::Reading(Some(Arc::clone(wake)));
                drop(slot);
                self.read(source, range, ledger);
                Ok(None)
            }
        }
    }

    fn read(&self, source: &Arc<dyn StoredBytes>, range: Range<u64>, ledger: &Arc<Ledger>) {
        let promise = Promise { slot: Self::clone(self), at: range.start, read: None, is_cached: true };
        let (from, ledger) = (Arc::clone(source), Arc::clone(ledger));
        let has_room = ledger.reserve(MemoryUse::Windows, BLOCK as u64).is_some();
        let most = if has_room { BLOCK } else { SHORT_BLOCK };
        let mut left = usize::try_from(range.end - range.start).map_or(most, |left| left.min(most));
        source.spawn(Box::new(move || {
            let mut promise = promise;
            let (mut at, mut pieces) = (range.start, VecDeque::new());
            while left > 0 {
                let read = match from.read_now(at, left, &ledger) {
                    Ok(None) => {
                        promise.is_cached = false;
                        from.read(at, left).map(|bytes| ledger.share(MemoryUse::Windows, bytes).into())
                    }
                    read => read.map(|piece| {
                        // It may be a while until they are sent.
                        let mut piece = piece.unwrap_or_default();
                        piece.forget_file();
                        piece
                    }),
                };
                match read {
                    Ok(bytes) => {
                        at += bytes.len() as u64;
                        left = left.saturating_sub(bytes.len());
                        pieces.push_back(bytes);
                    }
                    // What came before it is right.
                    Err(_) if !pieces.is_empty() => break,
                    Err(error) => {
                        promise.read = Some(Err(error));
                        return;
                    }
                }
            }
            promise.read = Some(Ok(pieces));
        }));
    }
}

/// Fills the slot when it is dropped, whatever has become of the reading.
struct Promise {
    slot: ReadAhead,
    at: u64,
    read: Option<io::Result<VecDeque<BodyPiece>>>,
    is_cached: bool,
}

impl Drop for Promise {
    fn drop(&mut self) {
        let read =
            self.read.take().unwrap_or_else(|| Err(io::Error::other("the store is not there any more")));
        let read = Slot::Read(self.at, read, self.is_cached);
        let before = mem::replace(&mut *self.slot.0.lock(), read);
        if let Slot::Reading(Some(wake)) = before {
            wake();
        }
    }
}

/// A range of a stored body, read in blocks. Waiting readers read it themselves, the others have it read.
pub(crate) struct StoredReader {
    source: Arc<dyn StoredBytes>,
    range: Range<u64>,
    ledger: Arc<Ledger>,
    ahead: ReadAhead,
    /// What was read and not handed out.
    rest: BodyPiece,
}

impl StoredReader {
    /// The range as a body.
    pub(crate) fn body(source: Arc<dyn StoredBytes>, range: Range<u64>, ledger: Arc<Ledger>) -> Body {
        Self::body_after(BodyPiece::default(), source, range, ledger)
    }

    /// The range as a body, whose first bytes were read before.
    pub(crate) fn body_after(
        rest: BodyPiece,
        source: Arc<dyn StoredBytes>,
        range: Range<u64>,
        ledger: Arc<Ledger>,
    ) -> Body {
        let length = range.end - range.start;
        if length == 0 {
            return Body::empty();
        }
        let ahead = ReadAhead::default();
        Body::growing(Self { source, range, ledger, ahead, rest }, Some(length))
    }
}

impl Read for StoredReader {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        if self.rest.is_empty() && !self.range.is_empty() && !out.is_empty() {
            let left = usize::try_from(self.range.end - self.range.start).unwrap_or(usize::MAX);
            self.rest = Bytes::from(self.source.read(self.range.start, left.min(BLOCK))?).into();
        }
        let count = out.len().min(self.rest.len());
        out[..count].copy_from_slice(&self.rest[..count]);
        self.rest.advance(count);
        self.range.start += count as u64;
        Ok(count)
    }
}

impl Growing for StoredReader {
    fn poll_read(&mut self, most: usize, wake: &Wake) -> io::Result<PollRead> {
        if self.range.is_empty() {
            return Ok(PollRead::End);
        }
        if !self.rest.is_empty() {
            let bytes = self.rest.split_to(most.min(self.rest.len()));
            self.range.start += bytes.len() as u64;
            return Ok(PollRead::Bytes(bytes));
        }
        let Some(bytes) = self.ahead.take(&self.source, self.range.clone(), most, &self.ledger, wake)? else {
            return Ok(PollRead::Pending);
        };
        self.range.start += bytes.len() as u64;
        Ok(PollRead::Bytes(bytes))
    }

    fn skip(&mut self, most: u64) -> u64 {
        let skipped = if self.rest.is_empty() { most.min(self.range.end - self.range.start) } else { 0 };
        self.range.start += skipped;
        skipped
    }

    fn driver(&self) -> Option<Driver> {
        None
    }

    fn wait_for_end(&self, _: Instant) -> bool {
        self.range.is_empty()
    }

    fn is_worth_finishing(&self) -> bool {
        false
    }

    fn abandon(self: Box<Self>) {}
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;
    use std::thread;

    use super::*;

    /// The numbers from zero on, read by a thread of its own each time.
    #[derive(Debug)]
    struct Numbers;

    impl StoredBytes for Numbers {
        fn read(&self, at: u64, most: usize) -> io::Result<Box<[u8]>> {
            if at >= 1_000_000 {
                return Err(io::Error::other("gone"));
            }
            Ok((at..at + most as u64).map(|number| number.to_be_bytes()[7]).collect())
        }

        fn spawn(&self, work: Box<dyn FnOnce() + Send>) {
            thread::spawn(work);
        }
    }

    fn poll_read(range: Range<u64>) -> io::Result<Vec<u8>> {
        let ledger = Ledger::new(1 << 30);
        let body = StoredReader::body(Arc::new(Numbers), range, ledger);
        let (mut stream, _) = body.into_poll_body().unwrap();
        let (woken, wait) = mpsc::channel();
        let wake: Wake = Arc::new(move || _ = woken.send(()));
        let mut read = Vec::new();
        loop {
            match stream.poll_read(100_000, &wake)? {
                PollRead::Bytes(bytes) => read.extend_from_slice(&bytes),
                PollRead::Pending => wait.recv().unwrap(),
                PollRead::End => return Ok(read),
            }
        }
    }

    #[test]
    fn both_kinds_of_readers_read_the_range() {
        for range in [0..1, 5..700_000, 999_999..1_000_000] {
            let expected: Vec<u8> = range.clone().map(|number: u64| number.to_be_bytes()[7]).collect();
            let mut body = StoredReader::body(Arc::new(Numbers), range.clone(), Ledger::new(1 << 30));
            let mut read = Vec::new();
            body.read_to_end(&mut read).unwrap();
            assert!(read == expected && poll_read(range).unwrap() == expected);
        }
    }

    #[test]
    fn less_is_read_ahead_when_memory_is_short() {
        for (limit, expected) in [(1 << 20, BLOCK), (BLOCK as u64 - 1, SHORT_BLOCK)] {
            let ledger = Ledger::new(limit);
            let (ahead, source): (_, Arc<dyn StoredBytes>) = (ReadAhead::default(), Arc::new(Numbers));
            let (woken, wait) = mpsc::channel();
            let wake: Wake = Arc::new(move || _ = woken.send(()));
            let take = || ahead.take(&source, 0..900_000, 1000, &ledger, &wake).unwrap();
            assert!(take().is_none());
            wait.recv().unwrap();
            assert_eq!(ledger.total(), expected as u64);
            assert_eq!(take().unwrap().len(), 1000);
        }
    }

    #[test]
    fn what_cannot_be_read_is_an_error() {
        assert!(poll_read(999_000..1_300_000).is_err());
    }
}
