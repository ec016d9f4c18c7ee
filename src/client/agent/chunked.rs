//! Decodes chunked request bodies (RFC 9112 section 7.1).

use crate::base::error::{Error, ErrorKind, Result};

/// Maximum length of a line, which is a chunk size or a trailer field.
const LINE_LIMIT: usize = 8 << 10;

/// The decoder's position in the coding.
#[derive(Debug)]
pub(super) enum ChunkedDecoder {
    /// In the line with a chunk size.
    Size(Vec<u8>),
    /// In chunk data, with this many bytes left.
    Data(u64),
    /// In the line end after chunk data.
    DataEnd(Vec<u8>),
    /// In a trailer line after the last chunk. Trailers are dropped.
    Trailer(Vec<u8>),
    /// After the end.
    End,
}

impl ChunkedDecoder {
    pub(super) const fn new() -> Self {
        Self::Size(Vec::new())
    }

    pub(super) const fn is_complete(&self) -> bool {
        matches!(self, Self::End)
    }

    /// Decodes `input` and appends it to `body`, which does not grow beyond `limit`.
    pub(super) fn push(&mut self, mut input: &[u8], body: &mut Vec<u8>, limit: usize) -> Result<()> {
        while !input.is_empty() {
            match self {
                Self::Size(line) => {
                    if take_line(line, &mut input)? {
                        *self = match size(line)? {
                            0 => Self::Trailer(Vec::new()),
                            size => Self::Data(size),
                        };
                    }
                }
                Self::Data(left) => {
                    let count = usize::try_from(*left).map_or(input.len(), |left| left.min(input.len()));
                    if count > limit - body.len() {
                        return Err(too_large(limit));
                    }
                    let (data, rest) = input.split_at(count);
                    body.extend_from_slice(data);
                    input = rest;
                    *left -= count as u64;
                    if *left == 0 {
                        *self = Self::DataEnd(Vec::new());
                    }
                }
                Self::DataEnd(line) => {
                    if take_line(line, &mut input)? {
                        if !line.is_empty() {
                            return Err(bad());
                        }
                        *self = Self::new();
                    }
                }
                Self::Trailer(line) => {
                    if take_line(line, &mut input)? {
                        *self = if line.is_empty() { Self::End } else { Self::Trailer(Vec::new()) };
                    }
                }
                Self::End => return Err(bad()),
            }
        }
        Ok(())
    }
}

/// Moves input to `line` up to a line end; returns whether the line end was found.
fn take_line(line: &mut Vec<u8>, input: &mut &[u8]) -> Result<bool> {
    let end = input.iter().position(|byte| *byte == b'\n');
    let (taken, rest) = input.split_at(end.map_or(input.len(), |at| at + 1));
    line.extend_from_slice(taken);
    *input = rest;
    if line.len() > LINE_LIMIT {
        return Err(bad());
    }
    if end.is_none() {
        return Ok(false);
    }
    if !line.ends_with(b"\r\n") {
        return Err(bad());
    }
    line.truncate(line.len() - 2);
    Ok(true)
}

/// Parses the chunk size in a line; ignores chunk extensions.
fn size(line: &[u8]) -> Result<u64> {
    let digits = line.split(|byte| *byte == b';').next().unwrap_or_default().trim_ascii();
    // `from_str_radix` would accept a sign.
    if !digits.iter().all(u8::is_ascii_hexdigit) {
        return Err(bad());
    }
    std::str::from_utf8(digits).ok().and_then(|digits| u64::from_str_radix(digits, 16).ok()).ok_or_else(bad)
}

fn bad() -> Error {
    Error::new(ErrorKind::BadRequest, "the request body is not validly chunked")
}

pub(super) fn too_large(limit: usize) -> Error {
    Error::new(ErrorKind::BadRequest, format!("the request body is larger than the limit of {limit} bytes"))
}

#[cfg(test)]
mod tests;
