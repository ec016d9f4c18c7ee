//! The public functions, and the replacements of ureq's sockets and DNS.

use std::fmt;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use http::Uri;
use ureq::config::Config;
use ureq::unversioned::resolver::{ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport::{ConnectionDetails, Connector, NextTimeout};

use super::transport::Exchange;
use crate::message::round_trip::RoundTrip;

/// Returns a [`ureq::Agent`] whose requests go through `round_trip`. Code written for ureq gains a cache by
/// using this agent.
///
/// The agent uses ureq's default configuration without a proxy. [`agent_with_config`] takes another
/// configuration and describes which options apply.
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
/// Errors of the round trip and of the response body reach the caller as [`ureq::Error::Io`] with a
/// [`forwardcache::Error`](crate::Error) inside, which a conversion extracts:
///
/// ```
/// use forwardcache::origin::Offline;
/// use forwardcache::{Error, ErrorKind};
///
/// let agent = forwardcache::agent(Offline);
/// let error = agent.get("http://example.com/").call().unwrap_err();
/// let error = Error::from(error.into_io());
/// assert_eq!(error.kind(), ErrorKind::Unreachable);
/// assert_eq!(error.url(), Some("http://example.com/"));
/// ```
///
/// The same conversion turns ureq's own errors into [`ErrorKind::Io`](crate::ErrorKind::Io).
///
/// A request fails with [`ErrorKind::BadRequest`](crate::ErrorKind::BadRequest) if its method is `CONNECT`,
/// its body is larger than 64 MiB, or its `Host` field does not match its URL.
pub fn agent(round_trip: impl RoundTrip + 'static) -> ureq::Agent {
    agent_with_config(round_trip, Config::builder().proxy(None).build())
}

/// Like [`agent`], with a ureq configuration.
///
/// Options above the connection work as usual: redirects, status codes as errors, middleware, `https_only`,
/// automatic header fields, cookies and decompression (if their features are enabled), and the sizes of
/// buffers and response heads.
///
/// Connection options have no effect, since there are no connections: proxies (including those from the
/// environment), TLS, address families, `no_delay`, and the sizes and ages of the connection pool. `https`
/// URLs pass unchanged; the round trip decides whether to use TLS.
///
/// # Timeouts
///
/// The round trip runs on the caller's thread. ureq's limits for the response head (`timeout_global`,
/// `timeout_per_call`, `timeout_recv_response`, of the agent or of one request) become its
/// [`Deadline`](crate::Deadline). The round trips of this crate honour it; a custom one that ignores it is not
/// interrupted. Reading the body ends at the earliest of `timeout_global`, `timeout_per_call` and
/// `timeout_recv_body`; if one of them is set, a separate thread reads the body. Each limit fails as
/// [`ureq::Error::Timeout`]. Limits for name resolution, connecting and sending have no effect, nor do
/// `timeout_per_read` and `timeout_per_write`. [`ureq::Agent::shutdown`] does not interrupt a round trip; it
/// rejects later requests.
///
/// # Bodies
///
/// A request body is buffered in memory, up to 64 MiB, before the round trip starts. A response body is
/// streamed as the caller reads it. Whether its end without an error proves that it is complete is what
/// [`Body::is_end_proven`](crate::Body::is_end_proven) of the round trip's body returns. A body that the
/// caller drops early is dropped without reading the rest.
///
/// ureq rejects a response with more than 128 header fields, as it would from the network. Extensions of the
/// response are not passed on.
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
    // ureq offers no way to remove the proxy from a configuration. That is not necessary: ureq's own
    // connectors use the proxy, and this agent has none of them.
    ureq::Agent::with_parts(config, RoundTripConnector(Arc::new(round_trip)), NoResolver)
}

/// Replaces ureq's connectors: every request gets its own exchange.
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

/// Replaces DNS: returns one address for every name; it is never used.
#[derive(Debug)]
struct NoResolver;

impl Resolver for NoResolver {
    fn resolve(&self, _: &Uri, _: &Config, _: NextTimeout) -> Result<ResolvedSocketAddrs, ureq::Error> {
        let mut addresses = self.empty();
        addresses.push(SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)));
        Ok(addresses)
    }
}
