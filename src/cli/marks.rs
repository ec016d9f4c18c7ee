//! What one run of the command learnt of peers that are down, for the next one.
//!
//! It is a hint, and whatever is wrong with the file makes it none. But who could write it could have all
//! peers passed over: the file and its folder are this user's alone, or they are not used.

use std::env;
use std::path::PathBuf;

use forwardcache::{Client, Marks};

/// The marks of the runs before, and where they are kept.
#[derive(Debug, Default)]
pub(crate) struct Kept {
    folder: Option<PathBuf>,
    found: String,
}

impl Kept {
    /// What is known, where there is anything.
    pub(crate) fn read() -> Self {
        Self::in_folder(folder(|name| env::var_os(name).map(PathBuf::from)))
    }

    fn in_folder(folder: Option<PathBuf>) -> Self {
        let found = folder.as_deref().and_then(file::read).unwrap_or_default();
        Self { folder, found }
    }

    pub(crate) fn marks(&self) -> Marks {
        Marks::parse(&self.found)
    }

    /// Keeps what this client knows, if it has learnt anything. Whether that can be kept is no business of
    /// the command's.
    pub(crate) fn write(&self, client: &Client) {
        self.write_text(&client.marks().to_string());
    }

    fn write_text(&self, text: &str) {
        if let Some(folder) = self.folder.as_deref().filter(|_| text != self.found)
            && let Err(error) = file::write(folder, text)
        {
            log::debug!("what was learnt of peers is not kept: {error}");
        }
    }
}

/// Where such files go by the XDG Base Directory Specification: what need not outlive a session, or else what
/// may be lost.
fn folder(variable: impl Fn(&str) -> Option<PathBuf>) -> Option<PathBuf> {
    // Relative paths are invalid there.
    let absolute = |name| variable(name).filter(|path| path.is_absolute());
    let base = absolute("XDG_RUNTIME_DIR").or_else(|| absolute("XDG_CACHE_HOME"));
    let base = base.or_else(|| absolute("HOME").map(|home| home.join(".cache")));
    base.map(|base| base.join("forwardcache"))
}

#[cfg(not(unix))]
mod file {
    //! Who else could write a file is not known here.

    use std::io;
    use std::path::Path;

    pub(super) fn read(_: &Path) -> Option<String> {
        None
    }

    pub(super) fn write(_: &Path, _: &str) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(unix)]
mod file {
    use std::fs::{self, DirBuilder, File, OpenOptions};
    use std::io::{self, Read, Write};
    use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
    use std::path::{Path, PathBuf};
    use std::process;
    use std::time::Duration;

    const NAME: &str = "peers-down";

    /// So long after the last run that learnt anything, it is forgotten.
    const LIFETIME: Duration = Duration::from_secs(30);

    const MOST_BYTES: u64 = 64 * 1024;

    /// What is there, if it is this user's and of late.
    pub(super) fn read(folder: &Path) -> Option<String> {
        let path = folder.join(NAME);
        // Most often there is none, and nothing has to be found out about the folder.
        if !fs::symlink_metadata(&path).ok()?.is_file() {
            return None;
        }
        let file = File::open(path).ok()?;
        let metadata = file.metadata().ok()?;
        let is_of_late = metadata.modified().ok()?.elapsed().is_ok_and(|age| age < LIFETIME);
        let is_private = metadata.is_file() && metadata.mode() & 0o077 == 0;
        let own = Temporary::create(folder).ok()?;
        if !is_of_late || !is_private || metadata.uid() != own.user {
            return None;
        }
        let mut text = String::new();
        file.take(MOST_BYTES).read_to_string(&mut text).ok()?;
        Some(text)
    }

    /// Puts this in place of what is there, whole or not at all.
    pub(super) fn write(folder: &Path, text: &str) -> io::Result<()> {
        match DirBuilder::new().mode(0o700).recursive(true).create(folder) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
            _ => {}
        }
        let mut own = Temporary::create(folder)?;
        own.file.write_all(text.as_bytes())?;
        fs::rename(&own.path, folder.join(NAME))
    }

    /// A file of this process in the folder, gone when it is dropped unless it was renamed.
    struct Temporary {
        path: PathBuf,
        file: File,
        user: u32,
    }

    impl Temporary {
        /// Fails where the folder is not this user's alone. Who that is shows in what was just created.
        fn create(folder: &Path) -> io::Result<Self> {
            let refused = |says| Err(io::Error::new(io::ErrorKind::PermissionDenied, says));
            let metadata = fs::symlink_metadata(folder)?;
            if !metadata.is_dir() || metadata.mode() & 0o077 != 0 {
                return refused("the folder is not private");
            }
            let path = folder.join(format!("{NAME}.{}", process::id()));
            // What a process of the same number left behind.
            let _ = fs::remove_file(&path);
            let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path)?;
            let user = file.metadata()?.uid();
            let own = Self { path, file, user };
            if metadata.uid() == own.user { Ok(own) } else { refused("the folder is another user's") }
        }
    }

    impl Drop for Temporary {
        fn drop(&mut self) {
            // Most often it was renamed.
            let _ = fs::remove_file(&self.path);
        }
    }
}

#[cfg(unix)]
#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::{PermissionsExt, symlink};
    use std::path::Path;
    use std::time::{Duration, SystemTime};

    use super::*;

    const TEXT: &str = "http://p:1 1000 1\n";

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    fn set_mode(path: &Path, mode: u32) {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    }

    fn read(folder: &Path) -> String {
        Kept::in_folder(Some(folder.to_owned())).found
    }

    /// A folder with marks in it.
    fn kept() -> (tempfile::TempDir, PathBuf) {
        let base = tempfile::tempdir().unwrap();
        let folder = base.path().join("forwardcache");
        Kept::in_folder(Some(folder.clone())).write_text(TEXT);
        (base, folder)
    }

    #[test]
    fn what_was_kept_is_private_and_found_again() {
        let (_base, folder) = kept();
        let file = folder.join("peers-down");
        assert_eq!((mode(&folder), mode(&file), read(&folder).as_str()), (0o700, 0o600, TEXT));
        assert_eq!(fs::read_dir(&folder).unwrap().count(), 1);
        let kept = Kept::in_folder(Some(folder.clone()));
        // Nothing was learnt: it gets no younger.
        let before = fs::metadata(&file).unwrap().modified().unwrap();
        kept.write_text(TEXT);
        assert_eq!(fs::metadata(&file).unwrap().modified().unwrap(), before);
        kept.write_text("");
        assert_eq!(read(&folder), "");
    }

    #[test]
    fn what_others_could_have_written_is_not_read_and_not_replaced() {
        let (_base, folder) = kept();
        let file = folder.join("peers-down");
        set_mode(&folder, 0o777);
        assert_eq!(read(&folder), "");
        Kept::in_folder(Some(folder.clone())).write_text("http://q:1 1000 1\n");
        set_mode(&folder, 0o700);
        assert_eq!(read(&folder), TEXT);
        set_mode(&file, 0o644);
        assert_eq!(read(&folder), "");
    }

    #[test]
    fn a_link_is_not_followed() {
        let (base, folder) = kept();
        let link = base.path().join("link");
        symlink(&folder, &link).unwrap();
        assert_eq!(read(&link), "");
        let (file, elsewhere) = (folder.join("peers-down"), base.path().join("elsewhere"));
        fs::rename(&file, &elsewhere).unwrap();
        symlink(&elsewhere, &file).unwrap();
        assert_eq!(read(&folder), "");
        // Writing puts a file in place of the link.
        Kept::in_folder(Some(folder.clone())).write_text("http://q:1 1000 1\n");
        assert_eq!(fs::read_to_string(&elsewhere).unwrap(), TEXT);
    }

    #[test]
    fn what_is_old_or_no_text_is_nothing() {
        let (_base, folder) = kept();
        let file = folder.join("peers-down");
        let set_age = |age| {
            fs::File::options()
                .write(true)
                .open(&file)
                .unwrap()
                .set_modified(SystemTime::now() - age)
                .unwrap();
        };
        set_age(Duration::from_secs(29));
        assert_eq!(read(&folder), TEXT);
        set_age(Duration::from_secs(31));
        assert_eq!(read(&folder), "");
        fs::write(&file, b"\xff\xfe").unwrap();
        assert_eq!(read(&folder), "");
        fs::write(&file, "not a mark\nhttp://p:1").unwrap();
        assert!(Kept::in_folder(Some(folder)).marks().is_empty());
    }

    #[test]
    fn where_it_is_kept() {
        let of = |set: &[(&str, &str)]| {
            let set: Vec<_> =
                set.iter().map(|(name, value)| ((*name).to_owned(), PathBuf::from(value))).collect();
            folder(move |name| set.iter().find(|(set, _)| set == name).map(|(_, value)| value.clone()))
        };
        let all = [("XDG_RUNTIME_DIR", "/run/u"), ("XDG_CACHE_HOME", "/c"), ("HOME", "/h")];
        assert_eq!(of(&all), Some("/run/u/forwardcache".into()));
        assert_eq!(of(&all[1..]), Some("/c/forwardcache".into()));
        assert_eq!(of(&all[2..]), Some("/h/.cache/forwardcache".into()));
        assert_eq!(of(&[("XDG_RUNTIME_DIR", "relative")]), None);
        assert!(Kept::in_folder(None).marks().is_empty());
    }
}
