//! The `RoundTrip` that remembers: it looks up, fills, revalidates, serves stale and invalidates, as
//! `policy` decides.
//!
//! | file | what it holds |
//! |---|---|
//! | `engine` | `HttpCache`: a request's way through the cache |
//! | `hit` | the shortest way: a plain request for what is stored, fresh and whole |
//! | `step` | the next step of a request: serve, wait, or fetch |
//! | `pending` | a request that waits for a fetch |
//! | `fetching` | asking the origin, and what its answer comes to |
//! | `keeping` | what becomes of a response that came from the origin |
//! | `builder` | what it is made of |
//! | `incoming` | a request, with what the engine asks of it computed once |
//! | `keys` | under which key the answers to a request are stored |
//! | `credential` | how one credential is told from another without being kept |
//! | `lookup` | what the stored responses are good for: serve, or forward with which validators |
//! | `explain` | the same as a dry run, that says what would happen |
//! | `explanation` | what that says, as data and as lines |
//! | `forwarding` | what is sent to the origin, and what came back |
//! | `answer` | a stored response as an answer to a request |
//! | `parts` | parts of a body: kept, joined, completed |
//! | `post` | POST requests whose responses are stored under their content |
//! | `near` | what is different beside the one who asks, where the owner is asked |
//! | `refresh` | what was served stale, refreshed behind the client's back |
//! | `ranges` | a part, or several, of a stored body |
//! | `tombstones` | what was invalidated, and when |
//! | `soft_purges` | what is stale because somebody says so |
//! | `failures` | fetches that failed a moment ago |
//! | `purging` | what is to be forgotten because somebody says so |
//! | `uncacheable` | what turned out not to be for sharing, so that nobody waits for it |
//! | `unstored` | why the last response of a URL was not stored |
//! | `guarded_store` | the store, whose trouble is never the client's |

mod answer;
mod blocking;
mod builder;
mod bypass;
mod credential;
mod engine;
mod explain;
mod explanation;
mod failures;
mod fetching;
pub(crate) mod fill;
mod flight;
mod forwarding;
mod guarded_store;
mod hit;
mod hit_for_miss;
mod incoming;
mod invalidation;
mod keeping;
mod keys;
mod lookup;
mod near;
mod partial;
mod pending;
mod post;
mod purging;
mod ranges;
mod refresh;
mod refresh_queue;
pub(crate) mod singleflight;
mod soft_purges;
mod step;
mod tombstones;
mod unstored;

pub use builder::HttpCacheBuilder;
pub use engine::HttpCache;
pub use explanation::{ExplainedResponse, Explanation, NotStoredFetch, Verdict};
pub(crate) use near::NearRules;
pub use refresh_queue::Background;

#[cfg(test)]
mod tests;
