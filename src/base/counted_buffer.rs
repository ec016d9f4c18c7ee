//! [`CountedBuffer`]: bytes that grow only as far as a limit and the memory ledger allow.

use std::io::{self, Write};
use std::ops::Deref;
use std::sync::Arc;

use bytes::Bytes;

use super::error::{Error, ErrorKind, Result};
use super::memory_limit::{Hold, Ledger, MemoryUse};

/// The least capacity that is allocated, in bytes.
const LEAST: usize = 4 << 10;

/// A buffer for a body that is changed as a whole. The ledger counts its capacity.
pub(crate) struct CountedBuffer {
    bytes: Vec<u8>,
    hold: Hold,
    max: usize,
}

impl CountedBuffer {
    /// Creates an empty buffer for at most `max` bytes.
    pub(crate) fn new(ledger: &Arc<Ledger>, max: usize) -> Self {
        Self { bytes: Vec::new(), hold: ledger.hold(MemoryUse::Bodies, 0), max }
    }

    /// Makes room for `count` more bytes, or for as many as the buffer may have.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Unavailable`] if the memory limit is reached.
    pub(crate) fn reserve(&mut self, count: u64) -> Result<()> {
        let wanted = usize::try_from(count).unwrap_or(usize::MAX).saturating_add(self.bytes.len());
        let (wanted, capacity) = (wanted.min(self.max), self.bytes.capacity());
        if wanted > capacity {
            if !self.hold.try_grow((wanted - capacity) as u64) {
                return Err(Error::new(ErrorKind::Unavailable, "the memory limit is reached"));
            }
            self.bytes.reserve_exact(wanted - self.bytes.len());
            self.hold.set(self.bytes.capacity() as u64);
        }
        Ok(())
    }

    /// Appends bytes.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::BodyTooLarge`] if the buffer would have more than `max` bytes, and [`ErrorKind::Unavailable`] if the memory
    /// limit is reached.
    pub(crate) fn push(&mut self, bytes: &[u8]) -> Result<()> {
        if bytes.len() > self.max - self.bytes.len() {
            return Err(Error::new(ErrorKind::BodyTooLarge, "the body is too large"));
        }
        if bytes.len() > self.bytes.capacity() - self.bytes.len() {
            self.reserve(bytes.len().max(self.bytes.len()).max(LEAST) as u64)?;
        }
        self.bytes.extend_from_slice(bytes);
        Ok(())
    }

    /// Returns the bytes, which are counted until their last holder drops them.
    pub(crate) fn into_shared(self, ledger: &Arc<Ledger>, purpose: MemoryUse) -> Bytes {
        let Self { bytes, hold, .. } = self;
        drop(hold);
        ledger.share(purpose, bytes.into())
    }
}

impl Write for CountedBuffer {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.push(bytes)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Deref for CountedBuffer {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn capacity_is_counted_and_limited() {
        let ledger = Ledger::new(20_000);
        let mut buffer = CountedBuffer::new(&ledger, 16_000);
        for _ in 0..15 {
            buffer.push(&[b'x'; 1000]).unwrap();
            assert_eq!(ledger.total(), buffer.bytes.capacity() as u64);
        }
        assert_eq!(buffer.push(&[b'x'; 1001]).unwrap_err().kind(), ErrorKind::BodyTooLarge);
        buffer.push(&[b'x'; 1000]).unwrap();
        assert_eq!(buffer.len(), 16_000);
        let mut other = CountedBuffer::new(&ledger, usize::MAX);
        assert_eq!(other.push(&[b'x'; 5000]).unwrap_err().kind(), ErrorKind::Unavailable);
        let shared = buffer.into_shared(&ledger, MemoryUse::Bodies);
        assert_eq!((ledger.total(), shared.len()), (16_000, 16_000));
        drop((shared, other));
        assert_eq!(ledger.total(), 0);
    }
}
