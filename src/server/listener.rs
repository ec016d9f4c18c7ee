//! [`Listener`]: a listening socket. Accepted sockets inherit its options (on Linux at least), and tiny_http
//! offers no other way to set them.

#[cfg(unix)]
mod unix;

use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, ToSocketAddrs};
#[cfg(unix)]
use std::os::fd::{AsFd, BorrowedFd};
#[cfg(unix)]
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::time::Duration;

use socket2::{Domain, Protocol, Socket, TcpKeepalive, Type};

use crate::base::error::{Error, ErrorKind, Result};

/// Number of connections that may wait in the kernel's accept queue.
const BACKLOG: i32 = 1024;

/// The address that stands for the clients of Unix sockets: they run on this machine.
pub(super) const UNIX_CLIENT: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

/// A socket that listens for connections: a TCP socket or a Unix socket.
///
/// ```
/// use forwardcache::Peer;
/// use forwardcache::server::{Listener, ServerConfig};
///
/// # let folder = tempfile::tempdir()?;
/// # let path = folder.path().join("peer.sock");
/// let tcp = Listener::bind("127.0.0.1:0")?;
/// let url = format!("http://{tcp}");
/// # #[cfg(unix)]
/// let unix = Listener::bind_unix(&path, 0o600)?;
/// # #[cfg(not(unix))]
/// # let unix = Listener::bind("127.0.0.1:0")?;
/// let server = Peer::builder(url).build()?.serve_on([tcp, unix], ServerConfig::new())?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Listener {
    socket: Socket,
    /// Whether another process holds the socket too.
    is_shared: bool,
    #[cfg(unix)]
    file: Option<unix::SocketFile>,
}

impl Listener {
    fn new(socket: Socket) -> Self {
        Self {
            socket,
            is_shared: false,
            #[cfg(unix)]
            file: None,
        }
    }

    /// Listens on the first of these addresses that can be bound; with port 0 the system chooses a port.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Listen`] if the address cannot be resolved or bound.
    pub fn bind(address: impl ToSocketAddrs) -> Result<Self> {
        let addresses = address
            .to_socket_addrs()
            .map_err(|error| listen_error("cannot resolve the listen address", error))?;
        let mut last = Error::new(ErrorKind::Listen, "the listen address resolves to no address");
        for address in addresses {
            match listen(address) {
                Ok(socket) => return Ok(Self::new(socket)),
                Err(error) => last = listen_error(&format!("cannot listen on {address}"), error),
            }
        }
        Err(last)
    }

    /// Listens on a Unix socket at this path. The `mode` of the file decides who may connect, such as `0o600`:
    /// only processes of this user. If a socket at this path remains from a process that has ended, it is
    /// replaced. The file is removed when the listener is closed.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Listen`] if the path cannot be bound, is in use by another process, or belongs to a file
    /// that is not a socket.
    #[cfg(unix)]
    pub fn bind_unix(path: impl AsRef<Path>, mode: u32) -> Result<Self> {
        let path = path.as_ref();
        let bound = unix::bind(path, mode).and_then(|(socket, file)| {
            socket.listen(BACKLOG)?;
            Ok(Self { file: Some(file), ..Self::new(socket) })
        });
        bound.map_err(|error| listen_error(&format!("cannot listen on unix:{}", path.display()), error))
    }

    /// States that another process holds this socket too, for example the service manager. A shutdown then
    /// closes only the descriptor of this process, and connections that wait in the queue stay for the other.
    #[must_use]
    pub fn shared(mut self) -> Self {
        self.share();
        self
    }

    /// Like [`shared`](Self::shared).
    pub(super) fn share(&mut self) {
        self.is_shared = true;
        #[cfg(unix)]
        if let Some(file) = self.file.take() {
            file.keep();
        }
    }

    /// Returns the address of a TCP socket; `None` for a Unix socket.
    #[must_use]
    pub fn local_addr(&self) -> Option<SocketAddr> {
        self.socket.local_addr().ok()?.as_socket()
    }

    /// Returns the path of a Unix socket; `None` for a TCP socket.
    #[must_use]
    pub fn path(&self) -> Option<std::path::PathBuf> {
        let address = self.socket.local_addr().ok()?;
        address.as_pathname().map(Path::to_owned)
    }

    /// Returns whether another process holds this socket too.
    #[cfg(feature = "tiny_http")]
    pub(super) fn is_shared(&self) -> bool {
        self.is_shared
    }

    /// Returns whether it is a Unix socket.
    pub(super) fn is_unix(&self) -> bool {
        self.local_addr().is_none()
    }

    /// Sets the options that accepted sockets inherit.
    ///
    /// A listening socket has no receive timeout: the timeout would also end `accept`, and tiny_http stops
    /// accepting at the first error.
    pub(super) fn set_write_timeout(&self, write_timeout: Duration) -> io::Result<()> {
        self.socket.set_write_timeout(Some(write_timeout))?;
        if self.is_unix() {
            return Ok(());
        }
        set_tcp_options(&self.socket)?;
        // The timeout is shorter than the write timeout, so that the kernel ends the connection before a write
        // times out. Otherwise another response could follow an incomplete one.
        #[cfg(target_os = "linux")]
        self.socket.set_tcp_user_timeout(Some(write_timeout / 4 * 3))?;
        Ok(())
    }

    /// Returns another descriptor of the socket.
    pub(super) fn duplicate(&self) -> io::Result<Socket> {
        self.socket.try_clone()
    }

    /// Stops accepting, and ends an `accept` call that waits in another thread.
    pub(super) fn close(self) {
        // If another process holds the socket too, `shutdown` would close its socket as well.
        if self.is_shared {
            return;
        }
        // On Linux, `shutdown` makes the kernel refuse new connections and makes `accept` fail.
        if self.socket.shutdown(std::net::Shutdown::Both).is_ok() {
            return;
        }
        // On other systems a connection wakes `accept`, which then fails with `WouldBlock`.
        let closed = self.socket.set_nonblocking(true).and_then(|()| self.socket.local_addr());
        if let Some(address) = closed.ok().and_then(|address| address.as_socket()) {
            drop(std::net::TcpStream::connect_timeout(&address, Duration::from_secs(1)));
        }
    }
}

impl From<TcpListener> for Listener {
    fn from(listener: TcpListener) -> Self {
        Self::new(listener.into())
    }
}

#[cfg(unix)]
impl From<UnixListener> for Listener {
    fn from(listener: UnixListener) -> Self {
        Self::new(listener.into())
    }
}

#[cfg(unix)]
impl AsFd for Listener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

/// Displays `ADDRESS:PORT`, or `unix:PATH`.
impl fmt::Display for Listener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.local_addr(), self.path()) {
            (Some(address), _) => address.fmt(f),
            (None, Some(path)) => write!(f, "unix:{}", path.display()),
            (None, None) => f.write_str("unix:"),
        }
    }
}

/// One or several [`Listener`]s on which a server accepts connections, at most 64.
#[derive(Debug)]
pub struct Listeners(pub(super) Vec<Listener>);

impl Listeners {
    /// Prepares the sockets for a server.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Listen`] if there is none, there are too many, or a system call fails.
    pub(super) fn prepared(self, write_timeout: Duration) -> Result<Vec<Listener>> {
        const MAX: usize = 64;
        if self.0.is_empty() || self.0.len() > MAX {
            let text = format!("cannot serve on {} sockets: pass 1 to {MAX}", self.0.len());
            return Err(Error::new(ErrorKind::Listen, text));
        }
        for listener in &self.0 {
            listener
                .set_write_timeout(write_timeout)
                // On a listening socket, `listen` only lengthens the accept queue (Linux).
                .and_then(|()| listener.socket.listen(BACKLOG))
                .map_err(|error| listen_error(&format!("cannot serve on {listener}"), error))?;
        }
        Ok(self.0)
    }
}

impl<L: Into<Listener>> From<L> for Listeners {
    fn from(listener: L) -> Self {
        Self(vec![listener.into()])
    }
}

impl From<Vec<Listener>> for Listeners {
    fn from(listeners: Vec<Listener>) -> Self {
        Self(listeners)
    }
}

impl<const N: usize> From<[Listener; N]> for Listeners {
    fn from(listeners: [Listener; N]) -> Self {
        Self(listeners.into())
    }
}

/// Builds the error for a system call that failed on the listening socket.
pub(super) fn listen_error(message: &str, error: io::Error) -> Error {
    Error::new(ErrorKind::Listen, message).with_source(error)
}

fn listen(address: SocketAddr) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    // On other systems the option would let two processes share a port.
    #[cfg(unix)]
    socket.set_reuse_address(true)?;
    // Connections that arrive before the server starts inherit these options.
    set_tcp_options(&socket)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket)
}

fn set_tcp_options(socket: &Socket) -> io::Result<()> {
    // With Nagle's algorithm, a response of several writes waits for a delayed acknowledgement (40 ms).
    socket.set_tcp_nodelay(true)?;
    socket.set_keepalive(true)?;
    socket.set_tcp_keepalive(
        &TcpKeepalive::new().with_time(Duration::from_secs(30)).with_interval(Duration::from_secs(10)),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[cfg(target_os = "linux")]
    fn accepted_sockets_inherit_the_options() {
        let timeout = Duration::from_secs(20);
        let listener = Listener::bind("127.0.0.1:0").unwrap();
        listener.set_write_timeout(timeout).unwrap();
        let client = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (accepted, _) = TcpListener::from(listener.duplicate().unwrap()).accept().unwrap();
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
        let listener = Listener::bind("127.0.0.1:0").unwrap();
        let shared = TcpListener::from(listener.duplicate().unwrap());
        // Like tiny_http, accept until the first error.
        let accepting = std::thread::spawn(move || while shared.accept().is_ok() {});
        listener.close();
        accepting.join().unwrap();
    }

    #[test]
    fn closing_a_shared_socket_leaves_it_open_for_the_other_process() {
        let listener = Listener::bind("127.0.0.1:0").unwrap().shared();
        let address = listener.local_addr().unwrap();
        let other = TcpListener::from(listener.duplicate().unwrap());
        listener.close();
        let _client = std::net::TcpStream::connect(address).unwrap();
        assert!(other.accept().is_ok());
    }

    #[test]
    fn a_server_needs_a_socket() {
        assert!(Listeners::from(Vec::new()).prepared(Duration::from_secs(1)).is_err());
    }
}
