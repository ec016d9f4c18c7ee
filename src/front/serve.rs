//! What a front hands requests to.

use std::net::SocketAddr;

use http::{Request, Response};

use crate::body::Body;

/// Whatever answers the requests that a front receives.
///
/// # Contract
///
/// * It never fails: a failure is a response too, with a status that says so.
/// * The request's URI is the target as received: path and query, mostly. A client may also send
///   the absolute form (RFC 9112 section 3.2.2), and then scheme and authority are there too.
/// * The request's fields are the fields as received, `Connection` and its like among them.
/// * The request's extensions hold the [`RemoteAddress`].
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

/// Where the request came from: an extension of every request that a front hands on.
///
/// It is the other end of the connection, which may be a proxy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct RemoteAddress(
    /// Address and port of the other end.
    pub SocketAddr,
);
