//! A body whose reads end at ureq's time limit.

use std::io::{self, Read};
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::thread;
use std::time::Instant;

use bytes::{Buf, Bytes};
use parking_lot::Mutex;

use crate::base::error::{Error, ErrorKind};
use crate::message::body::Body;
use crate::message::deadline::Deadline;
use crate::message::limited_body::{limited, too_late};

/// Bytes per read.
const PIECE: usize = 16 << 10;

/// Returns a body whose reads fail after this time. A body that cannot limit its own reads is read on another
/// thread.
pub(super) fn until(body: Body, until: Instant) -> Body {
    match body.into_poll_body() {
        Ok((stream, length)) => limited(Body::from_boxed_poll_body(stream, length), Deadline::at(until)),
        Err(body) if body.as_bytes().is_some() => body,
        Err(body) => body.map_reader(|body| ReadAhead::start(body, until)),
    }
}

/// Reads at most two pieces ahead. The thread ends with the body, or with its first read after this is
/// dropped.
struct ReadAhead {
    /// Never locked: it makes the receiver `Sync`, which a body must be.
    pieces: Mutex<Receiver<io::Result<Bytes>>>,
    piece: Bytes,
    has_ended: bool,
    until: Instant,
}

impl ReadAhead {
    fn start(mut body: Body, until: Instant) -> Self {
        let (give, pieces) = sync_channel(1);
        let read = move || {
            let mut buffer = vec![0; PIECE];
            loop {
                let piece = match body.read(&mut buffer) {
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                    read => read.map(|count| Bytes::copy_from_slice(&buffer[..count])),
                };
                let is_last = piece.as_ref().map_or(true, Bytes::is_empty);
                if give.send(piece).is_err() || is_last {
                    return;
                }
            }
        };
        if let Err(error) = thread::Builder::new().name("forwardcache-agent".to_owned()).spawn(read) {
            log::error!("cannot start a thread to read a response body: {error}");
        }
        Self { pieces: Mutex::new(pieces), piece: Bytes::new(), has_ended: false, until }
    }
}

impl Read for ReadAhead {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        if self.piece.is_empty() && !out.is_empty() && !self.has_ended {
            let left = self.until.saturating_duration_since(Instant::now());
            self.piece = match self.pieces.get_mut().recv_timeout(left) {
                Ok(piece) => piece?,
                Err(RecvTimeoutError::Timeout) => return Err(too_late()),
                Err(RecvTimeoutError::Disconnected) => {
                    return Err(Error::new(
                        ErrorKind::Io,
                        "the thread that reads the response body has ended",
                    )
                    .into());
                }
            };
            self.has_ended = self.piece.is_empty();
        }
        let count = self.piece.len().min(out.len());
        self.piece.copy_to_slice(&mut out[..count]);
        Ok(count)
    }
}
