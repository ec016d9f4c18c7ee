//! Looks up the responses of a key, and loads their bodies.

use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;

use super::core::Core;
use super::lookup_cost::Lookup;
use super::value::{Value, judged};
use crate::base::memory_limit::MemoryUse;
use crate::message::pieces::Pieces;
use crate::message::stored_bytes::StoredBytes;
use crate::store::tier::Work;
use crate::store::{Key, RemoteBody, StoreError, StoredResponse};

/// Less than the number of any invalidation, which is a time. Zero would mean that everything covers the response.
pub(super) const OLDEST: u64 = 1;

/// A body that was received with its head, and counts as remote until it is used.
struct Received {
    body: Pieces,
    core: Arc<Core>,
}

impl StoredBytes for Received {
    fn read(&self, at: u64, most: usize) -> io::Result<Box<[u8]>> {
        let mut skip = usize::try_from(at).unwrap_or(usize::MAX);
        for piece in self.body.slices() {
            if skip < piece.len() {
                let rest = &piece[skip..];
                return Ok(rest[..most.min(rest.len())].into());
            }
            skip -= piece.len();
        }
        Err(io::ErrorKind::UnexpectedEof.into())
    }

    fn spawn(&self, work: Box<dyn FnOnce() + Send>) {
        self.core.lane.submit_always(work);
    }
}

impl fmt::Debug for Received {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Received").field("length", &self.body.len()).finish_non_exhaustive()
    }
}

impl Core {
    /// Finds the responses of a key, the newest first.
    pub(super) fn find(self: &Arc<Self>, key: &Key) -> Result<Vec<Arc<StoredResponse>>, StoreError> {
        if !self.may_look_up() {
            return Ok(Vec::new());
        }
        let begun = Instant::now();
        let found = self.look_up(key);
        let is_hit = found.as_ref().is_ok_and(|found| !found.is_empty());
        self.looked_up(Lookup { begun, ended: Instant::now(), is_hit });
        found
    }

    /// Runs a lookup on a thread. If it waits so long for one that its request has left, it counts as a slow miss.
    pub(super) fn spawn_lookup(self: &Arc<Self>, work: Work) -> Result<(), Work> {
        let (core, begun) = (Arc::downgrade(self), Instant::now());
        let timed = move || {
            if let Some(core) = core.upgrade() {
                let ended = Instant::now();
                if ended - begun > core.longest() {
                    core.looked_up(Lookup { begun, ended, is_hit: false });
                }
            }
            work();
        };
        self.lane.try_submit(Box::new(timed))
    }

    fn look_up(self: &Arc<Self>, key: &Key) -> Result<Vec<Arc<StoredResponse>>, StoreError> {
        let read = self.read(key.as_str(), &self.names(key.as_str()), None)?;
        let Value::Responses { position, responses } = read.value else {
            return Ok(Vec::new());
        };
        if position < read.floor {
            return Ok(Vec::new());
        }
        let found = judged(key.as_str(), &responses, position, &read.purges);
        Ok(found.into_iter().map(|response| Arc::new(self.with_remote(&response))).collect())
    }

    fn with_remote(self: &Arc<Self>, response: &StoredResponse) -> StoredResponse {
        let (length, core) = (response.body_length() as u64, Arc::clone(self));
        let source = Arc::new(Received { body: response.body().clone(), core });
        // The numbers of another process mean nothing here: an invalidation that is not in Redis yet covers the response.
        response.clone().with_remote(RemoteBody { length, source, tier: super::NAME }).with_sequence(OLDEST)
    }

    /// The response with a copy of its body that owns no more memory than it shows.
    pub(super) fn load(&self, response: &StoredResponse) -> Result<StoredResponse, StoreError> {
        let Some(remote) = response.remote() else { return Ok(response.clone()) };
        Ok(response.with_body(self.read_all(remote)?))
    }

    pub(super) fn read_all(&self, remote: &RemoteBody) -> Result<Pieces, StoreError> {
        let mut pieces = Vec::new();
        let mut read = 0;
        while read < remote.length {
            let most = usize::try_from(remote.length - read).unwrap_or(usize::MAX);
            let failed = |error| StoreError::new("a stored body cannot be read").with_source(error);
            let bytes = remote.source.read(read, most).map_err(failed)?;
            read += bytes.len() as u64;
            pieces.push(match self.ledger.get() {
                Some(ledger) => ledger.share(MemoryUse::Bodies, bytes),
                None => Bytes::from(bytes),
            });
        }
        Ok(pieces.into_iter().collect())
    }
}
