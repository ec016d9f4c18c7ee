//! A request goes out, its response comes back.

use std::fmt;
use std::time::Duration;

use http::{Method, Request, Response};
use ureq::Agent;
use ureq::unversioned::transport::DefaultConnector;

use super::options::{Options, OriginBuilder};
use super::resolver::OriginResolver;
use super::{failure, request, response};
use crate::body::Body;
use crate::error::Result;
use crate::round_trip::RoundTrip;

/// The [`RoundTrip`] that goes to the origin over the network, `http` and `https`.
///
/// What comes back is what the origin said: redirects are returned and not followed, an encoded body
/// stays encoded, no field is added to the request but `Host` and the framing, and the environment's
/// proxy settings are not looked at. Hop-by-hop fields are removed in both directions.
///
/// A response is trusted only as far as its framing can be: one with both `Transfer-Encoding` and
/// `Content-Length`, or with any coding but `chunked`, is refused as
/// [`BadResponse`](crate::ErrorKind::BadResponse); one that ends with its connection comes as a body
/// whose [end is not proven](Body::end_is_proven).
///
/// Connections are kept and used again. When a kept one turns out to be dead, a `GET` or `HEAD`
/// without a body is sent once more, on a fresh one.
///
/// Cloning is cheap, and clones share their connections.
///
/// ```no_run
/// use forwardcache::{Body, Origin, RoundTrip};
/// use http::Request;
///
/// let origin = Origin::new();
/// let request = Request::get("https://example.com/").body(Body::empty()).expect("a good request");
/// let response = origin.round_trip(request)?;
/// println!("{}: {} bytes", response.status(), response.into_body().into_bytes()?.len());
/// # Ok::<(), forwardcache::Error>(())
/// ```
#[derive(Clone)]
pub struct Origin {
    agent: Agent,
}

impl Origin {
    /// With the default time limits and the roots of the web: see [`OriginBuilder`].
    #[must_use]
    pub fn new() -> Self {
        Self::with_options(Options::default())
    }

    /// To choose time limits and root certificates.
    #[must_use]
    pub fn builder() -> OriginBuilder {
        OriginBuilder::default()
    }

    pub(super) fn with_options(options: Options) -> Self {
        let config = options.into_config();
        Self { agent: Agent::with_parts(config, DefaultConnector::new(), OriginResolver::default()) }
    }

    /// A kept connection may die between the moment it is found open and its use. Nothing tells that
    /// from an origin that answers nothing, so what may safely be repeated is repeated once, past all
    /// kept connections (RFC 9112 section 9.3.1).
    fn send_repeatable(&self, head: Request<()>) -> Result<Response<ureq::Body>, ureq::Error> {
        let failure = match self.agent.run(head.clone()) {
            Err(failure) if failure::connection_was_dead(&failure) => failure,
            answer => return answer,
        };
        log::debug!("sent once more on a fresh connection after: {failure}");
        self.agent.run(self.agent.configure_request(head).max_idle_age(Duration::ZERO).build())
    }
}

impl RoundTrip for Origin {
    fn round_trip(&self, request: Request<Body>) -> Result<Response<Body>> {
        let (head, body) = request::prepare(request)?;
        let (method, url) = (head.method().clone(), head.uri().clone());
        let repeatable = body.is_none() && (method == Method::GET || method == Method::HEAD);
        let answer = match body {
            None if repeatable => self.send_repeatable(head),
            None => self.agent.run(head),
            Some(body) => self.agent.run(head.map(|()| body.into_send_body())),
        };
        let answer = answer.map_err(|failure| failure::before_response(failure, &url))?;
        response::receive(answer, &method, &url)
    }
}

impl Default for Origin {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Origin").field("timeouts", &self.agent.config().timeouts()).finish_non_exhaustive()
    }
}
