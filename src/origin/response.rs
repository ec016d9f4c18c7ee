//! Builds the response and its body stream.

use std::io::{self, Read};
use std::time::Instant;

use http::{Response, Uri};
use ureq::BodyReader;

use super::exchange::{CancellableExchange, cancelled_error};
use super::failure;
use super::framing::{self, Framing};
use super::head::Head;
use crate::base::error::{Error, ErrorKind};
use crate::message::body::Body;
use crate::message::header::hop_by_hop;

/// Returns the response without hop-by-hop fields, with the body that ureq decodes.
pub(super) fn build(head: Head, body: ureq::Body, running: CancellableExchange, url: &Uri) -> Response<Body> {
    let reader = |left| BodyStream {
        reader: Some((body.into_reader(), running)),
        left,
        failed: None,
        url: url.clone(),
    };
    let body = match head.framing {
        Framing::NoBody => Body::empty(),
        Framing::Length(length) => Body::from_reader(reader(Some(length)), Some(length)),
        Framing::Chunked => Body::from_reader(reader(None), None),
        Framing::UntilClose => Body::until_close(reader(None)),
    };
    assemble(head, body)
}

/// Returns the response with this body, without hop-by-hop fields.
pub(super) fn assemble(head: Head, body: Body) -> Response<Body> {
    let Head { status, version, mut headers, .. } = head;
    framing::merge_content_length(&mut headers);
    hop_by_hop::remove(&mut headers);
    let mut response = Response::new(body);
    *response.status_mut() = status;
    *response.version_mut() = version;
    *response.headers_mut() = headers;
    response
}

/// The body of a response while it arrives.
///
/// `read` returns `Ok(0)` only at the end that the framing announced. After a failure, every further call
/// fails, whereas ureq's reader would report the end of the body.
struct BodyStream {
    /// `None` after the end of the body, so that the connection is free before the body is dropped.
    reader: Option<(BodyReader<'static>, CancellableExchange)>,
    left: Option<u64>,
    failed: Option<(ErrorKind, String)>,
    url: Uri,
}

impl BodyStream {
    fn fail(&mut self, error: Error) -> io::Error {
        self.reader = None;
        self.failed = Some((error.kind(), error.to_string()));
        error.with_url(&self.url).into()
    }
}

impl Read for BodyStream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if let Some((kind, message)) = &self.failed {
            return Err(Error::new(*kind, message.clone()).with_url(&self.url).into());
        }
        let Some((reader, CancellableExchange { exchange, .. })) = &mut self.reader else { return Ok(0) };
        if buffer.is_empty() {
            return Ok(0);
        }
        // Check before reading, because buffered bytes may be available.
        if exchange.is_cancelled() {
            return Err(self.fail(cancelled_error()));
        }
        if exchange.is_past_whole_deadline(Instant::now()) {
            return Err(self.fail(Error::new(ErrorKind::Timeout, "the deadline for the body has passed")));
        }
        let count = match reader.read(buffer) {
            Ok(count) => count,
            Err(error) => {
                let error = failure::within_body(error, self.left);
                return Err(self.fail(error));
            }
        };
        match &mut self.left {
            Some(left) => {
                *left = left.saturating_sub(count as u64);
                if *left > 0 && count == 0 {
                    let error = failure::incomplete(self.left);
                    return Err(self.fail(error));
                }
                if *left == 0 {
                    // This read takes no bytes from the network. It lets ureq return the connection to its
                    // pool.
                    let _ = reader.read(&mut [0]);
                    self.reader = None;
                }
            }
            None if count == 0 => self.reader = None,
            None => {}
        }
        Ok(count)
    }
}

#[cfg(test)]
mod tests;
