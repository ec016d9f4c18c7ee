//! Normalises the chunked coding of a response for ureq (RFC 9112 section 7.1).
//!
//! ureq rejects long chunk extensions, which a recipient must ignore, and accepts signs in chunk sizes. This
//! module parses each size strictly and writes it again without extensions. It drops trailers.

use crate::base::error::{Error, ErrorKind, Result};

/// The longest chunk-size line (with extensions) or trailer line, in bytes.
const MAX_LINE_BYTES: usize = 8 << 10;

/// The largest size of all trailers together, in bytes.
const MAX_TRAILER_BYTES: usize = 64 << 10;

/// The parser's position in the coding.
#[derive(Debug)]
enum State {
    /// In the line with a chunk size.
    Size,
    /// In chunk data; the value is the number of bytes still to read.
    Data(u64),
    /// In the empty line after the data of a chunk.
    DataEnd,
    /// In the trailers after the last chunk; the value is their size so far in bytes.
    Trailers(usize),
    End,
}

/// An incremental parser of the chunked coding.
#[derive(Debug)]
pub(super) struct ChunkParser {
    state: State,
    line: Vec<u8>,
}

impl ChunkParser {
    pub(super) const fn new() -> Self {
        Self { state: State::Size, line: Vec::new() }
    }

    /// Whether the parser has read the end of the body.
    pub(super) const fn has_ended(&self) -> bool {
        matches!(self.state, State::End)
    }

    /// Parses `input`, appends the normalised coding to `out`, and returns the number of input bytes that
    /// belong to the body.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::BadResponse`] if the input is not valid chunked coding or a line is too long.
    pub(super) fn push(&mut self, input: &[u8], out: &mut Vec<u8>) -> Result<usize> {
        let mut rest = input;
        while !rest.is_empty() && !self.has_ended() {
            if let State::Data(left) = &mut self.state {
                let count = usize::try_from(*left).map_or(rest.len(), |left| left.min(rest.len()));
                out.extend_from_slice(&rest[..count]);
                rest = &rest[count..];
                *left -= count as u64;
                if *left == 0 {
                    self.state = State::DataEnd;
                }
                continue;
            }
            if !self.take_line(&mut rest)? {
                break;
            }
            self.state = match self.state {
                State::DataEnd if self.line.is_empty() => {
                    out.extend_from_slice(b"\r\n");
                    State::Size
                }
                State::Size => match size(&self.line)? {
                    0 => State::Trailers(0),
                    size => {
                        out.extend_from_slice(format!("{size:x}\r\n").as_bytes());
                        State::Data(size)
                    }
                },
                State::Trailers(_) if self.line.is_empty() => {
                    out.extend_from_slice(b"0\r\n\r\n");
                    State::End
                }
                State::Trailers(length) if length + self.line.len() <= MAX_TRAILER_BYTES => {
                    State::Trailers(length + self.line.len())
                }
                _ => return Err(invalid()),
            };
            self.line.clear();
        }
        Ok(input.len() - rest.len())
    }

    /// Moves input to `self.line` up to the end of the line. Returns whether the line is complete; a complete
    /// line has no line ending.
    fn take_line(&mut self, input: &mut &[u8]) -> Result<bool> {
        let end = input.iter().position(|byte| *byte == b'\n');
        let (taken, rest) = input.split_at(end.map_or(input.len(), |at| at + 1));
        self.line.extend_from_slice(taken);
        *input = rest;
        if self.line.len() > MAX_LINE_BYTES || (end.is_some() && !self.line.ends_with(b"\r\n")) {
            return Err(invalid());
        }
        if end.is_some() {
            self.line.truncate(self.line.len() - 2);
        }
        Ok(end.is_some())
    }
}

/// Parses the chunk size of a line and ignores extensions.
fn size(line: &[u8]) -> Result<u64> {
    let digits = line.split(|byte| *byte == b';').next().unwrap_or_default().trim_ascii();
    // `from_str_radix` accepts a sign, so check the digits first. It reports overflow.
    let is_number = !digits.is_empty() && digits.iter().all(u8::is_ascii_hexdigit);
    let size = is_number.then(|| u64::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok());
    // Buffers are indexed by `usize`.
    size.flatten().filter(|size| usize::try_from(*size).is_ok()).ok_or_else(invalid)
}

fn invalid() -> Error {
    Error::new(ErrorKind::BadResponse, "the body of the response is not valid chunked coding")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(coded: &[u8], step: usize) -> Result<(String, usize, bool)> {
        let (mut chunks, mut out, mut taken) = (ChunkParser::new(), Vec::new(), 0);
        for piece in coded.chunks(step) {
            taken += chunks.push(piece, &mut out)?;
        }
        Ok((String::from_utf8(out).unwrap(), taken, chunks.has_ended()))
    }

    #[test]
    fn extensions_and_trailers_are_dropped_at_every_split_of_the_input() {
        let extension = format!(";name=\"{}\"", "x".repeat(1000));
        let coded = format!("003 {extension}\r\nabc\r\nA\r\n0123456789\r\n000;a\r\nX-Sum: 1\r\n\r\nHTTP/1.1");
        for step in 1..coded.len() {
            let (out, taken, has_ended) = read(coded.as_bytes(), step).unwrap();
            assert_eq!(out, "3\r\nabc\r\na\r\n0123456789\r\n0\r\n\r\n");
            assert_eq!((taken, has_ended), (coded.len() - "HTTP/1.1".len(), true));
        }
    }

    #[test]
    fn invalid_chunked_coding_is_rejected() {
        for coded in
            ["x\r\n", "\r\n", "+1\r\na", "-1\r\n", "1\na", "1\r\nab\r\n", "fffffffffffffffff\r\n", "0\r\n\n"]
        {
            assert_eq!(read(coded.as_bytes(), 100).unwrap_err().kind(), ErrorKind::BadResponse, "{coded:?}");
        }
        assert!(read(&[b'1'; MAX_LINE_BYTES + 1], 100).is_err());
        let trailers = format!("0\r\n{}", "a: b\r\n".repeat(20_000));
        assert!(read(trailers.as_bytes(), 100).is_err());
    }
}
