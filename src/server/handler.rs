//! [`Handler`] and [`Responder`]: the interfaces to which the server passes requests.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use http::{HeaderMap, Request, Response};

use crate::base::cancellation::Cancellation;
use crate::message::nonblocking::{Lane, PlainRequest, RunMode, Step, Wakes};

use super::error_response::{bad_gateway, unavailable};
use crate::base::memory_limit::Ledger;
use crate::cache::fill::prepared;
use crate::message::body::Body;
use crate::message::url::CanonicalUrl;
use crate::metrics::ServerStats;
use crate::scheduler::Scheduler;
use crate::store::StoredResponse;

/// Responds to the requests that a server receives.
///
/// # Contract
///
/// * `handle` never fails: it reports a failure as a response with an error status.
/// * The request's URI is the target as received, usually path and query. If the client sends the absolute
///   form (RFC 9112 section 3.2.2), the URI also has scheme and authority.
/// * The request's fields are the fields as received, including hop-by-hop fields like `Connection`.
/// * The request's extensions hold the [`RemoteAddress`] and, for HTTP/1.1, an
///   [`OnInterim`](crate::origin::OnInterim) with which the handler may send interim responses before the response.
/// * `handle` may block; it then occupies one worker of the server. If it panics, the server responds with
///   500, and other requests are not affected.
/// * The server calls `handle` from many threads at once.
/// * The server owns `Date` and the framing: it drops `Content-Length`, `Transfer-Encoding` and other
///   hop-by-hop fields of the response and writes its own. It keeps only the `Content-Length` of a response
///   to `HEAD` and of a 304.
///
/// A closure is a handler:
///
/// ```
/// use forwardcache::server::Handler;
/// use forwardcache::Body;
/// use http::{Request, Response};
///
/// let echo = |request: Request<Body>| Response::new(request.into_body());
/// let response = echo.handle(Request::new(Body::from("hello")));
/// assert_eq!(response.into_body().into_text()?, "hello");
/// # Ok::<(), forwardcache::Error>(())
/// ```
pub trait Handler: Send + Sync {
    /// Responds to the request.
    fn handle(&self, request: Request<Body>) -> Response<Body>;
}

impl<F> Handler for F
where
    F: Fn(Request<Body>) -> Response<Body> + Send + Sync,
{
    fn handle(&self, request: Request<Body>) -> Response<Body> {
        self(request)
    }
}

/// A handler that I/O threads may call as well, because it never blocks them.
pub(crate) trait Responder: Handler {
    /// Returns a stored response that can be sent unchanged for a plain request. Never blocks.
    fn hit(
        &self,
        request: &PlainRequest<'_>,
        sender: &Sender,
        scratch: &mut Scratch,
    ) -> Option<Arc<StoredResponse>>;

    /// Returns the next step for a request; its body may still be arriving. Never blocks.
    fn step(self: Arc<Self>, request: Request<Body>, wakes: Wakes<'_>) -> Step<Response<Body>>;

    /// Decides from the head whether a request is allowed, before the server reads its body. Returns the
    /// origin that the body is sent to, if any. Never blocks.
    ///
    /// # Errors
    ///
    /// Returns the response to send if the request is not allowed.
    fn admit(&self, _head: &Request<()>) -> Result<Option<CanonicalUrl>, Box<Response<Body>>> {
        Ok(None)
    }

    /// Returns whether an admitted request comes from a peer of the pool; the limits per client do not apply
    /// to peers. Never blocks.
    fn is_by_a_peer(&self, _head: &HeaderMap, _remote: IpAddr, _shows_certificate: bool) -> bool {
        false
    }

    /// Returns the memory ledger that the responder uses, if any. Default: `None`, so the server creates one
    /// without a limit.
    fn ledger(&self) -> Option<Arc<Ledger>> {
        None
    }

    /// Returns the maximum number of concurrent fetches from the origin, if the operator configured one. Must
    /// be fast.
    fn most_fetches(&self, _origin: &CanonicalUrl) -> Option<usize> {
        None
    }

    /// Receives the scheduler that will run the responder's jobs, and the server's connection counters.
    fn runs_on(&self, _scheduler: &Arc<Scheduler>, _stats: &Arc<ServerStats>) {}
}

/// Buffers that an I/O thread reuses for each call of [`Responder::hit`].
#[derive(Debug, Default)]
pub(crate) struct Scratch {
    /// The requested URL.
    pub(crate) url: Vec<u8>,
    /// Field lines to send in addition to the stored ones.
    pub(crate) lines: String,
    /// A body that is read while it is sent.
    pub(crate) body: Body,
}

/// Adapts a handler that may block: each request runs on a worker.
pub(crate) struct BlockingHandler<H>(pub(crate) H);

impl<H: Handler> Handler for BlockingHandler<H> {
    fn handle(&self, request: Request<Body>) -> Response<Body> {
        self.0.handle(request)
    }
}

impl<H: Handler + 'static> Responder for BlockingHandler<H> {
    fn hit(&self, _: &PlainRequest<'_>, _: &Sender, _: &mut Scratch) -> Option<Arc<StoredResponse>> {
        None
    }

    fn step(self: Arc<Self>, request: Request<Body>, wakes: Wakes<'_>) -> Step<Response<Body>> {
        handled(Lane::Handler, Ledger::new(u64::MAX), request, wakes, move |request| self.0.handle(request))
    }
}

/// Runs `handle` for the request on a worker thread.
pub(crate) fn handled(
    lane: Lane,
    ledger: Arc<Ledger>,
    request: Request<Body>,
    wakes: Wakes<'_>,
    handle: impl FnOnce(Request<Body>) -> Response<Body> + Send + 'static,
) -> Step<Response<Body>> {
    let cancellation = Cancellation::new();
    let token = cancellation.clone();
    let method = request.method().clone();
    let response = Step::fetch(lane, cancellation, wakes(), move |mode| match mode {
        RunMode::Refused(refused) => Ok(unavailable(refused.reason())).into(),
        RunMode::Worker | RunMode::Caller => {
            let mut request = request;
            request.extensions_mut().insert(token.clone());
            prepared(handle(request), &method, &ledger, &token)
        }
    });
    response.map(|response| response.unwrap_or_else(|error| bad_gateway(&error)))
}

/// How a request reached the server, an extension of each request.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sender {
    /// The client's address.
    pub(crate) address: SocketAddr,
    /// Whether the client has shown a certificate that the server requires.
    pub(crate) shows_certificate: bool,
    /// Whether the client uses TLS.
    pub(crate) is_tls: bool,
    /// Whether the server is a [forward proxy](super::ServerConfig::http_proxy).
    pub(crate) is_http_proxy: bool,
    /// Whether proxies name clients of this server, so that a loopback address may be one of another machine.
    pub(crate) is_behind_proxies: bool,
}

impl Sender {
    /// Returns how this request reached the server. `None` if a server of another program passes the request on without
    /// its [`RemoteAddress`].
    pub(crate) fn of<T>(request: &Request<T>) -> Option<Self> {
        let extensions = request.extensions();
        extensions.get().copied().or_else(|| {
            let RemoteAddress(address) = *extensions.get()?;
            Some(Self {
                address,
                shows_certificate: false,
                is_tls: false,
                is_http_proxy: false,
                is_behind_proxies: false,
            })
        })
    }

    /// Returns whether the client certainly runs on this machine.
    pub(crate) fn is_local(&self) -> bool {
        self.address.ip().to_canonical().is_loopback() && !self.is_behind_proxies
    }
}

/// The client's address, an extension of each request that a server passes to its handler.
///
/// If the client connects through a proxy, this is the proxy's address, unless the proxy is one of
/// [`proxy_protocol_from`](super::ServerConfig::proxy_protocol_from). A client of a Unix socket has the address
/// `127.0.0.1:0`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct RemoteAddress(
    /// IP address and port.
    pub SocketAddr,
);
