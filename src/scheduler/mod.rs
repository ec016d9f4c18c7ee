//! Worker threads for jobs that may block, shared fairly between origins and clients.
//!
//! Entry: [`Scheduler::submit`]. Reading order:
//!
//! | file | content |
//! |---|---|
//! | `client` | [`ClientAddress`]: the client on whose behalf a job runs |
//! | `fair_share` | [`FairShare`](fair_share::FairShare): how many threads an origin and a client may occupy; pure |
//! | `queue` | [`Queue`](queue::Queue): the jobs that wait for a thread, and which is next; pure |
//! | `ramp` | [`Ramp`](ramp::Ramp): how many jobs may start on additional threads at a time; pure |
//! | `pool` | [`Pool`](pool::Pool): threads that start on demand and end when idle |
//! | `dispatch` | [`Scheduler`]: a pool for fetches, one for requests to other peers, and two small pools for control |
//! | `servers` | [`Servers`]: the servers of one peer |
//! | `blocking` | [`Shares`]: limits for a server with its own threads |
//! | `limits` | the system's limits of threads and open files |
//!
//! # Why peers do not deadlock
//!
//! A job of [`Lane::Own`](crate::message::nonblocking::Lane::Own) never waits for another peer. A job of
//! [`Lane::Peers`](crate::message::nonblocking::Lane::Peers) waits for the responses of other peers, which their `Own`
//! threads generate. The threads of one lane never run jobs of the other. Therefore two peers that purge the pool at
//! the same time do not wait for each other, and neither waits for an origin.
//!
//! A job of [`Lane::Gateway`](crate::message::nonblocking::Lane::Gateway) waits for the owner of a URL. The owner answers
//! from its store or by a fetch, and never asks a further peer for it. Therefore two peers that forward requests to each
//! other wait for their fetches only.

mod blocking;
mod client;
mod dispatch;
mod fair_share;
mod limits;
mod pool;
mod queue;
mod ramp;
mod servers;
#[cfg(test)]
mod tests;

pub(crate) use blocking::{Share, Shares};
pub(crate) use client::ClientAddress;
pub(crate) use dispatch::{Scheduler, SchedulerLoad};
pub(crate) use limits::max_open_files;
pub(crate) use pool::PoolOptions;
pub(crate) use servers::Servers;
