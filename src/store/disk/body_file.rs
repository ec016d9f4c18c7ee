//! Bodies in files: blocks of 64 KiB, each followed by its checksum.
//!
//! ```text
//! block of 64 KiB | CRC-32 | block of 64 KiB | CRC-32 | ... | what is left | CRC-32
//! ```
//!
//! A checksum covers the number of the body, the number of the block, and its bytes, so that a block of another body or from
//! another place is detected.

use std::fs::File;
use std::io;

use crc32fast::Hasher;

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
    if at >= length || most == 0 {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    let index = at / BLOCK as u64;
    let start = index * BLOCK as u64;
    let size = |bytes: u64| usize::try_from(bytes).map_err(|_| io::Error::from(io::ErrorKind::OutOfMemory));
    let mut block = vec![0; size((length - start).min(BLOCK as u64))?].into_boxed_slice();
    let mut sum = [0; CHECKSUM];
    read_exact_at(file, &mut block, index * STRIDE)?;
    read_exact_at(file, &mut sum, index * STRIDE + block.len() as u64)?;
    if checksum(number, index, &block) != sum {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "a block does not match its checksum"));
    }
    let from = size(at - start)?;
    let until = block.len().min(from.saturating_add(most));
    Ok(if (from, until) == (0, block.len()) { block } else { block[from..until].into() })
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

    fn written(length: usize) -> (File, Vec<u8>) {
        let file = tempfile::tempfile().unwrap();
        let body: Vec<u8> = (0..length).map(|at| (at / 7 % 251).to_le_bytes()[0]).collect();
        for (index, block) in (0..).zip(body.chunks(BLOCK)) {
            write_block(&file, 9, index, block).unwrap();
        }
        assert_eq!(file.metadata().unwrap().len(), file_length(length as u64));
        (file, body)
    }

    #[test]
    fn every_range_is_read_as_it_was_written() {
        for length in [1, BLOCK - 1, BLOCK, BLOCK + 1, 3 * BLOCK + 5] {
            let (file, body) = written(length);
            let ends = [0, 1, BLOCK - 1, BLOCK, BLOCK + 1, 2 * BLOCK + 9, length - 1];
            for at in ends.into_iter().filter(|at| *at < length) {
                for most in [1, 100, BLOCK, 10 * BLOCK] {
                    let read = read(&file, 9, length as u64, at as u64, most).unwrap();
                    let end = length.min(at + most).min((at / BLOCK + 1) * BLOCK);
                    assert!(*read == body[at..end], "{length} {at} {most}");
                }
            }
            assert!(read(&file, 9, length as u64, length as u64, 1).is_err());
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
        assert!(read(&file, 9, length as u64, BLOCK as u64, 10).is_ok());
        file.set_len(file_length(length as u64) - 1).unwrap();
        assert!(read(&file, 9, length as u64, BLOCK as u64, 10).is_err());
    }
}
