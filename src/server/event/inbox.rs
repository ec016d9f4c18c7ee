//! Messages from other threads to an I/O thread.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crossbeam_channel::{Receiver, Sender, unbounded};
use mio::net::TcpStream;

use super::admission::ConnectionPermit;
use crate::message::body::Wake;

/// The token of the event that wakes an I/O thread for its messages.
pub(super) const WAKER: mio::Token = mio::Token(0);

/// A connection that no thread serves yet.
#[derive(Debug)]
pub(super) struct Accepted {
    pub(super) socket: TcpStream,
    pub(super) remote: SocketAddr,
    pub(super) permit: ConnectionPermit,
    /// Whether the connection begins with a header of the PROXY protocol.
    pub(super) has_proxy_header: bool,
}

/// A message to an I/O thread.
pub(super) enum Message {
    /// Serve this connection from now on.
    Serve(Accepted),
    /// The exchange may be able to make progress.
    Continue(ExchangeId),
    /// The server is shutting down.
    Stop {
        /// Whether another process serves the same sockets from now on.
        is_succeeded: bool,
    },
}

/// Identifies a request of a connection. Messages for a closed connection or a finished request have no
/// effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ExchangeId {
    pub(super) connection: usize,
    /// Unique among the requests of a thread.
    pub(super) exchange: u64,
}

/// The sending end of an inbox; sending never blocks.
#[derive(Clone)]
pub(super) struct Inbox {
    messages: Sender<Message>,
    waker: Arc<mio::Waker>,
    /// Whether the thread has been woken and has not read its messages yet; one wake-up is enough.
    is_woken: Arc<AtomicBool>,
}

/// The receiving end of an inbox.
pub(super) struct InboxReceiver {
    messages: Receiver<Message>,
    is_woken: Arc<AtomicBool>,
}

/// Creates an inbox, whose messages wake the thread through `waker`.
pub(super) fn inbox(waker: mio::Waker) -> (Inbox, InboxReceiver) {
    let (send, receive) = unbounded();
    let is_woken = Arc::new(AtomicBool::new(false));
    let messages = InboxReceiver { messages: receive, is_woken: Arc::clone(&is_woken) };
    (Inbox { messages: send, waker: Arc::new(waker), is_woken }, messages)
}

impl Inbox {
    /// Sends a message and wakes the thread.
    pub(super) fn send(&self, message: Message) {
        // Sending fails only after the thread has ended.
        if self.messages.send(message).is_ok()
            && !self.is_woken.swap(true, Ordering::SeqCst)
            && let Err(error) = self.waker.wake()
        {
            log::error!("cannot wake an I/O thread of the server: {error}");
        }
    }

    /// Makes messages wake nobody until the thread reads its messages, which it must do in this turn.
    pub(super) fn suppress_wakeups(&self) {
        self.is_woken.store(true, Ordering::SeqCst);
    }

    /// Returns a callback that makes the thread continue this request.
    pub(super) fn wake(&self, id: ExchangeId) -> Wake {
        let inbox = self.clone();
        Arc::new(move || inbox.send(Message::Continue(id)))
    }
}

impl InboxReceiver {
    /// Returns the pending messages. The thread must call this after each wake-up.
    pub(super) fn take(&self) -> impl Iterator<Item = Message> {
        // Cleared before reading: a message that is sent later finds the flag unset and wakes the thread
        // again.
        self.is_woken.swap(false, Ordering::SeqCst);
        self.messages.try_iter()
    }
}
