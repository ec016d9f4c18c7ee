//! [`Proxy`]: runs the action of an admitted request.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use http::header::{HOST, MAX_FORWARDS, X_CONTENT_TYPE_OPTIONS};
use http::{HeaderMap, HeaderValue, Method, Request, Response};
use parking_lot::Mutex;

use super::access::{AccessRules, is_caused_by_web_page};
use super::action::{Action, Next};
use super::forms::links::{View, is_browser};
use super::forms::{self, Form, Forwarding};
use super::forward_access::Role;
use super::own_addresses::OwnAddresses;
use super::page_safety::AddedFields;
use super::pool_view::PoolView;
use super::refusal::failure;
use super::response::{ResponseContext, log_failure};
use crate::cache::HttpCache;
use crate::message::body::Body;
use crate::message::header::hop_by_hop;
use crate::message::nonblocking::{Lane, PlainField, PlainRequest, Step, Wakes};
use crate::message::url::{CanonicalUrl, unescape};
use crate::origin::access::UrlParts;
use crate::pool::protocol::{self, Hop, Paths, PoolDigest, TEXT, answer};
use crate::scheduler::Servers;
use crate::server::{Scratch, Sender};
use crate::store::StoredResponse;

/// The endpoint of a peer. At `/proxy`, it serves every URL from its own cache, whether this peer owns the URL or not, and
/// never forwards a request to another peer. If peers disagree about the owner of a URL, the result is a cache miss, not
/// a loop. Requests in other forms go to the owner of the URL.
#[derive(Debug)]
pub(crate) struct Proxy {
    pub(super) paths: Paths,
    /// The start of a request target whose only parameter is `q`.
    plain_prefix: String,
    pub(super) cache: HttpCache,
    pub(super) own_addresses: Arc<OwnAddresses>,
    pub(super) pool: Box<dyn PoolView>,
    pub(super) access: AccessRules,
    pub(super) forwarding: Forwarding,
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
            forwarding: Forwarding::default(),
            pool_purge: Mutex::new(()),
            servers: Servers::default(),
            is_leaving: AtomicBool::new(false),
        }
    }

    /// Sets the servers of this peer, for readiness checks. Default: none.
    pub(crate) fn with_servers(self, servers: Servers) -> Self {
        Self { servers, ..self }
    }

    /// Sets the options of the forms for programs that do not know the pool. Default: no mirrors.
    pub(crate) fn with_forwarding(self, forwarding: Forwarding) -> Self {
        Self { forwarding, ..self }
    }

    /// Returns the access rules.
    pub(crate) fn access(&self) -> &AccessRules {
        &self.access
    }

    /// Returns the stored response for a plain request, if the response can be served unchanged. Never blocks. Writes
    /// the URL, additional header field lines and the beginning of a body on disk to `scratch`.
    pub(crate) fn hit(
        &self,
        request: &PlainRequest<'_>,
        sender: &Sender,
        scratch: &mut Scratch,
    ) -> Option<Arc<StoredResponse>> {
        // The full path handles these cases: it adds the header field for leaving, or refuses the request.
        if self.is_leaving() || self.may_be_loop(request) {
            return None;
        }
        let Some(value) = request.target.strip_prefix(&self.plain_prefix) else {
            return self.forwarded_hit(request, sender, scratch);
        };
        let Scratch { url, lines, body } = scratch;
        if value.contains('&')
            || !self.access.may_read(request)
            || (self.access.is_open()
                && (self.access.is_from_web_page(request) || !self.is_own_host(request)))
        {
            return None;
        }
        unescape(value, url).ok()?;
        let url = self.allowed_key(url)?;
        let hop = match request.field(protocol::HOP.as_str()) {
            PlainField::Absent => None,
            PlainField::Once(field) => Some(Hop::parse(field)),
            PlainField::Repeated => return None,
        };
        // A URL that leads back to the pool is never fetched, so it is never stored and needs no check here.
        let accepts = |stored: &StoredResponse| hop.is_some() || !stored.is_host_bound(false);
        let stored = self.cache.hit(url, request, hop, accepts, lines, body)?;
        let added = match hop {
            Some(_) => AddedFields::Peer,
            None if self.access.is_open() => AddedFields::Guard,
            None => AddedFields::None,
        };
        added.write(lines);
        if let Some(own) = self.ring_mismatch(hop.unwrap_or_default()) {
            protocol::write_members(lines, own);
        }
        Some(stored)
    }

    /// Like [`hit`](Self::hit), for the forms of programs that do not know the pool.
    fn forwarded_hit(
        &self,
        request: &PlainRequest<'_>,
        sender: &Sender,
        scratch: &mut Scratch,
    ) -> Option<Arc<StoredResponse>> {
        let Scratch { url, lines, body } = scratch;
        let is_absolute = forms::plain_url(request.target, &self.forwarding.mirrors, url)?;
        if self.forwarding.is_gateway || (is_absolute && !sender.is_http_proxy) {
            return None;
        }
        let (role, added) = if is_absolute {
            (Role::Proxy, AddedFields::None)
        } else {
            (Role::Origin, self.page_added_fields())
        };
        self.access.may_forward(role, request, Some(sender)).ok()?;
        let is_open = self.access.is_open();
        if !is_absolute && (is_caused_by_web_page(request) || (is_open && !self.is_own_host(request))) {
            return None;
        }
        let url = self.allowed_key(url)?;
        if !self.pool.is_own(url) || request.field(protocol::HOP.as_str()) != PlainField::Absent {
            return None;
        }
        let accepts = |stored: &StoredResponse| is_absolute || !stored.is_host_bound(true);
        let stored = self.cache.hit(url, request, None, accepts, lines, body)?;
        added.write(lines);
        Some(stored)
    }

    /// Returns whether `Via` may contain this peer.
    fn may_be_loop(&self, request: &PlainRequest<'_>) -> bool {
        let name = self.cache.pseudonym().as_bytes();
        match request.field("via") {
            PlainField::Absent => false,
            PlainField::Once(value) => value.windows(name.len().max(1)).any(|part| part == name),
            PlainField::Repeated => true,
        }
    }

    /// Returns the bytes as the key of a stored response that may be served.
    fn allowed_key<'a>(&self, url: &'a [u8]) -> Option<&'a str> {
        let url = std::str::from_utf8(url).ok()?;
        // A URL that is not in canonical form is not a key of the store, so these rules check the same URL as the lookup.
        self.access.allows(&UrlParts::of_canonical(url)?).then_some(url)
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
        let added = self.added_fields(request.headers());
        let lane = match action {
            Action::Forward(forwarded) => return self.forward_step(forwarded, request, wakes),
            Action::Health => return Next::Step(Step::Serve(added.apply(self.health()))),
            Action::Ready => return Next::Step(Step::Serve(added.apply(self.readiness()))),
            Action::Fetch(target)
                if matches!(*request.method(), Method::GET | Method::HEAD) && request.body().is_empty() =>
            {
                let mut request = request.map(drop);
                self.access.remove_own_token(request.headers_mut());
                let view = self.view(request.headers());
                let (request, context) = self.origin_request(request, &target, view);
                let requested = target.clone();
                let step = self.cache.step(target, request, wakes);
                return Next::Step(step.map(move |result| added.apply(context.finish(result, &requested))));
            }
            Action::Fetch(ref target) | Action::Tunnel(ref target) => Lane::Origin(target.origin()),
            Action::Purge { is_of_pool: true } => Lane::Peers,
            Action::Purge { .. } | Action::Why(_) | Action::Leaving => Lane::Own,
        };
        Next::Work(lane, action, request, None)
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
        let added = self.added_fields(request.headers());
        let response = match action {
            Action::Health => self.health(),
            Action::Ready => self.readiness(),
            Action::Fetch(target) => self.fetch(&target, request),
            Action::Forward(forwarded) => {
                return self.forward_added_fields(&forwarded).apply(self.forward(&forwarded, request));
            }
            Action::Tunnel(target) => return self.open_tunnel(&target),
            Action::Purge { .. } => self.answer_purge(&request),
            Action::Why(target) => self.explain(&target, request),
            Action::Leaving => self.answer_leaving(&request),
        };
        added.apply(response)
    }

    /// Applies the method of the request to the URL, through the cache.
    fn fetch(&self, target: &CanonicalUrl, mut request: Request<Body>) -> Response<Body> {
        count_down_forwards(&mut request);
        self.access.remove_own_token(request.headers_mut());
        let view = self.view(request.headers());
        let method = request.method().clone();
        let (request, context) = self.origin_request(request, target, view);
        let result = self.cache.round_trip_to(target.clone(), request);
        if let Ok(response) = &result
            && !method.is_safe()
        {
            self.pool.forget_after(&method, target, response.status(), response.headers());
        }
        context.finish(result, target)
    }

    /// Returns how a program that requests `/proxy?q=` sees the response.
    fn view(&self, headers: &HeaderMap) -> View {
        let form = if protocol::is_over_hop(headers) { Form::Pool } else { Form::Query };
        let mirrors = self.forwarding.mirrors.clone();
        View {
            form,
            mirrors,
            pass_cookies: self.access.pass_cookies,
            is_browser: is_browser(headers),
            has_credentials: false,
        }
    }

    /// Turns the request to this peer into one to the origin. Returns it with the context of the response.
    pub(super) fn origin_request<T>(
        &self,
        request: Request<T>,
        target: &CanonicalUrl,
        view: View,
    ) -> (Request<T>, ResponseContext) {
        let mut request = origin_request(request, target);
        view.rewrite_interim(&mut request, target);
        let ring_mismatch = self.ring_mismatch(Hop::of(request.headers()));
        let is_leaving = self.is_leaving();
        (request, ResponseContext { view, ring_mismatch, is_leaving })
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

/// Lowers the `Max-Forwards` of an OPTIONS request (RFC 9110 section 7.6.2).
pub(super) fn count_down_forwards(request: &mut Request<Body>) {
    if let Some(remaining) = super::admission::remaining_forwards(request) {
        request.headers_mut().insert(MAX_FORWARDS, HeaderValue::from(remaining.saturating_sub(1)));
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

#[cfg(test)]
mod tests;
