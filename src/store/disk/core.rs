//! The state that the threads of a store on disk share.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use parking_lot::{Mutex, RwLock};

use super::at_hand::AtHand;
use super::database::Access;
use super::directory::{FileId, hash};
use super::growing::Growing;
use super::head::{Head, Place, Unreadable, decode};
use super::index::{Index, Meta, Snapshot};
use super::known::Known;
use super::open_bodies::OpenBodies;
use super::pending::{Op, Pending};
use super::process::Process;
use super::space::{KIB, Space};
use crate::base::memory_limit::Ledger;
use crate::metrics::Watcher;
use crate::store::lane::Lane;
use crate::store::tier::TierListener;
use crate::store::trouble::Trouble;
use crate::store::{StoreError, StoreKey};

/// The largest body that is stored in the index, in bytes.
pub(super) const SMALL: u64 = 16 << 10;

/// The length of its checksum, which precedes it, in bytes.
const CHECKSUM: usize = 4;

pub(super) struct Core {
    pub(super) directory: PathBuf,
    pub(super) access: Access,
    /// `None` while the disk fails.
    pub(super) index: RwLock<Option<Arc<Index>>>,
    pub(super) process: Process,
    pub(super) salt: [u64; 2],
    /// Keeps the entries of credentials apart. Without it they are not written.
    pub(super) key: OnceLock<StoreKey>,
    /// The state of the directory at the last commit or synchronization.
    pub(super) meta: Mutex<Meta>,
    /// The file of the index that was opened last.
    pub(super) index_file: Mutex<Option<FileId>>,
    /// The number of the last invalidation of another process that this one has applied.
    pub(super) applied: AtomicU64,
    pub(super) listeners: Mutex<Vec<TierListener>>,
    pub(super) is_closing: AtomicBool,
    pub(super) lane: Arc<Lane>,
    pub(super) known: Mutex<Known>,
    pub(super) at_hand: AtHand,
    pub(super) pending: Pending,
    pub(super) space: Space,
    pub(super) growing: Growing,
    pub(super) open_bodies: Arc<OpenBodies>,
    pub(super) trouble: Trouble,
    pub(super) ledger: OnceLock<Arc<Ledger>>,
    /// The capacity that the operator set, until it is written to the index; zero otherwise.
    pub(super) set_capacity: AtomicU64,
    pub(super) max_body: AtomicU64,
    pub(super) sequence: AtomicU64,
    pub(super) evictions: AtomicU64,
    pub(super) watcher: OnceLock<Watcher>,
    pub(super) skipped: AtomicU64,
    corrupt: AtomicU64,
}

impl Core {
    pub(super) fn new(
        directory: PathBuf,
        process: Process,
        index: Index,
        meta: Meta,
        access: Access,
    ) -> Self {
        Self {
            directory,
            access,
            index_file: Mutex::new(index.id()),
            index: RwLock::new(Some(Arc::new(index))),
            process,
            salt: meta.salt,
            key: OnceLock::new(),
            meta: Mutex::new(meta),
            applied: AtomicU64::new(meta.invalidations),
            listeners: Mutex::default(),
            is_closing: AtomicBool::new(false),
            lane: Arc::default(),
            known: Mutex::default(),
            at_hand: AtHand::default(),
            pending: Pending::default(),
            space: Space::default(),
            growing: Growing::default(),
            open_bodies: Arc::default(),
            trouble: Trouble::of("the store on disk"),
            ledger: OnceLock::new(),
            set_capacity: AtomicU64::new(0),
            max_body: AtomicU64::new(u64::MAX),
            sequence: AtomicU64::new(meta.sequence),
            evictions: AtomicU64::new(0),
            watcher: OnceLock::new(),
            skipped: AtomicU64::new(0),
            corrupt: AtomicU64::new(0),
        }
    }

    pub(super) fn index(&self) -> Result<Arc<Index>, StoreError> {
        let index = self.index.read().clone();
        index.ok_or_else(|| StoreError::new("the store on disk cannot be used at the moment"))
    }

    pub(super) fn hash(&self, key: &str) -> u64 {
        hash(self.salt, key)
    }

    /// Whether responses for single credentials may be in the directory.
    pub(super) fn may_have_partitions(&self) -> bool {
        self.key.get().is_some() || self.meta.lock().partitions > 0
    }

    /// Returns the size limit in bytes: the one that was set last, by any process.
    pub(super) fn capacity(&self) -> u64 {
        let set = [self.set_capacity.load(Ordering::Relaxed), self.meta.lock().capacity];
        set.into_iter().find(|bytes| *bytes > 0).unwrap_or(super::CAPACITY)
    }

    pub(super) fn max_body(&self) -> u64 {
        self.max_body.load(Ordering::Relaxed).min(self.capacity() / 2)
    }

    pub(super) fn file_of(&self, number: u64) -> PathBuf {
        file_in(&self.directory, number)
    }

    /// Creates the file of a new body, and returns its number.
    pub(super) fn create_file(&self) -> io::Result<(u64, File)> {
        let create = || loop {
            let number = self.process.next_body();
            let path = self.file_of(number);
            match File::options().read(true).write(true).create_new(true).open(&path) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    fs::create_dir_all(path.parent().unwrap_or(&self.directory))?;
                }
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                created => return created.map(|file| (number, file)),
            }
        };
        create().inspect_err(|error| self.trouble.report("write", error))
    }

    /// Returns the heads of a row if the row belongs to this key.
    pub(super) fn readable(&self, hash: u64, key: &str, row: &[u8]) -> Option<Vec<Head>> {
        match decode(row) {
            Ok((of, heads)) => (of == key).then_some(heads),
            Err(unreadable) => {
                self.report_row(hash, &unreadable);
                None
            }
        }
    }

    /// Reports a row that cannot be read. A damaged one is removed.
    pub(super) fn report_row(&self, hash: u64, unreadable: &Unreadable) {
        self.trouble.report("read a row", unreadable);
        if matches!(unreadable, Unreadable::Damaged(_)) {
            self.discard(hash, None);
        }
    }

    /// Reads a body in the index.
    pub(super) fn small_body(&self, number: u64, length: u64) -> io::Result<Bytes> {
        let snapshot = self.index().and_then(|index| index.snapshot()).map_err(io::Error::other)?;
        small_body(&snapshot, number, length)
    }

    /// Reports a body that could not be read. If it is missing or damaged, its key is removed.
    pub(super) fn report_unreadable(&self, hash: u64, number: u64, error: &io::Error) {
        self.trouble.report("read", error);
        if is_damage(error) {
            self.discard(hash, Some(number));
        }
    }

    /// Removes a key that still has the body of this number, or whose row is damaged.
    pub(super) fn discard(&self, hash: u64, number: Option<u64>) {
        self.corrupt.fetch_add(1, Ordering::Relaxed);
        self.pending.push(hash, Op::Discard { hash, number });
    }

    pub(super) fn corrupt(&self) -> u64 {
        self.corrupt.load(Ordering::Relaxed)
    }
}

/// Whether an error of a body states that it is missing or not what was written.
pub(super) fn is_damage(error: &io::Error) -> bool {
    use io::ErrorKind::{InvalidData, NotFound, UnexpectedEof};
    matches!(error.kind(), InvalidData | UnexpectedEof | NotFound)
}

/// Reads a body in the index, and compares it with its checksum.
pub(super) fn small_body(snapshot: &Snapshot, number: u64, length: u64) -> io::Result<Bytes> {
    let framed = snapshot.body(number).map_err(io::Error::other)?.ok_or(io::ErrorKind::NotFound)?;
    let is_right = framed.split_first_chunk().is_some_and(|(sum, body)| {
        *sum == small_checksum(number, body).to_be_bytes() && body.len() as u64 == length
    });
    if !is_right {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "a body does not match its checksum"));
    }
    Ok(Bytes::from(framed).slice(CHECKSUM..))
}

/// Returns the checksum of a small body. It covers the number, as the checksums of blocks do.
pub(super) fn small_checksum(number: u64, body: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&number.to_be_bytes());
    hasher.update(body);
    hasher.finalize()
}

pub(super) fn file_in(directory: &Path, number: u64) -> PathBuf {
    directory.join("bodies").join(format!("{:02x}", number & 0xff)).join(format!("{number:016x}"))
}

/// Returns the size of the row and the bodies of a key, in KiB. Data in the index counts twice: its pages are seldom full,
/// and are copied when they change.
pub(super) fn charge(row: usize, heads: &[Head]) -> u32 {
    let of = |head: &Head| match head.place {
        Place::File => file_charge(head) * KIB,
        Place::Index => 2 * (head.length + 64),
    };
    let bytes = 2 * (row as u64 + 256) + heads.iter().map(of).sum::<u64>();
    u32::try_from(bytes.div_ceil(KIB)).unwrap_or(u32::MAX)
}

/// Returns the size of the file of a body, in KiB; 0 if it is in the index.
pub(super) fn file_charge(head: &Head) -> u64 {
    match head.place {
        Place::File => super::body_file::file_length(head.length).next_multiple_of(4096) / KIB,
        Place::Index => 0,
    }
}
