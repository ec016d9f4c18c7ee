//! The memory that a stored response takes.

use std::mem::size_of;

use bytes::Bytes;

use super::{Content, Extra, StoredResponse};
use crate::message::pieces::Pieces;
use crate::store::allocated::allocated;

impl StoredResponse {
    /// Returns the memory of this response in bytes: fields, body, variant, this struct, the `Arc` around it,
    /// and the bookkeeping of shared buffers, with the allocator's rounding.
    #[must_use]
    pub fn size(&self) -> u64 {
        let bytes = match &self.content {
            Content::Together(buffer, _) => shared(buffer.len()),
            Content::Apart(apart) => {
                allocated(size_of_val(&**apart)) + shared(apart.0.len()) + pieces(&apart.1)
            }
            Content::Remote(remote) => allocated(size_of_val(&**remote)) + shared(remote.0.len()),
        };
        let extra = self.extra.as_ref().map_or(0, |extra| {
            let Extra { variant, url } = &**extra;
            let value = |value: &Option<Bytes>| value.as_ref().map_or(0, |value| shared(value.len()));
            let values = variant.fields.iter().map(|(name, text)| name.as_str().len() + value(text));
            let fields = if variant.fields.is_empty() { 0 } else { allocated(size_of_val(&*variant.fields)) };
            let url = url.as_ref().map_or(0, |url| allocated(url.len()));
            allocated(size_of::<Extra>()) + fields + values.sum::<usize>() + url
        });
        (allocated(COUNTS + size_of::<Self>()) + bytes + extra) as u64
    }
}

/// The two reference counts of an `Arc`.
const COUNTS: usize = 2 * size_of::<usize>();

/// Returns the memory of a [`Bytes`]: its buffer, and the allocation for sharing it.
const fn shared(length: usize) -> usize {
    allocated(length) + allocated(3 * size_of::<usize>())
}

/// Returns the memory of a body's pieces: the buffer and counter of each, and the list if there are several.
fn pieces(body: &Pieces) -> usize {
    let list = if body.as_one().is_some() { 0 } else { COUNTS };
    let each = |piece: &[u8]| {
        let listed = if list == 0 { 0 } else { size_of::<Bytes>() };
        allocated(piece.len()) + allocated(COUNTER) + listed
    };
    list + body.slices().map(each).sum::<usize>()
}

/// The counter that is allocated for a buffer whose bytes the ledger counts until its last reference is
/// dropped.
const COUNTER: usize = size_of::<[usize; 8]>();
