//! The directory of a store: creates it, and checks its owner.

use std::fs;
use std::path::Path;

use crate::store::StoreError;

pub(super) fn make(directory: &Path) -> std::io::Result<()> {
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(directory)
}

/// Refuses a directory of another user, who could change it and so answer for every site.
#[cfg_attr(not(unix), allow(unused_variables))]
pub(super) fn check_owner(directory: &Path, own: &fs::File) -> Result<(), StoreError> {
    #[cfg(unix)]
    {
        use std::os::unix::fs::MetadataExt;
        let owner = |error: std::io::Error| StoreError::new(format!("it cannot be read: {error}"));
        let own = own.metadata().map_err(owner)?.uid();
        let its = fs::metadata(directory).map_err(owner)?.uid();
        if own != its {
            return Err(StoreError::new(format!(
                "it belongs to the user {its}, and this process is user {own}"
            )));
        }
    }
    Ok(())
}
