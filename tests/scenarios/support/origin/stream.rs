//! The socket operations that a connection needs, with or without TLS.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::time::Duration;

/// A byte stream over a socket.
pub(crate) trait Stream: Read + Write + Send {
    /// The underlying socket.
    fn socket(&self) -> &TcpStream;

    /// Signals the end of the stream. In TLS, dropping the stream without this call is detectable as truncation.
    fn finish(&mut self) -> io::Result<()>;
}

/// A plain socket.
///
/// The origin keeps only a `Weak` reference: a duplicated descriptor would keep the connection open after its thread
/// closes or resets it.
pub(crate) struct Socket(pub(super) Arc<TcpStream>);

impl Read for Socket {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        (&*self.0).read(buffer)
    }
}

impl Write for Socket {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        (&*self.0).write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        (&*self.0).flush()
    }
}

impl Stream for Socket {
    fn socket(&self) -> &TcpStream {
        &self.0
    }

    fn finish(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Makes the next close of this socket a reset (`RST`) instead of an orderly end.
pub(super) fn reset_on_close(socket: &TcpStream) -> io::Result<()> {
    socket2::SockRef::from(socket).set_linger(Some(Duration::ZERO))
}
