//! The addresses of a peer itself, to recognize its own authority and URLs that lead back to it.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::RwLock;

use crate::message::url::CanonicalUrl;
use crate::pool::peer_url::PeerUrl;

/// The addresses on which a peer serves clients and operators.
#[derive(Debug, Default)]
pub(crate) struct OwnAddresses {
    /// Addresses for clients and peers.
    bound: RwLock<Vec<SocketAddr>>,
    /// Addresses for operators.
    admin: RwLock<Vec<SocketAddr>>,
    /// Whether a server has only Unix sockets.
    has_unix_only: AtomicBool,
    /// Whether proxies pass on requests of other machines.
    is_behind_proxies: AtomicBool,
}

impl OwnAddresses {
    /// Adds an address for clients and peers.
    pub(crate) fn add(&self, address: SocketAddr) {
        self.bound.write().push(address);
    }

    /// Adds an address for operators.
    pub(crate) fn add_admin(&self, address: SocketAddr) {
        self.admin.write().push(address);
    }

    /// Records that a server serves, and whether it has only Unix sockets.
    pub(crate) fn set_served(&self, is_unix_only: bool) {
        self.has_unix_only.fetch_or(is_unix_only, Ordering::Relaxed);
    }

    /// Records that proxies pass on requests of other machines.
    pub(crate) fn set_behind_proxies(&self) {
        self.is_behind_proxies.store(true, Ordering::Relaxed);
    }

    /// Returns whether the peer serves clients, and only those of this machine: on loopback addresses and Unix sockets.
    pub(crate) fn are_all_loopback(&self) -> bool {
        let bound = self.bound.read();
        let is_served = !bound.is_empty() || self.has_unix_only.load(Ordering::Relaxed);
        is_served && bound.iter().all(is_loopback) && !self.is_behind_proxies.load(Ordering::Relaxed)
    }

    /// Returns whether all known addresses for operators are loopback addresses.
    pub(crate) fn are_admin_all_loopback(&self) -> bool {
        self.admin.read().iter().all(is_loopback)
    }

    /// Returns whether an authority (RFC 9110 section 4.2) can belong only to this peer: a loopback address or
    /// `localhost` with any port, a bound socket, or the host of the peer's own URL with the port of that URL or of a
    /// bound socket.
    ///
    /// Any other name is rejected, because a web site can let its own name resolve to a loopback address (DNS rebinding).
    /// Its pages would then have the same origin as the responses of this peer. Letter case and an explicit default port
    /// make no difference. A trailing dot does, and userinfo is never accepted.
    pub(crate) fn has_authority(&self, authority: &[u8], default_port: u16, own: &PeerUrl) -> bool {
        let Ok(authority) = std::str::from_utf8(authority) else { return false };
        if authority.eq_ignore_ascii_case(own.authority()) {
            return true;
        }
        let Some((host, port)) = split(authority, default_port) else { return false };
        if host.eq_ignore_ascii_case("localhost") {
            return true;
        }
        let is_bound = |is_own: &dyn Fn(&SocketAddr) -> bool| {
            self.bound.read().iter().any(is_own) || self.admin.read().iter().any(is_own)
        };
        let is_own_host = host.trim_start_matches('[').trim_end_matches(']').eq_ignore_ascii_case(own.host());
        if is_own_host && (port == own.port() || is_bound(&|bound| bound.port() == port)) {
            return true;
        }
        let address = match host.strip_prefix('[') {
            Some(host) => host.strip_suffix(']').and_then(|host| host.parse().ok()).map(IpAddr::V6),
            None => host.parse().ok().map(IpAddr::V4),
        };
        address.map(|address| address.to_canonical()).is_some_and(|address| {
            let is_reachable = !address.is_unspecified();
            address.is_loopback()
                || is_reachable && is_bound(&|own| own.port() == port && own.ip().to_canonical() == address)
        })
    }

    /// Returns whether a connection to this socket leads to one of these addresses.
    pub(crate) fn has_socket(&self, socket: SocketAddr) -> bool {
        let is_match =
            |own: &SocketAddr| own.port() == socket.port() && accepts_connections_to(own.ip(), socket.ip());
        self.bound.read().iter().any(is_match) || self.admin.read().iter().any(is_match)
    }

    /// Returns whether the URL leads to one of these addresses: by address, as `localhost`, or by the host of the peer's
    /// own URL. If any other name resolves to one of them, the request comes back, and `Via` or `Host` reveals the loop.
    pub(crate) fn has_url(&self, target: &CanonicalUrl, own: &PeerUrl) -> bool {
        let host = target.host().trim_start_matches('[').trim_end_matches(']');
        let is_localhost = host.eq_ignore_ascii_case("localhost");
        let literal = host.parse::<IpAddr>().ok();
        let is_match = |address: &SocketAddr| {
            let bound = address.ip();
            address.port() == target.port()
                && (host.eq_ignore_ascii_case(own.host())
                    || match literal {
                        Some(named) => accepts_connections_to(bound, named),
                        None => {
                            is_localhost && (bound.to_canonical().is_loopback() || bound.is_unspecified())
                        }
                    })
        };
        self.bound.read().iter().any(is_match) || self.admin.read().iter().any(is_match)
    }
}

fn is_loopback(address: &SocketAddr) -> bool {
    address.ip().to_canonical().is_loopback()
}

/// Returns the host, including brackets, and the port of an authority. Returns `None` if it has userinfo or is invalid.
fn split(authority: &str, default_port: u16) -> Option<(&str, u16)> {
    let host_end = match authority.strip_prefix('[') {
        Some(rest) => rest.find(']')? + 2,
        None => authority.find(':').unwrap_or(authority.len()),
    };
    let (host, port) = authority.split_at(host_end);
    let port = match port.strip_prefix(':') {
        None if port.is_empty() => default_port,
        Some("") => default_port,
        Some(digits) if digits.bytes().all(|byte| byte.is_ascii_digit()) => digits.parse().ok()?,
        _ => return None,
    };
    (!host.contains('@')).then_some((host, port))
}

/// Returns whether a socket bound to `own` accepts connections to `named`, as far as the two addresses show it. A socket
/// bound to the unspecified address accepts connections to loopback addresses and to the unspecified address.
fn accepts_connections_to(own: IpAddr, named: IpAddr) -> bool {
    let named = named.to_canonical();
    let unspecified =
        named == IpAddr::V4(Ipv4Addr::UNSPECIFIED) || named == IpAddr::V6(Ipv6Addr::UNSPECIFIED);
    own.to_canonical() == named
        || (own.is_unspecified() && (named.is_loopback() || unspecified))
        || (own.is_loopback() && unspecified)
}

#[cfg(test)]
mod tests;
