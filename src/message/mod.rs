//! The parts of HTTP messages, and the types that describe a request and its result. Start with `round_trip`; the
//! table lists the modules in reading order.
//!
//! | module | content |
//! |---|---|
//! | `round_trip` | [`RoundTrip`](round_trip::RoundTrip): sends a request and returns the response |
//! | `url` | [`CanonicalUrl`](url::CanonicalUrl): the canonical form of a URL |
//! | `header` | parsers for header fields |
//! | `body`, `pieces`, `body_piece`, `limited_body` | [`Body`](body::Body), and the shared bytes that it consists of |
//! | `open_file` | [`OpenFile`](open_file::OpenFile): the file of a stored body, which several threads read |
//! | `body_identity` | [`BodyIdentity`](body_identity::BodyIdentity): continues a body that broke off |
//! | `stored_bytes` | bodies that are in a file, read in blocks or written while they arrive |
//! | `digest` | SHA-256 digests of bodies (RFC 9530) |
//! | `deadline`, `cache_mode`, `interim` | options of a request: a deadline, use of the cache, interim responses |
//! | `stats` | [`Outcome`](stats::Outcome) and `Cache-Status` (RFC 9211) |
//! | `request_builder` | [`RequestBuilder`](request_builder::RequestBuilder): builds a request and sends it |
//! | `response_ext`, `response_info` | reads bodies of responses; where a response comes from |
//! | `purge` | [`Purge`](purge::Purge): selects the responses to remove |
//! | `nonblocking` | the steps of a request on a thread that must not block |
//!
//! This hall imports only `base`.

pub(crate) mod body;
pub(crate) mod body_identity;
#[cfg_attr(
    not(all(feature = "disk", target_os = "linux")),
    allow(dead_code, reason = "only a store on disk has bodies in files")
)]
pub(crate) mod body_piece;
pub(crate) mod cache_mode;
pub(crate) mod deadline;
pub(crate) mod digest;
pub(crate) mod header;
pub(crate) mod interim;
pub(crate) mod limited_body;
#[cfg(feature = "peer")]
pub(crate) mod nonblocking;
#[cfg_attr(
    not(all(feature = "disk", target_os = "linux")),
    allow(dead_code, reason = "only a store on disk has bodies in files")
)]
pub(crate) mod open_file;
pub(crate) mod pieces;
pub(crate) mod purge;
pub(crate) mod request_builder;
pub(crate) mod response_ext;
pub(crate) mod response_info;
pub(crate) mod round_trip;
pub(crate) mod stats;
#[cfg(feature = "peer")]
pub(crate) mod stored_bytes;
pub(crate) mod url;
