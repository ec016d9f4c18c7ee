//! The chunked coding of request bodies, undone (RFC 9112 section 7.1).

use crate::base::error::{Error, ErrorKind, Result};

/// A line of the coding is a size or a trailer: longer ones are nonsense.
const LINE_LIMIT: usize = 8 << 10;

/// Where in the coding the next byte stands.
#[derive(Debug)]
pub(super) enum ChunkedDecoder {
    /// In a line that begins a chunk.
    Size(Vec<u8>),
    /// In data, of which so many bytes are to come.
    Data(u64),
    /// In the empty line behind a chunk's data.
    DataEnd(Vec<u8>),
    /// In a line behind the last chunk. Trailers are dropped.
    Trailer(Vec<u8>),
    /// Behind it all.
    End,
}

impl ChunkedDecoder {
    pub(super) const fn new() -> Self {
        Self::Size(Vec::new())
    }

    pub(super) const fn is_complete(&self) -> bool {
        matches!(self, Self::End)
    }

    /// Decodes `input` onto `body`, which does not grow past `limit`.
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

/// Moves input to `line` up to a line's end, and says whether the end was there.
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

/// The size that a line announces; extensions are passed over.
fn size(line: &[u8]) -> Result<u64> {
    let digits = line.split(|byte| *byte == b';').next().unwrap_or_default().trim_ascii();
    // `from_str_radix` would take a sign.
    if !digits.iter().all(u8::is_ascii_hexdigit) {
        return Err(bad());
    }
    std::str::from_utf8(digits).ok().and_then(|digits| u64::from_str_radix(digits, 16).ok()).ok_or_else(bad)
}

fn bad() -> Error {
    Error::new(ErrorKind::BadRequest, "the body of the request is not in chunks")
}

pub(super) fn too_large(limit: usize) -> Error {
    Error::new(ErrorKind::BadRequest, format!("the body of the request is larger than {limit} bytes"))
}

#[cfg(test)]
mod tests;
