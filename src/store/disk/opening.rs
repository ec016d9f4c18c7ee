//! Opens a directory, for reading and writing or for reading only.

use std::hash::{BuildHasher, RandomState};
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::thread;

use parking_lot::Mutex;

use super::core::Core;
use super::database::Access;
use super::directory::{check_owner, make};
use super::index::Index;
use super::process::{self, Process};
use super::{DiskStore, Open, writer};
use crate::store::StoreError;

impl DiskStore {
    /// Opens the store of a directory, which is made if it is not there. It takes up to 1 GiB.
    ///
    /// # Errors
    ///
    /// [`StoreError`] if the directory cannot be created or written to, belongs to another user or can be
    /// written to by all, has a format that this version does not read, or is held by a stopped process for 10 seconds. Its content stays as it is.
    pub fn open(directory: impl AsRef<Path>) -> Result<Self, StoreError> {
        let directory = directory.as_ref();
        let open = || {
            make(directory).map_err(failed("the directory cannot be made"))?;
            let process = Process::register(directory).map_err(failed("it cannot be written to"))?;
            if let Err(error) = check_owner(directory, process.metadata()) {
                drop(process);
                // A directory that is refused stays as it was.
                let _ = process::remove_folder(directory);
                return Err(error);
            }
            make(&directory.join("bodies")).map_err(failed("it cannot be written to"))?;
            let core = open_core(directory, process, Access::Write)?;
            let waking = Arc::downgrade(&core);
            core.space.set_wake(move || {
                if let Some(core) = waking.upgrade() {
                    core.pending.hurry();
                }
            });
            let own = Arc::clone(&core);
            let writer = thread::Builder::new()
                .name("storage-writer".to_owned())
                .spawn(move || writer::run(&own))
                .map_err(failed("no thread can be started"))?;
            Ok(Self { open: Arc::new(Open { core, writer: Mutex::new(Some(writer)) }) })
        };
        open().map_err(|error| told(directory, &error))
    }

    /// Opens the store of an existing directory for reading only, for example on a file system that is mounted read-only.
    ///
    /// Nothing in the directory is changed: nothing is stored, removals fail, damaged entries stay, and uses do not count for
    /// eviction. Other processes may write to it at the same time.
    ///
    /// # Errors
    ///
    /// [`StoreError`] if the directory cannot be read, contains no store, belongs to another user (except root), has a format
    /// that this version does not read, or needs a repair.
    pub fn open_read_only(directory: impl AsRef<Path>) -> Result<Self, StoreError> {
        let directory = directory.as_ref();
        let open = || {
            check_owner(directory, None)?;
            let core = open_core(directory, Process::unregistered(), Access::ReadOnly)?;
            core.pending.close();
            Ok(Self { open: Arc::new(Open { core, writer: Mutex::default() }) })
        };
        open().map_err(|error| told(directory, &error))
    }
}

fn open_core(directory: &Path, process: Process, access: Access) -> Result<Arc<Core>, StoreError> {
    let random = RandomState::new();
    let salt = [random.hash_one(0), random.hash_one(1)];
    let (index, meta) = Index::open(&directory.join("index.redb"), salt, access)?;
    Ok(Arc::new(Core::new(directory.to_owned(), process, index, meta, access)))
}

fn failed(what: &'static str) -> impl Fn(io::Error) -> StoreError {
    move |error| StoreError::new(format!("{what}: {error}"))
}

fn told(directory: &Path, error: &StoreError) -> StoreError {
    StoreError::new(format!("cannot use the store {}: {error:#}", directory.display()))
}
