//! One connection: it reads requests, passes them on and sends the responses, in order.
//!
//! ```text
//!          head                      body                    response            written
//! (none) ────────▶ receiving ──────────────────▶ Waiting ────────────▶ Sending ──────────▶ (none), or closing
//!          │  hit                                   │  ▲
//!          └──────────────▶ written at once         └──┘
//! ```
//!
//! Nothing here blocks. [`Connection::advance`] continues until the socket has no input, accepts no output,
//! or the connection waits for another thread. The connection reads no more than it can process: a pipelined
//! request stays in the socket until the previous request is complete.

use std::io::{self, IoSlice};
use std::mem::MaybeUninit;
use std::net::SocketAddr;
use std::panic::{self, AssertUnwindSafe};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;
use http::header::{CONTENT_TYPE, EXPECT};
use http::{HeaderMap, Method, Request, Response, StatusCode, Version};

use super::admission::ConnectionPermit;
use super::budget::Budget;
use super::context::ThreadContext;
use super::exchange::{Collected, Exchange, Receiving, Reply, Sending, Sink};
use super::head_end::{Scan, empty_lines, head_end};
use super::inbox::ExchangeId;
use super::input::{Consumed, Input};
use super::outbound::{Flushed, Outbound};
use super::partial_head;
use super::transfer_rate::TransferRate;
use super::transport::Transport;
use super::upload::upload;
use crate::base::ledger::{Hold, Use};
use crate::message::body::{Body, Grown};
use crate::message::header::token::is_token_byte;
use crate::message::interim::OnInterim;
use crate::message::nonblocking::{BodyOf, PlainRequest, Step};
use crate::message::stats::RequestRefusal;
use crate::scheduler::Client;
use crate::server::error_response::{text, unavailable};
use crate::server::handler::RemoteAddress;
use crate::server::options::FIELDS_LIMIT;
use crate::server::request_head::{self, Rejection, RequestBody, RequestHead};
use crate::server::response_head::{self, Framing, RequestSummary};
use crate::store::StoredResponse;

/// Maximum size of a request body that is collected before the request is dispatched, in bytes. A client that
/// sends such a body slowly occupies no worker.
const MAX_COLLECTED: usize = 64 << 10;

/// Maximum number of bytes of a growing body to queue at a time.
const PIECE: usize = 64 << 10;

/// Maximum number of pieces in the first write of a hit, including its head.
const SLICES: usize = 16;

/// Limits for reading from a client after the response on a closing connection. If the server closed the
/// socket while the client is still sending, the client's system could discard the response before the client
/// reads it (RFC 9112 section 9.6).
const LINGERING: Duration = Duration::from_secs(1);
const LINGERING_BYTES: usize = 64 << 10;

const TOO_MANY_UPLOADS: Rejection = Rejection {
    status: StatusCode::SERVICE_UNAVAILABLE,
    reason: "too many request bodies are being received",
};

const NO_MEMORY: Rejection =
    Rejection { status: StatusCode::SERVICE_UNAVAILABLE, reason: "the memory limit is reached" };

/// What the I/O thread does with a connection next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// Wait for the socket or for another thread.
    Wait,
    /// Advance it again, after other connections.
    Again,
    Close,
}

pub(super) struct Connection {
    transport: Transport,
    remote: SocketAddr,
    number: usize,
    input: Input,
    outbound: Outbound,
    exchange: Option<Box<Exchange>>,
    /// Whether the last complete head is a HEAD request, so that an error response has no body.
    is_for_head: bool,
    /// Whether it is in a queue of the I/O thread.
    pub(super) is_queued: bool,
    /// Its budget in the current turn of the loop.
    budget: Budget,
    /// Whether the socket may have input.
    may_read: bool,
    /// Whether the client has closed its sending side. The system reports this once, together with the last
    /// bytes.
    is_read_closed: bool,
    /// Whether the socket accepts no output for now.
    is_blocked: bool,
    /// Time since when output has been waiting for the socket.
    blocked_since: Option<Instant>,
    /// The ledger entry for the memory that only this connection uses.
    held: Option<Hold>,
    closing: Closing,
    /// The time when the connection last became idle, or was accepted.
    idle_since: Instant,
    /// The time of the first byte of an incomplete head.
    head_since: Option<Instant>,
    reading: TransferRate,
    writing: TransferRate,
    _permit: ConnectionPermit,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Closing {
    No,
    /// The connection closes once all output is written; the client may still be sending.
    Written,
    Lingering {
        until: Instant,
        left: usize,
    },
}

impl Connection {
    pub(super) fn new(
        transport: Transport,
        remote: SocketAddr,
        number: usize,
        now: Instant,
        permit: ConnectionPermit,
    ) -> Self {
        Self {
            transport,
            remote,
            number,
            input: Input::default(),
            outbound: Outbound::default(),
            exchange: None,
            is_for_head: false,
            is_queued: false,
            budget: Budget::default(),
            may_read: true,
            is_read_closed: false,
            is_blocked: false,
            blocked_since: None,
            held: None,
            closing: Closing::No,
            idle_since: now,
            head_since: None,
            reading: TransferRate::default(),
            writing: TransferRate::default(),
            _permit: permit,
        }
    }

    /// Records the events that the system reports for the socket.
    pub(super) fn set_ready(&mut self, to_read: bool, is_read_closed: bool, to_write: bool) {
        self.may_read |= to_read || is_read_closed;
        self.is_read_closed |= is_read_closed;
        self.is_blocked &= !to_write;
    }

    /// Continues until the connection must wait or its budget for this turn is used up.
    pub(super) fn advance(&mut self, context: &mut ThreadContext) -> Next {
        context.budget = self.budget.for_turn(context.turn_number);
        let mut next = Next::Again;
        while next == Next::Again && context.budget.take_step() {
            next = self.step(context);
        }
        self.budget = context.budget;
        self.update_ledger(context);
        next
    }

    /// Returns the client of this connection.
    pub(super) fn client(&self) -> Client {
        Client::of(self.remote.ip())
    }

    /// Returns the number of bytes that may still be transferred in this turn of the loop.
    pub(super) fn left(&self, context: &ThreadContext) -> usize {
        self.budget.for_turn(context.turn_number).bytes()
    }

    /// Returns whether the TLS handshake is not complete.
    pub(super) fn is_handshaking(&self) -> bool {
        self.transport.is_handshaking()
    }

    /// Returns whether a response is only partly sent. Such connections get their turn after the others.
    pub(super) fn is_bulk(&self) -> bool {
        !self.outbound.is_empty()
            || self.exchange.as_ref().is_some_and(|exchange| matches!(exchange.reply, Reply::Sending(_)))
    }

    /// Updates the ledger with the memory that only this connection uses.
    fn update_ledger(&mut self, context: &ThreadContext) {
        let own = (self.input.bytes().len() + self.outbound.own() + self.transport.buffered()) as u64;
        match &mut self.held {
            _ if own == 0 => self.held = None,
            Some(held) if held.bytes() == own => {}
            Some(held) => held.set(own),
            None => self.held = Some(context.ledger.hold(Use::Connections, own)),
        }
    }

    /// Returns how much closing this connection would relieve memory, if its client does not read: the
    /// waiting bytes, times the milliseconds for which they have waited.
    pub(super) fn cut_off_priority(&self, now: Instant) -> Option<u128> {
        let since = self.blocked_since.filter(|_| self.is_blocked)?;
        let bytes = self.outbound.length() + self.transport.buffered();
        Some(bytes as u128 * now.saturating_duration_since(since).as_millis().max(1))
    }

    /// Closes the connection to free memory for others.
    pub(super) fn cut_off(&mut self) {
        log::warn!(
            "the memory limit is reached: closing the connection of {}, which reads too slowly",
            self.remote
        );
        self.transport.abort();
    }

    fn step(&mut self, context: &mut ThreadContext) -> Next {
        // A client that has closed its sending side while it waits for a response has left; nginx interprets
        // FIN in the same way.
        if self.is_read_closed
            && self.exchange.as_ref().is_some_and(|exchange| exchange.is_response_pending())
        {
            log::debug!("a client left before its response was complete");
            return Next::Close;
        }
        if self.is_blocked {
            // The client may read its response only after it has sent its body, so keep receiving to avoid a
            // deadlock.
            let is_sending = |exchange: &Exchange| matches!(exchange.reply, Reply::Sending(_));
            let takes_content = self.exchange.as_deref().is_some_and(is_sending);
            return if takes_content { self.receive_body(context) } else { Next::Wait };
        }
        if !self.outbound.is_empty() || self.transport.wants_write() || self.closing == Closing::Written {
            return self.flush(context);
        }
        if let Closing::Lingering { left, .. } = &mut self.closing {
            return match self.transport.read(&mut context.input) {
                Ok(read) if read.count > 0 && read.count < *left => {
                    *left -= read.count;
                    Next::Again
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => Next::Wait,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => Next::Again,
                _ => Next::Close,
            };
        }
        let Some(exchange) = &mut self.exchange else {
            let next = self.receive(context);
            if next == Next::Wait && context.is_stopping && self.is_idle() {
                self.transport.finish();
                return Next::Close;
            }
            return next;
        };
        match &mut exchange.reply {
            Reply::Sending(_) => match self.send_more(context) {
                Next::Wait => self.receive_body(context),
                next => next,
            },
            Reply::Done => self.finish(context),
            Reply::NotDispatched | Reply::Waiting(_) => self.receive_body(context),
        }
    }

    /// Writes queued output.
    fn flush(&mut self, context: &mut ThreadContext) -> Next {
        match self.outbound.flush(&mut self.transport, &mut context.budget) {
            Ok((_, Flushed::Some)) => Next::Again,
            Ok((_, Flushed::All)) if self.closing == Closing::Written => {
                self.transport.finish();
                self.closing = Closing::Lingering { until: context.now + LINGERING, left: LINGERING_BYTES };
                Next::Again
            }
            Ok((_, Flushed::All)) => {
                self.writing.stop();
                self.blocked_since = None;
                if self.exchange.is_none() {
                    self.idle_since = context.now;
                }
                Next::Again
            }
            Ok((count, Flushed::Blocked)) => {
                self.is_blocked = true;
                self.blocked_since.get_or_insert(context.now);
                // While the server cannot write, the client is not responsible for the rate of the upload.
                self.reading.stop();
                self.writing.add(count, context.now);
                Next::Wait
            }
            Err(error) => self.lost(&error),
        }
    }

    fn lost(&mut self, error: &io::Error) -> Next {
        log::debug!("a connection was lost: {error}");
        Next::Close
    }

    /// Ends an exchange whose response is written.
    fn finish(&mut self, context: &mut ThreadContext) -> Next {
        let Some(exchange) = self.exchange.take() else { return Next::Again };
        self.idle_since = context.now;
        self.reading.stop();
        if exchange.receiving.is_some() || !exchange.summary.persistent {
            self.closing = Closing::Written;
        }
        Next::Again
    }

    /// Processes buffered input, or reads more from the socket.
    fn receive(&mut self, context: &mut ThreadContext) -> Next {
        if self.input.is_worth_a_look() {
            let mut input = std::mem::take(&mut self.input);
            let consumed = self.consume(input.bytes(), input.looked_at(), context);
            input.consume(consumed);
            self.input = input;
            return Next::Again;
        }
        if !self.may_read {
            return Next::Wait;
        }
        let mut buffer = std::mem::take(&mut context.input);
        // Bytes after a head may have to be buffered until its request is complete.
        let most =
            if self.exchange.is_some() { buffer.len() } else { buffer.len().min(context.options.max_head) };
        let next = match self.transport.read(&mut buffer[..most]) {
            Ok(read) if read.count == 0 => self.ended(context),
            Ok(read) => {
                context.budget.charge(read.count);
                // If the end of input arrived with these bytes, the system does not report it again.
                self.may_read = !read.is_drained || self.is_read_closed;
                let received = &buffer[..read.count];
                if self.input.is_empty() {
                    // Most reads contain exactly one request, of which nothing has to be buffered.
                    let consumed = self.consume(received, 0, context);
                    self.input.keep(received, consumed);
                } else {
                    self.input.extend(received);
                }
                Next::Again
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                self.may_read = false;
                Next::Wait
            }
            // Bytes arrived, but they have no content (TLS).
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Next::Again,
            Err(error) => self.lost(&error),
        };
        context.input = buffer;
        next
    }

    /// Like [`receive`](Self::receive), if the request body has a destination with room for it.
    fn receive_body(&mut self, context: &mut ThreadContext) -> Next {
        let wants_more = self.exchange.as_ref().and_then(|exchange| exchange.receiving.as_ref());
        match wants_more {
            Some(receiving) if receiving.has_room() => {
                self.reading.start(context.now);
                self.receive(context)
            }
            Some(_) => {
                self.reading.stop();
                Next::Wait
            }
            None => Next::Wait,
        }
    }

    /// Handles the end of the client's input.
    fn ended(&mut self, context: &mut ThreadContext) -> Next {
        if self.exchange.is_none() {
            return Next::Close;
        }
        let reason = "the request body is incomplete";
        self.fail_body(Rejection { status: StatusCode::BAD_REQUEST, reason }, context);
        Next::Again
    }

    /// Processes one head, or a part of a body. The first `looked_at` bytes were scanned before.
    fn consume(&mut self, bytes: &[u8], looked_at: usize, context: &mut ThreadContext) -> Consumed {
        if self.exchange.is_some() {
            return Consumed::whole(self.consume_body(bytes, context));
        }
        let before = empty_lines(bytes);
        let rest = &bytes[before..];
        let Some(first) = rest.first() else {
            self.head_since = None;
            return Consumed::whole(before);
        };
        // A byte that cannot start a method is rejected at once, for example a TLS handshake.
        if !is_token_byte(*first) && *first != b'\r' {
            self.reject(request_head::bad("not an HTTP request"), context);
            return Consumed::whole(bytes.len());
        }
        let from = if before > 0 { 0 } else { looked_at };
        match head_end(rest, from, context.options.max_head) {
            Scan::Complete(length) => {
                self.head_since = None;
                self.consume_head(&rest[..length], context);
                Consumed::whole(before + length)
            }
            Scan::Incomplete(looked_at) => {
                if let Some(rejection) = partial_head::find_fault(rest, from, &context.limits) {
                    self.reject_head(rest, rejection, context);
                    return Consumed::whole(bytes.len());
                }
                self.head_since.get_or_insert(context.now);
                Consumed { used: before, looked_at: Some(looked_at) }
            }
            Scan::Rejected(rejection, end) => {
                match partial_head::find_fault(&rest[..end], from, &context.limits) {
                    Some(earlier) => self.reject_head(rest, earlier, context),
                    None => self.reject_head(b"", rejection, context),
                }
                Consumed::whole(bytes.len())
            }
        }
    }

    /// Rejects a head; `head` is the part of it that is known.
    fn reject_head(&mut self, head: &[u8], rejection: Rejection, context: &mut ThreadContext) {
        self.is_for_head = head.starts_with(b"HEAD ");
        self.reject(rejection, context);
    }

    fn consume_head(&mut self, head: &[u8], context: &mut ThreadContext) {
        self.is_for_head = head.starts_with(b"HEAD ");
        let mut fields = [const { MaybeUninit::uninit() }; FIELDS_LIMIT];
        let mut parsed = httparse::Request::new(&mut []);
        match parsed.parse_with_uninit_headers(head, &mut fields) {
            Ok(httparse::Status::Complete(length)) if length == head.len() => {}
            // `head` ends with its empty line, but the parser found another end.
            Ok(_) => return self.reject(request_head::bad("the request head is malformed"), context),
            // A later minor version is treated as HTTP/1.1 (RFC 9110 section 2.5).
            Err(httparse::Error::Version) if let Some(known) = partial_head::with_known_version(head) => {
                return self.consume_head(&known, context);
            }
            Err(error) => {
                let rejection = partial_head::find_fault(head, 0, &context.limits);
                return self
                    .reject(rejection.unwrap_or_else(|| partial_head::rejection_of(error, head)), context);
            }
        }
        let (Some(method), Some(target), Some(minor)) = (parsed.method, parsed.path, parsed.version) else {
            return self.reject(request_head::bad("the request head is malformed"), context);
        };
        let is_common = method == "GET"
            && minor == 1
            && parsed.headers.len() <= context.options.max_fields
            && target.len() <= context.options.max_target;
        if is_common && let Some(plain) = PlainRequest::new(target, parsed.headers) {
            context.scratch.lines.clear();
            context.scratch.url.clear();
            if let Some(stored) = context.responder.hit(&plain, &mut context.scratch) {
                return self.send_hit(&stored, plain.persistent, context);
            }
        }
        let fields = parsed.headers.iter().map(|field| (field.name.as_bytes(), field.value));
        let checked =
            request_head::check(&context.limits, method.as_bytes(), target.as_bytes(), (1, minor), fields);
        match checked {
            Ok(head) => self.begin(head, context),
            Err(rejection) => self.reject(rejection, context),
        }
    }

    /// Writes a stored response. Bytes that the socket accepts at once are not copied.
    fn send_hit(&mut self, stored: &Arc<StoredResponse>, persistent: bool, context: &mut ThreadContext) {
        use std::fmt::Write;
        let (fields, length) = (stored.lines(), stored.body_length());
        let lines = &mut context.scratch.lines;
        // Writing to a String cannot fail.
        let _ = write!(lines, "content-length: {length}\r\n");
        let persistent = persistent && !context.is_stopping;
        if !persistent {
            lines.push_str("connection: close\r\n");
            self.closing = Closing::Written;
        }
        lines.push_str("\r\n");
        let status = response_head::status_line(stored.status());
        self.idle_since = context.now;
        let mut written = 0;
        if self.outbound.is_empty() {
            let mut slices = [IoSlice::new(&[]); SLICES];
            let pieces = [&*status, fields, lines.as_bytes()].into_iter().chain(stored.body_slices());
            let (mut count, mut left) = (0, context.budget.bytes());
            for (slice, piece) in slices.iter_mut().zip(pieces) {
                let piece = &piece[..piece.len().min(left)];
                *slice = IoSlice::new(piece);
                left -= piece.len();
                count += 1;
                if left == 0 {
                    break;
                }
            }
            match self.transport.write_vectored(&slices[..count]) {
                Ok(count) => written = count,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                // The next read reports the error again.
                Err(error) => {
                    self.lost(&error);
                    self.closing = Closing::Written;
                    return;
                }
            }
            context.budget.charge(written);
            if written == status.len() + fields.len() + lines.len() + length {
                return;
            }
        }
        // Queue the bytes that the socket did not accept.
        let mut left_of = |length: usize| {
            let done = written.min(length);
            written -= done;
            done
        };
        let done = left_of(status.len());
        self.outbound.push_own(Bytes::copy_from_slice(&status[done..]));
        self.outbound.push(stored.field_lines().slice(left_of(fields.len())..));
        let done = left_of(lines.len());
        self.outbound.push_own(Bytes::copy_from_slice(&lines.as_bytes()[done..]));
        stored.body().iter().for_each(|piece| self.outbound.push(piece.slice(left_of(piece.len())..)));
    }

    /// Starts an exchange: dispatches the request, or receives its body first.
    fn begin(&mut self, head: RequestHead, context: &mut ThreadContext) {
        let RequestHead { request, body, persistent } = head;
        let summary = RequestSummary {
            method: request.method().clone(),
            version: request.version(),
            // After a successful CONNECT the client sends bytes that are not HTTP (RFC 9110 section 9.3.6).
            persistent: persistent && !context.is_stopping && *request.method() != Method::CONNECT,
        };
        let expects = match expectation(&request) {
            Ok(expects) => expects && body != RequestBody::None,
            Err(rejection) => return self.reject(rejection, context),
        };
        let length = match body {
            RequestBody::None => {
                self.exchange = Some(Exchange::new(context.next_exchange(), summary, None));
                return self.dispatch(request, Body::empty(), context);
            }
            RequestBody::Length(length) if length > context.options.max_body => {
                return self.reject(too_large(), context);
            }
            RequestBody::Length(length) => Some(length),
            RequestBody::Chunked => None,
        };
        let origin = match context.responder.admit(&request) {
            Ok(origin) => origin,
            Err(response) => return self.respond_without_body(*response, summary, context),
        };
        let serial = context.next_exchange();
        let client = client_of(self.remote, request.headers(), context);
        let is_short = length.is_none_or(|length| length <= MAX_COLLECTED as u64);
        if is_short {
            let Some(permit) = context.uploads.acquire_collecting(client) else {
                return self.reject(TOO_MANY_UPLOADS, context);
            };
            self.send_continue(expects);
            let hold = context.ledger.hold(Use::Content, 0);
            let collected = Collected { request, bytes: Vec::new(), hold, origin, _permit: permit };
            let receiving = Receiving::new(body, Sink::Collect(Box::new(collected)));
            self.exchange = Some(Exchange::new(serial, summary, Some(receiving)));
        } else if let Some(permit) = context.uploads.acquire(origin, client) {
            self.send_continue(expects);
            let wake = context.inbox.wake(self.exchange_id(serial));
            let (sink, content) = upload(permit, &context.ledger, length, wake);
            let receiving = Receiving::new(body, Sink::UploadWriter(sink));
            self.exchange = Some(Exchange::new(serial, summary, Some(receiving)));
            self.dispatch(request, content, context);
        } else {
            self.reject(TOO_MANY_UPLOADS, context);
        }
    }

    /// Sends a response without reading the request body.
    fn respond_without_body(
        &mut self,
        response: Response<Body>,
        summary: RequestSummary,
        context: &mut ThreadContext,
    ) {
        let summary = RequestSummary { persistent: false, ..summary };
        self.exchange = Some(Exchange::new(context.next_exchange(), summary, None));
        self.respond(response, context);
    }

    /// Sends 100 (Continue) if the client waits for it (RFC 9110 section 15.2.1).
    fn send_continue(&mut self, is_waited_for: bool) {
        if is_waited_for {
            self.outbound.push(Bytes::from_static(b"HTTP/1.1 100 Continue\r\n\r\n"));
        }
    }

    fn consume_body(&mut self, bytes: &[u8], context: &mut ThreadContext) -> usize {
        let Some(exchange) = &mut self.exchange else { return 0 };
        let Some(receiving) = &mut exchange.receiving else { return 0 };
        let decoded = match receiving.decoder.decode(bytes) {
            Ok(decoded) => decoded,
            Err(rejection) => {
                self.fail_body(rejection, context);
                return bytes.len();
            }
        };
        let content = &bytes[decoded.content];
        receiving.received += content.len() as u64;
        self.reading.add(decoded.used, context.now);
        if receiving.received > context.options.max_body {
            self.fail_body(too_large(), context);
            return bytes.len();
        }
        let has_room = match &mut receiving.sink {
            Sink::Collect(collected) => collected.push(content),
            Sink::UploadWriter(upload) => upload.push(content),
            Sink::Discard => true,
        };
        if !has_room {
            self.fail_body(NO_MEMORY, context);
            return bytes.len();
        }
        if receiving.decoder.is_done() {
            let receiving = exchange.receiving.take();
            self.reading.stop();
            match receiving.map(|receiving| receiving.sink) {
                Some(Sink::Collect(collected)) => {
                    // The ledger counts the body until it is dropped.
                    let content = context.ledger.share(Use::Content, collected.bytes.into());
                    self.dispatch(collected.request, Body::from(content), context);
                }
                Some(Sink::UploadWriter(upload)) => upload.finish(),
                Some(Sink::Discard) | None => {}
            }
        } else if matches!(&receiving.sink, Sink::Collect(collected) if collected.bytes.len() > MAX_COLLECTED)
        {
            self.upload_collected(context);
        }
        decoded.used
    }

    /// Dispatches a request whose body exceeds `MAX_COLLECTED`, while the rest of the body is still arriving.
    fn upload_collected(&mut self, context: &mut ThreadContext) {
        let number = self.number;
        let Some(exchange) = &mut self.exchange else { return };
        let id = ExchangeId { connection: number, exchange: exchange.serial };
        let Some(receiving) = &mut exchange.receiving else { return };
        let Sink::Collect(collected) = std::mem::replace(&mut receiving.sink, Sink::Discard) else { return };
        let Collected { request, bytes, hold, origin, .. } = *collected;
        let client = client_of(self.remote, request.headers(), context);
        let Some(permit) = context.uploads.acquire(origin, client) else {
            return self.reject(TOO_MANY_UPLOADS, context);
        };
        let (sink, content) = upload(permit, &context.ledger, None, context.inbox.wake(id));
        // The upload now accounts for these bytes.
        drop(hold);
        if !sink.push(&bytes) {
            return self.reject(NO_MEMORY, context);
        }
        receiving.sink = Sink::UploadWriter(sink);
        self.dispatch(request, content, context);
    }

    /// Handles a request body that cannot be received. The start of the next request is then unknown.
    fn fail_body(&mut self, rejection: Rejection, context: &mut ThreadContext) {
        let has_responded = self
            .exchange
            .as_ref()
            .is_none_or(|exchange| matches!(exchange.reply, Reply::Sending(_) | Reply::Done));
        if has_responded {
            self.abort();
        } else {
            // If the handler already runs, it sees an incomplete body, and its response is not sent.
            self.reject(rejection, context);
        }
    }

    /// Passes a request to the responder; its body may still be arriving.
    fn dispatch(&mut self, request: Request<()>, content: Body, context: &mut ThreadContext) {
        let mut request = request.map(|()| content);
        request.extensions_mut().insert(RemoteAddress(self.remote));
        let Some(exchange) = &mut self.exchange else { return };
        exchange.client = client_of(self.remote, request.headers(), context);
        let id = ExchangeId { connection: self.number, exchange: exchange.serial };
        if exchange.summary.version == Version::HTTP_11 {
            let (interim, wake) = (Arc::clone(&exchange.interim), context.inbox.wake(id));
            request.extensions_mut().insert(OnInterim::new(move |status, headers| {
                interim.lock().extend_from_slice(&response_head::encode_interim(status, headers));
                wake();
            }));
        }
        let responder = Arc::clone(&context.responder);
        let wakes = || context.inbox.wake(id);
        let step = panic::catch_unwind(AssertUnwindSafe(|| responder.step(request, &wakes)));
        self.apply_step(step.unwrap_or(Step::Lost), context);
    }

    /// Applies the responder's next step.
    fn apply_step(&mut self, step: Step<Response<Body>>, context: &mut ThreadContext) {
        let Some(exchange) = &mut self.exchange else { return };
        match step {
            Step::Serve(response) => self.respond(response, context),
            Step::Wait(waiting) => exchange.reply = Reply::Waiting(waiting),
            Step::Fetch(job, waiting) => {
                exchange.reply = Reply::Waiting(waiting);
                exchange.job = Some(job.cancellation.clone());
                context.scheduler.submit(job, exchange.client);
            }
            Step::Lost => self.respond(failed(), context),
        }
    }

    /// Continues an exchange after a wake-up for it.
    pub(super) fn wake_up(&mut self, serial: u64, context: &mut ThreadContext) {
        let is_meant = |exchange: &Exchange| exchange.serial == serial;
        if self.exchange.as_deref().is_some_and(is_meant) {
            self.poll_responder(context);
        }
    }

    /// Asks the responder again, after a wake-up or at its deadline.
    fn poll_responder(&mut self, context: &mut ThreadContext) {
        let Some(exchange) = &mut self.exchange else { return };
        if !matches!(exchange.reply, Reply::Waiting(_)) {
            return;
        }
        self.outbound.push_own(std::mem::take(&mut *exchange.interim.lock()).into());
        if let Reply::Waiting(waiting) = std::mem::replace(&mut exchange.reply, Reply::NotDispatched) {
            let step = panic::catch_unwind(AssertUnwindSafe(waiting.again));
            self.apply_step(step.unwrap_or(Step::Lost), context);
        }
    }

    /// Starts sending a response.
    fn respond(&mut self, response: Response<Body>, context: &mut ThreadContext) {
        let Some(exchange) = &mut self.exchange else { return };
        let response = if response.status().is_informational() {
            log::error!(
                "the handler returned the interim status {} as its response; the server sends 500",
                response.status()
            );
            failed()
        } else {
            response
        };
        let (mut parts, body) = response.into_parts();
        exchange.origin = parts.extensions.remove().map(|BodyOf(origin)| origin);
        if let Some(job) = exchange.job.take()
            && parts.headers.get(CONTENT_TYPE).is_some_and(|value| is_event_stream(value.as_bytes()))
        {
            context.scheduler.is_stream(&job);
        }
        // The rest of an incomplete request body would be read as the next request.
        exchange.summary.persistent &= exchange.receiving.is_none() && !context.is_stopping;
        let head = response_head::encode(parts, &exchange.summary, body.length(), SystemTime::now());
        exchange.summary.persistent &= head.framing != Framing::UntilClose;
        self.outbound.push_own(head.bytes.into());
        exchange.reply = match (head.framing, body.into_growing()) {
            (Framing::None, Ok((stream, _))) => {
                context.release_body(stream, exchange.origin.take(), exchange.client);
                Reply::Done
            }
            (Framing::None, Err(_)) => Reply::Done,
            (framing, Ok((stream, _))) => Reply::Sending(Sending::new(stream, framing)),
            (_, Err(body)) => {
                if let Some(pieces) = body.as_pieces() {
                    pieces.iter().for_each(|piece| self.outbound.push(piece));
                }
                Reply::Done
            }
        };
    }

    /// Queues available bytes of a growing body.
    fn send_more(&mut self, context: &mut ThreadContext) -> Next {
        let number = self.number;
        let Some(exchange) = &mut self.exchange else { return Next::Wait };
        let serial = exchange.serial;
        let Reply::Sending(sending) = &mut exchange.reply else { return Next::Wait };
        let wake = sending
            .wake
            .get_or_insert_with(|| context.inbox.wake(ExchangeId { connection: number, exchange: serial }));
        match sending.stream.read_at_once(PIECE, wake) {
            Ok(Grown::Bytes(bytes)) => {
                if sending.push(bytes, &mut self.outbound) {
                    return Next::Again;
                }
                log::warn!("a response body is longer than its Content-Length; the connection is aborted");
            }
            Ok(Grown::End) if sending.is_complete() => {
                sending.end(&mut self.outbound);
                exchange.reply = Reply::Done;
                return Next::Again;
            }
            Ok(Grown::End) => {
                log::warn!("a response body is shorter than its Content-Length; the connection is aborted")
            }
            Ok(Grown::Pending) => {
                // Usually a worker already reads the body.
                if let Some(driver) = sending.stream.driver() {
                    context.transfer(driver, exchange.origin.clone(), exchange.client);
                }
                return Next::Wait;
            }
            Err(error) => log::warn!("reading a response body failed: {error}; the connection is aborted"),
        }
        self.transport.abort();
        Next::Close
    }

    /// Sends an error response for an invalid request. The connection closes afterwards.
    fn reject(&mut self, rejection: Rejection, context: &mut ThreadContext) {
        log::debug!("request rejected: {}", rejection.reason);
        context.stats.count_request_refusal(kind_of(rejection));
        let method = if self.is_for_head { Method::HEAD } else { Method::GET };
        let summary = RequestSummary { method, version: Version::HTTP_11, persistent: false };
        self.head_since = None;
        self.reading.stop();
        self.exchange = Some(Exchange::new(context.next_exchange(), summary, None));
        let response = match rejection.status {
            StatusCode::SERVICE_UNAVAILABLE => unavailable(rejection.reason),
            status => text(status, rejection.reason),
        };
        self.respond(response, context);
    }

    /// Aborts the connection, so that the client cannot take its end for the end of a response.
    fn abort(&mut self) {
        self.transport.abort();
        self.outbound = Outbound::default();
        self.closing = Closing::Lingering { until: self.idle_since, left: 0 };
    }

    /// Enforces the deadlines.
    pub(super) fn check_deadlines(&mut self, context: &mut ThreadContext) -> Next {
        let (now, options) = (context.now, &context.options);
        let has_passed = |since: Instant, limit: Duration| now.saturating_duration_since(since) >= limit;
        if let Closing::Lingering { until, .. } = self.closing {
            return if now >= until { Next::Close } else { Next::Wait };
        }
        if self.transport.is_handshaking() {
            return if has_passed(self.idle_since, options.handshake_timeout) {
                Next::Close
            } else {
                Next::Wait
            };
        }
        if self.writing.is_too_slow(options, now) {
            log::debug!("a client reads its response too slowly; its connection is aborted");
            self.transport.abort();
            return Next::Close;
        }
        let reason = "the request did not arrive in time";
        let late = Rejection { status: StatusCode::REQUEST_TIMEOUT, reason };
        let Some(exchange) = &self.exchange else {
            return match self.head_since {
                Some(since) if has_passed(since, options.head_timeout) => {
                    self.reject(late, context);
                    Next::Again
                }
                None if self.closing == Closing::No
                    && self.is_idle()
                    && has_passed(self.idle_since, options.idle_timeout) =>
                {
                    Next::Close
                }
                _ => Next::Wait,
            };
        };
        match &exchange.reply {
            Reply::NotDispatched | Reply::Waiting(_) | Reply::Sending(_)
                if self.reading.is_too_slow(options, now) =>
            {
                self.fail_body(late, context);
                Next::Again
            }
            Reply::Waiting(waiting) if waiting.until.is_some_and(|until| until <= now) => {
                self.poll_responder(context);
                Next::Again
            }
            // Retry in case no worker was available to read the body.
            Reply::Sending(_) => Next::Again,
            _ => Next::Wait,
        }
    }

    /// Returns whether the connection waits for a request of which no byte has arrived.
    pub(super) fn is_idle(&self) -> bool {
        self.exchange.is_none()
            && self.input.is_empty()
            && self.outbound.is_empty()
            && !self.transport.wants_write()
    }

    /// Returns whether all output is written and the server only drains input.
    pub(super) fn is_lingering(&self) -> bool {
        matches!(self.closing, Closing::Lingering { .. })
    }

    /// Releases everything without waiting.
    pub(super) fn dispose(mut self, context: &mut ThreadContext) {
        let mut is_complete = self.outbound.is_empty();
        if let Some(exchange) = self.exchange.take()
            && let Reply::Sending(sending) = exchange.reply
        {
            is_complete = false;
            context.release_body(sending.stream, exchange.origin, exchange.client);
        }
        if !is_complete {
            // A response that ends with its connection must not seem complete.
            self.transport.abort();
        }
    }

    fn exchange_id(&self, serial: u64) -> ExchangeId {
        ExchangeId { connection: self.number, exchange: serial }
    }
}

/// Returns the client to which the jobs of a request are charged; `None` for a peer of the pool.
fn client_of(remote: SocketAddr, head: &HeaderMap, context: &ThreadContext) -> Option<Client> {
    let is_by_a_peer = context.responder.is_by_a_peer(head, remote.ip(), context.shows_certificates);
    (!is_by_a_peer).then(|| Client::of(remote.ip()))
}

fn is_event_stream(content_type: &[u8]) -> bool {
    const NAME: &[u8] = b"text/event-stream";
    content_type.get(..NAME.len()).is_some_and(|name| name.eq_ignore_ascii_case(NAME))
}

fn failed() -> Response<Body> {
    log::error!("the handler failed; the server sends 500");
    text(StatusCode::INTERNAL_SERVER_ERROR, "the handler failed")
}

fn too_large() -> Rejection {
    Rejection { status: StatusCode::PAYLOAD_TOO_LARGE, reason: "the request body is too large" }
}

/// Returns the metric label of a rejection.
fn kind_of(rejection: Rejection) -> RequestRefusal {
    match rejection.status {
        _ if rejection == TOO_MANY_UPLOADS => RequestRefusal::TooManyUploads,
        _ if rejection == NO_MEMORY => RequestRefusal::NoMemory,
        StatusCode::REQUEST_TIMEOUT => RequestRefusal::Late,
        StatusCode::PAYLOAD_TOO_LARGE
        | StatusCode::URI_TOO_LONG
        | StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE => RequestRefusal::TooLarge,
        _ => RequestRefusal::Malformed,
    }
}

/// Returns whether the client waits for 100 (Continue) before it sends the body (RFC 9110 section 10.1.1).
fn expectation(request: &Request<()>) -> Result<bool, Rejection> {
    if request.version() != Version::HTTP_11 {
        return Ok(false);
    }
    let mut lines = request.headers().get_all(EXPECT).into_iter();
    match (lines.next(), lines.next()) {
        (None, _) => Ok(false),
        (Some(line), None) if line.as_bytes().eq_ignore_ascii_case(b"100-continue") => Ok(true),
        _ => Err(Rejection {
            status: StatusCode::EXPECTATION_FAILED,
            reason: "the only supported expectation is 100-continue",
        }),
    }
}
