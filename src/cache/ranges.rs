//! Cuts one or several ranges from a stored body (RFC 9110 section 14).

use std::hash::{BuildHasher, RandomState};

use bytes::{Bytes, BytesMut};
use http::HeaderValue;

use crate::message::header::range::{ContentRange, Requested, requested};
use crate::message::pieces::Pieces;

/// The result of applying a `Range` field.
#[derive(Debug)]
pub(crate) enum Slice {
    /// The field is ignored; the whole body is sent.
    Complete,
    /// One range: the body of a 206.
    One { body: Pieces, content_range: HeaderValue },
    /// Several ranges: a `multipart/byteranges` body (RFC 9110 section 14.6).
    Several { body: Pieces, content_type: HeaderValue },
    /// No requested range lies within the body: 416.
    Unsatisfiable { content_range: HeaderValue },
}

/// Cuts the ranges of a `Range` field from a whole body. The parts share its memory.
pub(crate) fn slice(range: &[u8], whole: &Pieces, content_type: Option<&HeaderValue>) -> Slice {
    let length = whole.len() as u64;
    let parts = match requested(range, length) {
        Requested::Complete => return Slice::Complete,
        Requested::Unsatisfiable => {
            return Slice::Unsatisfiable { content_range: text(format!("bytes */{length}")) };
        }
        Requested::Parts(parts) => parts,
    };
    let content_range = |start, end| ContentRange { start, end, complete: Some(length) }.text();
    // The ranges lie within the body, whose length is a usize.
    let at = |position: u64| usize::try_from(position).unwrap_or(whole.len());
    if let [(start, end)] = parts[..] {
        return Slice::One {
            body: whole.slice(at(start)..at(end)),
            content_range: text(content_range(start, end)),
        };
    }
    let boundary = boundary();
    let mut head = BytesMut::new();
    let mut pieces: Vec<Bytes> = Vec::new();
    for (start, end) in parts {
        head.extend_from_slice(format!("--{boundary}\r\n").as_bytes());
        if let Some(content_type) = content_type {
            head.extend_from_slice(b"content-type: ");
            head.extend_from_slice(content_type.as_bytes());
            head.extend_from_slice(b"\r\n");
        }
        head.extend_from_slice(format!("content-range: {}\r\n\r\n", content_range(start, end)).as_bytes());
        pieces.push(head.split().freeze());
        pieces.extend(whole.slice(at(start)..at(end)).iter());
        head.extend_from_slice(b"\r\n");
    }
    head.extend_from_slice(format!("--{boundary}--\r\n").as_bytes());
    pieces.push(head.freeze());
    let content_type = text(format!("multipart/byteranges; boundary={boundary}"));
    Slice::Several { body: pieces.into_iter().collect(), content_type }
}

/// Returns a boundary of 128 random bits, which the author of a body cannot guess.
fn boundary() -> String {
    let random = || RandomState::new().hash_one(());
    format!("{:016x}{:016x}", random(), random())
}

pub(super) fn text(value: String) -> HeaderValue {
    HeaderValue::try_from(value).expect("digits and tokens are visible ASCII")
}

#[cfg(test)]
mod tests;
