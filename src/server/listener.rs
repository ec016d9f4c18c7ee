//! The listening socket. What is set here is inherited by every accepted socket, on Linux at least,
//! and tiny_http leaves no other way to set it.
#![cfg_attr(
    not(feature = "tiny_http"),
    allow(dead_code, reason = "tiny_http shares and closes it otherwise")
)]

use std::io;
use std::net::{SocketAddr, TcpListener, ToSocketAddrs};
use std::time::Duration;

use socket2::{Domain, Protocol, Socket, TcpKeepalive, Type};

use crate::base::error::{Error, ErrorKind, Result};

/// How many connections may wait to be accepted.
const BACKLOG: i32 = 1024;

/// Listens on the first of these addresses that can be bound.
pub(super) fn bind(address: impl ToSocketAddrs, write_timeout: Duration) -> Result<(SocketAddr, Socket)> {
    let addresses = address
        .to_socket_addrs()
        .map_err(|error| listen_error("cannot resolve the address to serve on", error))?;
    let mut last = Error::new(ErrorKind::Listen, "there is no address to serve on");
    for address in addresses {
        match listen(address, write_timeout) {
            Ok(socket) => return Ok((address, socket)),
            Err(error) => last = listen_error(&format!("cannot listen on {address}"), error),
        }
    }
    Err(last)
}

/// Nobody can be served, because the system says so.
pub(super) fn listen_error(message: &str, error: io::Error) -> Error {
    Error::new(ErrorKind::Listen, format!("{message}: {error}")).with_source(error)
}

/// Listens on `address`.
///
/// There is no receive timeout on purpose: `accept` would end with it too, and tiny_http gives up
/// accepting on the first error.
fn listen(address: SocketAddr, write_timeout: Duration) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    // Elsewhere than on Unix it would allow two processes to share a port.
    #[cfg(unix)]
    socket.set_reuse_address(true)?;
    set_options(&socket, write_timeout)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket)
}

/// Takes over a socket that listens already.
pub(super) fn take(listener: TcpListener, write_timeout: Duration) -> io::Result<Socket> {
    let socket = Socket::from(listener);
    socket.set_nonblocking(false)?;
    set_options(&socket, write_timeout)?;
    // On Linux this only makes the queue of those who wait longer.
    socket.listen(BACKLOG)?;
    Ok(socket)
}

fn set_options(socket: &Socket, write_timeout: Duration) -> io::Result<()> {
    // Without it an answer of more than one write waits for a delayed acknowledgement: 40 ms.
    socket.set_tcp_nodelay(true)?;
    socket.set_keepalive(true)?;
    socket.set_tcp_keepalive(
        &TcpKeepalive::new().with_time(Duration::from_secs(30)).with_interval(Duration::from_secs(10)),
    )?;
    socket.set_write_timeout(Some(write_timeout))?;
    // Less than the write timeout: the kernel then ends the connection before the write gives up,
    // and nothing can be written behind a response that was cut.
    #[cfg(target_os = "linux")]
    socket.set_tcp_user_timeout(Some(write_timeout / 4 * 3))?;
    Ok(())
}

/// A listener for tiny_http that shares the socket.
pub(super) fn share(socket: &Socket) -> io::Result<TcpListener> {
    Ok(socket.try_clone()?.into())
}

/// Lets nobody in any more, and ends an `accept` that waits in another thread.
pub(super) fn close(socket: &Socket) {
    // On Linux this is all: the port refuses at once, and `accept` fails.
    if socket.shutdown(std::net::Shutdown::Both).is_ok() {
        return;
    }
    // Elsewhere `accept` has to be woken, and to find that there is nothing to wait for.
    let closed = socket.set_nonblocking(true).and_then(|()| socket.local_addr());
    if let Some(address) = closed.ok().and_then(|address| address.as_socket()) {
        drop(std::net::TcpStream::connect_timeout(&address, Duration::from_secs(1)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[cfg(target_os = "linux")]
    fn an_accepted_socket_inherits_what_was_set() {
        let timeout = Duration::from_secs(20);
        let socket = listen("127.0.0.1:0".parse().unwrap(), timeout).unwrap();
        let listener = share(&socket).unwrap();
        let client = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (accepted, _) = listener.accept().unwrap();
        assert!(accepted.nodelay().unwrap());
        assert_eq!(accepted.write_timeout().unwrap(), Some(timeout));
        assert_eq!(accepted.read_timeout().unwrap(), None);
        let accepted = Socket::from(accepted);
        assert!(accepted.keepalive().unwrap());
        assert_eq!(accepted.tcp_user_timeout().unwrap(), Some(Duration::from_secs(15)));
        drop(client);
    }

    #[test]
    fn closing_ends_an_accept_that_waits() {
        let socket = listen("127.0.0.1:0".parse().unwrap(), Duration::from_secs(20)).unwrap();
        let listener = share(&socket).unwrap();
        // As tiny_http does it: whatever is accepted, it accepts again until the first error.
        let accepting = std::thread::spawn(move || while listener.accept().is_ok() {});
        close(&socket);
        accepting.join().unwrap();
    }
}
