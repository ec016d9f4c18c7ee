//! The front on the crate `tiny_http`: small, and for trusted clients only.
//!
//! | file | what it holds |
//! |---|---|
//! | `server` | [`TinyHttpServer`]: its threads, from start to shutdown |
//! | `lanes` | two bounded queues, and who is turned away |
//! | `exchange` | one request, from its checked head to the handler's answer |
//! | `nudge` | a connection now and then, which frees those that tiny_http forgot |
//! | `answer` | one response on its way to the wire |
//!
//! # How it serves
//!
//! tiny_http has one thread for each connection and puts what it reads into one queue. A dispatcher
//! takes requests from there and offers each to one of two lanes: requests without a body, or with a
//! short one that has been read already, and requests whose body is still to be read. A lane is a
//! bounded queue, a fixed number of workers, and one thread that tells those who find the queue full.
//! So a client that announces a body and does not send it holds up nobody without a body. A worker
//! reads the body, calls the handler and writes the answer.
//!
//! Its limits stand at [`TinyHttpServer`].

mod answer;
mod exchange;
mod lanes;
mod nudge;
mod server;
#[cfg(test)]
mod tests;

pub use server::TinyHttpServer;
