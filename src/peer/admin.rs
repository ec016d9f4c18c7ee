//! What a peer says to those who run it.

use std::fmt::Write as _;
use std::net::TcpListener;
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
use crate::server::{Handler, Responder, Scratch, Server, ServerConfig, ServerHandle, handled};
use crate::store::StoredResponse;

/// What is taken where something is read.
const ALLOWED: &str = "GET, HEAD";

/// What is taken where something is removed.
const ALLOWED_FOR_PURGE: &str = "PURGE";

/// What those who run a peer ask.
#[derive(Clone, Copy, Debug)]
enum Asked {
    Health,
    Ready,
    Metrics,
    Status,
    Purge,
}

impl Peer {
    /// The side for those who run it: a plain function, to be called by any server, on an address of its own that the
    /// users of the cache need not reach.
    ///
    /// | request | answer |
    /// |---|---|
    /// | `GET /healthz` | 200 and `ok`, or 503 once it [leaves](Self::leave), for whoever asks |
    /// | `GET /readyz` | 200 and `ok`, or 503 and one line that says why it should be sent no requests: it leaves or shuts down, its memory is at its end, or a fetch has waited for a thread for more than half of [`max_queue_wait`](ServerConfig::max_queue_wait) |
    /// | `GET /metrics` | what was counted, in the text format of Prometheus |
    /// | `GET /status` | its pool, its store and what was counted, for people |
    /// | `PURGE /purge?q=<escaped URL>` | what [`purge`](Self::purge) says, also of `?prefix=`, `?group=&origin=` and `?all` |
    ///
    /// Where the peer has [tokens](crate::PeerBuilder::tokens), all but the first two are for those who show one, and
    /// where it has [operator tokens](crate::PeerBuilder::operator_tokens), a purge needs one of these. Nothing
    /// of it names a URL, a user or a credential.
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
        move |request| Administering(peer.clone()).handle(request)
    }

    /// Serves what [`admin_handler`](Self::admin_handler) answers on a socket that listens already, until the returned
    /// handle is shut down or dropped. Only a purge needs a worker: everything else is answered by the threads that read,
    /// also while purges wait for other peers.
    ///
    /// ```
    /// use forwardcache::{ServerConfig, Peer};
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
    /// [`ErrorKind::Listen`] when the socket cannot be served, or when threads cannot be started.
    #[allow(clippy::needless_pass_by_value, reason = "options are built for one call")]
    pub fn serve_admin_on(&self, listener: TcpListener, options: ServerConfig) -> Result<ServerHandle> {
        let responder: Arc<dyn Responder> = Arc::new(Administering(self.clone()));
        let serving = Server::responder_on(listener, &options, &responder)?;
        self.is_administered_on(serving.local_addr());
        Ok(serving)
    }

    /// What those who run it may ask. It looks at the head alone, and never waits.
    ///
    /// # Errors
    ///
    /// What is said instead.
    fn asked_by_operator<T>(&self, request: &Request<T>) -> Result<Asked, Box<Response<Body>>> {
        let asked = match request.uri().path() {
            protocol::HEALTH_PATH => Asked::Health,
            protocol::READY_PATH => Asked::Ready,
            "/metrics" => Asked::Metrics,
            "/status" => Asked::Status,
            "/purge" => Asked::Purge,
            _ => {
                let text = "nothing is here: GET /healthz, /readyz, /metrics or /status, or PURGE /purge";
                return Err(refusal(StatusCode::NOT_FOUND, ErrorKind::BadRequest, text).into());
            }
        };
        let refused = match asked {
            Asked::Health | Asked::Ready => self.inner.proxy.refuses_foreign(request.uri()),
            _ => self.inner.proxy.refuses_admin(request, matches!(asked, Asked::Purge)),
        };
        if let Some(refused) = refused {
            return Err(refused.into());
        }
        match asked {
            Asked::Purge if protocol::is_purge(request.method()) => Ok(asked),
            Asked::Purge => Err(method_not_allowed(ALLOWED_FOR_PURGE).into()),
            _ if matches!(*request.method(), Method::GET | Method::HEAD) => Ok(asked),
            _ => Err(method_not_allowed(ALLOWED).into()),
        }
    }

    /// The answer to what those who run it ask. Only a purge waits.
    fn tell(&self, asked: Asked, request: &Request<Body>) -> Response<Body> {
        match asked {
            Asked::Health => self.inner.proxy.health(),
            Asked::Ready => self.inner.proxy.readiness(),
            Asked::Metrics => answer("text/plain; version=0.0.4; charset=utf-8", self.metrics()),
            Asked::Status => answer(TEXT, self.status()),
            Asked::Purge => self.inner.proxy.purge_by_known(request),
        }
    }

    /// How the other peers do, as far as this one knows.
    pub(super) fn others(&self) -> Vec<PeerHealth> {
        self.client().health().into_iter().filter(|health| health.url != *self.self_url()).collect()
    }

    /// For people.
    fn status(&self) -> String {
        let usage = self.caching().store().usage();
        let mut text = format!("forwardcache {}\nself {}\n", env!("CARGO_PKG_VERSION"), self.self_url());
        for health in self.others() {
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

/// The side for those who run a peer, for a front that may not wait.
struct Administering(Peer);

impl Handler for Administering {
    fn handle(&self, request: Request<Body>) -> Response<Body> {
        self.0.inner.proxy.of_admin(match self.0.asked_by_operator(&request) {
            Ok(asked) => self.0.tell(asked, &request),
            Err(refused) => *refused,
        })
    }
}

impl Responder for Administering {
    fn hit(&self, _: &PlainRequest<'_>, _: &mut Scratch) -> Option<Arc<StoredResponse>> {
        None
    }

    fn step(self: Arc<Self>, request: Request<Body>, wakes: Wakes<'_>) -> Step<Response<Body>> {
        match self.0.asked_by_operator(&request) {
            Ok(Asked::Purge) => {
                let ledger = Ledger::new(u64::MAX);
                handled(Lane::Peers, ledger, request, wakes, move |request| {
                    self.0.inner.proxy.of_admin(self.0.tell(Asked::Purge, &request))
                })
            }
            Ok(asked) => Step::Serve(self.0.inner.proxy.of_admin(self.0.tell(asked, &request))),
            Err(refused) => Step::Serve(self.0.inner.proxy.of_admin(*refused)),
        }
    }

    fn admit(&self, head: &Request<()>) -> Result<Option<CanonicalUrl>, Box<Response<Body>>> {
        let asked = self.0.asked_by_operator(head).map(|_| None);
        asked.map_err(|refused| self.0.inner.proxy.of_admin(*refused).into())
    }
}

#[cfg(test)]
mod tests;
