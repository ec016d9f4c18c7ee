//! The files of bodies that are open. A removed file takes its place on the disk until the last reader closes it.

use std::collections::HashMap;
use std::fs;
use std::path::Path;
use std::sync::Arc;

use parking_lot::Mutex;

use super::at_hand::open_files;

/// One part in this many of the process's limit of open files is for bodies. Beyond it, a file is closed after each read.
const PART: u64 = 4;

/// The open files of bodies.
pub(super) struct OpenBodies {
    state: Mutex<State>,
    most: u64,
}

#[derive(Default)]
struct State {
    by_number: HashMap<u64, Open>,
    files: u64,
    removed_bytes: u64,
}

/// The open files of one body.
#[derive(Default)]
struct Open {
    files: u64,
    /// What the file takes of the disk since it was removed, in bytes.
    removed_bytes: u64,
}

impl Default for OpenBodies {
    fn default() -> Self {
        Self::with_limit(open_files() / PART)
    }
}

impl OpenBodies {
    pub(super) fn with_limit(most: u64) -> Self {
        Self { state: Mutex::default(), most }
    }

    /// Notes that a file is opened, until the result is dropped. The second result is whether it may stay open for longer than a
    /// read.
    pub(super) fn note(self: &Arc<Self>, number: u64) -> (OpenNote, bool) {
        let mut state = self.state.lock();
        state.files += 1;
        state.by_number.entry(number).or_default().files += 1;
        (OpenNote { bodies: Arc::clone(self), number }, state.files <= self.most)
    }

    /// Removes a file.
    pub(super) fn remove(&self, number: u64, path: &Path) {
        let is_open = self.state.lock().by_number.contains_key(&number);
        let bytes = if is_open { fs::metadata(path).map_or(0, |file| file.len()) } else { 0 };
        if fs::remove_file(path).is_err() {
            return;
        }
        let mut state = self.state.lock();
        if let Some(open) = state.by_number.get_mut(&number) {
            open.removed_bytes += bytes;
            state.removed_bytes += bytes;
        }
    }

    /// Returns what removed files take of the disk because they are still read, in bytes.
    pub(super) fn removed_bytes(&self) -> u64 {
        self.state.lock().removed_bytes
    }
}

/// Stands for an open file.
pub(super) struct OpenNote {
    bodies: Arc<OpenBodies>,
    number: u64,
}

impl Drop for OpenNote {
    fn drop(&mut self) {
        let mut state = self.bodies.state.lock();
        state.files -= 1;
        let Some(open) = state.by_number.get_mut(&self.number) else { return };
        open.files -= 1;
        if open.files == 0 {
            let bytes = open.removed_bytes;
            state.by_number.remove(&self.number);
            state.removed_bytes -= bytes;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_beyond_the_limit_are_to_be_closed_soon() {
        let bodies = Arc::new(OpenBodies::with_limit(2));
        let (first, second) = (bodies.note(1), bodies.note(1));
        assert!(first.1 && second.1 && !bodies.note(2).1);
        drop(first);
        assert!(bodies.note(2).1);
    }

    #[test]
    fn removed_files_count_until_they_are_closed() {
        let bodies = Arc::new(OpenBodies::with_limit(2));
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("1");
        fs::write(&path, [0; 100]).unwrap();
        let (first, second) = (bodies.note(1), bodies.note(1));
        bodies.remove(1, &path);
        bodies.remove(1, &path);
        assert!(!path.exists() && bodies.removed_bytes() == 100);
        drop(first);
        assert_eq!(bodies.removed_bytes(), 100);
        drop(second);
        assert_eq!(bodies.removed_bytes(), 0);
        fs::write(&path, [0; 100]).unwrap();
        bodies.remove(2, &path);
        assert!(!path.exists() && bodies.removed_bytes() == 0);
    }
}
