//! The content of a request out of its framing (RFC 9112 sections 6 and 7.1), however the bytes are split.
//! Pure.

use std::ops::Range;

use http::StatusCode;

use crate::message::header::token::is_token_byte;
use crate::server::request_head::{Refusal, RequestBody};

/// How many bytes of chunk extensions and trailers a message may have.
const MOST_OVERHEAD: usize = 16 << 10;

const fn bad(reason: &'static str) -> Refusal {
    Refusal { status: StatusCode::BAD_REQUEST, reason }
}

/// Reads the content of one request.
#[derive(Debug)]
pub(super) struct Decoder {
    state: State,
    /// Bytes that are neither content nor sizes.
    overhead: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// So much content is left of a body of known length.
    Length(u64),
    /// In a chunk size: its value so far, and its digits.
    Size(u64, u8),
    /// In the space before an extension.
    BeforeExtension(u64),
    /// In the extension of a chunk of this size.
    Extension(u64),
    /// The line feed behind a chunk size.
    SizeEnd(u64),
    /// So much is left of a chunk.
    Chunk(u64),
    /// The line end behind a chunk.
    ChunkEnd,
    ChunkEndLf,
    /// At the start of a trailer line.
    Trailer,
    /// In the name of a trailer.
    TrailerName,
    InTrailer,
    TrailerEnd,
    /// The line feed of the last line.
    LastLf,
    Done,
}

/// What a piece of input comes to.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Decoded {
    /// How much of the input was used.
    pub(super) used: usize,
    /// Where content stands in it.
    pub(super) content: Range<usize>,
}

impl Decoder {
    pub(super) fn new(body: RequestBody) -> Self {
        let state = match body {
            RequestBody::None | RequestBody::Length(0) => State::Done,
            RequestBody::Length(length) => State::Length(length),
            RequestBody::Chunked => State::Size(0, 0),
        };
        Self { state, overhead: 0 }
    }

    /// Whether all of it has come.
    pub(super) fn is_done(&self) -> bool {
        self.state == State::Done
    }

    /// Reads up to the end of the first run of content.
    ///
    /// # Errors
    ///
    /// The framing is malformed: where the message ends, nobody knows.
    pub(super) fn decode(&mut self, input: &[u8]) -> Result<Decoded, Refusal> {
        let mut at = 0;
        while let Some(&byte) = input.get(at) {
            match self.state {
                State::Done => break,
                State::Length(left) | State::Chunk(left) => {
                    let here = usize::try_from(left).unwrap_or(usize::MAX).min(input.len() - at);
                    let left = left - here as u64;
                    self.state = match self.state {
                        State::Length(_) if left == 0 => State::Done,
                        State::Length(_) => State::Length(left),
                        _ if left == 0 => State::ChunkEnd,
                        _ => State::Chunk(left),
                    };
                    return Ok(Decoded { used: at + here, content: at..at + here });
                }
                _ => self.state = self.framing(byte)?,
            }
            at += 1;
        }
        Ok(Decoded { used: at, content: at..at })
    }

    /// The state behind a byte of framing.
    fn framing(&mut self, byte: u8) -> Result<State, Refusal> {
        Ok(match (self.state, byte) {
            (State::Size(size, digits), byte) if byte.is_ascii_hexdigit() => {
                // Sixteen digits are all that a size can have.
                if digits == 16 {
                    return Err(bad("a chunk size is out of range"));
                }
                let digit = (byte as char).to_digit(16).unwrap_or(0);
                State::Size(size << 4 | u64::from(digit), digits + 1)
            }
            (State::Size(_, 0), _) => return Err(bad("a chunk has no size")),
            (State::Size(size, _), b'\r') => State::SizeEnd(size),
            (State::Size(size, _) | State::BeforeExtension(size), b';') => {
                self.overhead(State::Extension(size))?
            }
            (State::Size(size, _) | State::BeforeExtension(size), b' ' | b'\t') => {
                self.overhead(State::BeforeExtension(size))?
            }
            (State::BeforeExtension(_), _) => return Err(bad("a chunk size is not a number")),
            (State::Size(..), _) => return Err(bad("a chunk size is not a number")),
            (State::Extension(size), b'\r') => State::SizeEnd(size),
            (State::Extension(size), b'\t' | b' '..=b'~' | 0x80..) => {
                self.overhead(State::Extension(size))?
            }
            (State::Extension(_), _) => return Err(bad("a chunk extension holds a control byte")),
            (State::SizeEnd(0), b'\n') => State::Trailer,
            (State::SizeEnd(size), b'\n') => State::Chunk(size),
            (State::ChunkEnd, b'\r') => State::ChunkEndLf,
            (State::ChunkEndLf, b'\n') => State::Size(0, 0),
            (State::ChunkEnd | State::ChunkEndLf, _) => {
                return Err(bad("a chunk is not as long as it says"));
            }
            (State::Trailer, b'\r') => State::LastLf,
            (State::InTrailer, b'\r') => State::TrailerEnd,
            (State::Trailer | State::TrailerName, byte) if is_token_byte(byte) => {
                self.overhead(State::TrailerName)?
            }
            (State::TrailerName, b':') => self.overhead(State::InTrailer)?,
            (State::InTrailer, b'\t' | b' '..=b'~' | 0x80..) => self.overhead(State::InTrailer)?,
            (State::TrailerEnd, b'\n') => State::Trailer,
            (State::LastLf, b'\n') => State::Done,
            _ => return Err(bad("the end of a chunked body is malformed")),
        })
    }

    fn overhead(&mut self, next: State) -> Result<State, Refusal> {
        self.overhead += 1;
        if self.overhead > MOST_OVERHEAD {
            let reason = "chunk extensions and trailers are too large";
            return Err(Refusal { status: StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE, reason });
        }
        Ok(next)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The content, and what is left of the input.
    fn decoded(body: RequestBody, pieces: &[&[u8]]) -> Result<(Vec<u8>, bool, usize), u16> {
        let mut decoder = Decoder::new(body);
        let (mut content, mut left) = (Vec::new(), 0);
        for piece in pieces {
            let mut rest = *piece;
            while !rest.is_empty() && !decoder.is_done() {
                let decoded = decoder.decode(rest).map_err(|refusal| refusal.status.as_u16())?;
                content.extend_from_slice(&rest[decoded.content]);
                rest = &rest[decoded.used..];
            }
            left += rest.len();
        }
        Ok((content, decoder.is_done(), left))
    }

    fn chunked(input: &str) -> Result<(Vec<u8>, bool, usize), u16> {
        decoded(RequestBody::Chunked, &[input.as_bytes()])
    }

    #[test]
    fn a_length_ends_where_it_says() {
        let body = RequestBody::Length(3);
        assert_eq!(decoded(body, &[b"ab", b"cd"]), Ok((b"abc".to_vec(), true, 1)));
        assert_eq!(decoded(body, &[b"ab"]), Ok((b"ab".to_vec(), false, 0)));
        assert_eq!(decoded(RequestBody::None, &[b"ab"]), Ok((vec![], true, 2)));
    }

    #[test]
    fn chunks_extensions_and_trailers() {
        let input = "3\r\nabc\r\nA;x=\"y\"\r\n0123456789\r\n0\r\nx: y\r\nz: \r\n\r\nGET";
        assert_eq!(chunked(input), Ok((b"abc0123456789".to_vec(), true, 3)));
        assert_eq!(chunked("1 \t;x\r\na\r\n0\r\n\r\n"), Ok((b"a".to_vec(), true, 0)));
        assert_eq!(chunked("000\r\n\r\n"), Ok((vec![], true, 0)));
        assert_eq!(chunked("1\r\na\r\n"), Ok((b"a".to_vec(), false, 0)));
    }

    #[test]
    fn what_is_no_chunk_is_refused() {
        for input in [
            "\r\n",
            "g\r\n",
            "+1\r\na",
            "-1\r\n",
            "0x1\r\na",
            ";a\r\n",
            " 1\r\na",
            "1 \r\na",
            "1 2\r\na",
            "1 a;b\r\na",
            "1\na\r\n",
            "1\r\na\n",
            "1\r\nab",
            "1\r\na\rb",
            "1\rx",
            "00000000000000001\r\na",
            "FFFFFFFFFFFFFFFFF\r\n",
            "1;a\u{0}\r\na",
            "1;a\nb\r\na",
            "0\r\n\n",
            "0\r\na: b\n",
            "0\r\na\u{1}: b\r\n",
            "0\r\na: b\u{1}\r\n",
            "0\r\na b: c\r\n",
            "0\r\na\r\n",
            "0\r\n: a\r\n",
            "0\r\n a: b\r\n",
            "0\r\n\rx",
        ] {
            assert_eq!(chunked(input), Err(400), "{input:?}");
        }
    }

    #[test]
    fn endless_extensions_and_trailers_are_refused() {
        let long = "a".repeat(MOST_OVERHEAD + 1);
        assert_eq!(chunked(&format!("1;{long}")), Err(431));
        assert_eq!(chunked(&format!("0\r\n{long}")), Err(431));
        let many = "1;aaaaaaaa\r\nx\r\n".repeat(MOST_OVERHEAD / 8);
        assert_eq!(chunked(&many), Err(431));
        assert_eq!(chunked(&format!("0\r\n{}", "a: b\r\n".repeat(MOST_OVERHEAD / 4 + 1))), Err(431));
    }

    proptest! {
        #[test]
        fn splits_change_nothing(input in "[0-9aF;\r\nx]{0,40}", at in 0_usize..40) {
            let at = at.min(input.len());
            let (one, other) = input.as_bytes().split_at(at);
            prop_assert_eq!(decoded(RequestBody::Chunked, &[one, other]), chunked(&input));
        }

        #[test]
        fn what_is_written_in_chunks_is_read_back(
            chunks in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..40), 0..6),
        ) {
            let mut wire = Vec::new();
            for chunk in &chunks {
                wire.extend_from_slice(format!("{:x}\r\n", chunk.len()).as_bytes());
                wire.extend_from_slice(chunk);
                wire.extend_from_slice(b"\r\n");
            }
            wire.extend_from_slice(b"0\r\n\r\n");
            prop_assert_eq!(decoded(RequestBody::Chunked, &[&wire]), Ok((chunks.concat(), true, 0)));
        }
    }
}
