//! What was promised, and whether it holds.

use crate::arguments::Scenario;
use crate::report::Results;
use crate::servers::Kind;
use crate::{beside, idle};

/// One promise.
#[derive(Debug)]
pub(crate) struct Target {
    pub(crate) what: &'static str,
    pub(crate) wanted: String,
    /// What came of it; `None` when it was not measured.
    pub(crate) found: Option<(String, bool)>,
}

pub(crate) fn of(results: &Results) -> Vec<Target> {
    let ratio = |scenario, rival| results.throughput(scenario).and_then(|outcome| outcome.ratio(rival));
    let mut targets = Vec::new();
    for (what, least, found) in [
        ("hits 1 KiB, of nginx's", 1.3, ratio(Scenario::SmallHits, Kind::Nginx)),
        ("hits 1 KiB, of Varnish's", 1.8, ratio(Scenario::SmallHits, Kind::Varnish)),
        ("hits 64 KiB, of nginx's", 1.0, ratio(Scenario::MediumHits, Kind::Nginx)),
        ("hits 1 MiB, of Varnish's", 1.0, ratio(Scenario::LargeHits, Kind::Varnish)),
        ("TLS hits 1 KiB, of nginx's", 1.3, ratio(Scenario::SmallTlsHits, Kind::Nginx)),
        ("TLS hits 64 KiB, of nginx's", 1.3, ratio(Scenario::MediumTlsHits, Kind::Nginx)),
        ("TLS hits 1 MiB, of nginx's", 1.0, ratio(Scenario::LargeTlsHits, Kind::Nginx)),
        ("full TLS handshakes, of nginx's", 0.85, ratio(Scenario::FullHandshakes, Kind::Nginx)),
        ("resumed TLS handshakes, of nginx's", 0.85, ratio(Scenario::ResumedHandshakes, Kind::Nginx)),
        ("misses, of nginx's", 1.0, ratio(Scenario::Misses, Kind::Nginx)),
        ("misses at 200 ms, of Varnish's", 1.0, ratio(Scenario::SlowMisses, Kind::Varnish)),
        ("misses at 200 ms over TLS, of nginx's", 1.0, ratio(Scenario::SlowTlsMisses, Kind::Nginx)),
        // Clients that wait for misses ask for fewer hits, and these are fast: p99 alone would praise that.
        ("requests with 10 % of misses at 50 ms, of nginx's", 0.9, ratio(Scenario::MixedHits, Kind::Nginx)),
    ] {
        targets.push(at_least(what, least, found));
    }
    targets.push(tail(results, Scenario::SmallHits, "p99 of hits 1 KiB"));
    targets.push(tail(results, Scenario::MixedHits, "p99 of hits beside 10 % of misses at 50 ms"));
    let readers = results.beside(beside::What::Readers);
    targets.push(at_most(
        "p50 of hits 1 KiB beside three readers of 60 MiB, of that without",
        2.0,
        " times",
        readers.and_then(|outcome| {
            let times =
                |turn: &beside::Turn| turn.beside.median_milliseconds / turn.alone.median_milliseconds;
            outcome.median(Kind::Forwardcache, times)
        }),
    ));
    let handshakes = results.beside(beside::What::Handshakes);
    targets.push(at_most(
        "p99 of hits 1 KiB beside 500 TLS handshakes a second, of that without",
        2.0,
        " times",
        handshakes.and_then(|outcome| {
            let times = |turn: &beside::Turn| turn.beside.p99_milliseconds / turn.alone.p99_milliseconds;
            outcome.median(Kind::Forwardcache, times)
        }),
    ));
    let object = results.objects.iter().find(|(kind, _)| *kind == Kind::Forwardcache);
    targets.push(at_most(
        "resident bytes of a stored object of 1 KiB",
        1900.0,
        "",
        object.map(|(_, bytes)| *bytes),
    ));
    targets.extend(idle_targets(results.idle(idle::What::Idle)));
    targets.push(streams_target(results.idle(idle::What::Streams)));
    let start = results.start;
    let mebibytes = |bytes: f64| bytes / 1_048_576.0;
    for (what, most, unit, found) in [
        ("size of the binary", 5.0, " MiB", start.map(|start| mebibytes(start.binary_bytes))),
        ("resident memory of an idle peer", 8.0, " MiB", start.map(|start| mebibytes(start.idle_resident))),
        ("start to first answer", 20.0, " ms", start.map(|start| start.milliseconds)),
    ] {
        targets.push(at_most(what, most, unit, found));
    }
    targets
}

fn tail(results: &Results, scenario: Scenario, what: &'static str) -> Target {
    let outcome = results.throughput(scenario);
    let p99 = |kind| outcome.and_then(|outcome| outcome.median(kind, |turn| turn.p99_milliseconds));
    let (own, nginx) = (p99(Kind::Forwardcache), p99(Kind::Nginx));
    Target {
        what,
        wanted: nginx.map_or("at most nginx's".to_owned(), |nginx| format!("at most nginx's {nginx:.2} ms")),
        found: own.zip(nginx).map(|(own, nginx)| (format!("{own:.2} ms"), own <= nginx)),
    }
}

fn idle_targets(outcome: Option<&idle::Outcome>) -> Vec<Target> {
    let turns = outcome.map_or(&[][..], |outcome| outcome.turns(Kind::Forwardcache));
    // In the worst round: one new thread is one too many.
    let threads = turns.iter().map(|turn| turn.threads_after.saturating_sub(turn.threads_before)).max();
    let median = |figure: fn(&idle::Turn) -> f64| {
        outcome.and_then(|outcome| outcome.median(Kind::Forwardcache, figure))
    };
    let mut targets = vec![
        at_most("new threads for idle connections", 0.0, "", threads.map(|threads| threads as f64)),
        at_most(
            "resident KiB of an idle connection",
            8.0,
            "",
            median(|turn| turn.bytes_per_connection / 1024.0),
        ),
        at_least(
            "hits 1 KiB beside idle connections, of those without",
            0.9,
            median(|turn| turn.hits_with / turn.hits_without),
        ),
    ];
    for target in &mut targets {
        hold_or_fail(target, outcome);
    }
    targets
}

fn streams_target(outcome: Option<&idle::Outcome>) -> Target {
    let what = "hits 1 KiB beside event streams, of those without";
    let ratio = |turn: &idle::Turn| turn.hits_with / turn.hits_without;
    let ratio = outcome.and_then(|outcome| outcome.median(Kind::Forwardcache, ratio));
    let mut target = at_least(what, 0.9, ratio);
    hold_or_fail(&mut target, outcome);
    target
}

/// What cannot hold the connections has met nothing that is wanted while it does.
fn hold_or_fail(target: &mut Target, outcome: Option<&idle::Outcome>) {
    let failed = outcome.is_some_and(|outcome| {
        outcome.servers.iter().any(|(kind, turns)| *kind == Kind::Forwardcache && turns.is_err())
    });
    if failed {
        target.found = Some(("it cannot hold them".to_owned(), false));
    }
}

fn at_least(what: &'static str, least: f64, found: Option<f64>) -> Target {
    // As many digits count as are shown: an origin of a fixed time gives all servers the same bound.
    let found = found.map(|found| (format!("{found:.2} times"), (found * 100.0).round() >= least * 100.0));
    Target { what, wanted: format!("at least {least} times"), found }
}

fn at_most(what: &'static str, most: f64, unit: &str, found: Option<f64>) -> Target {
    let decimals = usize::from(most > 0.0 && most < 100.0);
    let found = found.map(|found| (format!("{found:.decimals$}{unit}"), found <= most));
    Target { what, wanted: format!("at most {most}{unit}"), found }
}
