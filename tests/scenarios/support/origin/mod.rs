//! A scripted origin that checks itself.
//!
//! | module | subject |
//! |---|---|
//! | `server` | `Origin`: listens, records requests, and fails the test in `Drop` |
//! | `connection` | one connection: requests in, replies out |
//! | `reply` | `Reply`: the scripted response and how it is sent |
//! | `received` | `Received`: a recorded request |
//! | `gate` | `Gate`: pauses a reply until the test continues |
//! | `stream` | the socket operations that a connection needs, with or without TLS |

mod connection;
mod gate;
mod received;
mod reply;
mod server;
mod stream;

pub(crate) use gate::Gate;
pub(crate) use received::Received;
pub(crate) use reply::{Piece, Reply};
pub(crate) use server::{Origin, in_order};
pub(crate) use stream::{Socket, Stream};
