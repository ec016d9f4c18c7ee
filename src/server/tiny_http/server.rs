//! The threads of the front, from start to shutdown.

use std::io;
use std::mem;
use std::net::{SocketAddr, TcpListener, ToSocketAddrs};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use socket2::Socket;
use tiny_http::Server;

use super::exchange::{Door, Exchange};
use super::lanes::Lanes;
use super::nudge;
use crate::base::error::{Error, ErrorKind, Result};
use crate::server::listener::{self, listen_error};
use crate::server::options::ServerConfig;
use crate::server::serve::Handler;
use crate::server::serving::{Lifetime, Running, ServerHandle};

/// How long requests are still told, after a shutdown, that there is nobody any more. Longer than
/// clients commonly keep an idle connection.
const AFTERMATH: Duration = Duration::from_secs(60);
/// How often tiny_http is started anew on the same socket, after an `accept` that failed.
const RESTARTS: usize = 64;
/// How long before each of those: what failed was most often a lack of file descriptors.
const PAUSE: Duration = Duration::from_secs(1);

/// The front on the crate `tiny_http`: a fixed pool of workers behind a bounded queue.
///
/// It is for trusted clients, on a loopback address best of all. tiny_http bounds neither the size of
/// a head nor the number of connections, has no timeout for reading, and cannot close a connection; a
/// hostile client can take the process down with it.
///
/// Requests without a body, or with one of up to 1 KiB, are served by the [workers] of the options.
/// Requests with a larger body have a quarter as many workers of their own, at least two, and a queue
/// of their own: a body that does not come holds up none of the others. Bodies of requests are read
/// into memory.
///
/// # Limits
///
/// They come with tiny_http 0.12 and cannot be mended from outside. Bind it to a loopback address or
/// to a network where every client is trusted.
///
/// * **Heads have no limit while they are read.** A client that sends an endless request line, or one
///   huge field, takes as much memory; the limits here apply to a head that is complete.
/// * **Reading has no timeout.** A connection on which nothing comes costs a thread and two file
///   descriptors for as long as it lasts, and a body that does not come holds a worker of its lane.
///   (A receive timeout on the listener would end `accept` as well.)
/// * **Connections have no limit.** When file descriptors or threads run out, tiny_http's accepting
///   thread may die without a word. An `accept` that merely fails is taken up again after a second.
/// * **A burst of connections may leave some waiting:** tiny_http forgets them until another connection
///   ends, so one is made and ended four times a second. Those show up in a count of connections.
/// * **Pipelining has no limit.** Answers of a connection go out in order, so a slow request holds the
///   workers that have the requests behind it.
/// * **A connection cannot be closed from here.** tiny_http closes it when the client asked for that,
///   and not otherwise. Hence:
///   * an error is answered with `Connection: close`, and closing is left to the client;
///   * a request whose body must not be read (too large, or framed in a doubtful way) is answered
///     and never released, since releasing it would allocate as much as the client announced: its
///     connection stays silent, and a thread and its file descriptors are lost;
///   * a streamed response goes out in chunks, even when its length is known, so that one that
///     breaks off can be told by a line that is no chunk size. A client that asked for the connection
///     to be closed gets the length instead, and sees the connection close short of it;
///   * a streamed response for an HTTP/1.0 client is collected first, up to 16 MiB; a larger one is
///     answered with 505, unless its length is known and the connection closes behind it.
/// * **A chunked request body that is cut inside a chunk looks whole.**
/// * **A folded field line arrives as a field of its own,** a byte above 0x7F in a head ends the
///   connection without an answer, a version above 1.1 leaves the connection silent, and trailers are an
///   error. Do not put it behind a proxy that reads heads differently.
/// * **After a shutdown** requests on connections still open are answered with 503 for a minute;
///   from then on they get no answer until the process ends.
/// * **No TLS.**
///
/// [workers]: ServerConfig::workers
#[derive(Debug)]
#[non_exhaustive]
pub struct TinyHttpServer;

impl TinyHttpServer {
    /// Listens on `address` and serves `handler` until the returned [`ServerHandle`] is shut down.
    ///
    /// Of several addresses the first that can be bound is taken; port 0 lets the system choose.
    ///
    /// ```
    /// use std::io::{Read, Write};
    ///
    /// use forwardcache::{Body, ServerConfig, TinyHttpServer};
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
    /// [`ErrorKind::Listen`] when the address cannot be resolved or bound, or when threads cannot
    /// be started; [`ErrorKind::BadOption`] when it is to speak TLS.
    #[allow(clippy::needless_pass_by_value, reason = "options are built for one call")]
    pub fn bind(
        address: impl ToSocketAddrs,
        options: ServerConfig,
        handler: impl Handler + 'static,
    ) -> Result<ServerHandle> {
        let (address, socket) = listener::bind(address, options.write_timeout)?;
        Self::start(address, socket, &options, handler)
    }

    /// As [`bind`](Self::bind), on a socket that listens already: its address is known before anybody is
    /// served.
    ///
    /// # Errors
    ///
    /// As [`bind`](Self::bind).
    #[allow(clippy::needless_pass_by_value, reason = "options are built for one call")]
    pub fn on(
        listener: TcpListener,
        options: ServerConfig,
        handler: impl Handler + 'static,
    ) -> Result<ServerHandle> {
        let failed = |error: io::Error| listen_error("cannot serve on this socket", error);
        let address = listener.local_addr().map_err(failed)?;
        let socket = listener::take(listener, options.write_timeout).map_err(failed)?;
        Self::start(address, socket, &options, handler)
    }

    fn start(
        address: SocketAddr,
        socket: Socket,
        options: &ServerConfig,
        handler: impl Handler + 'static,
    ) -> Result<ServerHandle> {
        let failed = |error: io::Error| listen_error(&format!("cannot serve on {address}"), error);
        if options.tls.is_some() {
            return Err(Error::new(ErrorKind::BadOption, "the front on tiny_http does not speak TLS"));
        }
        let address = socket.local_addr().map_err(failed)?.as_socket().unwrap_or(address);
        let failed = |error: io::Error| listen_error(&format!("cannot serve on {address}"), error);

        let lifetime = Lifetime::new(options.drain_deadline, Duration::ZERO);
        let front = Arc::new(Front {
            lifetime: Arc::clone(&lifetime),
            socket: Mutex::new(Some(socket)),
            servers: Mutex::new(Vec::new()),
            restarts: AtomicUsize::new(0),
        });
        // Dropped on the way out by an error, it ends what has been started.
        let serving = ServerHandle::new(address, Arc::clone(&front) as Arc<dyn Running>);

        let (lanes, without_body, with_body) = Lanes::new(options.queue_length, options.max_body);
        let door = Door { max_body: options.max_body, lifetime };
        let exchange = Arc::new(Exchange { handler: Box::new(handler), door });
        let workers = options.worker_count();
        let body_workers = (workers / 4).max(2);
        for (name, ends, workers) in
            [("front", without_body, workers), ("front-body", with_body, body_workers)]
        {
            for number in 0..workers {
                let finishing = front.lifetime.enter();
                let work = ends.worker(&exchange);
                spawn(format!("{name}-{number}"), move || {
                    work();
                    drop(finishing);
                })
                .map_err(failed)?;
            }
            spawn(format!("{name}-door"), ends.doorkeeper(&exchange.door)).map_err(failed)?;
        }
        let server = front.start_server().map_err(failed)?;
        let dispatcher = Arc::clone(&front);
        spawn("front-dispatch".to_owned(), move || dispatcher.dispatch(&server, lanes)).map_err(failed)?;
        let lifetime = Arc::clone(&front.lifetime);
        spawn("front-nudge".to_owned(), move || nudge::keep_nudging(address, &lifetime)).map_err(failed)?;
        log::info!("serving on {address}");
        Ok(serving)
    }
}

fn spawn(name: String, work: impl FnOnce() + Send + 'static) -> io::Result<()> {
    thread::Builder::new().name(name).spawn(work).map(drop)
}

struct Front {
    lifetime: Arc<Lifetime>,
    /// The listening socket, until shutdown.
    socket: Mutex<Option<Socket>>,
    /// More than one when `accept` has failed: the connections of the former one live on.
    servers: Mutex<Vec<Arc<Server>>>,
    restarts: AtomicUsize,
}

impl Front {
    /// Starts a tiny_http on the socket.
    fn start_server(&self) -> io::Result<Arc<Server>> {
        let shared = self.socket.lock().as_ref().map(listener::share);
        let shared = shared.unwrap_or_else(|| Err(io::Error::other("shutting down")))?;
        let server = Arc::new(Server::from_listener(shared, None).map_err(io::Error::other)?);
        self.servers.lock().push(Arc::clone(&server));
        if self.lifetime.is_stopping() {
            // A shutdown in between may have missed it.
            server.unblock();
        }
        Ok(server)
    }

    /// Takes requests from tiny_http until shutdown, and a while longer.
    fn dispatch(self: &Arc<Self>, server: &Arc<Server>, mut lanes: Lanes) {
        loop {
            match server.recv() {
                Ok(request) => lanes.route(request),
                Err(_) if self.lifetime.is_stopping() => break,
                Err(error) => self.accept_again(&error, &lanes),
            }
        }
        // What was received before the shutdown has been routed: tiny_http's queue is in order.
        lanes.stop_work();
        let end = Instant::now() + AFTERMATH;
        while let Some(left) = end.checked_duration_since(Instant::now()) {
            // Neither an error nor an early return says that the time is over.
            if let Ok(Some(request)) = server.recv_timeout(left) {
                lanes.route(request);
            }
        }
    }

    /// tiny_http stops accepting at the first error, of whatever kind. Its open connections go on, so it
    /// is kept, and another is started beside it.
    fn accept_again(self: &Arc<Self>, error: &io::Error, lanes: &Lanes) {
        log::error!("accepting connections failed: {error}");
        let (front, lanes) = (Arc::clone(self), lanes.clone());
        let again = move || {
            front.lifetime.pause(PAUSE);
            match front.start_server() {
                Ok(server) => front.dispatch(&server, lanes),
                Err(_) if front.lifetime.is_stopping() => {}
                Err(error) => front.give_up(&error),
            }
        };
        if self.restarts.fetch_add(1, Ordering::Relaxed) >= RESTARTS {
            self.give_up(error);
        } else if let Err(error) = spawn("front-dispatch".to_owned(), again) {
            self.give_up(&error);
        }
    }

    /// Better an end that is seen than a port at which nobody listens.
    fn give_up(&self, error: &io::Error) {
        log::error!("connections are no longer accepted, shutting down: {error}");
        self.lifetime.fail();
        self.shutdown();
    }
}

impl Running for Front {
    fn shutdown(&self) {
        if !self.lifetime.begin_to_stop() {
            return;
        }
        let socket = self.socket.lock().take();
        if let Some(socket) = socket {
            listener::close(&socket);
        }
        let servers = mem::take(&mut *self.servers.lock());
        for server in servers {
            server.unblock();
        }
    }

    fn lifetime(&self) -> &Lifetime {
        &self.lifetime
    }
}
