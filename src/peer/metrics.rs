//! What a peer has counted, in the text format of Prometheus.

use std::fmt::Write as _;

use super::member::Peer;
use crate::at_once::Refused;
use crate::client::PeerState;
use crate::ledger::Use;
use crate::scheduler::Numbers;
use crate::stats::{FrontStats, Named, Outcome};

/// The name of a metric, its kind, what it says, and its values with their labels.
type Family = (&'static str, &'static str, &'static str, Vec<(String, u64)>);

impl Peer {
    /// In the text format of Prometheus.
    pub(super) fn metrics(&self) -> String {
        let (counts, usage) = (self.stats().counts(), self.caching().store().usage());
        let mut text = String::with_capacity(2048);
        let mut family =
            |name: &str, kind: &str, help: &str, samples: &mut dyn Iterator<Item = (String, u64)>| {
                // Writing to a String cannot fail.
                let _ =
                    writeln!(text, "# HELP forwardcache_{name} {help}\n# TYPE forwardcache_{name} {kind}");
                for (labels, value) in samples {
                    let _ = writeln!(text, "forwardcache_{name}{labels} {value}");
                }
            };
        let help = "Requests by what happened to them.";
        let outcomes = counts.iter().take(Outcome::NAMES.len());
        let mut outcomes = outcomes.map(|(name, count)| (format!("{{outcome=\"{name}\"}}"), count));
        family("requests_total", "counter", help, &mut outcomes);
        let near = self.client().near_stats().zip(self.client().near_usage());
        if let Some((stats, usage)) = &near {
            let (help, counts) = ("Requests to the near cache by what happened to them.", stats.counts());
            let outcomes = counts.iter().take(Outcome::NAMES.len());
            let mut outcomes = outcomes.map(|(name, count)| (format!("{{outcome=\"{name}\"}}"), count));
            family("near_requests_total", "counter", help, &mut outcomes);
            for (name, help, value) in [
                ("near_bytes", "Bytes that the near cache takes.", usage.bytes),
                ("near_capacity_bytes", "Bytes that it may take.", usage.capacity),
            ] {
                family(name, "gauge", help, &mut std::iter::once((String::new(), value)));
            }
        }
        let mut one = |name: &str, kind: &str, help: &str, value: u64| {
            family(name, kind, help, &mut std::iter::once((String::new(), value)));
        };
        let c = &counts;
        one("origin_requests_total", "counter", "Requests sent to origins.", c.origin_requests);
        one("refreshes_total", "counter", "Responses refreshed after they were served stale.", c.refreshes);
        one("stored_total", "counter", "Responses stored.", c.stored);
        one("store_errors_total", "counter", "Failures of the store.", c.store_errors);
        let help = "Bodies that were not what their origin announced.";
        one("digest_mismatches_total", "counter", help, c.digest_mismatches);
        let help = "Requests of those who know another pool.";
        one("disagreements_total", "counter", help, c.disagreements);
        one("purges_total", "counter", "Purges that were asked for.", c.purges);
        one("purged_total", "counter", "Responses that went by them.", c.purged);
        one(
            "origin_waits_total",
            "counter",
            "Requests that waited for a place at their origin.",
            c.origin_waits,
        );
        let help = "Requests that were not sent because of their origin's limit or wish.";
        one("origin_refusals_total", "counter", help, c.origin_refusals);
        let help = "Requests answered with 407: without a token, or with a wrong one.";
        one("unauthorized_requests_total", "counter", help, c.unauthorized);
        one("evictions_total", "counter", "Keys given up for room.", usage.evictions);
        one("store_keys", "gauge", "Keys that are stored.", usage.keys);
        one("store_bytes", "gauge", "Bytes that the store takes.", usage.bytes);
        one("store_capacity_bytes", "gauge", "Bytes that it may take.", usage.capacity);
        let counts = self.client().counts();
        one("failovers_total", "counter", "Requests that went on to another peer.", counts.failovers);
        one("probes_total", "counter", "Peers that were asked whether they are there.", counts.probes);
        one(
            "resumed_bodies_total",
            "counter",
            "Bodies that went on from another peer.",
            counts.resumed_bodies,
        );
        let help = "Answers of peers that know another pool.";
        one("asked_disagreements_total", "counter", help, self.client().disagreements());
        let peers = u64::try_from(self.client().pool_size()).unwrap_or(u64::MAX);
        one("pool_peers", "gauge", "Peers of the pool, this one among them.", peers);
        let others = self.others();
        let help = "Whether a peer is asked for what it owns.";
        family(
            "peer_up",
            "gauge",
            help,
            &mut others.iter().map(|health| {
                (format!("{{peer=\"{}\"}}", health.url), u64::from(health.state == PeerState::Up))
            }),
        );
        for (name, kind, help, samples) in self.threads().into_iter().chain(self.connections()) {
            family(name, kind, help, &mut samples.into_iter());
        }
        text
    }

    /// The threads of its fronts, and the memory that is held.
    fn threads(&self) -> Vec<Family> {
        let numbers: Vec<Numbers> =
            self.servers().schedulers().iter().map(|scheduler| scheduler.numbers()).collect();
        let sum =
            |of: &dyn Fn(&Numbers) -> usize| numbers.iter().map(|numbers| of(numbers) as u64).sum::<u64>();
        let one = |name, help, value| (name, "gauge", help, vec![(String::new(), value)]);
        let oldest = numbers.iter().map(|numbers| numbers.fetches.oldest.as_millis()).max().unwrap_or(0);
        let states = [
            ("running", sum(&|numbers| numbers.fetches.running)),
            ("idle", sum(&|numbers| numbers.fetches.idle)),
            ("streams", sum(&|numbers| numbers.fetches.streams)),
            ("most", sum(&|numbers| numbers.threads)),
        ];
        let states = states.into_iter().map(|(name, value)| labelled("state", name, value)).collect();
        let refused = Refused::ALL.into_iter().map(|why| {
            let count = numbers.iter().map(|numbers| numbers.fetches.refused[why as usize]).sum();
            labelled("reason", why.name(), count)
        });
        let mut families = vec![
            ("fetch_threads", "gauge", "Threads for fetches; streams are running too.", states),
            one("fetch_queue", "Fetches that wait for a thread.", sum(&|numbers| numbers.fetches.queued)),
            one(
                "fetch_queue_oldest_milliseconds",
                "How long the oldest of them has waited.",
                u64::try_from(oldest).unwrap_or(u64::MAX),
            ),
            one("control_running", "Purges and questions that run.", sum(&|numbers| numbers.control.0)),
            one("control_queue", "Purges and questions that wait.", sum(&|numbers| numbers.control.1)),
            ("fetch_refusals_total", "counter", "Fetches that were refused a thread.", refused.collect()),
        ];
        if let Some(ledger) = self.caching().store().ledger() {
            let held = Use::ALL.into_iter().map(|by| labelled("use", by.name(), ledger.held(by)));
            families.push(("held_bytes", "gauge", "Bytes that are held.", held.collect()));
        }
        families
    }

    /// The connections of its fronts. Labels are fixed names; no client chooses one.
    fn connections(&self) -> Vec<Family> {
        let stats = self.servers().stats();
        let sum = |of: fn(&FrontStats) -> u64| stats.iter().map(|stats| of(stats)).sum::<u64>();
        let one = |name, kind, help, value| (name, kind, help, vec![(String::new(), value)]);
        let by = |name, label, help, of: fn(&FrontStats) -> Named| {
            // A front that counts nothing shows the names all the same.
            let mut counts = of(&FrontStats::default());
            for (at, (_, count)) in stats.iter().flat_map(|stats| of(stats).into_iter().enumerate()) {
                counts[at].1 += count;
            }
            let samples = counts.into_iter().map(|(name, count)| labelled(label, name, count));
            (name, "counter", help, samples.collect())
        };
        let accepted = sum(FrontStats::accepted);
        vec![
            one("open_connections", "gauge", "Connections that are open.", sum(FrontStats::open)),
            one("accepted_connections_total", "counter", "Connections that were accepted.", accepted),
            by(
                "connection_refusals_total",
                "reason",
                "Connections that were refused.",
                FrontStats::connection_refusals,
            ),
            by(
                "request_refusals_total",
                "reason",
                "Requests that were refused before their URL was looked at.",
                FrontStats::request_refusals,
            ),
            one(
                "cut_off_connections_total",
                "counter",
                "Connections of slow readers that were closed for want of memory.",
                sum(FrontStats::cut_off),
            ),
            by("tls_handshakes_total", "result", "TLS handshakes by how they ended.", FrontStats::handshakes),
        ]
    }
}

fn labelled(label: &str, name: &str, value: u64) -> (String, u64) {
    (format!("{{{label}=\"{name}\"}}"), value)
}
