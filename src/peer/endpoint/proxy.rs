//! [`Proxy`]: runs the action of an admitted request.

use std::io::{self, Read};
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use http::header::{CACHE_CONTROL, HOST, MAX_FORWARDS, X_CONTENT_TYPE_OPTIONS};
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode};
use parking_lot::Mutex;

use super::access::AccessRules;
use super::action::{Action, Next};
use super::host_bound::rewrite_interim_for_other_host;
use super::own_addresses::OwnAddresses;
use super::page_safety::write_guard;
use super::pool_view::PoolView;
use super::refusal::failure;
use super::response::{ResponseContext, log_failure};
use crate::base::error::{Error, ErrorKind};
use crate::cache::HttpCache;
use crate::message::body::Body;
use crate::message::header::hop_by_hop;
use crate::message::nonblocking::{Lane, PlainField, PlainRequest, Step, Wakes};
use crate::message::url::{CanonicalUrl, unescape};
use crate::origin::access::Asked;
use crate::pool::protocol::{self, Hop, Paths, PoolDigest, TEXT, answer};
use crate::scheduler::{ClientAddress, Servers, Share, Shares};
use crate::store::StoredResponse;

/// The endpoint of a peer. It serves every URL from its own cache, whether this peer owns the URL or not, and never
/// forwards a request to another peer. If peers disagree about the owner of a URL, the result is a cache miss, not a
/// loop.
#[derive(Debug)]
pub(crate) struct Proxy {
    pub(super) paths: Paths,
    /// The start of a request target whose only parameter is `q`.
    plain_prefix: String,
    pub(super) cache: HttpCache,
    pub(super) own_addresses: Arc<OwnAddresses>,
    pub(super) pool: Box<dyn PoolView>,
    pub(super) access: AccessRules,
    /// Held during a purge of the pool on servers that allow only one at a time.
    pub(super) pool_purge: Mutex<()>,
    pub(super) servers: Servers,
    /// Whether this peer is leaving.
    pub(super) is_leaving: AtomicBool,
}

impl Proxy {
    pub(crate) fn new(
        path: String,
        cache: HttpCache,
        own_addresses: Arc<OwnAddresses>,
        pool: Box<dyn PoolView>,
        access: AccessRules,
    ) -> Self {
        let plain_prefix = format!("{path}?{}=", protocol::QUERY);
        Self {
            paths: Paths::under(path),
            plain_prefix,
            cache,
            own_addresses,
            pool,
            access,
            pool_purge: Mutex::new(()),
            servers: Servers::default(),
            is_leaving: AtomicBool::new(false),
        }
    }

    /// Sets the servers of this peer, for readiness checks. Default: none.
    pub(crate) fn with_servers(self, servers: Servers) -> Self {
        Self { servers, ..self }
    }

    /// Returns the access rules.
    pub(crate) fn access(&self) -> &AccessRules {
        &self.access
    }

    /// Returns the stored response for a plain request, if the response can be served unchanged. Never blocks. Writes
    /// the URL to `url` and additional header field lines to `lines`.
    pub(crate) fn hit(
        &self,
        request: &PlainRequest<'_>,
        url: &mut Vec<u8>,
        lines: &mut String,
    ) -> Option<Arc<StoredResponse>> {
        let value = request.target.strip_prefix(&self.plain_prefix)?;
        // The full path handles these cases: it adds the header field for leaving, or refuses the request.
        if self.is_leaving()
            || value.contains('&')
            || !self.access.may_read(request)
            || (self.access.is_open()
                && (self.access.is_from_web_page(request) || !self.is_own_host(request)))
        {
            return None;
        }
        unescape(value, url).ok()?;
        let url = std::str::from_utf8(url).ok()?;
        // A URL that is not in canonical form is not a key of the store, so these rules check the same URL as the lookup.
        if !self.access.allows(&Asked::of_canonical(url)?) {
            return None;
        }
        let hop = match request.field(protocol::HOP.as_str()) {
            PlainField::Absent => None,
            PlainField::Once(field) => Some(Hop::parse(field)),
            PlainField::Repeated => return None,
        };
        // A URL that leads back to the pool is never fetched, so it is never stored and needs no check here.
        let stored = self.cache.hit(url, request, hop, lines)?;
        if hop.is_some() {
            protocol::write_peer(lines);
        } else if self.access.is_open() {
            write_guard(lines);
        }
        if let Some(own) = self.ring_mismatch(hop.unwrap_or_default()) {
            protocol::write_members(lines, own);
        }
        Some(stored)
    }

    /// Returns the digest of this peer's pool and counts a ring mismatch, if the client knows a different pool.
    pub(super) fn ring_mismatch(&self, hop: Hop) -> Option<PoolDigest> {
        let members_of_client = hop.members?;
        let own = self.pool.digest();
        (own != members_of_client).then(|| {
            self.cache.stats().count_ring_mismatch();
            own
        })
    }

    /// Returns whether an admitted request comes from a peer of the pool: it has the header field of a hop, shows a
    /// credential, and comes from the address of a member. Never blocks.
    pub(crate) fn is_from_peer(&self, headers: &HeaderMap, remote: IpAddr, shows_certificate: bool) -> bool {
        headers.contains_key(&protocol::HOP)
            && (shows_certificate || !self.access.is_open())
            && self.pool.has_address(remote)
    }

    /// Returns the next step of an admitted request. Never blocks.
    pub(crate) fn step(&self, action: Action, request: Request<Body>, wakes: Wakes<'_>) -> Next {
        let mark = self.mark_for(request.headers());
        let lane = match action {
            Action::Health => return Next::Step(Step::Serve(mark.apply(self.health()))),
            Action::Ready => return Next::Step(Step::Serve(mark.apply(self.readiness()))),
            Action::Fetch(target)
                if matches!(*request.method(), Method::GET | Method::HEAD) && request.body().is_empty() =>
            {
                let (request, context) = self.origin_request(request.map(drop), &target);
                let requested = target.clone();
                let step = self.cache.step(target, request, wakes);
                return Next::Step(step.map(move |result| mark.apply(context.finish(result, &requested))));
            }
            Action::Fetch(ref target) => Lane::Origin(target.origin()),
            Action::Purge { is_of_pool: true } => Lane::Peers,
            Action::Purge { .. } | Action::Why(_) | Action::Leaving => Lane::Own,
        };
        Next::Work(lane, action, request)
    }

    /// Handles one request. Every failure becomes a response.
    pub(crate) fn handle(&self, request: Request<Body>) -> Response<Body> {
        match self.admit(&request) {
            Ok(action) => self.run(action, request),
            Err(refused) => *refused,
        }
    }

    /// Runs the action of an admitted request, and blocks until the response is there.
    pub(crate) fn run(&self, action: Action, request: Request<Body>) -> Response<Body> {
        let mark = self.mark_for(request.headers());
        let response = match action {
            Action::Health => self.health(),
            Action::Ready => self.readiness(),
            Action::Fetch(target) => self.fetch(&target, request),
            Action::Purge { .. } => self.answer_purge(&request),
            Action::Why(target) => self.explain(&target, request),
            Action::Leaving => self.answer_leaving(&request),
        };
        mark.apply(response)
    }

    /// Like [`handle`](Self::handle), for a server whose few threads handle all kinds of requests. It limits how many
    /// threads wait for other peers, for one origin, or for one client, so that some threads stay free.
    pub(crate) fn handle_with_shares(
        &self,
        request: Request<Body>,
        shares: Option<&Shares>,
        client: impl FnOnce() -> Option<ClientAddress>,
    ) -> Response<Body> {
        let action = match self.admit(&request) {
            Ok(action) => action,
            Err(refused) => return *refused,
        };
        let mark = self.mark_for(request.headers());
        let response = match (action, shares) {
            (Action::Purge { is_of_pool: true }, _) => self.answer_exclusive_purge(&request),
            (Action::Fetch(target), Some(shares)) => {
                match shares.try_enter(target.origin(), client()) {
                    None => self.answer_from_store(&target, request),
                    Some(share) => {
                        let response = self.fetch(&target, request);
                        if response.body().as_bytes().is_some() {
                            response
                        } else {
                            // A thread reads from the origin until the end of the body, so the body holds the share.
                            response.map(|body| body.map_reader(|body| BodyWithShare { body, _share: share }))
                        }
                    }
                }
            }
            (action, _) => return self.run(action, request),
        };
        mark.apply(response)
    }

    /// Serves a stored response, stale or not, without a request to the origin.
    fn answer_from_store(&self, target: &CanonicalUrl, mut request: Request<Body>) -> Response<Body> {
        if matches!(*request.method(), Method::GET | Method::HEAD) {
            let only_stored = HeaderValue::from_static("only-if-cached, max-stale");
            request.headers_mut().insert(CACHE_CONTROL, only_stored);
            let response = self.fetch(target, request);
            if response.status() != StatusCode::GATEWAY_TIMEOUT {
                return response;
            }
        }
        let text = "too many requests wait for this origin or come from this client";
        failure(&Error::new(ErrorKind::Unavailable, text).with_retry_after(Duration::from_secs(1)))
    }

    /// Applies the method of the request to the URL, through the cache.
    fn fetch(&self, target: &CanonicalUrl, mut request: Request<Body>) -> Response<Body> {
        if let Some(remaining) = super::admission::remaining_forwards(&request) {
            request.headers_mut().insert(MAX_FORWARDS, HeaderValue::from(remaining.saturating_sub(1)));
        }
        let (request, context) = self.origin_request(request, target);
        context.finish(self.cache.round_trip_to(target.clone(), request), target)
    }

    /// Turns the request to this peer into one to the origin. Returns it with the context of the response.
    fn origin_request<T>(&self, request: Request<T>, target: &CanonicalUrl) -> (Request<T>, ResponseContext) {
        let mut request = origin_request(request, target);
        let is_over_hop = protocol::is_over_hop(request.headers());
        if !is_over_hop {
            rewrite_interim_for_other_host(&mut request, target);
        }
        let ring_mismatch = self.ring_mismatch(Hop::of(request.headers()));
        let (pass_cookies, is_leaving) = (self.access.pass_cookies, self.is_leaving());
        (request, ResponseContext { is_over_hop, pass_cookies, ring_mismatch, is_leaving })
    }

    /// Explains what the request would result in.
    fn explain(&self, target: &CanonicalUrl, request: Request<Body>) -> Response<Body> {
        match self.cache.explain(&origin_request(request, target).map(drop)) {
            Ok(explanation) => {
                let mut response = answer(TEXT, explanation.to_string());
                // The text contains header fields of origins, which a browser must not interpret.
                response.headers_mut().insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
                response
            }
            Err(error) => {
                log_failure(&error, target);
                failure(&error)
            }
        }
    }
}

/// Turns the request to this peer into one to the origin of the URL.
fn origin_request<T>(request: Request<T>, target: &CanonicalUrl) -> Request<T> {
    let (mut parts, body) = request.into_parts();
    hop_by_hop::remove(&mut parts.headers);
    parts.headers.remove(HOST);
    parts.uri = target.uri();
    Request::from_parts(parts, body)
}

/// A body that holds a share of the threads until it is dropped.
struct BodyWithShare {
    body: Body,
    _share: Share,
}

impl Read for BodyWithShare {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.body.read(buffer)
    }
}

#[cfg(test)]
mod tests;
