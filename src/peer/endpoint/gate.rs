//! Refuses requests by their head: requests for another server, requests of web pages, and requests without the
//! required right.

use http::header::{AUTHORIZATION, HOST, PROXY_AUTHENTICATE, PROXY_AUTHORIZATION, WWW_AUTHENTICATE};
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response, StatusCode, Uri};

use super::access::{Credential, Fields};
use super::forward_access::{Denial, Permission, Role};
use super::page_safety::{AddedFields, is_cross_origin};
use super::proxy::Proxy;
use super::refusal::{refusal, unauthorized};
use crate::base::error::ErrorKind;
use crate::message::body::Body;
use crate::message::nonblocking::PlainField;
use crate::pool::protocol;
use crate::server::Sender;

/// The refusal of a request target in absolute form that names another server.
const FOREIGN_TARGET: (StatusCode, &str) = (
    StatusCode::MISDIRECTED_REQUEST,
    "the request target names another server, and this is not a forward proxy: request /proxy?q= and the escaped URL, or serve with --http-proxy",
);

/// The refusal of a `Host` that does not name this peer, which may come from a page whose name leads to this address.
const FOREIGN_HOST: (StatusCode, &str) = (
    StatusCode::MISDIRECTED_REQUEST,
    "this peer requires no token, so Host must be a loopback address, localhost or the authority of this peer",
);

/// The header fields of a request to the admin address. A program that knows nothing of pools, such as Prometheus or a
/// browser, sends its credentials in `Authorization`.
struct OperatorFields<'a>(&'a HeaderMap);

impl Fields for OperatorFields<'_> {
    fn look_up(&self, name: &HeaderName) -> PlainField<'_> {
        let is_elsewhere = *name == PROXY_AUTHORIZATION && !self.0.contains_key(name);
        self.0.look_up(if is_elsewhere { &AUTHORIZATION } else { name })
    }
}

impl Proxy {
    /// Returns the status and the reason if the request is meant for another server or comes from a web page. The
    /// authority of a target in absolute form replaces `Host` (RFC 9112 section 3.2.2).
    pub(super) fn rejected_host(
        &self,
        target: &Uri,
        fields: &impl Fields,
    ) -> Option<(StatusCode, &'static str)> {
        if self.is_foreign(target) {
            return Some(FOREIGN_TARGET);
        }
        // Only a peer without tokens considers a request to be of a web page.
        if self.access.is_from_web_page(fields) {
            let text = "this peer requires no token, so it refuses requests of web pages";
            return Some((StatusCode::FORBIDDEN, text));
        }
        self.rejected_host_field(target, fields)
    }

    /// Returns the status and the reason if the request is meant for another server.
    pub(super) fn rejected_authority(
        &self,
        target: &Uri,
        fields: &impl Fields,
    ) -> Option<(StatusCode, &'static str)> {
        if self.is_foreign(target) { Some(FOREIGN_TARGET) } else { self.rejected_host_field(target, fields) }
    }

    /// Returns the status and the reason if this peer has no tokens and `Host` decides where the request is meant for, but names
    /// another server.
    fn rejected_host_field(&self, target: &Uri, fields: &impl Fields) -> Option<(StatusCode, &'static str)> {
        let is_decided_by_host = self.access.is_open() && target.authority().is_none();
        (is_decided_by_host && !self.is_own_host(fields)).then_some(FOREIGN_HOST)
    }

    /// Returns whether `Host` names this peer or is absent.
    pub(super) fn is_own_host(&self, fields: &impl Fields) -> bool {
        let own = self.pool.own_url();
        match fields.look_up(&HOST) {
            PlainField::Absent => true,
            PlainField::Once(host) => self.own_addresses.has_authority(host, own.default_port(), own),
            PlainField::Repeated => false,
        }
    }

    /// Returns whether a request target in absolute form names an authority other than that of this peer.
    fn is_foreign(&self, target: &Uri) -> bool {
        let Some(authority) = target.authority() else { return false };
        let default_port = match target.scheme_str() {
            Some("http") => 80,
            Some("https") => 443,
            _ => return true,
        };
        !self.own_addresses.has_authority(authority.as_str().as_bytes(), default_port, self.pool.own_url())
    }

    /// Returns the refusal if a request target in absolute form names another server.
    pub(crate) fn foreign_target_refusal(&self, target: &Uri) -> Option<Response<Body>> {
        let (status, reason) = FOREIGN_TARGET;
        self.is_foreign(target).then(|| refusal(status, ErrorKind::Forbidden, reason))
    }

    /// Returns the refusal if a request to the admin address lacks a right. Reads only the head, and never blocks.
    pub(crate) fn admin_refusal<T>(&self, request: &Request<T>, is_purge: bool) -> Option<Response<Body>> {
        let (target, fields) = (request.uri(), OperatorFields(request.headers()));
        let reason = if self.is_foreign(target) {
            Some(FOREIGN_TARGET)
        } else if (is_purge || self.access.is_open()) && is_cross_origin(request.headers()) {
            // A browser adds the credentials that its user has entered, whatever page causes the request.
            Some((StatusCode::FORBIDDEN, "this peer refuses requests of web pages other than its own"))
        } else {
            self.rejected_host_field(target, request.headers())
        };
        if let Some((status, reason)) = reason {
            return Some(refusal(status, ErrorKind::Forbidden, reason));
        }
        let refused = if is_purge {
            let is_loopback = self.own_addresses.are_admin_all_loopback();
            self.check_operator(&fields, is_loopback).err().map(|refused| *refused)
        } else {
            (!self.access.may_read(&fields)).then(|| self.reject_unauthorized())
        };
        refused.map(|response| {
            let is_challenge = response.status() == StatusCode::PROXY_AUTHENTICATION_REQUIRED;
            if is_challenge { challenge(Role::Origin) } else { response }
        })
    }

    /// Adds header fields to a response of the admin address that keep browsers from running it.
    pub(crate) fn mark_admin(&self, response: Response<Body>) -> Response<Body> {
        if self.access.is_open() { AddedFields::Guard.apply(response) } else { response }
    }

    /// Checks that a client may use the forms of this role.
    ///
    /// # Errors
    ///
    /// The response that refuses the request.
    pub(super) fn check_forwarding(
        &self,
        role: Role,
        fields: &impl Fields,
        sender: Option<&Sender>,
    ) -> Result<Permission, Box<Response<Body>>> {
        self.access.may_forward(role, fields, sender).map_err(|denial| {
            Box::new(match denial {
                Denial::NoToken => {
                    self.cache.stats().count_unauthorized();
                    challenge(role)
                }
                Denial::NotLocal => {
                    let text = "this peer requires no token, so only programs on its machine may use it as a proxy: \
                        give the peer a token";
                    refusal(StatusCode::FORBIDDEN, ErrorKind::Forbidden, text)
                }
            })
        })
    }

    /// Counts a request without a valid token and returns the refusal.
    pub(super) fn reject_unauthorized(&self) -> Response<Body> {
        self.cache.stats().count_unauthorized();
        unauthorized()
    }

    /// Checks the right to purge and to announce that a peer leaves. `is_loopback` states whether only clients on this
    /// machine reach the address of the request.
    ///
    /// # Errors
    ///
    /// The response that refuses the request.
    pub(super) fn check_operator(
        &self,
        headers: &impl Fields,
        is_loopback: bool,
    ) -> Result<(), Box<Response<Body>>> {
        let reason = match self.access.operator_credential(headers) {
            Credential::Sufficient => return Ok(()),
            Credential::NotNeeded if is_loopback || self.access.purge_by_anyone() => return Ok(()),
            Credential::Unknown => return Err(self.reject_unauthorized().into()),
            Credential::Insufficient => {
                "this token is only for reading: purging and leaving require an operator token"
            }
            Credential::NotNeeded => {
                "purging is not allowed from other machines: give this peer a token, or allow everyone to purge"
            }
        };
        Err(refusal(StatusCode::FORBIDDEN, ErrorKind::Forbidden, reason).into())
    }

    /// Returns the header fields that are added to the response to a request with these header fields.
    pub(super) fn added_fields(&self, headers: &HeaderMap) -> AddedFields {
        match (protocol::is_over_hop(headers), self.access.is_open()) {
            (true, _) => AddedFields::Peer,
            (false, true) => AddedFields::Guard,
            (false, false) => AddedFields::None,
        }
    }
}

/// Returns the refusal of a request without a valid token. Most programs that use these forms support only `Basic`.
fn challenge(role: Role) -> Response<Body> {
    let (status, field, text) = match role {
        Role::Proxy => (
            StatusCode::PROXY_AUTHENTICATION_REQUIRED,
            PROXY_AUTHENTICATE,
            "this peer requires a token as the password of the proxy",
        ),
        Role::Origin => (
            StatusCode::UNAUTHORIZED,
            WWW_AUTHENTICATE,
            "this peer requires a token: as a password, or as a bearer token",
        ),
    };
    let mut response = refusal(status, ErrorKind::Unauthorized, text);
    response.headers_mut().insert(field, HeaderValue::from_static("Basic realm=\"forwardcache\""));
    response
}
