//! The directory of a store: creates it, checks its owner, and names and measures what is in it.

use std::fs;
use std::io;
use std::path::Path;

use crate::message::digest::Digest;
use crate::store::StoreError;

/// Creates a directory that only this user can use, unless it is there.
pub(super) fn make(directory: &Path) -> io::Result<()> {
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(directory)
}

/// Creates an empty file that only this user can read, unless the file is there.
pub(super) fn create_private(file: &Path) -> io::Result<()> {
    let mut options = fs::File::options();
    options.write(true).create(true).truncate(false);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(file).map(drop)
}

/// Refuses a directory that another user can change, and so answer for every site. `own` are the metadata of a file that this
/// process made in it. Without one, the directory is only read, and may be root's.
#[cfg_attr(not(unix), allow(unused_variables))]
pub(super) fn check_owner(directory: &Path, own: Option<io::Result<fs::Metadata>>) -> Result<(), StoreError> {
    #[cfg(unix)]
    {
        use std::os::unix::fs::MetadataExt;
        let owner = |error: io::Error| StoreError::new(format!("it cannot be read: {error}"));
        let its = fs::metadata(directory).map_err(owner)?;
        if its.mode() & 0o002 != 0 {
            return Err(StoreError::new("other users can write to it; change its mode to 0700"));
        }
        let its = its.uid();
        let is_readable_of_root = own.is_none() && its == 0;
        let own = match own {
            Some(own) => own.map_err(owner)?.uid(),
            None => rustix::process::geteuid().as_raw(),
        };
        if own != its && !is_readable_of_root {
            return Err(StoreError::new(format!(
                "it belongs to the user {its}, and this process is user {own}"
            )));
        }
    }
    Ok(())
}

/// What distinguishes a file from another one that takes its name.
pub(super) type FileId = (u64, u64);

/// Returns the identity of the file with this name; `None` if there is none.
pub(super) fn file_id(path: &Path) -> Option<FileId> {
    let metadata = fs::metadata(path).ok()?;
    #[cfg(unix)]
    {
        use std::os::unix::fs::MetadataExt;
        Some((metadata.dev(), metadata.ino()))
    }
    #[cfg(not(unix))]
    {
        let _ = metadata;
        Some((0, 0))
    }
}

/// Returns the size of a file on the disk, in bytes.
pub(super) fn blocks(file: &fs::Metadata) -> u64 {
    #[cfg(unix)]
    {
        std::os::unix::fs::MetadataExt::blocks(file) * 512
    }
    #[cfg(not(unix))]
    {
        file.len()
    }
}

/// Returns the hash of a key. The salt is a secret of the directory, so that no client can choose URLs with equal hashes.
pub(super) fn hash(salt: [u64; 2], key: &str) -> u64 {
    let salt = [salt[0].to_be_bytes(), salt[1].to_be_bytes()].concat();
    let digest = Digest::of(&[&salt[..], key.as_bytes()].concat());
    u64::from_be_bytes(*digest.as_bytes().first_chunk().expect("a digest is longer"))
}
