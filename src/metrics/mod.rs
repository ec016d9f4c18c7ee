//! Counters of caches, under the names of [`Outcome`](crate::Outcome), and the [`Observer`] of a program.

// Counters and events. The same names appear in `Cache-Status`, metrics and logs.
//
// | file | content |
// |---|---|
// | `counters` | counters of a cache: one for each outcome, and others for origins, the store and purges |
// | `durations` | histograms of how long something took |
// | `fetches` | how long origins took to respond |
// | `server` | counters of a server: connections, refusals and handshakes |
// | `observer` | [`Observer`], the code of a program that runs on events |
//
// This hall imports `base`, `message` and `pool`.

#[cfg(feature = "peer")]
mod counters;
#[cfg(feature = "peer")]
mod durations;
#[cfg(feature = "peer")]
mod fetches;
mod observer;
#[cfg(feature = "peer")]
mod server;

pub use crate::message::stats::Forward;
#[cfg(feature = "peer")]
pub use counters::{Counts, Stats};
#[cfg(feature = "peer")]
pub(crate) use durations::DurationCounts;
#[cfg(feature = "peer")]
pub(crate) use fetches::{FetchResult, FetchTimes, SlowOrigin};
pub(crate) use observer::Watcher;
pub use observer::{
    AttemptFinished, CacheAnswer, Eviction, FailedOver, Observer, OriginAnswer, PeerStateChanged,
    PurgeFinished, RequestFinished,
};
#[cfg(feature = "peer")]
pub(crate) use server::{ConnectionRefusal, Handshake, Named, RequestRefusal, ServerStats, TunnelRefusal};
