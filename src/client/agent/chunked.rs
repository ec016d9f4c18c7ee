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
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn decoded(pieces: &[&[u8]], limit: usize) -> Result<Option<Vec<u8>>> {
        let (mut decoder, mut body) = (ChunkedDecoder::new(), Vec::new());
        for piece in pieces {
            decoder.push(piece, &mut body, limit)?;
        }
        Ok(decoder.is_complete().then_some(body))
    }

    proptest! {
        #[test]
        fn it_does_not_matter_where_the_bytes_are_cut(
            chunks in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..40), 0..6),
            step in 1_usize..50,
        ) {
            let mut coded = Vec::new();
            for chunk in &chunks {
                coded.extend_from_slice(format!("{:x}\r\n", chunk.len()).as_bytes());
                coded.extend_from_slice(chunk);
                coded.extend_from_slice(b"\r\n");
            }
            coded.extend_from_slice(b"0\r\n\r\n");
            let pieces: Vec<&[u8]> = coded.chunks(step).collect();
            prop_assert_eq!(decoded(&pieces, 1000).unwrap(), Some(chunks.concat()));
            let cut: Vec<&[u8]> = coded[..coded.len() - 1].chunks(step).collect();
            prop_assert_eq!(decoded(&cut, 1000).unwrap(), None);
        }

        #[test]
        fn no_input_makes_it_panic(input in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = decoded(&[&input], 50);
        }
    }

    #[test]
    fn extensions_and_trailers_are_passed_over() {
        let coded = b"3 ; a=b\r\nabc\r\n0\r\nx-sum: 1\r\n\r\n";
        assert_eq!(decoded(&[coded], 10).unwrap().unwrap(), b"abc");
    }

    #[test]
    fn what_is_not_chunked_is_refused() {
        for coded in
            [&b"x\r\n"[..], b"\r\n", b"+1\r\na", b"-1\r\n", b"1\na", b"1\r\nab\r\n", b"fffffffffffffffff\r\n"]
        {
            assert_eq!(decoded(&[coded], 10).unwrap_err().kind(), ErrorKind::BadRequest, "{coded:?}");
        }
        assert!(decoded(&[b"0\r\n\r\nmore"], 10).is_err());
        assert!(decoded(&[&[b'1'; LINE_LIMIT + 1]], 10).is_err());
    }

    #[test]
    fn the_body_does_not_grow_past_its_limit() {
        assert_eq!(decoded(&[b"2\r\nab\r\n2\r\ncd\r\n0\r\n\r\n"], 4).unwrap().unwrap(), b"abcd");
        assert_eq!(decoded(&[b"2\r\nab\r\n3\r\ncde"], 4).unwrap_err().kind(), ErrorKind::BadRequest);
    }
}
