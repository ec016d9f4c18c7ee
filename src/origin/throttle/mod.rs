//! Limits the load on each origin, and pauses when an origin asks for it.
//!
//! The entry is [`Throttle`]. Files in reading order:
//!
//! | file | content |
//! |---|---|
//! | `throttle` | [`Throttle`]: the [`RoundTrip`](crate::RoundTrip) that delays or refuses requests |
//! | `options` | [`OriginLimits`]: the limits, and the share of one peer |
//! | `permit` | a body that holds the permit of its fetch |
//! | `shared` | the state behind the lock: permits, and the requests that wait for one |
//! | `origins` | the states of all origins, bounded in number |
//! | `origin` | the state of one origin: running fetches, waiting requests, rate |
//! | `bucket` | a token bucket |
//! | `pauses` | the current pauses, by origin and credential |
//! | `pause` | one pause, from `Retry-After`, 429 and 503 |
//!
//! `throttle`, `permit` and `shared` use the clock, the lock and the waiting threads. The other files are
//! pure functions of a given time.
//!
//! # Shares
//!
//! The limits are those of the whole pool. Peers do not negotiate: each uses its share, which is the limit
//! times its own weight over the weights of all members that are not known to be away. The share is computed
//! for each request, so a change of the pool takes effect at once.
//!
//! The pool as a whole exceeds a limit in two cases. Each share is at least one concurrent fetch and a burst
//! of one, so that many peers may add up to more than the limit. And peers that do not see each other, or
//! know different members, count too few weights; each of them may use up to the whole limit.

mod bucket;
mod options;
mod origin;
mod origins;
mod pause;
mod pauses;
mod permit;
mod shared;
mod throttle;

#[cfg(test)]
mod tests;

pub use options::OriginLimits;
pub(crate) use options::Share;
pub use throttle::Throttle;
