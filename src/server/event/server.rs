//! [`Server`]: its threads, from start to shutdown.

use std::io;
use std::net::ToSocketAddrs;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use mio::{Poll, Waker};
use parking_lot::Mutex;

use super::acceptor::Acceptor;
use super::admission::{Admission, max_connections};
use super::context::ThreadContext;
use super::inbox::{Inbox, Message, WAKER, inbox};
use super::io_thread::IoThread;
use super::listening::Listening;
use super::tunnel_limits::TunnelLimits;
use super::upload::UploadLimits;
use crate::base::error::Result;
use crate::base::memory_limit::Ledger;
use crate::message::url::CanonicalUrl;
use crate::metrics::ServerStats;
use crate::scheduler::{Scheduler, max_open_files};
use crate::server::handler::{BlockingHandler, Handler, Responder};
use crate::server::listener::{Listener, Listeners, listen_error};
use crate::server::options::ServerConfig;
use crate::server::server_handle::{Lifetime, RunningServer, ServerHandle};

/// Additional time for threads to end after the drain deadline, when their fetches are cancelled.
const END_GRACE: Duration = Duration::from_secs(2);

/// The HTTP server: a fixed number of I/O threads over non-blocking sockets, and workers, which may block and
/// are started on demand.
///
/// I/O threads serve stored responses. All other requests go to the workers through a bounded queue. An idle
/// connection uses no thread and little memory. Everything that a client can send or leave out has a limit or
/// a deadline: see [`ServerConfig`].
///
/// The server parses HTTP/1.1 and HTTP/1.0 strictly (RFC 9112): it rejects a message whose end is ambiguous,
/// and closes the connection. It uses TLS if [`ServerConfig::tls`] is set.
#[derive(Debug)]
#[non_exhaustive]
pub struct Server;

impl Server {
    /// Listens on `address` and serves `handler` until the returned [`ServerHandle`] is shut down.
    ///
    /// Binds the first address that can be bound; with port 0 the system chooses a port.
    ///
    /// Only workers run a custom handler. A [served](crate::Peer::serve) [`Peer`](crate::Peer) also responds
    /// on the I/O threads if it has a stored response.
    ///
    /// ```
    /// use std::io::{Read, Write};
    ///
    /// use forwardcache::server::{Server, ServerConfig};
    /// use forwardcache::Body;
    /// use http::{Request, Response};
    ///
    /// let hello = |_: Request<Body>| Response::new(Body::from("hello"));
    /// let serving = Server::bind("127.0.0.1:0", ServerConfig::new(), hello)?;
    ///
    /// let mut client = std::net::TcpStream::connect(serving.local_addr())?;
    /// client.write_all(b"GET / HTTP/1.1\r\nHost: here\r\nConnection: close\r\n\r\n")?;
    /// let mut response = String::new();
    /// client.read_to_string(&mut response)?;
    /// assert!(response.ends_with("hello"));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Listen`](crate::ErrorKind::Listen) if the address cannot be resolved or bound, or if
    /// threads cannot be started.
    #[allow(clippy::needless_pass_by_value, reason = "options are built for one call")]
    pub fn bind(
        address: impl ToSocketAddrs,
        options: ServerConfig,
        handler: impl Handler + 'static,
    ) -> Result<ServerHandle> {
        Self::bind_responder(address, &options, &blocking(handler))
    }

    /// Like [`bind`](Self::bind), with one or several sockets that already listen, so that their addresses are
    /// known before the server starts.
    ///
    /// # Errors
    ///
    /// The errors of [`bind`](Self::bind).
    #[allow(clippy::needless_pass_by_value, reason = "options are built for one call")]
    pub fn on(
        listeners: impl Into<Listeners>,
        options: ServerConfig,
        handler: impl Handler + 'static,
    ) -> Result<ServerHandle> {
        Self::responder_on(listeners, &options, &blocking(handler))
    }

    pub(crate) fn bind_responder(
        address: impl ToSocketAddrs,
        options: &ServerConfig,
        responder: &Arc<dyn Responder>,
    ) -> Result<ServerHandle> {
        Self::responder_on(Listener::bind(address)?, options, responder)
    }

    pub(crate) fn responder_on(
        listeners: impl Into<Listeners>,
        options: &ServerConfig,
        responder: &Arc<dyn Responder>,
    ) -> Result<ServerHandle> {
        let listeners = listeners.into().prepared(options.write_timeout)?;
        let shown: Vec<String> = listeners.iter().map(Listener::to_string).collect();
        let shown = shown.join(", ");
        let serving = start(listeners, options, responder)
            .map_err(|error| listen_error(&format!("cannot serve on {shown}"), error))?;
        log::info!("serving on {shown}");
        Ok(serving)
    }
}

fn blocking(handler: impl Handler + 'static) -> Arc<dyn Responder> {
    Arc::new(BlockingHandler(handler))
}

fn start(
    listeners: Vec<Listener>,
    options: &ServerConfig,
    responder: &Arc<dyn Responder>,
) -> io::Result<ServerHandle> {
    let lifetime = Lifetime::new(options.drain_deadline, END_GRACE);
    let ledger = responder.ledger().unwrap_or_else(|| Ledger::new(u64::MAX));
    let limits_of = Arc::clone(responder);
    let cap = Box::new(move |origin: &CanonicalUrl| limits_of.most_fetches(origin));
    let scheduler = Arc::new(Scheduler::new(&options.worker_options(), &ledger, cap));
    let stats = Arc::new(ServerStats::default());
    responder.runs_on(&scheduler, &stats);
    let listening: io::Result<Vec<Listening>> = listeners.iter().map(Listening::new).collect();
    let mut listening = Some(listening?);
    let addresses = listeners.iter().filter_map(Listener::local_addr).collect();
    let mut threads = Vec::new();
    for _ in 0..options.io_threads {
        let poll = Poll::new()?;
        let (inbox, messages) = inbox(Waker::new(poll.registry(), WAKER)?);
        threads.push((poll, inbox, messages));
    }
    let inboxes: Vec<Inbox> = threads.iter().map(|(_, inbox, _)| inbox.clone()).collect();
    let state = Arc::new(ServerState {
        lifetime: Arc::clone(&lifetime),
        listeners: Mutex::new(listeners),
        inboxes: inboxes.clone(),
        scheduler: Arc::clone(&scheduler),
    });
    // If a later step fails, dropping the handle ends the threads that were started.
    let serving = ServerHandle::new(addresses, Arc::clone(&state) as Arc<dyn RunningServer>);
    let uploads = UploadLimits::new(scheduler.threads());
    // Each tunnel has a second socket.
    let files = max_open_files().unwrap_or(usize::MAX);
    let max_tunnels = options.max_tunnels_within(files / 4);
    let permitted = max_connections(files.saturating_sub(max_tunnels), scheduler.threads());
    let (max, max_per_client) =
        (options.max_connections_within(permitted), options.max_connections_per_address);
    let tunnels = TunnelLimits::new(max_tunnels, Arc::clone(&stats));
    let admission = Admission::new(max, max_per_client, Arc::clone(&stats));
    for (number, (poll, inbox, messages)) in threads.into_iter().enumerate() {
        let acceptor = listening
            .take()
            .map(|listening| Acceptor::new(listening, Arc::clone(&admission), inboxes.clone()));
        let context = ThreadContext::new(
            Arc::clone(responder),
            Arc::clone(&scheduler),
            Arc::clone(&ledger),
            Arc::clone(&stats),
            (Arc::clone(&uploads), Arc::clone(&tunnels)),
            options.clone(),
            inbox,
        );
        let thread = IoThread::new(poll, messages, acceptor, context, Arc::clone(&lifetime))?;
        let guard = lifetime.register_thread();
        let vital = ShutdownOnExit(Arc::clone(&state));
        thread::Builder::new().name(format!("server-io-{number}")).spawn(move || {
            thread.run();
            drop(vital);
            drop(guard);
        })?;
    }
    Ok(serving)
}

/// Guard of an I/O thread. If the thread ends before the shutdown, by a panic or an error, connections
/// assigned to it would be lost. The guard therefore shuts the server down, so that the failure is visible.
struct ShutdownOnExit(Arc<ServerState>);

impl Drop for ShutdownOnExit {
    fn drop(&mut self) {
        if !self.0.lifetime.is_stopping() {
            log::error!("an I/O thread of the server has ended unexpectedly; the server shuts down");
            self.0.lifetime.fail();
            self.0.shutdown(false);
        }
    }
}

struct ServerState {
    lifetime: Arc<Lifetime>,
    /// The listening sockets, until shutdown.
    listeners: Mutex<Vec<Listener>>,
    inboxes: Vec<Inbox>,
    scheduler: Arc<Scheduler>,
}

impl RunningServer for ServerState {
    fn shutdown(&self, is_succeeded: bool) {
        // Registered first, so that `join` cannot return before the drain thread has ended.
        let guard = self.lifetime.register_thread();
        if !self.lifetime.start_stopping() {
            return;
        }
        let listeners = std::mem::take(&mut *self.listeners.lock());
        for mut listener in listeners {
            if is_succeeded {
                listener.share();
            }
            listener.close();
        }
        // The accepting thread stops the others.
        if let Some(inbox) = self.inboxes.first() {
            inbox.send(Message::Stop { is_succeeded });
        }
        self.scheduler.stop();
        let (scheduler, lifetime) = (Arc::clone(&self.scheduler), Arc::clone(&self.lifetime));
        let drain = move || {
            scheduler.finish(lifetime.wait_for_other_threads());
            drop(guard);
        };
        if let Err(error) = thread::Builder::new().name("drain".to_owned()).spawn(drain) {
            log::warn!("cannot start the drain thread: {error}; requests in progress are aborted");
            self.scheduler.close();
        }
    }

    fn lifetime(&self) -> &Lifetime {
        &self.lifetime
    }
}

#[cfg(test)]
mod tests;
