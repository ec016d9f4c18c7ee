//! [`TinyHttpServer`]: its threads, from start to shutdown.

use std::io;
use std::mem;
use std::net::ToSocketAddrs;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tiny_http::Server;

use super::exchange::{Exchange, Rejecter};
use super::queues::Queues;
use super::self_connect::{OwnEnd, connect_periodically};
use crate::base::error::{Error, ErrorKind, Result};
use crate::server::handler::Handler;
use crate::server::listener::{Listener, Listeners, listen_error};
use crate::server::options::ServerConfig;
use crate::server::server_handle::{Lifetime, RunningServer, ServerHandle};

/// Time after a shutdown during which requests on open connections still get 503. It is longer than clients
/// commonly keep an idle connection.
const REJECTION_PERIOD: Duration = Duration::from_secs(60);
/// Maximum number of times that tiny_http is restarted on the same socket after a failed `accept`.
const MAX_RESTARTS: usize = 64;
/// Pause before each restart, because the usual cause is a lack of file descriptors.
const RESTART_PAUSE: Duration = Duration::from_secs(1);

/// An HTTP server on the crate `tiny_http`: a fixed pool of workers with a bounded queue.
///
/// Use it only for trusted clients, preferably on a loopback address. tiny_http limits neither the size of a
/// head nor the number of connections, has no read timeout, and cannot close a connection; a hostile client
/// can bring down the process.
///
/// The [workers] of the options serve requests without a body or with a body of up to 1 KiB. Requests with a
/// larger body have their own queue and a quarter as many workers of their own, at least two, so that a
/// client that does not send its body delays no other requests. Request bodies are read into memory.
///
/// # Limits
///
/// These limits are those of tiny_http 0.12. Bind the server to a loopback address or to a network in which
/// every client is trusted.
///
/// * **The size of a head is not limited while it is read.** An endless request line or a huge field uses as
///   much memory as the client sends; the limits here apply to complete heads.
/// * **Reading has no timeout.** A silent connection uses a thread and two file descriptors as long as it is
///   open, and a body that does not arrive occupies a worker. (A receive timeout on the listener would end
///   `accept` as well.)
/// * **The number of connections is not limited.** If file descriptors or threads run out, tiny_http's
///   accepting thread may end silently. After a failed `accept` the server starts accepting again, one second
///   later.
/// * **Some connections of a burst may wait.** tiny_http serves them only when another connection ends, so
///   the server connects to itself four times a second. A count of connections includes these.
/// * **Pipelining is not limited.** A connection's responses are sent in order, so a slow request occupies
///   the workers of the requests after it.
/// * **The server cannot close a connection.** tiny_http closes it only if the client requested that.
///   Therefore:
///   * error responses have `Connection: close`, and the client has to close the connection;
///   * if a request body cannot be read safely (too large, or with ambiguous framing), the server responds
///     and leaks the request, because dropping it would allocate as much memory as the client announced. The
///     connection stays silent and keeps a thread and its file descriptors;
///   * a streamed response is sent in chunks even if its length is known, so that an invalid chunk size can
///     mark a failure. If the client asked to close the connection, the response has its length instead, and
///     a failure closes the connection early;
///   * a streamed response for an HTTP/1.0 client is collected first, up to 16 MiB. A larger one becomes a
///     505, unless its length is known and the connection closes afterwards.
/// * **A chunked request body that ends inside a chunk appears complete.**
/// * **Other deviations:** a folded field line becomes a field of its own, a byte above 0x7F in a head ends
///   the connection without a response, a version above 1.1 leaves the connection silent, and trailers are an
///   error. Do not use the server behind a proxy that parses heads differently.
/// * **After a shutdown** requests on open connections get 503 for one minute, and then no response until the
///   process ends.
/// * **No TLS.**
///
/// [workers]: ServerConfig::workers
#[derive(Debug)]
#[non_exhaustive]
pub struct TinyHttpServer;

impl TinyHttpServer {
    /// Listens on `address` and serves `handler` until the returned [`ServerHandle`] is shut down.
    ///
    /// Binds the first address that can be bound; with port 0 the system chooses a port.
    ///
    /// ```
    /// use std::io::{Read, Write};
    ///
    /// use forwardcache::server::{ServerConfig, TinyHttpServer};
    /// use forwardcache::Body;
    /// use http::{Request, Response};
    ///
    /// let hello = |_: Request<Body>| Response::new(Body::from("hello"));
    /// let serving = TinyHttpServer::bind("127.0.0.1:0", ServerConfig::new(), hello)?;
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
    /// [`ErrorKind::Listen`] if the address cannot be resolved or bound, or if threads cannot be started;
    /// [`ErrorKind::BadOption`] if the options have TLS.
    #[allow(clippy::needless_pass_by_value, reason = "options are built for one call")]
    pub fn bind(
        address: impl ToSocketAddrs,
        options: ServerConfig,
        handler: impl Handler + 'static,
    ) -> Result<ServerHandle> {
        Self::on(Listener::bind(address)?, options, handler)
    }

    /// Like [`bind`](Self::bind), with one or several sockets that already listen, so that their addresses are
    /// known before the server starts.
    ///
    /// # Errors
    ///
    /// The errors of [`bind`](Self::bind), and [`ErrorKind::BadOption`] if another process
    /// [shares](Listener::shared) a socket.
    #[allow(clippy::needless_pass_by_value, reason = "options are built for one call")]
    pub fn on(
        listeners: impl Into<Listeners>,
        options: ServerConfig,
        handler: impl Handler + 'static,
    ) -> Result<ServerHandle> {
        let listeners = listeners.into().prepared(options.write_timeout)?;
        let unsupported = [
            (options.http_proxy, "http_proxy"),
            (options.tls.is_some(), "TLS"),
            (options.has_trusted_proxies(), "the PROXY protocol"),
            (listeners.iter().any(Listener::is_shared), "sockets that another process shares"),
        ];
        if let Some((_, name)) = unsupported.into_iter().find(|(is_used, _)| *is_used) {
            let text = format!("TinyHttpServer does not support {name}: remove the option or use Server");
            return Err(Error::new(ErrorKind::BadOption, text));
        }
        let shown: Vec<String> = listeners.iter().map(Listener::to_string).collect();
        let shown = shown.join(", ");
        let serving = Self::start(listeners, &options, handler)
            .map_err(|error| listen_error(&format!("cannot serve on {shown}"), error))?;
        log::info!("serving on {shown}");
        Ok(serving)
    }

    fn start(
        listeners: Vec<Listener>,
        options: &ServerConfig,
        handler: impl Handler + 'static,
    ) -> io::Result<ServerHandle> {
        let addresses = listeners.iter().filter_map(Listener::local_addr).collect();
        let ends: Vec<OwnEnd> = listeners.iter().filter_map(OwnEnd::of).collect();
        let count = listeners.len();

        let lifetime = Lifetime::new(options.drain_deadline, Duration::ZERO);
        let state = Arc::new(ServerState {
            lifetime: Arc::clone(&lifetime),
            listeners: Mutex::new(listeners),
            servers: Mutex::new(Vec::new()),
            restarts: AtomicUsize::new(0),
        });
        // If a later step fails, dropping the handle ends the threads that were started.
        let serving = ServerHandle::new(addresses, Arc::clone(&state) as Arc<dyn RunningServer>);

        let (queues, without_body, with_body) = Queues::new(options.queue_length, options.max_body);
        let rejecter = Rejecter { max_body: options.max_body, lifetime };
        let exchange = Arc::new(Exchange { handler: Box::new(handler), rejecter });
        let workers = options.worker_count();
        let body_workers = (workers / 4).max(2);
        for (name, receivers, workers) in
            [("http", without_body, workers), ("http-body", with_body, body_workers)]
        {
            for number in 0..workers {
                let guard = state.lifetime.register_thread();
                let work = receivers.worker(&exchange);
                spawn(format!("{name}-{number}"), move || {
                    work();
                    drop(guard);
                })?;
            }
            spawn(format!("{name}-reject"), receivers.rejecter(&exchange.rejecter))?;
        }
        for at in 0..count {
            let server = state.start_server(at)?;
            let (dispatcher, queues) = (Arc::clone(&state), queues.clone());
            spawn("http-dispatch".to_owned(), move || dispatcher.dispatch(at, &server, queues))?;
        }
        let lifetime = Arc::clone(&state.lifetime);
        spawn("http-connect".to_owned(), move || connect_periodically(&ends, &lifetime))?;
        Ok(serving)
    }
}

fn spawn(name: String, work: impl FnOnce() + Send + 'static) -> io::Result<()> {
    thread::Builder::new().name(name).spawn(work).map(drop)
}

/// Returns another descriptor of the socket for tiny_http, whose `accept` blocks.
fn share(listener: &Listener) -> io::Result<tiny_http::Listener> {
    let socket = listener.duplicate()?;
    socket.set_nonblocking(false)?;
    #[cfg(unix)]
    if listener.is_unix() {
        return Ok(std::os::unix::net::UnixListener::from(socket).into());
    }
    Ok(std::net::TcpListener::from(socket).into())
}

struct ServerState {
    lifetime: Arc<Lifetime>,
    /// The listening sockets, until shutdown.
    listeners: Mutex<Vec<Listener>>,
    /// More than one after `accept` has failed: the connections of the previous instance continue.
    servers: Mutex<Vec<Arc<Server>>>,
    restarts: AtomicUsize,
}

impl ServerState {
    /// Starts an instance of tiny_http on the socket at this position.
    fn start_server(&self, at: usize) -> io::Result<Arc<Server>> {
        let shared = self.listeners.lock().get(at).map(share);
        let shared = shared.unwrap_or_else(|| Err(io::Error::other("the server is shutting down")))?;
        let server = Arc::new(Server::from_listener(shared, None).map_err(io::Error::other)?);
        self.servers.lock().push(Arc::clone(&server));
        if self.lifetime.is_stopping() {
            // A concurrent shutdown may not have seen the new instance.
            server.unblock();
        }
        Ok(server)
    }

    /// Takes requests from tiny_http until the shutdown, and for `REJECTION_PERIOD` after it.
    fn dispatch(self: &Arc<Self>, at: usize, server: &Arc<Server>, mut queues: Queues) {
        loop {
            match server.recv() {
                Ok(request) => queues.route(request),
                Err(_) if self.lifetime.is_stopping() => break,
                Err(error) => self.restart(at, &error, &queues),
            }
        }
        // tiny_http's queue is in order, so all requests received before the shutdown have been routed.
        queues.close();
        let end = Instant::now() + REJECTION_PERIOD;
        while let Some(left) = end.checked_duration_since(Instant::now()) {
            // Errors and early returns do not mean that the time is over.
            if let Ok(Some(request)) = server.recv_timeout(left) {
                queues.route(request);
            }
        }
    }

    /// Starts another instance of tiny_http, because tiny_http stops accepting at the first error. The
    /// previous instance is kept for its open connections.
    fn restart(self: &Arc<Self>, at: usize, error: &io::Error, queues: &Queues) {
        log::error!("accepting connections failed: {error}");
        let (state, queues) = (Arc::clone(self), queues.clone());
        let again = move || {
            state.lifetime.pause(RESTART_PAUSE);
            match state.start_server(at) {
                Ok(server) => state.dispatch(at, &server, queues),
                Err(_) if state.lifetime.is_stopping() => {}
                Err(error) => state.give_up(&error),
            }
        };
        if self.restarts.fetch_add(1, Ordering::Relaxed) >= MAX_RESTARTS {
            self.give_up(error);
        } else if let Err(error) = spawn("http-dispatch".to_owned(), again) {
            self.give_up(&error);
        }
    }

    /// Shuts the server down as failed, so that the failure is visible.
    fn give_up(&self, error: &io::Error) {
        log::error!("cannot accept connections any more, the server shuts down: {error}");
        self.lifetime.fail();
        self.shutdown(false);
    }
}

impl RunningServer for ServerState {
    fn shutdown(&self, _is_succeeded: bool) {
        if !self.lifetime.start_stopping() {
            return;
        }
        let listeners = mem::take(&mut *self.listeners.lock());
        listeners.into_iter().for_each(Listener::close);
        let servers = mem::take(&mut *self.servers.lock());
        for server in servers {
            server.unblock();
        }
    }

    fn lifetime(&self) -> &Lifetime {
        &self.lifetime
    }
}
