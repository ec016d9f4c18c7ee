//! Removes the framing of a request body (RFC 9112 sections 6 and 7.1), however the bytes are split. Pure.

use std::ops::Range;

use http::StatusCode;

use crate::message::header::token::is_token_byte;
use crate::server::request_head::{Rejection, RequestBody};

/// Maximum total size of chunk extensions and trailers, in bytes.
const MAX_OVERHEAD: usize = 16 << 10;

const fn bad(reason: &'static str) -> Rejection {
    Rejection { status: StatusCode::BAD_REQUEST, reason }
}

/// Decodes the body of one request.
#[derive(Debug)]
pub(super) struct Decoder {
    state: State,
    /// Number of bytes of extensions and trailers so far.
    overhead: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// In a body of known length: the bytes left.
    Length(u64),
    /// In a chunk size: its value so far, and its number of digits.
    Size(u64, u8),
    /// In whitespace before the extension of a chunk of this size.
    BeforeExtension(u64),
    /// In the extension of a chunk of this size.
    Extension(u64),
    /// Before the LF that ends the line of this chunk size.
    SizeEnd(u64),
    /// In a chunk: the bytes left.
    Chunk(u64),
    /// Before the CR LF that ends a chunk.
    ChunkEnd,
    ChunkEndLf,
    /// At the start of a trailer line or of the last line.
    Trailer,
    /// In the name of a trailer field.
    TrailerName,
    InTrailer,
    TrailerEnd,
    /// Before the LF of the last line.
    LastLf,
    Done,
}

/// The result of decoding a piece of input.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Decoded {
    /// Number of bytes consumed.
    pub(super) used: usize,
    /// The range of body bytes in the input.
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

    /// Returns whether the body is complete.
    pub(super) fn is_done(&self) -> bool {
        self.state == State::Done
    }

    /// Decodes input up to the end of its first run of body bytes.
    ///
    /// # Errors
    ///
    /// Returns the reason if the framing is malformed; the end of the message is then unknown.
    pub(super) fn decode(&mut self, input: &[u8]) -> Result<Decoded, Rejection> {
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

    /// Returns the state after a byte of framing.
    fn framing(&mut self, byte: u8) -> Result<State, Rejection> {
        Ok(match (self.state, byte) {
            (State::Size(size, digits), byte) if byte.is_ascii_hexdigit() => {
                // 16 hexadecimal digits fill a 64-bit size.
                if digits == 16 {
                    return Err(bad("a chunk size is out of range"));
                }
                let digit = (byte as char).to_digit(16).unwrap_or(0);
                State::Size(size << 4 | u64::from(digit), digits + 1)
            }
            (State::Size(_, 0), _) => return Err(bad("a chunk size is missing")),
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
            (State::Extension(_), _) => return Err(bad("a chunk extension contains a control byte")),
            (State::SizeEnd(0), b'\n') => State::Trailer,
            (State::SizeEnd(size), b'\n') => State::Chunk(size),
            (State::ChunkEnd, b'\r') => State::ChunkEndLf,
            (State::ChunkEndLf, b'\n') => State::Size(0, 0),
            (State::ChunkEnd | State::ChunkEndLf, _) => {
                return Err(bad("a chunk is longer than its size"));
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

    fn overhead(&mut self, next: State) -> Result<State, Rejection> {
        self.overhead += 1;
        if self.overhead > MAX_OVERHEAD {
            let reason = "chunk extensions and trailers are too large";
            return Err(Rejection { status: StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE, reason });
        }
        Ok(next)
    }
}

#[cfg(test)]
mod tests;
