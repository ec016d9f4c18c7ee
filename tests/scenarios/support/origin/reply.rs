//! The scripted response and how it is sent.

use super::{Gate, Received};

/// A scripted reply. By default it has `Content-Length` framing and keeps the connection open. It contains no header
/// fields except those added explicitly and those for framing.
#[derive(Clone, Debug)]
pub(crate) struct Reply {
    pub(super) content: Content,
    pub(super) head_gate: Option<Gate>,
    pub(super) body_gates: Vec<(usize, Gate)>,
    pub(super) ending: Option<Ending>,
}

#[derive(Clone, Debug)]
pub(super) enum Content {
    Message(Message),
    Raw(Vec<Piece>),
    Nothing,
    Reset,
    Never,
}

#[derive(Clone, Debug)]
pub(super) struct Message {
    pub(super) status: u16,
    pub(super) fields: Vec<(String, Vec<u8>)>,
    pub(super) body: Vec<u8>,
    pub(super) framing: ReplyFraming,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ReplyFraming {
    Length,
    Announcing(u64),
    Chunked,
    UntilClose,
    Unframed,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ending {
    KeepAlive,
    Close,
    CloseSilently,
    CutAfter(usize),
    ResetAfter(usize),
}

/// A part of a raw reply: bytes sent with one write, or a gate to wait for.
#[derive(Clone, Debug)]
pub(crate) enum Piece {
    Bytes(Vec<u8>),
    Wait(Gate),
}

impl From<&str> for Piece {
    fn from(text: &str) -> Self {
        Self::Bytes(text.into())
    }
}

impl From<Vec<u8>> for Piece {
    fn from(bytes: Vec<u8>) -> Self {
        Self::Bytes(bytes)
    }
}

impl From<&Gate> for Piece {
    fn from(gate: &Gate) -> Self {
        Self::Wait(gate.clone())
    }
}

impl Reply {
    /// A reply with this status and an empty body.
    pub(crate) fn status(status: u16) -> Self {
        Self::of(Content::Message(Message {
            status,
            fields: Vec::new(),
            body: Vec::new(),
            framing: ReplyFraming::Length,
        }))
    }

    /// A `200` whose body is the target of the request, fresh for 60 seconds.
    pub(crate) fn target(received: &Received) -> Self {
        Self::ok(received.target.clone()).field("Cache-Control", "max-age=60")
    }

    /// A `200` with this body.
    pub(crate) fn ok(body: impl Into<Vec<u8>>) -> Self {
        Self::status(200).body(body)
    }

    /// Sends these bytes unchanged, then closes the connection (unless [`keep_alive`] is set).
    ///
    /// [`keep_alive`]: Self::keep_alive
    pub(crate) fn raw(bytes: impl Into<Vec<u8>>) -> Self {
        Self::raw_pieces([Piece::Bytes(bytes.into())])
    }

    /// Like [`raw`](Self::raw), but sends each piece with a separate write.
    pub(crate) fn raw_pieces(pieces: impl IntoIterator<Item = Piece>) -> Self {
        Self::of(Content::Raw(pieces.into_iter().collect()))
    }

    /// Closes the connection without sending a byte.
    pub(crate) fn nothing() -> Self {
        Self::of(Content::Nothing)
    }

    /// Resets the connection without sending a byte.
    pub(crate) fn nothing_by_reset() -> Self {
        Self::of(Content::Reset)
    }

    /// Sends nothing until the client closes the connection.
    pub(crate) fn never() -> Self {
        Self::of(Content::Never)
    }

    /// Adds a header field.
    pub(crate) fn field(mut self, name: &str, value: impl AsRef<[u8]>) -> Self {
        self.message("a field").fields.push((name.to_owned(), value.as_ref().to_vec()));
        self
    }

    pub(crate) fn body(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.message("a body").body = body.into();
        self
    }

    /// Sends this `Content-Length`, even on a reply without a body. If it exceeds the length of the body, the
    /// connection is cut after the body, unless another ending is set.
    pub(crate) fn announcing(self, length: u64) -> Self {
        self.framed(ReplyFraming::Announcing(length))
    }

    /// Sends the body in chunks: at least two if the body has two bytes or more.
    pub(crate) fn chunked(self) -> Self {
        self.framed(ReplyFraming::Chunked)
    }

    /// Delimits the body by the end of the connection and sends `Connection: close`.
    pub(crate) fn until_close(self) -> Self {
        self.framed(ReplyFraming::UntilClose)
    }

    /// Sends no framing fields; nothing else changes.
    pub(crate) fn unframed(self) -> Self {
        self.framed(ReplyFraming::Unframed)
    }

    /// Sends nothing until the gate opens.
    pub(crate) fn gate_head(mut self, gate: &Gate) -> Self {
        self.head_gate = Some(gate.clone());
        self
    }

    /// Pauses after `after` bytes of the body until the gate opens. The head is sent before that.
    pub(crate) fn gate_body(mut self, after: usize, gate: &Gate) -> Self {
        self.message("a gate in the body");
        self.body_gates.push((after, gate.clone()));
        self
    }

    /// Closes the connection after `length` bytes of the body; with TLS, without `close_notify`.
    pub(crate) fn cut_after(mut self, length: usize) -> Self {
        self.message("a cut in the body");
        self.ending(Ending::CutAfter(length))
    }

    /// Resets the connection after `length` bytes of the body.
    pub(crate) fn reset_after(mut self, length: usize) -> Self {
        self.message("a reset in the body");
        self.ending(Ending::ResetAfter(length))
    }

    /// Sends `Connection: close` and closes the connection after the reply.
    pub(crate) fn close(self) -> Self {
        self.ending(Ending::Close)
    }

    /// Closes the connection after the reply without sending `Connection: close`.
    pub(crate) fn close_silently(self) -> Self {
        self.ending(Ending::CloseSilently)
    }

    /// Keeps the connection open even if this reply would normally close it.
    pub(crate) fn keep_alive(self) -> Self {
        self.ending(Ending::KeepAlive)
    }

    /// Returns every gate in this reply.
    pub(super) fn gates(&self) -> impl Iterator<Item = &Gate> {
        let pieces = if let Content::Raw(pieces) = &self.content { pieces.as_slice() } else { &[] };
        let in_pieces = pieces.iter().filter_map(|piece| match piece {
            Piece::Wait(gate) => Some(gate),
            Piece::Bytes(_) => None,
        });
        self.head_gate.iter().chain(self.body_gates.iter().map(|(_, gate)| gate)).chain(in_pieces)
    }

    fn of(content: Content) -> Self {
        Self { content, head_gate: None, body_gates: Vec::new(), ending: None }
    }

    fn framed(mut self, framing: ReplyFraming) -> Self {
        self.message("framing").framing = framing;
        self
    }

    fn ending(mut self, ending: Ending) -> Self {
        self.ending = Some(ending);
        self
    }

    fn message(&mut self, what: &str) -> &mut Message {
        match &mut self.content {
            Content::Message(message) => message,
            other => panic!("{other:?} does not support {what}"),
        }
    }
}
