//! Receives request bodies: collects short ones, and passes long ones on while they arrive.

use bytes::Bytes;
use http::header::EXPECT;
use http::{Method, Request, Response, StatusCode, Version};

use super::Connection;
use super::rejections::{NO_MEMORY, TOO_MANY_TUNNELS, TOO_MANY_UPLOADS, too_large};
use crate::base::memory_limit::MemoryUse;
use crate::message::body::Body;
use crate::metrics::TunnelRefusal;
use crate::scheduler::ClientAddress;
use crate::server::access_log::Pending;
use crate::server::event::context::ThreadContext;
use crate::server::event::exchange::{Collected, Exchange, Receiving, Reply, Sink};
use crate::server::event::inbox::ExchangeId;
use crate::server::event::upload::upload;
use crate::server::handler::RemoteAddress;
use crate::server::request_head::{Rejection, RequestBody, RequestHead, bad};
use crate::server::response_head::RequestSummary;

/// Maximum size of a request body that is collected before the request is dispatched, in bytes. A client that
/// sends such a body slowly occupies no worker.
const MAX_COLLECTED: usize = 64 << 10;

impl Connection {
    /// Starts an exchange: dispatches the request, or receives its body first.
    pub(super) fn start_exchange(&mut self, head: RequestHead, context: &mut ThreadContext) {
        let RequestHead { mut request, body, persistent } = head;
        request.extensions_mut().insert(RemoteAddress(self.remote));
        request.extensions_mut().insert(context.sender(self.remote));
        let pending = context.pending(Some(request.method()), || request.uri().to_string().into());
        let summary = RequestSummary {
            method: request.method().clone(),
            version: request.version(),
            // After a successful CONNECT the client sends bytes that are not HTTP (RFC 9110 section 9.3.6).
            persistent: persistent && !context.is_stopping && *request.method() != Method::CONNECT,
        };
        let expects = match expects_continue(&request) {
            Ok(expects) => expects && body != RequestBody::None,
            Err(rejection) => return self.reject(rejection, context),
        };
        let length = match body {
            RequestBody::None => {
                let mut exchange = Exchange::new(context.next_exchange(), summary, None, pending);
                if *request.method() == Method::CONNECT && context.options.http_proxy {
                    let permit = context.tunnels.acquire(ClientAddress::of(self.remote.ip()));
                    if permit.is_none() {
                        context.stats.count_tunnel_refusal(TunnelRefusal::TooMany);
                        return self.reject(TOO_MANY_TUNNELS, context);
                    }
                    exchange.tunnel = permit;
                }
                self.exchange = Some(exchange);
                return self.dispatch(request, Body::empty(), context);
            }
            // The bytes after the head belong to the tunnel (RFC 9110 section 9.3.6).
            _ if *request.method() == Method::CONNECT => {
                return self.reject(bad("a CONNECT request has no content"), context);
            }
            RequestBody::Length(length) if length > context.options.max_body => {
                return self.reject(too_large(), context);
            }
            RequestBody::Length(length) => Some(length),
            RequestBody::Chunked => None,
        };
        let origin = match context.responder.admit(&request) {
            Ok(origin) => origin,
            Err(response) => return self.respond_without_body(*response, summary, pending, context),
        };
        let serial = context.next_exchange();
        let client = context.charged_client(self.remote, request.headers());
        let is_short = length.is_none_or(|length| length <= MAX_COLLECTED as u64);
        if is_short {
            let Some(permit) = context.uploads.acquire_collecting(client) else {
                return self.reject(TOO_MANY_UPLOADS, context);
            };
            self.send_continue(expects);
            let hold = context.ledger.hold(MemoryUse::Content, 0);
            let collected = Collected { request, bytes: Vec::new(), hold, origin, _permit: permit };
            let receiving = Receiving::new(body, Sink::Collect(Box::new(collected)));
            self.exchange = Some(Exchange::new(serial, summary, Some(receiving), pending));
        } else if let Some(permit) = context.uploads.acquire(origin, client) {
            self.send_continue(expects);
            let wake = context.inbox.wake(self.exchange_id(serial));
            let (sink, content) = upload(permit, &context.ledger, length, wake);
            let receiving = Receiving::new(body, Sink::Upload(sink));
            self.exchange = Some(Exchange::new(serial, summary, Some(receiving), pending));
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
        pending: Pending<'static>,
        context: &mut ThreadContext,
    ) {
        let summary = RequestSummary { persistent: false, ..summary };
        self.exchange = Some(Exchange::new(context.next_exchange(), summary, None, pending));
        self.respond(response, context);
    }

    /// Sends 100 (Continue) if the client waits for it (RFC 9110 section 15.2.1).
    fn send_continue(&mut self, is_expected: bool) {
        if is_expected {
            self.outbound.push(Bytes::from_static(b"HTTP/1.1 100 Continue\r\n\r\n"));
        }
    }

    /// Processes a part of the request body. Returns the number of bytes consumed.
    pub(super) fn consume_body(&mut self, bytes: &[u8], context: &mut ThreadContext) -> usize {
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
        self.reading.start(context.now);
        self.reading.count(decoded.used);
        if receiving.received > context.options.max_body {
            self.fail_body(too_large(), context);
            return bytes.len();
        }
        let has_room = match &mut receiving.sink {
            Sink::Collect(collected) => collected.push(content),
            Sink::Upload(upload) => upload.push(content),
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
                    let content = context.ledger.share(MemoryUse::Content, collected.bytes.into());
                    self.dispatch(collected.request, Body::from(content), context);
                }
                Some(Sink::Upload(upload)) => upload.finish(),
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
        let client = context.charged_client(self.remote, request.headers());
        let Some(permit) = context.uploads.acquire(origin, client) else {
            return self.reject(TOO_MANY_UPLOADS, context);
        };
        let (sink, content) = upload(permit, &context.ledger, None, context.inbox.wake(id));
        // The upload now accounts for these bytes.
        drop(hold);
        if !sink.push(&bytes) {
            return self.reject(NO_MEMORY, context);
        }
        receiving.sink = Sink::Upload(sink);
        self.dispatch(request, content, context);
    }

    /// Handles a request body that cannot be received. The start of the next request is then unknown.
    pub(super) fn fail_body(&mut self, rejection: Rejection, context: &mut ThreadContext) {
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
}

/// Returns whether the client waits for 100 (Continue) before it sends the body (RFC 9110 section 10.1.1).
fn expects_continue(request: &Request<()>) -> Result<bool, Rejection> {
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
