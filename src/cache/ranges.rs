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
    Whole,
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
        Requested::Whole => return Slice::Whole,
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

fn text(value: String) -> HeaderValue {
    HeaderValue::try_from(value).expect("digits and tokens are visible ASCII")
}

#[cfg(test)]
mod tests {
    use super::*;

    const WHOLE: Bytes = Bytes::from_static(b"0123456789");

    fn slice(range: &[u8], whole: &Bytes, content_type: Option<&HeaderValue>) -> Slice {
        super::slice(range, &whole.clone().into(), content_type)
    }

    #[test]
    fn one_part_shares_the_bytes() {
        let Slice::One { body, content_range } = slice(b"bytes=2-4", &WHOLE, None) else {
            panic!("one part")
        };
        assert_eq!(body, "234");
        assert_eq!(body.as_one().unwrap().as_ptr(), WHOLE[2..].as_ptr());
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
        assert_eq!(body, *expected);
        let shared: Vec<_> = body.slices().map(<[u8]>::as_ptr).collect();
        assert_eq!((shared[1], shared[3]), (WHOLE.as_ptr(), WHOLE[8..].as_ptr()));
    }

    #[test]
    fn several_parts_of_many_pieces_are_a_list_of_them() {
        let pieces: Pieces = (0..1_000).map(|_| Bytes::from_static(&[b'x'; 1_000])).collect();
        let Slice::Several { body, .. } = super::slice(b"bytes=0-399999,600000-", &pieces, None) else {
            panic!("several parts")
        };
        assert_eq!(body.iter().count(), 800 + 3);
    }

    #[test]
    fn what_does_not_exist_is_said_to() {
        let Slice::Unsatisfiable { content_range } = slice(b"bytes=10-", &WHOLE, None) else { panic!("416") };
        assert_eq!(content_range, "bytes */10");
        assert!(matches!(slice(b"lines=1-2", &WHOLE, None), Slice::Whole));
    }
}
