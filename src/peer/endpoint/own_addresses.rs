//! How a peer knows a URL that leads back to itself.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use parking_lot::RwLock;

use crate::message::url::CanonicalUrl;
use crate::pool::peer_url::PeerUrl;

/// The addresses on which a peer and its admin side are being served.
#[derive(Debug, Default)]
pub(crate) struct OwnAddresses {
    bound: RwLock<Vec<SocketAddr>>,
    /// Those of the admin side.
    admin: RwLock<Vec<SocketAddr>>,
}

impl OwnAddresses {
    pub(crate) fn add(&self, address: SocketAddr) {
        self.bound.write().push(address);
    }

    pub(crate) fn add_admin(&self, address: SocketAddr) {
        self.admin.write().push(address);
    }

    /// Whether the peer is served, and only on loopback addresses.
    pub(crate) fn are_of_this_machine_alone(&self) -> bool {
        let bound = self.bound.read();
        !bound.is_empty() && bound.iter().all(is_loopback)
    }

    /// Whether every address of the admin side that is known is a loopback address.
    pub(crate) fn is_admin_of_this_machine(&self) -> bool {
        self.admin.read().iter().all(is_loopback)
    }

    /// Whether an authority (RFC 9110 section 4.2) is one under which only this peer can be reached: a loopback
    /// address or `localhost` with any port, a bound socket, or the host of the peer's own URL with the port of that
    /// URL or of a bound socket.
    ///
    /// A web page can have a name of its own resolve to a loopback address, and would then be of one origin with what
    /// this peer answers. Letter case and the default port make no difference; a trailing dot does, and userinfo is
    /// never accepted.
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

    /// Whether the URL names one of them: as an address, as `localhost`, or by the host of the peer's own URL. Any
    /// other name that resolves to one of them is found by `Via` or `Host` when the request comes back.
    pub(crate) fn are_named_by(&self, target: &CanonicalUrl, own: &PeerUrl) -> bool {
        let host = target.host().trim_start_matches('[').trim_end_matches(']');
        let is_localhost = host.eq_ignore_ascii_case("localhost");
        let literal = host.parse::<IpAddr>().ok();
        let is_named = |address: &SocketAddr| {
            let bound = address.ip();
            address.port() == target.port()
                && (host.eq_ignore_ascii_case(own.host())
                    || match literal {
                        Some(named) => is_reached_by(bound, named),
                        None => {
                            is_localhost && (bound.to_canonical().is_loopback() || bound.is_unspecified())
                        }
                    })
        };
        self.bound.read().iter().any(is_named) || self.admin.read().iter().any(is_named)
    }
}

fn is_loopback(address: &SocketAddr) -> bool {
    address.ip().to_canonical().is_loopback()
}

/// The host, with its brackets, and the port of an authority without userinfo.
fn split(authority: &str, default_port: u16) -> Option<(&str, u16)> {
    let host_ends = match authority.strip_prefix('[') {
        Some(rest) => rest.find(']')? + 2,
        None => authority.find(':').unwrap_or(authority.len()),
    };
    let (host, port) = authority.split_at(host_ends);
    let port = match port.strip_prefix(':') {
        None if port.is_empty() => default_port,
        Some("") => default_port,
        Some(digits) if digits.bytes().all(|byte| byte.is_ascii_digit()) => digits.parse().ok()?,
        _ => return None,
    };
    (!host.contains('@')).then_some((host, port))
}

/// Whether a socket bound to `own` takes connections to `named`, as far as that can be known here: one
/// bound to every address of the machine takes those to loopback, and to the unspecified address.
fn is_reached_by(own: IpAddr, named: IpAddr) -> bool {
    let named = named.to_canonical();
    let unspecified =
        named == IpAddr::V4(Ipv4Addr::UNSPECIFIED) || named == IpAddr::V6(Ipv6Addr::UNSPECIFIED);
    own.to_canonical() == named
        || (own.is_unspecified() && (named.is_loopback() || unspecified))
        || (own.is_loopback() && unspecified)
}

#[cfg(test)]
mod tests;
