//! The database file of the index. It is opened for reading only until something has to be written: opening and closing a
//! database for writing waits for the disk several times.

use std::fmt;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use parking_lot::RwLock;
use redb::{
    Builder, Database, DatabaseError, ReadOnlyDatabase, ReadTransaction, ReadableDatabase, StorageError,
    TransactionError, WriteTransaction,
};

use super::directory::{FileId, create_private, file_id};
use crate::store::StoreError;

/// The memory of the database's page cache, in bytes.
const CACHE: usize = 16 << 20;

/// How long to wait for another process that opens the index or writes to it.
const BUSY: Duration = Duration::from_secs(10);

/// What a process may do with a directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Access {
    Write,
    ReadOnly,
}

/// The database, open for reading or for both.
pub(super) struct File {
    path: PathBuf,
    /// The file that is open.
    id: Option<FileId>,
    access: Access,
    handle: RwLock<Handle>,
}

enum Handle {
    Reader(ReadOnlyDatabase),
    Writer(Database),
}

impl File {
    /// Opens the database. With [`Access::Write`], it is created if it does not exist.
    pub(super) fn open(path: &Path, access: Access) -> Result<Self, StoreError> {
        let own = path.to_owned();
        let handle = within_bound(move || match open_reader(&own) {
            Ok(reader) => Ok(Handle::Reader(reader)),
            Err(error) if access == Access::ReadOnly => Err(error),
            Err(_) => open_writer(&own).map(Handle::Writer),
        })?;
        let id = file_id(path);
        Ok(Self { path: path.to_owned(), id, access, handle: RwLock::new(handle) })
    }

    /// Returns the identity of the file that is open.
    pub(super) fn id(&self) -> Option<FileId> {
        self.id
    }

    /// Whether the file that is open still has its name.
    pub(super) fn is_in_place(&self) -> bool {
        self.id.is_some() && file_id(&self.path) == self.id
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Whether it is open for writing.
    pub(super) fn is_writing(&self) -> bool {
        matches!(*self.handle.read(), Handle::Writer(_))
    }

    pub(super) fn begin_read(&self) -> Result<ReadTransaction, StoreError> {
        match &*self.handle.read() {
            Handle::Reader(database) => database.begin_read(),
            Handle::Writer(database) => database.begin_read(),
        }
        .map_err(failed)
    }

    /// Waits for the transactions of other processes, for some seconds.
    pub(super) fn begin_write(&self) -> Result<WriteTransaction, StoreError> {
        if self.access == Access::ReadOnly {
            return Err(StoreError::new("it is open for reading only"));
        }
        if !self.is_writing() {
            let path = self.path.clone();
            let writer = within_bound(move || open_writer(&path))?;
            if !self.is_in_place() {
                return Err(StoreError::new("its index was removed"));
            }
            *self.handle.write() = Handle::Writer(writer);
        }
        let until = Instant::now() + BUSY;
        loop {
            let begun = match &*self.handle.read() {
                Handle::Writer(database) => database.try_begin_write(),
                Handle::Reader(_) => return Err(StoreError::new("the index is not open for writing")),
            };
            match begun {
                Err(TransactionError::WouldBlock) if Instant::now() < until => {
                    thread::sleep(Duration::from_millis(1));
                }
                Err(TransactionError::WouldBlock) => return Err(busy()),
                begun => return begun.map_err(failed),
            }
        }
    }
}

/// Opens the database on a thread of its own: it waits without a limit if another process stops while it repairs the index.
fn within_bound<T: Send + 'static>(
    open: impl FnOnce() -> Result<T, StoreError> + Send + 'static,
) -> Result<T, StoreError> {
    let (send, opened) = mpsc::channel();
    thread::Builder::new()
        .name("storage-open".to_owned())
        .spawn(move || send.send(guarded(open)))
        .map_err(|error| StoreError::new("no thread can be started").with_source(error))?;
    opened.recv_timeout(BUSY).unwrap_or_else(|_| Err(busy()))
}

fn open_reader(path: &Path) -> Result<ReadOnlyDatabase, StoreError> {
    builder().open_read_only(path).map_err(refused)
}

fn open_writer(path: &Path) -> Result<Database, StoreError> {
    create_private(path)
        .map_err(|error| StoreError::new("its index cannot be created").with_source(error))?;
    builder().create(path).map_err(refused)
}

fn builder() -> Builder {
    let mut builder = Database::builder();
    builder.set_cache_size(CACHE);
    #[cfg(unix)]
    builder.set_concurrency_mode(redb::ConcurrencyMode::MultiWriter);
    builder
}

fn refused(error: DatabaseError) -> StoreError {
    match error {
        DatabaseError::DatabaseAlreadyOpen | DatabaseError::LockProtocolMismatch => {
            StoreError::new("a process of another version uses it")
        }
        DatabaseError::UpgradeRequired(version) => {
            StoreError::new(format!("its index has the old format {version} of redb"))
        }
        DatabaseError::RepairAborted => {
            StoreError::new("its last process was killed: a process that may write to it has to open it once")
        }
        DatabaseError::Storage(StorageError::Corrupted(text)) => damaged(&text),
        DatabaseError::Storage(StorageError::Io(error)) if is_damage(&error) => damaged(&error),
        error => StoreError::new("its index cannot be opened").with_source(error),
    }
}

/// Whether the file is shorter than it says, or of another kind.
fn is_damage(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::UnexpectedEof | io::ErrorKind::InvalidData)
}

fn damaged(cause: &impl fmt::Display) -> StoreError {
    StoreError::new(format!("its index is damaged ({cause}): remove the directory"))
}

fn busy() -> StoreError {
    StoreError::new(format!("another process has held its index for {} s", BUSY.as_secs()))
}

/// Turns a panic of the database, which a damaged file may cause, into an error.
pub(super) fn guarded<T>(work: impl FnOnce() -> Result<T, StoreError>) -> Result<T, StoreError> {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|_| Err(damaged(&"it cannot be read")))
}

pub(super) fn failed(error: impl Into<redb::Error>) -> StoreError {
    match error.into() {
        redb::Error::Corrupted(text) => damaged(&text),
        redb::Error::Io(error) if is_damage(&error) => damaged(&error),
        error => StoreError::new("the index on disk failed").with_source(error),
    }
}
