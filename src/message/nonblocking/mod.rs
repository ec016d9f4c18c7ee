//! Requests on threads that must not wait.
//!
//! An I/O thread serves thousands of connections, so it never waits for an origin, a disk or another request. For each
//! request it gets the next [`Step`]: serve a response, wait, or hand a [`Job`] to a thread that may block.
//!
//! | file | content |
//! |---|---|
//! | `step` | [`Step`] and [`Job`]: the next step of a request |
//! | `ask` | [`Ask`]: a request to a peer that an event loop sends itself |
//! | `plain` | [`PlainRequest`]: a simple GET request without special header fields |

mod ask;
mod plain;
mod step;

pub(crate) use ask::Ask;
pub(crate) use plain::{PlainField, PlainRequest};
pub(crate) use step::{
    BodyOrigin, Collecting, Content, Job, JobResult, Lane, Refused, RunMode, Slot, Spawn, Step, Waiting,
    Wakes,
};
