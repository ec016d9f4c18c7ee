//! Looks up the responses of a key, and loads their bodies.

use std::io;
use std::sync::{Arc, OnceLock};

use bytes::Bytes;

use super::core::{Core, SMALL, small_body};
use super::head::{Head, Place};
use super::part::is_kept;
use super::pending::{Body, Op, Put};
use super::stored_body::{Content, StoredBody};
use crate::base::memory_limit::MemoryUse;
use crate::message::digest::Digest;
use crate::message::pieces::Pieces;
use crate::message::stored_bytes::StoredBytes;
use crate::store::{Key, RemoteBody, StoreError, StoredResponse, Variants};

impl Core {
    /// Returns the responses of a key without reading the disk, if they are at hand and no change of the key is pending.
    pub(super) fn find_now(&self, key: &str) -> Option<Variants> {
        let hash = self.hash(key);
        let found = self.at_hand.get(hash, key).filter(|_| !self.pending.has(hash))?;
        self.known.lock().note_use(hash);
        Some(found)
    }

    /// Finds the responses of a key, the newest first.
    pub(super) fn find(self: &Arc<Self>, key: &Key) -> Result<Vec<Arc<StoredResponse>>, StoreError> {
        if let Some(found) = self.find_now(key.as_str()) {
            return Ok(found.to_vec());
        }
        let hash = self.hash(key.as_str());
        let changes = self.at_hand.changes();
        // Pending changes are read before the row, so that none is missed that is committed in between.
        let pending = self.pending.of(hash);
        let snapshot = self.index()?.snapshot()?;
        let row = snapshot.row(hash)?;
        let mut heads = row.and_then(|row| self.readable(hash, key.as_str(), &row)).unwrap_or_default();
        let is_discarded = |head: &Head| {
            let of = |op: &Arc<Op>| matches!(**op, Op::Discard { number, .. } if number == Some(head.number));
            pending.iter().any(of)
        };
        heads.retain(|head| !is_discarded(head));
        let are_files = pending.is_empty() && heads.iter().all(|head| head.place == Place::File);
        // A snapshot takes longer than a lookup in it: a single small body, which is most likely needed, is read with its row.
        let small = match heads.as_slice() {
            [head] if head.place == Place::Index => small_body(&snapshot, head.number, head.length).ok(),
            _ => None,
        };
        drop(snapshot);
        let mut found: Vec<Arc<StoredResponse>> =
            heads.into_iter().map(|head| Arc::new(self.with_remote(hash, head, small.clone()))).collect();
        for op in pending {
            match &*op {
                Op::Put(put) if put.key == *key => merge(&mut found, put),
                Op::Remove { .. } => found.clear(),
                Op::Put(_) | Op::Discard { .. } | Op::Purge { .. } => {}
            }
        }
        if !found.is_empty() {
            self.known.lock().note_use(hash);
        }
        if let Some(ledger) = self.ledger.get().filter(|_| are_files && !found.is_empty()) {
            self.at_hand.keep(changes, hash, key.as_str(), found.as_slice().into(), ledger);
        }
        Ok(found)
    }

    /// Adds the body to a head. `small` is a body in the index, if it was read.
    pub(super) fn with_remote(
        self: &Arc<Self>,
        hash: u64,
        head: Head,
        small: Option<Bytes>,
    ) -> StoredResponse {
        let Head { number, place, length, response, .. } = head;
        let content = match place {
            Place::Index => Content::Index(small),
            Place::File => Content::File(OnceLock::new()),
        };
        let core = Arc::clone(self);
        let source: Arc<dyn StoredBytes> = Arc::new(StoredBody { core, hash, number, length, content });
        response.with_remote(RemoteBody { length, source, tier: super::NAME })
    }

    /// Reads the body of a response into memory, and compares it with its digest the first time.
    pub(super) fn load(&self, key: &Key, response: &StoredResponse) -> Result<StoredResponse, StoreError> {
        let Some(remote) = response.remote() else { return Ok(response.clone()) };
        let hash = self.hash(key.as_str());
        let length = usize::try_from(remote.length).unwrap_or(usize::MAX);
        let mut pieces = Vec::new();
        let mut read = 0;
        while read < length {
            let bytes = remote
                .source
                .read(read as u64, (length - read).min(1 << 20))
                .map_err(|error| StoreError::new("a body on disk cannot be read").with_source(error))?;
            read += bytes.len();
            // A small body is counted with its head.
            pieces.push(match self.ledger.get().filter(|_| remote.length > SMALL) {
                Some(ledger) => ledger.share(MemoryUse::Bodies, bytes),
                None => Bytes::from(bytes.into_vec()),
            });
        }
        let body: Pieces = pieces.into_iter().collect();
        if !self.known.lock().is_checked(hash) {
            if response.digest().is_some_and(|digest| digest != Digest::of_pieces(&body)) {
                let error = io::Error::new(io::ErrorKind::InvalidData, "a body does not match its digest");
                let row = self.index()?.row(hash)?;
                let heads = row.and_then(|row| self.readable(hash, key.as_str(), &row)).unwrap_or_default();
                if let Some(head) = heads.iter().find(|head| head.response.digest() == response.digest()) {
                    self.report_unreadable(hash, head.number, &error);
                }
                return Err(StoreError::new("a body on disk is not the one that was stored"));
            }
            self.known.lock().set_checked(hash);
        }
        Ok(response.with_body(body))
    }
}

/// Merges a response that waits to be written with the responses in the index.
fn merge(found: &mut Vec<Arc<StoredResponse>>, put: &Put) {
    let same = found.iter().position(|old| old.variant() == put.response.variant());
    let is_outdated = |old: &StoredResponse| {
        old.sequence() > put.response.sequence() || is_kept((old, old.body_length() as u64), &put.response)
    };
    if same.is_some_and(|at| is_outdated(&found[at])) {
        return;
    }
    if matches!(put.body, Body::Unchanged) && same.is_none() {
        return;
    }
    if let Some(at) = same {
        found.remove(at);
    }
    found.insert(0, Arc::clone(&put.response));
}
