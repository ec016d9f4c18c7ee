//! Politeness to origins: how much is asked of one, and when it is left alone.
//!
//! | file | what it holds |
//! |---|---|
//! | `asking` | [`Polite`]: the [`RoundTrip`](crate::RoundTrip) that lets through what may be asked |
//! | `options` | [`Politeness`]: the limits |
//! | `place` | a fetch that is under way: its place, held until its body is at its end |
//! | `budgets` | the origins of which something has to be remembered |
//! | `budget` | one of them: what is under way, and who waits |
//! | `kept` | what may be had of it, by whom it is kept |
//! | `bucket` | how often: a token bucket |
//! | `pause` | `Retry-After`, 429 and 503 |
//!
//! All but the first and `place` decide over a given time, and know no clock, thread or lock.

mod asking;
mod bucket;
mod budget;
mod budgets;
mod kept;
mod options;
mod pause;
mod place;

#[cfg(test)]
mod tests;

pub use asking::Polite;
pub use options::Politeness;
