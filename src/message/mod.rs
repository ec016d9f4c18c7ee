//! The parts of HTTP messages, and the types that describe a request and its result.
//!
//! | module | content |
//! |---|---|
//! | `url` | [`CanonicalUrl`](url::CanonicalUrl): the canonical form of a URL |
//! | `header` | parsers for header fields |
//! | `body`, `pieces`, `limited_body` | [`Body`](body::Body) and the shared bytes that it is made of |
//! | `stored_bytes` | bodies that are in a file, read in blocks or written while they arrive |
//! | `digest` | SHA-256 digests of bodies (RFC 9530) |
//! | `deadline`, `cache_mode`, `interim` | what a caller asks for beside the request |
//! | `round_trip` | [`RoundTrip`](round_trip::RoundTrip): a request in, a response out |
//! | `nonblocking` | the steps of a request on a thread that must not block |
//! | `stats` | [`Outcome`](stats::Outcome), `Cache-Status` (RFC 9211), counters |
//! | `purge` | [`Purge`](purge::Purge): which responses to remove |
//!
//! This hall imports `base` only.

pub(crate) mod body;
pub(crate) mod cache_mode;
pub(crate) mod deadline;
pub(crate) mod digest;
pub(crate) mod header;
pub(crate) mod interim;
pub(crate) mod limited_body;
#[cfg(feature = "peer")]
pub(crate) mod nonblocking;
pub(crate) mod pieces;
pub(crate) mod purge;
pub(crate) mod round_trip;
pub(crate) mod stats;
#[cfg(feature = "peer")]
pub(crate) mod stored_bytes;
pub(crate) mod url;
