//! The processes that have the directory open. Each has a file under `processes`, locked as long as the process lives.
//!
//! The name of the file is the first part of the numbers of the bodies that the process writes. If a process is killed,
//! the lock is released, and another process removes the bodies that it did not finish.

use std::fs::{self, File, Metadata};
use std::hash::{BuildHasher, RandomState};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;

use super::directory::make;

/// How many bits of a body's number are counted by its process.
const COUNTED: u32 = 24;

/// This process, for one directory.
pub(super) struct Process {
    /// Its file, which is locked. A process that only reads has none.
    registration: Option<Registration>,
    id: u64,
    bodies: AtomicU64,
}

struct Registration {
    path: PathBuf,
    file: Mutex<File>,
}

/// A process that ended without a clean close.
pub(super) struct Dead {
    path: PathBuf,
    /// Locked, so that only one process cleans up.
    _file: File,
    pub(super) id: u64,
}

impl Process {
    /// Registers this process.
    pub(super) fn register(directory: &Path) -> io::Result<Self> {
        make(&folder_in(directory))?;
        loop {
            let id = RandomState::new().hash_one(()) >> COUNTED;
            let path = path_in(directory, id);
            if let Some(file) = lock_new(&path)? {
                let registration = Some(Registration { path, file: Mutex::new(file) });
                return Ok(Self { registration, id, bodies: AtomicU64::new(0) });
            }
        }
    }

    /// Registers this process again if its file was removed.
    pub(super) fn restore(&self, directory: &Path) -> io::Result<()> {
        let Some(Registration { path, file }) = &self.registration else { return Ok(()) };
        if path.exists() {
            return Ok(());
        }
        make(&folder_in(directory))?;
        if let Some(new) = lock_new(path)? {
            *file.lock() = new;
        }
        Ok(())
    }

    /// A process that only reads.
    pub(super) fn unregistered() -> Self {
        let id = RandomState::new().hash_one(()) >> COUNTED;
        Self { registration: None, id, bodies: AtomicU64::new(0) }
    }

    pub(super) fn id(&self) -> u64 {
        self.id
    }

    /// Returns the metadata of the file of this process, which show the user that files here belong to.
    pub(super) fn metadata(&self) -> Option<io::Result<Metadata>> {
        self.registration.as_ref().map(|registration| registration.file.lock().metadata())
    }

    /// Returns a number for a body, which is seldom in use.
    pub(super) fn next_body(&self) -> u64 {
        let count = self.bodies.fetch_add(1, Ordering::Relaxed) & ((1 << COUNTED) - 1);
        self.id << COUNTED | count
    }

    /// Finds processes that ended without a clean close.
    pub(super) fn find_dead(&self, directory: &Path) -> Vec<Dead> {
        let files = fs::read_dir(folder_in(directory)).into_iter().flatten().flatten();
        let ids = files.filter_map(|file| u64::from_str_radix(file.file_name().to_str()?, 16).ok());
        let dead = ids.filter(|id| *id != self.id).filter_map(|id| {
            let path = path_in(directory, id);
            let file = File::options().write(true).open(&path).ok()?;
            try_lock(&file).ok()?.then_some(Dead { path, _file: file, id })
        });
        dead.collect()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if let Some(registration) = &self.registration {
            let _ = fs::remove_file(&registration.path);
        }
    }
}

impl Dead {
    /// Whether the process wrote the body of this number.
    pub(super) fn wrote(&self, number: u64) -> bool {
        number >> COUNTED == self.id
    }

    /// Forgets the process, when nothing is left of it.
    pub(super) fn forget(self) {
        let _ = fs::remove_file(&self.path);
    }
}

/// Creates a file and locks it; `None` if it exists.
fn lock_new(path: &Path) -> io::Result<Option<File>> {
    let file = match File::options().write(true).create_new(true).open(path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => return Ok(None),
        file => file?,
    };
    // Another process may have seen the file without its lock, and removed it.
    Ok((try_lock(&file)? && path.exists()).then_some(file))
}

/// Whether a process is registered.
pub(super) fn is_registered(directory: &Path, id: u64) -> bool {
    path_in(directory, id).exists()
}

fn path_in(directory: &Path, id: u64) -> PathBuf {
    folder_in(directory).join(format!("{id:010x}"))
}

fn folder_in(directory: &Path) -> PathBuf {
    directory.join("processes")
}

/// Removes the folder of the processes if no process is registered.
pub(super) fn remove_folder(directory: &Path) -> io::Result<()> {
    fs::remove_dir(folder_in(directory))
}

/// Locks a file until it is closed. Returns false if another process has locked it.
#[cfg(unix)]
pub(super) fn try_lock(file: &File) -> io::Result<bool> {
    use rustix::fs::{FlockOperation, flock};
    match flock(file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(true),
        Err(rustix::io::Errno::WOULDBLOCK) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// Only one process at a time has the index open there, so any other is dead.
#[cfg(not(unix))]
#[allow(clippy::unnecessary_wraps)]
pub(super) fn try_lock(_: &File) -> io::Result<bool> {
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn process_is_dead_when_its_lock_is_released_without_a_clean_close() {
        let folder = tempfile::tempdir().unwrap();
        let one = Process::register(folder.path()).unwrap();
        let two = Process::register(folder.path()).unwrap();
        assert_ne!(one.next_body(), one.next_body());
        assert!(one.id() != two.id() && one.find_dead(folder.path()).is_empty());
        let id = two.id();
        let number = two.next_body();
        drop(two);
        assert!(!is_registered(folder.path(), id) && one.find_dead(folder.path()).is_empty());
        fs::write(path_in(folder.path(), id), "").unwrap();
        let mut dead = one.find_dead(folder.path());
        assert!(one.find_dead(folder.path()).is_empty(), "only one process cleans up");
        let dead = dead.pop().unwrap();
        assert!(dead.wrote(number) && !dead.wrote(one.next_body()));
        dead.forget();
        assert!(!is_registered(folder.path(), id) && is_registered(folder.path(), one.id()));
    }
}
