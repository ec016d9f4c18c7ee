//! One request on a connection and its response.

use std::sync::Arc;

use bytes::Bytes;
use http::{Request, Response};
use parking_lot::Mutex;

use super::decoder::Decoder;
use super::outbound::Outbound;
use super::tunnel_limits::TunnelPermit;
use super::upload::{CollectPermit, UploadWriter};
use crate::base::cancellation::Cancellation;
use crate::base::memory_limit::Hold;
use crate::message::body::{Body, Growing, Wake};
use crate::message::body_piece::BodyPiece;
use crate::message::nonblocking::Waiting;
use crate::message::url::CanonicalUrl;
use crate::scheduler::ClientAddress;
use crate::server::access_log::Pending;
use crate::server::request_head::RequestBody;
use crate::server::response_head::{Framing, RequestSummary};

/// A request from the time its head is complete until its response is written.
pub(super) struct Exchange {
    /// Identifies the exchange in messages to the I/O thread.
    pub(super) serial: u64,
    pub(super) summary: RequestSummary,
    /// The client to which its jobs are charged; `None` for a peer of the pool.
    pub(super) client: Option<ClientAddress>,
    /// The origin of the response body, if known.
    pub(super) origin: Option<CanonicalUrl>,
    /// The token of its last job.
    pub(super) job: Option<Cancellation>,
    /// The request body, while it is still arriving.
    pub(super) receiving: Option<Receiving>,
    /// Encoded interim responses that wait to be written.
    pub(super) interim: Interims,
    pub(super) reply: Reply,
    /// The permit of a CONNECT request.
    pub(super) tunnel: Option<TunnelPermit>,
    /// What is logged at its end.
    pub(super) pending: Pending<'static>,
}

/// Interim responses, added by worker threads.
pub(super) type Interims = Arc<Mutex<Vec<u8>>>;

/// A request body that is still arriving.
pub(super) struct Receiving {
    pub(super) decoder: Decoder,
    /// Number of body bytes received.
    pub(super) received: u64,
    pub(super) sink: Sink,
}

/// The destination of a request body.
pub(super) enum Sink {
    /// Memory: the request is dispatched once its body is complete.
    Collect(Box<Collected>),
    /// The handler, which already runs.
    Upload(UploadWriter),
    /// No destination: the bytes are discarded.
    Discard,
}

/// A request that is dispatched once its body is complete, and the body so far.
pub(super) struct Collected {
    pub(super) request: Request<()>,
    pub(super) bytes: Vec<u8>,
    pub(super) hold: Hold,
    /// The origin that the body is sent to, if known.
    pub(super) origin: Option<CanonicalUrl>,
    pub(super) _permit: CollectPermit,
}

impl Collected {
    /// Appends bytes. Returns `false` if the memory limit is reached.
    pub(super) fn push(&mut self, bytes: &[u8]) -> bool {
        let has_room = self.hold.try_grow(bytes.len() as u64);
        if has_room {
            self.bytes.extend_from_slice(bytes);
        }
        has_room
    }
}

/// The progress of the response.
pub(super) enum Reply {
    /// The request has not been dispatched.
    NotDispatched,
    /// The responder has not produced a response yet.
    Waiting(Waiting<Response<Body>>),
    /// The head is written or queued; the body is still growing.
    Sending(Sending),
    /// All of the response is written or queued.
    Done,
}

/// A response body that is sent while it grows.
pub(super) struct Sending {
    pub(super) stream: Box<dyn Growing>,
    pub(super) wake: Option<Wake>,
    framing: Framing,
    sent: u64,
}

impl Exchange {
    /// Returns whether the request is complete and its response is not.
    pub(super) fn is_response_pending(&self) -> bool {
        self.receiving.is_none() && matches!(self.reply, Reply::Waiting(_) | Reply::Sending(_))
    }

    pub(super) fn new(
        serial: u64,
        summary: RequestSummary,
        receiving: Option<Receiving>,
        pending: Pending<'static>,
    ) -> Box<Self> {
        let (client, origin, job) = (None, None, None);
        let interim = Interims::default();
        Box::new(Self {
            serial,
            summary,
            client,
            origin,
            job,
            receiving,
            interim,
            reply: Reply::NotDispatched,
            tunnel: None,
            pending,
        })
    }
}

impl Receiving {
    pub(super) fn new(body: RequestBody, sink: Sink) -> Self {
        Self { decoder: Decoder::new(body), received: 0, sink }
    }

    /// Returns whether the sink accepts more of the body.
    pub(super) fn has_room(&self) -> bool {
        match &self.sink {
            Sink::Upload(upload) => upload.has_room(),
            Sink::Collect(_) | Sink::Discard => true,
        }
    }
}

impl Sending {
    pub(super) fn new(stream: Box<dyn Growing>, framing: Framing) -> Self {
        Self { stream, wake: None, framing, sent: 0 }
    }

    /// Queues a piece. Returns `false` if the body exceeds its announced length.
    pub(super) fn push(&mut self, piece: BodyPiece, outbound: &mut Outbound) -> bool {
        self.sent += piece.len() as u64;
        match self.framing {
            Framing::Length(length) if self.sent > length => return false,
            Framing::Chunked => {
                outbound.push_private(format!("{:x}\r\n", piece.len()).into());
                outbound.push(piece);
                outbound.push(Bytes::from_static(b"\r\n"));
            }
            _ => outbound.push(piece),
        }
        true
    }

    /// Returns whether the body has its announced length.
    pub(super) fn is_complete(&self) -> bool {
        !matches!(self.framing, Framing::Length(length) if self.sent != length)
    }

    /// Queues the end of the body.
    pub(super) fn end(&self, outbound: &mut Outbound) {
        if self.framing == Framing::Chunked {
            outbound.push(Bytes::from_static(b"0\r\n\r\n"));
        }
    }
}
