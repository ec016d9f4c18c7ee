//! The performance targets, and whether they are met.

use crate::arguments::Scenario;
use crate::forms::Way;
use crate::report::Results;
use crate::servers::Kind;
use crate::{beside, idle};

/// A target.
#[derive(Debug)]
pub(crate) struct Target {
    pub(crate) name: &'static str,
    pub(crate) required: String,
    /// The measured value and whether it meets the target; `None` if it was not measured.
    pub(crate) measured: Option<(String, bool)>,
}

pub(crate) fn of(results: &Results) -> Vec<Target> {
    let ratio = |scenario, rival| results.throughput(scenario).and_then(|outcome| outcome.ratio(rival));
    let mut targets = Vec::new();
    for (name, least, measured) in [
        ("hits 1 KiB, relative to nginx", 1.3, ratio(Scenario::SmallHits, Kind::Nginx)),
        ("hits 1 KiB, relative to Varnish", 1.8, ratio(Scenario::SmallHits, Kind::Varnish)),
        ("hits 64 KiB, relative to nginx", 1.0, ratio(Scenario::MediumHits, Kind::Nginx)),
        ("hits 1 MiB, relative to Varnish", 1.0, ratio(Scenario::LargeHits, Kind::Varnish)),
        ("disk hits 1 KiB, relative to nginx", 0.6, ratio(Scenario::SmallDiskHits, Kind::Nginx)),
        ("disk hits 64 KiB, relative to nginx", 1.0, ratio(Scenario::MediumDiskHits, Kind::Nginx)),
        ("disk hits 1 MiB, relative to nginx", 1.0, ratio(Scenario::LargeDiskHits, Kind::Nginx)),
        ("hits 1 KiB above a disk, relative to nginx", 1.3, ratio(Scenario::HitsAboveDisk, Kind::Nginx)),
        ("inserts on disk, relative to nginx", 1.0, ratio(Scenario::DiskInserts, Kind::Nginx)),
        ("TLS hits 1 KiB, relative to nginx", 1.3, ratio(Scenario::SmallTlsHits, Kind::Nginx)),
        ("TLS hits 64 KiB, relative to nginx", 1.3, ratio(Scenario::MediumTlsHits, Kind::Nginx)),
        ("TLS hits 1 MiB, relative to nginx", 1.0, ratio(Scenario::LargeTlsHits, Kind::Nginx)),
        ("full TLS handshakes, relative to nginx", 0.85, ratio(Scenario::FullHandshakes, Kind::Nginx)),
        ("resumed TLS handshakes, relative to nginx", 0.85, ratio(Scenario::ResumedHandshakes, Kind::Nginx)),
        ("misses, relative to nginx", 1.0, ratio(Scenario::Misses, Kind::Nginx)),
        ("misses with 200 ms latency, relative to Varnish", 1.0, ratio(Scenario::SlowMisses, Kind::Varnish)),
        (
            "misses with 200 ms latency over TLS, relative to nginx",
            1.0,
            ratio(Scenario::SlowTlsMisses, Kind::Nginx),
        ),
        (
            "tunnels per second, relative to Squid",
            1.0,
            results.tunnels.ratio(|measurement| measurement.tunnels_per_second),
        ),
        (
            "1 GiB through a tunnel, relative to Squid",
            1.0,
            results.tunnels.ratio(|measurement| measurement.bytes_per_second),
        ),
        // Clients that wait for misses send fewer hits, which are then fast, so p99 of the hits is not sufficient.
        (
            "requests with 10 % misses of 50 ms, relative to nginx",
            0.9,
            ratio(Scenario::MixedHits, Kind::Nginx),
        ),
    ] {
        targets.push(at_least(name, least, measured));
    }
    targets.push(tail(results, Scenario::SmallHits, "p99 of hits 1 KiB"));
    targets.push(tail(results, Scenario::MixedHits, "p99 of hits with 10 % misses of 50 ms"));
    let grown = |disturbance, of: fn(&beside::Measurement) -> f64| {
        results.beside(disturbance).and_then(|outcome| outcome.median(Kind::Forwardcache, of))
    };
    targets.push(at_most(
        "p50 of hits 1 KiB with three readers of 60 MiB, relative to without",
        2.0,
        " times",
        grown(beside::Disturbance::Readers, |measurement| {
            measurement.disturbed.median_milliseconds / measurement.quiet.median_milliseconds
        }),
    ));
    targets.push(at_most(
        "p99 of hits 1 KiB with 500 TLS handshakes per second, relative to without",
        2.0,
        " times",
        grown(beside::Disturbance::Handshakes, |measurement| {
            measurement.disturbed.p99_milliseconds / measurement.quiet.p99_milliseconds
        }),
    ));
    let form = |way, other| results.forms.as_ref().and_then(|outcome| outcome.ratio(way, other));
    for (name, least, measured) in [
        ("hits 1 KiB in prefix form, relative to `/proxy?q=`", 0.95, form(Way::Prefix, Way::Query)),
        ("hits 1 KiB in absolute form, relative to `/proxy?q=`", 0.95, form(Way::Absolute, Way::Query)),
        ("hits 1 KiB with an access log, relative to without", 0.9, form(Way::Logged, Way::Query)),
        ("hits 1 KiB through a gateway, relative to nginx as a proxy", 0.5, form(Way::Gateway, Way::Nginx)),
    ] {
        targets.push(at_least(name, least, measured));
    }
    let object = results.objects.iter().find(|(kind, _)| *kind == Kind::Forwardcache);
    targets.push(at_most(
        "resident bytes of a stored object of 1 KiB",
        1800.0,
        "",
        object.map(|(_, bytes)| *bytes),
    ));
    targets.push(at_most(
        "start to first hit with 100,000 entries on disk",
        1000.0,
        " ms",
        results.disk.map(|disk| disk.start_milliseconds),
    ));
    targets.push(at_most(
        "bytes of memory for an entry on disk",
        100.0,
        "",
        results.disk.map(|disk| disk.bytes),
    ));
    targets.extend(idle_targets(results.idle(idle::HeldOpen::Idle)));
    targets.push(streams_target(results.idle(idle::HeldOpen::Streams)));
    let start = results.start;
    let mebibytes = |bytes: f64| bytes / 1_048_576.0;
    for (name, most, unit, measured) in [
        ("size of the binary", 5.0, " MiB", start.map(|start| mebibytes(start.binary_bytes))),
        ("resident memory of an idle peer", 8.0, " MiB", start.map(|start| mebibytes(start.idle_resident))),
        ("start to first answer", 20.0, " ms", start.map(|start| start.milliseconds)),
    ] {
        targets.push(at_most(name, most, unit, measured));
    }
    targets
}

fn tail(results: &Results, scenario: Scenario, name: &'static str) -> Target {
    let outcome = results.throughput(scenario);
    let p99 =
        |kind| outcome.and_then(|outcome| outcome.median(kind, |measurement| measurement.p99_milliseconds));
    let (own, nginx) = (p99(Kind::Forwardcache), p99(Kind::Nginx));
    Target {
        name,
        required: nginx
            .map_or("at most nginx's".to_owned(), |nginx| format!("at most nginx's {nginx:.2} ms")),
        measured: own.zip(nginx).map(|(own, nginx)| (format!("{own:.2} ms"), own <= nginx)),
    }
}

fn idle_targets(outcome: Option<&idle::Outcome>) -> Vec<Target> {
    let measurements = outcome.map_or(&[][..], |outcome| outcome.measurements(Kind::Forwardcache));
    // The worst round counts: no new thread is allowed.
    let threads = measurements
        .iter()
        .map(|measurement| measurement.threads_after.saturating_sub(measurement.threads_before))
        .max();
    let median = |figure: fn(&idle::Measurement) -> f64| {
        outcome.and_then(|outcome| outcome.median(Kind::Forwardcache, figure))
    };
    let mut targets = vec![
        at_most("new threads for idle connections", 0.0, "", threads.map(|threads| threads as f64)),
        at_most(
            "resident KiB of an idle connection",
            8.0,
            "",
            median(|measurement| measurement.bytes_per_connection / 1024.0),
        ),
        at_least(
            "hits 1 KiB with idle connections, relative to without",
            0.9,
            median(|measurement| measurement.hits_with / measurement.hits_without),
        ),
    ];
    for target in &mut targets {
        hold_or_fail(target, outcome);
    }
    targets
}

fn streams_target(outcome: Option<&idle::Outcome>) -> Target {
    let name = "hits 1 KiB with event streams, relative to without";
    let ratio = |measurement: &idle::Measurement| measurement.hits_with / measurement.hits_without;
    let ratio = outcome.and_then(|outcome| outcome.median(Kind::Forwardcache, ratio));
    let mut target = at_least(name, 0.9, ratio);
    hold_or_fail(&mut target, outcome);
    target
}

/// Marks the target as missed if forwardcache cannot hold the connections.
fn hold_or_fail(target: &mut Target, outcome: Option<&idle::Outcome>) {
    let failed = outcome.is_some_and(|outcome| {
        outcome
            .servers
            .iter()
            .any(|(kind, measurements)| *kind == Kind::Forwardcache && measurements.is_err())
    });
    if failed {
        target.measured = Some(("connections not held".to_owned(), false));
    }
}

fn at_least(name: &'static str, least: f64, measured: Option<f64>) -> Target {
    // Compare with the displayed precision: an origin with a fixed latency limits all servers to the same rate.
    let measured = measured
        .map(|measured| (format!("{measured:.2} times"), (measured * 100.0).round() >= least * 100.0));
    Target { name, required: format!("at least {least} times"), measured }
}

fn at_most(name: &'static str, most: f64, unit: &str, measured: Option<f64>) -> Target {
    let decimals = usize::from(most > 0.0 && most < 100.0);
    let measured = measured.map(|measured| (format!("{measured:.decimals$}{unit}"), measured <= most));
    Target { name, required: format!("at most {most}{unit}"), measured }
}
