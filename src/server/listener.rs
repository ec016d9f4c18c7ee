//! The listening socket. Accepted sockets inherit its options (on Linux at least), and tiny_http offers no
//! other way to set them.
#![cfg_attr(
    not(feature = "tiny_http"),
    allow(dead_code, reason = "tiny_http shares and closes it otherwise")
)]

use std::io;
use std::net::{SocketAddr, TcpListener, ToSocketAddrs};
use std::time::Duration;

use socket2::{Domain, Protocol, Socket, TcpKeepalive, Type};

use crate::base::error::{Error, ErrorKind, Result};

/// Number of connections that may wait in the kernel's accept queue.
const BACKLOG: i32 = 1024;

/// Listens on the first of the addresses that can be bound.
pub(super) fn bind(address: impl ToSocketAddrs, write_timeout: Duration) -> Result<(SocketAddr, Socket)> {
    let addresses = address
        .to_socket_addrs()
        .map_err(|error| listen_error("cannot resolve the listen address", error))?;
    let mut last = Error::new(ErrorKind::Listen, "the listen address resolves to no address");
    for address in addresses {
        match listen(address, write_timeout) {
            Ok(socket) => return Ok((address, socket)),
            Err(error) => last = listen_error(&format!("cannot listen on {address}"), error),
        }
    }
    Err(last)
}

/// Builds the error for a system call that failed on the listening socket.
pub(super) fn listen_error(message: &str, error: io::Error) -> Error {
    Error::new(ErrorKind::Listen, message).with_source(error)
}

/// Listens on `address`.
///
/// The socket has no receive timeout: the timeout would also end `accept`, and tiny_http stops accepting at
/// the first error.
fn listen(address: SocketAddr, write_timeout: Duration) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    // On other systems the option would let two processes share a port.
    #[cfg(unix)]
    socket.set_reuse_address(true)?;
    set_options(&socket, write_timeout)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket)
}

/// Takes over a listening socket of the caller.
pub(super) fn adopt(listener: TcpListener, write_timeout: Duration) -> io::Result<Socket> {
    let socket = Socket::from(listener);
    socket.set_nonblocking(false)?;
    set_options(&socket, write_timeout)?;
    // On a listening socket, `listen` only lengthens the accept queue (Linux).
    socket.listen(BACKLOG)?;
    Ok(socket)
}

fn set_options(socket: &Socket, write_timeout: Duration) -> io::Result<()> {
    // With Nagle's algorithm, a response of several writes waits for a delayed acknowledgement (40 ms).
    socket.set_tcp_nodelay(true)?;
    socket.set_keepalive(true)?;
    socket.set_tcp_keepalive(
        &TcpKeepalive::new().with_time(Duration::from_secs(30)).with_interval(Duration::from_secs(10)),
    )?;
    socket.set_write_timeout(Some(write_timeout))?;
    // The timeout is shorter than the write timeout, so that the kernel ends the connection before a write
    // times out. Otherwise another response could follow an incomplete one.
    #[cfg(target_os = "linux")]
    socket.set_tcp_user_timeout(Some(write_timeout / 4 * 3))?;
    Ok(())
}

/// Returns a listener for tiny_http that shares the socket.
pub(super) fn share(socket: &Socket) -> io::Result<TcpListener> {
    Ok(socket.try_clone()?.into())
}

/// Stops accepting, and ends an `accept` call that waits in another thread.
pub(super) fn close(socket: &Socket) {
    // On Linux, `shutdown` makes the kernel refuse new connections and makes `accept` fail.
    if socket.shutdown(std::net::Shutdown::Both).is_ok() {
        return;
    }
    // On other systems a connection wakes `accept`, which then fails with `WouldBlock`.
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
    fn accepted_sockets_inherit_the_options() {
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
    fn closing_ends_a_waiting_accept() {
        let socket = listen("127.0.0.1:0".parse().unwrap(), Duration::from_secs(20)).unwrap();
        let listener = share(&socket).unwrap();
        // Like tiny_http, accept until the first error.
        let accepting = std::thread::spawn(move || while listener.accept().is_ok() {});
        close(&socket);
        accepting.join().unwrap();
    }
}
