//! A connection that was cut is told from one that was closed.
//!
//! ureq takes a reset, and the end of a TLS stream without its goodbye, for the end of a body that is
//! ended by its connection: such a body would look whole (RFC 9112 section 9.8). It does so by the kind of
//! the error, so here that kind is packed away.

use std::error::Error as StdError;
use std::fmt;
use std::io;

use ureq::Error;

/// The failure of a read, packed where it says that the connection was cut.
pub(super) fn packed(failure: Error) -> Error {
    match failure {
        Error::Io(error) if is_cut(error.kind()) => Error::Io(io::Error::other(Cut(error))),
        other => other,
    }
}

fn is_cut(kind: io::ErrorKind) -> bool {
    matches!(
        kind,
        io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset | io::ErrorKind::ConnectionAborted
    )
}

/// The kind of an error, unpacked.
pub(super) fn kind(error: &io::Error) -> io::ErrorKind {
    let packed = error.get_ref().and_then(|inner| inner.downcast_ref::<Cut>());
    packed.map_or_else(|| error.kind(), |Cut(error)| error.kind())
}

/// What the connection said when it was cut.
#[derive(Debug)]
struct Cut(io::Error);

impl fmt::Display for Cut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl StdError for Cut {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.0.source()
    }
}
