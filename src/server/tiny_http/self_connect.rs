//! Frees connections that tiny_http has accepted and forgotten.
//!
//! tiny_http's thread pool starts a thread for a connection only if no thread is idle, and its count of idle
//! threads lags behind. In a burst of connections, some are therefore queued for a thread that another
//! connection has taken. They wait until some connection ends, which with persistent connections may be
//! never. A connection that ends at once resolves this: its thread continues with a queued one.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use std::time::Duration;

use crate::server::listener::Listener;
use crate::server::server_handle::Lifetime;

/// Interval between connections: the maximum wait of a single forgotten connection.
const INTERVAL: Duration = Duration::from_millis(250);

/// The place at which the server reaches itself.
#[derive(Debug)]
pub(super) enum OwnEnd {
    Tcp(SocketAddr),
    #[cfg(unix)]
    Unix(std::path::PathBuf),
}

impl OwnEnd {
    pub(super) fn of(listener: &Listener) -> Option<Self> {
        #[cfg(unix)]
        if let Some(path) = listener.path() {
            return Some(Self::Unix(path));
        }
        listener.local_addr().map(|served| Self::Tcp(reachable(served)))
    }

    fn connect(&self) -> io::Result<()> {
        match self {
            Self::Tcp(address) => TcpStream::connect_timeout(address, Duration::from_secs(1)).map(drop),
            #[cfg(unix)]
            Self::Unix(path) => std::os::unix::net::UnixStream::connect(path).map(drop),
        }
    }
}

/// Periodically connects to the server and disconnects, until the server stops.
pub(super) fn connect_periodically(ends: &[OwnEnd], lifetime: &Lifetime) {
    loop {
        lifetime.pause(INTERVAL);
        if lifetime.is_stopping() {
            return;
        }
        for end in ends {
            if let Err(error) = end.connect() {
                log::debug!("the server cannot connect to itself: {error}");
            }
        }
    }
}

/// Returns the address to connect to; an unspecified address becomes the loopback address.
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
    fn an_unspecified_address_becomes_loopback() {
        for (served, expected) in
            [("0.0.0.0:1", "127.0.0.1:1"), ("[::]:1", "[::1]:1"), ("192.0.2.1:1", "192.0.2.1:1")]
        {
            assert_eq!(reachable(served.parse().unwrap()), expected.parse().unwrap());
        }
    }
}
