//! Metrics of a peer in the text format of Prometheus.

use std::fmt::Write as _;

use super::member::Peer;
use crate::base::memory_limit::MemoryUse;
use crate::client::PeerState;
use crate::message::nonblocking::Refused;
use crate::message::stats::Outcome;
use crate::metrics::{Counts, DurationCounts, Named, ServerStats};
use crate::scheduler::SchedulerLoad;
use crate::store::{TierUsage, Usage};

/// The prefix of all names.
const PREFIX: &str = "forwardcache_";

/// The name of a metric without its prefix, its help text, and its values with their labels. A name that ends with `_total`
/// is a counter, any other name a gauge. Label values are names of this crate or URLs of peers, so clients cannot create
/// new ones.
type Family = (&'static str, &'static str, Vec<(String, String)>);

impl Peer {
    /// Returns all metrics. Never blocks.
    pub(super) fn metrics(&self) -> String {
        let build = one_labelled("version", env!("CARGO_PKG_VERSION"), 1);
        let build = vec![("build_info", "The version of this program; the value is always 1.", build)];
        let families = [
            build,
            self.cache_metrics(),
            self.tier_metrics(),
            self.pool_metrics(),
            self.thread_metrics(),
            self.connection_metrics(),
        ];
        let mut text = String::with_capacity(8 << 10);
        for (name, help, samples) in families.into_iter().flatten() {
            write_head(&mut text, name, help, if name.ends_with("_total") { "counter" } else { "gauge" });
            for (labels, value) in samples {
                // Writing to a String cannot fail.
                let _ = writeln!(text, "{PREFIX}{name}{labels} {value}");
            }
        }
        let name = "request_duration_seconds";
        let help = "Time from the complete head of a request to the last byte of its response, by outcome.";
        write_histograms(&mut text, name, help, "outcome", &self.request_durations());
        let name = "fetch_duration_seconds";
        let help = "Time from a request to an origin to the head of its response, by result.";
        write_histograms(&mut text, name, help, "result", &self.inner.fetch_times.counts());
        text
    }

    /// Returns how long requests took, by outcome.
    fn request_durations(&self) -> Vec<DurationCounts> {
        let mut sums = ServerStats::default().durations();
        for stats in self.servers().stats() {
            sums.iter_mut().zip(stats.durations()).for_each(|(sum, more)| sum.add(&more));
        }
        sums
    }

    /// Returns metrics of the cache and the requests to it.
    fn cache_metrics(&self) -> Vec<Family> {
        let counts = self.stats().counts();
        let mismatches = vec![
            labelled("message", "request", counts.ring_mismatches),
            labelled("message", "response", self.client().ring_mismatches()),
        ];
        let mut families = vec![("requests_total", "Requests by outcome.", outcomes(&counts))];
        if let Some(stats) = self.client().near_stats() {
            let help = "Requests to the near cache by outcome.";
            families.push(("near_cache_requests_total", help, outcomes(&stats.counts())));
        }
        families.extend([
            one("origin_requests_total", "Requests sent to origins.", counts.origin_requests),
            one("refreshes_total", "Background refreshes of stored responses.", counts.refreshes),
            one("stored_responses_total", "Responses that were stored.", counts.stored),
            one("store_errors_total", "Failures of the store.", counts.store_errors),
            one("digest_mismatches_total", "Bodies whose digest did not match.", counts.digest_mismatches),
            (
                "ring_mismatches_total",
                "Messages of members that know a different pool: requests of clients and responses of peers.",
                mismatches,
            ),
            one("purges_total", "Purges.", counts.purges),
            one("purged_responses_total", "Responses removed by purges.", counts.purged),
            one(
                "origin_throttle_waits_total",
                "Requests that waited for a permit of their origin.",
                counts.throttle_waits,
            ),
            one(
                "origin_throttle_rejections_total",
                "Requests not sent because of a limit or a pause of their origin.",
                counts.throttle_rejections,
            ),
            one("unauthorized_requests_total", "Requests without a valid token (407).", counts.unauthorized),
        ]);
        families
    }

    /// Returns metrics of the store's tiers: memory, the near cache, the disk and Redis. The size of a shared tier is its own.
    fn tier_metrics(&self) -> Vec<Family> {
        let below: Vec<_> =
            self.cache().tiers().map(|tier| (tier.name(), tier.usage(), tier.is_shared())).collect();
        let mut tiers = vec![("memory", self.cache().store().usage())];
        tiers.extend(self.client().near_usage().map(|usage| ("near", usage)));
        tiers.extend(below.iter().filter(|(.., is_shared)| !is_shared).map(|(name, tier, _)| {
            let (keys, bytes, capacity, evictions) = (tier.keys, tier.bytes, tier.capacity, tier.evictions);
            (*name, Usage { keys, bytes, capacity, evictions })
        }));
        let by_tier = |of: fn(&Usage) -> u64| {
            tiers.iter().map(|(tier, usage)| labelled("tier", tier, of(usage))).collect()
        };
        let mut families = vec![
            ("cache_keys", "Stored keys.", by_tier(|usage| usage.keys)),
            ("cache_bytes", "Bytes in use by stored responses.", by_tier(|usage| usage.bytes)),
            ("cache_capacity_bytes", "Size limit of stored responses.", by_tier(|usage| usage.capacity)),
            ("cache_evictions_total", "Keys evicted to free space.", by_tier(|usage| usage.evictions)),
        ];
        if below.is_empty() {
            return families;
        }
        let counts = self.stats().counts();
        let each = |of: &dyn Fn(&str, &TierUsage) -> u64| {
            below.iter().map(|(name, usage, _)| labelled("tier", name, of(name, usage))).collect()
        };
        families.extend([
            (
                "tier_hits_total",
                "Responses served from a tier below memory.",
                each(&|name, _| counts.hits_of(name)),
            ),
            (
                "tier_writes_skipped_total",
                "Responses not written to a tier.",
                each(&|_, usage| usage.skipped),
            ),
            (
                "tier_corrupt_entries_total",
                "Entries of a tier that were corrupt.",
                each(&|_, usage| usage.corrupt),
            ),
        ]);
        if let Some((_, usage, _)) = below.iter().find(|(.., is_shared)| *is_shared) {
            families.extend([
                one(
                    "redis_up",
                    "1 if responses are looked up in Redis, 0 during a pause.",
                    u64::from(usage.is_up),
                ),
                (
                    "redis_operations_total",
                    "Operations in Redis, by result.",
                    vec![
                        labelled("result", "answer", usage.answers),
                        labelled("result", "error", usage.errors),
                    ],
                ),
                one(
                    "redis_failures_total",
                    "Pauses of lookups in Redis after failures or slow lookups.",
                    usage.failures,
                ),
                one("redis_pending_bytes", "Bytes that wait to be written to Redis.", usage.bytes),
            ]);
        }
        families
    }

    /// Returns metrics of the client and the other peers.
    fn pool_metrics(&self) -> Vec<Family> {
        let counts = self.client().counts();
        let peers = self.client().pool_state().size();
        let up = self
            .other_peers()
            .into_iter()
            .map(|health| labelled("peer", health.url.as_str(), u64::from(health.state == PeerState::Up)));
        vec![
            one("failovers_total", "Requests retried at another peer.", counts.failovers),
            one("health_probes_total", "Health probes sent to peers.", counts.probes),
            one("resumed_bodies_total", "Bodies resumed from another peer.", counts.resumed_bodies),
            one("pool_peers", "Peers of the pool, including this one.", peers),
            ("peer_up", "1 if a peer receives requests for URLs that it owns, otherwise 0.", up.collect()),
        ]
    }

    /// Returns metrics of the servers' threads and the memory ledger.
    fn thread_metrics(&self) -> Vec<Family> {
        let numbers: Vec<SchedulerLoad> =
            self.servers().schedulers().iter().map(|scheduler| scheduler.load()).collect();
        let sum = |of: fn(&SchedulerLoad) -> usize| numbers.iter().map(of).sum::<usize>();
        let oldest = numbers.iter().map(|numbers| numbers.fetches.oldest).max().unwrap_or_default();
        let workers = vec![
            labelled(
                "state",
                "fetching",
                sum(|numbers| numbers.fetches.running.saturating_sub(numbers.fetches.streams)),
            ),
            labelled("state", "streaming", sum(|numbers| numbers.fetches.streams)),
            labelled("state", "idle", sum(|numbers| numbers.fetches.idle)),
        ];
        let gateway = vec![
            labelled("state", "running", sum(|numbers| numbers.gateway.0)),
            labelled("state", "queued", sum(|numbers| numbers.gateway.1)),
        ];
        let control = vec![
            labelled("state", "running", sum(|numbers| numbers.control.0)),
            labelled("state", "queued", sum(|numbers| numbers.control.1)),
        ];
        let rejected = Refused::ALL.into_iter().map(|reason| {
            let count: u64 = numbers.iter().map(|numbers| numbers.fetches.refused[reason as usize]).sum();
            labelled("reason", reason.name(), count)
        });
        let mut families = vec![
            ("worker_threads", "Worker threads by state.", workers),
            one("worker_threads_limit", "Maximum number of worker threads.", sum(|numbers| numbers.threads)),
            one(
                "fetch_queue_length",
                "Fetches that wait for a worker.",
                sum(|numbers| numbers.fetches.queued),
            ),
            one(
                "fetch_queue_oldest_seconds",
                "Waiting time of the oldest queued fetch.",
                oldest.as_secs_f64(),
            ),
            ("fetches_rejected_total", "Fetches rejected by the worker queue.", rejected.collect()),
            ("gateway_jobs", "Requests to other peers, running or waiting for a thread.", gateway),
            ("control_jobs", "Purges and explanations, running or waiting for a thread.", control),
        ];
        if let Some(ledger) = self.cache().store().ledger() {
            let held = MemoryUse::ALL.into_iter().map(|kind| labelled("use", kind.name(), ledger.held(kind)));
            families.push(("memory_bytes", "Memory in use, as the memory ledger counts it.", held.collect()));
        }
        families
    }

    /// Returns metrics of the servers' connections.
    fn connection_metrics(&self) -> Vec<Family> {
        let stats = self.servers().stats();
        let sum = |of: fn(&ServerStats) -> u64| stats.iter().map(|stats| of(stats)).sum::<u64>();
        let by = |label, of: fn(&ServerStats) -> Named| {
            // Start with the default counters, so that every label exists even without a server.
            let mut counts = of(&ServerStats::default());
            for (index, (_, count)) in stats.iter().flat_map(|stats| of(stats).into_iter().enumerate()) {
                counts[index].1 += count;
            }
            counts.into_iter().map(|(name, count)| labelled(label, name, count)).collect()
        };
        vec![
            one("connections_open", "Open connections.", sum(ServerStats::open)),
            one("connections_accepted_total", "Accepted connections.", sum(ServerStats::accepted)),
            (
                "connections_rejected_total",
                "Rejected connections.",
                by("reason", ServerStats::connection_refusals),
            ),
            (
                "requests_rejected_total",
                "Requests rejected because of their head or content, before they reached the cache.",
                by("reason", ServerStats::request_refusals),
            ),
            one(
                "slow_connections_closed_total",
                "Connections of slow clients closed to free memory.",
                sum(ServerStats::cut_off),
            ),
            one("tunnels_open", "Open tunnels of CONNECT requests.", sum(ServerStats::tunnels_open)),
            one("tunnels_total", "Tunnels opened.", sum(ServerStats::tunnels_opened)),
            ("tunnel_bytes_total", "Bytes that tunnels have sent.", by("direction", ServerStats::tunnelled)),
            (
                "tunnels_rejected_total",
                "CONNECT requests rejected, and tunnels ended because of their first bytes.",
                by("reason", ServerStats::tunnel_refusals),
            ),
            ("tls_handshakes_total", "TLS handshakes by result.", by("result", ServerStats::handshakes)),
        ]
    }
}

/// Writes the lines that precede the samples of a metric.
fn write_head(text: &mut String, name: &str, help: &str, kind: &str) {
    // Writing to a String cannot fail.
    let _ = writeln!(text, "# HELP {PREFIX}{name} {help}\n# TYPE {PREFIX}{name} {kind}");
}

/// Appends the histograms of one metric.
fn write_histograms(text: &mut String, name: &str, help: &str, label: &str, histograms: &[DurationCounts]) {
    write_head(text, name, help, "histogram");
    for counts in histograms {
        let (value, mut count) = (counts.label, 0);
        for (bound, total) in counts.cumulative() {
            count = total;
            // Writing to a String cannot fail.
            let _ = writeln!(text, "{PREFIX}{name}_bucket{{{label}=\"{value}\",le=\"{bound}\"}} {total}");
        }
        for (suffix, sum) in [("sum", counts.seconds().to_string()), ("count", count.to_string())] {
            let _ = writeln!(text, "{PREFIX}{name}_{suffix}{{{label}=\"{value}\"}} {sum}");
        }
    }
}

fn one(name: &'static str, help: &'static str, value: impl ToString + Copy) -> Family {
    (name, help, vec![(String::new(), value.to_string())])
}

fn labelled(label: &str, name: &str, value: impl ToString + Copy) -> (String, String) {
    (format!("{{{label}=\"{name}\"}}"), value.to_string())
}

fn one_labelled(label: &str, name: &str, value: u64) -> Vec<(String, String)> {
    vec![labelled(label, name, value)]
}

fn outcomes(counts: &Counts) -> Vec<(String, String)> {
    let outcomes = counts.iter().take(Outcome::NAMES.len());
    outcomes.map(|(name, count)| labelled("outcome", name, count)).collect()
}
