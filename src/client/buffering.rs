//! A short body, read before its response is handed out: a peer that breaks off in it costs the caller nothing.
//!
//! What takes longer than [`PATIENCE`] is handed out as it comes.

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

/// How long the caller waits for the whole body before it gets what has come.
pub(super) const PATIENCE: Duration = Duration::from_millis(100);

/// With fewer bytes a second than this, a peer that has the whole body has failed: it demands as much of its clients.
pub(super) const LEAST_RATE: f64 = 256.0;

/// After how long that is seen of a short body.
const TOO_SLOW: Duration = Duration::from_millis(500);

/// How much is read at a time.
const PIECE: usize = 8 << 10;

/// The response with its body in memory, or with one whose beginning has been read. Each read may wait for as long as
/// the body does: it is for one that the peer has whole.
pub(super) fn collect(response: Response<Body>, patience: Duration) -> Result<Response<Body>> {
    let (parts, mut body) = response.into_parts();
    let (length, begun) = (body.length(), Instant::now());
    let mut bytes = Vec::with_capacity(length.and_then(|length| usize::try_from(length).ok()).unwrap_or(0));
    let mut piece = [0; PIECE];
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
        // The peer has it whole, and nothing of it was handed out: somebody else may have it faster.
        if waited >= TOO_SLOW && (bytes.len() as f64) < LEAST_RATE * waited.as_secs_f64() {
            return Err(Error::new(ErrorKind::Timeout, "the body comes too slowly"));
        }
        if waited >= patience {
            let body = Body::from_reader(Cursor::new(bytes).chain(body), length);
            return Ok(Response::from_parts(parts, body));
        }
    }
}

/// The same for a body that may come slowly: a helper reads it, and the caller waits no longer than `patience`. Where no
/// helper is free, the body is handed out as it is.
pub(super) fn collect_beside(
    response: Response<Body>,
    helpers: &Helpers,
    cancellation: &Cancellation,
    patience: Duration,
) -> Result<Response<Body>> {
    let (parts, body) = response.into_parts();
    let length = body.length();
    // It comes back where no helper is free.
    let body = Arc::new(Mutex::new(Some(body)));
    let pipe = Arc::new(Pipe::default());
    let (given, filled) = (Arc::clone(&body), Arc::clone(&pipe));
    let is_read = helpers.run(Box::new(move || {
        let body = given.lock().take();
        // Also when reading panics, nobody waits for ever.
        let filling = Filling(&filled);
        if let Some(body) = body {
            filling.fill(body);
        }
    }));
    if !is_read {
        let body = body.lock().take().unwrap_or_default();
        return Ok(Response::from_parts(parts, body));
    }
    let mut state = pipe.state.lock();
    pipe.changed.wait_while_for(&mut state, |state| state.end.is_none(), patience);
    let body = match state.end.take() {
        Some(Ok(())) => Body::from(Bytes::from(std::mem::take(&mut state.bytes))),
        Some(Err(error)) => return Err(error.into()),
        None => {
            drop(state);
            Body::from_reader(Piped { pipe, taken: 0, cancellation: cancellation.clone() }, length)
        }
    };
    Ok(Response::from_parts(parts, body))
}

/// Between the helper that reads and the caller: as long as a short body.
#[derive(Default)]
struct Pipe {
    state: Mutex<Filled>,
    changed: Condvar,
}

#[derive(Default)]
struct Filled {
    bytes: Vec<u8>,
    end: Option<io::Result<()>>,
}

struct Filling<'a>(&'a Pipe);

impl Filling<'_> {
    fn fill(&self, mut body: Body) {
        let mut piece = [0; PIECE];
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

impl Drop for Filling<'_> {
    fn drop(&mut self) {
        let lost = || Err(io::Error::other(Error::new(ErrorKind::Io, "the body was lost")));
        self.0.state.lock().end.get_or_insert_with(lost);
        self.0.changed.notify_all();
    }
}

/// The reading end.
struct Piped {
    pipe: Arc<Pipe>,
    taken: usize,
    cancellation: Cancellation,
}

impl Read for Piped {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut state = self.pipe.state.lock();
        let taken = self.taken;
        self.pipe.changed.wait_while(&mut state, |state| state.bytes.len() == taken && state.end.is_none());
        let left = &state.bytes[taken..];
        if left.is_empty() {
            // An error is told once; what is read after it is at its end no less.
            return match state.end.take() {
                Some(Err(error)) => {
                    state.end = Some(Err(io::Error::other("the body broke off before")));
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

impl Drop for Piped {
    fn drop(&mut self) {
        // The helper has others to read for.
        if self.pipe.state.lock().end.is_none() {
            self.cancellation.cancel();
        }
    }
}

#[cfg(test)]
mod tests;
