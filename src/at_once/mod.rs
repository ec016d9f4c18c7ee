//! What can be said to a request without waiting.
//!
//! A thread that serves thousands of connections never waits for an origin, a disk or another request. What
//! it asks here is answered at once, or comes with what is to be done by a thread that may wait.
//!
//! | file | what it holds |
//! |---|---|
//! | `answer` | [`AtOnce`]: an answer, or how one comes about |
//! | `plain` | [`PlainRequest`]: a request of which nothing has to be interpreted |

mod answer;
mod plain;

pub(crate) use answer::{AtOnce, Wakes};
pub(crate) use plain::{PlainField, PlainRequest};
