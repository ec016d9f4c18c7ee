//! Frees connections that tiny_http has accepted and forgotten.
//!
//! Its pool starts a thread for a connection only when no thread is waiting for one, and goes by a
//! count that lags behind: of a burst of connections some are left for a thread that another
//! connection has already taken. They are served when some connection ends, which with
//! connections that are kept alive may be never. A connection that ends at once sees to it: its thread
//! goes on to one that was left.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use std::time::Duration;

use crate::server::serving::Lifetime;

/// How often: what a forgotten connection waits at most, unless there are several.
const INTERVAL: Duration = Duration::from_millis(250);

/// Connects to `served` and leaves again, until the front stops.
pub(super) fn keep_nudging(served: SocketAddr, lifetime: &Lifetime) {
    let address = reachable(served);
    loop {
        lifetime.pause(INTERVAL);
        if lifetime.is_stopping() {
            return;
        }
        if let Err(error) = TcpStream::connect_timeout(&address, Duration::from_secs(1)) {
            log::debug!("the front cannot reach itself: {error}");
        }
    }
}

/// The address to connect to for one that may stand for all addresses.
fn reachable(served: SocketAddr) -> SocketAddr {
    let ip = match served.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, served.port())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_that_stands_for_all_is_reached_at_home() {
        for (served, expected) in
            [("0.0.0.0:1", "127.0.0.1:1"), ("[::]:1", "[::1]:1"), ("192.0.2.1:1", "192.0.2.1:1")]
        {
            assert_eq!(reachable(served.parse().unwrap()), expected.parse().unwrap());
        }
    }
}
