//! [`TunnelTo`]: where a CONNECT request leads.

use std::net::TcpStream;
use std::sync::Arc;

use parking_lot::Mutex;

/// A connection to the server that a CONNECT request names (RFC 9110 section 9.3.6): an extension of the response. The
/// server of the request relays bytes between client and connection from then on.
#[derive(Clone, Debug)]
pub(crate) struct TunnelTo(Arc<Mutex<Option<Destination>>>);

/// The other end of a tunnel.
#[derive(Debug)]
pub(crate) struct Destination {
    pub(crate) socket: TcpStream,
    /// The only name that the client may use in TLS, in lower case.
    pub(crate) host: Box<str>,
}

impl TunnelTo {
    pub(crate) fn new(destination: Destination) -> Self {
        Self(Arc::new(Mutex::new(Some(destination))))
    }

    /// Returns the connection, once.
    pub(crate) fn take(&self) -> Option<Destination> {
        self.0.lock().take()
    }
}
