//! Requests that are answered by threads which never wait.
//!
//! A thread that serves thousands of connections never waits for an origin, a disk or another request. It is told the
//! next step of a request: a response, or to wait, and perhaps a job for a thread that may block.
//!
//! | file | what it holds |
//! |---|---|
//! | `step` | [`Step`], [`Job`]: what is to be done next |
//! | `plain` | [`PlainRequest`]: a request of which nothing has to be interpreted |

mod plain;
mod step;

pub(crate) use plain::{PlainField, PlainRequest};
pub(crate) use step::{
    BodyOf, Collecting, Content, Job, Lane, Made, Refused, Slot, Spawn, Step, Turn, Waiting, Wakes,
};
