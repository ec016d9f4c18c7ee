//! One request: its head is checked, its body read, the handler called, and the answer written.

use std::io::{self, Read};
use std::mem;
use std::panic::{self, AssertUnwindSafe};
use std::sync::Arc;

use bytes::Bytes;
use http::{Method, StatusCode, Version};
use tiny_http::Request;

use super::answer::{self, Recipient};
use crate::message::body::Body;
use crate::server::answer::{text, unavailable};
use crate::server::request_head::{self, HeadLimits, Refusal, RequestBody, RequestHead};
use crate::server::response_head::Asked;
use crate::server::serve::{Handler, RemoteAddress};
use crate::server::serving::Lifetime;

/// A URL of 8 KiB, each byte of it escaped as `%XX`, and a path. They apply to what has been read already.
const LIMITS: HeadLimits = HeadLimits { fields: 100, field_bytes: 64 << 10, target: 25 << 10 };
/// tiny_http reads a body up to that length before anybody sees the request.
const READ_AHEAD: usize = 1024;
/// In how large pieces a body is read that nobody wants.
const PIECE: usize = 8 << 10;

/// What a worker needs to answer.
pub(super) struct Exchange {
    pub(super) handler: Box<dyn Handler>,
    pub(super) door: Door,
}

/// What it takes to turn somebody away. It outlives the workers and their handler.
#[derive(Clone)]
pub(super) struct Door {
    pub(super) max_body: u64,
    pub(super) lifetime: Arc<Lifetime>,
}

/// Why a request does not reach the handler.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum TurnedAway {
    /// The queue is full.
    Busy,
    /// The front is shutting down.
    Stopping,
    /// The announced body is larger than the limit.
    TooLarge,
}

impl Exchange {
    /// Answers the request. Whatever panics on the way ends this request alone.
    pub(super) fn answer(&self, request: Request) {
        unwinding_ends_here(|| self.exchange(request));
    }

    fn exchange(&self, mut request: Request) {
        if self.door.lifetime.is_over() {
            return self.door.say_why(request, TurnedAway::Stopping);
        }
        let RequestHead { request: head, body, persistent } = match checked_head(&request) {
            Ok(head) => head,
            Err(refusal) => return refuse(request, refusal),
        };
        let body = match read_body(&mut request, body, self.door.max_body) {
            Ok(body) => body,
            Err(BodyFailure::TooLarge) => return condemn(request, StatusCode::PAYLOAD_TOO_LARGE),
            // Where a malformed body ends is anybody's guess.
            Err(BodyFailure::Malformed) => return condemn(request, StatusCode::BAD_REQUEST),
            Err(BodyFailure::Cut) => {
                let cut = Refusal { status: StatusCode::BAD_REQUEST, reason: "the body is incomplete" };
                return write_refusal(request, cut);
            }
        };
        let method = head.method().clone();
        let mut head = head.map(|()| body);
        if let Some(address) = request.remote_addr() {
            head.extensions_mut().insert(RemoteAddress(*address));
        }
        let response = panic::catch_unwind(AssertUnwindSafe(|| self.handler.handle(head)));
        let response = response.unwrap_or_else(|_| {
            log::error!("the handler panicked; the request is answered with 500");
            text(StatusCode::INTERNAL_SERVER_ERROR, "the handler failed")
        });
        let recipient = recipient_of(&request, method, persistent && !self.door.lifetime.is_stopping());
        // The body has been read, so nothing is left to drain when this releases the reader.
        answer::write(request.into_writer(), response, &recipient);
    }
}

impl Door {
    /// Tells the request that it was turned away.
    pub(super) fn turn_away(&self, request: Request, why: TurnedAway) {
        unwinding_ends_here(|| self.say_why(request, why));
    }

    fn say_why(&self, mut request: Request, why: TurnedAway) {
        let reason = match why {
            TurnedAway::TooLarge => return condemn(request, StatusCode::PAYLOAD_TOO_LARGE),
            TurnedAway::Busy => "too many requests are waiting",
            TurnedAway::Stopping => "shutting down",
        };
        let head = match checked_head(&request) {
            Ok(head) => head,
            Err(refusal) => return refuse(request, refusal),
        };
        match discard_body(&mut request, head.body, self.max_body) {
            Ok(()) | Err(BodyFailure::Cut) => {}
            Err(BodyFailure::TooLarge) => return condemn(request, StatusCode::PAYLOAD_TOO_LARGE),
            Err(BodyFailure::Malformed) => return condemn(request, StatusCode::BAD_REQUEST),
        }
        let response = unavailable(reason);
        let persistent = head.persistent && why == TurnedAway::Busy && !self.lifetime.is_stopping();
        let recipient = recipient_of(&request, head.request.method().clone(), persistent);
        answer::write(request.into_writer(), response, &recipient);
    }
}

/// Whether reading the body would wait for the client, so that the reader is still bound to it.
pub(super) fn is_body_pending(request: &Request) -> bool {
    field(request, "Transfer-Encoding").is_some()
        || request.body_length().is_some_and(|length| length > READ_AHEAD)
        || (request.body_length().is_some_and(|length| length > 0)
            && (field(request, "Expect").is_some() || asks_for_upgrade(request)))
}

/// The first field of that name: what tiny_http goes by.
fn field<'a>(request: &'a Request, name: &'static str) -> Option<&'a str> {
    request.headers().iter().find(|header| header.field.equiv(name)).map(|header| header.value.as_str())
}

fn asks_for_upgrade(request: &Request) -> bool {
    field(request, "Connection").is_some_and(|value| value.to_ascii_lowercase().contains("upgrade"))
}

/// Whether tiny_http closes the connection behind the answer: its own rule, to the letter.
fn will_close(request: &Request) -> bool {
    let old = request.http_version().0 == 1 && request.http_version().1 == 0;
    match field(request, "Connection").map(str::to_ascii_lowercase) {
        Some(value) => {
            value.contains("close") || value.contains("upgrade") || (old && !value.contains("keep-alive"))
        }
        None => old,
    }
}

fn recipient_of(request: &Request, method: Method, persistent: bool) -> Recipient {
    let closes = will_close(request);
    let version = match (request.http_version().0, request.http_version().1) {
        (1, 0) => Version::HTTP_10,
        _ => Version::HTTP_11,
    };
    Recipient { asked: Asked { method, version, persistent: persistent && !closes }, closes }
}

fn checked_head(request: &Request) -> Result<RequestHead, Refusal> {
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
    // tiny_http then hands out the connection as it is, and neither chunks nor a length.
    if head.body != RequestBody::None && asks_for_upgrade(request) {
        let reason = "a body and an upgrade do not go together";
        return Err(Refusal { status: StatusCode::BAD_REQUEST, reason });
    }
    Ok(head)
}

enum BodyFailure {
    /// The connection ended first.
    Cut,
    Malformed,
    TooLarge,
}

impl From<io::Error> for BodyFailure {
    fn from(error: io::Error) -> Self {
        log::debug!("reading a request body: {error}");
        Self::Malformed
    }
}

/// The whole body, in memory: the reader is part of the request, and so is the writer.
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

/// As [`read_body`], keeping nothing.
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
        Some(expected) if count < expected => Err(BodyFailure::Cut),
        None if count > limit => Err(BodyFailure::TooLarge),
        _ => Ok(()),
    }
}

/// Answers a request whose head is refused.
fn refuse(request: Request, refusal: Refusal) {
    log::debug!("a request is refused: {}", refusal.reason);
    if is_body_pending(&request) {
        condemn(request, refusal.status);
    } else {
        write_refusal(request, refusal);
    }
}

fn write_refusal(request: Request, refusal: Refusal) {
    let method = Method::from_bytes(request.method().as_str().as_bytes()).unwrap_or_default();
    let recipient = recipient_of(&request, method, false);
    answer::write(request.into_writer(), text(refusal.status, refusal.reason), &recipient);
}

/// Answers a request and leaves its connection silent for ever.
///
/// Whatever releases the reader of a request first drains it, into a buffer as large as the client
/// announced: that panics, or aborts the process, for some announcements, and waits for the client
/// for others; and what is left of a chunked body would be taken for the next request. So the
/// reader is forgotten, and with it the thread and the file descriptors of the connection.
///
/// `Request::upgrade` is the one way to the writer that keeps the reader. It writes no framing of
/// its own; the name of the protocol brings it along.
fn condemn(request: Request, status: StatusCode) {
    const PROTOCOL: &str =
        "HTTP/1.1\r\nConnection: close\r\nForwardcache-Error: bad-request\r\nContent-Length: 0";
    log::warn!("a connection is abandoned after {status}: the body of its request must not be read");
    let response = tiny_http::Response::empty(status.as_u16());
    mem::forget(request.upgrade(PROTOCOL, response));
}

fn unwinding_ends_here(work: impl FnOnce()) {
    if panic::catch_unwind(AssertUnwindSafe(work)).is_err() {
        log::error!("a request ended in a panic");
    }
}
