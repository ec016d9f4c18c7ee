//! A distributed, private, forward HTTP cache for programs that block.
//!
//! A pool of peers shares one cache. Each URL has one owner, found by consistent hashing; the owner fetches
//! it once from its origin, keeps it for as long as RFC 9111 allows, and answers everybody else. HTTPS is
//! cached too, because a peer fetches on the client's behalf. There is no async runtime: everything blocks,
//! on a fixed number of threads.
//!
//! * [`Client`] asks a pool. [`agent()`] gives its cache to programs that use ureq.
//! * [`Peer`] is a member of the pool: a client that owns a share and answers for it, in any server by
//!   [`Peer::handler`] or by the bundled front with [`Peer::serve`].
//! * [`Membership`] keeps a pool as a list says that is kept elsewhere: a file, a name, a registry.
//! * [`HttpCache`] is the cache alone, over whatever answers requests: a [`RoundTrip`].
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
//! Features only add.
//!
//! | feature | default | what it adds |
//! |---|---|---|
//! | `peer` | yes | [`Peer`], [`HttpCache`], the stores and the rules, [`Server`] |
//! | `tiny_http` | no | a second front, on the crate of that name |
//! | `cli` | no | the command `forwardcache` |
//!
//! Without any it is a client that links no server and no store.
//!
//! # Logging
//!
//! By the `log` crate: `warn` for trouble that a client did or did not notice (a store or an origin that
//! fails), `info` for a front's start and end and for who joins or leaves a pool, `debug` for the outcome of
//! every request. Userinfo, query and fragment of a URL are never logged, nor is any credential.
//!
//! # Memory
//!
//! A stored response takes its head as it goes over the wire, its body, and some 500 bytes; the default store
//! counts all of it. Reading from it copies no body.
#![cfg_attr(
    all(any(doc, doctest), feature = "peer"),
    doc = "\n# Guide\n\nThe pages of [`guide`] explain pools, caching, security, operation and the architecture."
)]
// A client alone uses a part of what it is built of.
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
pub use peer::{Peer, PeerBuilder};
#[cfg(feature = "peer")]
pub use policy::{
    BadLifetimeRule, Flag, Lifetime, LifetimeRule, LifetimeSource, Mode, Rule, Rules, UnknownFields,
    Validity, Variant,
};
#[cfg(feature = "tiny_http")]
pub use server::TinyHttpServer;
#[cfg(feature = "peer")]
pub use server::{Handler, RemoteAddress, Server, ServerConfig, ServerHandle, ServerTls, ShutdownHandle};
#[cfg(feature = "disk")]
pub use store::DiskStore;
#[cfg(feature = "peer")]
pub use store::{
    BackedStore, ByteStore, ByteStoreKeys, Key, Lru, MAX_VARIANTS, MemoryByteStore, MemoryStore, Store,
    StoreError, StoredResponse, Usage, Variants, default_capacity,
};

// Documentation only: no other build compiles it.
#[cfg(all(any(doc, doctest), feature = "peer"))]
pub mod guide;

/// The README, whose examples are run with the tests.
#[cfg(all(doctest, feature = "peer"))]
#[doc = include_str!("../README.md")]
mod readme {}
