//! CONNECT: tunnels for clients that use this peer as the proxy for `https` (RFC 9110 section 9.3.6).
//!
//! The bytes of a tunnel are encrypted, so they are neither cached nor inspected, except for the first message, which
//! must begin TLS for the host of the request. The server of the request relays them.

use std::net::SocketAddr;

use http::{Request, Response, StatusCode};

use super::action::Action;
use super::forward_access::Role;
use super::proxy::Proxy;
use super::refusal::{failure, refusal};
use super::response::log_failure;
use crate::base::error::{Error, ErrorKind, Result};
use crate::message::body::Body;
use crate::message::url::CanonicalUrl;
use crate::origin::Origin;
use crate::server::{Destination, Sender, TunnelTo};

/// The options of CONNECT.
#[derive(Clone, Debug)]
pub(crate) struct Tunnels {
    /// The network, unless the program supplied an origin of its own.
    pub(crate) network: Option<Origin>,
    /// The ports to which tunnels may lead.
    pub(crate) ports: Vec<u16>,
}

impl Default for Tunnels {
    fn default() -> Self {
        Self { network: None, ports: vec![443] }
    }
}

impl Proxy {
    /// Returns the action of a CONNECT request to a forward proxy.
    pub(super) fn tunnel_action<T>(
        &self,
        request: &Request<T>,
        sender: &Sender,
    ) -> Result<Action, Box<Response<Body>>> {
        self.check_forwarding(Role::Proxy, request.headers(), Some(sender))?;
        let forbid = |reason: &str| Box::new(refusal(StatusCode::FORBIDDEN, ErrorKind::Forbidden, reason));
        if self.forwarding.tunnels.network.is_none() {
            return Err(forbid("this peer opens no tunnels: it does not fetch over the network"));
        }
        let target = target_of(request)
            .map_err(|reason| refusal(StatusCode::BAD_REQUEST, ErrorKind::BadUrl, reason))?;
        if !self.forwarding.tunnels.ports.contains(&target.port()) {
            return Err(forbid("tunnels may not lead to this port: allow it with --connect-ports"));
        }
        self.check_target(request.headers(), &target)?;
        Ok(Action::Tunnel(target))
    }

    /// Connects to the host of an admitted CONNECT request. Blocks until the connection is there.
    pub(super) fn open_tunnel(&self, target: &CanonicalUrl) -> Response<Body> {
        let connected = match &self.forwarding.tunnels.network {
            Some(_) if self.cache.is_offline() => {
                Err(Error::new(ErrorKind::Unavailable, "this peer is offline, so it opens no tunnels"))
            }
            Some(network) => network.connect(target, |address| self.check_address(target, address)),
            None => Err(Error::new(ErrorKind::Forbidden, "this peer opens no tunnels")),
        };
        match connected {
            Ok(socket) => {
                let mut response = Response::new(Body::empty());
                let host = target.host().trim_start_matches('[').trim_end_matches(']').into();
                response.extensions_mut().insert(TunnelTo::new(Destination { socket, host }));
                response
            }
            Err(error) => {
                log_failure(&error, target);
                failure(&error)
            }
        }
    }

    /// Checks that a tunnel may lead to this address of its host.
    fn check_address(&self, target: &CanonicalUrl, address: SocketAddr) -> Result<()> {
        self.access.origins().may_connect(target, address.ip())?;
        // The system takes an unspecified address for this machine.
        if address.ip().to_canonical().is_unspecified() {
            return Err(Error::new(ErrorKind::Forbidden, "the host has an unspecified address"));
        }
        if self.own_addresses.has_socket(address) || self.pool.has_socket(address) {
            return Err(Error::new(ErrorKind::Loop, "the tunnel leads back to this pool"));
        }
        Ok(())
    }
}

/// Returns the target of a CONNECT request as a URL. The port is required (RFC 9112 section 3.2.3).
fn target_of<T>(request: &Request<T>) -> Result<CanonicalUrl, String> {
    let authority = request.uri().authority().filter(|_| request.uri().path_and_query().is_none());
    let authority = authority.ok_or("the target of CONNECT is not HOST:PORT")?;
    if authority.port_u16().is_none_or(|port| port == 0) {
        return Err("the target of CONNECT has no valid port".to_owned());
    }
    CanonicalUrl::parse(&format!("https://{authority}/"))
        .map_err(|invalid| format!("the target of CONNECT is not valid: {invalid}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_target_is_host_and_port() {
        let target = |uri: &str| target_of(&Request::connect(uri).body(()).unwrap());
        let url = |uri: &str| target(uri).unwrap().as_str().to_owned();
        assert_eq!(url("Example.COM:443"), "https://example.com/");
        assert_eq!(url("example.com:8443"), "https://example.com:8443/");
        assert_eq!(url("[::1]:443"), "https://[::1]/");
        for bad in
            ["example.com", "/", "http://example.com:443/", "example.com:0", "127.1:443", "0x7f000001:443"]
        {
            assert!(target(bad).is_err(), "{bad}");
        }
    }
}
