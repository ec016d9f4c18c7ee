//! The address for operators: health, metrics, status, purging.

use std::sync::Arc;

use http::header::{ACCEPT, CONTENT_SECURITY_POLICY, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS};
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode};

use super::member::Peer;
use super::status::{self, Report};
use crate::base::error::{ErrorKind, Result};
use crate::base::memory_limit::Ledger;
use crate::client::PeerHealth;
use crate::message::body::Body;
use crate::message::nonblocking::{Lane, PlainRequest, Step, Wakes};
use crate::message::purge::Purge;
use crate::message::url::{CanonicalUrl, query_value};
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

/// The maximum size of the form of the status page, in bytes.
const MAX_FORM: u64 = 64 << 10;

/// The operation that an operator requests.
#[derive(Clone, Copy, Debug)]
enum AdminAction {
    Health,
    Ready,
    Metrics,
    Status,
    StatusAsJson,
    /// The style sheet of the pages.
    Style,
    /// The page with an explanation.
    Why,
    Purge,
    /// A purge by the form of the status page.
    PurgeByForm,
}

impl AdminAction {
    fn is_purge(self) -> bool {
        matches!(self, Self::Purge | Self::PurgeByForm)
    }
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
    /// | `GET /status` | the pool, the store and the counters: a page for browsers, text for other programs |
    /// | `GET /status.json` | the same as JSON |
    /// | `GET /why?q=<escaped URL>` | a page with the result of [`explain`](Self::explain) |
    /// | `PURGE /purge?q=<escaped URL>` | the result of [`purge`](Self::purge); also with `?prefix=`, `?group=&origin=` and `?all` |
    ///
    /// If the peer has [tokens](crate::peer::PeerBuilder::tokens), every request except the first two requires one. If it has
    /// [operator tokens](crate::peer::PeerBuilder::operator_tokens), a purge requires one of these. A token is accepted in
    /// `Authorization` and in `Proxy-Authorization`, as a bearer token or as a password (`Basic`). No response contains a
    /// credential. Only the status has URLs that clients request, without userinfo and query, and addresses of clients.
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
            "/status.json" => AdminAction::StatusAsJson,
            "/status.css" => AdminAction::Style,
            "/why" => AdminAction::Why,
            "/purge" if *request.method() == Method::POST => AdminAction::PurgeByForm,
            "/purge" => AdminAction::Purge,
            _ => {
                let text = "unknown path: request GET /healthz, /readyz, /metrics, /status, /status.json or /why, \
                            or PURGE /purge";
                return Err(refusal(StatusCode::NOT_FOUND, ErrorKind::BadRequest, text).into());
            }
        };
        let refused = match action {
            AdminAction::Health | AdminAction::Ready => {
                self.inner.proxy.foreign_target_refusal(request.uri())
            }
            _ => self.inner.proxy.admin_refusal(request, action.is_purge()),
        };
        if let Some(refused) = refused {
            return Err(refused.into());
        }
        match action {
            AdminAction::Purge if protocol::is_purge(request.method()) => Ok(action),
            AdminAction::PurgeByForm => Ok(action),
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
            AdminAction::Status if accepts_html(request.headers()) => page(Report::of(self).page()),
            AdminAction::Status => answer(TEXT, Report::of(self).text()),
            AdminAction::StatusAsJson => answer("application/json", Report::of(self).json()),
            AdminAction::Style => answer("text/css; charset=utf-8", status::STYLE.to_owned()),
            AdminAction::Why => self.explanation_page(request.uri().query()),
            AdminAction::Purge => self.inner.proxy.answer_purge(request),
            // Its content is read before `run_admin_form`.
            AdminAction::PurgeByForm => method_not_allowed(ALLOWED_FOR_PURGE),
        }
    }

    /// Runs an action that blocks.
    fn run_blocking(&self, action: AdminAction, request: Request<Body>) -> Response<Body> {
        match action {
            AdminAction::PurgeByForm => self.purge_by_form(request.into_body()),
            action => self.run_admin(action, &request),
        }
    }

    fn explanation_page(&self, query: Option<&str>) -> Response<Body> {
        let url = match query_value(query, protocol::QUERY) {
            Ok(Some(url)) => url,
            Ok(None) => return bad_request("specify ?q= and the escaped URL"),
            Err(reason) => return bad_request(reason),
        };
        match self.explain(&url) {
            Ok(explanation) => {
                let owner = self.client().owner(&url).ok().flatten();
                let elsewhere = owner.filter(|owner| owner != self.self_url()).map(|owner| {
                    format!(
                        "{owner} owns this URL, so ask for it on the page of that peer. This peer would do this:\n\n"
                    )
                });
                page(status::result_page("Why", &format!("{}{explanation}", elsewhere.unwrap_or_default())))
            }
            Err(error) => bad_request(&error.to_string()),
        }
    }

    /// Purges what the form of the status page names.
    fn purge_by_form(&self, content: Body) -> Response<Body> {
        let content = content.into_bytes_limited(MAX_FORM).ok();
        let Some(form) = content.and_then(|bytes| String::from_utf8(bytes.into()).ok()) else {
            return bad_request("the form is incomplete, too large, or not text");
        };
        let value = |name| query_value(Some(&form), name).ok().flatten();
        let (Some(kind), Some(url)) = (value("kind"), value("url")) else {
            return bad_request("the form lacks kind or url");
        };
        let purge = match kind.as_str() {
            "q" => Purge::url(&url),
            "prefix" => Purge::prefix(&url),
            _ => return bad_request("kind is q or prefix"),
        };
        match purge {
            Ok(purge) => page(status::result_page("Purged", &self.purge(&purge).to_string())),
            Err(error) => bad_request(&error.to_string()),
        }
    }

    /// Adds the header fields that keep browsers from running a response. Pages have a policy of their own.
    fn mark(&self, response: Response<Body>) -> Response<Body> {
        let has_policy = response.headers().contains_key(CONTENT_SECURITY_POLICY);
        if has_policy { response } else { self.inner.proxy.mark_admin(response) }
    }

    /// Returns the health of the other peers, as this peer observes it.
    pub(super) fn other_peers(&self) -> Vec<PeerHealth> {
        self.client().health().into_iter().filter(|health| health.url != *self.self_url()).collect()
    }
}

/// Returns a page for browsers.
fn page(html: String) -> Response<Body> {
    let mut response = answer("text/html; charset=utf-8", html);
    let headers = response.headers_mut();
    headers.insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static(status::PAGE_POLICY));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(REFERRER_POLICY, HeaderValue::from_static("same-origin"));
    response
}

fn bad_request(reason: &str) -> Response<Body> {
    refusal(StatusCode::BAD_REQUEST, ErrorKind::BadRequest, reason)
}

/// Returns whether the client is a browser that prefers a page to plain text.
fn accepts_html(headers: &HeaderMap) -> bool {
    let lines = headers.get_all(ACCEPT).into_iter();
    lines.filter_map(|line| line.to_str().ok()).any(|line| line.contains("text/html"))
}

/// The endpoint for operators, for a server whose I/O threads must not block.
struct AdminResponder(Peer);

impl Handler for AdminResponder {
    fn handle(&self, request: Request<Body>) -> Response<Body> {
        self.0.mark(match self.0.admit_admin(&request) {
            Ok(action) => self.0.run_blocking(action, request),
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
            Ok(action @ (AdminAction::Purge | AdminAction::PurgeByForm | AdminAction::Why)) => {
                let lane = if action.is_purge() { Lane::Peers } else { Lane::Own };
                let ledger = Ledger::new(u64::MAX);
                handled(lane, ledger, request, wakes, move |request| {
                    self.0.mark(self.0.run_blocking(action, request))
                })
            }
            Ok(action) => Step::Serve(self.0.mark(self.0.run_admin(action, &request))),
            Err(refused) => Step::Serve(self.0.mark(*refused)),
        }
    }

    fn admit(&self, head: &Request<()>) -> Result<Option<CanonicalUrl>, Box<Response<Body>>> {
        let admitted = self.0.admit_admin(head).map(|_| None);
        admitted.map_err(|refused| self.0.mark(*refused).into())
    }
}

#[cfg(test)]
mod tests;
