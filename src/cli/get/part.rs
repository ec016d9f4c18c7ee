//! A partial download: `FILE.part`, and `FILE.part.meta` with the identity of its bytes.
//!
//! The partial file has an advisory lock while a process writes it.

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use forwardcache::client::BodyIdentity;

use super::super::failure::Failure;
use super::super::lease::is_same;
use super::super::manifest::hexadecimal;

/// A partial download that this process writes.
pub(super) struct Part {
    file: File,
    /// The file that is replaced.
    target: PathBuf,
    path: PathBuf,
    meta: PathBuf,
    /// The SHA-256 of the URL: only the same URL is continued.
    key: String,
}

impl Part {
    /// Opens the partial file of a target, and creates it if it does not exist. The bytes of an earlier run stay until
    /// [`begin`](Self::begin).
    pub(super) fn open(target: PathBuf, url: &str) -> Result<Self, Failure> {
        let [path, meta] = paths(&target);
        let file = loop {
            let file = options().open(&path).map_err(|error| cannot_write(&path, &error))?;
            let metadata = file.metadata().map_err(|error| cannot_write(&path, &error))?;
            if !metadata.is_file() {
                let text = format!("cannot write {}: it is not a regular file", path.display());
                return Err(Failure::failed(text));
            }
            match file.try_lock() {
                Err(TryLockError::WouldBlock) => {
                    let text = format!("another process is writing {}", path.display());
                    return Err(Failure::failed(text));
                }
                // The other process has renamed the file since it was opened.
                Ok(()) if !is_same(&metadata, &path) => {}
                // Some file systems have no locks.
                Ok(()) | Err(TryLockError::Error(_)) => break file,
            }
        };
        let key = ring::digest::digest(&ring::digest::SHA256, url.as_bytes());
        Ok(Self { file, target, path, meta, key: hexadecimal(key.as_ref()) })
    }

    /// Returns the bytes that an earlier run has left, and their identity. The next write appends to them.
    pub(super) fn earlier(&mut self) -> Option<(u64, BodyIdentity)> {
        let identity = identity(&fs::read_to_string(&self.meta).ok()?, &self.key)?;
        let length = self.file.seek(SeekFrom::End(0)).ok()?;
        Some((length, identity))
    }

    /// Removes all bytes, and records the identity of those that follow. Without an identity they cannot be continued.
    pub(super) fn begin(&mut self, identity: Option<&BodyIdentity>) -> Result<(), Failure> {
        let _ = fs::remove_file(&self.meta);
        let emptied = self.file.set_len(0).and_then(|()| self.file.rewind());
        emptied.map_err(|error| cannot_write(&self.path, &error))?;
        if let Some(identity) = identity
            && let Ok(mut meta) = File::options().create_new(true).write(true).open(&self.meta)
        {
            // A line that is incomplete is not an identity.
            let _ = meta.write_all(format!("{}\n{identity}\n", self.key).as_bytes());
        }
        Ok(())
    }

    pub(super) fn write(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        self.file.write_all(bytes).map_err(|error| cannot_write(&self.path, &error))
    }

    /// Replaces the target with the partial file.
    pub(super) fn finish(self) -> Result<(), Failure> {
        keep_permissions(&self.file, &self.target);
        fs::rename(&self.path, &self.target)
            .map_err(|error| Failure::io(format_args!("cannot replace {}", self.target.display()), &error))?;
        let _ = fs::remove_file(&self.meta);
        Ok(())
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        // After a rename the path names no file, or that of another process.
        let Ok(metadata) = self.file.metadata() else { return };
        if metadata.len() == 0 && is_same(&metadata, &self.path) {
            let _ = fs::remove_file(&self.meta);
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// Returns the identity in a file with the key of the URL in its first line.
fn identity(text: &str, key: &str) -> Option<BodyIdentity> {
    let (first, identity) = text.strip_suffix('\n')?.split_once('\n')?;
    identity.parse().ok().filter(|_| first == key)
}

/// Gives a file the permissions of the file that it replaces. If that is impossible, it keeps the default ones.
#[cfg(unix)]
fn keep_permissions(file: &File, replaced: &Path) {
    use std::os::unix::fs::PermissionsExt;
    if let Ok(metadata) = fs::symlink_metadata(replaced)
        && metadata.is_file()
    {
        // The special bits belong to the old content.
        let _ = file.set_permissions(fs::Permissions::from_mode(metadata.permissions().mode() & 0o777));
    }
}

#[cfg(not(unix))]
fn keep_permissions(_: &File, _: &Path) {}

pub(super) fn cannot_write(path: &Path, error: &io::Error) -> Failure {
    Failure::io(format_args!("cannot write {}", path.display()), error)
}

/// Returns the partial file of a target, and the file with its identity.
pub(super) fn paths(target: &Path) -> [PathBuf; 2] {
    [".part", ".part.meta"].map(|ending| with_ending(target, ending))
}

fn with_ending(path: &Path, ending: &str) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(ending);
    name.into()
}

/// Options for a partial file. A symbolic link of that name is an error.
fn options() -> OpenOptions {
    let mut options = File::options();
    options.create(true).truncate(false).read(true).write(true);
    #[cfg(unix)]
    {
        use std::os::unix::fs::OpenOptionsExt;
        options.custom_flags(rustix::fs::OFlags::NOFOLLOW.bits().cast_signed());
    }
    options
}

#[cfg(test)]
mod tests {
    use super::*;

    const URL: &str = "http://h/a";

    fn identity_of(text: &str) -> BodyIdentity {
        text.parse().unwrap()
    }

    #[test]
    fn bytes_of_the_same_url_are_continued_and_replace_the_target() {
        let folder = tempfile::tempdir().unwrap();
        let target = folder.path().join("a");
        fs::write(&target, "old").unwrap();
        let tag = identity_of("etag 5 \"x\"");
        let mut part = Part::open(target.clone(), URL).unwrap();
        assert!(part.earlier().is_none());
        part.begin(Some(&tag)).unwrap();
        part.write(b"new").unwrap();
        drop(part);
        assert!(Part::open(target.clone(), "http://h/b").unwrap().earlier().is_none());
        let mut part = Part::open(target.clone(), URL).unwrap();
        assert_eq!(part.earlier(), Some((3, tag)));
        part.write(b"er").unwrap();
        assert_eq!(fs::read_to_string(&target).unwrap(), "old");
        part.finish().unwrap();
        assert_eq!(fs::read_to_string(&target).unwrap(), "newer");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn bytes_without_a_complete_identity_are_not_continued() {
        let key = "00";
        assert!(identity("00\netag 5 \"x\"\n", key).is_some());
        for text in ["", "00", "00\n", "00\netag 5 \"x\"", "01\netag 5 \"x\"\n", "00\nnonsense\n"] {
            assert!(identity(text, key).is_none(), "{text:?}");
        }
    }

    #[test]
    fn part_that_stays_empty_is_removed_and_one_in_use_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        let target = folder.path().join("a");
        let part = Part::open(target.clone(), URL).unwrap();
        let error = Part::open(target.clone(), URL).err().unwrap().to_string();
        assert!(error.contains("another process") && error.contains("a.part"), "{error}");
        drop(part);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
    }

    #[cfg(unix)]
    #[test]
    fn permissions_stay_and_symbolic_links_are_not_followed() {
        use std::os::unix::fs::{PermissionsExt, symlink};
        let folder = tempfile::tempdir().unwrap();
        let [target, precious] = ["a", "precious"].map(|name| folder.path().join(name));
        fs::write(&precious, "precious").unwrap();
        fs::write(&target, "old").unwrap();
        fs::set_permissions(&target, fs::Permissions::from_mode(0o4640)).unwrap();
        let mut part = Part::open(target.clone(), URL).unwrap();
        part.begin(None).unwrap();
        part.write(b"new").unwrap();
        part.finish().unwrap();
        assert_eq!(fs::read_to_string(&target).unwrap(), "new");
        assert_eq!(fs::metadata(&target).unwrap().permissions().mode() & 0o7777, 0o640);
        symlink(&precious, folder.path().join("a.part")).unwrap();
        assert!(Part::open(target.clone(), URL).is_err());
        fs::remove_file(folder.path().join("a.part")).unwrap();
        symlink(&precious, folder.path().join("a.part.meta")).unwrap();
        Part::open(target, URL).unwrap().begin(Some(&identity_of("etag 5 \"x\""))).unwrap();
        assert_eq!(fs::read_to_string(&precious).unwrap(), "precious");
    }
}
