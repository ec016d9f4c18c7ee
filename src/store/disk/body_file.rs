//! Bodies in files: blocks of 64 KiB, each followed by its checksum.
//!
//! ```text
//! block of 64 KiB | CRC-32 | block of 64 KiB | CRC-32 | ... | what is left | CRC-32
//! ```
//!
//! A checksum covers the number of the body, the number of the block, and its bytes, so that a block of another body or from
//! another place is detected.

use std::cell::RefCell;
use std::fs::File;
use std::ops::Range;
use std::sync::Arc;
use std::{io, mem};

use crc32fast::Hasher;

use crate::base::memory_limit::{Ledger, MemoryUse};
use crate::message::body_piece::BodyPiece;
use crate::message::open_file::OpenFile;

/// The length of a block in bytes.
pub(super) const BLOCK: usize = 64 * 1024;

const CHECKSUM: usize = 4;
const STRIDE: u64 = (BLOCK + CHECKSUM) as u64;

/// Returns the length of the file of a body.
pub(super) fn file_length(length: u64) -> u64 {
    length + length.div_ceil(BLOCK as u64) * CHECKSUM as u64
}

fn checksum(number: u64, index: u64, bytes: &[u8]) -> [u8; CHECKSUM] {
    let mut hasher = Hasher::new();
    hasher.update(&number.to_be_bytes());
    hasher.update(&index.to_be_bytes());
    hasher.update(bytes);
    hasher.finalize().to_be_bytes()
}

/// Writes a block. Only the last block may be shorter than [`BLOCK`].
pub(super) fn write_block(file: &File, number: u64, index: u64, block: &[u8]) -> io::Result<()> {
    let mut framed = Vec::with_capacity(block.len() + CHECKSUM);
    framed.extend_from_slice(block);
    framed.extend_from_slice(&checksum(number, index, block));
    write_all_at(file, &framed, index * STRIDE)
}

/// Reads up to `most` bytes of a body, from the block that contains the first of them. The block is compared with its
/// checksum. A whole block is not copied.
pub(super) fn read(file: &File, number: u64, length: u64, at: u64, most: usize) -> io::Result<Box<[u8]>> {
    let block = Block::containing(number, length, at)?;
    let mut bytes = vec![0; block.length].into_boxed_slice();
    let mut sum = [0; CHECKSUM];
    read_exact_at(file, &mut bytes, block.position())
        .and_then(|()| read_exact_at(file, &mut sum, block.position() + block.length as u64))
        .map_err(|error| match error.kind() {
            io::ErrorKind::UnexpectedEof => io::Error::new(io::ErrorKind::InvalidData, "a block is missing"),
            _ => error,
        })?;
    block.check(&bytes, &sum)?;
    let part = block.part(at, most);
    Ok(if part.len() == bytes.len() { bytes } else { bytes[part].into() })
}

/// Like [`read`], but never waits for the disk: `None` if the system does not have the block in its memory. A large part
/// is not copied.
pub(super) fn read_now(
    file: &Arc<OpenFile>,
    number: u64,
    length: u64,
    at: u64,
    most: usize,
    ledger: &Arc<Ledger>,
) -> io::Result<Option<BodyPiece>> {
    let block = Block::containing(number, length, at)?;
    let mut buffer = Buffer::new();
    let framed = &mut buffer.bytes[..block.length + CHECKSUM];
    if !read_cached_at(file, framed, block.position()) {
        return Ok(None);
    }
    let (bytes, sum) = framed.split_at(block.length);
    block.check(bytes, sum)?;
    let part = block.part(at, most);
    let in_file = block.position() + part.start as u64;
    // A slow client holds what it is sent, so a small part must not hold the whole block.
    let bytes = if part.len() <= BLOCK / 4 {
        ledger.share(MemoryUse::Windows, bytes[part].into())
    } else {
        ledger.count(MemoryUse::Windows, BLOCK as u64, buffer).slice(part)
    };
    Ok(Some(BodyPiece::in_file(bytes, Arc::clone(file), in_file)))
}

/// A block of a body.
struct Block {
    /// The number of the body.
    number: u64,
    index: u64,
    length: usize,
}

impl Block {
    /// Returns the block that contains a byte of a body of `length` bytes.
    fn containing(number: u64, length: u64, at: u64) -> io::Result<Self> {
        let index = at / BLOCK as u64;
        let left = length.checked_sub(index * BLOCK as u64).filter(|_| at < length);
        let left = left.ok_or(io::ErrorKind::UnexpectedEof)?;
        Ok(Self { number, index, length: usize::try_from(left).map_or(BLOCK, |left| left.min(BLOCK)) })
    }

    /// Returns where the block is in the file.
    fn position(&self) -> u64 {
        self.index * STRIDE
    }

    fn check(&self, bytes: &[u8], sum: &[u8]) -> io::Result<()> {
        if checksum(self.number, self.index, bytes) == sum {
            return Ok(());
        }
        Err(io::Error::new(io::ErrorKind::InvalidData, "a block does not match its checksum"))
    }

    /// Returns the part of the block that has up to `most` bytes from a position of the body on.
    fn part(&self, at: u64, most: usize) -> Range<usize> {
        let from = usize::try_from(at % BLOCK as u64).unwrap_or(self.length);
        from..self.length.min(from.saturating_add(most))
    }
}

/// How many buffers a thread keeps for the next blocks.
const KEPT: usize = 2;

thread_local! {
    static FREE: RefCell<Vec<Box<[u8]>>> = const { RefCell::new(Vec::new()) };
}

/// A buffer for a block and its checksum. The thread that drops it uses it again: making one takes as long as reading a block.
struct Buffer {
    bytes: Box<[u8]>,
}

impl Buffer {
    fn new() -> Self {
        let free = FREE.try_with(|free| free.borrow_mut().pop()).ok().flatten();
        Self { bytes: free.unwrap_or_else(|| vec![0; BLOCK + CHECKSUM].into()) }
    }
}

impl AsRef<[u8]> for Buffer {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        let bytes = mem::take(&mut self.bytes);
        // A thread that ends has no place for it.
        let _ = FREE.try_with(|free| {
            let mut free = free.borrow_mut();
            if free.len() < KEPT {
                free.push(bytes);
            }
        });
    }
}

/// Fills a buffer from a position on if that needs no wait for the disk. Returns whether it is filled.
#[cfg(target_os = "linux")]
fn read_cached_at(file: &File, buffer: &mut [u8], at: u64) -> bool {
    use rustix::io::{ReadWriteFlags, preadv2};
    let length = buffer.len();
    // What cannot be read at all is found out by those that wait.
    let read = preadv2(file, &mut [io::IoSliceMut::new(buffer)], at, ReadWriteFlags::NOWAIT);
    read.is_ok_and(|read| read == length)
}

#[cfg(not(target_os = "linux"))]
fn read_cached_at(_: &File, _: &mut [u8], _: u64) -> bool {
    false
}

#[cfg(unix)]
fn write_all_at(file: &File, bytes: &[u8], at: u64) -> io::Result<()> {
    std::os::unix::fs::FileExt::write_all_at(file, bytes, at)
}

#[cfg(unix)]
fn read_exact_at(file: &File, bytes: &mut [u8], at: u64) -> io::Result<()> {
    std::os::unix::fs::FileExt::read_exact_at(file, bytes, at)
}

#[cfg(not(unix))]
fn write_all_at(mut file: &File, bytes: &[u8], at: u64) -> io::Result<()> {
    use std::io::{Seek, SeekFrom, Write};
    file.seek(SeekFrom::Start(at))?;
    file.write_all(bytes)
}

/// Each reader of a body has a file of its own there.
#[cfg(not(unix))]
fn read_exact_at(mut file: &File, bytes: &mut [u8], at: u64) -> io::Result<()> {
    use std::io::{Read, Seek, SeekFrom};
    file.seek(SeekFrom::Start(at))?;
    file.read_exact(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::testing::golden;

    fn written(length: usize) -> (Arc<OpenFile>, Vec<u8>) {
        let file = Arc::new(OpenFile::new(tempfile::tempfile().unwrap(), drop));
        let body: Vec<u8> = (0..length).map(|at| (at / 7 % 251).to_le_bytes()[0]).collect();
        for (index, block) in (0..).zip(body.chunks(BLOCK)) {
            write_block(&file, 9, index, block).unwrap();
        }
        assert_eq!(file.metadata().unwrap().len(), file_length(length as u64));
        (file, body)
    }

    #[test]
    fn every_range_is_read_as_it_was_written() {
        let ledger = Ledger::new(1 << 30);
        for length in [1, BLOCK - 1, BLOCK, BLOCK + 1, 3 * BLOCK + 5] {
            let (file, body) = written(length);
            let ends = [0, 1, BLOCK - 1, BLOCK, BLOCK + 1, 2 * BLOCK + 9, length - 1];
            for at in ends.into_iter().filter(|at| *at < length) {
                for most in [1, 100, BLOCK, 10 * BLOCK] {
                    let read = read(&file, 9, length as u64, at as u64, most).unwrap();
                    let end = length.min(at + most).min((at / BLOCK + 1) * BLOCK);
                    assert!(*read == body[at..end], "{length} {at} {most}");
                    let now = read_now(&file, 9, length as u64, at as u64, most, &ledger).unwrap();
                    assert!(now.is_none_or(|read| *read == body[at..end]), "{length} {at} {most}");
                }
            }
            assert!(read(&file, 9, length as u64, length as u64, 1).is_err());
        }
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn small_part_of_a_block_holds_only_its_own_memory() {
        let (file, body) = written(BLOCK);
        for (most, counted) in [(100, 100), (BLOCK / 4, BLOCK / 4), (BLOCK, BLOCK)] {
            let ledger = Ledger::new(1 << 30);
            let read = read_now(&file, 9, BLOCK as u64, 0, most, &ledger).unwrap();
            assert!(
                read.is_some_and(|read| *read == body[..most] && ledger.total() == counted as u64),
                "{most}"
            );
        }
    }

    #[test]
    fn file_is_written_and_read_as_ever() {
        let (file, body) = written(BLOCK + 100);
        let mut now = vec![0; usize::try_from(file_length(body.len() as u64)).unwrap()];
        read_exact_at(&file, &mut now, 0).unwrap();
        let old = tempfile::tempfile().unwrap();
        write_all_at(&old, &golden("body-2", &now), 0).unwrap();
        for (at, end) in [(0, BLOCK), (BLOCK, BLOCK + 100)] {
            let read = read(&old, 9, body.len() as u64, at as u64, BLOCK).unwrap();
            assert!(*read == body[at..end], "{at}");
        }
    }

    #[test]
    fn what_was_altered_cut_or_is_of_another_body_is_found_out() {
        let length = BLOCK + 100;
        let (file, _) = written(length);
        assert!(read(&file, 8, length as u64, 0, 10).is_err());
        write_all_at(&file, &[255], 5).unwrap();
        assert_eq!(read(&file, 9, length as u64, 0, 10).unwrap_err().kind(), io::ErrorKind::InvalidData);
        let now = read_now(&file, 9, length as u64, 0, 10, &Ledger::new(1 << 30));
        assert!(!now.is_ok_and(|read| read.is_some()));
        assert!(read(&file, 9, length as u64, BLOCK as u64, 10).is_ok());
        file.set_len(file_length(length as u64) - 1).unwrap();
        assert!(read(&file, 9, length as u64, BLOCK as u64, 10).is_err());
    }
}
