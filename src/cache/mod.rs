//! The HTTP cache: options of an [`HttpCache`], and explanations of its decisions.
//!
//! [`HttpCache::builder`] is the entry.

// [`HttpCache`]: an HTTP cache (RFC 9111) in front of any `RoundTrip`. It looks up, fetches, validates, stores and
// invalidates; `policy` decides what is allowed.
//
// The entry is [`HttpCache`], which [`HttpCacheBuilder`] builds. The life of a request:
//
// ```text
// request ─▶ hit ──────── fresh and plain ─────────────────────────────────────────────────────▶ response
//             │ otherwise
//             ▼
//           step ─▶ lookup ── fresh, or stale and allowed ──────────▶ answer ──────────────────▶ response
//             │                                                          ▲
//             │  not fresh                                               │ 304, or the origin failed
//             ├─▶ another request fetches the same: pending              │
//             │                                         │ result         │
//             ▼                                         ▼                │
//           fetching ─▶ forwarding ─▶ origin ─▶ response of the origin ──┤
//             ▲                                                          │ 200
//             │                                                          ▼
//     blocking: on the caller's thread                          keeping ─▶ fill ─▶ readers ────▶ response
//     event loop: on a worker                                               └─▶ store, once the body is whole
// ```
//
// | file | subject |
// |---|---|
// | `engine` | [`HttpCache`]: its parts and public methods |
// | `builder` | [`HttpCacheBuilder`] |
// | `incoming` | a request, with the values that the cache derives from it |
// | `keys`, `credential` | the key of a request; partitions for credentials |
// | `hit` | the fast path: a plain request for a fresh, whole response |
// | `step` | the next step of a request: serve, wait or fetch |
// | `lookup` | what the stored responses can do for a request |
// | `blocking` | runs the steps on a thread that may block |
// | `pending` | a request that waits for a fetch |
// | `tier_lookup` | a lookup in the tier below memory |
// | `recent` | which bodies are worth a place in memory |
// | `singleflight`, `flight` | requests for the same thing share one fetch |
// | `fetching` | sends a request to the origin and turns the response into an answer; 304 leads to `keeping` |
// | `forwarding` | the request to the origin, and its response |
// | `keeping` | decides whether a response is stored; freshens a stored response after a 304 |
// | `head` | the head of a response to store |
// | `fill` | bodies in transit |
// | `answer`, `ranges` | the answer from a stored response; ranges of its body |
// | `serving` | returns responses with their `Cache-Status` |
// | `partial` | partial responses: storing, joining, completing |
// | `recovery` | the rest of a stored body that turns out to be damaged while it is sent |
// | `beginnings` | interrupted transfers: what has arrived is stored as a part |
// | `post` | POST requests whose responses are stored under their content |
// | `near` | the rules of a near cache |
// | `refresh`, `refresh_queue` | background refreshes |
// | `bypass` | requests that are forwarded past the store |
// | `invalidation`, `purging` | invalidation by unsafe requests, and by purges |
// | `tombstones`, `tombstone_list` | all invalidations in order, soft purges included, and the fetches under way |
// | `sweeps` | invalidated groups that wait to be removed from the store |
// | `guarded_store` | the store, without its errors and without invalidated responses |
// | `key_table` | values of the keys that were used last, in little memory |
// | `failures` | fetches that failed within the last second |
// | `hit_for_miss` | keys whose last response could not be shared |
// | `unstored` | why the last response of a URL was not stored |
// | `explain`, `explanation` | a dry run, and its result |

mod answer;
mod beginnings;
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
mod head;
mod hit;
mod hit_for_miss;
mod incoming;
mod invalidation;
mod keeping;
mod key_table;
mod keys;
mod lookup;
mod near;
mod partial;
mod pending;
mod post;
mod purging;
mod ranges;
mod recent;
mod recovery;
mod refresh;
mod refresh_queue;
mod serving;
pub(crate) mod singleflight;
mod step;
mod sweeps;
mod tier_lookup;
mod tombstone_list;
mod tombstones;
mod unstored;

pub use builder::HttpCacheBuilder;
pub use engine::HttpCache;
pub use explanation::{ExplainedResponse, Explanation, NotStoredFetch, Verdict};
pub(crate) use near::NearRules;
pub use refresh_queue::Background;

#[cfg(test)]
mod tests;
