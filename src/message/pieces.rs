//! A sequence of shared byte buffers, used for bodies in transit and in the store.

use std::fmt;
use std::io::{self, Read};
use std::ops::Range;
use std::sync::Arc;

use bytes::{Buf, Bytes};

/// Bytes in one or more shared pieces: immutable, and cheap to clone and to slice.
///
/// One piece is held inline, several behind an `Arc`. Cloning and slicing copy no bytes. A slice that spans several
/// pieces keeps all pieces of the sequence in memory; a single [piece](Self::iter) keeps only itself.
///
/// ```
/// use bytes::Bytes;
/// use forwardcache::store::Pieces;
///
/// let pieces: Pieces = [Bytes::from("hello "), Bytes::from("world")].into_iter().collect();
/// assert_eq!(pieces.len(), 11);
/// assert_eq!(pieces.slice(3..8), "lo wo");
/// assert_eq!(pieces.iter().count(), 2);
/// ```
#[derive(Clone)]
pub struct Pieces(Inner);

#[derive(Clone)]
enum Inner {
    One(Bytes),
    /// The `length` bytes that start `skip` bytes into piece `first`; that piece contributes at least one byte.
    /// Takes no more space than one inline piece, because every stored response contains a `Pieces`.
    Several {
        pieces: Arc<Box<[Bytes]>>,
        first: u32,
        skip: u32,
        length: usize,
    },
}

impl Pieces {
    /// Creates an empty sequence.
    #[must_use]
    pub const fn new() -> Self {
        Self(Inner::One(Bytes::new()))
    }

    /// Returns the number of bytes in all pieces together.
    #[must_use]
    pub fn len(&self) -> usize {
        match &self.0 {
            Inner::One(bytes) => bytes.len(),
            Inner::Several { length, .. } => *length,
        }
    }

    /// Returns whether the sequence has no bytes.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Iterates over the pieces in order; none is empty. Copies nothing.
    pub fn iter(&self) -> impl Iterator<Item = Bytes> + '_ {
        self.spans().map(|(piece, span)| piece.slice(span))
    }

    /// Iterates over the pieces as borrowed slices, in order; none is empty.
    pub fn slices(&self) -> impl Iterator<Item = &[u8]> + '_ {
        self.spans().map(|(piece, span)| &piece[span])
    }

    /// Iterates over the pieces and the range of each that belongs to this sequence.
    fn spans(&self) -> impl Iterator<Item = (&Bytes, Range<usize>)> + '_ {
        let (pieces, mut skip, mut left) = match &self.0 {
            Inner::One(bytes) => (std::slice::from_ref(bytes), 0, bytes.len()),
            Inner::Several { pieces, first, skip, length } => {
                (&pieces[*first as usize..], *skip as usize, *length)
            }
        };
        pieces.iter().map_while(move |piece| {
            let span = skip..piece.len().min(skip.saturating_add(left));
            skip = 0;
            left -= span.len();
            (!span.is_empty()).then_some((piece, span))
        })
    }

    /// Returns the bytes of a range. Copies nothing.
    ///
    /// # Panics
    ///
    /// Panics if the range does not lie within `0..len`.
    #[must_use]
    pub fn slice(&self, range: Range<usize>) -> Self {
        assert!(range.start <= range.end && range.end <= self.len(), "the range lies within the bytes");
        let mut slice = self.clone();
        slice.advance(range.start);
        slice.truncate(range.end - range.start);
        slice
    }

    /// Removes the first `count` bytes, or all of them.
    pub(crate) fn advance(&mut self, count: usize) {
        match &mut self.0 {
            Inner::One(bytes) => bytes.advance(count.min(bytes.len())),
            Inner::Several { length, .. } if count >= *length => *self = Self::new(),
            Inner::Several { pieces, first, skip, length } => {
                *length -= count;
                let mut left = *skip as usize + count;
                while left >= pieces[*first as usize].len() {
                    left -= pieces[*first as usize].len();
                    *first += 1;
                }
                *skip = u32::try_from(left).expect("no piece is longer");
                self.unwrap_one();
            }
        }
    }

    /// Keeps only the first `count` bytes.
    fn truncate(&mut self, count: usize) {
        match &mut self.0 {
            Inner::One(bytes) => bytes.truncate(count),
            Inner::Several { length, .. } => {
                *length = count.min(*length);
                self.unwrap_one();
            }
        }
    }

    /// Releases the other pieces if one piece holds all bytes of the sequence.
    fn unwrap_one(&mut self) {
        if let Inner::Several { pieces, first, skip, length } = &self.0
            && let (piece, skip) = (&pieces[*first as usize], *skip as usize)
            && skip + *length <= piece.len()
        {
            self.0 = Inner::One(piece.slice(skip..skip + *length));
        }
    }

    /// Returns the concatenation of both sequences. Pieces are shared; only small neighbours are merged, into a buffer
    /// that `share` creates.
    pub(crate) fn joined(&self, others: &Self, share: impl Fn(Box<[u8]>) -> Bytes) -> Self {
        let mut pieces: Vec<Bytes> = self.iter().collect();
        for piece in others.iter() {
            match merged(pieces.last(), &piece) {
                Some(both) => *pieces.last_mut().expect("it was merged") = share(both),
                None => pieces.push(piece),
            }
        }
        pieces.into_iter().collect()
    }

    /// Returns the only piece, or `None` if there are several.
    #[must_use]
    pub fn as_one(&self) -> Option<&Bytes> {
        match &self.0 {
            Inner::One(bytes) => Some(bytes),
            Inner::Several { .. } => None,
        }
    }

    /// Returns the bytes in one piece. Copies them if there are several pieces.
    #[must_use]
    pub fn to_bytes(&self) -> Bytes {
        match &self.0 {
            Inner::One(bytes) => bytes.clone(),
            Inner::Several { .. } => self.slices().collect::<Vec<_>>().concat().into(),
        }
    }
}

impl Default for Pieces {
    fn default() -> Self {
        Self::new()
    }
}

/// Reads the bytes and removes them from the sequence. Never fails.
impl Read for Pieces {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let Some(piece) = self.slices().next() else { return Ok(0) };
        let count = piece.len().min(buffer.len());
        buffer[..count].copy_from_slice(&piece[..count]);
        self.advance(count);
        Ok(count)
    }
}

impl From<Bytes> for Pieces {
    fn from(bytes: Bytes) -> Self {
        Self(Inner::One(bytes))
    }
}

/// Collects pieces in order and skips empty ones.
impl FromIterator<Bytes> for Pieces {
    fn from_iter<I: IntoIterator<Item = Bytes>>(pieces: I) -> Self {
        let mut pieces = pieces.into_iter().filter(|piece| !piece.is_empty());
        let Some(one) = pieces.next() else { return Self::new() };
        let Some(two) = pieces.next() else { return one.into() };
        let pieces: Box<[Bytes]> = [one, two].into_iter().chain(pieces).flat_map(short).collect();
        let length = pieces.iter().map(Bytes::len).sum();
        Self(Inner::Several { pieces: Arc::new(pieces), first: 0, skip: 0, length })
    }
}

/// Splits a piece into pieces whose positions fit into 32 bits.
fn short(piece: Bytes) -> impl Iterator<Item = Bytes> {
    const MAX_LENGTH: usize = 1 << 30;
    (0..piece.len())
        .step_by(MAX_LENGTH)
        .map(move |from| piece.slice(from..piece.len().min(from + MAX_LENGTH)))
}

impl<T: AsRef<[u8]> + ?Sized> PartialEq<T> for Pieces {
    fn eq(&self, other: &T) -> bool {
        let mut rest = other.as_ref();
        self.len() == rest.len()
            && self.slices().all(|piece| {
                let (same, after) = rest.split_at(piece.len());
                rest = after;
                piece == same
            })
    }
}

impl PartialEq for Pieces {
    fn eq(&self, other: &Self) -> bool {
        let mut rest = other.clone();
        self.len() == other.len()
            && self.slices().all(|piece| {
                let is_same = rest.slice(0..piece.len()) == *piece;
                rest.advance(piece.len());
                is_same
            })
    }
}

impl Eq for Pieces {}

impl fmt::Debug for Pieces {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Pieces({} bytes in {})", self.len(), self.spans().count())
    }
}

/// Two neighbouring pieces that are both shorter than this are merged.
const SMALL: usize = 4 * 1024;

/// Returns the last piece and the next one as one piece if both are small.
///
/// Without merging, a thousand pieces of one byte each would need a hundred times the memory of their bytes. After
/// merging, at least one of two neighbours is large, and a byte is copied only while its piece is small.
pub(crate) fn merged(last: Option<&Bytes>, next: &[u8]) -> Option<Box<[u8]>> {
    let last = last.filter(|last| last.len() < SMALL && next.len() < SMALL)?;
    Some([last, next].concat().into())
}

#[cfg(test)]
mod tests;
