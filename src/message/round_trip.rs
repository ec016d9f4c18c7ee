//! The one seam: a request in, a response out.

use std::sync::Arc;

use http::{Method, Request, Response};

use crate::base::error::{Error, ErrorKind, Result};
use crate::message::body::Body;
use crate::message::url::CanonicalUrl;

/// Whatever answers a request: an origin over the network, a cache over another `RoundTrip`, a
/// client of a pool, a closure in a test.
///
/// # Contract
///
/// * The request's URI is absolute (`http` or `https`); its fields are end-to-end fields.
/// * It blocks until the head of the response is there. The body may still be on its way: it is
///   read by the caller, and reading it blocks.
/// * Any response is a success, whatever its status. An error means that there is no response.
/// * It may be called from many threads at once.
pub trait RoundTrip: Send + Sync {
    /// Sends the request and returns the response.
    ///
    /// # Errors
    ///
    /// When no response came: see [`ErrorKind`].
    fn round_trip(&self, request: Request<Body>) -> Result<Response<Body>>;
}

impl<T: RoundTrip + ?Sized> RoundTrip for Arc<T> {
    fn round_trip(&self, request: Request<Body>) -> Result<Response<Body>> {
        (**self).round_trip(request)
    }
}

impl<T: RoundTrip + ?Sized> RoundTrip for Box<T> {
    fn round_trip(&self, request: Request<Body>) -> Result<Response<Body>> {
        (**self).round_trip(request)
    }
}

impl<T: RoundTrip + ?Sized> RoundTrip for &T {
    fn round_trip(&self, request: Request<Body>) -> Result<Response<Body>> {
        (**self).round_trip(request)
    }
}

/// Sends a request without fields and body.
pub(crate) fn send(to: &impl RoundTrip, method: Method, url: &str) -> Result<Response<Body>> {
    let mut request = Request::new(Body::empty());
    *request.method_mut() = method;
    *request.uri_mut() = CanonicalUrl::parse(url)?.uri();
    to.round_trip(request)
}

/// A closure as a [`RoundTrip`].
///
/// ```
/// use forwardcache::{Body, RoundTrip, RoundTripFn};
/// use http::{Method, Request, Response};
///
/// let origin = RoundTripFn(|_request: Request<Body>| Ok(Response::new(Body::from("hello"))));
/// let response = origin.round_trip(Request::new(Body::empty()))?;
/// assert_eq!(response.into_body().into_text()?, "hello");
/// # Ok::<(), forwardcache::Error>(())
/// ```
#[derive(Clone, Copy, Debug)]
pub struct RoundTripFn<F>(pub F);

impl<F> RoundTrip for RoundTripFn<F>
where
    F: Fn(Request<Body>) -> Result<Response<Body>> + Send + Sync,
{
    fn round_trip(&self, request: Request<Body>) -> Result<Response<Body>> {
        (self.0)(request)
    }
}

/// The `RoundTrip` that goes nowhere: every request fails as [`ErrorKind::Unreachable`].
///
/// A cache above it answers from what it holds and from nothing else.
#[derive(Clone, Copy, Debug, Default)]
pub struct Offline;

impl RoundTrip for Offline {
    fn round_trip(&self, request: Request<Body>) -> Result<Response<Body>> {
        Err(Error::new(ErrorKind::Unreachable, "there is no network here").with_url(request.uri()))
    }
}
