//! What is to be written to a connection and has not been taken yet.

use std::collections::VecDeque;
use std::io::{self, IoSlice};

use bytes::{Buf, Bytes};

use super::transport::Transport;

/// How many pieces go out in one call at most.
const SLICES: usize = 16;

/// Pieces in order. Shared bytes are not copied.
#[derive(Debug, Default)]
pub(super) struct Outbound {
    pieces: VecDeque<Bytes>,
}

/// How a write ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Flushed {
    /// Nothing is left.
    All,
    /// The socket takes no more for now.
    Blocked,
}

impl Outbound {
    pub(super) fn is_empty(&self) -> bool {
        self.pieces.is_empty()
    }

    pub(super) fn push(&mut self, piece: Bytes) {
        if !piece.is_empty() {
            self.pieces.push_back(piece);
        }
    }

    /// Writes as much as is taken; says how much that was.
    pub(super) fn flush(&mut self, transport: &mut Transport) -> io::Result<(usize, Flushed)> {
        let mut written = 0;
        while !self.pieces.is_empty() {
            let mut slices = [IoSlice::new(&[]); SLICES];
            let mut count = 0;
            for (slice, piece) in slices.iter_mut().zip(&self.pieces) {
                *slice = IoSlice::new(piece);
                count += 1;
            }
            match transport.write_vectored(&slices[..count]) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(count) => {
                    self.advance(count);
                    written += count;
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    return Ok((written, Flushed::Blocked));
                }
                Err(error) => return Err(error),
            }
        }
        // Its room is of no use to a connection that waits for its next request.
        self.pieces = VecDeque::new();
        match transport.flush() {
            Ok(()) => Ok((written, Flushed::All)),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok((written, Flushed::Blocked)),
            Err(error) => Err(error),
        }
    }

    fn advance(&mut self, mut count: usize) {
        while let Some(first) = self.pieces.front_mut() {
            if count < first.len() {
                return first.advance(count);
            }
            count -= first.len();
            self.pieces.pop_front();
        }
    }
}
