//! Accepts connections and distributes them to the I/O threads.

use std::fs::File;
use std::io::{self, Read, Write};
use std::net::Shutdown;
use std::sync::Arc;
use std::time::{Duration, Instant};

use mio::net::TcpStream;
use mio::{Interest, Registry, Token};

use super::admission::Admission;
use super::context::ThreadContext;
use super::inbox::{Accepted, Inbox, Message};
use super::listening::Listening;
use crate::metrics::ConnectionRefusal;

/// Pause in accepting after the system ran out of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Maximum number of connections to accept before other connections get their turn.
const MAX_ACCEPTS_PER_TURN: usize = 64;

/// The complete response on a connection over the limit.
const OVER_LIMIT_RESPONSE: &[u8] =
    b"HTTP/1.1 503 Service Unavailable\r\nretry-after: 1\r\ncontent-length: 0\r\n\
    cache-control: no-store\r\ncontent-security-policy: sandbox\r\nx-content-type-options: nosniff\r\n\
    forwardcache-error: unavailable\r\nforwardcache-peer: 1\r\nconnection: close\r\n\r\n";

/// The token of the events of all listening sockets. Each event makes the acceptor look at all of them.
pub(super) const LISTENERS: Token = Token(1);

/// Accepts connections and distributes them to the I/O threads.
pub(super) struct Acceptor {
    listeners: Vec<Listening>,
    pub(super) admission: Arc<Admission>,
    /// The inboxes of all threads; the accepting thread's own is first.
    pub(super) inboxes: Vec<Inbox>,
    next: usize,
    /// A spare file descriptor. If no other is left, the acceptor closes it, and accepts and closes the next
    /// connection with it, so that the client does not wait.
    spare: Option<File>,
    pub(super) retry_at: Option<Instant>,
    /// Whether the last attempt failed for want of file descriptors, which has been logged.
    is_exhausted: bool,
    /// Whether another process serves the same sockets from now on.
    is_succeeded: bool,
}

/// Stops the other threads, after they have received all accepted connections.
impl Drop for Acceptor {
    fn drop(&mut self) {
        for inbox in self.inboxes.iter().skip(1) {
            inbox.send(Message::Stop { is_succeeded: self.is_succeeded });
        }
    }
}

impl Acceptor {
    pub(super) fn new(listeners: Vec<Listening>, admission: Arc<Admission>, inboxes: Vec<Inbox>) -> Self {
        Self {
            listeners,
            admission,
            inboxes,
            next: 0,
            spare: spare_descriptor(),
            retry_at: None,
            is_exhausted: false,
            is_succeeded: false,
        }
    }

    /// Registers the sockets for events.
    pub(super) fn register(&mut self, registry: &Registry) -> io::Result<()> {
        self.listeners
            .iter_mut()
            .try_for_each(|listener| registry.register(listener, LISTENERS, Interest::READABLE))
    }

    /// Closes the sockets, and then stops the other threads. `is_succeeded` states that another process serves the
    /// same sockets.
    pub(super) fn close(mut self, registry: &Registry, is_succeeded: bool) {
        self.is_succeeded = is_succeeded;
        // If another process holds the sockets too, closing them does not end their events.
        for listener in &mut self.listeners {
            let _ = registry.deregister(listener);
        }
    }

    /// Accepts waiting connections and sends each to the next thread. Returns those for the calling thread.
    pub(super) fn accept(&mut self, context: &ThreadContext) -> Vec<Accepted> {
        self.retry_at = None;
        let listeners = std::mem::take(&mut self.listeners);
        let mut for_this_thread = Vec::new();
        for listener in &listeners {
            self.accept_from(listener, context, &mut for_this_thread);
        }
        self.listeners = listeners;
        for_this_thread
    }

    fn accept_from(
        &mut self,
        listener: &Listening,
        context: &ThreadContext,
        for_this_thread: &mut Vec<Accepted>,
    ) {
        for turn in 0.. {
            // Open connections get their turn as well.
            if turn == MAX_ACCEPTS_PER_TURN {
                self.retry_at = Some(context.now);
                break;
            }
            match listener.accept() {
                Ok((socket, remote)) => {
                    self.is_exhausted = false;
                    let source = listener.source_of(remote);
                    let has_proxy_header = context.options.has_proxy_header(source);
                    // The limit per client applies once the header names the client.
                    let Some(permit) = self.admission.admit((!has_proxy_header).then(|| remote.ip())) else {
                        log::debug!("a connection over the limit is rejected");
                        reject(&socket, context.options.tls.is_some());
                        continue;
                    };
                    let turn = self.next;
                    self.next = (turn + 1) % self.inboxes.len();
                    let accepted = Accepted { socket, remote, permit, has_proxy_header };
                    if turn == 0 {
                        for_this_thread.push(accepted);
                    } else {
                        self.inboxes[turn].send(Message::Serve(accepted));
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) if is_exhaustion(&error) => {
                    if !self.is_exhausted {
                        log::warn!("cannot accept connections: {error}; raise the limit of open files");
                    }
                    self.is_exhausted = true;
                    context.stats.count_connection_refusal(ConnectionRefusal::NoDescriptors);
                    // Use the spare descriptor to accept and close one waiting connection.
                    if self.spare.take().is_some() {
                        drop(listener.accept());
                    }
                    self.spare = spare_descriptor();
                    self.retry_at = Some(context.now + ACCEPT_PAUSE);
                    break;
                }
                // The error concerns only the next connection.
                Err(error) if is_about_one_connection(&error) => {}
                Err(error) => {
                    log::debug!("accepting connections pauses: {error}");
                    self.retry_at = Some(context.now + ACCEPT_PAUSE);
                    break;
                }
            }
        }
    }
}

fn spare_descriptor() -> Option<File> {
    File::open("/dev/null").ok()
}

/// Responds with 503 to a connection over the limit, as far as that is possible without waiting.
fn reject(socket: &TcpStream, is_tls: bool) {
    let mut socket = socket;
    if !is_tls {
        let _ = socket.write(OVER_LIMIT_RESPONSE);
    }
    let _ = socket.shutdown(Shutdown::Write);
    // If the socket were closed with unread input, the client's system would discard the response.
    let _ = socket.read(&mut [0; 16 << 10]);
}

/// Returns whether the process or the system has no file descriptors or no socket memory left.
fn is_exhaustion(error: &io::Error) -> bool {
    const ENFILE: i32 = 23;
    const EMFILE: i32 = 24;
    let number = error.raw_os_error();
    matches!(number, Some(ENFILE | EMFILE))
        || matches!(error.kind(), io::ErrorKind::OutOfMemory)
        || (cfg!(target_os = "linux") && number == Some(105))
}

fn is_about_one_connection(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::Interrupted
            | io::ErrorKind::PermissionDenied
            | io::ErrorKind::TimedOut
    )
}
