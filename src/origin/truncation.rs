//! Distinguishes a connection that was reset from one that was closed.
//!
//! For a body delimited by the end of the connection, ureq treats a reset, and a TLS stream without
//! `close_notify`, as a regular end. A truncated body would then look complete (RFC 9112 section 9.8). ureq
//! decides by the kind of the error, so this module hides that kind from it.

use std::error::Error as StdError;
use std::fmt;
use std::io;

use ureq::Error;

/// Hides the kind of an error that reports a truncated connection.
pub(super) fn hide_kind(failure: Error) -> Error {
    match failure {
        Error::Io(error) if is_truncation(error.kind()) => Error::Io(io::Error::other(Truncated(error))),
        other => other,
    }
}

fn is_truncation(kind: io::ErrorKind) -> bool {
    matches!(
        kind,
        io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset | io::ErrorKind::ConnectionAborted
    )
}

/// Returns the original kind of an error.
pub(super) fn original_kind(error: &io::Error) -> io::ErrorKind {
    let hidden = error.get_ref().and_then(|inner| inner.downcast_ref::<Truncated>());
    hidden.map_or_else(|| error.kind(), |Truncated(error)| error.kind())
}

/// The error of a truncated connection.
#[derive(Debug)]
struct Truncated(io::Error);

impl fmt::Display for Truncated {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl StdError for Truncated {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.0.source()
    }
}
