//! Why a body did not become whole, for each of its readers.

use std::error::Error as StdError;
use std::fmt;
use std::io;
use std::sync::Arc;

use crate::error::{Error, ErrorKind};

/// An error that is reported more than once.
pub(super) struct Failure(Arc<Error>);

impl Failure {
    pub(super) fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self(Arc::new(Error::new(kind, message)))
    }

    pub(super) fn to_error(&self) -> io::Error {
        let Self(shared) = self;
        let mut error = Error::new(shared.kind(), shared.message());
        if let Some(url) = shared.url() {
            error = error.with_url(url);
        }
        if let Some(peer) = shared.peer() {
            error = if shared.is_told_by_peer() { error.told_by_peer(peer) } else { error.with_peer(peer) };
        }
        if shared.source().is_some() {
            error = error.with_source(Cause(Arc::clone(shared)));
        }
        error.into()
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self(Arc::new(error.into()))
    }
}

/// The cause of a shared error.
#[derive(Debug)]
struct Cause(Arc<Error>);

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.source().map_or(Ok(()), |source| fmt::Display::fmt(source, f))
    }
}

impl StdError for Cause {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.0.source()?.source()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_reader_gets_the_whole_error() {
        let original = Error::from(io::Error::new(io::ErrorKind::TimedOut, "slow"))
            .with_url("http://a/b?c")
            .with_peer("http://p:1");
        let text = original.to_string();
        let failure = Failure::from(io::Error::from(original));
        for _ in 0..2 {
            let error = Error::from(failure.to_error());
            assert_eq!((error.kind(), error.to_string()), (ErrorKind::Timeout, text.clone()));
            assert_eq!((error.url(), error.peer()), (Some("http://a/b"), Some("http://p:1")));
            assert_eq!(error.source().unwrap().to_string(), "slow");
        }
        let plain = Error::from(Failure::new(ErrorKind::Io, "broken").to_error());
        assert!(plain.source().is_none());
    }
}
