//! The bytes of one connection, plain or through TLS. Nothing here waits.

use std::io::{self, IoSlice, Read, Write};
use std::net::Shutdown;
use std::sync::Arc;

use mio::net::TcpStream;
use rustls::pki_types::UnixTime;
use rustls::{HandshakeKind, ServerConnection};

use crate::message::stats::{Handshake, ServerStats};
use crate::server::tls::Served;

/// How much of what is written may be encrypted before the socket takes it, in bytes: a body of 64 KiB with its head.
const KEPT: usize = 80 << 10;

/// How much a client may send before its handshake is done, in bytes; rustls keeps what is no whole message yet. Where
/// clients show certificates, as much as a message can have.
const HANDSHAKE: usize = 16 << 10;
const HANDSHAKE_WITH_CERTIFICATES: usize = 96 << 10;

/// A connection's bytes.
#[derive(Debug)]
pub(super) enum Transport {
    Plain(TcpStream),
    Tls(Box<Tls>),
}

#[derive(Debug)]
pub(super) struct Tls {
    socket: TcpStream,
    session: ServerConnection,
    served: Arc<Served>,
    handshake: Progress,
    stats: Arc<ServerStats>,
    /// How many bytes of what was taken are kept back, about.
    kept: usize,
    /// How many bytes of a handshake have come that is not done.
    begun: usize,
}

/// How far a handshake is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Progress {
    /// The client has sent nothing.
    Silent,
    Begun,
    Done,
}

/// What one read brought.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ReadSome {
    pub(super) count: usize,
    /// Whether nothing more is to be had before the socket says so.
    pub(super) is_drained: bool,
}

impl Transport {
    pub(super) fn plain(socket: TcpStream) -> Self {
        Self::Plain(socket)
    }

    pub(super) fn tls(socket: TcpStream, served: Arc<Served>, stats: Arc<ServerStats>) -> io::Result<Self> {
        let mut session = ServerConnection::new(Arc::clone(&served.config)).map_err(io::Error::other)?;
        session.set_buffer_limit(Some(KEPT));
        let handshake = Progress::Silent;
        Ok(Self::Tls(Box::new(Tls { socket, session, served, handshake, stats, kept: 0, begun: 0 })))
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

    /// How many bytes are kept back here that were taken, about.
    pub(super) fn kept(&self) -> usize {
        match self {
            Self::Plain(_) => 0,
            Self::Tls(tls) => tls.kept + tls.begun,
        }
    }

    /// Reads what has come; a count of zero is the end.
    ///
    /// # Errors
    ///
    /// Also [`io::ErrorKind::Interrupted`], where something has come that is no content, and more may have.
    pub(super) fn read(&mut self, buffer: &mut [u8]) -> io::Result<ReadSome> {
        match self {
            Self::Plain(socket) => {
                let count = uninterrupted(|| socket.read(buffer))?;
                // What comes after a short read makes the socket ready anew, an end too.
                Ok(ReadSome { count, is_drained: count < buffer.len() })
            }
            Self::Tls(tls) => tls.read(buffer),
        }
    }

    /// Writes as much as is taken at once.
    pub(super) fn write_vectored(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        match self {
            Self::Plain(socket) => uninterrupted(|| socket.write_vectored(slices)),
            Self::Tls(tls) => tls.write(slices),
        }
    }

    /// Whether something that was taken is still kept back here.
    pub(super) fn wants_write(&self) -> bool {
        matches!(self, Self::Tls(tls) if tls.session.wants_write())
    }

    /// Writes what was taken and is still kept back here.
    pub(super) fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Plain(_) => Ok(()),
            Self::Tls(tls) => tls.flush(),
        }
    }

    /// Says that nothing more will be written.
    pub(super) fn finish(&mut self) {
        if let Self::Tls(tls) = self {
            tls.session.send_close_notify();
            let _ = tls.flush();
        }
        let _ = self.socket().shutdown(Shutdown::Write);
    }

    /// Makes the end of the connection an abort that the client cannot take for the end of a body.
    pub(super) fn abort(&mut self) {
        let _ = socket2::SockRef::from(&*self.socket()).set_linger(Some(std::time::Duration::ZERO));
    }
}

impl Tls {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<ReadSome> {
        match self.session.reader().read(buffer) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            read => return Ok(ReadSome { count: read?, is_drained: false }),
        }
        let mut socket = Noting { socket: &mut self.socket, is_short: false };
        let came = uninterrupted(|| self.session.read_tls(&mut socket))?;
        let is_short = socket.is_short;
        let processed = self.session.process_new_packets();
        self.finish_handshake(came)?;
        // The handshake's answers, or the alert that says what is wrong.
        match self.flush() {
            Err(error) if error.kind() != io::ErrorKind::WouldBlock => return Err(error),
            _ => {}
        }
        let state = processed.map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
        // That the client says no more is told by the next read.
        let is_drained = is_short && !state.peer_has_closed();
        match self.session.reader().read(buffer) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => match came {
                0 => Ok(ReadSome { count: 0, is_drained: false }),
                _ if is_drained => Err(error),
                // No more at a time: what comes may be without end, and hold nothing.
                _ => Err(io::ErrorKind::Interrupted.into()),
            },
            read => read.map(|count| ReadSome { count, is_drained: is_drained && count < buffer.len() }),
        }
    }

    /// Takes note of how far the handshake is, now that so many bytes have come.
    ///
    /// # Errors
    ///
    /// When it is done, and this client is not served.
    fn finish_handshake(&mut self, came: usize) -> io::Result<()> {
        if self.handshake == Progress::Silent && came > 0 {
            self.handshake = Progress::Begun;
        }
        if self.session.is_handshaking() {
            self.begun += came;
            let most = if self.served.verifies() { HANDSHAKE_WITH_CERTIFICATES } else { HANDSHAKE };
            if self.begun > most {
                return Err(io::Error::new(io::ErrorKind::InvalidData, "its handshake is too long"));
            }
        } else if self.handshake == Progress::Begun {
            self.begun = 0;
            if !self.served.admits(&self.session, UnixTime::now()) {
                return Err(io::Error::new(io::ErrorKind::InvalidData, "its certificate is good no more"));
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
        self.kept += count;
        match self.flush() {
            Err(error) if error.kind() != io::ErrorKind::WouldBlock => Err(error),
            // It has room for some at least, as it was empty.
            _ => Ok(count),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        while self.session.wants_write() {
            let count = uninterrupted(|| self.session.write_tls(&mut self.socket))?;
            self.kept = self.kept.saturating_sub(count);
        }
        self.kept = 0;
        Ok(())
    }
}

/// A socket of which is noted whether it had less than was asked for: what comes then makes it ready anew.
struct Noting<'a> {
    socket: &'a mut TcpStream,
    is_short: bool,
}

impl Read for Noting<'_> {
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
