//! A port that nobody else takes.

use std::net::{Ipv4Addr, SocketAddr};

use socket2::{Domain, Socket, Type};

/// A loopback port that is bound and not listened on: connecting to it is refused, and no other
/// test is given it.
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

    /// Lets go of the port for a server that is started now.
    pub(crate) fn release(self) -> u16 {
        self.address().port()
    }
}
