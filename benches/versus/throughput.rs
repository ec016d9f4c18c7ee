//! The maximum rate of hits and misses, including slow origins. Every server is measured once per round.

use std::time::Duration;

use crate::Result;
use crate::arguments::Scenario;
use crate::client::Connection;
use crate::figures::median;
use crate::interruption;
use crate::mix;
use crate::servers::{GIANT, Kind, LARGE, MEDIUM, Origin, SMALL, Server};
use crate::tls;
use crate::wrk::{self, LoadResult, RequestPattern};

/// The requests of a scenario.
#[derive(Clone, Copy, Debug)]
enum Load {
    /// Hits of this path of the origin, whose body has this length.
    Hits((&'static str, u64)),
    /// Hits of this many URLs, ten times what memory holds.
    DiskHits((&'static str, u64), u64),
    /// Hits that memory holds, of a server with a store on disk.
    HitsAboveDisk((&'static str, u64)),
    /// Misses that are stored on the disk.
    Inserts,
    /// Hits over TLS.
    TlsHits((&'static str, u64)),
    /// One TLS handshake for each hit of [`SMALL`].
    Handshakes {
        resumes: bool,
    },
    Misses,
    /// Misses with this origin latency, with or without TLS.
    SlowMisses(Duration, bool),
    /// Nine hits per miss; the misses take this long, and only the hits are timed.
    Mixed(Duration),
}

impl Load {
    fn origin(self) -> Result<Origin> {
        match self {
            Self::Hits(_)
            | Self::DiskHits(..)
            | Self::HitsAboveDisk(_)
            | Self::Inserts
            | Self::TlsHits(_)
            | Self::Handshakes { .. }
            | Self::Misses => Origin::start(),
            Self::SlowMisses(delay, is_tls) => Origin::slow(delay, is_tls),
            Self::Mixed(delay) => Origin::slow(delay, false),
        }
    }

    fn is_over_tls(self) -> bool {
        matches!(self, Self::TlsHits(_) | Self::Handshakes { .. })
    }
}

/// The servers compared in scenarios where requests wait.
const WAITING: [Kind; 3] = [Kind::Forwardcache, Kind::Nginx, Kind::Varnish];

/// The servers that store responses in files.
const ON_DISK: [Kind; 2] = [Kind::Forwardcache, Kind::Nginx];

/// The servers that support TLS with clients.
const TLS: [Kind; 2] = [Kind::Forwardcache, Kind::Nginx];

/// The origin latency of slow misses, and of misses mixed with hits.
const SLOW: Duration = Duration::from_millis(200);
const MIXED: Duration = Duration::from_millis(50);

#[derive(Clone, Copy, Debug)]
pub(crate) struct Throughput {
    pub(crate) scenario: Scenario,
    pub(crate) name: &'static str,
    /// The servers that are measured.
    pub(crate) kinds: &'static [Kind],
    connections: u32,
    load: Load,
}

pub(crate) const ALL: [Throughput; 18] = [
    Throughput {
        scenario: Scenario::SmallHits,
        name: "hits 1 KiB",
        kinds: &Kind::ALL,
        connections: 64,
        load: Load::Hits(SMALL),
    },
    Throughput {
        scenario: Scenario::MediumHits,
        name: "hits 64 KiB",
        kinds: &Kind::ALL,
        connections: 64,
        load: Load::Hits(MEDIUM),
    },
    Throughput {
        scenario: Scenario::LargeHits,
        name: "hits 1 MiB",
        kinds: &Kind::ALL,
        connections: 64,
        load: Load::Hits(LARGE),
    },
    Throughput {
        scenario: Scenario::SmallDiskHits,
        name: "disk hits 1 KiB",
        kinds: &ON_DISK,
        connections: 64,
        load: Load::DiskHits(SMALL, 50_000),
    },
    Throughput {
        scenario: Scenario::MediumDiskHits,
        name: "disk hits 64 KiB",
        kinds: &ON_DISK,
        connections: 64,
        load: Load::DiskHits(MEDIUM, 2_500),
    },
    Throughput {
        scenario: Scenario::LargeDiskHits,
        name: "disk hits 1 MiB",
        kinds: &ON_DISK,
        connections: 64,
        load: Load::DiskHits(LARGE, 160),
    },
    Throughput {
        scenario: Scenario::HugeDiskHits,
        name: "disk hits 100 MiB",
        kinds: &ON_DISK,
        connections: 4,
        load: Load::DiskHits(GIANT, 4),
    },
    Throughput {
        scenario: Scenario::HitsAboveDisk,
        name: "hits 1 KiB above a disk",
        kinds: &ON_DISK,
        connections: 64,
        load: Load::HitsAboveDisk(SMALL),
    },
    Throughput {
        scenario: Scenario::DiskInserts,
        name: "inserts of 1 KiB on disk",
        kinds: &ON_DISK,
        connections: 32,
        load: Load::Inserts,
    },
    Throughput {
        scenario: Scenario::SmallTlsHits,
        name: "TLS hits 1 KiB",
        kinds: &TLS,
        connections: 64,
        load: Load::TlsHits(SMALL),
    },
    Throughput {
        scenario: Scenario::MediumTlsHits,
        name: "TLS hits 64 KiB",
        kinds: &TLS,
        connections: 64,
        load: Load::TlsHits(MEDIUM),
    },
    Throughput {
        scenario: Scenario::LargeTlsHits,
        name: "TLS hits 1 MiB",
        kinds: &TLS,
        connections: 64,
        load: Load::TlsHits(LARGE),
    },
    Throughput {
        scenario: Scenario::FullHandshakes,
        name: "full TLS handshakes",
        kinds: &TLS,
        connections: 8,
        load: Load::Handshakes { resumes: false },
    },
    Throughput {
        scenario: Scenario::ResumedHandshakes,
        name: "resumed TLS handshakes",
        kinds: &TLS,
        connections: 8,
        load: Load::Handshakes { resumes: true },
    },
    Throughput {
        scenario: Scenario::Misses,
        name: "misses",
        kinds: &Kind::ALL,
        connections: 32,
        load: Load::Misses,
    },
    Throughput {
        scenario: Scenario::SlowMisses,
        name: "misses with 200 ms latency, 256 connections",
        kinds: &WAITING,
        connections: 256,
        load: Load::SlowMisses(SLOW, false),
    },
    // Varnish does not support TLS to origins.
    Throughput {
        scenario: Scenario::SlowTlsMisses,
        name: "misses with 200 ms latency over TLS, 256 connections",
        kinds: &TLS,
        connections: 256,
        load: Load::SlowMisses(SLOW, true),
    },
    Throughput {
        scenario: Scenario::MixedHits,
        name: "hits 1 KiB with 10 % misses of 50 ms",
        kinds: &WAITING,
        connections: 32,
        load: Load::Mixed(MIXED),
    },
];

/// The results of one server in one round.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Measurement {
    pub(crate) requests_per_second: f64,
    pub(crate) median_milliseconds: f64,
    pub(crate) p99_milliseconds: f64,
    /// CPU milliseconds per request, which equals CPU seconds per 1,000 requests.
    pub(crate) cpu: f64,
    pub(crate) resident: f64,
}

/// The results of a scenario: for each server those of each round, in order.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) case: Throughput,
    pub(crate) servers: Vec<(Kind, Vec<Measurement>)>,
}

impl Outcome {
    fn measurements(&self, kind: Kind) -> &[Measurement] {
        self.servers.iter().find(|(other, _)| *other == kind).map_or(&[], |(_, measurements)| measurements)
    }

    /// Returns the median over the rounds, or `None` if the server was not measured.
    pub(crate) fn median(&self, kind: Kind, figure: impl Fn(&Measurement) -> f64) -> Option<f64> {
        median(self.measurements(kind).iter().map(figure))
    }

    /// Returns the rate of forwardcache divided by that of the other server: the median of the ratios within each
    /// round, so that a disturbance of a whole round has no effect.
    pub(crate) fn ratio(&self, rival: Kind) -> Option<f64> {
        let rounds = self.measurements(Kind::Forwardcache).iter().zip(self.measurements(rival));
        median(rounds.map(|(own, other)| own.requests_per_second / other.requests_per_second))
    }
}

/// Starts an origin and the servers, measures each server in each round, and stops them.
pub(crate) fn measure(case: Throughput, kinds: &[Kind], rounds: u32, seconds: u32) -> Result<Outcome> {
    let mut origin = case.load.origin()?;
    let certificate = match case.load.is_over_tls() {
        true => Some(tls::make_certificate(origin.home())?),
        false => None,
    };
    let is_on_disk = matches!(case.load, Load::DiskHits(..) | Load::HitsAboveDisk(_) | Load::Inserts);
    let start = |kind: &Kind| Server::start_with(*kind, &origin, certificate.as_deref(), is_on_disk);
    let servers = kinds.iter().map(start).collect::<Result<Vec<Server>>>()?;
    let mut outcome = Outcome { case, servers: kinds.iter().map(|kind| (*kind, Vec::new())).collect() };
    let mut numbers = Numbers::default();
    for round in 0..rounds as usize {
        for place in 0..servers.len() {
            let index = (round + place) % servers.len();
            let server = &servers[index];
            let measurement =
                measure_once(case, server, &mut origin, &mut numbers, seconds).map_err(|error| {
                    format!("{}, {}: {error}\n{}", case.name, server.kind, server.output_tail())
                })?;
            eprintln!(
                "{}, round {} of {rounds}: {:<12} {:>9.0} requests/s, p50 {:.2} ms, p99 {:.2} ms",
                case.name,
                round + 1,
                server.kind,
                measurement.requests_per_second,
                measurement.median_milliseconds,
                measurement.p99_milliseconds
            );
            outcome.servers[index].1.push(measurement);
        }
    }
    Ok(outcome)
}

/// Hands out numbers of URLs that have not been requested before.
#[derive(Debug, Default)]
pub(crate) struct Numbers(u64);

impl Numbers {
    /// Returns the first of ten million numbers that are reserved for the caller.
    pub(crate) fn take(&mut self) -> u64 {
        self.0 += 10_000_000;
        self.0
    }
}

fn measure_once(
    case: Throughput,
    server: &Server,
    origin: &mut Origin,
    numbers: &mut Numbers,
    seconds: u32,
) -> Result<Measurement> {
    match case.load {
        Load::Handshakes { resumes } => handshakes(server, origin, resumes, seconds),
        Load::Hits(file) | Load::TlsHits(file) | Load::HitsAboveDisk(file) => {
            hits(server, origin, file, case.connections, seconds)
        }
        Load::DiskHits(file, count) => disk_hits(server, origin, file, count, (case.connections, seconds)),
        Load::Inserts => inserts(server, origin, numbers, case.connections, seconds),
        Load::Misses => misses(server, origin, numbers, (case.connections, None), seconds),
        Load::SlowMisses(delay, _) => {
            misses(server, origin, numbers, (case.connections, Some(delay)), seconds)
        }
        Load::Mixed(_) => mixed(server, origin, numbers, case.connections, seconds),
    }
}

/// Stores the response in the server, then measures hits for this time.
///
/// # Errors
///
/// Also if a request reached the origin, because then not all were hits.
pub(crate) fn hits(
    server: &Server,
    origin: &mut Origin,
    (path, length): (&str, u64),
    connections: u32,
    seconds: u32,
) -> Result<Measurement> {
    store(server, (path, length))?;
    let path = server.path(path);
    let requests_before = origin.request_count()?;
    let to = (server.scheme(), server.address);
    let load = || wrk::run(to, RequestPattern::Same(&path), connections, seconds, origin.home());
    let measurement = timed(server, length, load)?.1;
    all_hits(origin, requests_before, measurement)
}

/// Like [`hits`], with a new connection for each request.
fn handshakes(server: &Server, origin: &mut Origin, resumes: bool, seconds: u32) -> Result<Measurement> {
    store(server, SMALL)?;
    let requests_before = origin.request_count()?;
    let measurement = timed(server, SMALL.1, || tls::handshakes(server, resumes, seconds))?.1;
    all_hits(origin, requests_before, measurement)
}

/// Returns the measurement if no further request has reached the origin.
fn all_hits(origin: &mut Origin, requests_before: u64, measurement: Measurement) -> Result<Measurement> {
    match origin.request_count()? - requests_before {
        0 => Ok(measurement),
        more => Err(format!("not all were hits: {more} requests reached the origin").into()),
    }
}

/// The time after which a server has written what it writes in the background.
const WRITING: Duration = Duration::from_secs(3);

/// Stores all URLs in the server, then measures hits of random ones.
fn disk_hits(
    server: &Server,
    origin: &mut Origin,
    (path, length): (&str, u64),
    count: u64,
    (connections, seconds): (u32, u32),
) -> Result<Measurement> {
    let path = format!("{}{path}/", Origin::NUMBERED);
    let mut connection = Connection::open(server.address)?;
    let mut fill = || -> Result<()> {
        for number in 0..count {
            interruption::check()?;
            let answer = connection.get(&server.path(&format!("{path}{number}")))?;
            if answer.status != 200 || answer.length() != length {
                return Err(format!("status {} with {} bytes", answer.status, answer.length()).into());
            }
        }
        Ok(())
    };
    let requests_before = origin.request_count()?;
    fill()?;
    if origin.request_count()? > requests_before {
        // A response that the server had no time to write is stored by the second request.
        std::thread::sleep(WRITING);
        fill()?;
        std::thread::sleep(WRITING);
    }
    let path = server.path(&path);
    let requests_before = origin.request_count()?;
    let to = (server.scheme(), server.address);
    let load = || wrk::run(to, RequestPattern::Among(&path, count), connections, seconds, origin.home());
    let measurement = timed(server, length, load)?.1;
    all_hits(origin, requests_before, measurement)
}

/// How many of the inserted URLs are requested again.
const SAMPLE: u64 = 200;

/// Measures misses, and counts only those that the server has stored: it may store in the background, and skip some.
fn inserts(
    server: &Server,
    origin: &mut Origin,
    numbers: &mut Numbers,
    connections: u32,
    seconds: u32,
) -> Result<Measurement> {
    let first = numbers.0 + 10_000_000;
    let measurement = misses(server, origin, numbers, (connections, None), seconds)?;
    std::thread::sleep(WRITING);
    // The last ones may not have been answered.
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a number of requests")]
    let count = (measurement.requests_per_second * f64::from(seconds) * 0.9) as u64;
    let mut connection = Connection::open(server.address)?;
    let mut stored = 0;
    for number in (first..first + count).step_by(usize::try_from(count / SAMPLE + 1)?) {
        let answer = connection.get(&server.path(&format!("{}{number}", Origin::DISTINCT)))?;
        stored += u64::from(server.is_hit(&answer));
    }
    let share = stored as f64 / count.div_ceil(count / SAMPLE + 1) as f64;
    if share < 1.0 {
        eprintln!("{}: {:.0} % of the responses were stored", server.kind, share * 100.0);
    }
    Ok(Measurement { requests_per_second: measurement.requests_per_second * share, ..measurement })
}

/// Requests the path twice and verifies that the second response is a hit.
fn store(server: &Server, (path, length): (&str, u64)) -> Result<()> {
    for is_second in [false, true] {
        let answer = server.get(path)?;
        if answer.status != 200 || answer.length() != length {
            return Err(format!("status {} with {} bytes", answer.status, answer.length()).into());
        }
        if is_second && !server.is_hit(&answer) {
            return Err(format!("the second request is not a hit: {answer:?}").into());
        }
    }
    Ok(())
}

/// Measures misses. The first requests of all connections are spread over `spread`, if any.
fn misses(
    server: &Server,
    origin: &mut Origin,
    numbers: &mut Numbers,
    (connections, spread): (u32, Option<Duration>),
    seconds: u32,
) -> Result<Measurement> {
    let first = numbers.take();
    let answer = server.get(&format!("{}{first}", Origin::DISTINCT))?;
    if answer.status != 200 || answer.length() != SMALL.1 || server.is_hit(&answer) {
        return Err(format!("not a miss of 1 KiB: {answer:?}").into());
    }
    let path = server.path(Origin::DISTINCT);
    let requests_before = origin.request_count()?;
    let load = spread
        .map_or(RequestPattern::Distinct(&path, first), |over| RequestPattern::Spread(&path, first, over));
    let to = (server.scheme(), server.address);
    let load = || wrk::run(to, load, connections, seconds, origin.home());
    let (requests, measurement) = timed(server, SMALL.1, load)?;
    let more = origin.request_count()? - requests_before;
    if (more as f64) < requests {
        return Err(format!("not all were misses: {more} of {requests} requests reached the origin").into());
    }
    Ok(measurement)
}

fn mixed(
    server: &Server,
    origin: &mut Origin,
    numbers: &mut Numbers,
    connections: u32,
    seconds: u32,
) -> Result<Measurement> {
    store(server, SMALL)?;
    let first = numbers.take();
    let requests_before = origin.request_count()?;
    let mut misses = 0;
    let (_, measurement) = timed(server, SMALL.1, || {
        let result;
        (misses, result) = mix::run(server, first, connections, seconds)?;
        Ok(result)
    })?;
    match origin.request_count()? - requests_before {
        more if more == misses => Ok(measurement),
        more => Err(format!("{more} requests reached the origin instead of {misses} misses").into()),
    }
}

/// Measures a load. Returns the number of requests and the results.
fn timed(
    server: &Server,
    length: u64,
    load: impl FnOnce() -> Result<LoadResult>,
) -> Result<(f64, Measurement)> {
    interruption::check()?;
    let before = server.usage();
    let result = load()?;
    let after = server.usage();
    if result.bytes < result.requests * length as f64 {
        return Err(format!("{} requests returned only {} bytes", result.requests, result.bytes).into());
    }
    let measurement = Measurement {
        requests_per_second: result.requests_per_second,
        median_milliseconds: result.median_milliseconds,
        p99_milliseconds: result.p99_milliseconds,
        cpu: (after.cpu_seconds - before.cpu_seconds) * 1000.0 / result.requests,
        resident: after.resident as f64,
    };
    Ok((result.requests, measurement))
}
