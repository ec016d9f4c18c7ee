//! Listening sockets of either kind whose `accept` does not block.

use std::io;
use std::net::{IpAddr, SocketAddr};

use mio::event::Source;
use mio::net::{TcpListener, TcpStream};
use mio::{Interest, Registry, Token};

use crate::server::listener::{Listener, UNIX_CLIENT};

/// A listening socket.
#[derive(Debug)]
pub(super) enum Listening {
    Tcp(TcpListener),
    #[cfg(unix)]
    Unix(mio::net::UnixListener),
}

impl Listening {
    pub(super) fn new(listener: &Listener) -> io::Result<Self> {
        let socket = listener.duplicate()?;
        socket.set_nonblocking(true)?;
        #[cfg(unix)]
        if listener.is_unix() {
            return Ok(Self::Unix(mio::net::UnixListener::from_std(socket.into())));
        }
        Ok(Self::Tcp(TcpListener::from_std(socket.into())))
    }

    /// Accepts a connection. Returns it with the client's address.
    pub(super) fn accept(&self) -> io::Result<(TcpStream, SocketAddr)> {
        match self {
            Self::Tcp(listener) => listener.accept(),
            #[cfg(unix)]
            Self::Unix(listener) => {
                use std::os::fd::OwnedFd;
                let (socket, _) = listener.accept()?;
                let socket = OwnedFd::from(std::os::unix::net::UnixStream::from(socket));
                // The server uses only what all stream sockets can do, so it treats both kinds alike.
                Ok((TcpStream::from_std(std::net::TcpStream::from(socket)), UNIX_CLIENT))
            }
        }
    }

    /// Returns the address of the other end as far as it identifies the other end; `None` for a Unix socket.
    pub(super) fn source_of(&self, remote: SocketAddr) -> Option<IpAddr> {
        match self {
            Self::Tcp(_) => Some(remote.ip()),
            #[cfg(unix)]
            Self::Unix(_) => None,
        }
    }

    fn source(&mut self) -> &mut dyn Source {
        match self {
            Self::Tcp(listener) => listener,
            #[cfg(unix)]
            Self::Unix(listener) => listener,
        }
    }
}

impl Source for Listening {
    fn register(&mut self, registry: &Registry, token: Token, interests: Interest) -> io::Result<()> {
        self.source().register(registry, token, interests)
    }

    fn reregister(&mut self, registry: &Registry, token: Token, interests: Interest) -> io::Result<()> {
        self.source().reregister(registry, token, interests)
    }

    fn deregister(&mut self, registry: &Registry) -> io::Result<()> {
        self.source().deregister(registry)
    }
}
