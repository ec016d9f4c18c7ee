//! Reads input, validates request heads, and sends hits.

use std::io::{self, IoSlice, Write};
use std::mem::MaybeUninit;
use std::sync::Arc;

use bytes::Bytes;
use http::{Method, StatusCode, Version};

use super::{Closing, Connection};
use crate::message::header::token::is_token_byte;
use crate::message::nonblocking::PlainRequest;
use crate::message::stats::Outcome;
use crate::server::access_log::Pending;
use crate::server::event::context::ThreadContext;
use crate::server::event::exchange::{Exchange, Reply, Sending};
use crate::server::event::head_end::{Scan, empty_lines, head_end};
use crate::server::event::input::Consumed;
use crate::server::event::next::Next;
use crate::server::event::partial_head;
use crate::server::options::FIELDS_LIMIT;
use crate::server::request_head::{self, Rejection};
use crate::server::response_head::{self, Framing, RequestSummary};
use crate::store::StoredResponse;

/// Maximum number of pieces in the first write of a hit, including its head.
const SLICES: usize = 16;

impl Connection {
    /// Processes buffered input, or reads more from the socket.
    pub(super) fn receive(&mut self, context: &mut ThreadContext) -> Next {
        if self.input.has_unscanned_bytes() {
            let mut input = std::mem::take(&mut self.input);
            let consumed = self.consume(input.bytes(), input.scanned(), context);
            input.consume(consumed);
            self.input = input;
            return Next::Again;
        }
        if !self.may_read {
            return Next::Wait;
        }
        let mut buffer = std::mem::take(&mut context.input);
        // Bytes after a head may have to be buffered until its request is complete.
        let max =
            if self.exchange.is_some() { buffer.len() } else { buffer.len().min(context.options.max_head) };
        let next = match self.transport.read(&mut buffer[..max]) {
            Ok(read) if read.count == 0 => self.input_ended(context),
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
            Err(error) => self.connection_lost(&error),
        };
        context.input = buffer;
        next
    }

    /// Like [`receive`](Self::receive), if the request body has a destination with room for it.
    pub(super) fn receive_body(&mut self, context: &mut ThreadContext) -> Next {
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
    fn input_ended(&mut self, context: &mut ThreadContext) -> Next {
        if self.exchange.is_none() {
            return Next::Close;
        }
        let reason = "the request body is incomplete";
        self.fail_body(Rejection { status: StatusCode::BAD_REQUEST, reason }, context);
        Next::Again
    }

    /// Processes one head, or a part of a body. The first `scanned` bytes were scanned before.
    fn consume(&mut self, bytes: &[u8], scanned: usize, context: &mut ThreadContext) -> Consumed {
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
        let from = if before > 0 { 0 } else { scanned };
        match head_end(rest, from, context.options.max_head) {
            Scan::Complete(length) => {
                self.head_since = None;
                self.consume_head(&rest[..length], context);
                Consumed::whole(before + length)
            }
            Scan::Incomplete(scanned) => {
                if let Some(rejection) = partial_head::find_fault(rest, from, &context.limits) {
                    self.reject_head(rest, rejection, context);
                    return Consumed::whole(bytes.len());
                }
                self.head_since.get_or_insert(context.now);
                Consumed { used: before, scanned: Some(scanned) }
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
        self.is_head_request = head.starts_with(b"HEAD ");
        self.reject(rejection, context);
    }

    /// Parses a complete head. Sends a hit, starts an exchange, or rejects the request.
    fn consume_head(&mut self, head: &[u8], context: &mut ThreadContext) {
        self.is_head_request = head.starts_with(b"HEAD ");
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
            let sender = context.sender(self.remote);
            if let Some(stored) = context.responder.hit(&plain, &sender, &mut context.scratch) {
                return self.send_hit(&stored, &plain, context);
            }
        }
        let fields = parsed.headers.iter().map(|field| (field.name.as_bytes(), field.value));
        let checked =
            request_head::check(&context.limits, method.as_bytes(), target.as_bytes(), (1, minor), fields);
        match checked {
            Ok(head) => self.start_exchange(head, context),
            Err(rejection) => self.reject(rejection, context),
        }
    }

    /// Writes a stored response. Bytes that the socket accepts at once are not copied.
    fn send_hit(
        &mut self,
        stored: &Arc<StoredResponse>,
        request: &PlainRequest<'_>,
        context: &mut ThreadContext,
    ) {
        use std::fmt::Write;
        if let Some(remote) = stored.remote() {
            return self.send_remote(stored, remote.length, request, context);
        }
        let (fields, length) = (stored.lines(), stored.body_length());
        let lines = &mut context.scratch.lines;
        // Writing to a String cannot fail.
        let _ = write!(lines, "content-length: {length}\r\n");
        let persistent = request.persistent && !context.is_stopping;
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
                    self.connection_lost(&error);
                    self.closing = Closing::Written;
                    return;
                }
            }
            context.budget.charge(written);
            if written == status.len() + fields.len() + lines.len() + length {
                return context.finished(&hit(request, stored, context), self.remote, true);
            }
        }
        // Queue the bytes that the socket did not accept.
        let mut take_written = |length: usize| {
            let done = written.min(length);
            written -= done;
            done
        };
        let done = take_written(status.len());
        self.outbound.push_private(Bytes::copy_from_slice(&status[done..]));
        self.outbound.push(stored.field_lines().slice(take_written(fields.len())..));
        let done = take_written(lines.len());
        self.outbound.push_private(Bytes::copy_from_slice(&lines.as_bytes()[done..]));
        stored.body().iter().for_each(|piece| self.outbound.push(piece.slice(take_written(piece.len())..)));
        self.partial_hit = Some(Box::new(hit(request, stored, context).into_owned()));
    }
}

impl Connection {
    /// Starts to send a stored response whose body is read while it is sent.
    fn send_remote(
        &mut self,
        stored: &StoredResponse,
        length: u64,
        request: &PlainRequest<'_>,
        context: &mut ThreadContext,
    ) {
        let persistent = request.persistent && !context.is_stopping;
        let framing = Framing::Length(length);
        let status = response_head::status_line(stored.status());
        let lines = context.scratch.lines.as_bytes();
        let mut head = Vec::with_capacity(status.len() + stored.lines().len() + lines.len() + 64);
        head.extend_from_slice(&status);
        head.extend_from_slice(stored.lines());
        head.extend_from_slice(lines);
        // Writing to a Vec cannot fail.
        let _ = write!(head, "content-length: {length}\r\n");
        if !persistent {
            head.extend_from_slice(b"connection: close\r\n");
        }
        head.extend_from_slice(b"\r\n");
        self.outbound.push_private(head.into());
        let pending = Pending { bytes: 0, ..hit(request, stored, context).into_owned() };
        let summary = RequestSummary { method: Method::GET, version: Version::HTTP_11, persistent };
        let mut exchange = Exchange::new(context.next_exchange(), summary, None, pending);
        exchange.reply = match std::mem::take(&mut context.scratch.body).into_poll_body() {
            Ok((stream, _)) => Reply::Sending(Sending::new(stream, framing)),
            Err(_) => Reply::Done,
        };
        self.exchange = Some(exchange);
    }
}

/// Returns the record of a hit.
fn hit<'a>(request: &PlainRequest<'a>, stored: &StoredResponse, context: &ThreadContext) -> Pending<'a> {
    let mut pending = context.pending(Some(&Method::GET), || request.target.into());
    pending.status = Some(stored.status());
    pending.outcome = Some(Outcome::Hit);
    pending.bytes = stored.body_length() as u64;
    pending
}
