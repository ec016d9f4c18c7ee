//! A reserved loopback port.

use std::net::{Ipv4Addr, SocketAddr};

use socket2::{Domain, Socket, Type};

/// A loopback port that is bound but not listening: connections are refused, and no other test gets the same port.
pub(crate) struct Port {
    socket: Socket,
}

impl Port {
    pub(crate) fn hold() -> Self {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket can be made");
        socket.bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into()).expect("a loopback port is free");
        Self { socket }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        let address = self.socket.local_addr().expect("a bound socket has an address");
        address.as_socket().expect("an IPv4 socket has an IPv4 address")
    }

    /// Releases the port for a server that starts next.
    pub(crate) fn release(self) -> u16 {
        self.address().port()
    }
}
