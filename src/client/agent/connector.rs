//! The public functions, and what ureq is given in place of sockets and DNS.

use std::fmt;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use http::Uri;
use ureq::config::Config;
use ureq::unversioned::resolver::{ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport::{ConnectionDetails, Connector, NextTimeout};

use super::transport::Exchange;
use crate::message::round_trip::RoundTrip;

/// A [`ureq::Agent`] whose requests go through `round_trip`: code written for ureq gains a cache by
/// taking this agent.
///
/// The configuration is ureq's default without a proxy; see [`agent_with_config`] for another, and
/// for what a configuration means here.
///
/// ```
/// use forwardcache::{Body, RoundTripFn};
/// use http::{Request, Response};
///
/// let agent = forwardcache::agent(RoundTripFn(|request: Request<Body>| {
///     Ok(Response::new(Body::from(format!("this is {}", request.uri()))))
/// }));
/// let text = agent.get("https://example.com/").call()?.body_mut().read_to_string()?;
/// assert_eq!(text, "this is https://example.com/");
/// # Ok::<(), ureq::Error>(())
/// ```
///
/// # Errors of its requests
///
/// An error of the round trip, and one of the response's body, reaches the caller as
/// [`ureq::Error::Io`] with a [`forwardcache::Error`](crate::Error) inside. It comes out by
/// conversion:
///
/// ```
/// use forwardcache::{Error, ErrorKind, Offline};
///
/// let agent = forwardcache::agent(Offline);
/// let error = agent.get("http://example.com/").call().unwrap_err();
/// let error = Error::from(error.into_io());
/// assert_eq!(error.kind(), ErrorKind::Unreachable);
/// assert_eq!(error.url(), Some("http://example.com/"));
/// ```
///
/// The same conversion makes [`ErrorKind::Io`](crate::ErrorKind::Io) of ureq's own errors.
///
/// A request fails as [`ErrorKind::BadRequest`](crate::ErrorKind::BadRequest) when its method is
/// `CONNECT`, its body is larger than 64 MiB, or its `Host` field names another host than its URL.
pub fn agent(round_trip: impl RoundTrip + 'static) -> ureq::Agent {
    agent_with_config(round_trip, Config::builder().proxy(None).build())
}

/// As [`agent`], with a configuration of ureq.
///
/// Whatever ureq does above its connections stays as configured: redirects, status codes as errors,
/// middleware, `https_only`, the fields that it adds, cookies and decompression where its features
/// are on, and the sizes of buffers and of a response's head.
///
/// What concerns connections means nothing here, because there are none: proxies (those of the
/// environment too), TLS, address families, `no_delay`, and the pool's sizes and ages. `https` URLs
/// pass as they are; whether TLS is spoken is the business of the round trip.
///
/// # Timeouts
///
/// The round trip runs on the thread that makes the request. What ureq allows for the head (`timeout_global`,
/// `timeout_per_call`, `timeout_recv_response`, of the agent or of one request) is its
/// [`Deadline`](crate::Deadline), which those of this crate keep; one of your own that does not look at it is not
/// interrupted. The body is waited for until the earliest of `timeout_global`, `timeout_per_call` and
/// `timeout_recv_body`, whatever it comes from: a thread of its own reads it where one of them is set. Each fails as
/// [`ureq::Error::Timeout`]. Limits for names, connections, and sending mean nothing, nor do `timeout_per_read` and
/// `timeout_per_write`: nothing is sent. [`ureq::Agent::shutdown`] does not interrupt a round trip: it refuses
/// those to come.
///
/// # Bodies
///
/// The body of a request is held in memory, up to 64 MiB, before the round trip begins. The body of
/// a response is passed on piece by piece as it is read. Its end without an error means what
/// [`Body::end_is_proven`](crate::Body::end_is_proven) says of the round trip's body, and one that is
/// dropped before its end is dropped where it stands.
///
/// ureq rejects a response of more than 128 field lines, as it would from the network. Extensions of
/// the round trip's response do not pass.
///
/// ```
/// use forwardcache::{Body, RoundTripFn};
/// use http::{Request, Response, StatusCode};
///
/// let config = ureq::Agent::config_builder().http_status_as_error(false).build();
/// let round_trip = RoundTripFn(|_: Request<Body>| {
///     let mut response = Response::new(Body::from("no such thing"));
///     *response.status_mut() = StatusCode::NOT_FOUND;
///     Ok(response)
/// });
/// let agent = forwardcache::agent_with_config(round_trip, config);
/// let mut response = agent.get("http://example.com/").call()?;
/// assert_eq!(response.status(), StatusCode::NOT_FOUND);
/// assert_eq!(response.body_mut().read_to_string()?, "no such thing");
/// # Ok::<(), ureq::Error>(())
/// ```
pub fn agent_with_config(round_trip: impl RoundTrip + 'static, config: Config) -> ureq::Agent {
    // A configuration cannot be stripped of its proxy from outside ureq. It need not be: a proxy acts
    // in the connectors of ureq, and none of them is in this agent.
    ureq::Agent::with_parts(config, RoundTripConnector(Arc::new(round_trip)), NoResolver)
}

/// In place of ureq's connectors: every request gets an exchange of its own.
struct RoundTripConnector(Arc<dyn RoundTrip>);

impl Connector for RoundTripConnector {
    type Out = Exchange;

    fn connect(
        &self,
        details: &ConnectionDetails<'_>,
        _: Option<()>,
    ) -> Result<Option<Exchange>, ureq::Error> {
        Ok(Some(Exchange::new(Arc::clone(&self.0), details)))
    }
}

impl fmt::Debug for RoundTripConnector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RoundTripConnector")
    }
}

/// In place of DNS: one address for every name, and it is never used.
#[derive(Debug)]
struct NoResolver;

impl Resolver for NoResolver {
    fn resolve(&self, _: &Uri, _: &Config, _: NextTimeout) -> Result<ResolvedSocketAddrs, ureq::Error> {
        let mut addresses = self.empty();
        addresses.push(SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)));
        Ok(addresses)
    }
}
