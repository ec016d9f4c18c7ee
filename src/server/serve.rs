//! What a front hands requests to.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use http::{HeaderMap, Request, Response};

use crate::base::cancellation::Cancellation;
use crate::message::nonblocking::{Lane, PlainRequest, Step, Turn, Wakes};

use super::answer::{broken, unavailable};
use crate::base::ledger::Ledger;
use crate::cache::fill::prepared;
use crate::message::body::Body;
use crate::message::stats::ServerStats;
use crate::message::url::CanonicalUrl;
use crate::scheduler::Scheduler;
use crate::store::StoredResponse;

/// Whatever answers the requests that a front receives.
///
/// # Contract
///
/// * It never fails: a failure is a response too, with a status that says so.
/// * The request's URI is the target as received: path and query, mostly. A client may also send
///   the absolute form (RFC 9112 section 3.2.2), and then scheme and authority are there too.
/// * The request's fields are the fields as received, `Connection` and its like among them.
/// * The request's extensions hold the [`RemoteAddress`], and in HTTP/1.1 an [`OnInterim`](crate::OnInterim), by which
///   interim responses may be sent before the response.
/// * It may block; it then holds one worker of the front. A panic is answered with 500 and
///   ends nothing else.
/// * It is called from many threads at once.
/// * The response's `Date` and framing fields are the front's affair: `Content-Length`,
///   `Transfer-Encoding` and other hop-by-hop fields are dropped and written anew. Only the
///   `Content-Length` of a response to `HEAD`, and of a 304, is kept.
///
/// A closure is a handler:
///
/// ```
/// use forwardcache::{Body, Handler};
/// use http::{Request, Response};
///
/// let echo = |request: Request<Body>| Response::new(request.into_body());
/// let response = echo.handle(Request::new(Body::from("hello")));
/// assert_eq!(response.into_body().into_text()?, "hello");
/// # Ok::<(), forwardcache::Error>(())
/// ```
pub trait Handler: Send + Sync {
    /// Answers the request.
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

/// A handler that can also be asked by threads which never wait.
pub(crate) trait Responder: Handler {
    /// A stored response that answers a plain request as it is. Never waits.
    fn hit(&self, request: &PlainRequest<'_>, scratch: &mut Scratch) -> Option<Arc<StoredResponse>>;

    /// What to do for a request, whose content may still be coming. Never waits.
    fn step(self: Arc<Self>, request: Request<Body>, wakes: Wakes<'_>) -> Step<Response<Body>>;

    /// Whether this may be asked, before any content is read; says for which origin the content is, if for one. Never
    /// waits.
    ///
    /// # Errors
    ///
    /// What is said instead.
    fn admit(&self, _head: &Request<()>) -> Result<Option<CanonicalUrl>, Box<Response<Body>>> {
        Ok(None)
    }

    /// Whether a request that was admitted comes from a peer of the pool: those have no share of their own. Never waits.
    fn is_by_a_peer(&self, _head: &HeaderMap, _remote: IpAddr, _shows_certificate: bool) -> bool {
        false
    }

    /// The account of memory that it has part in.
    fn ledger(&self) -> Option<Arc<Ledger>> {
        None
    }

    /// How many fetches of an origin the operator allows at a time. Quick.
    fn most_fetches(&self, _origin: &CanonicalUrl) -> Option<usize> {
        None
    }

    /// Its jobs are run by these threads from now on, and its connections are counted here.
    fn runs_on(&self, _scheduler: &Arc<Scheduler>, _stats: &Arc<ServerStats>) {}
}

/// Room for what [`Responder::hit`] puts together, used again and again.
#[derive(Debug, Default)]
pub(crate) struct Scratch {
    /// The URL that is asked for.
    pub(crate) url: Vec<u8>,
    /// Field lines of the answer beside those that are stored.
    pub(crate) lines: String,
}

/// A handler that is known to answer in its own time only.
pub(crate) struct Unhurried<H>(pub(crate) H);

impl<H: Handler> Handler for Unhurried<H> {
    fn handle(&self, request: Request<Body>) -> Response<Body> {
        self.0.handle(request)
    }
}

impl<H: Handler + 'static> Responder for Unhurried<H> {
    fn hit(&self, _: &PlainRequest<'_>, _: &mut Scratch) -> Option<Arc<StoredResponse>> {
        None
    }

    fn step(self: Arc<Self>, request: Request<Body>, wakes: Wakes<'_>) -> Step<Response<Body>> {
        handled(Lane::Handler, Ledger::new(u64::MAX), request, wakes, move |request| self.0.handle(request))
    }
}

/// Has a thread that may block answer the request.
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
    let response = Step::fetch(lane, cancellation, wakes(), move |turn| match turn {
        Turn::Refused(refused) => Ok(unavailable(refused.reason())).into(),
        Turn::Pool | Turn::Caller => {
            let mut request = request;
            request.extensions_mut().insert(token.clone());
            prepared(handle(request), &method, &ledger, &token)
        }
    });
    response.map(|response| response.unwrap_or_else(|error| broken(&error)))
}

/// Where the request came from: an extension of every request that a front hands on.
///
/// It is the other end of the connection, which may be a proxy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct RemoteAddress(
    /// Address and port of the other end.
    pub SocketAddr,
);
