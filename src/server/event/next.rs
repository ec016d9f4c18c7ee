//! [`Next`]: what an I/O thread does next for a connection.

/// The next action of the I/O thread for a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// Wait for the socket or for another thread.
    Wait,
    /// Advance it again, after other connections.
    Again,
    /// Turn it into a tunnel.
    Tunnel,
    Close,
}
