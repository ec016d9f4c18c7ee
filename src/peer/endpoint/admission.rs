//! From the head of a request to an action, or to a refusal.

use http::header::{ALLOW, MAX_FORWARDS, VIA};
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode};

use super::action::Action;
use super::forms::FETCH;
use super::proxy::Proxy;
use super::refusal::{
    ALLOWED, ALLOWED_FOR_HEALTH, ALLOWED_FOR_LEAVING, ALLOWED_FOR_WHY, method_not_allowed, refusal,
};
use crate::base::error::{ErrorKind, Result};
use crate::message::body::Body;
use crate::message::header::list;
use crate::message::url::{CanonicalUrl, query_value};
use crate::pool::protocol::{self, Endpoint, Scope};

impl Proxy {
    /// Decides what a request asks for and whether it may. Every request passes this method first. It reads only the
    /// head and never blocks.
    ///
    /// # Errors
    ///
    /// The response that refuses the request.
    pub(crate) fn admit<T>(&self, request: &Request<T>) -> Result<Action, Box<Response<Body>>> {
        if let Some(action) = self.forward_action(request) {
            return action;
        }
        let added = self.added_fields(request.headers());
        self.action(request).map_err(|refused| Box::new(added.apply(*refused)))
    }

    fn action<T>(&self, request: &Request<T>) -> Result<Action, Box<Response<Body>>> {
        // Check the method before the path, because the target of CONNECT has no path.
        if matches!(*request.method(), Method::CONNECT | Method::TRACE) {
            return Err(method_not_allowed(ALLOWED).into());
        }
        if let Some(refused) = self.foreign_target_refusal(request.uri()) {
            return Err(refused.into());
        }
        if let Some(action) = self.health_action(request) {
            return match *request.method() {
                Method::GET | Method::HEAD => Ok(action),
                _ => Err(method_not_allowed(ALLOWED_FOR_HEALTH).into()),
            };
        }
        let Some(endpoint) = self.paths.endpoint(request.uri().path()) else {
            let path = self.paths.of(Endpoint::Proxy);
            let text = format!(
                "unknown path: request {path}?q= followed by the escaped URL, or {FETCH} followed by the URL"
            );
            return Err(refusal(StatusCode::NOT_FOUND, ErrorKind::BadPeer, text).into());
        };
        if let Some((status, reason)) = self.rejected_host(request.uri(), request.headers()) {
            return Err(refusal(status, ErrorKind::Forbidden, reason).into());
        }
        if !self.access.may_read(request.headers()) {
            return Err(self.reject_unauthorized().into());
        }
        if self.forwarding.is_gateway {
            let text = "this is a gateway and not a peer: remove it from the list of peers";
            return Err(refusal(StatusCode::LOOP_DETECTED, ErrorKind::Loop, text).into());
        }
        let require = |method: Method, allowed| {
            if *request.method() == method { Ok(()) } else { Err(Box::new(method_not_allowed(allowed))) }
        };
        let require_operator =
            || self.check_operator(request.headers(), self.own_addresses.are_all_loopback());
        match endpoint {
            Endpoint::Proxy if protocol::is_purge(request.method()) => {
                require_operator()?;
                let is_of_pool = Scope::of(request.headers()) == Some(Scope::Pool) && !self.pool.is_alone();
                Ok(Action::Purge { is_of_pool })
            }
            Endpoint::Proxy if remaining_forwards(request) == Some(0) => Err(last_recipient().into()),
            Endpoint::Proxy => self.target(request).map(Action::Fetch),
            Endpoint::Why => {
                require(Method::GET, ALLOWED_FOR_WHY)?;
                self.target(request).map(Action::Why)
            }
            Endpoint::Leaving => {
                require(Method::POST, ALLOWED_FOR_LEAVING)?;
                // This right is required because a false notice would take another peer out of use.
                require_operator()?;
                Ok(Action::Leaving)
            }
        }
    }

    /// Returns the action of a health or readiness check, which needs no token. If the pool's path equals one of these
    /// paths, the pool's path has precedence.
    fn health_action<T>(&self, request: &Request<T>) -> Option<Action> {
        match request.uri().path() {
            path if path == self.paths.of(Endpoint::Proxy) => None,
            protocol::HEALTH_PATH => Some(Action::Health),
            protocol::READY_PATH => Some(Action::Ready),
            _ => None,
        }
    }

    /// Returns the requested URL, or the refusal if this peer must not fetch it.
    fn target<T>(&self, request: &Request<T>) -> Result<CanonicalUrl, Box<Response<Body>>> {
        let target = target(request.uri().query())
            .map_err(|reason| refusal(StatusCode::BAD_REQUEST, ErrorKind::BadUrl, reason))?;
        self.check_target(request.headers(), &target)?;
        Ok(target)
    }

    /// Checks that this peer may fetch the URL.
    ///
    /// # Errors
    ///
    /// The response that refuses the request.
    pub(super) fn check_target(
        &self,
        headers: &HeaderMap,
        target: &CanonicalUrl,
    ) -> Result<(), Box<Response<Body>>> {
        if self.is_loop(headers, target) {
            let reason = "the URL leads back to this pool";
            return Err(refusal(StatusCode::LOOP_DETECTED, ErrorKind::Loop, reason).into());
        }
        // Stored responses are checked too: they may be older than the rules, or another process may have stored them.
        let allowed = self.access.origins().may_ask(target);
        Ok(allowed.map_err(|refused| refusal(StatusCode::FORBIDDEN, ErrorKind::Forbidden, refused))?)
    }

    /// Returns whether the request has passed this peer before, or the URL leads to a peer of the pool.
    fn is_loop(&self, headers: &HeaderMap, target: &CanonicalUrl) -> bool {
        let has_passed_here = list::members_of(headers, &VIA).any(|member| {
            let received_by = member.split(u8::is_ascii_whitespace).nth(1);
            received_by == Some(self.cache.pseudonym().as_bytes())
        });
        has_passed_here
            || self.own_addresses.has_url(target, self.pool.own_url())
            || self.pool.is_peer(target)
    }
}

/// Returns the `Max-Forwards` of an OPTIONS request (RFC 9110 section 7.6.2). At zero, this peer is the last recipient.
pub(super) fn remaining_forwards<T>(request: &Request<T>) -> Option<u64> {
    if *request.method() != Method::OPTIONS {
        return None;
    }
    request.headers().get(MAX_FORWARDS)?.to_str().ok()?.trim().parse().ok()
}

pub(super) fn last_recipient() -> Response<Body> {
    let mut response = Response::new(Body::empty());
    response.headers_mut().insert(ALLOW, HeaderValue::from_static(ALLOWED));
    response
}

/// Returns the URL of a query, or one line that states the error.
fn target(query: Option<&str>) -> Result<CanonicalUrl, String> {
    // More than one parameter usually means that the URL is not escaped. The part after its first & would be lost.
    if query.is_some_and(|query| query.split('&').filter(|pair| !pair.is_empty()).count() > 1) {
        return Err("the query has parameters other than q: the URL in q must be escaped".to_owned());
    }
    let url = query_value(query, protocol::QUERY)?;
    let url = url.ok_or("the query has no q: request ?q= followed by the escaped URL")?;
    if url.is_empty() {
        return Err("q is empty: specify the escaped URL".to_owned());
    }
    CanonicalUrl::parse(&url).map_err(|invalid| format!("cannot fetch the URL in q: {invalid}"))
}
