//! The bytes of one connection, plain or through TLS. Nothing here blocks.

use std::io::{self, IoSlice, Read, Write};
use std::net::Shutdown;
use std::sync::Arc;

use mio::net::TcpStream;
use rustls::pki_types::UnixTime;
use rustls::{HandshakeKind, ServerConnection};

use super::sending_files;
use crate::message::body_piece::BodyPiece;
use crate::metrics::{Handshake, ServerStats};
use crate::server::tls::TlsState;

/// Maximum number of output bytes to encrypt before the socket accepts them: a piece of 64 KiB with its head.
const MAX_BUFFERED: usize = 80 << 10;

/// Maximum number of bytes that a client may send before its handshake is complete, because rustls buffers
/// incomplete messages. With client certificates: the maximum size of a handshake message.
const MAX_HANDSHAKE: usize = 16 << 10;
const MAX_HANDSHAKE_WITH_CERTIFICATES: usize = 96 << 10;

/// The byte stream of a connection.
#[derive(Debug)]
pub(super) enum Transport {
    Plain(TcpStream),
    Tls(Box<Tls>),
}

#[derive(Debug)]
pub(super) struct Tls {
    socket: TcpStream,
    session: ServerConnection,
    state: Arc<TlsState>,
    handshake: Progress,
    stats: Arc<ServerStats>,
    /// Approximate number of accepted output bytes that the socket has not accepted yet.
    buffered: usize,
    /// Number of bytes received for an incomplete handshake.
    handshake_bytes: usize,
}

/// The progress of a handshake.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Progress {
    /// The client has not sent anything.
    Silent,
    Begun,
    Done,
}

/// The result of a read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ReadResult {
    pub(super) count: usize,
    /// Whether the next input follows only after a new event for the socket.
    pub(super) is_drained: bool,
}

impl Transport {
    pub(super) fn plain(socket: TcpStream) -> Self {
        Self::Plain(socket)
    }

    pub(super) fn tls(socket: TcpStream, state: Arc<TlsState>, stats: Arc<ServerStats>) -> io::Result<Self> {
        let mut session = ServerConnection::new(Arc::clone(&state.config)).map_err(io::Error::other)?;
        session.set_buffer_limit(Some(MAX_BUFFERED));
        let handshake = Progress::Silent;
        Ok(Self::Tls(Box::new(Tls {
            socket,
            session,
            state,
            handshake,
            stats,
            buffered: 0,
            handshake_bytes: 0,
        })))
    }

    pub(super) fn socket(&mut self) -> &mut TcpStream {
        match self {
            Self::Plain(socket) => socket,
            Self::Tls(tls) => &mut tls.socket,
        }
    }

    pub(super) fn is_handshaking(&self) -> bool {
        matches!(self, Self::Tls(tls) if tls.session.is_handshaking())
    }

    /// Returns the approximate number of bytes that are buffered here.
    pub(super) fn buffered(&self) -> usize {
        match self {
            Self::Plain(_) => 0,
            Self::Tls(tls) => tls.buffered + tls.handshake_bytes,
        }
    }

    /// Reads available input. A count of zero is the end.
    ///
    /// # Errors
    ///
    /// Besides errors of the socket, [`io::ErrorKind::Interrupted`] if TLS records without content arrived;
    /// there may be more input.
    pub(super) fn read(&mut self, buffer: &mut [u8]) -> io::Result<ReadResult> {
        match self {
            Self::Plain(socket) => {
                let count = uninterrupted(|| socket.read(buffer))?;
                // After a short read, further input (or its end) causes a new event.
                Ok(ReadResult { count, is_drained: count < buffer.len() })
            }
            Self::Tls(tls) => tls.read(buffer),
        }
    }

    /// Writes as many bytes as are accepted without blocking.
    pub(super) fn write_vectored(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        match self {
            Self::Plain(socket) => uninterrupted(|| socket.write_vectored(slices)),
            Self::Tls(tls) => tls.write(slices),
        }
    }

    /// Like [`write_vectored`](Self::write_vectored), directly before [`send_file`](Self::send_file): the system may wait for
    /// bytes of the file to fill a packet.
    pub(super) fn write_before_file(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        match self {
            Self::Plain(socket) => uninterrupted(|| sending_files::write_before(socket, slices)),
            Self::Tls(_) => self.write_vectored(slices),
        }
    }

    /// Returns whether [`send_file`](Self::send_file) is worth a try.
    pub(super) fn sends_file(&self, piece: &BodyPiece) -> bool {
        matches!(self, Self::Plain(_)) && piece.len() >= sending_files::LEAST && piece.file().is_some()
    }

    /// Sends up to `most` bytes of a piece from its file. Returns how many were sent, or `None` if none could be.
    pub(super) fn send_file(&mut self, piece: &BodyPiece, most: usize) -> Option<usize> {
        match (self, piece.file()) {
            (Self::Plain(socket), Some(position)) => {
                sending_files::send(socket, position, piece.len().min(most)).ok().filter(|sent| *sent > 0)
            }
            _ => None,
        }
    }

    /// Returns whether accepted output is still buffered here.
    pub(super) fn wants_write(&self) -> bool {
        matches!(self, Self::Tls(tls) if tls.session.wants_write())
    }

    /// Writes buffered output.
    pub(super) fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Plain(_) => Ok(()),
            Self::Tls(tls) => tls.flush(),
        }
    }

    /// Closes the sending side.
    pub(super) fn finish(&mut self) {
        if let Self::Tls(tls) = self {
            tls.session.send_close_notify();
            let _ = tls.flush();
        }
        let _ = self.socket().shutdown(Shutdown::Write);
    }

    /// Makes closing the socket send RST, which the client cannot take for the end of a body.
    pub(super) fn abort(&mut self) {
        let _ = socket2::SockRef::from(&*self.socket()).set_linger(Some(std::time::Duration::ZERO));
    }
}

impl Tls {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<ReadResult> {
        match self.session.reader().read(buffer) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            read => return Ok(ReadResult { count: read?, is_drained: false }),
        }
        let mut socket = ShortReadDetector { socket: &mut self.socket, is_short: false };
        let received = uninterrupted(|| self.session.read_tls(&mut socket))?;
        let is_short = socket.is_short;
        let processed = self.session.process_new_packets();
        self.finish_handshake(received)?;
        // Send the handshake messages, or the alert with the reason of a failure.
        match self.flush() {
            Err(error) if error.kind() != io::ErrorKind::WouldBlock => return Err(error),
            _ => {}
        }
        let io_state = processed.map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
        // The next read reports the client's `close_notify`.
        let is_drained = is_short && !io_state.peer_has_closed();
        match self.session.reader().read(buffer) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => match received {
                0 => Ok(ReadResult { count: 0, is_drained: false }),
                _ if is_drained => Err(error),
                // Stop here: an endless sequence of records without content must not occupy the thread.
                _ => Err(io::ErrorKind::Interrupted.into()),
            },
            read => read.map(|count| ReadResult { count, is_drained: is_drained && count < buffer.len() }),
        }
    }

    /// Updates the progress of the handshake after `received` bytes have arrived.
    ///
    /// # Errors
    ///
    /// Returns an error if the handshake is too long or the client is not accepted.
    fn finish_handshake(&mut self, received: usize) -> io::Result<()> {
        if self.handshake == Progress::Silent && received > 0 {
            self.handshake = Progress::Begun;
        }
        if self.session.is_handshaking() {
            self.handshake_bytes += received;
            let max = if self.state.requires_certificates() {
                MAX_HANDSHAKE_WITH_CERTIFICATES
            } else {
                MAX_HANDSHAKE
            };
            if self.handshake_bytes > max {
                return Err(io::Error::new(
                    io::ErrorKind::InvalidData,
                    "the client's TLS handshake is too long",
                ));
            }
        } else if self.handshake == Progress::Begun {
            self.handshake_bytes = 0;
            if !self.state.verify_resumed_session(&self.session, UnixTime::now()) {
                return Err(io::Error::new(
                    io::ErrorKind::InvalidData,
                    "the client's certificate is no longer valid",
                ));
            }
            self.handshake = Progress::Done;
            self.stats.count_handshake(match self.session.handshake_kind() {
                Some(HandshakeKind::Resumed) => Handshake::Resumed,
                _ => Handshake::Full,
            });
        }
        Ok(())
    }

    fn write(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        if self.session.wants_write() {
            self.flush()?;
        }
        let count = self.session.writer().write_vectored(slices)?;
        self.buffered += count;
        match self.flush() {
            Err(error) if error.kind() != io::ErrorKind::WouldBlock => Err(error),
            // rustls accepted at least some bytes, because its buffer was empty.
            _ => Ok(count),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        while self.session.wants_write() {
            let count = uninterrupted(|| self.session.write_tls(&mut self.socket))?;
            self.buffered = self.buffered.saturating_sub(count);
        }
        self.buffered = 0;
        Ok(())
    }
}

/// Detects a short read, after which further input causes a new event.
struct ShortReadDetector<'a> {
    socket: &'a mut TcpStream,
    is_short: bool,
}

impl Read for ShortReadDetector<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.socket.read(buffer)?;
        self.is_short = count < buffer.len();
        Ok(count)
    }
}

impl Drop for Tls {
    fn drop(&mut self) {
        if self.handshake == Progress::Begun {
            self.stats.count_handshake(Handshake::Failed);
        }
    }
}

fn uninterrupted<T>(mut call: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    loop {
        match call() {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            result => return result,
        }
    }
}
