//! [`OpenFile`]: a file that threads share which must not wait when they drop it.

use std::fmt;
use std::fs::File;
use std::ops::Deref;

/// A file that several threads read. Some of them never wait, and each may be the last that drops it. If its name was removed
/// by then, closing it frees its blocks, which takes up to seconds; then `close` has another thread do that.
pub(crate) struct OpenFile {
    file: Option<File>,
    close: Box<dyn Fn(File) + Send + Sync>,
}

impl OpenFile {
    #[cfg(feature = "disk")]
    pub(crate) fn new(file: File, close: impl Fn(File) + Send + Sync + 'static) -> Self {
        Self { file: Some(file), close: Box::new(close) }
    }

    /// Takes the file, which the caller closes.
    #[cfg(feature = "disk")]
    pub(crate) fn take(&mut self) -> Option<File> {
        self.file.take()
    }
}

impl Deref for OpenFile {
    type Target = File;

    fn deref(&self) -> &File {
        self.file.as_ref().expect("only its owner takes the file")
    }
}

impl Drop for OpenFile {
    fn drop(&mut self) {
        if let Some(file) = self.file.take().filter(has_no_name) {
            (self.close)(file);
        }
    }
}

impl fmt::Debug for OpenFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("OpenFile").field(&self.file).finish()
    }
}

#[cfg(unix)]
fn has_no_name(file: &File) -> bool {
    use std::os::unix::fs::MetadataExt;
    file.metadata().is_ok_and(|file| file.nlink() == 0)
}

#[cfg(not(unix))]
fn has_no_name(_: &File) -> bool {
    false
}

#[cfg(all(test, feature = "disk", unix))]
mod tests {
    use super::*;

    #[test]
    fn file_without_a_name_is_not_closed_by_the_thread_that_drops_it() {
        for is_removed in [false, true] {
            let named = tempfile::NamedTempFile::new().unwrap();
            let (closed, closing) = std::sync::mpsc::channel();
            let file = OpenFile::new(named.reopen().unwrap(), move |file| closed.send(file).unwrap());
            if is_removed {
                std::fs::remove_file(named.path()).unwrap();
            }
            drop(file);
            assert_eq!(closing.try_recv().is_ok(), is_removed);
        }
    }
}
