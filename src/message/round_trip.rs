//! [`RoundTrip`], the trait that connects origins, caches, clients and peers: it sends a request and returns the response.

use std::sync::Arc;

use http::{Request, Response};

use crate::base::error::{Error, ErrorKind, Result};
use crate::message::body::Body;

/// Sends a request and returns its response: an origin over the network, a cache in front of another `RoundTrip`, a
/// client of a pool, a closure in a test.
///
/// # Contract
///
/// * The request's URI is absolute (`http` or `https`), and its header fields are end-to-end fields.
/// * The call blocks until the head of the response has arrived. The body may still be in transit; the caller reads it,
///   and reading blocks.
/// * Any response is a success, whatever its status. An error means that there is no response.
/// * Several threads may call it at the same time.
pub trait RoundTrip: Send + Sync {
    /// Sends the request and returns the response.
    ///
    /// # Errors
    ///
    /// Fails if no response arrived: see [`ErrorKind`].
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

/// A [`RoundTrip`] that calls a closure.
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

/// A `RoundTrip` without a network: every request fails with [`ErrorKind::Unreachable`].
///
/// A cache in front of it serves only stored responses.
#[derive(Clone, Copy, Debug, Default)]
pub struct Offline;

impl RoundTrip for Offline {
    fn round_trip(&self, request: Request<Body>) -> Result<Response<Body>> {
        Err(Error::new(ErrorKind::Unreachable, "the network is disabled (Offline)").with_url(request.uri()))
    }
}
