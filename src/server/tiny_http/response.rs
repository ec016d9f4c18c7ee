//! Sends one response: the head and the available part of the body in one write, then the rest.

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
use crate::server::error_response::text;
use crate::server::response_head::{self, Framing, RequestSummary};

/// Maximum number of body bytes in the write with the head, and in one chunk.
const PIECE: usize = 64 << 10;
/// Maximum size of a streamed body that is collected for an HTTP/1.0 client.
const MAX_COLLECTED: u64 = 16 << 20;
/// Sent in place of a chunk size to mark an incomplete response: no client can parse it. tiny_http offers no
/// way to close the connection.
const FAILURE_MARK: &[u8] = b"*** the response is incomplete\r\n\r\n";

/// The properties of the client's request that determine how its response is sent.
#[derive(Debug)]
pub(super) struct Recipient {
    pub(super) summary: RequestSummary,
    /// Whether tiny_http closes the connection when the writer is dropped.
    pub(super) closes: bool,
}

/// Writes the response and drops the writer, which lets the connection's next response follow.
pub(super) fn write(mut writer: Box<dyn Write + Send>, response: Response<Body>, recipient: &Recipient) {
    let prepared = panic::catch_unwind(AssertUnwindSafe(|| prepare(final_response(response), recipient)));
    // The body is dropped after the writer, so that a panic in its `drop` cannot spoil the response.
    let (parts, mut content) = prepared.unwrap_or_else(|_| {
        log::error!("a response body panicked; the server sends 500");
        text_response(StatusCode::INTERNAL_SERVER_ERROR, "the handler failed")
    });
    match send(&mut *writer, parts, &mut content, recipient) {
        Ok(()) => drop(writer),
        Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => {
            // The connection may still be open. A later response must not follow the incomplete one; keeping
            // the writer prevents that.
            log::warn!(
                "a client did not read its response within the write timeout; its connection is abandoned"
            );
            mem::forget(writer);
        }
        Err(error) => log::debug!("a client disconnected during its response: {error}"),
    }
}

/// The bytes after the head.
enum Content {
    Bytes(Bytes),
    /// The first piece of a stream, and the rest of the stream.
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

/// Replaces an interim response by a 500: a handler must return a final response.
fn final_response(response: Response<Body>) -> Response<Body> {
    if response.status().is_informational() {
        log::error!(
            "the handler returned the interim status {} as its response; the server sends 500",
            response.status()
        );
        return text(StatusCode::INTERNAL_SERVER_ERROR, "the handler failed");
    }
    response
}

/// Chooses how to send the body, and reads its first piece. If the body fails before the head is sent, the
/// response becomes a 502.
fn prepare(response: Response<Body>, recipient: &Recipient) -> (response::Parts, Content) {
    let (parts, body) = response.into_parts();
    if is_bodiless(parts.status, &recipient.summary.method) {
        let length = body.length();
        return (parts, Content::Stream { first: Vec::new(), rest: body, length });
    }
    match content_of(body, recipient) {
        Ok(content) => (parts, content),
        Err(error) => {
            log::warn!("cannot read a response body: {error:#}");
            let (status, line) = if error.kind() == ErrorKind::BodyTooLarge {
                (StatusCode::HTTP_VERSION_NOT_SUPPORTED, "the response is too large for HTTP/1.0")
            } else {
                (StatusCode::BAD_GATEWAY, "the response is incomplete")
            };
            let (mut parts, content) = text_response(status, line);
            // Without this mark a client of the pool would take the response for the origin's.
            protocol::mark_failure(&mut parts.headers, error.kind());
            (parts, content)
        }
    }
}

/// Builds a response with one line of text.
fn text_response(status: StatusCode, line: &'static str) -> (response::Parts, Content) {
    (text(status, line).into_parts().0, Content::Bytes(Bytes::from_static(line.as_bytes())))
}

fn content_of(mut body: Body, recipient: &Recipient) -> Result<Content, Error> {
    if let Some(bytes) = body.as_bytes() {
        return Ok(Content::Bytes(bytes.clone()));
    }
    let length = body.length();
    let sent_with_length = recipient.closes && length.is_some();
    if length.is_some_and(|length| length <= PIECE as u64) {
        return collect(body, PIECE as u64).map(Content::Bytes);
    }
    if recipient.summary.version == Version::HTTP_10 && !sent_with_length {
        return collect(body, MAX_COLLECTED).map(Content::Bytes);
    }
    let mut first = vec![0; PIECE];
    let count = read_some(&mut body, &mut first)?;
    first.truncate(count);
    if count == 0 {
        return match length {
            Some(_) => Err(incomplete()),
            None => Ok(Content::Bytes(Bytes::new())),
        };
    }
    Ok(Content::Stream { first, rest: body, length: length.filter(|_| sent_with_length) })
}

/// Reads a whole body and checks its announced length.
fn collect(body: Body, limit: u64) -> Result<Bytes, Error> {
    let length = body.length();
    let bytes = panic::catch_unwind(AssertUnwindSafe(|| body.into_bytes_limited(limit)))
        .unwrap_or_else(|_| Err(Error::new(ErrorKind::Io, "the body panicked")))?;
    if length.is_some_and(|length| length != bytes.len() as u64) { Err(incomplete()) } else { Ok(bytes) }
}

fn incomplete() -> Error {
    Error::new(ErrorKind::IncompleteBody, "the body does not have its announced length")
}

/// Reads once. A panic of the stream becomes an error.
fn read_some(body: &mut Body, buffer: &mut [u8]) -> io::Result<usize> {
    loop {
        let read = panic::catch_unwind(AssertUnwindSafe(|| body.read(buffer)))
            .unwrap_or_else(|_| Err(io::Error::other("the body panicked")));
        match read {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            read => return read,
        }
    }
}

/// Sends head and body. Returns errors of the connection only; a failed body is signalled to the client.
fn send(
    writer: &mut dyn Write,
    parts: response::Parts,
    content: &mut Content,
    recipient: &Recipient,
) -> io::Result<()> {
    let head = response_head::encode(parts, &recipient.summary, content.length(), SystemTime::now());
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
            unreachable!("a stream of unknown length is collected for an HTTP/1.0 client")
        }
    }
    writer.flush()
}

fn push_chunk(bytes: &mut Vec<u8>, data: &[u8]) {
    bytes.extend_from_slice(format!("{:x}\r\n", data.len()).as_bytes());
    bytes.extend_from_slice(data);
    bytes.extend_from_slice(b"\r\n");
}

/// Flushes each piece: the stream may be slow, and the client waits for its bytes.
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
                log::warn!(
                    "reading a response body failed: {:#}; the response is incomplete",
                    failed.err().unwrap_or_else(|| incomplete().into())
                );
                return writer.write_all(FAILURE_MARK);
            }
        }
    }
}

/// The connection closes afterwards, so the client can detect missing bytes.
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
                log::warn!(
                    "reading a response body failed: {:#}; the response is incomplete",
                    failed.err().unwrap_or_else(|| incomplete().into())
                );
                return Ok(());
            }
        }
    }
    Ok(())
}
