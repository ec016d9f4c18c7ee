//! A sequence of shared bytes in pieces, as a body arrives and as a store holds it.

use std::fmt;
use std::io::{self, Read};
use std::ops::Range;
use std::sync::Arc;

use bytes::{Buf, Bytes};

/// Bytes in one or more shared pieces: immutable, and cheap to clone and to slice.
///
/// One piece is held inline, several behind an `Arc`. Neither a clone nor a slice copies a byte; a slice of several
/// pieces keeps all of them in memory for as long as it lives, and one [piece](Self::iter) keeps only itself.
///
/// ```
/// use bytes::Bytes;
/// use forwardcache::Pieces;
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
    /// Of these pieces, `length` bytes beginning `skip` bytes into the piece `first`, in which at least one byte lies.
    /// Not larger than one piece inline, because every stored response has one of these.
    Several {
        pieces: Arc<Box<[Bytes]>>,
        first: u32,
        skip: u32,
        length: usize,
    },
}

impl Pieces {
    /// No bytes.
    #[must_use]
    pub const fn new() -> Self {
        Self(Inner::One(Bytes::new()))
    }

    /// The number of bytes in all pieces together.
    #[must_use]
    pub fn len(&self) -> usize {
        match &self.0 {
            Inner::One(bytes) => bytes.len(),
            Inner::Several { length, .. } => *length,
        }
    }

    /// Whether there is no byte.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The pieces in order, none of them empty. Copies nothing.
    pub fn iter(&self) -> impl Iterator<Item = Bytes> + '_ {
        self.spans().map(|(piece, span)| piece.slice(span))
    }

    /// The same without sharing them.
    pub fn slices(&self) -> impl Iterator<Item = &[u8]> + '_ {
        self.spans().map(|(piece, span)| &piece[span])
    }

    /// Each piece, and which part of it belongs to this sequence.
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

    /// The bytes of a range. Copies nothing.
    ///
    /// # Panics
    ///
    /// If the range does not lie within `0..len`.
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

    /// Keeps the first `count` bytes.
    fn truncate(&mut self, count: usize) {
        match &mut self.0 {
            Inner::One(bytes) => bytes.truncate(count),
            Inner::Several { length, .. } => {
                *length = count.min(*length);
                self.unwrap_one();
            }
        }
    }

    /// Lets go of all pieces but one, where that holds all of the bytes.
    fn unwrap_one(&mut self) {
        if let Inner::Several { pieces, first, skip, length } = &self.0
            && let (piece, skip) = (&pieces[*first as usize], *skip as usize)
            && skip + *length <= piece.len()
        {
            self.0 = Inner::One(piece.slice(skip..skip + *length));
        }
    }

    /// These bytes and then others. Shares their pieces: only small neighbours are merged, into one that `share` makes.
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

    /// The only piece; `None` if there are several.
    #[must_use]
    pub fn as_one(&self) -> Option<&Bytes> {
        match &self.0 {
            Inner::One(bytes) => Some(bytes),
            Inner::Several { .. } => None,
        }
    }

    /// The bytes in one piece. Copies them if there are several pieces.
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

/// Pieces in order; empty ones are left out.
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

/// The same in pieces whose positions fit into 32 bits.
fn short(piece: Bytes) -> impl Iterator<Item = Bytes> {
    const MOST: usize = 1 << 30;
    (0..piece.len()).step_by(MOST).map(move |from| piece.slice(from..piece.len().min(from + MOST)))
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

/// A piece shorter than this is merged with its neighbour if that is shorter, too.
const SMALL: usize = 4 * 1024;

/// The end of a sequence and what follows it as one piece, if both are small: a thousand pieces of one byte each would
/// cost a hundred times what they hold. Of two neighbours one is always large, and a byte is copied only while the piece
/// that it is in is small.
pub(crate) fn merged(last: Option<&Bytes>, next: &[u8]) -> Option<Box<[u8]>> {
    let last = last.filter(|last| last.len() < SMALL && next.len() < SMALL)?;
    Some([last, next].concat().into())
}

#[cfg(test)]
mod tests {
    use std::time::UNIX_EPOCH;

    use super::*;

    fn of(texts: &[&'static str]) -> Pieces {
        texts.iter().map(|text| Bytes::from_static(text.as_bytes())).collect()
    }

    /// Numbers that depend on the seed alone (splitmix64).
    fn below(state: &mut u64, bound: usize) -> usize {
        *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (*state ^ (*state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((mixed ^ (mixed >> 31)) % bound as u64).unwrap()
    }

    fn letter(state: &mut u64) -> u8 {
        b"abc"[below(state, 3)]
    }

    #[test]
    fn slicing_and_reading_do_what_a_vector_does() {
        let first = UNIX_EPOCH.elapsed().unwrap().as_secs();
        for seed in first..first + 300 {
            let mut random = seed;
            let parts: Vec<Vec<u8>> = (0..below(&mut random, 9))
                .map(|_| (0..below(&mut random, 5)).map(|_| letter(&mut random)).collect())
                .collect();
            let twin = parts.concat();
            let pieces: Pieces = parts.into_iter().map(Bytes::from).collect();
            assert_eq!(pieces, twin, "seed {seed}");
            for start in 0..=twin.len() {
                for end in start..=twin.len() {
                    let slice = pieces.slice(start..end);
                    assert_eq!(slice, twin[start..end], "seed {seed}, {start}..{end}");
                    assert_eq!(slice, slice.iter().collect::<Pieces>(), "seed {seed}, {start}..{end}");
                    assert!(slice.slices().all(|piece| !piece.is_empty()));
                    assert_eq!(slice.to_bytes(), twin[start..end]);
                    let middle = below(&mut random, end - start + 1);
                    assert_eq!(slice.slice(middle..slice.len()), twin[start + middle..end], "seed {seed}");
                }
            }
            let (mut rest, mut read) = (pieces, Vec::new());
            while !rest.is_empty() {
                let mut buffer = [0; 7];
                let count = rest.read(&mut buffer[..1 + below(&mut random, 7)]).unwrap();
                read.extend_from_slice(&buffer[..count]);
                assert_eq!(rest, twin[read.len()..], "seed {seed}");
            }
            assert_eq!(read, twin, "seed {seed}");
        }
    }

    #[test]
    fn a_slice_shares_its_bytes() {
        let pieces = of(&["abc", "def", "ghi"]);
        let slice = pieces.slice(1..8);
        let addresses: Vec<_> = slice.slices().map(<[u8]>::as_ptr).collect();
        let expected: Vec<_> = pieces.slices().map(<[u8]>::as_ptr).collect();
        assert_eq!(addresses[1..], expected[1..]);
        assert_eq!(addresses[0], expected[0].wrapping_add(1));
        assert_eq!(pieces.slice(3..5).as_one().unwrap().as_ptr(), expected[1]);
    }

    #[test]
    fn sequences_are_equal_however_they_are_cut() {
        assert_eq!(of(&["ab", "c"]), of(&["a", "", "bc"]));
        assert_ne!(of(&["ab", "c"]), of(&["ab", "d"]));
        assert_ne!(of(&["ab", "c"]), of(&["ab"]));
        assert_eq!(of(&[]), Pieces::new());
    }

    #[test]
    fn one_piece_is_held_inline() {
        assert_eq!(size_of::<Pieces>(), size_of::<Bytes>());
        let bytes = Bytes::from(vec![1, 2, 3]);
        assert_eq!(Pieces::from(bytes.clone()).as_one().unwrap().as_ptr(), bytes.as_ptr());
    }

    #[test]
    fn bytes_that_come_one_by_one_are_few_pieces_and_seldom_copied() {
        const COUNT: usize = 100_000;
        let one = Pieces::from(Bytes::from_static(b"x"));
        let (mut pieces, copied) = (Pieces::new(), std::cell::Cell::new(0));
        for _ in 0..COUNT {
            pieces = pieces.joined(&one, |bytes| {
                copied.set(copied.get().max(bytes.len()));
                bytes.into_vec().into()
            });
        }
        assert_eq!(pieces.len(), COUNT);
        assert!(pieces.iter().count() <= COUNT / SMALL + 1, "{pieces:?}");
        assert!(copied.get() <= 2 * SMALL);
    }

    #[test]
    fn joining_shares_what_is_large_and_copies_no_more_than_small_neighbours() {
        let large: Pieces = (0..768).map(|_| Bytes::from(vec![7; 65_536])).collect();
        let copied = std::cell::Cell::new(0);
        let share = |bytes: Box<[u8]>| {
            copied.set(copied.get() + bytes.len());
            Bytes::from(bytes.into_vec())
        };
        let first = large.joined(&Bytes::from_static(b"x").into(), share);
        let second = first.joined(&Bytes::from_static(b"y").into(), share);
        assert_eq!((second.len(), copied.get()), (large.len() + 2, 2));
        let same = large.slices().zip(second.slices()).filter(|(one, other)| one.as_ptr() == other.as_ptr());
        assert_eq!(same.count(), 768);
    }
}
