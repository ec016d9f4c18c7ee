//! A `ureq::Agent` whose requests go through a [`RoundTrip`](crate::RoundTrip) and not to the network.
//!
//! ureq speaks HTTP/1.1 over a transport that it lets others provide. The one here is no connection:
//! it reads the request out of what ureq writes, makes the round trip on the caller's thread, and
//! writes the response as ureq asks for it.
//!
//! | file | what lives there |
//! |---|---|
//! | `connector` | the public functions, and what ureq is given in place of sockets and DNS |
//! | `transport` | one exchange: the order of things, and errors on their way through ureq |
//! | `request` | from the bytes that ureq writes to a request |
//! | `chunked` | the chunked coding of request bodies, undone |
//! | `response` | from a response to the bytes that ureq reads |
//! | `read_ahead` | a body that is waited for no longer than ureq's limits say |

mod chunked;
mod connector;
mod read_ahead;
mod request;
mod response;
mod transport;

pub use connector::{agent, agent_with_config};

#[cfg(test)]
mod tests;
