//! A scripted origin that checks itself.
//!
//! | module | subject |
//! |---|---|
//! | `server` | `Origin`: listens, counts, and fails the test in `Drop` |
//! | `connection` | one connection: requests in, replies out |
//! | `reply` | `Reply`: what is answered and how it is put on the wire |
//! | `received` | `Received`: a request as it came |
//! | `gate` | `Gate`: a point where a reply stops until the test goes on |
//! | `stream` | what a connection asks of a socket, with TLS or without |

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
