//! Which requests a peer refuses by their head: those that were meant for another server or come from a web page, and
//! those that lack a right.

use http::header::HOST;
use http::{HeaderMap, Request, Response, StatusCode, Uri};

use super::allowed::{Credential, Fields};
use super::page_safety::Mark;
use super::proxy::Proxy;
use super::refusal::refusal;
use crate::base::error::ErrorKind;
use crate::message::body::Body;
use crate::message::nonblocking::PlainField;
use crate::pool::protocol;

/// What is said where a request target in absolute form names another authority than this peer's own.
const FOREIGN: (StatusCode, &str) = (
    StatusCode::MISDIRECTED_REQUEST,
    "the authority of the request target is not that of this peer, which is no forward proxy",
);

impl Proxy {
    /// Why a request was not meant for this peer. The authority of a target in absolute form stands in place of `Host`
    /// (RFC 9112 section 3.2.2).
    pub(super) fn misled(&self, target: &Uri, fields: &impl Fields) -> Option<(StatusCode, &'static str)> {
        if self.is_foreign(target) {
            return Some(FOREIGN);
        }
        if !self.allowed.is_open() {
            return None;
        }
        if self.allowed.is_by_a_page(fields) {
            let text = "this peer has no token, and so answers no page of the web";
            return Some((StatusCode::FORBIDDEN, text));
        }
        if target.authority().is_some() {
            return None;
        }
        let text = "this peer has no token, and so accepts as Host only loopback addresses, localhost and its own authority";
        (!self.is_its_host(fields)).then_some((StatusCode::MISDIRECTED_REQUEST, text))
    }

    /// Whether `Host` names this peer, or is not there.
    pub(super) fn is_its_host(&self, fields: &impl Fields) -> bool {
        let own = self.pool.own_url();
        match fields.look_up(&HOST) {
            PlainField::Absent => true,
            PlainField::Once(host) => self.own_addresses.has_authority(host, own.default_port(), own),
            PlainField::Repeated => false,
        }
    }

    /// Whether a request target in absolute form names another authority than this peer's own.
    fn is_foreign(&self, target: &Uri) -> bool {
        let Some(authority) = target.authority() else { return false };
        let default_port = match target.scheme_str() {
            Some("http") => 80,
            Some("https") => 443,
            _ => return true,
        };
        !self.own_addresses.has_authority(authority.as_str().as_bytes(), default_port, self.pool.own_url())
    }

    /// What is said where a request target in absolute form names another authority.
    pub(crate) fn refuses_foreign(&self, target: &Uri) -> Option<Response<Body>> {
        self.is_foreign(target).then(|| refusal(FOREIGN.0, ErrorKind::Forbidden, FOREIGN.1))
    }

    /// Why a request for the admin side is not answered, with what is said instead. Looks at the head only, and never
    /// waits.
    pub(crate) fn refuses_admin<T>(&self, request: &Request<T>, is_purge: bool) -> Option<Response<Body>> {
        if let Some((status, reason)) = self.misled(request.uri(), request.headers()) {
            return Some(refusal(status, ErrorKind::Forbidden, reason));
        }
        if is_purge {
            let is_of_this_machine = self.own_addresses.is_admin_of_this_machine();
            return self.may_operate(request.headers(), is_of_this_machine).err().map(|refused| *refused);
        }
        (!self.allowed.may_read(request.headers())).then(|| self.turn_away())
    }

    /// A response of the admin side.
    pub(crate) fn of_admin(&self, response: Response<Body>) -> Response<Body> {
        if self.allowed.is_open() { Mark::Guard.on(response) } else { response }
    }

    /// Whether a request may change what is stored, or who is asked.
    ///
    /// # Errors
    ///
    /// What is said instead of doing so.
    pub(super) fn may_operate(
        &self,
        headers: &HeaderMap,
        is_of_this_machine: bool,
    ) -> Result<(), Box<Response<Body>>> {
        let reason = match self.allowed.operates(headers) {
            Credential::Sufficient => return Ok(()),
            Credential::NotNeeded if is_of_this_machine || self.allowed.purge_by_anyone() => return Ok(()),
            Credential::Unknown => return Err(self.turn_away().into()),
            Credential::Insufficient => {
                "this token is for reading: purging and leaving need an operator token"
            }
            Credential::NotNeeded => {
                "who may purge was not said: give this peer a token, or allow it to anyone"
            }
        };
        Err(refusal(StatusCode::FORBIDDEN, ErrorKind::Forbidden, reason).into())
    }

    /// How the response to a request with these fields is marked.
    pub(super) fn mark_for(&self, headers: &HeaderMap) -> Mark {
        match (protocol::is_over_hop(headers), self.allowed.is_open()) {
            (true, _) => Mark::Peer,
            (false, true) => Mark::Guard,
            (false, false) => Mark::None,
        }
    }
}
