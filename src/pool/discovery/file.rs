//! Discovery of members from a file.

use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};

use log::warn;

use super::list;
use super::source::Discovery;
use crate::base::error::{Error, ErrorKind, Result};
use crate::pool::member::Member;

/// Reads the list of members from a file: one base URL on each line, followed by `weight=N` if the weight is not 1.
///
/// ```text
/// # The pool of the second floor.
/// http://10.0.0.1:3000
/// http://10.0.0.2:3000 weight=3    # the large one
/// ```
///
/// A `#` at the beginning of a word starts a comment; empty lines are ignored. A peer that is listed twice counts once,
/// and the log reports it. The whole file is refused if a line is invalid or if a peer has two different weights: the
/// pool stays as it is, and the log names the line. The same holds for a file that is missing, not UTF-8, longer than
/// 1 MiB, or not a regular file.
///
/// **Replace the file by renaming** a new file over it, so that readers see either the old list or the new one. A file
/// that is written in place can be read half written. If its last line has no line end, the file is refused. If it ends
/// with a complete line, it looks like a shorter list; therefore a new list must stay unchanged for a while before it
/// takes effect: see [`Membership::settle`](crate::client::Membership::settle).
///
/// The whole file is read at each [`interval`](Discovery::interval), by default every second, because the times and
/// sizes that file systems report do not reveal every change. File notifications are not used: they differ between
/// systems and do not work on network file systems.
///
/// ```
/// use std::time::SystemTime;
/// use forwardcache::client::Membership;
/// use forwardcache::pool::FileDiscovery;
/// use forwardcache::Client;
///
/// # let folder = tempfile::tempdir().unwrap();
/// # let path = folder.path().join("peers");
/// std::fs::write(&path, "http://10.0.0.1:3000\nhttp://10.0.0.2:3000 weight=3\n").unwrap();
/// let client = Client::builder().build()?;
/// let mut membership = Membership::new(&client, FileDiscovery::new(&path));
/// membership.refresh(SystemTime::now())?;
/// assert_eq!(client.pool().len(), 2);
///
/// // An invalid list changes nothing.
/// std::fs::write(&path, "http://10.0.0.1:3000\nhttp://10.0.0.2:30").unwrap();
/// let error = membership.refresh(SystemTime::now()).unwrap_err();
/// assert!(error.message().contains("line 2"));
/// assert_eq!(client.pool().len(), 2);
/// # Ok::<(), forwardcache::Error>(())
/// ```
#[derive(Debug)]
pub struct FileDiscovery {
    path: PathBuf,
    /// The repeated peers that were reported last.
    reported_repeats: Vec<String>,
}

/// The greatest size of a list in bytes: about 20,000 members.
const MAX_BYTES: u64 = 1 << 20;

impl FileDiscovery {
    /// Creates a source that reads this file. The file may be missing at first.
    #[must_use]
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into(), reported_repeats: Vec::new() }
    }

    /// Logs a warning about peers that are listed twice, once for the same repeats.
    fn warn_of_repeats(&mut self, repeats: Vec<String>) {
        if repeats != self.reported_repeats && !repeats.is_empty() {
            warn!("the list of peers in {}: {}", self.path.display(), repeats.join("; "));
        }
        self.reported_repeats = repeats;
    }
}

impl Discovery for FileDiscovery {
    fn read(&mut self) -> Result<Option<Vec<Member>>> {
        let text = read_text(&self.path)?;
        let list = list::parse(&text).map_err(|problem| invalid_list(&self.path, &problem))?;
        self.warn_of_repeats(list.repeated);
        Ok(Some(list.members))
    }
}

fn read_text(path: &Path) -> Result<String> {
    let unreadable = |error: std::io::Error| {
        let text = format!("the list of peers in {} cannot be read", path.display());
        Error::new(ErrorKind::BadOption, text).with_source(error)
    };
    // Opening a named pipe would wait for a writer.
    if !fs::metadata(path).map_err(unreadable)?.is_file() {
        return Err(invalid_list(path, "it is not a regular file"));
    }
    let mut bytes = Vec::new();
    File::open(path).and_then(|file| file.take(MAX_BYTES + 1).read_to_end(&mut bytes)).map_err(unreadable)?;
    if bytes.len() as u64 > MAX_BYTES {
        return Err(invalid_list(path, "it is longer than 1 MiB"));
    }
    String::from_utf8(bytes).map_err(|_| invalid_list(path, "it is not valid UTF-8"))
}

fn invalid_list(path: &Path, why: &str) -> Error {
    Error::new(ErrorKind::BadPeer, format!("the list of peers in {}: {why}", path.display()))
}

#[cfg(test)]
mod tests;
