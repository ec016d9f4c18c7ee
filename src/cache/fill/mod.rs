//! Bodies in transit: one source, any number of readers, and the store at the end.
//!
//! A fill has no dedicated thread. A reader that may block reads from the source itself, on behalf of all readers. If
//! all readers are non-blocking, a worker runs a driver, which reads from the source for them.
//!
//! | file | subject |
//! |---|---|
//! | `beginning` | keeps the beginning of a body whose transfer is interrupted |
//! | `interruption` | when a beginning is reported and taken |
//! | `hashing` | the digest of a body in transit |
//! | `buffered_pieces` | the pieces of a body that are in memory (pure) |
//! | `failure` | an error that is reported to each reader |
//! | `keeping` | the limits of a body that is stored, and the call that stores it |
//! | `state` | the progress of a body and of its readers (pure) |
//! | `transfer` | [`Fill`]: reads from the source on behalf of the readers |
//! | `spilling` | moves a body to a file, and stores a whole body |
//! | `driver` | reads a body from its source on a worker |
//! | `reader` | [`FillReader`]: reads a body from its beginning, blocking or not |
//! | `prepare` | prepares a response for a thread that never blocks |

mod beginning;
mod buffered_pieces;
mod driver;
mod failure;
mod hashing;
mod interruption;
mod keeping;
mod prepare;
mod reader;
mod spilling;
mod state;
mod transfer;

#[cfg(test)]
mod tests;

pub(crate) use keeping::{Arrived, BeginSpill, Commit, ContinueSpill, KeepBeginning, Keeping};
pub(crate) use prepare::{is_bodiless, prepared};
pub(crate) use reader::FillReader;
pub(crate) use transfer::Fill;
