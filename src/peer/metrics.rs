//! Metrics of a peer in the text format of Prometheus.

use std::fmt::Write as _;

use super::member::Peer;
use crate::base::ledger::Use;
use crate::client::PeerState;
use crate::message::nonblocking::Refused;
use crate::message::stats::{Counts, Named, Outcome, ServerStats};
use crate::scheduler::Numbers;

/// The name of a metric, its help text, and its values with their labels. A name that ends with `_total` is a counter, any
/// other name a gauge. Label values are names of this crate or URLs of peers, so clients cannot create new ones.
type Family = (&'static str, &'static str, Vec<(String, u64)>);

impl Peer {
    /// Returns all metrics. Never blocks.
    pub(super) fn metrics(&self) -> String {
        let families =
            [self.cache_metrics(), self.pool_metrics(), self.thread_metrics(), self.connection_metrics()];
        let mut text = String::with_capacity(8 << 10);
        for (name, help, samples) in families.into_iter().flatten() {
            let kind = if name.ends_with("_total") { "counter" } else { "gauge" };
            // Writing to a String cannot fail.
            let _ = writeln!(text, "# HELP forwardcache_{name} {help}\n# TYPE forwardcache_{name} {kind}");
            for (labels, value) in samples {
                let _ = writeln!(text, "forwardcache_{name}{labels} {value}");
            }
        }
        text
    }

    /// Returns metrics of the caches and the store.
    fn cache_metrics(&self) -> Vec<Family> {
        let (counts, usage) = (self.stats().counts(), self.caching().store().usage());
        let mut families = vec![("requests_total", "Requests by outcome.", outcomes(&counts))];
        if let Some((stats, usage)) = self.client().near_stats().zip(self.client().near_usage()) {
            let help = "Requests to the near cache by outcome.";
            families.extend([
                ("near_requests_total", help, outcomes(&stats.counts())),
                one("near_bytes", "Bytes in use by the near cache.", usage.bytes),
                one("near_capacity_bytes", "Memory limit of the near cache.", usage.capacity),
            ]);
        }
        families.extend([
            one("origin_requests_total", "Requests sent to origins.", counts.origin_requests),
            one("refreshes_total", "Background refreshes of stored responses.", counts.refreshes),
            one("stored_total", "Responses stored.", counts.stored),
            one("store_errors_total", "Failures of the store.", counts.store_errors),
            one("digest_mismatches_total", "Bodies whose digest did not match.", counts.digest_mismatches),
            one(
                "disagreements_total",
                "Requests of clients that know a different pool.",
                counts.disagreements,
            ),
            one("purges_total", "Purges.", counts.purges),
            one("purged_total", "Responses removed by purges.", counts.purged),
            one(
                "origin_waits_total",
                "Requests that waited for a permit of their origin.",
                counts.origin_waits,
            ),
            one(
                "origin_refusals_total",
                "Requests not sent because of a limit or a pause of their origin.",
                counts.origin_refusals,
            ),
            one("unauthorized_requests_total", "Requests without a valid token (407).", counts.unauthorized),
            one("evictions_total", "Keys evicted to free memory.", usage.evictions),
            one("store_keys", "Stored keys.", usage.keys),
            one("store_bytes", "Bytes in use by the store.", usage.bytes),
            one("store_capacity_bytes", "Memory limit of the store.", usage.capacity),
        ]);
        if let Some(usage) = self.caching().tier().map(|tier| tier.usage()) {
            families.extend([
                one("disk_answers_total", "Responses served from disk.", counts.disk_answers),
                one("disk_keys", "Keys on disk.", usage.keys),
                one("disk_bytes", "Bytes in use on disk.", usage.bytes),
                one("disk_capacity_bytes", "Size limit of the store on disk.", usage.capacity),
                one("disk_evictions_total", "Keys evicted from disk to free space.", usage.evictions),
                one("disk_skipped_total", "Responses not written to disk.", usage.skipped),
                one("disk_corrupt_total", "Entries on disk whose content was corrupt.", usage.corrupt),
            ]);
        }
        families
    }

    /// Returns metrics of the client and the other peers.
    fn pool_metrics(&self) -> Vec<Family> {
        let counts = self.client().counts();
        let peers = u64::try_from(self.client().pool_state().size()).unwrap_or(u64::MAX);
        let up = self
            .other_peers()
            .into_iter()
            .map(|health| labelled("peer", health.url.as_str(), u64::from(health.state == PeerState::Up)));
        vec![
            one("failovers_total", "Requests retried at another peer.", counts.failovers),
            one("probes_total", "Health probes sent to peers.", counts.probes),
            one("resumed_bodies_total", "Bodies resumed from another peer.", counts.resumed_bodies),
            one(
                "asked_disagreements_total",
                "Responses of peers that know a different pool.",
                self.client().disagreements(),
            ),
            one("pool_peers", "Peers of the pool, including this one.", peers),
            ("peer_up", "1 if a peer receives requests for URLs that it owns, otherwise 0.", up.collect()),
        ]
    }

    /// Returns metrics of the servers' threads and the memory ledger.
    fn thread_metrics(&self) -> Vec<Family> {
        let numbers: Vec<Numbers> =
            self.servers().schedulers().iter().map(|scheduler| scheduler.numbers()).collect();
        let sum = |of: fn(&Numbers) -> usize| numbers.iter().map(|numbers| of(numbers) as u64).sum::<u64>();
        let oldest = numbers.iter().map(|numbers| numbers.fetches.oldest.as_millis()).max().unwrap_or(0);
        let oldest = u64::try_from(oldest).unwrap_or(u64::MAX);
        let states = vec![
            labelled("state", "running", sum(|numbers| numbers.fetches.running)),
            labelled("state", "idle", sum(|numbers| numbers.fetches.idle)),
            labelled("state", "streams", sum(|numbers| numbers.fetches.streams)),
            labelled("state", "most", sum(|numbers| numbers.threads)),
        ];
        let refused = Refused::ALL.into_iter().map(|reason| {
            let count = numbers.iter().map(|numbers| numbers.fetches.refused[reason as usize]).sum();
            labelled("reason", reason.name(), count)
        });
        let mut families = vec![
            ("fetch_threads", "Worker threads by state; running includes streams.", states),
            one("fetch_queue", "Fetches that wait for a worker.", sum(|numbers| numbers.fetches.queued)),
            one("fetch_queue_oldest_milliseconds", "Waiting time of the oldest queued fetch.", oldest),
            one("gateway_running", "Requests to other peers in progress.", sum(|numbers| numbers.gateway.0)),
            one(
                "gateway_queue",
                "Requests to other peers that wait for a thread.",
                sum(|numbers| numbers.gateway.1),
            ),
            one("control_running", "Purges and explanations in progress.", sum(|numbers| numbers.control.0)),
            one(
                "control_queue",
                "Purges and explanations that wait for a thread.",
                sum(|numbers| numbers.control.1),
            ),
            ("fetch_refusals_total", "Fetches refused by the worker queue.", refused.collect()),
        ];
        if let Some(ledger) = self.caching().store().ledger() {
            let held = Use::ALL.into_iter().map(|kind| labelled("use", kind.name(), ledger.held(kind)));
            families.push(("held_bytes", "Memory in use, as the memory ledger counts it.", held.collect()));
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
            one("open_connections", "Open connections.", sum(ServerStats::open)),
            one("accepted_connections_total", "Accepted connections.", sum(ServerStats::accepted)),
            (
                "connection_refusals_total",
                "Refused connections.",
                by("reason", ServerStats::connection_refusals),
            ),
            (
                "request_refusals_total",
                "Requests refused because of their head, before they reached the cache.",
                by("reason", ServerStats::request_refusals),
            ),
            one(
                "cut_off_connections_total",
                "Connections of slow clients closed to free memory.",
                sum(ServerStats::cut_off),
            ),
            ("tls_handshakes_total", "TLS handshakes by result.", by("result", ServerStats::handshakes)),
        ]
    }
}

fn one(name: &'static str, help: &'static str, value: u64) -> Family {
    (name, help, vec![(String::new(), value)])
}

fn labelled(label: &str, name: &str, value: u64) -> (String, u64) {
    (format!("{{{label}=\"{name}\"}}"), value)
}

fn outcomes(counts: &Counts) -> Vec<(String, u64)> {
    let outcomes = counts.iter().take(Outcome::NAMES.len());
    outcomes.map(|(name, count)| labelled("outcome", name, count)).collect()
}
