//! The directory of a store: creates it, checks its owner, and names and measures what is in it.

use std::fs;
use std::path::Path;

use crate::message::digest::Digest;
use crate::store::StoreError;

/// Creates a directory that only this user can use, unless it is there.
pub(super) fn make(directory: &Path) -> std::io::Result<()> {
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(directory)
}

/// Creates an empty file that only this user can read, unless the file is there.
pub(super) fn create_private(file: &Path) -> std::io::Result<()> {
    let mut options = fs::File::options();
    options.write(true).create(true).truncate(false);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(file).map(drop)
}

/// Refuses a directory that another user can change, and so answer for every site.
#[cfg_attr(not(unix), allow(unused_variables))]
pub(super) fn check_owner(directory: &Path, own: &fs::File) -> Result<(), StoreError> {
    #[cfg(unix)]
    {
        use std::os::unix::fs::MetadataExt;
        let owner = |error: std::io::Error| StoreError::new(format!("it cannot be read: {error}"));
        let own = own.metadata().map_err(owner)?.uid();
        let its = fs::metadata(directory).map_err(owner)?;
        if its.mode() & 0o002 != 0 {
            return Err(StoreError::new("other users can write to it; change its mode to 0700"));
        }
        let its = its.uid();
        if own != its {
            return Err(StoreError::new(format!(
                "it belongs to the user {its}, and this process is user {own}"
            )));
        }
    }
    Ok(())
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
