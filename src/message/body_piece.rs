//! [`BodyPiece`]: bytes of a body, which may also be in an open file.

use std::ops::Deref;
use std::sync::Arc;

use bytes::{Buf, Bytes};

use super::open_file::OpenFile;

/// Bytes of a body. If an open file has the same bytes, the system can send them from there without copying them.
#[derive(Clone, Debug, Default)]
pub(crate) struct BodyPiece {
    bytes: Bytes,
    file: Option<FilePosition>,
}

/// Where the bytes of a piece start in a file.
#[derive(Clone, Debug)]
pub(crate) struct FilePosition {
    pub(crate) file: Arc<OpenFile>,
    pub(crate) at: u64,
}

impl BodyPiece {
    /// Creates a piece of bytes that were just read from a file and checked. Nothing writes to that part of the file
    /// again.
    #[cfg(feature = "disk")]
    pub(crate) fn in_file(bytes: Bytes, file: Arc<OpenFile>, at: u64) -> Self {
        Self { bytes, file: Some(FilePosition { file, at }) }
    }

    /// Returns where the bytes are in a file.
    pub(crate) fn file(&self) -> Option<&FilePosition> {
        self.file.as_ref()
    }

    /// Forgets the file: what was checked must be sent soon, before it may have changed.
    pub(crate) fn forget_file(&mut self) {
        self.file = None;
    }

    /// Removes the first `count` bytes.
    ///
    /// # Panics
    ///
    /// Panics if there are fewer bytes.
    pub(crate) fn advance(&mut self, count: usize) {
        self.bytes.advance(count);
        if let Some(position) = &mut self.file {
            position.at += count as u64;
        }
    }

    /// Removes the first `count` bytes and returns them.
    ///
    /// # Panics
    ///
    /// Panics if there are fewer bytes.
    pub(crate) fn split_to(&mut self, count: usize) -> Self {
        let first = Self { bytes: self.bytes.slice(..count), file: self.file.clone() };
        self.advance(count);
        first
    }
}

impl Deref for BodyPiece {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.bytes
    }
}

impl From<Bytes> for BodyPiece {
    fn from(bytes: Bytes) -> Self {
        Self { bytes, file: None }
    }
}

impl From<BodyPiece> for Bytes {
    fn from(piece: BodyPiece) -> Self {
        piece.bytes
    }
}

#[cfg(all(test, feature = "disk"))]
mod tests {
    use super::*;

    #[test]
    fn the_position_in_the_file_follows_the_bytes() {
        let file = Arc::new(OpenFile::new(tempfile::tempfile().unwrap(), drop));
        let mut piece = BodyPiece::in_file(Bytes::from_static(b"0123456789"), file, 100);
        piece.advance(2);
        let first = piece.split_to(3);
        let at = |piece: &BodyPiece| piece.file().map(|position| position.at);
        assert_eq!((&*first, at(&first)), (&b"234"[..], Some(102)));
        assert_eq!((&*piece, at(&piece)), (&b"56789"[..], Some(105)));
        piece.forget_file();
        assert_eq!((&*piece, at(&piece)), (&b"56789"[..], None));
    }
}
