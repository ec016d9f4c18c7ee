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
//! * [`Membership`] keeps the list of peers up to date from a file, a DNS name or a registry.
//! * [`HttpCache`] is only the cache, in front of any [`RoundTrip`].
//!
//! ```no_run
//! let client = forwardcache::Client::builder().pool(["http://10.0.0.1:3000"]).build()?;
//! let response = client.get("https://example.com/")?;
//! println!("{}", response.into_body().into_text()?);
//! # Ok::<(), forwardcache::Error>(())
//! ```
//!
//! # Features
//!
//! Features are additive.
//!
//! | feature | default | content |
//! |---|---|---|
//! | `peer` | yes | [`Peer`], [`HttpCache`], the stores, the caching rules, [`Server`] |
//! | `tiny_http` | no | a second server, based on the crate tiny_http |
//! | `cli` | no | the command `forwardcache` |
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
#![cfg_attr(not(feature = "peer"), allow(dead_code, unused_imports))]

mod base;
#[cfg(feature = "peer")]
mod cache;
mod client;
#[cfg(test)]
#[cfg(feature = "peer")]
mod fuzzing;
mod message;
mod origin;
#[cfg(feature = "peer")]
mod peer;
#[cfg(feature = "peer")]
mod policy;
mod pool;
#[cfg(feature = "peer")]
mod scheduler;
#[cfg(feature = "peer")]
mod server;
#[cfg(feature = "peer")]
mod store;

pub use base::byte_size::{ByteSize, InvalidByteSize};
pub use base::cancellation::{CancelHook, Cancellation};
pub use base::clock::{Clock, ManualClock, Moment, SystemClock};
pub use base::error::{Error, ErrorKind, Result};
pub use base::token::Tokens;
pub use client::agent::{agent, agent_with_config};
pub use client::membership::{Membership, MembershipWatcher, Polled};
pub use client::{Client, ClientBuilder, ClientCounts, OnNoPeers, PeerHealth, PeerState};
pub use message::body::Body;
pub use message::cache_mode::CacheMode;
pub use message::deadline::Deadline;
pub use message::interim::OnInterim;
pub use message::pieces::Pieces;
pub use message::purge::{Purge, Purged};
pub use message::round_trip::{Offline, RoundTrip, RoundTripFn};
pub use message::stats::{Forward, Outcome};
pub use message::url::{CanonicalUrl, InvalidUrl};
pub use origin::access::{AddressClass, InvalidOriginRule, OriginPattern, OriginRules, Refused};
pub use origin::{Origin, OriginBuilder};
pub use pool::discovery::{Discovery, DnsDiscovery, FileDiscovery, FnDiscovery, MembershipChange};
pub use pool::member::{InvalidMember, Member};
pub use pool::peer_url::{InvalidPeerUrl, PeerUrl};
pub use pool::purge::{PeerPurged, PoolPurged};
pub use pool::ring::{HashFunction, Rendezvous, Ring, RingKind};

#[cfg(feature = "peer")]
pub use base::ledger::Ledger;
#[cfg(feature = "peer")]
pub use cache::{
    Background, ExplainedResponse, Explanation, HttpCache, HttpCacheBuilder, NotStoredFetch, Verdict,
};
#[cfg(feature = "peer")]
pub use client::near_cache::NearCache;
#[cfg(feature = "peer")]
pub use message::stats::{Counts, Stats};
#[cfg(feature = "peer")]
pub use origin::throttle::{OriginLimits, Throttle};
#[cfg(feature = "peer")]
pub use peer::{AccessLogFile, AccessLogFormat, Peer, PeerBuilder};
#[cfg(feature = "peer")]
pub use policy::{
    BadLifetimeRule, Flag, Lifetime, LifetimeRule, LifetimeSource, Mode, Rule, Rules, UnknownFields,
    Validity, Variant,
};
#[cfg(feature = "tiny_http")]
pub use server::TinyHttpServer;
#[cfg(feature = "peer")]
pub use server::{
    AccessLog, AccessRecord, Handler, Listener, Listeners, RemoteAddress, Server, ServerConfig, ServerHandle,
    ServerTls, ShutdownHandle, TrustedProxies,
};
#[cfg(feature = "disk")]
pub use store::DiskStore;
#[cfg(feature = "peer")]
pub use store::{
    BackedStore, ByteStore, ByteStoreKeys, Key, Lru, MAX_VARIANTS, MemoryByteStore, MemoryStore, Store,
    StoreError, StoredResponse, Usage, Variants, default_capacity,
};

// Only documentation builds compile the guide.
#[cfg(all(any(doc, doctest), feature = "peer"))]
pub mod guide;

/// The README, whose examples run as doctests.
#[cfg(all(doctest, feature = "peer"))]
#[doc = include_str!("../README.md")]
mod readme {}
