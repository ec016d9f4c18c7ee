//! [`Report`]: the state of a peer at one moment.

use std::time::Instant;

use crate::base::memory_limit::MemoryUse;
use crate::client::PeerState;
use crate::message::stats::Outcome;
use crate::metrics::{Counts, SlowOrigin};
use crate::peer::Peer;
use crate::peer::traffic::{Minute, TopNames, Warning};

/// The state of a peer at one moment.
#[derive(Debug)]
pub(in crate::peer) struct Report {
    pub(super) self_url: String,
    pub(super) is_leaving: bool,
    /// All members of the pool.
    pub(super) members: Vec<MemberStatus>,
    pub(super) counts: Counts,
    pub(super) store: StoreStatus,
    pub(super) near_cache: Option<NearCacheStatus>,
    pub(super) disk: Option<StoreStatus>,
    pub(super) redis: Option<RedisStatus>,
    /// Memory by use, in bytes, and its limit.
    pub(super) memory: Vec<(&'static str, u64)>,
    pub(super) memory_limit: Option<u64>,
    pub(super) fetches: Vec<FetchStatus>,
    pub(super) slow_origins: Vec<SlowOrigin>,
    /// Hits and misses of each minute of the last hour, the oldest first.
    pub(super) last_hour: Vec<Minute>,
    pub(super) top: TopNames,
    /// The latest first.
    pub(super) warnings: Vec<Warning>,
}

/// The maximum length of each list of names, which clients choose.
const MAX_NAMES: usize = 20;

#[derive(Debug)]
pub(super) struct MemberStatus {
    pub(super) url: String,
    /// The state as this peer observes it; `self` for this peer.
    pub(super) state: &'static str,
    /// The fair share of the URLs, from 0 to 1.
    pub(super) share: f64,
}

#[derive(Debug)]
pub(super) struct StoreStatus {
    pub(super) keys: u64,
    pub(super) bytes: u64,
    pub(super) capacity: u64,
    pub(super) evictions: u64,
}

#[derive(Debug)]
pub(super) struct NearCacheStatus {
    pub(super) hits: u64,
    pub(super) bytes: u64,
    pub(super) capacity: u64,
}

/// The store that the peers share.
#[derive(Debug)]
pub(super) struct RedisStatus {
    /// `closed` if Redis is asked, `open` during a pause after an error, `probing` at its end.
    pub(super) circuit: &'static str,
    pub(super) hits: u64,
    /// Operations, by result.
    pub(super) answers: u64,
    pub(super) errors: u64,
    /// Bytes that wait to be written.
    pub(super) pending: u64,
}

/// The workers of one server.
#[derive(Debug)]
pub(super) struct FetchStatus {
    pub(super) running: usize,
    pub(super) streams: usize,
    pub(super) threads: usize,
    pub(super) queued: usize,
    /// The origins with the longest queues, and how many fetches wait for each.
    pub(super) queues: Vec<(String, usize)>,
}

impl Report {
    /// Returns the current state. Never blocks.
    pub(in crate::peer) fn of(peer: &Peer) -> Self {
        let (client, cache, now) = (peer.client(), peer.cache(), Instant::now());
        let health = client.health();
        let members = client.members();
        let total: f64 = members.iter().map(|member| f64::from(member.weight().get())).sum();
        let members = members.iter().map(|member| {
            let is_self = member.url() == peer.self_url();
            let state = health.iter().find(|health| health.url == *member.url()).map(|health| health.state);
            MemberStatus {
                url: member.url().to_string(),
                state: if is_self { "self" } else { state.unwrap_or(PeerState::Up).name() },
                share: f64::from(member.weight().get()) / total,
            }
        });
        let usage = cache.store().usage();
        let near_cache = client.near_stats().zip(client.near_usage()).map(|(stats, usage)| NearCacheStatus {
            hits: stats.counts().of(Outcome::Hit),
            bytes: usage.bytes,
            capacity: usage.capacity,
        });
        let disk = cache.tiers().find(|tier| !tier.is_shared()).map(|tier| tier.usage());
        let disk = disk.map(|usage| StoreStatus {
            keys: usage.keys,
            bytes: usage.bytes,
            capacity: usage.capacity,
            evictions: usage.evictions,
        });
        let counts = peer.stats().counts();
        let redis = cache.tiers().find(|tier| tier.is_shared()).map(|tier| tier.usage());
        let redis = redis.map(|usage| RedisStatus {
            circuit: usage.circuit,
            hits: counts.redis_hits,
            answers: usage.answers,
            errors: usage.errors,
            pending: usage.bytes,
        });
        let ledger = cache.store().ledger();
        let schedulers = peer.servers().schedulers();
        let fetches = schedulers.iter().map(|scheduler| scheduler.load()).map(|numbers| FetchStatus {
            running: numbers.fetches.running,
            streams: numbers.fetches.streams,
            threads: numbers.threads,
            queued: numbers.fetches.queued,
            queues: numbers
                .fetches
                .longest
                .iter()
                .map(|(origin, count)| (origin.to_string(), *count))
                .collect(),
        });
        Self {
            self_url: peer.self_url().to_string(),
            is_leaving: peer.inner.proxy.is_leaving(),
            members: members.collect(),
            counts,
            store: StoreStatus {
                keys: usage.keys,
                bytes: usage.bytes,
                capacity: usage.capacity,
                evictions: usage.evictions,
            },
            near_cache,
            disk,
            redis,
            memory: ledger.as_ref().map_or_else(Vec::new, |ledger| {
                MemoryUse::ALL.into_iter().map(|purpose| (purpose.name(), ledger.held(purpose))).collect()
            }),
            memory_limit: ledger.map(|ledger| ledger.limit()),
            fetches: fetches.collect(),
            slow_origins: peer.inner.fetch_times.slowest(MAX_NAMES, now),
            last_hour: peer.inner.traffic.last_hour(now),
            top: peer.inner.traffic.top(MAX_NAMES, now),
            warnings: peer.inner.warnings.latest_first(),
        }
    }

    /// Returns the outcomes with their counts.
    pub(super) fn outcomes(&self) -> impl Iterator<Item = (&'static str, u64)> {
        self.counts.iter().take(Outcome::NAMES.len())
    }
}
