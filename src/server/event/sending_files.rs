//! Sends bytes of files to sockets without copying them, where the system can do that.

#[cfg(not(all(feature = "disk", target_os = "linux")))]
pub(super) use elsewhere::{send, write_before};
#[cfg(all(feature = "disk", target_os = "linux"))]
pub(super) use linux::{send, write_before};

/// The length from which a call of its own takes less time than a copy, in bytes.
pub(super) const LEAST: usize = 16 << 10;

#[cfg(all(feature = "disk", target_os = "linux"))]
mod linux {
    use std::io::{self, IoSlice};

    use mio::net::TcpStream;
    use rustix::net::{SendAncillaryBuffer, SendFlags, sendmsg};

    use crate::message::body_piece::FilePosition;

    /// Writes bytes that belong into the same packet as the first bytes of a file.
    pub(crate) fn write_before(socket: &TcpStream, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        let flags = SendFlags::MORE | SendFlags::NOSIGNAL;
        Ok(sendmsg(socket, slices, &mut SendAncillaryBuffer::default(), flags)?)
    }

    /// Sends up to `most` bytes of a file.
    pub(crate) fn send(socket: &TcpStream, from: &FilePosition, most: usize) -> io::Result<usize> {
        let mut at = from.at;
        Ok(rustix::fs::sendfile(socket, &**from.file, Some(&mut at), most)?)
    }
}

#[cfg(not(all(feature = "disk", target_os = "linux")))]
mod elsewhere {
    use std::io::{self, IoSlice, Write};

    use mio::net::TcpStream;

    use crate::message::body_piece::FilePosition;

    pub(crate) fn write_before(mut socket: &TcpStream, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        socket.write_vectored(slices)
    }

    pub(crate) fn send(_: &TcpStream, _: &FilePosition, _: usize) -> io::Result<usize> {
        Err(io::ErrorKind::Unsupported.into())
    }
}
