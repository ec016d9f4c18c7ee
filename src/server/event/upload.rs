//! Passes a request body from a connection to the handler while it arrives.
//!
//! The I/O thread never blocks here; the handler blocks until more bytes arrive. If the buffer is full, the
//! connection is not read until the handler has caught up.

use std::collections::VecDeque;
use std::io::{self, Read};
use std::sync::Arc;

use parking_lot::{Condvar, Mutex};

use crate::base::counts::Counts;
use crate::base::error::{Error, ErrorKind};
use crate::base::memory_limit::{Hold, Ledger, MemoryUse};
use crate::message::body::{Body, Wake};
use crate::message::url::CanonicalUrl;
use crate::scheduler::ClientAddress;

/// Limits the uploads. Each occupies a worker until its client has sent the body. Uploads may use half of all
/// workers; uploads to one origin, or of one client, may use an eighth.
#[derive(Debug)]
pub(super) struct UploadLimits {
    workers: usize,
    counts: Mutex<Uploads>,
    collecting: Mutex<Counts<ClientAddress>>,
}

#[derive(Debug, Default)]
struct Uploads {
    all: usize,
    by_origin: Counts<CanonicalUrl>,
    by_client: Counts<ClientAddress>,
}

/// Permit for one upload.
#[derive(Debug)]
pub(super) struct UploadPermit {
    limits: Arc<UploadLimits>,
    origin: Option<CanonicalUrl>,
    client: Option<ClientAddress>,
}

impl UploadLimits {
    pub(super) fn new(workers: usize) -> Arc<Self> {
        Arc::new(Self { workers, counts: Mutex::default(), collecting: Mutex::default() })
    }

    /// Returns a permit for an upload to this origin of this client; a client of `None` is a peer
    /// of the pool.
    pub(super) fn acquire(
        self: &Arc<Self>,
        origin: Option<CanonicalUrl>,
        client: Option<ClientAddress>,
    ) -> Option<UploadPermit> {
        let mut counts = self.counts.lock();
        let of_origin = origin.as_ref().map_or(0, |origin| counts.by_origin.of(origin));
        let of_client = client.map_or(0, |client| counts.by_client.of(&client));
        let max_share = (self.workers / 8).max(1);
        if counts.all >= (self.workers / 2).max(1) || of_origin.max(of_client) >= max_share {
            return None;
        }
        counts.all += 1;
        if let Some(origin) = &origin {
            counts.by_origin.add(origin.clone());
        }
        if let Some(client) = client {
            counts.by_client.add(client);
        }
        drop(counts);
        Some(UploadPermit { limits: Arc::clone(self), origin, client })
    }
}

/// Maximum number of requests of one client whose bodies are being collected in memory: at most 16 MiB for
/// each client.
const MAX_COLLECTING: usize = 256;

/// Permit for collecting one request body.
#[derive(Debug)]
pub(super) struct CollectPermit(Option<(Arc<UploadLimits>, ClientAddress)>);

impl UploadLimits {
    /// Returns a permit for collecting a request body of this client; a client of `None` is a
    /// peer of the pool.
    pub(super) fn acquire_collecting(
        self: &Arc<Self>,
        client: Option<ClientAddress>,
    ) -> Option<CollectPermit> {
        let Some(client) = client else { return Some(CollectPermit(None)) };
        let mut collecting = self.collecting.lock();
        if collecting.of(&client) >= MAX_COLLECTING {
            return None;
        }
        collecting.add(client);
        drop(collecting);
        Some(CollectPermit(Some((Arc::clone(self), client))))
    }
}

impl Drop for CollectPermit {
    fn drop(&mut self) {
        if let Some((limits, client)) = &self.0 {
            limits.collecting.lock().remove(client);
        }
    }
}

impl Drop for UploadPermit {
    fn drop(&mut self) {
        let mut counts = self.limits.counts.lock();
        counts.all -= 1;
        if let Some(origin) = &self.origin {
            counts.by_origin.remove(origin);
        }
        if let Some(client) = &self.client {
            counts.by_client.remove(client);
        }
    }
}

/// Capacity of the buffer between connection and handler, in bytes.
const CAPACITY: usize = 256 << 10;

struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

struct State {
    /// Received bytes that the handler has not read, in one buffer, so that small pieces have no overhead.
    bytes: VecDeque<u8>,
    hold: Hold,
    end: Option<End>,
    is_reader_gone: bool,
    /// Called when the buffer has room again.
    wake: Option<Wake>,
}

#[derive(Clone, Copy)]
enum End {
    Complete,
    Incomplete,
}

/// The writing end, held by the connection. If it is dropped before [`finish`](Self::finish), the handler
/// sees an incomplete body.
pub(super) struct UploadWriter {
    shared: Arc<Shared>,
    ledger: Arc<Ledger>,
    _permit: UploadPermit,
}

/// The reading end, held by the handler's body.
struct UploadReader {
    shared: Arc<Shared>,
}

/// Creates a body of this length, if known, and its writing end. Calls `wake` when the buffer has room again.
pub(super) fn upload(
    permit: UploadPermit,
    ledger: &Arc<Ledger>,
    length: Option<u64>,
    wake: Wake,
) -> (UploadWriter, Body) {
    let shared = Arc::new(Shared {
        state: Mutex::new(State {
            bytes: VecDeque::new(),
            hold: ledger.hold(MemoryUse::Content, 0),
            end: None,
            is_reader_gone: false,
            wake: Some(wake),
        }),
        changed: Condvar::new(),
    });
    let reader = UploadReader { shared: Arc::clone(&shared) };
    (UploadWriter { shared, ledger: Arc::clone(ledger), _permit: permit }, Body::from_reader(reader, length))
}

impl State {
    fn count(&mut self) {
        self.hold.set(self.bytes.len() as u64);
    }
}

impl UploadWriter {
    /// Returns whether the buffer has room.
    pub(super) fn has_room(&self) -> bool {
        let state = self.shared.state.lock();
        state.bytes.len() < CAPACITY || state.is_reader_gone
    }

    /// Appends a piece. Returns `false` if the memory limit is reached.
    pub(super) fn push(&self, piece: &[u8]) -> bool {
        // Reserve before locking: a reservation may evict entries, which must not happen under a lock.
        let Some(reserved) = self.ledger.reserve(MemoryUse::Content, piece.len() as u64) else {
            return false;
        };
        let mut state = self.shared.state.lock();
        if !state.is_reader_gone && !piece.is_empty() {
            state.bytes.extend(piece);
            state.count();
            self.shared.changed.notify_one();
        }
        drop(state);
        drop(reserved);
        true
    }

    /// Marks the body as complete.
    pub(super) fn finish(self) {
        self.end(End::Complete);
    }

    fn end(&self, end: End) {
        let mut state = self.shared.state.lock();
        state.end.get_or_insert(end);
        self.shared.changed.notify_one();
    }
}

impl Drop for UploadWriter {
    fn drop(&mut self) {
        self.end(End::Incomplete);
    }
}

impl Read for UploadReader {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let mut state = self.shared.state.lock();
        loop {
            if !state.bytes.is_empty() {
                let was_full = state.bytes.len() >= CAPACITY;
                let count = state.bytes.read(out)?;
                state.count();
                let wake = if was_full && state.bytes.len() < CAPACITY { state.wake.clone() } else { None };
                drop(state);
                if let Some(wake) = wake {
                    wake();
                }
                return Ok(count);
            }
            match state.end {
                Some(End::Complete) => return Ok(0),
                Some(End::Incomplete) => {
                    let why = "the request body is incomplete";
                    return Err(Error::new(ErrorKind::IncompleteBody, why).into());
                }
                None => self.shared.changed.wait(&mut state),
            }
        }
    }
}

impl Drop for UploadReader {
    fn drop(&mut self) {
        let mut state = self.shared.state.lock();
        state.is_reader_gone = true;
        let unused = std::mem::take(&mut state.bytes);
        state.count();
        let wake = state.wake.take();
        drop(state);
        if let Some(wake) = wake {
            wake();
        }
        drop(unused);
    }
}

#[cfg(test)]
mod tests;
