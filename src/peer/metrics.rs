//! What a peer has counted, in the text format of Prometheus.

use std::fmt::Write as _;

use super::member::Peer;
use crate::base::ledger::Use;
use crate::client::PeerState;
use crate::message::nonblocking::Refused;
use crate::message::stats::{Counts, Named, Outcome, ServerStats};
use crate::scheduler::Numbers;

/// The name of a metric, what it says, and its values with their labels. What ends with `_total` is a counter, everything
/// else a gauge. Values of labels are names of this crate or URLs of peers: no client chooses one.
type Family = (&'static str, &'static str, Vec<(String, u64)>);

impl Peer {
    /// All of them. Never waits.
    pub(super) fn metrics(&self) -> String {
        let families = [self.cache(), self.pool_metrics(), self.threads(), self.connections()];
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

    /// Requests by what happened to them, and what is stored.
    fn cache(&self) -> Vec<Family> {
        let (c, usage) = (self.stats().counts(), self.caching().store().usage());
        let mut families = vec![("requests_total", "Requests by what happened to them.", outcomes(&c))];
        if let Some((stats, usage)) = self.client().near_stats().zip(self.client().near_usage()) {
            let help = "Requests to the near cache by what happened to them.";
            families.extend([
                ("near_requests_total", help, outcomes(&stats.counts())),
                one("near_bytes", "Bytes that the near cache takes.", usage.bytes),
                one("near_capacity_bytes", "Bytes that it may take.", usage.capacity),
            ]);
        }
        families.extend([
            one("origin_requests_total", "Requests sent to origins.", c.origin_requests),
            one("refreshes_total", "Responses refreshed after they were served stale.", c.refreshes),
            one("stored_total", "Responses stored.", c.stored),
            one("store_errors_total", "Failures of the store.", c.store_errors),
            one(
                "digest_mismatches_total",
                "Bodies that were not what their origin announced.",
                c.digest_mismatches,
            ),
            one("disagreements_total", "Requests of those who know another pool.", c.disagreements),
            one("purges_total", "Purges that were asked for.", c.purges),
            one("purged_total", "Responses that went by them.", c.purged),
            one("origin_waits_total", "Requests that waited for a place at their origin.", c.origin_waits),
            one(
                "origin_refusals_total",
                "Requests that were not sent because of their origin's limit or wish.",
                c.origin_refusals,
            ),
            one(
                "unauthorized_requests_total",
                "Requests answered with 407: without a token, or with a wrong one.",
                c.unauthorized,
            ),
            one("evictions_total", "Keys given up for room.", usage.evictions),
            one("store_keys", "Keys that are stored.", usage.keys),
            one("store_bytes", "Bytes that the store takes.", usage.bytes),
            one("store_capacity_bytes", "Bytes that it may take.", usage.capacity),
        ]);
        if let Some(usage) = self.caching().tier().map(|tier| tier.usage()) {
            families.extend([
                one("disk_answers_total", "Responses that were read from the disk.", c.disk_answers),
                one("disk_keys", "Keys that are on the disk.", usage.keys),
                one("disk_bytes", "Bytes of the disk that are taken.", usage.bytes),
                one("disk_capacity_bytes", "Bytes of it that may be taken.", usage.capacity),
                one("disk_evictions_total", "Keys on the disk given up for room.", usage.evictions),
                one("disk_skipped_total", "Responses that were not written to the disk.", usage.skipped),
                one(
                    "disk_corrupt_total",
                    "Entries on the disk that were not what was written.",
                    usage.corrupt,
                ),
            ]);
        }
        families
    }

    /// The asking side, and the other peers.
    fn pool_metrics(&self) -> Vec<Family> {
        let counts = self.client().counts();
        let peers = u64::try_from(self.client().known_pool().size()).unwrap_or(u64::MAX);
        let up = self
            .others()
            .into_iter()
            .map(|health| labelled("peer", health.url.as_str(), u64::from(health.state == PeerState::Up)));
        vec![
            one("failovers_total", "Requests that went on to another peer.", counts.failovers),
            one("probes_total", "Peers that were asked whether they are there.", counts.probes),
            one("resumed_bodies_total", "Bodies that went on from another peer.", counts.resumed_bodies),
            one(
                "asked_disagreements_total",
                "Answers of peers that know another pool.",
                self.client().disagreements(),
            ),
            one("pool_peers", "Peers of the pool, this one among them.", peers),
            ("peer_up", "Whether a peer is asked for what it owns.", up.collect()),
        ]
    }

    /// The threads of its fronts, and the memory that is held.
    fn threads(&self) -> Vec<Family> {
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
        let refused = Refused::ALL.into_iter().map(|why| {
            let count = numbers.iter().map(|numbers| numbers.fetches.refused[why as usize]).sum();
            labelled("reason", why.name(), count)
        });
        let mut families = vec![
            ("fetch_threads", "Threads for fetches; streams are running too.", states),
            one("fetch_queue", "Fetches that wait for a thread.", sum(|numbers| numbers.fetches.queued)),
            one("fetch_queue_oldest_milliseconds", "How long the oldest of them has waited.", oldest),
            one("control_running", "Purges and questions that run.", sum(|numbers| numbers.control.0)),
            one("control_queue", "Purges and questions that wait.", sum(|numbers| numbers.control.1)),
            ("fetch_refusals_total", "Fetches that were refused a thread.", refused.collect()),
        ];
        if let Some(ledger) = self.caching().store().ledger() {
            let held = Use::ALL.into_iter().map(|by| labelled("use", by.name(), ledger.held(by)));
            families.push(("held_bytes", "Bytes that are held.", held.collect()));
        }
        families
    }

    /// The connections of its fronts.
    fn connections(&self) -> Vec<Family> {
        let stats = self.servers().stats();
        let sum = |of: fn(&ServerStats) -> u64| stats.iter().map(|stats| of(stats)).sum::<u64>();
        let by = |label, of: fn(&ServerStats) -> Named| {
            // Where there is no front, the names are shown all the same.
            let mut counts = of(&ServerStats::default());
            for (at, (_, count)) in stats.iter().flat_map(|stats| of(stats).into_iter().enumerate()) {
                counts[at].1 += count;
            }
            counts.into_iter().map(|(name, count)| labelled(label, name, count)).collect()
        };
        vec![
            one("open_connections", "Connections that are open.", sum(ServerStats::open)),
            one("accepted_connections_total", "Connections that were accepted.", sum(ServerStats::accepted)),
            (
                "connection_refusals_total",
                "Connections that were refused.",
                by("reason", ServerStats::connection_refusals),
            ),
            (
                "request_refusals_total",
                "Requests that were refused before their URL was looked at.",
                by("reason", ServerStats::request_refusals),
            ),
            one(
                "cut_off_connections_total",
                "Connections of slow readers that were closed for want of memory.",
                sum(ServerStats::cut_off),
            ),
            (
                "tls_handshakes_total",
                "TLS handshakes by how they ended.",
                by("result", ServerStats::handshakes),
            ),
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
