//! Tests of the helpers that the scenarios rely on.

mod nginx;
mod origin;
mod process;
mod tls;

use crate::support::port::Port;
use std::net::{TcpListener, TcpStream};

#[test]
fn held_port_refuses_connections_and_cannot_be_bound() {
    let port = Port::hold();
    let refused = TcpStream::connect(port.address()).unwrap_err();
    assert_eq!(refused.kind(), std::io::ErrorKind::ConnectionRefused);
    let taken = TcpListener::bind(port.address()).unwrap_err();
    assert_eq!(taken.kind(), std::io::ErrorKind::AddrInUse);
}

#[test]
fn released_port_can_be_bound() {
    // Another test's outgoing connection may take the port between release and bind.
    let bound = (0..10).any(|_| TcpListener::bind(("127.0.0.1", Port::hold().release())).is_ok());
    assert!(bound);
}
