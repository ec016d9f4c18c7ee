//! Passes requests to the responder, and sends the responses.

use std::panic::{self, AssertUnwindSafe};
use std::sync::Arc;
use std::time::SystemTime;

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{Method, Request, Response, StatusCode, Version};

use super::Connection;
use super::rejections::kind_of;
use crate::message::body::{Body, PollRead};
use crate::message::interim::OnInterim;
use crate::message::nonblocking::{BodyOrigin, Step};
use crate::message::stats::Outcome;
use crate::metrics::TunnelRefusal;
use crate::server::error_response::{text, unavailable};
use crate::server::event::context::ThreadContext;
use crate::server::event::exchange::{Exchange, Reply, Sending};
use crate::server::event::inbox::ExchangeId;
use crate::server::event::next::Next;
use crate::server::request_head::Rejection;
use crate::server::response_head::{self, Framing, RequestSummary};
use crate::server::tunnel_to::TunnelTo;

/// Maximum number of bytes of a growing body to queue at a time.
pub(super) const PIECE: usize = 64 << 10;

/// The same while memory is short, so that many slow clients take little of it until the slowest are cut off.
const SHORT_PIECE: usize = 16 << 10;

impl Connection {
    /// Passes a request to the responder; its body may still be arriving.
    pub(super) fn dispatch(&mut self, request: Request<()>, content: Body, context: &mut ThreadContext) {
        let mut request = request.map(|()| content);
        let Some(exchange) = &mut self.exchange else { return };
        exchange.client = context.charged_client(self.remote, request.headers());
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
                context.submit(job, exchange.client);
            }
            Step::Lost => self.respond(failed(), context),
        }
    }

    /// Continues an exchange after a wake-up for it.
    pub(in crate::server::event) fn wake_up(&mut self, serial: u64, context: &mut ThreadContext) {
        let has_serial = |exchange: &Exchange| exchange.serial == serial;
        if self.exchange.as_deref().is_some_and(has_serial) {
            self.poll_responder(context);
        }
    }

    /// Asks the responder again, after a wake-up or at its deadline.
    pub(super) fn poll_responder(&mut self, context: &mut ThreadContext) {
        let Some(exchange) = &mut self.exchange else { return };
        if !matches!(exchange.reply, Reply::Waiting(_)) {
            return;
        }
        self.outbound.push_private(std::mem::take(&mut *exchange.interim.lock()).into());
        if let Reply::Waiting(waiting) = std::mem::replace(&mut exchange.reply, Reply::NotDispatched) {
            let step = panic::catch_unwind(AssertUnwindSafe(waiting.again));
            self.apply_step(step.unwrap_or(Step::Lost), context);
        }
    }

    /// Starts sending a response.
    pub(super) fn respond(&mut self, response: Response<Body>, context: &mut ThreadContext) {
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
        if let Some(permit) = exchange.tunnel.take() {
            exchange.pending.status = Some(parts.status);
            let destination = parts.extensions.remove::<TunnelTo>().and_then(|to| to.take());
            if let Some(destination) = destination {
                exchange.reply = Reply::Done;
                self.tunnel = Some((destination, permit));
                // A successful response to CONNECT has no framing (RFC 9110 section 9.3.6).
                self.outbound.push(Bytes::from_static(b"HTTP/1.1 200 Connection established\r\n\r\n"));
                return;
            }
            context.stats.count_tunnel_refusal(TunnelRefusal::of_status(parts.status));
        }
        exchange.pending.status = Some(parts.status);
        exchange.pending.outcome = Outcome::of(&parts.headers);
        exchange.origin = parts.extensions.remove().map(|BodyOrigin(origin)| origin);
        if let Some(job) = exchange.job.take()
            && parts.headers.get(CONTENT_TYPE).is_some_and(|value| is_event_stream(value.as_bytes()))
        {
            context.scheduler.is_stream(&job);
        }
        // The rest of an incomplete request body would be read as the next request.
        exchange.summary.persistent &= exchange.receiving.is_none() && !context.is_stopping;
        let head = response_head::encode(parts, &exchange.summary, body.length(), SystemTime::now());
        exchange.summary.persistent &= head.framing != Framing::UntilClose;
        self.outbound.push_private(head.bytes.into());
        exchange.reply = match (head.framing, body.into_poll_body()) {
            (Framing::None, Ok((stream, _))) => {
                context.release_body(stream, exchange.origin.take(), exchange.client);
                Reply::Done
            }
            (Framing::None, Err(_)) => Reply::Done,
            (framing, Ok((stream, _))) => Reply::Sending(Sending::new(stream, framing)),
            (_, Err(body)) => {
                if let Some(pieces) = body.as_pieces() {
                    exchange.pending.bytes = pieces.len() as u64;
                    pieces.iter().for_each(|piece| self.outbound.push(piece));
                }
                Reply::Done
            }
        };
    }

    /// Queues available bytes of a growing body.
    pub(super) fn send_more(&mut self, context: &mut ThreadContext) -> Next {
        let number = self.number;
        let Some(exchange) = &mut self.exchange else { return Next::Wait };
        let serial = exchange.serial;
        let Reply::Sending(sending) = &mut exchange.reply else { return Next::Wait };
        let wake = sending
            .wake
            .get_or_insert_with(|| context.inbox.wake(ExchangeId { connection: number, exchange: serial }));
        let most = if context.ledger.is_short() { SHORT_PIECE } else { PIECE };
        match sending.stream.poll_read(most, wake) {
            Ok(PollRead::Bytes(bytes)) => {
                exchange.pending.bytes += bytes.len() as u64;
                if sending.push(bytes, &mut self.outbound) {
                    return Next::Again;
                }
                log::warn!("a response body is longer than its Content-Length; the connection is aborted");
            }
            Ok(PollRead::End) if sending.is_complete() => {
                sending.end(&mut self.outbound);
                exchange.reply = Reply::Done;
                return Next::Again;
            }
            Ok(PollRead::End) => {
                log::warn!("a response body is shorter than its Content-Length; the connection is aborted");
            }
            Ok(PollRead::Pending) => {
                // Usually a worker already reads the body.
                if let Some(driver) = sending.stream.driver() {
                    context.transfer(driver, exchange.origin.clone(), exchange.client);
                }
                return Next::Wait;
            }
            Err(error) => {
                log::warn!("reading a response body failed: {error:#}; the connection is aborted");
                // What came before is right.
                let _ = self.outbound.flush(&mut self.transport, &mut context.budget);
            }
        }
        self.transport.abort();
        Next::Close
    }

    /// Sends an error response for an invalid request. The connection closes afterwards.
    pub(super) fn reject(&mut self, rejection: Rejection, context: &mut ThreadContext) {
        log::debug!("request rejected: {}", rejection.reason);
        context.stats.count_request_refusal(kind_of(rejection));
        let method = if self.is_head_request { Method::HEAD } else { Method::GET };
        let summary = RequestSummary { method, version: Version::HTTP_11, persistent: false };
        self.head_since = None;
        self.reading.stop();
        let pending = context.pending(None, || "".into());
        self.exchange = Some(Exchange::new(context.next_exchange(), summary, None, pending));
        let response = match rejection.status {
            StatusCode::SERVICE_UNAVAILABLE => unavailable(rejection.reason),
            status => text(status, rejection.reason),
        };
        self.respond(response, context);
    }
}

fn is_event_stream(content_type: &[u8]) -> bool {
    const NAME: &[u8] = b"text/event-stream";
    content_type.get(..NAME.len()).is_some_and(|name| name.eq_ignore_ascii_case(NAME))
}

fn failed() -> Response<Body> {
    log::error!("the handler failed; the server sends 500");
    text(StatusCode::INTERNAL_SERVER_ERROR, "the handler failed")
}
