//! The error of a failed body, for each of its readers.

use std::io;

use crate::base::error::{Error, ErrorKind};

/// An error that is reported more than once.
pub(super) struct Failure(Error);

impl Failure {
    pub(super) fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self(Error::new(kind, message))
    }

    pub(super) fn kind(&self) -> ErrorKind {
        self.0.kind()
    }

    pub(super) fn to_error(&self) -> io::Error {
        self.0.shared().into()
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self(error.into())
    }
}

#[cfg(test)]
mod tests {
    use std::error::Error as _;

    use super::*;

    #[test]
    fn each_reader_gets_the_whole_error() {
        let original = Error::from(io::Error::new(io::ErrorKind::TimedOut, "slow")).with_peer("http://p:1");
        let text = original.to_string();
        let failure = Failure::from(io::Error::from(original));
        for _ in 0..2 {
            let error = Error::from(failure.to_error());
            assert_eq!((error.kind(), error.to_string()), (ErrorKind::Timeout, text.clone()));
            assert_eq!(error.peer(), Some("http://p:1"));
            assert_eq!(error.source().unwrap().to_string(), "slow");
        }
    }
}
