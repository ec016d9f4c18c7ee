//! [`Begun`]: a request that an event loop has sent, and whose response the blocking path reads.

use std::net::TcpStream;
use std::sync::Arc;

use parking_lot::Mutex;

/// The place for a connection on which a request was sent to one authority, an extension of that request. The first
/// exchange with that authority takes the connection: it sends nothing, and reads the response.
#[derive(Clone, Debug)]
pub(crate) struct Begun {
    authority: Arc<str>,
    connection: Arc<Mutex<Option<BegunConnection>>>,
}

/// A connection on which a request was sent.
#[derive(Debug)]
pub(crate) struct BegunConnection {
    /// A blocking socket.
    pub(crate) socket: TcpStream,
    /// The received part of the response.
    pub(crate) received: Vec<u8>,
}

impl Begun {
    #[cfg(feature = "peer")]
    pub(crate) fn new(authority: &str) -> Self {
        Self { authority: authority.into(), connection: Arc::default() }
    }

    #[cfg(feature = "peer")]
    pub(crate) fn put(&self, connection: BegunConnection) {
        *self.connection.lock() = Some(connection);
    }

    /// Takes the connection, if the request goes to its authority.
    pub(super) fn take(&self, authority: &str) -> Option<BegunConnection> {
        if *self.authority == *authority { self.connection.lock().take() } else { None }
    }
}
