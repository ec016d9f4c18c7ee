//! A part, or several, of a stored body (RFC 9110 section 14).

use std::hash::{BuildHasher, RandomState};

use bytes::{Bytes, BytesMut};
use http::HeaderValue;

use crate::header::range::{ContentRange, Requested, requested};

/// What a `Range` field comes to.
#[derive(Debug)]
pub(crate) enum Slice {
    /// The field is ignored.
    Whole,
    /// One part: the body of a 206.
    One { body: Bytes, content_range: HeaderValue },
    /// Several parts: a `multipart/byteranges` body (section 14.6).
    Several { body: Bytes, content_type: HeaderValue },
    /// Nothing of it exists: 416.
    Unsatisfiable { content_range: HeaderValue },
}

/// Cuts what `range` asks for out of a whole body. One part shares the bytes; several are copied.
pub(crate) fn slice(range: &[u8], whole: &Bytes, content_type: Option<&HeaderValue>) -> Slice {
    let length = whole.len() as u64;
    let parts = match requested(range, length) {
        Requested::Whole => return Slice::Whole,
        Requested::Unsatisfiable => {
            return Slice::Unsatisfiable { content_range: text(format!("bytes */{length}")) };
        }
        Requested::Parts(parts) => parts,
    };
    if let [(start, end)] = parts[..] {
        let content_range = text(ContentRange { start, end, complete: Some(length) }.text());
        return Slice::One { body: cut(whole, start, end), content_range };
    }
    let boundary = boundary();
    let mut body = BytesMut::new();
    for (start, end) in parts {
        body.extend_from_slice(format!("--{boundary}\r\n").as_bytes());
        if let Some(content_type) = content_type {
            body.extend_from_slice(b"content-type: ");
            body.extend_from_slice(content_type.as_bytes());
            body.extend_from_slice(b"\r\n");
        }
        let content_range = ContentRange { start, end, complete: Some(length) }.text();
        body.extend_from_slice(format!("content-range: {content_range}\r\n\r\n").as_bytes());
        body.extend_from_slice(&cut(whole, start, end));
        body.extend_from_slice(b"\r\n");
    }
    body.extend_from_slice(format!("--{boundary}--\r\n").as_bytes());
    let content_type = text(format!("multipart/byteranges; boundary={boundary}"));
    Slice::Several { body: body.freeze(), content_type }
}

fn cut(whole: &Bytes, start: u64, end: u64) -> Bytes {
    // The parts lie within the body, whose length is a usize.
    let at = |position: u64| usize::try_from(position).unwrap_or(whole.len());
    whole.slice(at(start)..at(end))
}

/// A boundary that no body can have been written to contain: 128 random bits.
fn boundary() -> String {
    let random = || RandomState::new().hash_one(());
    format!("{:016x}{:016x}", random(), random())
}

fn text(value: String) -> HeaderValue {
    HeaderValue::try_from(value).expect("digits and tokens are visible ASCII")
}

#[cfg(test)]
mod tests {
    use super::*;

    const WHOLE: Bytes = Bytes::from_static(b"0123456789");

    #[test]
    fn one_part_shares_the_bytes() {
        let Slice::One { body, content_range } = slice(b"bytes=2-4", &WHOLE, None) else {
            panic!("one part")
        };
        assert_eq!(body, "234");
        assert_eq!(body.as_ptr(), WHOLE[2..].as_ptr());
        assert_eq!(content_range, "bytes 2-4/10");
    }

    #[test]
    fn several_parts_are_one_multipart_body() {
        let html = HeaderValue::from_static("text/html");
        let Slice::Several { body, content_type } = slice(b"bytes=0-1,8-", &WHOLE, Some(&html)) else {
            panic!("several parts")
        };
        let boundary = content_type.to_str().unwrap().split_once("boundary=").unwrap().1.to_owned();
        let expected = format!(
            "--{boundary}\r\ncontent-type: text/html\r\ncontent-range: bytes 0-1/10\r\n\r\n01\r\n\
             --{boundary}\r\ncontent-type: text/html\r\ncontent-range: bytes 8-9/10\r\n\r\n89\r\n\
             --{boundary}--\r\n"
        );
        assert_eq!(body, expected);
    }

    #[test]
    fn what_does_not_exist_is_said_to() {
        let Slice::Unsatisfiable { content_range } = slice(b"bytes=10-", &WHOLE, None) else { panic!("416") };
        assert_eq!(content_range, "bytes */10");
        assert!(matches!(slice(b"lines=1-2", &WHOLE, None), Slice::Whole));
    }
}
