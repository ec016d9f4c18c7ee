//! Tunnels (RFC 9110 section 9.3.6): bytes between a client and the server that its CONNECT request named.
//!
//! | file | subject |
//! |---|---|
//! | `flow` | one direction: bytes on their way, its end, back pressure |
//! | `relay` | both directions of one tunnel, and the check of its first bytes |
//! | `set` | the tunnels of one I/O thread |
//!
//! A tunnel has no thread. An idle tunnel holds no buffer: bytes go from one socket to the other through a buffer of the
//! thread, and only those that the other socket does not accept are kept, at most one read for each direction. Until they
//! are written, the tunnel reads no more in that direction.

mod flow;
mod relay;
mod set;

pub(super) use relay::Opened;
pub(super) use set::{FIRST, Tunnels};
