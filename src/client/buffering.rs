//! Reads a short body before its response is returned, so that a peer that breaks off in it costs the caller
//! nothing.
//!
//! A body that takes longer than [`MAX_WAIT`] is returned while it arrives.

use std::io::{self, Cursor, Read};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::Response;
use parking_lot::{Condvar, Mutex};

use super::helpers::Helpers;
use crate::base::cancellation::Cancellation;
use crate::base::error::{Error, ErrorKind, Result};
use crate::message::body::Body;

/// How long the caller waits for the whole body before it gets the part that has arrived.
pub(super) const MAX_WAIT: Duration = Duration::from_millis(100);

/// Minimum rate in bytes per second of a body that the peer has completely; below it, the peer has failed.
/// Peers demand the same rate of their clients.
pub(super) const MIN_RATE: f64 = 256.0;

/// How long a short body is read before its rate is checked.
const RATE_CHECK_AFTER: Duration = Duration::from_millis(500);

/// Bytes per read.
const PIECE_SIZE: usize = 8 << 10;

/// Returns the response with its body in memory, or with a body whose beginning has been read. Use this only
/// for a body that the peer has completely: a single read blocks as long as the body does.
pub(super) fn buffer(response: Response<Body>, max_wait: Duration) -> Result<Response<Body>> {
    let (parts, mut body) = response.into_parts();
    let (length, begun) = (body.length(), Instant::now());
    let mut bytes = Vec::with_capacity(length.and_then(|length| usize::try_from(length).ok()).unwrap_or(0));
    let mut piece = [0; PIECE_SIZE];
    loop {
        match body.read(&mut piece) {
            Ok(0) => return Ok(Response::from_parts(parts, Body::from(Bytes::from(bytes)))),
            Ok(count) => bytes.extend_from_slice(&piece[..count]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error.into()),
        }
        let waited = begun.elapsed();
        if length.is_some_and(|length| bytes.len() as u64 >= length) {
            continue;
        }
        // The peer has the whole body, and the caller has received none of it, so another owner may be faster.
        if waited >= RATE_CHECK_AFTER && (bytes.len() as f64) < MIN_RATE * waited.as_secs_f64() {
            return Err(Error::new(ErrorKind::Timeout, "the body arrives too slowly"));
        }
        if waited >= max_wait {
            let body = Body::from_reader(Cursor::new(bytes).chain(body), length);
            return Ok(Response::from_parts(parts, body));
        }
    }
}

/// Like [`buffer`], for a body that may arrive slowly: a helper thread reads it, and the caller waits for at
/// most `max_wait`. If no helper is free, the response is returned as it is.
pub(super) fn buffer_on_helper(
    response: Response<Body>,
    helpers: &Helpers,
    cancellation: &Cancellation,
    max_wait: Duration,
) -> Result<Response<Body>> {
    let (parts, body) = response.into_parts();
    let length = body.length();
    // The body is taken back out of this slot if no helper is free.
    let body = Arc::new(Mutex::new(Some(body)));
    let pipe = Arc::new(Pipe::default());
    let (given, filled) = (Arc::clone(&body), Arc::clone(&pipe));
    let is_read = helpers.run(Box::new(move || {
        let body = given.lock().take();
        // If reading panics, the drop of `writer` wakes the caller.
        let writer = PipeWriter(&filled);
        if let Some(body) = body {
            writer.copy_from(body);
        }
    }));
    if !is_read {
        let body = body.lock().take().unwrap_or_default();
        return Ok(Response::from_parts(parts, body));
    }
    let mut state = pipe.state.lock();
    pipe.changed.wait_while_for(&mut state, |state| state.end.is_none(), max_wait);
    let body = match state.end.take() {
        Some(Ok(())) => Body::from(Bytes::from(std::mem::take(&mut state.bytes))),
        Some(Err(error)) => return Err(error.into()),
        None => {
            drop(state);
            Body::from_reader(PipeReader { pipe, taken: 0, cancellation: cancellation.clone() }, length)
        }
    };
    Ok(Response::from_parts(parts, body))
}

/// Connects the helper that reads with the caller. Holds at most one short body.
#[derive(Default)]
struct Pipe {
    state: Mutex<PipeState>,
    changed: Condvar,
}

#[derive(Default)]
struct PipeState {
    bytes: Vec<u8>,
    end: Option<io::Result<()>>,
}

struct PipeWriter<'a>(&'a Pipe);

impl PipeWriter<'_> {
    fn copy_from(&self, mut body: Body) {
        let mut piece = [0; PIECE_SIZE];
        let end = loop {
            match body.read(&mut piece) {
                Ok(0) => break Ok(()),
                Ok(count) => {
                    self.0.state.lock().bytes.extend_from_slice(&piece[..count]);
                    self.0.changed.notify_all();
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => break Err(error),
            }
        };
        self.0.state.lock().end = Some(end);
    }
}

impl Drop for PipeWriter<'_> {
    fn drop(&mut self) {
        let lost =
            || Err(io::Error::other(Error::new(ErrorKind::Io, "the thread that read the body has panicked")));
        self.0.state.lock().end.get_or_insert_with(lost);
        self.0.changed.notify_all();
    }
}

/// The caller's end of a [`Pipe`].
struct PipeReader {
    pipe: Arc<Pipe>,
    taken: usize,
    cancellation: Cancellation,
}

impl Read for PipeReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut state = self.pipe.state.lock();
        let taken = self.taken;
        self.pipe.changed.wait_while(&mut state, |state| state.bytes.len() == taken && state.end.is_none());
        let left = &state.bytes[taken..];
        if left.is_empty() {
            // The original error is returned once. Later reads must fail too: the body must never appear
            // complete.
            return match state.end.take() {
                Some(Err(error)) => {
                    state.end = Some(Err(io::Error::other("the body has failed before")));
                    Err(error)
                }
                end => {
                    state.end = end;
                    Ok(0)
                }
            };
        }
        let count = left.len().min(buffer.len());
        buffer[..count].copy_from_slice(&left[..count]);
        drop(state);
        self.taken += count;
        Ok(count)
    }
}

impl Drop for PipeReader {
    fn drop(&mut self) {
        // The helper must become free for other bodies.
        if self.pipe.state.lock().end.is_none() {
            self.cancellation.cancel();
        }
    }
}

#[cfg(test)]
mod tests;
