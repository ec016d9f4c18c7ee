//! A `ureq::Agent` whose requests go through a [`RoundTrip`](crate::RoundTrip) and not to the network.
//!
//! ureq speaks HTTP/1.1 over a transport that a program can replace. This transport is not a connection: it
//! parses the request that ureq writes, runs the round trip on the caller's thread, and serialises the
//! response as ureq reads it.
//!
//! | file | what it holds |
//! |---|---|
//! | `cached` | an agent with a cache in a directory |
//! | `connector` | the public functions, and the replacements of ureq's sockets and DNS |
//! | `transport` | one request and its response, and how errors pass through ureq |
//! | `request` | parses the bytes that ureq writes into a request |
//! | `chunked` | decodes chunked request bodies |
//! | `response` | serialises a response into the bytes that ureq reads |
//! | `read_ahead` | a body whose reads end at ureq's time limit |

#[cfg(feature = "disk")]
mod cached;
mod chunked;
mod connector;
mod read_ahead;
mod request;
mod response;
mod transport;

#[cfg(feature = "disk")]
pub use cached::cached_agent;
pub use connector::{agent, agent_with_config};

#[cfg(test)]
mod tests;
