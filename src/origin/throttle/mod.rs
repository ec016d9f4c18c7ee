//! Limits on what is asked of one origin, and pauses that origins ask for.
//!
//! | file | content |
//! |---|---|
//! | `throttle` | [`Throttle`]: the [`RoundTrip`](crate::RoundTrip) that holds requests back |
//! | `options` | [`OriginLimits`]: the limits, and the share of one peer |
//! | `permit` | the place of a running fetch, held until its body ends |
//! | `origins` | the state of all origins, bounded in number |
//! | `origin` | the state of one origin: running fetches, waiting requests, rate |
//! | `bucket` | a token bucket |
//! | `pauses` | the remembered pauses, by origin and credential |
//! | `pause` | `Retry-After`, 429 and 503 |
//!
//! `asking` and `place` hold the clock, the lock and the waiting threads. All others decide over a given time.
//!
//! # Shares
//!
//! The limits are those of the whole pool. Peers do not talk about them: each keeps to its share, which is the limit
//! times its own weight over the weights of all members that it does not know to be away. The share is computed anew
//! for each request, so a change of the pool takes effect at once. The pool as a whole exceeds a limit only where
//! shares do not add up to it: every share is at least one fetch at a time and a burst of one, and peers that do not
//! see each other, or know different members, count fewer weights, up to the whole limit each.

mod bucket;
mod options;
mod origin;
mod origins;
mod pause;
mod pauses;
mod permit;
mod throttle;

#[cfg(test)]
mod tests;

pub use options::OriginLimits;
pub(crate) use options::Share;
pub use throttle::Throttle;
