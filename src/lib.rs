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
//! * [`Caching`] is the cache alone, over whatever answers requests: a [`RoundTrip`].
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
//! | `peer` | yes | [`Peer`], [`Caching`], the stores and the rules, [`EventFront`] |
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

// A client alone uses a part of what it is built of.
#![cfg_attr(not(feature = "peer"), allow(dead_code, unused_imports))]

mod access;
mod agent;
mod body;
mod byte_size;
mod cache_mode;
mod cancellation;
mod client;
mod clock;
mod deadline;
mod digest;
mod error;
mod header;
mod interim;
mod limited_body;
mod member;
mod members;
mod named;
mod origin;
mod peer_url;
mod pieces;
mod protocol;
mod purge;
mod ring;
mod round_trip;
mod stats;
mod target;
mod tls;
mod token;

#[cfg(feature = "peer")]
mod at_once;
#[cfg(feature = "peer")]
mod caching;
#[cfg(feature = "peer")]
mod fill;
#[cfg(feature = "peer")]
mod flight;
#[cfg(feature = "peer")]
mod front;
#[cfg(test)]
#[cfg(feature = "peer")]
mod fuzzing;
#[cfg(feature = "peer")]
mod handler;
#[cfg(feature = "peer")]
mod ledger;
#[cfg(feature = "peer")]
mod near;
#[cfg(feature = "peer")]
mod peer;
#[cfg(feature = "peer")]
mod policy;
#[cfg(feature = "peer")]
mod polite;
#[cfg(feature = "peer")]
mod scheduler;
#[cfg(feature = "peer")]
mod store;

pub use access::{AddressClass, BadOriginRule, OriginPattern, OriginRules, Refused};
pub use agent::{agent, agent_with_config};
pub use body::Body;
pub use byte_size::{BadSize, ByteSize};
pub use cache_mode::CacheMode;
pub use cancellation::{CancelHook, Cancellation};
pub use client::{Client, ClientBuilder, ClientCounts, NoPeerLeft, PeerHealth, PeerState};
pub use clock::{Clock, ManualClock, Moment, SystemClock};
pub use deadline::Deadline;
pub use error::{Error, ErrorKind, Result};
pub use interim::OnInterim;
pub use member::{BadMember, Member};
pub use members::{Members, MembersChange, MembersDns, MembersFile, MembersFn, Membership, Polled, Watch};
pub use origin::{Origin, OriginBuilder};
pub use peer_url::{BadPeerUrl, PeerUrl};
pub use pieces::Pieces;
pub use purge::{PeerPurged, PoolPurged, Purge, Purged};
pub use ring::{HashFunction, Rendezvous, Ring, RingKind};
pub use round_trip::{Nowhere, RoundTrip, RoundTripFn};
pub use stats::{Forward, Outcome};
pub use target::{BadTarget, Target};
pub use token::Tokens;

#[cfg(feature = "peer")]
pub use caching::{
    Background, Caching, CachingBuilder, ExplainedResponse, Explanation, NotStoredFetch, Verdict,
};
#[cfg(feature = "tiny_http")]
pub use front::TinyHttpFront;
#[cfg(feature = "peer")]
pub use front::{EventFront, FrontOptions, Handler, RemoteAddress, ServerTls, Serving, ShutdownHandle};
#[cfg(feature = "peer")]
pub use ledger::Ledger;
#[cfg(feature = "peer")]
pub use near::NearCache;
#[cfg(feature = "peer")]
pub use peer::{Peer, PeerBuilder};
#[cfg(feature = "peer")]
pub use policy::{
    BadLifetimeRule, Flag, Lifetime, LifetimeRule, LifetimeSource, Mode, Rule, Rules, UnknownFields,
    Validity, Variant,
};
#[cfg(feature = "peer")]
pub use polite::{Polite, Politeness};
#[cfg(feature = "peer")]
pub use stats::{Counts, Stats};
#[cfg(feature = "disk")]
pub use store::DiskStore;
#[cfg(feature = "peer")]
pub use store::{
    BackedStore, Cache, CacheKeys, Key, Lru, MAX_VARIANTS, MemoryCache, MemoryStore, Store, StoreError,
    StoredResponse, Usage, Variants, default_capacity,
};

/// The README, whose examples are run with the tests.
#[cfg(all(doctest, feature = "peer"))]
#[doc = include_str!("../README.md")]
mod readme {}
