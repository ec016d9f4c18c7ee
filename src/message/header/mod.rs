//! Header fields: pure functions that parse and format field values. Caching decisions are not made here.
//!
//! | file | content |
//! |---|---|
//! | `list` | comma-separated lists and quoted strings (RFC 9110 section 5.6) |
//! | `token` | the bytes of a token (RFC 9110 section 5.6.2) |
//! | `date` | the three forms of an HTTP date |
//! | `cache_groups` | `Cache-Groups` (RFC 9875) |
//! | `cache_control` | `Cache-Control` and `Pragma`, of requests and responses |
//! | `structured` | structured fields: dictionaries and lists (RFC 8941) |
//! | `entity_tag` | entity tags and their two comparisons |
//! | `number` | numbers as field values |
//! | `quality` | lists whose members have weights, such as `Accept` |
//! | `range` | `Range` and `Content-Range` |
//! | `retry_after` | `Retry-After` |
//! | `hop_by_hop` | fields that end at the next hop |
//! | `credential` | which fields may hold credentials |
//! | `host_bound` | fields whose meaning depends on the host |
//!
//! The parsers accept any bytes and never panic, because field values come from untrusted senders.

pub(crate) mod cache_control;
pub(crate) mod cache_groups;
pub(crate) mod credential;
pub(crate) mod date;
pub(crate) mod entity_tag;
pub(crate) mod hop_by_hop;
pub(crate) mod host_bound;
pub(crate) mod list;
pub(crate) mod number;
pub(crate) mod quality;
pub(crate) mod range;
pub(crate) mod retry_after;
pub(crate) mod structured;
pub(crate) mod token;
