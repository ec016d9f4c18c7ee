//! Lists, verifies, reads and removes single responses, for operators.

use std::collections::VecDeque;
use std::io::{self, Read};
use std::sync::Arc;

use http::{HeaderMap, StatusCode};

use super::DiskStore;
use super::core::{Core, is_damage};
use super::head::decode;
use super::pending::Op;
use crate::message::digest::RunningDigest;
use crate::message::purge::{Purge, Purged};
use crate::policy::Variant;
use crate::store::{StoreError, StoredResponse, Tier, url_of};

/// How many rows are read at a time.
const CHUNK: usize = 64;

/// One response in a [`DiskStore`].
#[derive(Clone, Debug)]
pub struct DiskEntry {
    key: Box<str>,
    hash: u64,
    number: u64,
    response: Arc<StoredResponse>,
}

impl DiskEntry {
    /// Returns the URL of the response.
    #[must_use]
    pub fn url(&self) -> &str {
        self.response.url().unwrap_or_else(|| url_of(&self.key))
    }

    /// Whether the response is only for requests with one credential.
    #[must_use]
    pub fn is_partitioned(&self) -> bool {
        url_of(&self.key).len() < self.key.len()
    }

    /// Whether only a part of the body is stored, for example that of an interrupted transfer. Its `Content-Range` names the
    /// part.
    #[must_use]
    pub fn is_part(&self) -> bool {
        self.status() == StatusCode::PARTIAL_CONTENT
    }

    /// Returns the status.
    #[must_use]
    pub fn status(&self) -> StatusCode {
        self.response.status()
    }

    /// Returns the stored header fields.
    #[must_use]
    pub fn headers(&self) -> HeaderMap {
        self.response.headers()
    }

    /// Returns the request fields that select this response among the variants of its URL.
    #[must_use]
    pub fn variant(&self) -> &Variant {
        self.response.variant()
    }

    /// Returns the length of the body in bytes.
    #[must_use]
    pub fn body_length(&self) -> u64 {
        self.response.remote().map_or(0, |remote| remote.length)
    }

    /// Returns the SHA-256 of the body as it was stored, in hexadecimal digits.
    #[must_use]
    pub fn digest(&self) -> Option<String> {
        let digits = |byte: &u8| format!("{byte:02x}");
        self.response.digest().map(|digest| digest.as_bytes().iter().map(digits).collect())
    }

    /// Returns the response without its body: the times and flags that determine freshness, and the sequence.
    #[must_use]
    pub fn response(&self) -> &StoredResponse {
        &self.response
    }

    /// Returns a reader of the body. Each block is compared with its checksum.
    #[must_use]
    pub fn body(&self) -> impl Read + Send + use<> {
        EntryBody { response: Arc::clone(&self.response), at: 0, block: Box::default(), read: 0 }
    }
}

/// Reads a body on disk.
struct EntryBody {
    response: Arc<StoredResponse>,
    at: u64,
    block: Box<[u8]>,
    read: usize,
}

impl Read for EntryBody {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.read == self.block.len() {
            let Some(remote) = self.response.remote().filter(|remote| self.at < remote.length) else {
                return Ok(0);
            };
            self.block = remote.source.read(self.at, 1 << 20)?;
            self.read = 0;
            self.at += self.block.len() as u64;
        }
        let count = buffer.len().min(self.block.len() - self.read);
        buffer[..count].copy_from_slice(&self.block[self.read..self.read + count]);
        self.read += count;
        Ok(count)
    }
}

/// The responses in a [`DiskStore`], in no particular order: see [`DiskStore::entries`].
#[derive(Debug)]
pub struct DiskEntries {
    store: DiskStore,
    from: Option<u64>,
    read: VecDeque<DiskEntry>,
}

impl Iterator for DiskEntries {
    type Item = Result<DiskEntry, StoreError>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(entry) = self.read.pop_front() {
                return Some(Ok(entry));
            }
            let from = self.from?;
            let core = self.store.core();
            let rows = match core.index().and_then(|index| index.snapshot()?.rows(from, CHUNK)) {
                Ok(rows) => rows,
                Err(error) => {
                    self.from = None;
                    return Some(Err(error));
                }
            };
            self.from = rows.last().and_then(|(hash, _)| hash.checked_add(1)).filter(|_| rows.len() == CHUNK);
            self.read.extend(rows.iter().flat_map(|(hash, row)| entries(core, *hash, row)));
        }
    }
}

/// Returns the responses of a row. A damaged row is removed.
fn entries(core: &Arc<Core>, hash: u64, row: &[u8]) -> Vec<DiskEntry> {
    let Ok((key, heads)) = decode(row).inspect_err(|unreadable| core.report_row(hash, unreadable)) else {
        return Vec::new();
    };
    let entry = |head: super::head::Head| {
        let (key, number) = (key.as_str().into(), head.number);
        DiskEntry { key, hash, number, response: Arc::new(core.with_remote(hash, head, None)) }
    };
    heads.into_iter().map(entry).collect()
}

/// Functions for operators, which read the index and not memory: what was stored in the last second may be missing.
impl DiskStore {
    /// Returns all responses, without their bodies. Responses that are stored or removed during the iteration may be
    /// missing or included.
    ///
    /// ```
    /// use forwardcache::store::DiskStore;
    ///
    /// # let directory = tempfile::tempdir().unwrap();
    /// let store = DiskStore::open(directory.path())?;
    /// for entry in store.entries() {
    ///     let entry = entry?;
    ///     println!("{} {} {}", entry.status(), entry.body_length(), entry.url());
    /// }
    /// # Ok::<(), forwardcache::store::StoreError>(())
    /// ```
    #[must_use]
    pub fn entries(&self) -> DiskEntries {
        DiskEntries { store: self.clone(), from: Some(0), read: VecDeque::new() }
    }

    /// Returns the responses of a URL, which must be in its canonical form, with those for requests with a credential.
    ///
    /// # Errors
    ///
    /// [`StoreError`] if the index cannot be read.
    pub fn entries_of(&self, url: &str) -> Result<Vec<DiskEntry>, StoreError> {
        let core = self.core();
        let rows = core.index()?.snapshot()?.rows_of(core.hash(url))?;
        let of_rows = rows.iter().flat_map(|(hash, row)| entries(core, *hash, row));
        Ok(of_rows.filter(|entry| url_of(&entry.key) == url).collect())
    }

    /// Reads a body and compares it with its checksums and its digest. Returns false if it is missing or damaged; its
    /// key is then removed within a second, and the body is a miss until it is fetched again.
    ///
    /// # Errors
    ///
    /// [`StoreError`] if the disk fails.
    pub fn verify(&self, entry: &DiskEntry) -> Result<bool, StoreError> {
        let (mut body, mut buffer) = (entry.body(), vec![0; 256 << 10]);
        let mut digest = RunningDigest::new();
        loop {
            match body.read(&mut buffer) {
                Ok(0) => break,
                Ok(count) => digest.update(&buffer[..count]),
                Err(error) if is_damage(&error) => return Ok(false),
                Err(error) => return Err(StoreError::new("a body cannot be read").with_source(error)),
            }
        }
        // A part of a body may have no digest.
        let is_right = entry.response.digest().is_none_or(|stored| stored == digest.finish());
        if !is_right {
            let error = io::Error::new(io::ErrorKind::InvalidData, "a body does not match its digest");
            self.core().report_unreadable(entry.hash, entry.number, &error);
        }
        Ok(is_right)
    }

    /// Removes all responses of the entry's key. Returns whether there were any. The removal is on the disk when this
    /// returns, and other processes drop what they have of the URL in memory within a second.
    ///
    /// # Errors
    ///
    /// [`StoreError`] if the disk fails, or does not answer for a minute.
    pub fn remove_entry(&self, entry: &DiskEntry) -> Result<bool, StoreError> {
        let (hash, purge) = (entry.hash, Purge::of_key(url_of(&entry.key)));
        let removed = self.durably(hash, |done| Op::Remove { hash, purge, done: Some(done) })?;
        Ok(removed.responses > 0)
    }

    /// Removes the responses that a purge covers, with those for requests with a credential. The removal is on the disk when
    /// this returns, and other processes drop what they have in memory within a second.
    ///
    /// # Errors
    ///
    /// [`StoreError`] if the disk fails, or does not answer for a minute.
    pub fn purge(&self, purge: &Purge) -> Result<Purged, StoreError> {
        Tier::purge(self, purge)
    }

    /// Returns how many damaged responses this handle has found and removed since it was opened.
    #[must_use]
    pub fn damaged(&self) -> u64 {
        self.core().corrupt()
    }
}
