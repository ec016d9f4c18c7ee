//! Requests to peers that the event loop sends itself over non-blocking connections, so that no thread waits for them.
//!
//! | file | subject |
//! |---|---|
//! | `connection` | one connection and the exchange on it |
//! | `set` | the connections of one I/O thread |
//!
//! Only short, complete responses are read here. A job whose response is long, late or failed runs on a thread: it gets
//! the connection and the received bytes, or asks again if the connection failed before a response.

mod connection;
mod set;
#[cfg(test)]
mod tests;

pub(super) use set::{FIRST, Upstreams};
