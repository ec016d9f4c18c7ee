//! Politeness to origins: how much is asked of one, and when it is left alone.
//!
//! | file | what it holds |
//! |---|---|
//! | `asking` | [`Polite`]: the [`RoundTrip`](crate::RoundTrip) that lets through what may be asked |
//! | `options` | [`Politeness`]: the limits |
//! | `place` | a fetch that is under way: its place, held until its body is at its end |
//! | `budgets` | the origins of which something has to be remembered |
//! | `budget` | one of them: what is under way, and who waits |
//! | `kept` | what may be had of it where it is kept here, and what is lent to others |
//! | `leased` | what may be had of it where another peer keeps it |
//! | `lease` | what these two say to each other |
//! | `keepers` | who keeps which budget, and how it is asked |
//! | `steward` | the thread that asks |
//! | `bucket` | how often: a token bucket |
//! | `pause` | `Retry-After`, 429 and 503 |
//!
//! `asking`, `place` and `steward` are the edge. All others decide over a given time, and know no clock, thread or lock.
//!
//! # Held for the whole pool
//!
//! The budget of an origin is kept by the peer that the ring gives for `scheme://authority/`. A peer that wants to ask
//! the origin borrows of it: so many places, for a second, and so many requests, of which some may be sent later, so
//! that under load there are a few questions a second and origin and not one for each request. Of what is lent, nothing
//! is lent again before it has run out, so the sum is within the limits whoever dies. In a time of `t` seconds no more
//! than `burst + rate * (t + 1)` requests are sent, as what was lent may be used up to a second later. What a
//! keeper cannot see may put the pool past a limit for a while: peers that cannot reach it while others can go by their
//! shares beside it; fetches that go on when their lease cannot be prolonged are not broken off; where there are more
//! peers than places, shares are at least one; and for three seconds after the pool has changed, or a keeper was started
//! anew, some may still go by their shares, which is why it gives nobody more than a share of the places until then.

mod asking;
mod bucket;
mod budget;
mod budgets;
mod keepers;
mod kept;
mod lease;
mod leased;
mod options;
mod pause;
mod place;
mod steward;

#[cfg(test)]
mod pool_tests;
#[cfg(test)]
mod tests;

pub use asking::Polite;
pub(crate) use keepers::Keepers;
pub use options::Politeness;
