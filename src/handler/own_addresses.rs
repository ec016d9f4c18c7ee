//! How a peer knows a URL that leads back to itself.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use parking_lot::RwLock;

use crate::target::Target;

/// The addresses on which a peer is being served.
#[derive(Debug, Default)]
pub(crate) struct OwnAddresses {
    bound: RwLock<Vec<SocketAddr>>,
}

impl OwnAddresses {
    pub(crate) fn add(&self, address: SocketAddr) {
        self.bound.write().push(address);
    }

    /// Whether it is served, and to this machine alone.
    pub(crate) fn are_of_this_machine_alone(&self) -> bool {
        let bound = self.bound.read();
        !bound.is_empty() && bound.iter().all(|address| address.ip().to_canonical().is_loopback())
    }

    /// Whether a request that came for this `Host` was meant for here. A page of the web that is read by a browser on
    /// this machine can lead a name of its own to loopback, and would then read what is served there.
    ///
    /// Names can be told from that only where everybody who asks is on this machine.
    pub(crate) fn may_be_called(&self, host: &[u8], own: &str) -> bool {
        !self.are_of_this_machine_alone() || is_of_this_machine(host, own)
    }

    /// Whether the URL names one of them, as an address or as `localhost`. A name that happens to resolve
    /// to one of them is found by `Via` when the request comes back.
    pub(crate) fn are_named_by(&self, target: &Target) -> bool {
        let bound = self.bound.read();
        let host = target.host();
        let is_localhost = host.eq_ignore_ascii_case("localhost");
        let literal = host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>().ok();
        bound.iter().filter(|address| address.port() == target.port()).any(|address| {
            let own = address.ip();
            match literal {
                Some(named) => is_reached_by(own, named),
                None => is_localhost && (own.is_loopback() || own.is_unspecified()),
            }
        })
    }
}

/// Whether the host of an authority is an address, that of the peer's own, or one that no stranger can own: `localhost`,
/// or a name without a dot.
pub(crate) fn is_of_this_machine(authority: &[u8], own: &str) -> bool {
    let Ok(authority) = std::str::from_utf8(authority) else { return false };
    let host = host_of(authority);
    !host.contains('.') || host.parse::<IpAddr>().is_ok() || host.eq_ignore_ascii_case(host_of(own))
}

/// Without port and brackets.
fn host_of(authority: &str) -> &str {
    let host = match authority.rsplit_once(':') {
        Some((host, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) && !host.ends_with(':') => host,
        _ => authority,
    };
    host.trim_start_matches('[').trim_end_matches(']')
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
mod tests {
    use super::*;

    #[test]
    fn what_only_loopback_serves_is_called_by_its_own_names() {
        let addresses = OwnAddresses::default();
        assert!(
            addresses.may_be_called(b"evil.example", "cache"),
            "nothing is known of a server of one's own"
        );
        addresses.add("127.0.0.1:3000".parse().unwrap());
        for (host, may) in [
            ("127.0.0.1:3000", true),
            ("127.0.0.1", true),
            ("[::1]:3000", true),
            ("LocalHost:3000", true),
            ("a-name:3000", true),
            ("evil.example:3000", false),
            ("evil.example", false),
            ("localhost.evil.example", false),
            ("cache.example", true),
        ] {
            assert_eq!(addresses.may_be_called(host.as_bytes(), "cache.example:3000"), may, "{host}");
        }
        addresses.add("10.0.0.1:3000".parse().unwrap());
        assert!(addresses.may_be_called(b"another.example", "cache"));
    }

    #[test]
    fn one_address_that_others_reach_is_enough_for_all() {
        let addresses = OwnAddresses::default();
        assert!(!addresses.are_of_this_machine_alone());
        for (bound, alone) in [
            ("127.0.0.1:3000", true),
            ("[::1]:3000", true),
            ("[::ffff:127.0.0.1]:3000", true),
            ("0.0.0.0:3000", false),
            ("127.0.0.1:3001", false),
        ] {
            addresses.add(bound.parse().unwrap());
            assert_eq!(addresses.are_of_this_machine_alone(), alone, "{bound}");
        }
    }

    #[test]
    fn a_peers_own_addresses_in_their_spellings() {
        for (bound, url, own) in [
            ("127.0.0.1:3000", "http://127.0.0.1:3000/", true),
            ("127.0.0.1:3000", "http://localhost:3000/", true),
            ("127.0.0.1:3000", "http://LOCALHOST:3000/", true),
            ("127.0.0.1:3000", "http://[::ffff:127.0.0.1]:3000/", true),
            ("127.0.0.1:3000", "http://0.0.0.0:3000/", true),
            ("127.0.0.1:3000", "http://127.0.0.1:3001/", false),
            ("127.0.0.1:3000", "http://127.0.0.2:3000/", false),
            ("127.0.0.1:3000", "http://example.com:3000/", false),
            ("127.0.0.1:80", "http://127.0.0.1/", true),
            ("0.0.0.0:3000", "http://127.0.0.9:3000/", true),
            ("[::]:3000", "http://[::1]:3000/", true),
            ("10.0.0.1:3000", "http://10.0.0.1:3000/x", true),
            ("10.0.0.1:3000", "http://localhost:3000/", false),
        ] {
            let addresses = OwnAddresses::default();
            addresses.add(bound.parse().unwrap());
            assert_eq!(addresses.are_named_by(&Target::parse(url).unwrap()), own, "{bound} {url}");
        }
    }
}
