//! One request on a connection and its answer.

use std::sync::Arc;

use bytes::Bytes;
use http::{Request, Response};
use parking_lot::Mutex;

use super::decoder::Decoder;
use super::outbound::Outbound;
use super::upload::{Collecting, Upload};
use crate::base::cancellation::Cancellation;
use crate::base::ledger::Hold;
use crate::message::body::{Body, Growing, Wake};
use crate::message::nonblocking::Waiting;
use crate::message::url::CanonicalUrl;
use crate::scheduler::Client;
use crate::server::request_head::RequestBody;
use crate::server::response_head::{Asked, Framing};

/// A request whose head has come, until its answer is written.
pub(super) struct Exchange {
    /// By which letters about it are known.
    pub(super) serial: u64,
    pub(super) asked: Asked,
    /// Whose share its jobs take from.
    pub(super) client: Option<Client>,
    /// From which origin the body of its answer comes, where that is known.
    pub(super) origin: Option<CanonicalUrl>,
    /// Its last job.
    pub(super) job: Option<Cancellation>,
    /// Its content, as long as it has not come to its end.
    pub(super) receiving: Option<Receiving>,
    /// Interim responses that wait to be written, as bytes.
    pub(super) interim: Interims,
    pub(super) reply: Reply,
}

/// Interim responses that come on other threads.
pub(super) type Interims = Arc<Mutex<Vec<u8>>>;

/// Content that is coming.
pub(super) struct Receiving {
    pub(super) decoder: Decoder,
    /// How much of it has come, in bytes.
    pub(super) received: u64,
    pub(super) sink: Sink,
}

/// Where content goes.
pub(super) enum Sink {
    /// Into memory, until the request is handed on with all of it.
    Collect(Box<Collected>),
    /// To whoever handles the request already.
    Upload(Upload),
    /// Nowhere.
    Discard,
}

/// Content that has come, of a request that is handed on with all of it.
pub(super) struct Collected {
    pub(super) request: Request<()>,
    pub(super) bytes: Vec<u8>,
    pub(super) hold: Hold,
    /// For which origin it is.
    pub(super) origin: Option<CanonicalUrl>,
    pub(super) _place: Collecting,
}

impl Collected {
    /// Takes more; `false` where there is no memory for it.
    pub(super) fn take(&mut self, bytes: &[u8]) -> bool {
        let has_room = self.hold.try_grow(bytes.len() as u64);
        if has_room {
            self.bytes.extend_from_slice(bytes);
        }
        has_room
    }
}

/// How far the answer is.
pub(super) enum Reply {
    /// Nobody has been asked yet.
    NotAsked,
    /// Another thread works on it.
    Waiting(Waiting<Response<Body>>),
    /// Its head is written, its body grows.
    Sending(Sending),
    /// All of it is written, or waits to be.
    Done,
}

/// A body that is sent as it grows.
pub(super) struct Sending {
    pub(super) stream: Box<dyn Growing>,
    pub(super) wake: Option<Wake>,
    framing: Framing,
    sent: u64,
}

impl Exchange {
    /// Whether the answer is still to come, at least a part of it, where the client has sent everything and its end.
    pub(super) fn is_left_by_its_client(&self) -> bool {
        self.receiving.is_none() && matches!(self.reply, Reply::Waiting(_) | Reply::Sending(_))
    }

    pub(super) fn new(serial: u64, asked: Asked, receiving: Option<Receiving>) -> Box<Self> {
        let (client, origin, job) = (None, None, None);
        let interim = Interims::default();
        Box::new(Self { serial, asked, client, origin, job, receiving, interim, reply: Reply::NotAsked })
    }
}

impl Receiving {
    pub(super) fn new(body: RequestBody, sink: Sink) -> Self {
        Self { decoder: Decoder::new(body), received: 0, sink }
    }

    /// Whether more may be read from the connection.
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

    /// Sends a piece; `false` where it is more than was announced.
    pub(super) fn push(&mut self, piece: Bytes, outbound: &mut Outbound) -> bool {
        self.sent += piece.len() as u64;
        match self.framing {
            Framing::Length(length) if self.sent > length => return false,
            Framing::Chunked => {
                outbound.push_own(format!("{:x}\r\n", piece.len()).into());
                outbound.push(piece);
                outbound.push(Bytes::from_static(b"\r\n"));
            }
            _ => outbound.push(piece),
        }
        true
    }

    /// Whether as much was sent as was announced.
    pub(super) fn is_whole(&self) -> bool {
        !matches!(self.framing, Framing::Length(length) if self.sent != length)
    }

    /// Says that this was all.
    pub(super) fn end(&self, outbound: &mut Outbound) {
        if self.framing == Framing::Chunked {
            outbound.push(Bytes::from_static(b"0\r\n\r\n"));
        }
    }
}
