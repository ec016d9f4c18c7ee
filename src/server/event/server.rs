//! The front's threads, from start to shutdown.

use std::io;
use std::net::{SocketAddr, TcpListener, ToSocketAddrs};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use mio::{Poll, Waker};
use parking_lot::Mutex;
use socket2::Socket;

use super::admission::{Admission, most_connections};
use super::context::Surroundings;
use super::inbox::{Letter, Mailbox, mailbox};
use super::io_thread::{Acceptor, IoThread, WAKER};
use super::upload::Places;
use crate::base::error::Result;
use crate::base::ledger::Ledger;
use crate::message::stats::ServerStats;
use crate::message::url::CanonicalUrl;
use crate::scheduler::{Scheduler, most_open_files};
use crate::server::listener::{self, listen_error};
use crate::server::options::ServerConfig;
use crate::server::serve::{Handler, Responder, Unhurried};
use crate::server::serving::{Lifetime, Running, ServerHandle};

/// How long threads may take to end once the drain deadline has passed and their fetches are cancelled.
const ENDING: Duration = Duration::from_secs(2);

/// The front of a peer: a fixed number of threads over sockets that never wait, and workers that do, started
/// on demand.
///
/// What is stored is answered by the threads that read; whatever somebody has to wait for goes to the
/// workers, through a bounded queue. A connection costs no thread, and no memory to speak of while it waits
/// for its next request. Everything that a client can send or leave out has a limit or a deadline: see
/// [`ServerConfig`].
///
/// It reads HTTP/1.1 and HTTP/1.0 strictly (RFC 9112): where two readers of one message could disagree about
/// its end, it is refused, and the connection closed. It speaks TLS where the options say so.
#[derive(Debug)]
#[non_exhaustive]
pub struct Server;

impl Server {
    /// Listens on `address` and serves `handler` until the returned [`ServerHandle`] is shut down.
    ///
    /// Of several addresses the first that can be bound is taken; port 0 lets the system choose.
    ///
    /// A handler of one's own is run by the workers alone; a [`Peer`](crate::Peer) that is
    /// [served](crate::Peer::serve) also answers what is stored on the threads that read.
    ///
    /// ```
    /// use std::io::{Read, Write};
    ///
    /// use forwardcache::{Body, Server, ServerConfig};
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
    /// [`ErrorKind::Listen`](crate::ErrorKind::Listen) when the address cannot be resolved or bound, or when
    /// threads cannot be started.
    #[allow(clippy::needless_pass_by_value, reason = "options are built for one call")]
    pub fn bind(
        address: impl ToSocketAddrs,
        options: ServerConfig,
        handler: impl Handler + 'static,
    ) -> Result<ServerHandle> {
        Self::bind_responder(address, &options, &unhurried(handler))
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
        Self::responder_on(listener, &options, &unhurried(handler))
    }

    pub(crate) fn bind_responder(
        address: impl ToSocketAddrs,
        options: &ServerConfig,
        responder: &Arc<dyn Responder>,
    ) -> Result<ServerHandle> {
        let (address, socket) = listener::bind(address, options.write_timeout)?;
        start(address, socket, options, responder)
    }

    pub(crate) fn responder_on(
        listener: TcpListener,
        options: &ServerConfig,
        responder: &Arc<dyn Responder>,
    ) -> Result<ServerHandle> {
        let failed = |error: io::Error| listen_error("cannot serve on this socket", error);
        let address = listener.local_addr().map_err(failed)?;
        let socket = listener::take(listener, options.write_timeout).map_err(failed)?;
        start(address, socket, options, responder)
    }
}

fn unhurried(handler: impl Handler + 'static) -> Arc<dyn Responder> {
    Arc::new(Unhurried(handler))
}

fn start(
    address: SocketAddr,
    socket: Socket,
    options: &ServerConfig,
    responder: &Arc<dyn Responder>,
) -> Result<ServerHandle> {
    let address = socket.local_addr().ok().and_then(|bound| bound.as_socket()).unwrap_or(address);
    start_threads(address, socket, options, responder)
        .map_err(|error| listen_error(&format!("cannot serve on {address}"), error))
}

fn start_threads(
    address: SocketAddr,
    socket: Socket,
    options: &ServerConfig,
    responder: &Arc<dyn Responder>,
) -> io::Result<ServerHandle> {
    let lifetime = Lifetime::new(options.drain_deadline, ENDING);
    let ledger = responder.ledger().unwrap_or_else(|| Ledger::new(u64::MAX));
    let allowing = Arc::clone(responder);
    let cap = Box::new(move |origin: &CanonicalUrl| allowing.most_fetches(origin));
    let scheduler = Arc::new(Scheduler::new(&options.pool(), &ledger, cap));
    let stats = Arc::new(ServerStats::default());
    responder.runs_on(&scheduler, &stats);
    let shared = socket.try_clone()?;
    shared.set_nonblocking(true)?;
    let mut listener = Some(mio::net::TcpListener::from_std(shared.into()));
    let mut threads = Vec::new();
    for _ in 0..options.io_threads {
        let poll = Poll::new()?;
        let (mailbox, letters) = mailbox(Waker::new(poll.registry(), WAKER)?);
        threads.push((poll, mailbox, letters));
    }
    let mailboxes: Vec<Mailbox> = threads.iter().map(|(_, mailbox, _)| mailbox.clone()).collect();
    let front = Arc::new(Front {
        lifetime: Arc::clone(&lifetime),
        socket: Mutex::new(Some(socket)),
        mailboxes: mailboxes.clone(),
        scheduler: Arc::clone(&scheduler),
    });
    // Dropped on the way out by an error, it ends what has been started.
    let serving = ServerHandle::new(address, Arc::clone(&front) as Arc<dyn Running>);
    let uploads = Places::new(scheduler.threads());
    let allowed = most_open_files().map_or(usize::MAX, |files| most_connections(files, scheduler.threads()));
    let (most, most_of_address) = (options.connections(allowed), options.max_connections_per_address);
    let admission = Admission::new(most, most_of_address, Arc::clone(&stats));
    for (number, (poll, mailbox, letters)) in threads.into_iter().enumerate() {
        let acceptor = listener
            .take()
            .map(|listener| Acceptor::new(listener, Arc::clone(&admission), mailboxes.clone()));
        let around = Surroundings::new(
            Arc::clone(responder),
            Arc::clone(&scheduler),
            Arc::clone(&ledger),
            Arc::clone(&stats),
            Arc::clone(&uploads),
            options.clone(),
            mailbox,
        );
        let thread = IoThread::new(poll, letters, acceptor, around, Arc::clone(&lifetime))?;
        let finishing = lifetime.enter();
        let vital = Vital(Arc::clone(&front));
        thread::Builder::new().name(format!("front-{number}")).spawn(move || {
            thread.run();
            drop(vital);
            drop(finishing);
        })?;
    }
    log::info!("serving on {address}");
    Ok(serving)
}

/// Held by a thread that serves connections. If it ends before the shutdown, by a panic or an error, the connections
/// that it would be given next are lost: the front shuts down, so that its end is seen.
struct Vital(Arc<Front>);

impl Drop for Vital {
    fn drop(&mut self) {
        if !self.0.lifetime.is_stopping() {
            log::error!("a thread that serves connections has ended: shutting down");
            self.0.lifetime.fail();
            self.0.shutdown();
        }
    }
}

struct Front {
    lifetime: Arc<Lifetime>,
    /// The listening socket, until shutdown.
    socket: Mutex<Option<Socket>>,
    mailboxes: Vec<Mailbox>,
    scheduler: Arc<Scheduler>,
}

impl Running for Front {
    fn shutdown(&self) {
        // Before anybody may find that all threads have ended.
        let finishing = self.lifetime.enter();
        if !self.lifetime.begin_to_stop() {
            return;
        }
        let socket = self.socket.lock().take();
        if let Some(socket) = socket {
            listener::close(&socket);
        }
        for mailbox in &self.mailboxes {
            mailbox.leave(Letter::Stop);
        }
        self.scheduler.stop();
        let (scheduler, lifetime) = (Arc::clone(&self.scheduler), Arc::clone(&self.lifetime));
        let drain = move || {
            scheduler.finish(lifetime.wait_for_the_others());
            drop(finishing);
        };
        if let Err(error) = thread::Builder::new().name("drain".to_owned()).spawn(drain) {
            log::warn!("what is under way is ended at once: {error}");
            self.scheduler.close();
        }
    }

    fn lifetime(&self) -> &Lifetime {
        &self.lifetime
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::TcpStream;

    use http::{Request, Response};

    use super::*;
    use crate::base::ledger::{MakeRoom, Use};
    use crate::message::body::Body;
    use crate::message::nonblocking::{PlainRequest, Step, Wakes};
    use crate::server::serve::Scratch;
    use crate::store::StoredResponse;

    struct FaultyStore;

    impl MakeRoom for FaultyStore {
        fn make_room(&self) {
            panic!("a store of a test panics");
        }

        fn most_room(&self) -> u64 {
            0
        }
    }

    struct Responding(Arc<Ledger>);

    impl Handler for Responding {
        fn handle(&self, _: Request<Body>) -> Response<Body> {
            Response::new(Body::from("hello"))
        }
    }

    impl Responder for Responding {
        fn hit(&self, _: &PlainRequest<'_>, _: &mut Scratch) -> Option<Arc<StoredResponse>> {
            None
        }

        fn step(self: Arc<Self>, request: Request<Body>, _: Wakes<'_>) -> Step<Response<Body>> {
            Step::Serve(self.handle(request))
        }

        fn ledger(&self) -> Option<Arc<Ledger>> {
            Some(Arc::clone(&self.0))
        }
    }

    #[test]
    fn a_panic_outside_of_a_connection_shuts_the_front_down_as_failed() {
        let (ledger, store) = (Ledger::new(1000), Arc::new(FaultyStore));
        let weak = Arc::downgrade(&store);
        ledger.set_store(weak);
        let responder: Arc<dyn Responder> = Arc::new(Responding(Arc::clone(&ledger)));
        let options = ServerConfig::new().io_threads(2).head_timeout(Duration::from_millis(40));
        let serving = Server::bind_responder("127.0.0.1:0", &options, &responder).unwrap();
        let mut client = TcpStream::connect(serving.local_addr()).unwrap();
        client.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
        let mut status = [0; 12];
        client.read_exact(&mut status).unwrap();
        assert_eq!(&status, b"HTTP/1.1 200");
        assert!(!serving.has_failed());
        let _held = ledger.hold(Use::Bodies, 2000);
        let handle = serving.shutdown_handle();
        serving.join();
        assert!(handle.has_failed());
        // Whoever waits for the connection of either thread learns of the end.
        client.read_to_end(&mut Vec::new()).ok();
    }

    #[test]
    fn a_shutdown_is_no_failure() {
        let responder: Arc<dyn Responder> = Arc::new(Responding(Ledger::new(1000)));
        let serving = Server::bind_responder("127.0.0.1:0", &ServerConfig::new(), &responder).unwrap();
        serving.shutdown();
        let handle = serving.shutdown_handle();
        serving.join();
        assert!(!handle.has_failed());
    }
}
