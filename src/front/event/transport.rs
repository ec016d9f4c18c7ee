//! The bytes of one connection, plain or through TLS. Nothing here waits.

use std::io::{self, IoSlice, Read, Write};
use std::net::Shutdown;
use std::sync::Arc;

use mio::net::TcpStream;
use rustls::{HandshakeKind, ServerConfig, ServerConnection};

use crate::stats::{FrontStats, Handshake};

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
    handshake: Progress,
    stats: Arc<FrontStats>,
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

    pub(super) fn tls(
        socket: TcpStream,
        config: Arc<ServerConfig>,
        stats: Arc<FrontStats>,
    ) -> io::Result<Self> {
        let session = ServerConnection::new(config).map_err(io::Error::other)?;
        Ok(Self::Tls(Box::new(Tls { socket, session, handshake: Progress::Silent, stats })))
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

    /// Reads what has come; a count of zero is the end.
    pub(super) fn read(&mut self, buffer: &mut [u8]) -> io::Result<ReadSome> {
        match self {
            Self::Plain(socket) => {
                let count = uninterrupted(|| socket.read(buffer))?;
                // What comes after a short read makes the socket ready anew, an end too.
                Ok(ReadSome { count, is_drained: count < buffer.len() })
            }
            Self::Tls(tls) => Ok(ReadSome { count: tls.read(buffer)?, is_drained: false }),
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
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            match self.session.reader().read(buffer) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                read => return read,
            }
            let count = uninterrupted(|| self.session.read_tls(&mut self.socket))?;
            let processed = self.session.process_new_packets();
            self.count_handshake(count);
            // The handshake's answers, or the alert that says what is wrong.
            match self.flush() {
                Err(error) if error.kind() != io::ErrorKind::WouldBlock => return Err(error),
                _ => {}
            }
            processed.map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
            if count == 0 && self.session.wants_read() {
                return match self.session.reader().read(buffer) {
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(0),
                    read => read,
                };
            }
        }
    }

    /// Takes note of how far the handshake is, now that so many bytes have come.
    fn count_handshake(&mut self, count: usize) {
        if self.handshake == Progress::Silent && count > 0 {
            self.handshake = Progress::Begun;
        }
        if self.handshake == Progress::Begun && !self.session.is_handshaking() {
            self.handshake = Progress::Done;
            self.stats.count_handshake(match self.session.handshake_kind() {
                Some(HandshakeKind::Resumed) => Handshake::Resumed,
                _ => Handshake::Full,
            });
        }
    }

    fn write(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        if self.session.wants_write() {
            self.flush()?;
        }
        let count = self.session.writer().write_vectored(slices)?;
        match self.flush() {
            Err(error) if error.kind() != io::ErrorKind::WouldBlock => Err(error),
            // It has room for some at least, as it was empty.
            _ => Ok(count),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        while self.session.wants_write() {
            uninterrupted(|| self.session.write_tls(&mut self.socket))?;
        }
        Ok(())
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
