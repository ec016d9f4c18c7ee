//! Threads for what has to wait, and who gets the next one.
//!
//! | file | what it holds |
//! |---|---|
//! | `fair_share` | [`FairShare`](fair_share::FairShare): how many threads an origin and a client may have; pure |
//! | `ramp` | how many jobs are begun at once before it is known whether they are quick |
//! | `queue` | [`Queue`](queue::Queue): what waits for a thread, and what is next; pure |
//! | `pool` | [`Pool`](pool::Pool): threads that are started on demand and end when they are idle |
//! | `control` | [`Scheduler`]: a pool for fetches, and two small ones for control |
//! | `servers` | [`Servers`]: the servers of one peer |
//! | `client` | [`Client`]: for whom a job is done |
//! | `blocking` | [`Shares`]: shares of a server whose threads belong to somebody else |
//! | `limits` | how many threads and open files the system has room for |
//!
//! # Who waits for whom
//!
//! A job of [`Lane::Own`](crate::message::nonblocking::Lane::Own) waits for nobody, and one of [`Lane::Peers`](crate::message::nonblocking::Lane::Peers)
//! waits for the answers of other peers, which come from their `Own` threads. The threads of one lane never run jobs of
//! the other, so two peers that purge the pool at the same time do not wait for each other, and neither waits for origins.

mod blocking;
mod client;
mod control;
mod fair_share;
mod limits;
mod pool;
mod queue;
mod ramp;
mod servers;
#[cfg(test)]
mod tests;

pub(crate) use blocking::{Share, Shares};
pub(crate) use client::Client;
pub(crate) use control::{Numbers, Scheduler};
pub(crate) use limits::most_open_files;
pub(crate) use pool::PoolOptions;
pub(crate) use servers::Servers;
