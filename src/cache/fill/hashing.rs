//! The digest of a body in transit. It may lag behind a body that continues in a file.

use std::io;

use super::keeping::PIECE;
use crate::message::digest::{Digest, RunningDigest};
use crate::message::pieces::Pieces;
use crate::message::stored_bytes::StoredBytes;

/// How many bytes of the file are hashed for each piece that arrives. The rest is hashed at the end.
const CATCH_UP: u64 = 4 * PIECE as u64;

/// The digest of the bytes from the start of a body up to a position.
pub(super) struct Hashing {
    digest: RunningDigest,
    position: u64,
}

impl Hashing {
    pub(super) fn new() -> Self {
        Self { digest: RunningDigest::new(), position: 0 }
    }

    /// Adds bytes that follow those that were added before.
    pub(super) fn add(&mut self, bytes: &[u8]) {
        self.digest.update(bytes);
        self.position += bytes.len() as u64;
    }

    /// Adds the pieces that were present at the start.
    pub(super) fn add_pieces(&mut self, pieces: &Pieces) {
        pieces.slices().for_each(|piece| self.add(piece));
    }

    /// Adds the latest bytes, the last of which is at `end`. If the digest lags behind, it is computed from the file
    /// instead, which contains these bytes too. May block.
    pub(super) fn follow(
        &mut self,
        read: &[u8],
        end: u64,
        is_whole: bool,
        file: Option<&dyn StoredBytes>,
    ) -> io::Result<()> {
        let Some(file) = file.filter(|_| self.position + (read.len() as u64) < end) else {
            self.add(read);
            return Ok(());
        };
        let until = if is_whole { end } else { end.min(self.position + CATCH_UP) };
        while self.position < until {
            let left = usize::try_from(until - self.position).unwrap_or(PIECE);
            let bytes = file.read(self.position, left.min(PIECE))?;
            self.add(&bytes);
        }
        Ok(())
    }

    pub(super) fn finish(self) -> Digest {
        self.digest.finish()
    }
}
