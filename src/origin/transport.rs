//! [`Origin`]: sends a request and returns its response.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use http::{HeaderMap, HeaderValue, Method, Request, Response, header};
use parking_lot::{Mutex, RwLock};
use ureq::config::Config;
use ureq::{Agent, AsSendBody, Timeout};

use super::begun::Begun;
use super::connections::Connections;
use super::exchange::{Exchange, ExchangeOptions, cancelled_error};
use super::options::{Options, Timeouts};
use super::{failure, request, response};
use crate::base::cancellation::Cancellation;
use crate::base::clock::SystemClock;
use crate::base::error::{Error, ErrorKind, Result};
use crate::base::resolver::{Resolver, SystemLookup};
use crate::message::body::Body;
use crate::message::deadline::Deadline;
use crate::message::interim::OnInterim;
use crate::message::request_builder::request_methods;
use crate::message::round_trip::RoundTrip;
use crate::origin::access::{OriginRules, UrlParts};
use crate::pool::protocol::{self, ConnectTimeout, HeadReadTimeout, HeadTimeout};

/// The [`RoundTrip`] that sends requests to origins over the network (`http` and `https`).
///
/// The response is what the origin sent: redirects are not followed, and an encoded body stays encoded. The
/// request gains only `Host`, the framing, and a [`User-Agent`](super::OriginBuilder::user_agent) if it has
/// none. Hop-by-hop fields are removed in both directions. Proxy settings of the environment are ignored.
///
/// Responses with ambiguous framing fail with [`BadResponse`](crate::ErrorKind::BadResponse): those with both
/// `Transfer-Encoding` and `Content-Length`, or with a coding other than `chunked`. The
/// [end](Body::is_end_proven) of a body that is delimited by the end of the connection is not proven.
///
/// Connections are kept and reused. If an idle connection turns out to be closed, a `GET` or `HEAD` without a
/// body is sent once more on a new connection. The same is true of `PURGE`, which goes to peers.
///
/// [`OriginBuilder`](super::OriginBuilder) sets time limits. A [`Deadline`] in the extensions of a request is
/// an additional limit: after it, the request or the read of its body fails with [`ErrorKind::Timeout`].
///
/// A [`Cancellation`] in the extensions shuts down the connection when it is cancelled, up to the end of the
/// body. The caller gets [`ErrorKind::Cancelled`] at once. A name lookup and a connection attempt are not
/// interrupted; each has a short limit of its own.
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
    inner: Arc<Inner>,
}

struct Inner {
    options: Options,
    resolver: Arc<Resolver>,
    /// Serialises reloads, so that the certificates read last are the ones that stay.
    reloading: Mutex<()>,
    current: RwLock<Arc<Connections>>,
}

impl Origin {
    /// Creates an origin with default options: see [`OriginBuilder`](super::OriginBuilder).
    #[must_use]
    pub fn new() -> Self {
        Self::with_options(Options::default())
    }

    pub(super) fn with_options(options: Options) -> Self {
        let resolver = Resolver::new(SystemLookup, Arc::new(SystemClock), options.name_lifetime());
        Self::with_resolver(options, resolver)
    }

    pub(super) fn with_resolver(options: Options, resolver: Arc<Resolver>) -> Self {
        let config = options.config(options.tls.clone());
        let connections = Connections::new(config, options.idle, &resolver, options.rules.clone());
        let current = RwLock::new(Arc::new(connections));
        Self { inner: Arc::new(Inner { options, resolver, reloading: Mutex::new(()), current }) }
    }

    /// Replaces the rules for this origin and all its clones.
    ///
    /// The new rules apply to all later requests, and idle connections made under the old rules are closed.
    /// Running requests finish under the old rules.
    ///
    /// ```
    /// use forwardcache::origin::OriginRules;
    /// use forwardcache::Origin;
    ///
    /// let origin = Origin::new();
    /// origin.set_rules(OriginRules::public());
    /// assert_eq!(origin.rules(), OriginRules::public());
    /// ```
    pub fn set_rules(&self, rules: OriginRules) {
        self.inner.replace(|current| (current.config.clone(), rules));
    }

    #[cfg(feature = "peer")]
    pub(super) fn timeouts(&self) -> &Timeouts {
        &self.inner.options.timeouts
    }

    #[cfg(feature = "peer")]
    pub(super) fn resolver(&self) -> &Arc<Resolver> {
        &self.inner.resolver
    }

    /// Reads the files of [root certificates](super::OriginBuilder::root_certificates_file) and of the
    /// [client certificate](super::OriginBuilder::client_certificate_files) again, for this origin and all
    /// its clones.
    ///
    /// Later requests use the new certificates on new connections, and idle connections are closed. Running
    /// requests finish with the old certificates.
    ///
    /// ```
    /// use forwardcache::Origin;
    ///
    /// Origin::new().reload_certificates()?;
    /// # Ok::<(), forwardcache::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`ErrorKind::BadOption`] as for [`OriginBuilder::build`](super::OriginBuilder::build); the message
    /// names the file. The old certificates then stay in force.
    pub fn reload_certificates(&self) -> Result<()> {
        let _one_at_a_time = self.inner.reloading.lock();
        let tls = self.inner.options.trust.read()?;
        let config = self.inner.options.config(tls);
        self.inner.replace(|current| (config, current.rules.clone()));
        Ok(())
    }

    /// Returns the rules in force.
    #[must_use]
    pub fn rules(&self) -> OriginRules {
        self.inner.current.read().rules.clone()
    }
}

impl Inner {
    /// Replaces the connections by new ones with the chosen configuration and rules.
    fn replace(&self, choose: impl FnOnce(&Connections) -> (Config, OriginRules)) {
        let mut current = self.current.write();
        let (config, rules) = choose(&current);
        let next = Arc::new(Connections::new(config, self.options.idle, &self.resolver, rules));
        let before = std::mem::replace(&mut *current, next);
        drop(current);
        // Drop after the unlock: this may close connections, and other threads may wait for the lock.
        drop(before);
    }

    /// Returns the time limits and other settings of this request.
    fn terms(&self, request: &Request<Body>, begun: Instant) -> ExchangeOptions {
        let extensions = request.extensions();
        let deadline = Deadline::of(extensions);
        let hard = deadline.and_then(|deadline| deadline.hard());
        let is_for_head = deadline.is_some_and(|deadline| deadline.is_for_head());
        let within = extensions.get::<HeadTimeout>().and_then(|HeadTimeout(limit)| begun.checked_add(*limit));
        let has_content = !request.body().is_empty();
        let head = self.options.timeouts.response;
        let own = if has_content { None } else { begun.checked_add(head) };
        let whole = self.options.timeouts.whole.and_then(|limit| begun.checked_add(limit));
        ExchangeOptions {
            head_deadline: own.into_iter().chain(within).chain(hard.filter(|_| is_for_head)).min(),
            head_timeout_after_content: has_content.then_some(head),
            whole_deadline: whole.into_iter().chain(hard.filter(|_| !is_for_head)).min(),
            head_read_timeout: extensions.get().map(|HeadReadTimeout(limit)| *limit),
            connect_timeout: extensions.get().map(|ConnectTimeout(limit)| *limit),
            is_head: request.method() == Method::HEAD,
            head_limits: self.options.head_limits,
            cancellation: extensions.get::<Cancellation>().cloned(),
            on_interim: extensions.get::<OnInterim>().cloned(),
        }
    }
}

/// Sends a request that may be repeated, and retries it once if an idle connection turns out to be closed
/// (RFC 9112 section 9.3.1).
///
/// An idle connection can close between the check and its use. This looks the same as an origin that closes
/// every connection without a response, so there is one retry only. It uses a new connection, within the time
/// that the first attempt has left.
fn send_with_retry(
    agent: &Agent,
    exchange: &Exchange,
    head: Request<()>,
) -> Result<Response<ureq::Body>, ureq::Error> {
    let first = with_connect_timeout(agent, exchange, head.clone());
    // No idle connection: the request was sent on another one.
    let first = if exchange.has_begun() {
        agent.configure_request(first).max_idle_age(Duration::ZERO).build()
    } else {
        first
    };
    let failure = match agent.run(first) {
        Err(failure) if failure::is_dead_connection(&failure) => failure,
        answer => return answer,
    };
    if is_past_deadline(exchange) {
        return Err(ureq::Error::Timeout(Timeout::Global));
    }
    log::debug!("retrying the request on a new connection after: {failure}");
    let head = with_connect_timeout(agent, exchange, head);
    agent.run(agent.configure_request(head).max_idle_age(Duration::ZERO).build())
}

/// Applies the request's own connection time limit, if it is shorter than the agent's.
fn with_connect_timeout<B: AsSendBody>(
    agent: &Agent,
    exchange: &Exchange,
    request: Request<B>,
) -> Request<B> {
    let Some(limit) = exchange.terms.connect_timeout else { return request };
    let limit = agent.config().timeouts().connect.into_iter().chain([limit]).min();
    agent.configure_request(request).timeout_connect(limit).build()
}

fn is_past_deadline(exchange: &Exchange) -> bool {
    let now = Instant::now();
    exchange.next_deadline(now).is_some_and(|deadline| deadline <= now)
}

/// Returns how long the body may be silent. Event streams are silent until an event occurs.
fn max_silence(timeouts: &Timeouts, headers: &HeaderMap) -> Duration {
    const STREAMS: [&[u8]; 2] = [b"text/event-stream", b"multipart/x-mixed-replace"];
    let field = headers.get(header::CONTENT_TYPE).map(HeaderValue::as_bytes).unwrap_or_default();
    let media_type = field.split(|byte| *byte == b';').next().unwrap_or_default().trim_ascii();
    let is_stream = STREAMS.iter().any(|stream| media_type.eq_ignore_ascii_case(stream));
    if is_stream { timeouts.stream } else { timeouts.read }
}

request_methods!(Origin);

impl RoundTrip for Origin {
    fn round_trip(&self, request: Request<Body>) -> Result<Response<Body>> {
        let terms = self.inner.terms(&request, Instant::now());
        let begun = request.extensions().get::<Begun>().cloned();
        let (mut head, body) = request::prepare(request)?;
        if let Some(user_agent) = &self.inner.options.user_agent {
            head.headers_mut().entry(header::USER_AGENT).or_insert_with(|| user_agent.clone());
        }
        let (method, url) = (head.method().clone(), head.uri().clone());
        let connections = Arc::clone(&self.inner.current.read());
        let asked = UrlParts::of_uri(&url);
        if let Some(asked) = &asked {
            connections.rules.may_request(asked).map_err(|refused| Error::from(refused).with_url(&url))?;
        }
        let agent = connections.agent_for(asked.as_ref());
        let running = Exchange::new(terms).cancellable();
        if running.exchange.is_cancelled() {
            return Err(cancelled_error().with_url(&url));
        }
        if is_past_deadline(&running.exchange) {
            return Err(
                Error::new(ErrorKind::Timeout, "the deadline of the request has passed").with_url(&url)
            );
        }
        running.exchange.set_begun(begun.and_then(|begun| begun.take(url.authority()?.as_str())));
        let may_be_repeated = method == Method::GET || method == Method::HEAD || protocol::is_purge(&method);
        let entered = running.exchange.enter();
        let answer = match body {
            None if may_be_repeated => send_with_retry(agent, &running.exchange, head),
            None => agent.run(with_connect_timeout(agent, &running.exchange, head)),
            Some(body) => {
                let request = head.map(|()| body.into_send_body());
                agent.run(with_connect_timeout(agent, &running.exchange, request))
            }
        };
        drop(entered);
        let answer = answer.map_err(|failure| {
            if running.exchange.is_head_too_slow(Instant::now()) {
                let text = "the origin sends the head of the response too slowly";
                return Error::new(ErrorKind::BadResponse, text).with_url(&url);
            }
            let error = failure::before_response(failure, &url);
            // The host may have moved to another address.
            if let (ErrorKind::Unreachable, Some(host)) = (error.kind(), url.host()) {
                self.inner.resolver.forget(&host.to_ascii_lowercase());
            }
            error
        })?;
        let no_head = || {
            Error::new(ErrorKind::BadResponse, "ureq returned a response whose head was not read")
                .with_url(&url)
        };
        let head = running.exchange.take_head().ok_or_else(no_head)?;
        running.exchange.begin_body(Some(max_silence(&self.inner.options.timeouts, &head.headers)));
        Ok(response::build(head, answer.into_body(), running, &url))
    }
}

impl Default for Origin {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Origin")
            .field("timeouts", &self.inner.options.timeouts)
            .field("rules", &self.rules())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
