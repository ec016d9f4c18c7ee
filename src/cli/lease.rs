//! Leases: of several processes that fetch one URL at the same time, one fetches, and the others wait for its response.
//!
//! A lease is an advisory lock on a file of the store's directory. Its name is the SHA-256 of the URL. The system releases
//! the lock when its holder dies. The file's modification time shows when the holder made progress last. If the
//! response may not be shared, the holder writes that into the file, and the others fetch on their own.

use std::fs::{self, DirBuilder, File, Metadata, TryLockError};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

/// How long others wait for a holder that makes no progress.
const PATIENCE: Duration = Duration::from_secs(30);

/// How long a process waits at least. A new holder needs a moment to update the file of an earlier one.
const LEAST: Duration = Duration::from_secs(1);

/// How long processes fetch without a lease after a response that may not be shared.
const UNSHARED: Duration = Duration::from_secs(10);

/// The age at which a file without a lock is removed.
const OLD: Duration = Duration::from_secs(600);

/// How many files are examined for removal at a time.
const EXAMINED: usize = 64;

/// The shortest and the longest pause between two attempts.
const PAUSES: [Duration; 2] = [Duration::from_millis(2), Duration::from_millis(50)];

/// The right to fetch a URL for all processes. Dropping it passes the right to the next one.
pub(super) struct Lease {
    file: File,
    path: PathBuf,
    touched: Instant,
}

impl Lease {
    /// Waits until this process may fetch the URL for all. Returns `None` if it has to fetch without a lease: the response may
    /// not be shared, the holder makes no progress, or the deadline has passed.
    pub(super) fn acquire(store: &Path, url: &str, until: Option<Instant>) -> io::Result<Option<Self>> {
        let (begun, mut pause) = (Instant::now(), PAUSES[0]);
        loop {
            let lease = Self::open(store, url)?;
            let now = SystemTime::now();
            if lease.is_unshared(now)? {
                return Ok(None);
            }
            match lease.file.try_lock() {
                // The last holder may have removed the file since it was opened.
                Ok(()) if !is_same(&lease.file.metadata()?, &lease.path) => continue,
                Ok(()) => {
                    lease.file.set_len(0)?;
                    lease.file.set_modified(now)?;
                    remove_old(store, now);
                    return Ok(Some(lease));
                }
                Err(TryLockError::WouldBlock) => {}
                Err(TryLockError::Error(error)) => return Err(error),
            }
            let is_stuck = begun.elapsed() >= LEAST && since(&lease.file.metadata()?, now)? > PATIENCE;
            if is_stuck || until.is_some_and(|until| until <= Instant::now()) {
                return Ok(None);
            }
            let left = until.map_or(pause, |until| until.saturating_duration_since(Instant::now()));
            thread::sleep(pause.min(left));
            pause = (pause * 2).min(PAUSES[1]);
        }
    }

    /// Returns the lease of a URL if no process has it.
    pub(super) fn try_acquire(store: &Path, url: &str) -> io::Result<Option<Self>> {
        let lease = Self::open(store, url)?;
        Ok(lease.file.try_lock().is_ok().then_some(lease))
    }

    fn open(store: &Path, url: &str) -> io::Result<Self> {
        let folder = folder(store);
        let digest = ring::digest::digest(&ring::digest::SHA256, url.as_bytes());
        let path = folder.join(super::manifest::hexadecimal(digest.as_ref()));
        let open = || File::options().create(true).truncate(false).read(true).write(true).open(&path);
        let file = open().or_else(|error| match error.kind() {
            io::ErrorKind::NotFound => make_private(&folder).and_then(|()| open()),
            _ => Err(error),
        })?;
        Ok(Self { file, path, touched: Instant::now() })
    }

    fn is_unshared(&self, now: SystemTime) -> io::Result<bool> {
        let metadata = self.file.metadata()?;
        Ok(metadata.len() > 0 && since(&metadata, now)? < UNSHARED)
    }

    /// Shows the others that the fetch makes progress.
    pub(super) fn touch(&mut self) {
        if self.touched.elapsed() > PATIENCE / 8 {
            self.touched = Instant::now();
            // Without it the others fetch on their own.
            let _ = self.file.set_modified(SystemTime::now());
        }
    }

    /// Makes the others fetch on their own.
    pub(super) fn give_up(mut self) {
        // Without it the next one gets the lease.
        let _ = self.file.write_all(b"not shared\n");
    }

    /// Ends the lease after the response was stored.
    pub(super) fn finish(self) {
        // A file that remains is removed when it is old.
        let _ = fs::remove_file(&self.path);
    }
}

/// Creates a directory that only this user can use. Whoever can open a file can lock it.
fn make_private(folder: &Path) -> io::Result<()> {
    let mut builder = DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(folder)
}

fn folder(store: &Path) -> PathBuf {
    store.join("leases")
}

/// Returns the time since a file was last modified. It is zero if the clock was set back.
fn since(file: &Metadata, now: SystemTime) -> io::Result<Duration> {
    Ok(now.duration_since(file.modified()?).unwrap_or_default())
}

/// Returns whether the path still names the open file.
#[cfg(unix)]
pub(super) fn is_same(open: &Metadata, path: &Path) -> bool {
    use std::os::unix::fs::MetadataExt;
    fs::metadata(path).is_ok_and(|named| (named.dev(), named.ino()) == (open.dev(), open.ino()))
}

#[cfg(not(unix))]
pub(super) fn is_same(_: &Metadata, path: &Path) -> bool {
    path.exists()
}

/// Removes files of processes that were killed, and of responses that could not be shared.
fn remove_old(store: &Path, now: SystemTime) {
    for entry in fs::read_dir(folder(store)).into_iter().flatten().flatten().take(EXAMINED) {
        let is_old = entry.metadata().and_then(|file| since(&file, now)).is_ok_and(|age| age > OLD);
        let file = is_old.then(|| File::open(entry.path()).ok()).flatten();
        // A failure leaves the file for another time.
        if file.is_some_and(|file| file.try_lock().is_ok()) {
            let _ = fs::remove_file(entry.path());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const URL: &str = "http://host/";

    fn soon() -> Option<Instant> {
        Some(Instant::now() + Duration::from_millis(20))
    }

    fn age(store: &Path, by: Duration) {
        for entry in fs::read_dir(folder(store)).unwrap() {
            let file = File::options().write(true).open(entry.unwrap().path()).unwrap();
            file.set_modified(SystemTime::now() - by).unwrap();
        }
    }

    #[test]
    fn one_of_several_gets_the_lease_and_the_next_one_after_its_end() {
        let store = tempfile::tempdir().unwrap();
        let lease = Lease::acquire(store.path(), URL, None).unwrap().unwrap();
        assert!(Lease::acquire(store.path(), URL, soon()).unwrap().is_none());
        assert!(Lease::try_acquire(store.path(), URL).unwrap().is_none());
        assert!(Lease::acquire(store.path(), "http://other/", soon()).unwrap().is_some());
        drop(lease);
        let lease = Lease::acquire(store.path(), URL, None).unwrap().unwrap();
        let waiting = store.path().to_owned();
        let next = thread::spawn(move || Lease::acquire(&waiting, URL, None).unwrap().is_some());
        lease.finish();
        assert!(next.join().unwrap());
    }

    #[test]
    fn nobody_waits_for_a_response_that_may_not_be_shared() {
        let store = tempfile::tempdir().unwrap();
        Lease::acquire(store.path(), URL, None).unwrap().unwrap().give_up();
        assert!(Lease::acquire(store.path(), URL, None).unwrap().is_none());
        age(store.path(), UNSHARED * 2);
        let lease = Lease::acquire(store.path(), URL, None).unwrap();
        assert!(lease.is_some_and(|lease| !lease.is_unshared(SystemTime::now()).unwrap()));
    }

    #[test]
    fn nobody_waits_for_a_holder_that_makes_no_progress() {
        let store = tempfile::tempdir().unwrap();
        let _lease = Lease::acquire(store.path(), URL, None).unwrap().unwrap();
        age(store.path(), PATIENCE * 2);
        assert!(Lease::acquire(store.path(), URL, None).unwrap().is_none());
    }

    #[test]
    fn old_files_are_removed_unless_they_are_locked() {
        let store = tempfile::tempdir().unwrap();
        let held = Lease::acquire(store.path(), "http://held/", None).unwrap().unwrap();
        Lease::acquire(store.path(), "http://unshared/", None).unwrap().unwrap().give_up();
        age(store.path(), OLD * 2);
        let lease = Lease::acquire(store.path(), URL, None).unwrap().unwrap();
        let count = || fs::read_dir(folder(store.path())).unwrap().count();
        assert_eq!(count(), 2);
        lease.finish();
        held.finish();
        assert_eq!(count(), 0);
    }
}
