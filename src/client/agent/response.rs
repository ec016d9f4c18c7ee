//! Serialises a response into the bytes that ureq reads.

use std::io::{self, Read};
use std::mem;
use std::time::Instant;

use http::header::{self, HeaderMap};
use http::{Method, Response, StatusCode, Uri};
use parking_lot::Mutex;

use super::read_ahead;
use crate::base::error::{Error, ErrorKind, Result};
use crate::message::body::Body;
use crate::message::header::hop_by_hop;

/// Maximum chunk size of a body of unknown length.
const CHUNK_SIZE: usize = 16 << 10;

/// A response being written: first the head, then the body as ureq reads it.
#[derive(Debug)]
pub(super) struct OutgoingResponse {
    url: Uri,
    /// Bytes to write next, starting at `pending_from`.
    pending: Vec<u8>,
    pending_from: usize,
    framing: Framing,
    /// Never locked: makes the body `Sync`, as a transport must be.
    body: Mutex<Body>,
    /// The time limit for reading the body.
    until: Option<Instant>,
}

#[derive(Debug)]
enum Framing {
    /// No body.
    None,
    /// This many bytes are left.
    Sized(u64),
    Chunked,
    /// The body ends with the connection. Such an end does not prove that the body is complete, and ureq must
    /// not report that it does.
    UntilClose,
}

impl OutgoingResponse {
    /// Prepares the response to a request with this method and URL.
    pub(super) fn new(method: &Method, url: Uri, response: Response<Body>) -> Result<Self> {
        let (mut parts, body) = response.into_parts();
        let status = parts.status;
        if status.is_informational() {
            return Err(Error::new(
                ErrorKind::BadResponse,
                format!("the round trip returned a response with the interim status {}", status.as_u16()),
            )
            .with_url(url));
        }
        hop_by_hop::remove(&mut parts.headers);
        let framing = Framing::of(method, status, &body);
        match framing {
            // Keeps the length that a GET or a 200 response would have (RFC 9110 section 8.6).
            Framing::None if status != StatusCode::NO_CONTENT => {}
            _ => drop(parts.headers.remove(header::CONTENT_LENGTH)),
        }
        let pending = head(status, &parts.headers, &framing);
        let mut outgoing =
            Self { url, pending, pending_from: 0, framing, body: Mutex::new(body), until: None };
        // ureq does not read a body of zero bytes.
        if matches!(outgoing.framing, Framing::Sized(0)) {
            outgoing.expect_end()?;
        }
        Ok(outgoing)
    }

    /// Sets the time limit for reading the body, unless it is set already, and returns the limit.
    pub(super) fn limit(&mut self, until: Instant) -> Instant {
        *self.until.get_or_insert_with(|| {
            let body = mem::take(self.body.get_mut());
            *self.body.get_mut() = read_ahead::until(body, until);
            until
        })
    }

    /// Writes the next bytes into `buffer` and returns their number; zero at the end of the response.
    ///
    /// Must not be called again after an error.
    pub(super) fn fill(&mut self, buffer: &mut [u8]) -> Result<usize> {
        if let Some(count) = self.fill_from_pending(buffer) {
            return Ok(count);
        }
        match self.framing {
            Framing::None | Framing::Sized(0) => Ok(0),
            Framing::Sized(left) => {
                let room = usize::try_from(left).map_or(buffer.len(), |left| left.min(buffer.len()));
                if room == 0 {
                    return Ok(0);
                }
                let count = self.read(&mut buffer[..room])?;
                if count == 0 {
                    return Err(Error::new(
                        ErrorKind::IncompleteBody,
                        format!("the body ended {left} bytes before its announced length"),
                    )
                    .with_url(&self.url));
                }
                let left = left - count as u64;
                self.framing = Framing::Sized(left);
                if left == 0 {
                    self.expect_end()?;
                }
                Ok(count)
            }
            Framing::UntilClose => self.read(buffer),
            Framing::Chunked => {
                self.next_chunk()?;
                Ok(self.fill_from_pending(buffer).unwrap_or(0))
            }
        }
    }

    fn fill_from_pending(&mut self, buffer: &mut [u8]) -> Option<usize> {
        let left = &self.pending[self.pending_from..];
        if left.is_empty() {
            return None;
        }
        let count = left.len().min(buffer.len());
        buffer[..count].copy_from_slice(&left[..count]);
        self.pending_from += count;
        Some(count)
    }

    /// Encodes the next chunk, or the last one, into `pending`.
    fn next_chunk(&mut self) -> Result<()> {
        let mut data = [0; CHUNK_SIZE];
        let count = self.read(&mut data)?;
        self.pending.clear();
        self.pending_from = 0;
        self.pending.extend_from_slice(format!("{count:x}\r\n").as_bytes());
        self.pending.extend_from_slice(&data[..count]);
        self.pending.extend_from_slice(b"\r\n");
        if count == 0 {
            self.framing = Framing::None;
        }
        Ok(())
    }

    /// Reads the end of a body of known length before its last bytes are written. ureq stops at the length,
    /// but a body may report only at its end that it is broken, and a cache stores it only there.
    fn expect_end(&mut self) -> Result<()> {
        if self.read(&mut [0])? == 0 {
            return Ok(());
        }
        let message = "the body is longer than its announced length";
        Err(Error::new(ErrorKind::BadResponse, message).with_url(&self.url))
    }

    fn read(&mut self, buffer: &mut [u8]) -> Result<usize> {
        loop {
            match self.body.get_mut().read(buffer) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                result => return result.map_err(Error::from),
            }
        }
    }
}

impl Framing {
    /// Selects the framing of the body (RFC 9112 section 6.3).
    fn of(method: &Method, status: StatusCode, body: &Body) -> Self {
        if *method == Method::HEAD || status == StatusCode::NO_CONTENT || status == StatusCode::NOT_MODIFIED {
            return Self::None;
        }
        match body.length() {
            Some(length) => Self::Sized(length),
            None if body.is_end_proven() => Self::Chunked,
            None => Self::UntilClose,
        }
    }
}

fn head(status: StatusCode, headers: &HeaderMap, framing: &Framing) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(1024);
    let reason = status.canonical_reason().unwrap_or_default();
    bytes.extend_from_slice(format!("HTTP/1.1 {} {reason}\r\n", status.as_u16()).as_bytes());
    for (name, value) in headers {
        for part in [name.as_str().as_bytes(), b": ", value.as_bytes(), b"\r\n"] {
            bytes.extend_from_slice(part);
        }
    }
    match framing {
        Framing::None | Framing::UntilClose => {}
        Framing::Sized(length) => bytes.extend_from_slice(format!("content-length: {length}\r\n").as_bytes()),
        Framing::Chunked => bytes.extend_from_slice(b"transfer-encoding: chunked\r\n"),
    }
    bytes.extend_from_slice(b"\r\n");
    bytes
}

#[cfg(test)]
mod tests;
