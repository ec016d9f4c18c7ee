//! One connection: its requests one after another, each read, handed on, and answered in order.
//!
//! ```text
//!          head                     content                    answer             written
//! (none) ────────▶ Receiving ──────────────────▶ Waiting ────────────▶ Sending ──────────▶ (none), or closing
//!          │  hit                                   │  ▲
//!          └──────────────▶ written at once         └──┘
//! ```
//!
//! Nothing here waits. [`Connection::advance`] goes on until the socket has nothing, takes nothing, or
//! somebody else has to do something first. Of what the client sends, no more is read than is worked on:
//! a request behind another one waits in the socket.

use std::io::{self, IoSlice};
use std::mem::MaybeUninit;
use std::net::SocketAddr;
use std::panic::{self, AssertUnwindSafe};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;
use http::header::{CONTENT_TYPE, EXPECT};
use http::{HeaderMap, Method, Request, Response, StatusCode, Version};

use super::admission::Admitted;
use super::begun_head;
use super::context::Surroundings;
use super::exchange::{Collected, Exchange, Receiving, Reply, Sending, Sink};
use super::head_end::{Scan, empty_lines, head_end};
use super::inbox::Address;
use super::input::{Consumed, Input};
use super::outbound::{Flushed, Outbound};
use super::pace::Pace;
use super::transport::Transport;
use super::turn::Turn;
use super::upload::upload;
use crate::base::ledger::{Hold, Use};
use crate::message::body::{Body, Grown};
use crate::message::header::token::is_token_byte;
use crate::message::interim::OnInterim;
use crate::message::nonblocking::{BodyOf, PlainRequest, Step};
use crate::message::stats::RequestRefusal;
use crate::scheduler::Client;
use crate::server::answer::{text, unavailable};
use crate::server::options::MOST_FIELDS;
use crate::server::request_head::{self, Refusal, RequestBody, RequestHead};
use crate::server::response_head::{self, Asked, Framing};
use crate::server::serve::RemoteAddress;
use crate::store::StoredResponse;

/// The content of a request up to this is collected before the request is handed on, in bytes: a client that
/// sends it slowly then occupies nobody.
const COLLECTED: usize = 64 << 10;

/// How much of a growing body is taken at a time, in bytes.
const PIECE: usize = 64 << 10;

/// How many pieces of a hit go out in its first write at most, with its head.
const SLICES: usize = 16;

/// For how long, and for how many bytes, a client is listened to that is being closed: what it was sending
/// must not make the system throw away what it has not read yet (RFC 9112 section 9.6).
const LINGERING: Duration = Duration::from_secs(1);
const LINGERING_BYTES: usize = 64 << 10;

const TOO_MANY_UPLOADS: Refusal =
    Refusal { status: StatusCode::SERVICE_UNAVAILABLE, reason: "too many bodies are on their way" };

const NO_MEMORY: Refusal =
    Refusal { status: StatusCode::SERVICE_UNAVAILABLE, reason: "the memory limit is reached" };

/// What is to become of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// It waits for its socket, or for somebody.
    Wait,
    /// It has more to do, and others have too.
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
    /// Whether the last head that was whole asks for a head alone, so that a refusal is one too.
    is_for_head: bool,
    /// Whether it is on a list of those that have more to do.
    pub(super) is_listed: bool,
    /// What it has done in the current turn of the loop.
    turn: Turn,
    /// Whether the socket may have something to read.
    may_read: bool,
    /// Whether the client has said that nothing follows: that is told once, with what came before it.
    is_last: bool,
    /// Whether the socket takes nothing for now.
    is_blocked: bool,
    /// Since when something waits that the socket did not take.
    blocked_since: Option<Instant>,
    /// What is held for this connection alone.
    held: Option<Hold>,
    closing: Closing,
    /// When it last had nothing to do, or its connection was made.
    idle_since: Instant,
    /// When the first byte of a head came that is not complete.
    head_since: Option<Instant>,
    reading: Pace,
    writing: Pace,
    _admitted: Admitted,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Closing {
    No,
    /// Once all is written; the client may be sending still.
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
        admitted: Admitted,
    ) -> Self {
        Self {
            transport,
            remote,
            number,
            input: Input::default(),
            outbound: Outbound::default(),
            exchange: None,
            is_for_head: false,
            is_listed: false,
            turn: Turn::default(),
            may_read: true,
            is_last: false,
            is_blocked: false,
            blocked_since: None,
            held: None,
            closing: Closing::No,
            idle_since: now,
            head_since: None,
            reading: Pace::default(),
            writing: Pace::default(),
            _admitted: admitted,
        }
    }

    /// What the system says of the socket.
    pub(super) fn is_ready(&mut self, to_read: bool, is_last: bool, to_write: bool) {
        self.may_read |= to_read || is_last;
        self.is_last |= is_last;
        self.is_blocked &= !to_write;
    }

    /// Goes on for as long as there is something to do and the connection's budget of this turn of the loop lasts.
    pub(super) fn advance(&mut self, around: &mut Surroundings) -> Next {
        around.turn = self.turn.at(around.turn_number);
        let mut next = Next::Again;
        while next == Next::Again && around.turn.takes_a_step() {
            next = self.step(around);
        }
        self.turn = around.turn;
        self.count(around);
        next
    }

    /// Who has connected.
    pub(super) fn client(&self) -> Client {
        Client::of(self.remote.ip())
    }

    /// How many bytes may still be moved in this turn of the loop.
    pub(super) fn left(&self, around: &Surroundings) -> usize {
        self.turn.at(around.turn_number).bytes()
    }

    /// Whether a TLS handshake is to be done before anything is served.
    pub(super) fn is_handshaking(&self) -> bool {
        self.transport.is_handshaking()
    }

    /// Whether a response is on its way that did not go out at once: others are served first.
    pub(super) fn is_bulk(&self) -> bool {
        !self.outbound.is_empty()
            || self.exchange.as_ref().is_some_and(|exchange| matches!(exchange.reply, Reply::Sending(_)))
    }

    /// Enters what is held for this connection alone.
    fn count(&mut self, around: &Surroundings) {
        let own = (self.input.bytes().len() + self.outbound.own() + self.transport.kept()) as u64;
        match &mut self.held {
            _ if own == 0 => self.held = None,
            Some(held) if held.bytes() == own => {}
            Some(held) => held.set(own),
            None => self.held = Some(around.ledger.hold(Use::Connections, own)),
        }
    }

    /// How much is gained by cutting it off: the bytes that its client does not take, times the milliseconds for which
    /// it has not.
    pub(super) fn is_worth_cutting(&self, now: Instant) -> Option<u128> {
        let since = self.blocked_since.filter(|_| self.is_blocked)?;
        let bytes = self.outbound.length() + self.transport.kept();
        Some(bytes as u128 * now.saturating_duration_since(since).as_millis().max(1))
    }

    /// Ends it for the sake of others.
    pub(super) fn cut_off(&mut self) {
        log::warn!("a client that reads slowly is cut off: the memory limit is reached");
        self.transport.abort();
    }

    fn step(&mut self, around: &mut Surroundings) -> Next {
        // Who has said its last word does not wait for what is still to come (FIN counts as leaving, as in nginx).
        if self.is_last && self.exchange.as_ref().is_some_and(|exchange| exchange.is_left_by_its_client()) {
            log::debug!("a client has left before its response came");
            return Next::Close;
        }
        if self.is_blocked {
            // A client that sends before it reads would otherwise wait for us, and we for it.
            let is_sending = |exchange: &Exchange| matches!(exchange.reply, Reply::Sending(_));
            let takes_content = self.exchange.as_deref().is_some_and(is_sending);
            return if takes_content { self.receive_content(around) } else { Next::Wait };
        }
        if !self.outbound.is_empty() || self.transport.wants_write() || self.closing == Closing::Written {
            return self.flush(around);
        }
        if let Closing::Lingering { left, .. } = &mut self.closing {
            return match self.transport.read(&mut around.input) {
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
            let next = self.receive(around);
            if next == Next::Wait && around.is_stopping && self.is_idle() {
                self.transport.finish();
                return Next::Close;
            }
            return next;
        };
        match &mut exchange.reply {
            Reply::Sending(_) => match self.send_more(around) {
                Next::Wait => self.receive_content(around),
                next => next,
            },
            Reply::Done => self.finish(around),
            Reply::NotAsked | Reply::Waiting(_) => self.receive_content(around),
        }
    }

    /// Writes what waits to be written.
    fn flush(&mut self, around: &mut Surroundings) -> Next {
        match self.outbound.flush(&mut self.transport, &mut around.turn) {
            Ok((_, Flushed::Some)) => Next::Again,
            Ok((_, Flushed::All)) if self.closing == Closing::Written => {
                self.transport.finish();
                self.closing = Closing::Lingering { until: around.now + LINGERING, left: LINGERING_BYTES };
                Next::Again
            }
            Ok((_, Flushed::All)) => {
                self.writing.stop();
                self.blocked_since = None;
                if self.exchange.is_none() {
                    self.idle_since = around.now;
                }
                Next::Again
            }
            Ok((count, Flushed::Blocked)) => {
                self.is_blocked = true;
                self.blocked_since.get_or_insert(around.now);
                // While it is, how little is read is not the doing of the client.
                self.reading.stop();
                self.writing.moved(count, around.now);
                Next::Wait
            }
            Err(error) => self.lost(&error),
        }
    }

    fn lost(&mut self, error: &io::Error) -> Next {
        log::debug!("a client is gone: {error}");
        Next::Close
    }

    /// The end of an exchange whose answer is written.
    fn finish(&mut self, around: &mut Surroundings) -> Next {
        let Some(exchange) = self.exchange.take() else { return Next::Again };
        self.idle_since = around.now;
        self.reading.stop();
        if exchange.receiving.is_some() || !exchange.asked.persistent {
            self.closing = Closing::Written;
        }
        Next::Again
    }

    /// Goes on with what has come, or reads more.
    fn receive(&mut self, around: &mut Surroundings) -> Next {
        if self.input.is_worth_a_look() {
            let mut input = std::mem::take(&mut self.input);
            let consumed = self.consume(input.bytes(), input.looked_at(), around);
            input.consume(consumed);
            self.input = input;
            return Next::Again;
        }
        if !self.may_read {
            return Next::Wait;
        }
        let mut buffer = std::mem::take(&mut around.input);
        // What comes behind a head may have to be kept until the request is answered.
        let most =
            if self.exchange.is_some() { buffer.len() } else { buffer.len().min(around.options.max_head) };
        let next = match self.transport.read(&mut buffer[..most]) {
            Ok(read) if read.count == 0 => self.ended(around),
            Ok(read) => {
                around.turn.moved(read.count);
                // The end comes without a word where it came with the bytes before it.
                self.may_read = !read.is_drained || self.is_last;
                let came = &buffer[..read.count];
                if self.input.is_empty() {
                    // Most often it is one whole request, of which nothing has to be kept.
                    let consumed = self.consume(came, 0, around);
                    self.input.keep(came, consumed);
                } else {
                    self.input.extend(came);
                }
                Next::Again
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                self.may_read = false;
                Next::Wait
            }
            // Something has come that is nothing to work on.
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Next::Again,
            Err(error) => self.lost(&error),
        };
        around.input = buffer;
        next
    }

    /// As [`receive`](Self::receive), where somebody takes the content.
    fn receive_content(&mut self, around: &mut Surroundings) -> Next {
        let wants_more = self.exchange.as_ref().and_then(|exchange| exchange.receiving.as_ref());
        match wants_more {
            Some(receiving) if receiving.has_room() => {
                self.reading.start(around.now);
                self.receive(around)
            }
            Some(_) => {
                self.reading.stop();
                Next::Wait
            }
            None => Next::Wait,
        }
    }

    /// The client sends nothing any more.
    fn ended(&mut self, around: &mut Surroundings) -> Next {
        if self.exchange.is_none() {
            return Next::Close;
        }
        let reason = "the body is incomplete";
        self.give_up_content(Refusal { status: StatusCode::BAD_REQUEST, reason }, around);
        Next::Again
    }

    /// Takes one head, or some content. So many of the bytes have been looked at before.
    fn consume(&mut self, bytes: &[u8], looked_at: usize, around: &mut Surroundings) -> Consumed {
        if self.exchange.is_some() {
            return Consumed::whole(self.consume_content(bytes, around));
        }
        let before = empty_lines(bytes);
        let rest = &bytes[before..];
        let Some(first) = rest.first() else {
            self.head_since = None;
            return Consumed::whole(before);
        };
        // What no method begins with need not be waited for: a TLS handshake, for one.
        if !is_token_byte(*first) && *first != b'\r' {
            self.refuse(request_head::bad("this is no HTTP request"), around);
            return Consumed::whole(bytes.len());
        }
        let from = if before > 0 { 0 } else { looked_at };
        match head_end(rest, from, around.options.max_head) {
            Scan::Complete(length) => {
                self.head_since = None;
                self.consume_head(&rest[..length], around);
                Consumed::whole(before + length)
            }
            Scan::Incomplete(looked_at) => {
                if let Some(refusal) = begun_head::fault(rest, from, &around.limits) {
                    self.refuse_head(rest, refusal, around);
                    return Consumed::whole(bytes.len());
                }
                self.head_since.get_or_insert(around.now);
                Consumed { used: before, looked_at: Some(looked_at) }
            }
            Scan::Refused(refusal, end) => {
                match begun_head::fault(&rest[..end], from, &around.limits) {
                    Some(earlier) => self.refuse_head(rest, earlier, around),
                    None => self.refuse_head(b"", refusal, around),
                }
                Consumed::whole(bytes.len())
            }
        }
    }

    /// Refuses a head, of which this is known.
    fn refuse_head(&mut self, head: &[u8], refusal: Refusal, around: &mut Surroundings) {
        self.is_for_head = head.starts_with(b"HEAD ");
        self.refuse(refusal, around);
    }

    fn consume_head(&mut self, head: &[u8], around: &mut Surroundings) {
        self.is_for_head = head.starts_with(b"HEAD ");
        let mut fields = [const { MaybeUninit::uninit() }; MOST_FIELDS];
        let mut parsed = httparse::Request::new(&mut []);
        match parsed.parse_with_uninit_headers(head, &mut fields) {
            Ok(httparse::Status::Complete(length)) if length == head.len() => {}
            // The empty line is there, so it is the parser that sees another end.
            Ok(_) => return self.refuse(request_head::bad("the head is malformed"), around),
            // A later minor version is read as the latest that is known (RFC 9110 section 2.5).
            Err(httparse::Error::Version) if let Some(known) = begun_head::in_known_version(head) => {
                return self.consume_head(&known, around);
            }
            Err(error) => {
                let refusal = begun_head::fault(head, 0, &around.limits);
                return self.refuse(refusal.unwrap_or_else(|| begun_head::refusal_of(error, head)), around);
            }
        }
        let (Some(method), Some(target), Some(minor)) = (parsed.method, parsed.path, parsed.version) else {
            return self.refuse(request_head::bad("the head is malformed"), around);
        };
        let is_common = method == "GET"
            && minor == 1
            && parsed.headers.len() <= around.options.max_fields
            && target.len() <= around.options.max_target;
        if is_common && let Some(plain) = PlainRequest::new(target, parsed.headers) {
            around.scratch.lines.clear();
            around.scratch.url.clear();
            if let Some(stored) = around.responder.hit(&plain, &mut around.scratch) {
                return self.send_hit(&stored, plain.persistent, around);
            }
        }
        let fields = parsed.headers.iter().map(|field| (field.name.as_bytes(), field.value));
        let checked =
            request_head::check(&around.limits, method.as_bytes(), target.as_bytes(), (1, minor), fields);
        match checked {
            Ok(head) => self.begin(head, around),
            Err(refusal) => self.refuse(refusal, around),
        }
    }

    /// Writes a stored response: nothing of it is copied that the socket takes at once.
    fn send_hit(&mut self, stored: &Arc<StoredResponse>, persistent: bool, around: &mut Surroundings) {
        use std::fmt::Write;
        let (fields, length) = (stored.lines(), stored.body_length());
        let lines = &mut around.scratch.lines;
        // Writing to a String cannot fail.
        let _ = write!(lines, "content-length: {length}\r\n");
        let persistent = persistent && !around.is_stopping;
        if !persistent {
            lines.push_str("connection: close\r\n");
            self.closing = Closing::Written;
        }
        lines.push_str("\r\n");
        let status = response_head::status_line(stored.status());
        self.idle_since = around.now;
        let mut written = 0;
        if self.outbound.is_empty() {
            let mut slices = [IoSlice::new(&[]); SLICES];
            let pieces = [&*status, fields, lines.as_bytes()].into_iter().chain(stored.body_slices());
            let (mut count, mut left) = (0, around.turn.bytes());
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
                // The socket says so again when it is read.
                Err(error) => {
                    self.lost(&error);
                    self.closing = Closing::Written;
                    return;
                }
            }
            around.turn.moved(written);
            if written == status.len() + fields.len() + lines.len() + length {
                return;
            }
        }
        // What has not been written waits for the socket.
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

    /// Begins an exchange: hands the request on, or takes its content first.
    fn begin(&mut self, head: RequestHead, around: &mut Surroundings) {
        let RequestHead { request, body, persistent } = head;
        let asked = Asked {
            method: request.method().clone(),
            version: request.version(),
            // Who is told that a tunnel is open sends what is no request (RFC 9110 section 9.3.6).
            persistent: persistent && !around.is_stopping && *request.method() != Method::CONNECT,
        };
        let expects = match expectation(&request) {
            Ok(expects) => expects && body != RequestBody::None,
            Err(refusal) => return self.refuse(refusal, around),
        };
        let length = match body {
            RequestBody::None => {
                self.exchange = Some(Exchange::new(around.next_exchange(), asked, None));
                return self.hand_on(request, Body::empty(), around);
            }
            RequestBody::Length(length) if length > around.options.max_body => {
                return self.refuse(too_large(), around);
            }
            RequestBody::Length(length) => Some(length),
            RequestBody::Chunked => None,
        };
        let origin = match around.responder.admit(&request) {
            Ok(origin) => origin,
            Err(response) => return self.decline(*response, asked, around),
        };
        let serial = around.next_exchange();
        let client = client_of(self.remote, request.headers(), around);
        let is_short = length.is_none_or(|length| length <= COLLECTED as u64);
        if is_short {
            let Some(place) = around.uploads.collect(client) else {
                return self.refuse(TOO_MANY_UPLOADS, around);
            };
            self.ask_for_content(expects);
            let hold = around.ledger.hold(Use::Content, 0);
            let collected = Collected { request, bytes: Vec::new(), hold, origin, _place: place };
            let receiving = Receiving::new(body, Sink::Collect(Box::new(collected)));
            self.exchange = Some(Exchange::new(serial, asked, Some(receiving)));
        } else if let Some(place) = around.uploads.take(origin, client) {
            self.ask_for_content(expects);
            let wake = around.mailbox.wake(self.address(serial));
            let (sink, content) = upload(place, &around.ledger, length, wake);
            let receiving = Receiving::new(body, Sink::Upload(sink));
            self.exchange = Some(Exchange::new(serial, asked, Some(receiving)));
            self.hand_on(request, content, around);
        } else {
            self.refuse(TOO_MANY_UPLOADS, around);
        }
    }

    /// Answers a request whose content is not read.
    fn decline(&mut self, response: Response<Body>, asked: Asked, around: &mut Surroundings) {
        let asked = Asked { persistent: false, ..asked };
        self.exchange = Some(Exchange::new(around.next_exchange(), asked, None));
        self.answer(response, around);
    }

    /// Lets a client begin with the content that waits to be asked for it (RFC 9110 section 15.2.1).
    fn ask_for_content(&mut self, is_waited_for: bool) {
        if is_waited_for {
            self.outbound.push(Bytes::from_static(b"HTTP/1.1 100 Continue\r\n\r\n"));
        }
    }

    fn consume_content(&mut self, bytes: &[u8], around: &mut Surroundings) -> usize {
        let Some(exchange) = &mut self.exchange else { return 0 };
        let Some(receiving) = &mut exchange.receiving else { return 0 };
        let decoded = match receiving.decoder.decode(bytes) {
            Ok(decoded) => decoded,
            Err(refusal) => {
                self.give_up_content(refusal, around);
                return bytes.len();
            }
        };
        let content = &bytes[decoded.content];
        receiving.received += content.len() as u64;
        self.reading.moved(decoded.used, around.now);
        if receiving.received > around.options.max_body {
            self.give_up_content(too_large(), around);
            return bytes.len();
        }
        let has_room = match &mut receiving.sink {
            Sink::Collect(collected) => collected.take(content),
            Sink::Upload(upload) => upload.give(content),
            Sink::Discard => true,
        };
        if !has_room {
            self.give_up_content(NO_MEMORY, around);
            return bytes.len();
        }
        if receiving.decoder.is_done() {
            let receiving = exchange.receiving.take();
            self.reading.stop();
            match receiving.map(|receiving| receiving.sink) {
                Some(Sink::Collect(collected)) => {
                    // Until it has been read.
                    let content = around.ledger.share(Use::Content, collected.bytes.into());
                    self.hand_on(collected.request, Body::from(content), around);
                }
                Some(Sink::Upload(upload)) => upload.finish(),
                Some(Sink::Discard) | None => {}
            }
        } else if matches!(&receiving.sink, Sink::Collect(collected) if collected.bytes.len() > COLLECTED) {
            self.upload_collected(around);
        }
        decoded.used
    }

    /// Hands a request on whose content turns out to be long, while it is still coming.
    fn upload_collected(&mut self, around: &mut Surroundings) {
        let number = self.number;
        let Some(exchange) = &mut self.exchange else { return };
        let address = Address { connection: number, exchange: exchange.serial };
        let Some(receiving) = &mut exchange.receiving else { return };
        let Sink::Collect(collected) = std::mem::replace(&mut receiving.sink, Sink::Discard) else { return };
        let Collected { request, bytes, hold, origin, .. } = *collected;
        let client = client_of(self.remote, request.headers(), around);
        let Some(place) = around.uploads.take(origin, client) else {
            return self.refuse(TOO_MANY_UPLOADS, around);
        };
        let (sink, content) = upload(place, &around.ledger, None, around.mailbox.wake(address));
        // It counts once.
        drop(hold);
        if !sink.give(&bytes) {
            return self.refuse(NO_MEMORY, around);
        }
        receiving.sink = Sink::Upload(sink);
        self.hand_on(request, content, around);
    }

    /// The content of the request does not come as it should: nobody knows where the next request begins.
    fn give_up_content(&mut self, refusal: Refusal, around: &mut Surroundings) {
        let is_answered = self
            .exchange
            .as_ref()
            .is_none_or(|exchange| matches!(exchange.reply, Reply::Sending(_) | Reply::Done));
        if is_answered {
            self.break_off();
        } else {
            // Whoever handles the request finds its content cut, and has nobody to answer to.
            self.refuse(refusal, around);
        }
    }

    /// Hands a whole request, or one whose content is coming, to whoever answers it.
    fn hand_on(&mut self, request: Request<()>, content: Body, around: &mut Surroundings) {
        let mut request = request.map(|()| content);
        request.extensions_mut().insert(RemoteAddress(self.remote));
        let Some(exchange) = &mut self.exchange else { return };
        exchange.client = client_of(self.remote, request.headers(), around);
        let address = Address { connection: self.number, exchange: exchange.serial };
        if exchange.asked.version == Version::HTTP_11 {
            let (interim, wake) = (Arc::clone(&exchange.interim), around.mailbox.wake(address));
            request.extensions_mut().insert(OnInterim::new(move |status, headers| {
                interim.lock().extend_from_slice(&response_head::encode_interim(status, headers));
                wake();
            }));
        }
        let responder = Arc::clone(&around.responder);
        let wakes = || around.mailbox.wake(address);
        let step = panic::catch_unwind(AssertUnwindSafe(|| responder.step(request, &wakes)));
        self.take(step.unwrap_or(Step::Lost), around);
    }

    /// Takes the next step towards a response.
    fn take(&mut self, step: Step<Response<Body>>, around: &mut Surroundings) {
        let Some(exchange) = &mut self.exchange else { return };
        match step {
            Step::Serve(response) => self.answer(response, around),
            Step::Wait(waiting) => exchange.reply = Reply::Waiting(waiting),
            Step::Fetch(job, waiting) => {
                exchange.reply = Reply::Waiting(waiting);
                exchange.job = Some(job.cancellation.clone());
                around.scheduler.submit(job, exchange.client);
            }
            Step::Lost => self.answer(failed(), around),
        }
    }

    /// It is worth looking after an exchange of this connection.
    pub(super) fn hear(&mut self, serial: u64, around: &mut Surroundings) {
        let is_meant = |exchange: &Exchange| exchange.serial == serial;
        if self.exchange.as_deref().is_some_and(is_meant) {
            self.ask_again(around);
        }
    }

    /// What was waited for is there, or has been waited for long enough.
    fn ask_again(&mut self, around: &mut Surroundings) {
        let Some(exchange) = &mut self.exchange else { return };
        if !matches!(exchange.reply, Reply::Waiting(_)) {
            return;
        }
        self.outbound.push_own(std::mem::take(&mut *exchange.interim.lock()).into());
        if let Reply::Waiting(waiting) = std::mem::replace(&mut exchange.reply, Reply::NotAsked) {
            let step = panic::catch_unwind(AssertUnwindSafe(waiting.again));
            self.take(step.unwrap_or(Step::Lost), around);
        }
    }

    /// Begins to send the response.
    fn answer(&mut self, response: Response<Body>, around: &mut Surroundings) {
        let Some(exchange) = &mut self.exchange else { return };
        let response = if response.status().is_informational() {
            log::error!("the handler answered with the interim status {}", response.status());
            failed()
        } else {
            response
        };
        let (mut parts, body) = response.into_parts();
        exchange.origin = parts.extensions.remove().map(|BodyOf(origin)| origin);
        if let Some(job) = exchange.job.take()
            && parts.headers.get(CONTENT_TYPE).is_some_and(|value| is_event_stream(value.as_bytes()))
        {
            around.scheduler.is_stream(&job);
        }
        // What is left of a request's content would be taken for the next request.
        exchange.asked.persistent &= exchange.receiving.is_none() && !around.is_stopping;
        let head = response_head::encode(parts, &exchange.asked, body.length(), SystemTime::now());
        exchange.asked.persistent &= head.framing != Framing::UntilClose;
        self.outbound.push_own(head.bytes.into());
        exchange.reply = match (head.framing, body.into_growing()) {
            (Framing::None, Ok((stream, _))) => {
                around.let_go(stream, exchange.origin.take(), exchange.client);
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

    /// Sends what has come of a growing body.
    fn send_more(&mut self, around: &mut Surroundings) -> Next {
        let number = self.number;
        let Some(exchange) = &mut self.exchange else { return Next::Wait };
        let serial = exchange.serial;
        let Reply::Sending(sending) = &mut exchange.reply else { return Next::Wait };
        let wake = sending
            .wake
            .get_or_insert_with(|| around.mailbox.wake(Address { connection: number, exchange: serial }));
        match sending.stream.read_at_once(PIECE, wake) {
            Ok(Grown::Bytes(bytes)) => {
                if sending.push(bytes, &mut self.outbound) {
                    return Next::Again;
                }
                log::warn!("a response is longer than it said; its connection is broken off");
            }
            Ok(Grown::End) if sending.is_whole() => {
                sending.end(&mut self.outbound);
                exchange.reply = Reply::Done;
                return Next::Again;
            }
            Ok(Grown::End) => log::warn!("a response is shorter than it said; its connection is broken off"),
            Ok(Grown::Pending) => {
                // Most often somebody moves it on already.
                if let Some(driver) = sending.stream.driver() {
                    around.transfer(driver, exchange.origin.clone(), exchange.client);
                }
                return Next::Wait;
            }
            Err(error) => log::warn!("a response broke off: {error}"),
        }
        self.transport.abort();
        Next::Close
    }

    /// Answers what cannot be acted on; the connection is of no use afterwards.
    fn refuse(&mut self, refusal: Refusal, around: &mut Surroundings) {
        log::debug!("a request is refused: {}", refusal.reason);
        around.stats.count_request_refusal(kind_of(refusal));
        let method = if self.is_for_head { Method::HEAD } else { Method::GET };
        let asked = Asked { method, version: Version::HTTP_11, persistent: false };
        self.head_since = None;
        self.reading.stop();
        self.exchange = Some(Exchange::new(around.next_exchange(), asked, None));
        let response = match refusal.status {
            StatusCode::SERVICE_UNAVAILABLE => unavailable(refusal.reason),
            status => text(status, refusal.reason),
        };
        self.answer(response, around);
    }

    /// Ends the connection in a way that cannot be taken for the end of a response.
    fn break_off(&mut self) {
        self.transport.abort();
        self.outbound = Outbound::default();
        self.closing = Closing::Lingering { until: self.idle_since, left: 0 };
    }

    /// Looks for what has taken too long.
    pub(super) fn look_at_the_clock(&mut self, around: &mut Surroundings) -> Next {
        let (now, options) = (around.now, &around.options);
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
            log::debug!("a client does not read its response");
            self.transport.abort();
            return Next::Close;
        }
        let reason = "the request did not come in time";
        let late = Refusal { status: StatusCode::REQUEST_TIMEOUT, reason };
        let Some(exchange) = &self.exchange else {
            return match self.head_since {
                Some(since) if has_passed(since, options.head_timeout) => {
                    self.refuse(late, around);
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
            Reply::NotAsked | Reply::Waiting(_) | Reply::Sending(_)
                if self.reading.is_too_slow(options, now) =>
            {
                self.give_up_content(late, around);
                Next::Again
            }
            Reply::Waiting(waiting) if waiting.until.is_some_and(|until| until <= now) => {
                self.ask_again(around);
                Next::Again
            }
            // In case nobody could be found to move it on.
            Reply::Sending(_) => Next::Again,
            _ => Next::Wait,
        }
    }

    /// Whether it waits for a request, of which nothing has come.
    pub(super) fn is_idle(&self) -> bool {
        self.exchange.is_none()
            && self.input.is_empty()
            && self.outbound.is_empty()
            && !self.transport.wants_write()
    }

    /// Whether everything is said, and the client is only listened to.
    pub(super) fn is_lingering(&self) -> bool {
        matches!(self.closing, Closing::Lingering { .. })
    }

    /// Lets go of everything without waiting for anything.
    pub(super) fn part(mut self, around: &mut Surroundings) {
        let mut is_whole = self.outbound.is_empty();
        if let Some(exchange) = self.exchange.take()
            && let Reply::Sending(sending) = exchange.reply
        {
            is_whole = false;
            around.let_go(sending.stream, exchange.origin, exchange.client);
        }
        if !is_whole {
            // A response whose end is that of its connection must not seem whole.
            self.transport.abort();
        }
    }

    fn address(&self, serial: u64) -> Address {
        Address { connection: self.number, exchange: serial }
    }
}

/// Whose share the jobs for a request take from: `None` is a peer of the pool.
fn client_of(remote: SocketAddr, head: &HeaderMap, around: &Surroundings) -> Option<Client> {
    let is_by_a_peer = around.responder.is_by_a_peer(head, remote.ip(), around.shows_certificates);
    (!is_by_a_peer).then(|| Client::of(remote.ip()))
}

fn is_event_stream(content_type: &[u8]) -> bool {
    const NAME: &[u8] = b"text/event-stream";
    content_type.get(..NAME.len()).is_some_and(|name| name.eq_ignore_ascii_case(NAME))
}

fn failed() -> Response<Body> {
    log::error!("the handler failed; the request is answered with 500");
    text(StatusCode::INTERNAL_SERVER_ERROR, "the handler failed")
}

fn too_large() -> Refusal {
    Refusal { status: StatusCode::PAYLOAD_TOO_LARGE, reason: "the body is too large" }
}

/// Under which name a refusal is counted.
fn kind_of(refusal: Refusal) -> RequestRefusal {
    match refusal.status {
        _ if refusal == TOO_MANY_UPLOADS => RequestRefusal::TooManyUploads,
        _ if refusal == NO_MEMORY => RequestRefusal::NoMemory,
        StatusCode::REQUEST_TIMEOUT => RequestRefusal::Late,
        StatusCode::PAYLOAD_TOO_LARGE
        | StatusCode::URI_TOO_LONG
        | StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE => RequestRefusal::TooLarge,
        _ => RequestRefusal::Malformed,
    }
}

/// Whether the client waits for a word before it sends the content (RFC 9110 section 10.1.1).
fn expectation(request: &Request<()>) -> Result<bool, Refusal> {
    if request.version() != Version::HTTP_11 {
        return Ok(false);
    }
    let mut lines = request.headers().get_all(EXPECT).into_iter();
    match (lines.next(), lines.next()) {
        (None, _) => Ok(false),
        (Some(line), None) if line.as_bytes().eq_ignore_ascii_case(b"100-continue") => Ok(true),
        _ => Err(Refusal {
            status: StatusCode::EXPECTATION_FAILED,
            reason: "the only expectation is 100-continue",
        }),
    }
}
