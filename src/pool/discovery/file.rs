//! A list of members in a file.

use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};

use log::warn;

use super::list;
use super::source::Discovery;
use crate::base::error::{Error, ErrorKind, Result};
use crate::pool::member::Member;

/// A list of members in a file: one a line, its base URL and `weight=N` behind it if that is not 1.
///
/// ```text
/// # The pool of the second floor.
/// http://10.0.0.1:3000
/// http://10.0.0.2:3000 weight=3    # the large one
/// ```
///
/// What follows a `#` at the beginning of a word is a comment; empty lines do not count. A peer that stands there
/// twice counts once, and the log says so. A line that is no member spoils the whole file, and so does a peer with
/// two different weights: the pool stays as it is, and the log says which line it is. The same holds for a file that
/// is not there, that is no text, that is longer than 1 MiB, or that is no regular file.
///
/// **Replace the file by renaming** a new one over it: whoever reads then sees the old list or the new one. A file that
/// is written in place can be read in the midst of it. A last line without a line end is taken for half of one and
/// refuses the file; a list that ends with a line, and lacks some, cannot be told from a shorter one. It has to stay
/// like that for a while to count: see [`Membership::settle`](crate::Membership::settle).
///
/// The file is read whole at each [`interval`](Discovery::interval), a second unless it is said otherwise: what file
/// systems say of times and sizes does not tell every change. There is no notification by the system, which each
/// system has of its own, and which network file systems do not have.
///
/// ```
/// use std::time::SystemTime;
/// use forwardcache::{Client, Membership, FileDiscovery};
///
/// # let folder = tempfile::tempdir().unwrap();
/// # let path = folder.path().join("peers");
/// std::fs::write(&path, "http://10.0.0.1:3000\nhttp://10.0.0.2:3000 weight=3\n").unwrap();
/// let client = Client::builder().build()?;
/// let mut membership = Membership::new(&client, FileDiscovery::new(&path));
/// membership.refresh(SystemTime::now())?;
/// assert_eq!(client.pool().len(), 2);
///
/// // A list that is none changes nothing.
/// std::fs::write(&path, "http://10.0.0.1:3000\nhttp://10.0.0.2:30").unwrap();
/// let error = membership.refresh(SystemTime::now()).unwrap_err();
/// assert!(error.message().contains("line 2"));
/// assert_eq!(client.pool().len(), 2);
/// # Ok::<(), forwardcache::Error>(())
/// ```
#[derive(Debug)]
pub struct FileDiscovery {
    path: PathBuf,
    /// What was said last of peers that stand there twice.
    told: Vec<String>,
}

/// How long a list may be, in bytes: some twenty thousand members.
const MOST: u64 = 1 << 20;

impl FileDiscovery {
    /// The list in this file, which need not be there yet.
    #[must_use]
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into(), told: Vec::new() }
    }

    /// Says of the peers that stand there twice, unless it was said of them already.
    fn tell(&mut self, told: Vec<String>) {
        if told != self.told && !told.is_empty() {
            warn!("the list of peers in {}: {}", self.path.display(), told.join("; "));
        }
        self.told = told;
    }
}

impl Discovery for FileDiscovery {
    fn read(&mut self) -> Result<Option<Vec<Member>>> {
        let text = text(&self.path)?;
        let list = list::parse(&text).map_err(|bad| bad_list(&self.path, &bad))?;
        self.tell(list.repeated);
        Ok(Some(list.members))
    }
}

fn text(path: &Path) -> Result<String> {
    let unread = |error: std::io::Error| {
        let text = format!("the list of peers in {} cannot be read: {error}", path.display());
        Error::new(ErrorKind::BadOption, text).with_source(error)
    };
    // Opening a pipe waits until somebody writes to it.
    if !fs::metadata(path).map_err(unread)?.is_file() {
        return Err(bad_list(path, "it is no regular file"));
    }
    let mut bytes = Vec::new();
    File::open(path).and_then(|file| file.take(MOST + 1).read_to_end(&mut bytes)).map_err(unread)?;
    if bytes.len() as u64 > MOST {
        return Err(bad_list(path, "it is longer than 1 MiB"));
    }
    String::from_utf8(bytes).map_err(|_| bad_list(path, "it is no text in UTF-8"))
}

fn bad_list(path: &Path, why: &str) -> Error {
    Error::new(ErrorKind::BadPeer, format!("the list of peers in {}: {why}", path.display()))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn refused(file: &mut FileDiscovery) -> String {
        file.read().unwrap_err().to_string()
    }

    #[test]
    fn what_stands_there_now_is_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("peers");
        let mut file = FileDiscovery::new(&path);
        for (text, count) in [("http://a:1\n", 1), ("http://a:1\nhttp://b:1\n", 2), ("# nobody\n", 0)] {
            fs::write(&path, text).unwrap();
            assert_eq!(file.read().unwrap().unwrap().len(), count);
        }
    }

    #[test]
    fn what_cannot_be_read_says_which_file_and_why() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("peers");
        let named = format!("the list of peers in {}", path.display());
        let mut file = FileDiscovery::new(&path);
        assert_eq!(
            refused(&mut file),
            format!("{named} cannot be read: No such file or directory (os error 2)")
        );
        assert_eq!(file.read().unwrap_err().kind(), ErrorKind::BadOption);
        for (bytes, why) in [
            (b"http://a:1\n\xff\n".to_vec(), "it is no text in UTF-8"),
            (b"# long\n".repeat(200_000), "it is longer than 1 MiB"),
            (
                b"http://a:1\nhttp://b:3".to_vec(),
                "line 2 is the last one and has no line end: it may be half written",
            ),
        ] {
            fs::write(&path, bytes).unwrap();
            assert_eq!(refused(&mut file), format!("{named}: {why}"));
            assert_eq!(file.read().unwrap_err().kind(), ErrorKind::BadPeer);
        }
        assert_eq!(
            refused(&mut FileDiscovery::new(folder.path())),
            format!("the list of peers in {}: it is no regular file", folder.path().display())
        );
    }

    #[test]
    #[cfg(unix)]
    fn a_pipe_is_not_waited_for() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("pipe");
        let made = std::process::Command::new("mkfifo").arg(&path).status();
        assert!(made.expect("the command `mkfifo` is there").success());
        assert!(refused(&mut FileDiscovery::new(path)).ends_with("it is no regular file"));
    }

    #[test]
    fn what_stands_there_twice_is_told_once() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("peers");
        let mut file = FileDiscovery::new(&path);
        fs::write(&path, "http://a:1\nhttp://a:1\n").unwrap();
        for _ in 0..2 {
            assert_eq!(file.read().unwrap().unwrap().len(), 1);
            assert_eq!(file.told, ["line 2 names http://a:1 as line 1 does: it counts once"]);
        }
        fs::write(&path, "http://a:1\n").unwrap();
        file.read().unwrap();
        assert!(file.told.is_empty());
    }
}
