//! Output of a connection that its socket has not accepted yet.

use std::collections::VecDeque;
use std::io::{self, IoSlice};

use bytes::{Buf, Bytes};

use super::budget::Budget;
use super::transport::Transport;

/// Maximum number of pieces in one vectored write.
const SLICES: usize = 16;

/// A queue of pieces. Shared bytes are not copied.
#[derive(Debug, Default)]
pub(super) struct Outbound {
    pieces: VecDeque<Piece>,
    length: usize,
    private: usize,
}

#[derive(Debug)]
struct Piece {
    bytes: Bytes,
    /// Whether only this connection holds the bytes.
    is_private: bool,
}

/// The result of a flush.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Flushed {
    /// The queue is empty.
    All,
    /// The budget is used up.
    Some,
    /// The socket accepts no more bytes for now.
    Blocked,
}

impl Outbound {
    pub(super) fn is_empty(&self) -> bool {
        self.pieces.is_empty()
    }

    /// Returns the number of queued bytes.
    pub(super) fn length(&self) -> usize {
        self.length
    }

    /// Returns the memory that only this connection uses, in bytes: its own pieces and the list of all
    /// pieces.
    pub(super) fn private_bytes(&self) -> usize {
        self.private + self.pieces.len() * size_of::<Piece>()
    }

    /// Queues bytes whose memory another owner accounts for.
    pub(super) fn push(&mut self, bytes: Bytes) {
        self.push_piece(Piece { bytes, is_private: false });
    }

    /// Queues bytes whose memory this connection accounts for.
    pub(super) fn push_private(&mut self, bytes: Bytes) {
        self.push_piece(Piece { bytes, is_private: true });
    }

    fn push_piece(&mut self, piece: Piece) {
        let length = piece.bytes.len();
        if length > 0 {
            self.length += length;
            self.private += if piece.is_private { length } else { 0 };
            self.pieces.push_back(piece);
        }
    }

    /// Writes as much as the socket accepts and the budget allows. Returns the number of bytes written.
    pub(super) fn flush(
        &mut self,
        transport: &mut Transport,
        budget: &mut Budget,
    ) -> io::Result<(usize, Flushed)> {
        let mut written = 0;
        while !self.pieces.is_empty() {
            if budget.bytes() == 0 {
                return Ok((written, Flushed::Some));
            }
            let mut slices = [IoSlice::new(&[]); SLICES];
            let (mut count, mut left) = (0, budget.bytes());
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
                    budget.charge(count);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    return Ok((written, Flushed::Blocked));
                }
                Err(error) => return Err(error),
            }
        }
        // Frees the queue's memory: an idle connection does not need it.
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
            self.private -= if first.is_private { taken } else { 0 };
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
    fn a_flush_respects_the_budget_and_queued_bytes_are_counted() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        client.set_nonblocking(true).unwrap();
        let mut transport = Transport::plain(mio::net::TcpStream::from_std(client));
        let _server = listener.accept().unwrap();
        let mut outbound = Outbound::default();
        outbound.push_private(Bytes::from(vec![1; 1000]));
        outbound.push(Bytes::from(vec![2; 5000]));
        let mut budget = Budget::default();
        budget.charge(budget.bytes() - 4000);
        assert_eq!(outbound.flush(&mut transport, &mut budget).unwrap(), (4000, Flushed::Some));
        assert_eq!(
            (budget.bytes(), outbound.length(), outbound.private_bytes()),
            (0, 2000, size_of::<Piece>())
        );
        let mut budget = budget.for_turn(1);
        assert_eq!(outbound.flush(&mut transport, &mut budget).unwrap(), (2000, Flushed::All));
        assert!(outbound.is_empty() && outbound.length() == 0);
    }
}
