//! Processes one request: validates its head, reads its body, calls the handler, and writes the response.

use std::io::{self, Read};
use std::mem;
use std::panic::{self, AssertUnwindSafe};
use std::sync::Arc;

use bytes::Bytes;
use http::{Method, StatusCode, Version};
use tiny_http::Request;

use super::response::{self, Recipient};
use crate::message::body::Body;
use crate::server::error_response::{text, unavailable};
use crate::server::handler::{Handler, RemoteAddress};
use crate::server::listener::UNIX_CLIENT;
use crate::server::request_head::{self, HeadLimits, Rejection, RequestBody, RequestHead};
use crate::server::response_head::RequestSummary;
use crate::server::server_handle::Lifetime;

/// The target limit permits a URL of 8 KiB with each byte escaped as `%XX`, and a path. tiny_http has already
/// read the head when these limits apply.
const LIMITS: HeadLimits = HeadLimits { fields: 100, field_bytes: 64 << 10, target: 25 << 10 };
/// tiny_http reads bodies up to this length before it hands out the request.
const READ_AHEAD: usize = 1024;
/// Size of the pieces in which a body is read and discarded.
const PIECE: usize = 8 << 10;

/// The state that all workers share.
pub(super) struct Exchange {
    pub(super) handler: Box<dyn Handler>,
    pub(super) rejecter: Rejecter,
}

/// Rejects requests. It outlives the workers and their handler.
#[derive(Clone)]
pub(super) struct Rejecter {
    pub(super) max_body: u64,
    pub(super) lifetime: Arc<Lifetime>,
}

/// Why a request does not reach the handler.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum RejectReason {
    /// The queue is full.
    Busy,
    /// The server is shutting down.
    Stopping,
    /// The announced body is larger than the limit.
    TooLarge,
}

impl Exchange {
    /// Processes the request. A panic ends only this request.
    pub(super) fn process(&self, request: Request) {
        catch_panic(|| self.exchange(request));
    }

    fn exchange(&self, mut request: Request) {
        if self.rejecter.lifetime.is_deadline_over() {
            return self.rejecter.send_rejection(request, RejectReason::Stopping);
        }
        let RequestHead { request: head, body, persistent } = match checked_head(&request) {
            Ok(head) => head,
            Err(rejection) => return reject(request, rejection),
        };
        let body = match read_body(&mut request, body, self.rejecter.max_body) {
            Ok(body) => body,
            Err(BodyFailure::TooLarge) => return abandon(request, StatusCode::PAYLOAD_TOO_LARGE),
            // The end of a malformed body is unknown.
            Err(BodyFailure::Malformed) => return abandon(request, StatusCode::BAD_REQUEST),
            Err(BodyFailure::Incomplete) => {
                let incomplete =
                    Rejection { status: StatusCode::BAD_REQUEST, reason: "the request body is incomplete" };
                return write_rejection(request, incomplete);
            }
        };
        let method = head.method().clone();
        let mut head = head.map(|()| body);
        let address = request.remote_addr().copied().unwrap_or(UNIX_CLIENT);
        head.extensions_mut().insert(RemoteAddress(address));
        let response = panic::catch_unwind(AssertUnwindSafe(|| self.handler.handle(head)));
        let response = response.unwrap_or_else(|_| {
            log::error!("the handler panicked; the server sends 500");
            text(StatusCode::INTERNAL_SERVER_ERROR, "the handler failed")
        });
        let recipient = recipient_of(&request, method, persistent && !self.rejecter.lifetime.is_stopping());
        // The body was read completely, so dropping the reader drains nothing.
        response::write(request.into_writer(), response, &recipient);
    }
}

impl Rejecter {
    /// Sends the response for a rejected request.
    pub(super) fn reject(&self, request: Request, why: RejectReason) {
        catch_panic(|| self.send_rejection(request, why));
    }

    fn send_rejection(&self, mut request: Request, why: RejectReason) {
        let reason = match why {
            RejectReason::TooLarge => return abandon(request, StatusCode::PAYLOAD_TOO_LARGE),
            RejectReason::Busy => "too many requests are queued",
            RejectReason::Stopping => "the server is shutting down",
        };
        let head = match checked_head(&request) {
            Ok(head) => head,
            Err(rejection) => return reject(request, rejection),
        };
        match discard_body(&mut request, head.body, self.max_body) {
            Ok(()) | Err(BodyFailure::Incomplete) => {}
            Err(BodyFailure::TooLarge) => return abandon(request, StatusCode::PAYLOAD_TOO_LARGE),
            Err(BodyFailure::Malformed) => return abandon(request, StatusCode::BAD_REQUEST),
        }
        let response = unavailable(reason);
        let persistent = head.persistent && why == RejectReason::Busy && !self.lifetime.is_stopping();
        let recipient = recipient_of(&request, head.request.method().clone(), persistent);
        response::write(request.into_writer(), response, &recipient);
    }
}

/// Returns whether reading the body may wait for the client. The request then still holds the connection's
/// reader.
pub(super) fn is_body_pending(request: &Request) -> bool {
    field(request, "Transfer-Encoding").is_some()
        || request.body_length().is_some_and(|length| length > READ_AHEAD)
        || (request.body_length().is_some_and(|length| length > 0)
            && (field(request, "Expect").is_some() || asks_for_upgrade(request)))
}

/// Returns the first field of that name, which is the one that tiny_http evaluates.
fn field<'a>(request: &'a Request, name: &'static str) -> Option<&'a str> {
    request.headers().iter().find(|header| header.field.equiv(name)).map(|header| header.value.as_str())
}

fn asks_for_upgrade(request: &Request) -> bool {
    field(request, "Connection").is_some_and(|value| value.to_ascii_lowercase().contains("upgrade"))
}

/// Returns whether tiny_http closes the connection after the response. Replicates tiny_http's own rule
/// exactly.
fn will_close(request: &Request) -> bool {
    let is_http_1_0 = request.http_version().0 == 1 && request.http_version().1 == 0;
    match field(request, "Connection").map(str::to_ascii_lowercase) {
        Some(value) => {
            value.contains("close")
                || value.contains("upgrade")
                || (is_http_1_0 && !value.contains("keep-alive"))
        }
        None => is_http_1_0,
    }
}

fn recipient_of(request: &Request, method: Method, persistent: bool) -> Recipient {
    let closes = will_close(request);
    let version = match (request.http_version().0, request.http_version().1) {
        (1, 0) => Version::HTTP_10,
        _ => Version::HTTP_11,
    };
    Recipient { summary: RequestSummary { method, version, persistent: persistent && !closes }, closes }
}

fn checked_head(request: &Request) -> Result<RequestHead, Rejection> {
    let version = request.http_version();
    let fields =
        request.headers().iter().map(|header| (header.field.as_str().as_bytes(), header.value.as_bytes()));
    let head = request_head::check(
        &LIMITS,
        request.method().as_str().as_bytes(),
        request.url().as_bytes(),
        (version.0, version.1),
        fields,
    )?;
    // For an upgrade, tiny_http hands out the raw connection and removes no framing.
    if head.body != RequestBody::None && asks_for_upgrade(request) {
        let reason = "a request for an upgrade must not have a body";
        return Err(Rejection { status: StatusCode::BAD_REQUEST, reason });
    }
    Ok(head)
}

enum BodyFailure {
    /// The connection ended before the body.
    Incomplete,
    Malformed,
    TooLarge,
}

impl From<io::Error> for BodyFailure {
    fn from(error: io::Error) -> Self {
        log::debug!("reading a request body failed: {error:#}");
        Self::Malformed
    }
}

/// Reads the whole body into memory, because the request owns both the reader and the writer.
fn read_body(request: &mut Request, body: RequestBody, limit: u64) -> Result<Body, BodyFailure> {
    let expected = match body {
        RequestBody::None => return Ok(Body::empty()),
        RequestBody::Length(length) if length > limit => return Err(BodyFailure::TooLarge),
        RequestBody::Length(length) => Some(length),
        RequestBody::Chunked => None,
    };
    let mut bytes = Vec::new();
    request.as_reader().take(limit.saturating_add(1)).read_to_end(&mut bytes)?;
    check_length(bytes.len() as u64, expected, limit)?;
    Ok(Body::from(Bytes::from(bytes)))
}

/// Like [`read_body`], but discards the body.
fn discard_body(request: &mut Request, body: RequestBody, limit: u64) -> Result<(), BodyFailure> {
    let expected = match body {
        RequestBody::None => return Ok(()),
        RequestBody::Length(length) if length > limit => return Err(BodyFailure::TooLarge),
        RequestBody::Length(length) => Some(length),
        RequestBody::Chunked => None,
    };
    let mut reader = request.as_reader().take(limit.saturating_add(1));
    let mut piece = [0; PIECE];
    let mut count = 0;
    loop {
        match reader.read(&mut piece)? {
            0 => return check_length(count, expected, limit),
            more => count += more as u64,
        }
    }
}

fn check_length(count: u64, expected: Option<u64>, limit: u64) -> Result<(), BodyFailure> {
    match expected {
        Some(expected) if count < expected => Err(BodyFailure::Incomplete),
        None if count > limit => Err(BodyFailure::TooLarge),
        _ => Ok(()),
    }
}

/// Responds to a request with an invalid head.
fn reject(request: Request, rejection: Rejection) {
    log::debug!("request rejected: {}", rejection.reason);
    if is_body_pending(&request) {
        abandon(request, rejection.status);
    } else {
        write_rejection(request, rejection);
    }
}

fn write_rejection(request: Request, rejection: Rejection) {
    let method = Method::from_bytes(request.method().as_str().as_bytes()).unwrap_or_default();
    let recipient = recipient_of(&request, method, false);
    response::write(request.into_writer(), text(rejection.status, rejection.reason), &recipient);
}

/// Responds to a request and leaves its connection open without ever reading or writing again.
///
/// Dropping the reader of a request drains it first, into a buffer of the announced length. Depending on the
/// announcement that panics, aborts the process, or waits for the client; and the rest of a chunked body
/// would be read as the next request. Therefore the reader is leaked, and with it the thread and the file
/// descriptors of the connection.
///
/// `Request::upgrade` is the only access to the writer that keeps the reader. It writes no framing of its
/// own, so the name of the protocol contains the framing.
fn abandon(request: Request, status: StatusCode) {
    const PROTOCOL: &str =
        "HTTP/1.1\r\nConnection: close\r\nForwardcache-Error: bad-request\r\nContent-Length: 0";
    log::warn!("a connection is abandoned after {status}: the request body cannot be read safely");
    let response = tiny_http::Response::empty(status.as_u16());
    mem::forget(request.upgrade(PROTOCOL, response));
}

fn catch_panic(work: impl FnOnce()) {
    if panic::catch_unwind(AssertUnwindSafe(work)).is_err() {
        log::error!("processing a request panicked");
    }
}
