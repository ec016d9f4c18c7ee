//! A distributed, private, forward HTTP cache for blocking programs.
//!
//! A pool of peers shares one cache. Consistent hashing assigns each URL to one owner. The owner fetches the URL from
//! its origin once, stores the response for as long as RFC 9111 allows, and serves it to all other clients and peers.
//! HTTPS is cached too, because peers fetch on behalf of clients. There is no async runtime: calls block, on a
//! bounded number of threads.
//!
//! * [`Client`] sends requests to a pool. [`agent()`] makes the cache available to programs that use ureq.
//! * [`Peer`] is a member of the pool: it owns a share of the URLs and serves them, in any server through
//!   [`Peer::handler`] or in the bundled server through [`Peer::serve`].
//! * [`Membership`](client::Membership) keeps the list of peers up to date from a file, a DNS name or a registry.
//! * [`HttpCache`] is only the cache, in front of any [`RoundTrip`].
//!
//! ```no_run
//! use forwardcache::{Client, ResponseExt};
//!
//! let client = Client::builder().pool(["http://10.0.0.1:3000"]).build()?;
//! println!("{}", client.get("https://example.com/").send()?.text()?);
//! # Ok::<(), forwardcache::Error>(())
//! ```
//!
//! # Features
//!
//! Features are additive.
//!
//! | feature | default | content |
//! |---|---|---|
//! | `peer` | yes | [`Peer`], [`HttpCache`], the stores, the caching rules, [`Server`](server::Server) |
//! | `json` | no | `json()` of [`RequestBuilder`] and [`ResponseExt`] |
//! | `disk` | no | [`DiskStore`](store::DiskStore), [`cached_agent`] |
//! | `redis` | no | [`RedisStore`](store::RedisStore) |
//! | `tiny_http` | no | a second server, based on the crate tiny_http |
//! | `cli` | no | the command `forwardcache`; includes `disk`, `redis` and `tiny_http` |
//!
//! Without features the crate is a client and contains neither a server nor a store.
//!
//! # Logging
//!
//! The crate logs through the `log` crate. `warn` reports failures, such as those of a store or an origin, even if
//! clients did not notice them. `info` reports the start and end of a server and changes of the pool. `debug` reports
//! the outcome of every request. The userinfo, query and fragment of URLs are never logged, nor are credentials.
//!
//! # Memory
//!
//! A stored response takes the size of its encoded head, its body, and some 500 bytes. The default store counts all
//! of it. Serving a body from the default store does not copy it.
#![cfg_attr(
    all(any(doc, doctest), feature = "peer"),
    doc = "\n# Guide\n\nThe pages of [`guide`] explain pools, caching, security, operation and the architecture."
)]
// A build with only the client uses a part of the shared modules.
#![cfg_attr(not(feature = "peer"), allow(dead_code, unused_imports, unreachable_pub))]

mod base;
#[cfg(feature = "peer")]
pub mod cache;
pub mod client;
#[cfg(test)]
#[cfg(feature = "peer")]
mod fuzzing;
mod message;
pub mod metrics;
pub mod origin;
#[cfg(feature = "peer")]
pub mod peer;
#[cfg(feature = "peer")]
pub mod policy;
pub mod pool;
#[cfg(feature = "peer")]
mod scheduler;
#[cfg(feature = "peer")]
pub mod server;
#[cfg(feature = "peer")]
pub mod store;

pub use http;

pub use base::cancellation::Cancellation;
pub use base::clock;
pub use base::error::{Error, ErrorKind, Result};
#[cfg(feature = "peer")]
pub use cache::HttpCache;
pub use client::Client;
#[cfg(feature = "disk")]
pub use client::agent::cached_agent;
pub use client::agent::{agent, agent_with_config};
pub use message::body::Body;
pub use message::cache_mode::CacheMode;
pub use message::deadline::Deadline;
pub use message::purge::Purge;
pub use message::request_builder::RequestBuilder;
pub use message::response_ext::ResponseExt;
pub use message::response_info::ResponseInfo;
pub use message::round_trip::{RoundTrip, RoundTripFn};
pub use message::stats::Outcome;
pub use origin::Origin;
#[cfg(feature = "peer")]
pub use peer::Peer;

// Only documentation builds compile the guide.
#[cfg(all(any(doc, doctest), feature = "peer"))]
pub mod guide;

/// The README, whose examples run as doctests.
#[cfg(all(doctest, feature = "disk"))]
#[doc = include_str!("../README.md")]
mod readme {}
