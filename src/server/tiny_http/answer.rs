//! One response on its way to the wire: the head and what there is of the body in one write, then
//! the rest.

use std::io::{self, Read, Write};
use std::mem;
use std::panic::{self, AssertUnwindSafe};
use std::time::SystemTime;

use bytes::Bytes;
use http::{Response, StatusCode, Version, response};

use crate::base::error::{Error, ErrorKind};
use crate::cache::fill::is_bodiless;
use crate::message::body::Body;
use crate::pool::protocol;
use crate::server::answer::text;
use crate::server::response_head::{self, Asked, Framing};

/// How much of a body goes out in one write with the head, and in one chunk.
const PIECE: usize = 64 << 10;
/// How much of a stream is collected for a client that knows no chunks.
const COLLECTED: u64 = 16 << 20;
/// Where a chunk size belongs: no client takes this for one, and so the response is seen to have broken
/// off. There is no other way: the connection cannot be closed from here.
const BREAK: &[u8] = b"*** the response broke off\r\n\r\n";

/// Whom the response is for.
#[derive(Debug)]
pub(super) struct Recipient {
    pub(super) asked: Asked,
    /// Whether the connection closes when the writer is dropped.
    pub(super) closes: bool,
}

/// Writes the response and lets go of the writer, so that the next response of the connection may follow.
pub(super) fn write(mut writer: Box<dyn Write + Send>, response: Response<Body>, recipient: &Recipient) {
    let prepared = panic::catch_unwind(AssertUnwindSafe(|| prepare(final_response(response), recipient)));
    // The body is dropped after the writer: a panic there then costs nobody an answer.
    let (parts, mut content) = prepared.unwrap_or_else(|_| {
        log::error!("the body of a response panicked; the request is answered with 500");
        spoken(StatusCode::INTERNAL_SERVER_ERROR, "the handler failed")
    });
    match send(&mut *writer, parts, &mut content, recipient) {
        Ok(()) => drop(writer),
        Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => {
            // The connection may still be open, and a later response written behind this torso would
            // be taken for its rest. What keeps the writer keeps those back.
            log::warn!("a client did not read its response in time; its connection is abandoned");
            mem::forget(writer);
        }
        Err(error) => log::debug!("a client went away during its response: {error}"),
    }
}

/// What follows the head.
enum Content {
    Bytes(Bytes),
    /// The first piece, and the stream that it came from.
    Stream {
        first: Vec<u8>,
        rest: Body,
        length: Option<u64>,
    },
}

impl Content {
    fn length(&self) -> Option<u64> {
        match self {
            Self::Bytes(bytes) => Some(bytes.len() as u64),
            Self::Stream { length, .. } => *length,
        }
    }
}

/// A handler's last word cannot be an interim response.
fn final_response(response: Response<Body>) -> Response<Body> {
    if response.status().is_informational() {
        log::error!("the handler answered with the interim status {}", response.status());
        return text(StatusCode::INTERNAL_SERVER_ERROR, "the handler failed");
    }
    response
}

/// Finds how the body can be sent, and its first piece: as long as no head has gone out, a body that fails
/// is still an honest 502.
fn prepare(response: Response<Body>, recipient: &Recipient) -> (response::Parts, Content) {
    let (parts, body) = response.into_parts();
    if is_bodiless(parts.status, &recipient.asked.method) {
        let length = body.length();
        return (parts, Content::Stream { first: Vec::new(), rest: body, length });
    }
    match content_of(body, recipient) {
        Ok(content) => (parts, content),
        Err(error) => {
            log::warn!("a response could not be read: {error}");
            let (status, line) = if error.kind() == ErrorKind::BodyTooLarge {
                (StatusCode::HTTP_VERSION_NOT_SUPPORTED, "this response is too large for HTTP/1.0")
            } else {
                (StatusCode::BAD_GATEWAY, "the response broke off")
            };
            let (mut parts, content) = spoken(status, line);
            // Without it a client would take this for the origin's own answer.
            protocol::mark_failure(&mut parts.headers, error.kind());
            (parts, content)
        }
    }
}

/// A response of one line.
fn spoken(status: StatusCode, line: &'static str) -> (response::Parts, Content) {
    (text(status, line).into_parts().0, Content::Bytes(Bytes::from_static(line.as_bytes())))
}

fn content_of(mut body: Body, recipient: &Recipient) -> Result<Content, Error> {
    if let Some(bytes) = body.as_bytes() {
        return Ok(Content::Bytes(bytes.clone()));
    }
    let length = body.length();
    let sent_with_length = recipient.closes && length.is_some();
    if length.is_some_and(|length| length <= PIECE as u64) {
        return collected(body, PIECE as u64).map(Content::Bytes);
    }
    if recipient.asked.version == Version::HTTP_10 && !sent_with_length {
        return collected(body, COLLECTED).map(Content::Bytes);
    }
    let mut first = vec![0; PIECE];
    let count = read_some(&mut body, &mut first)?;
    first.truncate(count);
    if count == 0 {
        return match length {
            Some(_) => Err(cut()),
            None => Ok(Content::Bytes(Bytes::new())),
        };
    }
    Ok(Content::Stream { first, rest: body, length: length.filter(|_| sent_with_length) })
}

/// The whole of a body that is as long as it said.
fn collected(body: Body, limit: u64) -> Result<Bytes, Error> {
    let length = body.length();
    let bytes = panic::catch_unwind(AssertUnwindSafe(|| body.into_bytes_limited(limit)))
        .unwrap_or_else(|_| Err(Error::new(ErrorKind::Io, "the stream panicked")))?;
    if length.is_some_and(|length| length != bytes.len() as u64) { Err(cut()) } else { Ok(bytes) }
}

fn cut() -> Error {
    Error::new(ErrorKind::IncompleteBody, "the body is not as long as it said")
}

/// One read; a panic of the stream is a failure of the stream.
fn read_some(body: &mut Body, buffer: &mut [u8]) -> io::Result<usize> {
    loop {
        let read = panic::catch_unwind(AssertUnwindSafe(|| body.read(buffer)))
            .unwrap_or_else(|_| Err(io::Error::other("the stream panicked")));
        match read {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            read => return read,
        }
    }
}

/// Sends everything. An error is one of the connection; a body that fails is told to the client.
fn send(
    writer: &mut dyn Write,
    parts: response::Parts,
    content: &mut Content,
    recipient: &Recipient,
) -> io::Result<()> {
    let head = response_head::encode(parts, &recipient.asked, content.length(), SystemTime::now());
    let mut first_write = head.bytes;
    match (head.framing, content) {
        (Framing::None, _) => writer.write_all(&first_write)?,
        (_, Content::Bytes(bytes)) => {
            let (piece, rest) = bytes.split_at(bytes.len().min(PIECE));
            first_write.extend_from_slice(piece);
            writer.write_all(&first_write)?;
            writer.write_all(rest)?;
        }
        (Framing::Chunked, Content::Stream { first, rest, .. }) => {
            push_chunk(&mut first_write, first);
            send_chunks(writer, first_write, rest, mem::take(first))?;
        }
        (Framing::Length(length), Content::Stream { first, rest, .. }) => {
            first_write.extend_from_slice(first);
            writer.write_all(&first_write)?;
            send_length(writer, rest, mem::take(first), length)?;
        }
        (Framing::UntilClose, Content::Stream { .. }) => {
            unreachable!("a stream without a length is collected for a client that knows no chunks")
        }
    }
    writer.flush()
}

fn push_chunk(bytes: &mut Vec<u8>, data: &[u8]) {
    bytes.extend_from_slice(format!("{:x}\r\n", data.len()).as_bytes());
    bytes.extend_from_slice(data);
    bytes.extend_from_slice(b"\r\n");
}

/// Each piece goes out as it comes: the stream may be slow, and its reader waiting.
fn send_chunks(writer: &mut dyn Write, first: Vec<u8>, body: &mut Body, buffer: Vec<u8>) -> io::Result<()> {
    let (mut frame, mut buffer) = (first, buffer);
    buffer.resize(PIECE, 0);
    loop {
        writer.write_all(&frame)?;
        writer.flush()?;
        frame.clear();
        match read_some(body, &mut buffer) {
            Ok(0) if body.length().is_none_or(|left| left == 0) => return writer.write_all(b"0\r\n\r\n"),
            Ok(count) if count > 0 => push_chunk(&mut frame, &buffer[..count]),
            failed => {
                log::warn!("a response broke off: {}", failed.err().unwrap_or_else(|| cut().into()));
                return writer.write_all(BREAK);
            }
        }
    }
}

/// The connection closes behind it, so that a client sees what is missing.
fn send_length(writer: &mut dyn Write, body: &mut Body, buffer: Vec<u8>, length: u64) -> io::Result<()> {
    let mut left = length.saturating_sub(buffer.len() as u64);
    let mut buffer = buffer;
    buffer.resize(PIECE, 0);
    while left > 0 {
        writer.flush()?;
        let most = usize::try_from(left).map_or(PIECE, |left| left.min(PIECE));
        match read_some(body, &mut buffer[..most]) {
            Ok(count) if count > 0 => {
                writer.write_all(&buffer[..count])?;
                left -= count as u64;
            }
            failed => {
                log::warn!("a response broke off: {}", failed.err().unwrap_or_else(|| cut().into()));
                return Ok(());
            }
        }
    }
    Ok(())
}
