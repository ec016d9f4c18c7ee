//! A body on its way from where it comes to everybody who waits for it.
//!
//! | file | what it holds |
//! |---|---|
//! | `transfer` | [`Fill`]: one source, any number of readers, and what is kept of it |
//! | `state` | how far everything is; pure |
//! | `kept` | the pieces that are in memory; pure |
//! | `failure` | an error that each reader is told |
//! | `reader` | [`FillReader`]: reads from the beginning, waiting or not |
//! | `driver` | who moves a body on whose readers do not wait |
//! | `prepare` | a response whose body a thread can send that never waits |
//!
//! A fill has no thread of its own. A reader that waits moves the body on itself; those that never wait
//! need a driver, which somebody runs who may.

mod driver;
mod failure;
mod kept;
mod prepare;
mod reader;
mod state;
mod transfer;

#[cfg(test)]
mod tests;

pub(crate) use prepare::{is_bodiless, prepared};
pub(crate) use reader::FillReader;
pub(crate) use transfer::{BeginSpill, Commit, Fill, Keeping, Whole};
