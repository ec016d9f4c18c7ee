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
mod tests {
    use super::*;
    use crate::base::token::Tokens;
    use crate::message::round_trip::RoundTripFn;

    fn peer(tokens: Option<&str>) -> Peer {
        let builder = Peer::builder("http://10.0.0.1:3000").origin(RoundTripFn(|_: Request<Body>| {
            Ok(Response::builder().header("cache-control", "max-age=60").body(Body::from("hello")).unwrap())
        }));
        match tokens {
            Some(token) => builder.tokens(Tokens::new([token]).unwrap()).build().unwrap(),
            None => builder.build().unwrap(),
        }
    }

    fn ask(peer: &Peer, method: &str, path: &str, token: Option<&str>) -> (u16, String) {
        let mut request = Request::builder().method(method).uri(path);
        if let Some(token) = token {
            request = request.header("proxy-authorization", format!("Bearer {token}"));
        }
        let response = peer.admin_handler()(request.body(Body::empty()).unwrap());
        assert_eq!(response.headers()["cache-control"], "no-store", "{method} {path}");
        (response.status().as_u16(), response.into_body().into_text().unwrap())
    }

    #[test]
    fn what_was_counted_is_told_and_no_url() {
        let peer = peer(None);
        for _ in 0..3 {
            peer.get("http://secret.example/a?token=secret").unwrap();
        }
        let (status, metrics) = ask(&peer, "GET", "/metrics", None);
        assert_eq!(status, 200);
        for line in [
            "forwardcache_requests_total{outcome=\"hit\"} 2\n",
            "forwardcache_requests_total{outcome=\"miss\"} 1\n",
            "forwardcache_origin_requests_total 1\n",
            "forwardcache_store_keys 1\n",
            "forwardcache_pool_peers 1\n",
            "# TYPE forwardcache_requests_total counter\n",
            "forwardcache_fetch_threads{state=\"running\"} 0\n",
            "forwardcache_fetch_refusals_total{reason=\"queue_full\"} 0\n",
            "forwardcache_open_connections 0\n",
            "forwardcache_connection_refusals_total{reason=\"too_many\"} 0\n",
            "forwardcache_request_refusals_total{reason=\"no_memory\"} 0\n",
            "# TYPE forwardcache_tls_handshakes_total counter\n",
            "forwardcache_tls_handshakes_total{result=\"resumed\"} 0\n",
            "forwardcache_unauthorized_requests_total 0\n",
        ] {
            assert!(metrics.contains(line), "{line}{metrics}");
        }
        let (status, text) = ask(&peer, "GET", "/status", None);
        assert!(
            status == 200 && text.contains("self http://10.0.0.1:3000\n") && text.contains("hit 2\n"),
            "{text}"
        );
        assert!(!(metrics + &text).contains("secret"));
    }

    #[test]
    fn a_near_cache_is_counted_apart() {
        let pool = ["http://10.0.0.1:3000", "http://10.0.0.2:3000"];
        let peer = Peer::builder(pool[0]).pool(pool).memory(1 << 20).build().unwrap();
        let (metrics, status) = (ask(&peer, "GET", "/metrics", None).1, ask(&peer, "GET", "/status", None).1);
        for line in [
            "forwardcache_near_requests_total{outcome=\"hit\"} 0\n",
            "forwardcache_near_capacity_bytes 65536\n",
            "forwardcache_store_capacity_bytes 983040\n",
        ] {
            assert!(metrics.contains(line), "{line}{metrics}");
        }
        assert!(status.contains("near hits 0\nnear bytes ") && status.contains(" of 65536\n"), "{status}");
        assert!(!ask(&self::peer(None), "GET", "/metrics", None).1.contains("near"));
    }

    #[test]
    fn who_is_not_known_learns_that_it_lives_and_no_more() {
        let peer = peer(Some("a-token-of-the-pool"));
        for path in ["/healthz", "/readyz"] {
            assert_eq!(ask(&peer, "GET", path, None), (200, "ok\n".to_owned()));
        }
        for path in ["/metrics", "/status"] {
            assert_eq!(ask(&peer, "GET", path, None).0, 407);
            assert_eq!(ask(&peer, "GET", path, Some("another-token-of-it")).0, 407);
            assert_eq!(ask(&peer, "GET", path, Some("a-token-of-the-pool")).0, 200);
        }
        let metrics = ask(&peer, "GET", "/metrics", Some("a-token-of-the-pool")).1;
        assert!(metrics.contains("forwardcache_unauthorized_requests_total 4\n"), "{metrics}");
    }

    #[test]
    fn what_is_stored_is_removed() {
        let peer = peer(None);
        peer.get("http://a.example/").unwrap();
        assert_eq!(ask(&peer, "GET", "/purge?all", None).0, 405);
        assert_eq!(ask(&peer, "PURGE", "/purge", None).0, 400);
        let (status, text) = ask(&peer, "PURGE", "/purge?q=http%3A%2F%2Fa.example%2F", None);
        assert!(status == 200 && text.contains("responses 1 "), "{text}");
        assert_eq!(peer.caching().store().usage().keys, 0);
    }

    #[test]
    fn no_page_of_the_web_reads_it() {
        let peer = peer(None);
        for (name, value, status) in [
            ("sec-fetch-site", "cross-site", 403),
            ("sec-fetch-site", "none", 200),
            ("host", "evil.example:3001", 421),
            ("host", "0.0.0.0:3001", 421),
            ("origin", "http://evil.example", 403),
            ("host", "127.0.0.1:3001", 200),
        ] {
            let request = Request::get("/status").header(name, value).body(Body::empty()).unwrap();
            assert_eq!(peer.admin_handler()(request).status(), status, "{name}: {value}");
        }
    }

    #[test]
    fn what_is_not_there_is_told_apart() {
        let peer = peer(None);
        assert_eq!(ask(&peer, "GET", "/", None).0, 404);
        assert_eq!(ask(&peer, "GET", "/proxy?q=http%3A%2F%2Fa%2F", None).0, 404);
        assert_eq!(ask(&peer, "POST", "/metrics", None).0, 405);
        assert_eq!(ask(&peer, "HEAD", "/healthz", None).0, 200);
        assert_eq!(
            (ask(&peer, "HEAD", "/readyz", None).0, ask(&peer, "POST", "/readyz", None).0),
            (200, 405)
        );
    }
}
