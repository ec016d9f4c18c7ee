//! Output of a connection that its socket has not accepted yet.

use std::collections::VecDeque;
use std::io::{self, IoSlice};

use bytes::Bytes;

use super::budget::Budget;
use super::transport::Transport;
use crate::message::body_piece::BodyPiece;

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
    bytes: BodyPiece,
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
    pub(super) fn push(&mut self, bytes: impl Into<BodyPiece>) {
        self.push_piece(Piece { bytes: bytes.into(), is_private: false });
    }

    /// Queues bytes whose memory this connection accounts for.
    pub(super) fn push_private(&mut self, bytes: Bytes) {
        self.push_piece(Piece { bytes: bytes.into(), is_private: true });
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
            if let Some(count) = self.send_file(transport, budget.bytes()) {
                self.advance(count);
                written += count;
                budget.charge(count);
                continue;
            }
            let mut slices = [IoSlice::new(&[]); SLICES];
            let (mut count, mut left) = (0, budget.bytes());
            let mut file_follows = false;
            for (slice, piece) in slices.iter_mut().zip(&self.pieces) {
                file_follows = transport.sends_file(&piece.bytes);
                if file_follows {
                    break;
                }
                let length = piece.bytes.len().min(left);
                *slice = IoSlice::new(&piece.bytes[..length]);
                left -= length;
                count += 1;
                if left == 0 {
                    break;
                }
            }
            let result = if file_follows {
                transport.write_before_file(&slices[..count])
            } else {
                transport.write_vectored(&slices[..count])
            };
            match result {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(count) => {
                    self.advance(count);
                    written += count;
                    budget.charge(count);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.pieces.iter_mut().for_each(|piece| piece.bytes.forget_file());
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

    /// Sends the first piece from its file. Returns `None` if it has none, or if nothing was sent: then its bytes are to be
    /// written, which also finds out why.
    fn send_file(&mut self, transport: &mut Transport, most: usize) -> Option<usize> {
        let piece = &mut self.pieces.front_mut()?.bytes;
        if !transport.sends_file(piece) {
            return None;
        }
        let sent = transport.send_file(piece, most);
        if sent.is_none_or(|sent| sent < piece.len()) {
            piece.forget_file();
        }
        sent
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

    fn pair() -> (Transport, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        client.set_nonblocking(true).unwrap();
        (Transport::plain(mio::net::TcpStream::from_std(client)), listener.accept().unwrap().0)
    }

    #[test]
    fn a_flush_respects_the_budget_and_queued_bytes_are_counted() {
        let (mut transport, _server) = pair();
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

    #[cfg(feature = "disk")]
    mod files {
        use std::io::{Read, Write};
        use std::sync::Arc;

        use super::*;
        use crate::message::open_file::OpenFile;

        const LENGTH: usize = 60_000;

        /// Bytes, and a file that has them after a byte that does not belong to them.
        fn bytes_in_file() -> (Bytes, Arc<OpenFile>) {
            let bytes: Vec<u8> = (0..LENGTH).map(|at| (at / 3 % 251).to_le_bytes()[0]).collect();
            let mut file = tempfile::tempfile().unwrap();
            file.write_all(b"-").and_then(|()| file.write_all(&bytes)).unwrap();
            (bytes.into(), Arc::new(OpenFile::new(file, drop)))
        }

        #[test]
        fn pieces_in_files_are_sent_in_order_with_the_others() {
            let (mut transport, mut server) = pair();
            let (bytes, file) = bytes_in_file();
            let mut outbound = Outbound::default();
            let mut expected = Vec::new();
            for (from, head) in [(0, "one"), (1000, "two"), (LENGTH - 10, "three")] {
                let mut piece = BodyPiece::in_file(bytes.clone(), Arc::clone(&file), 1);
                piece.advance(from);
                outbound.push_private(head.into());
                outbound.push(piece);
                expected.extend_from_slice(head.as_bytes());
                expected.extend_from_slice(&bytes[from..]);
            }
            let reading = std::thread::spawn(move || {
                let mut read = Vec::new();
                server.read_to_end(&mut read).map(|_| read)
            });
            loop {
                let flushed = outbound.flush(&mut transport, &mut Budget::default()).unwrap().1;
                if flushed == Flushed::All {
                    break;
                }
                std::thread::yield_now();
            }
            transport.finish();
            assert!(reading.join().unwrap().unwrap() == expected);
        }

        #[test]
        fn bytes_are_sent_although_their_file_was_cut() {
            let (mut transport, mut server) = pair();
            let (bytes, file) = bytes_in_file();
            file.set_len(10_000).unwrap();
            let mut outbound = Outbound::default();
            outbound.push(BodyPiece::in_file(bytes.clone(), file, 1));
            let (written, _) = outbound.flush(&mut transport, &mut Budget::default()).unwrap();
            let mut read = vec![0; written];
            server.read_exact(&mut read).unwrap();
            assert!(written > 10_000 && read == bytes[..written]);
        }

        #[test]
        fn files_are_forgotten_when_the_socket_is_full() {
            let (mut transport, _server) = pair();
            let (bytes, file) = bytes_in_file();
            let mut outbound = Outbound::default();
            (0..1000).for_each(|_| outbound.push(BodyPiece::in_file(bytes.clone(), Arc::clone(&file), 1)));
            while outbound.flush(&mut transport, &mut Budget::default()).unwrap().1 != Flushed::Blocked {}
            assert_eq!(Arc::strong_count(&file), 1);
        }
    }
}
