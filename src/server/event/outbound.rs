//! What is to be written to a connection and has not been taken yet.

use std::collections::VecDeque;
use std::io::{self, IoSlice};

use bytes::{Buf, Bytes};

use super::transport::Transport;
use super::turn::Turn;

/// How many pieces go out in one call at most.
const SLICES: usize = 16;

/// Pieces in order. Shared bytes are not copied.
#[derive(Debug, Default)]
pub(super) struct Outbound {
    pieces: VecDeque<Piece>,
    length: usize,
    own: usize,
}

#[derive(Debug)]
struct Piece {
    bytes: Bytes,
    /// Whether they are held for this connection alone.
    is_own: bool,
}

/// How a write ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Flushed {
    /// Nothing is left.
    All,
    /// As much was written as was allowed.
    Some,
    /// The socket takes no more for now.
    Blocked,
}

impl Outbound {
    pub(super) fn is_empty(&self) -> bool {
        self.pieces.is_empty()
    }

    /// How many bytes wait.
    pub(super) fn length(&self) -> usize {
        self.length
    }

    /// How many bytes are held for this connection alone: its own, and the list of all pieces.
    pub(super) fn own(&self) -> usize {
        self.own + self.pieces.len() * size_of::<Piece>()
    }

    /// Takes bytes that somebody else holds, or has counted.
    pub(super) fn push(&mut self, bytes: Bytes) {
        self.push_piece(Piece { bytes, is_own: false });
    }

    /// Takes bytes of this connection's own.
    pub(super) fn push_own(&mut self, bytes: Bytes) {
        self.push_piece(Piece { bytes, is_own: true });
    }

    fn push_piece(&mut self, piece: Piece) {
        let length = piece.bytes.len();
        if length > 0 {
            self.length += length;
            self.own += if piece.is_own { length } else { 0 };
            self.pieces.push_back(piece);
        }
    }

    /// Writes as much as is taken, and no more than the turn allows; says how much that was.
    pub(super) fn flush(
        &mut self,
        transport: &mut Transport,
        turn: &mut Turn,
    ) -> io::Result<(usize, Flushed)> {
        let mut written = 0;
        while !self.pieces.is_empty() {
            if turn.bytes() == 0 {
                return Ok((written, Flushed::Some));
            }
            let mut slices = [IoSlice::new(&[]); SLICES];
            let (mut count, mut left) = (0, turn.bytes());
            for (slice, piece) in slices.iter_mut().zip(&self.pieces) {
                let length = piece.bytes.len().min(left);
                *slice = IoSlice::new(&piece.bytes[..length]);
                left -= length;
                count += 1;
                if left == 0 {
                    break;
                }
            }
            match transport.write_vectored(&slices[..count]) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(count) => {
                    self.advance(count);
                    written += count;
                    turn.moved(count);
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
            let taken = count.min(first.bytes.len());
            self.length -= taken;
            self.own -= if first.is_own { taken } else { 0 };
            count -= taken;
            first.bytes.advance(taken);
            if !first.bytes.is_empty() {
                return;
            }
            self.pieces.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream};

    use super::*;

    #[test]
    fn no_more_is_written_than_is_allowed_at_a_time_and_what_waits_is_counted() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        client.set_nonblocking(true).unwrap();
        let mut transport = Transport::plain(mio::net::TcpStream::from_std(client));
        let _server = listener.accept().unwrap();
        let mut outbound = Outbound::default();
        outbound.push_own(Bytes::from(vec![1; 1000]));
        outbound.push(Bytes::from(vec![2; 5000]));
        let mut turn = Turn::default();
        turn.moved(turn.bytes() - 4000);
        assert_eq!(outbound.flush(&mut transport, &mut turn).unwrap(), (4000, Flushed::Some));
        assert_eq!((turn.bytes(), outbound.length(), outbound.own()), (0, 2000, size_of::<Piece>()));
        let mut turn = turn.at(1);
        assert_eq!(outbound.flush(&mut transport, &mut turn).unwrap(), (2000, Flushed::All));
        assert!(outbound.is_empty() && outbound.length() == 0);
    }
}
