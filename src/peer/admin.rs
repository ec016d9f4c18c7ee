//! What a peer says to those who run it.

use std::fmt::Write as _;

use http::{Method, Request, Response, StatusCode};

use super::member::Peer;
use crate::at_once::Refused;
use crate::body::Body;
use crate::client::{PeerHealth, PeerState};
use crate::error::ErrorKind;
use crate::handler::{method_not_allowed, refusal, unauthorized};
use crate::ledger::Use;
use crate::protocol::{self, TEXT, answer};
use crate::scheduler::Numbers;
use crate::stats::Outcome;

/// The name of a metric, its kind, what it says, and its values with their labels.
type Family = (&'static str, &'static str, &'static str, Vec<(String, u64)>);

/// What is taken where something is read.
const ALLOWED: &str = "GET, HEAD";

/// What is taken where something is removed.
const ALLOWED_FOR_PURGE: &str = "PURGE";

impl Peer {
    /// The side for those who run it: a plain function, to be called by any server, on an address of its own that the
    /// users of the cache need not reach.
    ///
    /// | request | answer |
    /// |---|---|
    /// | `GET /healthz` | 200 and `ok`, or 503 once it [leaves](Self::leave), for whoever asks |
    /// | `GET /metrics` | what was counted, in the text format of Prometheus |
    /// | `GET /status` | its pool, its store and what was counted, for people |
    /// | `PURGE /purge?q=<escaped URL>` | what [`purge`](Self::purge) says, also of `?prefix=`, `?group=&origin=` and `?all` |
    ///
    /// Where the peer has [tokens](crate::PeerBuilder::tokens), all but the first are for those who show one. Nothing
    /// of it names a URL, a user or a credential.
    ///
    /// ```
    /// use forwardcache::{Body, Peer};
    /// use http::Request;
    ///
    /// let peer = Peer::builder("http://127.0.0.1:3000").build()?;
    /// let admin = peer.admin_handler();
    /// let response = admin(Request::get("/metrics").body(Body::empty()).unwrap());
    /// assert!(response.into_body().into_text()?.contains("forwardcache_requests_total{outcome=\"hit\"} 0\n"));
    /// # Ok::<(), forwardcache::Error>(())
    /// ```
    pub fn admin_handler(&self) -> impl Fn(Request<Body>) -> Response<Body> + Clone + Send + Sync + 'static {
        let peer = self.clone();
        move |request| peer.administered(&request)
    }

    fn administered(&self, request: &Request<Body>) -> Response<Body> {
        let path = request.uri().path();
        if !["/healthz", "/metrics", "/status", "/purge"].contains(&path) {
            let text = "nothing is here: GET /healthz, /metrics or /status, or PURGE /purge";
            return refusal(StatusCode::NOT_FOUND, ErrorKind::BadRequest, text);
        }
        if path != "/healthz" && !self.is_known(request.headers()) {
            return unauthorized();
        }
        if path != "/healthz" && self.is_misled(request.headers()) {
            let text = "no page of the web is answered, nor who calls this address by a name";
            return refusal(StatusCode::FORBIDDEN, ErrorKind::Forbidden, text);
        }
        if path == "/purge" {
            return if protocol::is_purge(request.method()) {
                self.purge_by_known(request)
            } else {
                method_not_allowed(ALLOWED_FOR_PURGE)
            };
        }
        if !matches!(*request.method(), Method::GET | Method::HEAD) {
            return method_not_allowed(ALLOWED);
        }
        match path {
            "/metrics" => answer("text/plain; version=0.0.4; charset=utf-8", self.metrics()),
            "/status" => answer(TEXT, self.status()),
            _ => self.health(),
        }
    }

    /// In the text format of Prometheus.
    fn metrics(&self) -> String {
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
        for (name, kind, help, samples) in self.threads() {
            family(name, kind, help, &mut samples.into_iter());
        }
        text
    }

    /// The threads of its fronts, and the memory that is held.
    fn threads(&self) -> Vec<Family> {
        let numbers: Vec<Numbers> = self.schedulers().iter().map(|scheduler| scheduler.numbers()).collect();
        let sum =
            |of: &dyn Fn(&Numbers) -> usize| numbers.iter().map(|numbers| of(numbers) as u64).sum::<u64>();
        let labelled = |label: &str, name: &str, value| (format!("{{{label}=\"{name}\"}}"), value);
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

    /// How the other peers do, as far as this one knows.
    fn others(&self) -> Vec<PeerHealth> {
        self.client().health().into_iter().filter(|health| health.url != *self.self_url()).collect()
    }

    /// For people.
    fn status(&self) -> String {
        let usage = self.caching().store().usage();
        let mut text = format!("forwardcache {}\nself {}\n", env!("CARGO_PKG_VERSION"), self.self_url());
        for health in self.others() {
            let _ = writeln!(text, "peer {} {}", health.url, health.state.name());
        }
        let _ = writeln!(text, "keys {}\nbytes {} of {}", usage.keys, usage.bytes, usage.capacity);
        let _ = writeln!(text, "evictions {}", usage.evictions);
        if let Some((stats, usage)) = self.client().near_stats().zip(self.client().near_usage()) {
            let hits = stats.counts().of(Outcome::Hit);
            let _ = writeln!(text, "near hits {hits}\nnear bytes {} of {}", usage.bytes, usage.capacity);
        }
        for numbers in self.schedulers().iter().map(|scheduler| scheduler.numbers()) {
            let fetches = &numbers.fetches;
            let _ = writeln!(
                text,
                "fetch threads {} of {}, {} of them streams\nqueued {}",
                fetches.running, numbers.threads, fetches.streams, fetches.queued
            );
            for (origin, count) in &fetches.longest {
                let _ = writeln!(text, "queued {count} for {}", origin.as_str());
            }
        }
        text + &self.stats().counts().to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::round_trip::RoundTripFn;
    use crate::token::Tokens;

    fn peer(tokens: Option<&str>) -> Peer {
        let builder = Peer::builder("http://10.0.0.1:3000").origin(RoundTripFn(|_: Request<Body>| {
            Ok(Response::builder().header("cache-control", "max-age=60").body(Body::from("hello")).unwrap())
        }));
        match tokens {
            Some(token) => builder.tokens(Tokens::new([token]).unwrap()).build().unwrap(),
            None => builder.build().unwrap(),
        }
    }

    fn ask(peer: &Peer, method: &str, path: &str, token: Option<&str>) -> (u16, String) {
        let mut request = Request::builder().method(method).uri(path);
        if let Some(token) = token {
            request = request.header("proxy-authorization", format!("Bearer {token}"));
        }
        let response = peer.admin_handler()(request.body(Body::empty()).unwrap());
        assert_eq!(response.headers()["cache-control"], "no-store", "{method} {path}");
        (response.status().as_u16(), response.into_body().into_text().unwrap())
    }

    #[test]
    fn what_was_counted_is_told_and_no_url() {
        let peer = peer(None);
        for _ in 0..3 {
            peer.get("http://secret.example/a?token=secret").unwrap();
        }
        let (status, metrics) = ask(&peer, "GET", "/metrics", None);
        assert_eq!(status, 200);
        for line in [
            "forwardcache_requests_total{outcome=\"hit\"} 2\n",
            "forwardcache_requests_total{outcome=\"miss\"} 1\n",
            "forwardcache_origin_requests_total 1\n",
            "forwardcache_store_keys 1\n",
            "forwardcache_pool_peers 1\n",
            "# TYPE forwardcache_requests_total counter\n",
            "forwardcache_fetch_threads{state=\"running\"} 0\n",
            "forwardcache_fetch_refusals_total{reason=\"queue_full\"} 0\n",
        ] {
            assert!(metrics.contains(line), "{line}{metrics}");
        }
        let (status, text) = ask(&peer, "GET", "/status", None);
        assert!(
            status == 200 && text.contains("self http://10.0.0.1:3000\n") && text.contains("hit 2\n"),
            "{text}"
        );
        assert!(!(metrics + &text).contains("secret"));
    }

    #[test]
    fn a_near_cache_is_counted_apart() {
        let pool = ["http://10.0.0.1:3000", "http://10.0.0.2:3000"];
        let peer = Peer::builder(pool[0]).pool(pool).memory(1 << 20).build().unwrap();
        let (metrics, status) = (ask(&peer, "GET", "/metrics", None).1, ask(&peer, "GET", "/status", None).1);
        for line in [
            "forwardcache_near_requests_total{outcome=\"hit\"} 0\n",
            "forwardcache_near_capacity_bytes 65536\n",
            "forwardcache_store_capacity_bytes 983040\n",
        ] {
            assert!(metrics.contains(line), "{line}{metrics}");
        }
        assert!(status.contains("near hits 0\nnear bytes ") && status.contains(" of 65536\n"), "{status}");
        assert!(!ask(&self::peer(None), "GET", "/metrics", None).1.contains("near"));
    }

    #[test]
    fn who_is_not_known_learns_that_it_lives_and_no_more() {
        let peer = peer(Some("a-token-of-the-pool"));
        assert_eq!(ask(&peer, "GET", "/healthz", None), (200, "ok\n".to_owned()));
        for path in ["/metrics", "/status"] {
            assert_eq!(ask(&peer, "GET", path, None).0, 407);
            assert_eq!(ask(&peer, "GET", path, Some("another-token-of-it")).0, 407);
            assert_eq!(ask(&peer, "GET", path, Some("a-token-of-the-pool")).0, 200);
        }
    }

    #[test]
    fn what_is_stored_is_removed() {
        let peer = peer(None);
        peer.get("http://a.example/").unwrap();
        assert_eq!(ask(&peer, "GET", "/purge?all", None).0, 405);
        assert_eq!(ask(&peer, "PURGE", "/purge", None).0, 400);
        let (status, text) = ask(&peer, "PURGE", "/purge?q=http%3A%2F%2Fa.example%2F", None);
        assert!(status == 200 && text.contains("responses 1 "), "{text}");
        assert_eq!(peer.caching().store().usage().keys, 0);
    }

    #[test]
    fn no_page_of_the_web_reads_it() {
        let peer = peer(None);
        for (name, value, status) in [
            ("sec-fetch-site", "cross-site", 403),
            ("sec-fetch-site", "none", 200),
            ("host", "evil.example:3001", 403),
            ("host", "127.0.0.1:3001", 200),
        ] {
            let request = Request::get("/status").header(name, value).body(Body::empty()).unwrap();
            assert_eq!(peer.admin_handler()(request).status(), status, "{name}: {value}");
        }
    }

    #[test]
    fn what_is_not_there_is_told_apart() {
        let peer = peer(None);
        assert_eq!(ask(&peer, "GET", "/", None).0, 404);
        assert_eq!(ask(&peer, "GET", "/proxy?q=http%3A%2F%2Fa%2F", None).0, 404);
        assert_eq!(ask(&peer, "POST", "/metrics", None).0, 405);
        assert_eq!(ask(&peer, "HEAD", "/healthz", None).0, 200);
    }
}
