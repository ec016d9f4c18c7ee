//! The part of a body that is in memory: its pieces from some position on. Pure.

use std::collections::VecDeque;

use bytes::Bytes;

use crate::message::pieces::Pieces;

/// Consecutive pieces of a body, each with its position.
#[derive(Clone, Default)]
pub(super) struct BufferedPieces {
    pieces: VecDeque<(u64, Bytes)>,
}

impl BufferedPieces {
    /// Returns the position of the first byte; `None` if no byte is in memory.
    pub(super) fn start(&self) -> Option<u64> {
        self.pieces.front().map(|(at, _)| *at)
    }

    pub(super) fn last(&self) -> Option<&Bytes> {
        self.pieces.back().map(|(_, bytes)| bytes)
    }

    /// Adds a piece at the end. It replaces the pieces that it includes.
    pub(super) fn push(&mut self, at: u64, bytes: Bytes) {
        while self.pieces.back().is_some_and(|(last, _)| *last >= at) {
            self.pieces.pop_back();
        }
        if !bytes.is_empty() {
            self.pieces.push_back((at, bytes));
        }
    }

    /// Returns the piece that contains a position, and the offset in that piece; `None` if the position is not in
    /// memory.
    pub(super) fn at(&self, position: u64) -> Option<(&Bytes, usize)> {
        let index = self.pieces.partition_point(|(at, _)| *at <= position).checked_sub(1)?;
        let (at, bytes) = &self.pieces[index];
        let skip = usize::try_from(position - at).ok()?;
        (skip < bytes.len()).then_some((bytes, skip))
    }

    /// Drops the pieces before a position.
    pub(super) fn drop_before(&mut self, position: u64) {
        while self.pieces.front().is_some_and(|(at, bytes)| at + bytes.len() as u64 <= position) {
            self.pieces.pop_front();
        }
    }

    pub(super) fn pieces(&self) -> Pieces {
        self.pieces.iter().map(|(_, bytes)| bytes.clone()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rest(kept: &BufferedPieces, position: u64) -> Option<&[u8]> {
        kept.at(position).map(|(bytes, skip)| &bytes[skip..])
    }

    #[test]
    fn every_position_is_found_in_its_piece() {
        let mut kept = BufferedPieces::default();
        assert_eq!((kept.start(), rest(&kept, 0)), (None, None));
        for (at, text) in [(0, "abc"), (3, "d"), (4, ""), (4, "ef")] {
            kept.push(at, Bytes::from_static(text.as_bytes()));
        }
        let found: Vec<_> = (0..7).map(|position| rest(&kept, position)).collect();
        let expected =
            [Some(&b"abc"[..]), Some(b"bc"), Some(b"c"), Some(b"d"), Some(b"ef"), Some(b"f"), None];
        assert_eq!(found, expected);
        assert_eq!(kept.pieces(), "abcdef");
        kept.drop_before(3);
        assert_eq!((kept.start(), rest(&kept, 2), rest(&kept, 3)), (Some(3), None, Some(&b"d"[..])));
    }

    #[test]
    fn a_longer_piece_replaces_the_last() {
        let mut kept = BufferedPieces::default();
        kept.push(0, Bytes::from_static(b"abc"));
        kept.push(3, Bytes::from_static(b"d"));
        kept.push(3, Bytes::from_static(b"def"));
        assert_eq!((kept.pieces().iter().count(), rest(&kept, 4)), (2, Some(&b"ef"[..])));
        kept.drop_before(6);
        kept.push(3, Bytes::from_static(b"defg"));
        assert_eq!(rest(&kept, 6), Some(&b"g"[..]));
    }
}
