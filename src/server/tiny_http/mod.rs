//! The second server, on the crate `tiny_http`: small, and only for trusted clients.
//!
//! | file | subject |
//! |---|---|
//! | `server` | [`TinyHttpServer`]: its threads, from start to shutdown |
//! | `queues` | two bounded queues, and the rejection of requests over the limit |
//! | `exchange` | one request, from the validation of its head to its response |
//! | `self_connect` | periodic connections, which free those that tiny_http forgot |
//! | `response` | sending one response |
//!
//! # The life of a request
//!
//! The entry is [`TinyHttpServer::bind`]. tiny_http reads each connection on a thread of its own and puts the
//! requests into one queue. A dispatcher takes requests from there and puts them into one of two bounded
//! queues: one for requests without a body or with a short one that has been read already, one for requests
//! whose body is still to be read. Each queue has a fixed number of workers, and one thread that responds to
//! the requests that find it full. Therefore a client that does not send its announced body delays no request
//! without one. A worker reads the body, calls the handler and writes the response.
//!
//! [`TinyHttpServer`] lists the limits of this server.

mod exchange;
mod queues;
mod response;
mod self_connect;
mod server;
#[cfg(test)]
mod tests;

pub use server::TinyHttpServer;
