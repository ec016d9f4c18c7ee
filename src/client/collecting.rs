//! A short body, read before its response is handed out: a peer that breaks off in it costs the caller nothing.

use std::io::{self, Cursor, Read};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::Response;

use super::resume::Pace;
use crate::body::Body;
use crate::error::{Error, ErrorKind, Result};

/// How much is read at a time.
const PIECE: usize = 8 << 10;

/// In the extensions of a response whose body was to be collected and comes too slowly.
#[derive(Clone, Copy)]
struct Slow;

/// The response with its body in memory, which may be as long as this; with what came of it before the rest where,
/// over the time of a window, it came too slowly.
pub(super) fn collect(response: Response<Body>, limit: u64, window: Duration) -> Result<Response<Body>> {
    let mut pace = Pace::default();
    collect_unless(response, limit, |waited, count| pace.is_slow(waited, count, window))
}

fn collect_unless(
    response: Response<Body>,
    limit: u64,
    mut is_slow: impl FnMut(Duration, usize) -> bool,
) -> Result<Response<Body>> {
    let (mut parts, mut body) = response.into_parts();
    let length = body.length();
    let expected = length.unwrap_or(0).min(limit);
    let (mut bytes, mut piece) = (Vec::with_capacity(usize::try_from(expected).unwrap_or(0)), [0; PIECE]);
    loop {
        let begun = Instant::now();
        let count = match body.read(&mut piece) {
            Ok(0) => return Ok(Response::from_parts(parts, Body::from(Bytes::from(bytes)))),
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error.into()),
        };
        bytes.extend_from_slice(&piece[..count]);
        if bytes.len() as u64 > limit {
            return Err(Error::new(
                ErrorKind::BodyTooLarge,
                format!("the body is larger than {limit} bytes"),
            ));
        }
        if is_slow(begun.elapsed(), count) {
            parts.extensions.insert(Slow);
            let body = Body::from_reader(Cursor::new(bytes).chain(body), length);
            return Ok(Response::from_parts(parts, body));
        }
    }
}

/// Whether its body comes too slowly; it is not said twice.
pub(super) fn take_slow(response: &mut Response<Body>) -> bool {
    response.extensions_mut().remove::<Slow>().is_some()
}

/// What is said of a peer that sends one.
pub(super) fn too_slow() -> Error {
    Error::new(ErrorKind::Timeout, "the body comes too slowly")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A byte a read.
    struct Bytewise(&'static [u8]);

    impl Read for Bytewise {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let (first, rest) = self.0.split_at(self.0.len().min(1));
            self.0 = rest;
            buffer[..first.len()].copy_from_slice(first);
            Ok(first.len())
        }
    }

    fn abc() -> Response<Body> {
        Response::new(Body::from_reader(Bytewise(b"abc"), Some(3)))
    }

    #[test]
    fn what_comes_in_time_is_in_memory() {
        let mut response = collect(abc(), 3, Duration::MAX).unwrap();
        assert!(!take_slow(&mut response));
        assert_eq!(response.body().as_bytes().map(|bytes| &bytes[..]), Some(&b"abc"[..]));
    }

    #[test]
    fn what_comes_too_slowly_is_handed_on_whole() {
        let mut reads = 0;
        let is_slow = |_, count| {
            reads += count;
            reads == 2
        };
        let mut response = collect_unless(abc(), 3, is_slow).unwrap();
        assert!(take_slow(&mut response) && !take_slow(&mut response));
        let body = response.into_body();
        assert_eq!((body.length(), body.as_bytes()), (Some(3), None));
        assert_eq!(body.into_text().unwrap(), "abc");
    }

    #[test]
    fn what_is_longer_than_it_may_be_is_an_error() {
        let error = collect(abc(), 2, Duration::MAX).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::BodyTooLarge);
    }
}
