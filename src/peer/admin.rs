//! The address for operators: health, metrics, status, purging.

use std::fmt::Write as _;
use std::sync::Arc;

use http::{Method, Request, Response, StatusCode};

use super::member::Peer;
use crate::base::error::{ErrorKind, Result};
use crate::base::ledger::Ledger;
use crate::client::PeerHealth;
use crate::message::body::Body;
use crate::message::nonblocking::{Lane, PlainRequest, Step, Wakes};
use crate::message::stats::Outcome;
use crate::message::url::CanonicalUrl;
use crate::peer::endpoint::{method_not_allowed, refusal};
use crate::pool::protocol::{self, TEXT, answer};
use crate::server::{
    Handler, Listeners, Responder, Scratch, Sender, Server, ServerConfig, ServerHandle, handled,
};
use crate::store::StoredResponse;

/// The methods of all paths except `/purge`.
const ALLOWED: &str = "GET, HEAD";

/// The method of `/purge`.
const ALLOWED_FOR_PURGE: &str = "PURGE";

/// The operation that an operator requests.
#[derive(Clone, Copy, Debug)]
enum AdminAction {
    Health,
    Ready,
    Metrics,
    Status,
    Purge,
}

impl Peer {
    /// Returns the endpoint for operators as a plain function, for any server. Serve it on a separate address, which the
    /// clients of the cache need not reach.
    ///
    /// | request | response |
    /// |---|---|
    /// | `GET /healthz` | 200 and `ok`, or 503 after [`leave`](Self::leave) |
    /// | `GET /readyz` | 200 and `ok`, or 503 and the reason in one line: the peer is leaving or shuts down, its memory is exhausted, or a fetch has waited for a thread longer than half of [`max_queue_wait`](ServerConfig::max_queue_wait) |
    /// | `GET /metrics` | metrics in the text format of Prometheus |
    /// | `GET /status` | the pool, the store and the counters, as text for people |
    /// | `PURGE /purge?q=<escaped URL>` | the result of [`purge`](Self::purge); also with `?prefix=`, `?group=&origin=` and `?all` |
    ///
    /// If the peer has [tokens](crate::peer::PeerBuilder::tokens), every request except the first two requires one. If it has
    /// [operator tokens](crate::peer::PeerBuilder::operator_tokens), a purge requires one of these. No response contains a URL of
    /// an origin, a user or a credential.
    ///
    /// ```
    /// use forwardcache::{Body, Peer};
    /// use http::Request;
    ///
    /// let peer = Peer::builder("http://127.0.0.1:3000").build()?;
    /// let admin = peer.admin_handler();
    /// let response = admin(Request::get("/metrics").body(Body::empty()).unwrap());
    /// assert!(response.into_body().into_text()?.contains("forwardcache_requests_total{outcome=\"hit\"} 0\n"));
    /// # Ok::<(), forwardcache::Error>(())
    /// ```
    pub fn admin_handler(&self) -> impl Fn(Request<Body>) -> Response<Body> + Clone + Send + Sync + 'static {
        let peer = self.clone();
        move |request| AdminResponder(peer.clone()).handle(request)
    }

    /// Serves [`admin_handler`](Self::admin_handler) on a socket that listens already, until the returned handle is shut down
    /// or dropped. Only a purge needs a worker. The I/O threads answer all other requests, even while purges wait for other
    /// peers.
    ///
    /// ```
    /// use forwardcache::server::ServerConfig;
    /// use forwardcache::Peer;
    ///
    /// let peer = Peer::builder("http://127.0.0.1:3000").build()?;
    /// let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
    /// let admin = peer.serve_admin_on(listener, ServerConfig::new().io_threads(1))?;
    /// println!("metrics on http://{}/metrics", admin.local_addr());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Listen`] if the socket cannot be served or a thread cannot be started.
    #[allow(clippy::needless_pass_by_value, reason = "a configuration is built for one call")]
    pub fn serve_admin_on(
        &self,
        listeners: impl Into<Listeners>,
        options: ServerConfig,
    ) -> Result<ServerHandle> {
        let responder: Arc<dyn Responder> = Arc::new(AdminResponder(self.clone()));
        let server = Server::responder_on(listeners, &options, &responder)?;
        server.local_addrs().iter().for_each(|address| self.add_admin_address(*address));
        Ok(server)
    }

    /// Decides what a request asks for and whether it may. Reads only the head, and never blocks.
    ///
    /// # Errors
    ///
    /// The response that refuses the request.
    fn admit_admin<T>(&self, request: &Request<T>) -> Result<AdminAction, Box<Response<Body>>> {
        let action = match request.uri().path() {
            protocol::HEALTH_PATH => AdminAction::Health,
            protocol::READY_PATH => AdminAction::Ready,
            "/metrics" => AdminAction::Metrics,
            "/status" => AdminAction::Status,
            "/purge" => AdminAction::Purge,
            _ => {
                let text =
                    "unknown path: request GET /healthz, /readyz, /metrics or /status, or PURGE /purge";
                return Err(refusal(StatusCode::NOT_FOUND, ErrorKind::BadRequest, text).into());
            }
        };
        let refused = match action {
            AdminAction::Health | AdminAction::Ready => {
                self.inner.proxy.foreign_target_refusal(request.uri())
            }
            _ => self.inner.proxy.admin_refusal(request, matches!(action, AdminAction::Purge)),
        };
        if let Some(refused) = refused {
            return Err(refused.into());
        }
        match action {
            AdminAction::Purge if protocol::is_purge(request.method()) => Ok(action),
            AdminAction::Purge => Err(method_not_allowed(ALLOWED_FOR_PURGE).into()),
            _ if matches!(*request.method(), Method::GET | Method::HEAD) => Ok(action),
            _ => Err(method_not_allowed(ALLOWED).into()),
        }
    }

    /// Runs an action. Only a purge blocks.
    fn run_admin(&self, action: AdminAction, request: &Request<Body>) -> Response<Body> {
        match action {
            AdminAction::Health => self.inner.proxy.health(),
            AdminAction::Ready => self.inner.proxy.readiness(),
            AdminAction::Metrics => answer("text/plain; version=0.0.4; charset=utf-8", self.metrics()),
            AdminAction::Status => answer(TEXT, self.status()),
            AdminAction::Purge => self.inner.proxy.answer_purge(request),
        }
    }

    /// Returns the health of the other peers, as this peer observes it.
    pub(super) fn other_peers(&self) -> Vec<PeerHealth> {
        self.client().health().into_iter().filter(|health| health.url != *self.self_url()).collect()
    }

    /// Returns the state of the peer as text for people.
    fn status(&self) -> String {
        let usage = self.caching().store().usage();
        let mut text = format!("forwardcache {}\nself {}\n", env!("CARGO_PKG_VERSION"), self.self_url());
        for health in self.other_peers() {
            let _ = writeln!(text, "peer {} {}", health.url, health.state.name());
        }
        let _ = writeln!(text, "keys {}\nbytes {} of {}", usage.keys, usage.bytes, usage.capacity);
        let _ = writeln!(text, "evictions {}", usage.evictions);
        if let Some((stats, usage)) = self.client().near_stats().zip(self.client().near_usage()) {
            let hits = stats.counts().of(Outcome::Hit);
            let _ = writeln!(text, "near hits {hits}\nnear bytes {} of {}", usage.bytes, usage.capacity);
        }
        for numbers in self.servers().schedulers().iter().map(|scheduler| scheduler.numbers()) {
            let fetches = &numbers.fetches;
            let _ = writeln!(
                text,
                "fetch threads {} of {}, {} of them streams\nqueued {}",
                fetches.running, numbers.threads, fetches.streams, fetches.queued
            );
            for (origin, count) in &fetches.longest {
                let _ = writeln!(text, "queued {count} for {}", origin.as_str());
            }
        }
        text + &self.stats().counts().to_string()
    }
}

/// The endpoint for operators, for a server whose I/O threads must not block.
struct AdminResponder(Peer);

impl Handler for AdminResponder {
    fn handle(&self, request: Request<Body>) -> Response<Body> {
        self.0.inner.proxy.mark_admin(match self.0.admit_admin(&request) {
            Ok(action) => self.0.run_admin(action, &request),
            Err(refused) => *refused,
        })
    }
}

impl Responder for AdminResponder {
    fn hit(&self, _: &PlainRequest<'_>, _: &Sender, _: &mut Scratch) -> Option<Arc<StoredResponse>> {
        None
    }

    fn step(self: Arc<Self>, request: Request<Body>, wakes: Wakes<'_>) -> Step<Response<Body>> {
        match self.0.admit_admin(&request) {
            Ok(AdminAction::Purge) => {
                let ledger = Ledger::new(u64::MAX);
                handled(Lane::Peers, ledger, request, wakes, move |request| {
                    self.0.inner.proxy.mark_admin(self.0.run_admin(AdminAction::Purge, &request))
                })
            }
            Ok(action) => Step::Serve(self.0.inner.proxy.mark_admin(self.0.run_admin(action, &request))),
            Err(refused) => Step::Serve(self.0.inner.proxy.mark_admin(*refused)),
        }
    }

    fn admit(&self, head: &Request<()>) -> Result<Option<CanonicalUrl>, Box<Response<Body>>> {
        let admitted = self.0.admit_admin(head).map(|_| None);
        admitted.map_err(|refused| self.0.inner.proxy.mark_admin(*refused).into())
    }
}

#[cfg(test)]
mod tests;
