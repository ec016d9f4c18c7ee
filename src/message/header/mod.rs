//! What header fields say: pure helpers over bytes, with no opinion on caching.
//!
//! | file | what it reads |
//! |---|---|
//! | `list` | comma-separated lists and quoted strings (RFC 9110 section 5.6) |
//! | `token` | the bytes of a token (RFC 9110 section 5.6.2) |
//! | `date` | the three forms of an HTTP date |
//! | `cache_groups` | `Cache-Groups` (RFC 9875) |
//! | `cache_control` | `Cache-Control` and `Pragma`, of requests and of responses |
//! | `structured` | structured fields: dictionaries and lists (RFC 8941) |
//! | `entity_tag` | entity tags and their two comparisons |
//! | `number` | numbers, written |
//! | `quality` | which member of a weighted list is wanted most |
//! | `range` | `Range` and `Content-Range` |
//! | `hop_by_hop` | the fields that end at the next hop |
//!
//! Everything here takes any bytes and never panics: fields come from strangers.

pub(crate) mod cache_control;
pub(crate) mod cache_groups;
pub(crate) mod date;
pub(crate) mod entity_tag;
pub(crate) mod hop_by_hop;
pub(crate) mod host_bound;
pub(crate) mod list;
pub(crate) mod number;
pub(crate) mod quality;
pub(crate) mod range;
pub(crate) mod structured;
pub(crate) mod token;
