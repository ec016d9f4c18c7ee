//! Hits and misses, as many as a server can answer, also of a slow origin: every server has its turn in every
//! round.

use std::time::Duration;

use crate::Result;
use crate::arguments::Scenario;
use crate::client::Connection;
use crate::figures::median;
use crate::interruption;
use crate::mix;
use crate::servers::{Kind, LARGE, MEDIUM, Origin, SMALL, Server};
use crate::tls;
use crate::wrk::{self, Asking, Seen};

/// What is asked for in a scenario.
#[derive(Clone, Copy, Debug)]
enum Load {
    /// This path of the origin, whose body is that long.
    Hits((&'static str, u64)),
    /// The same of so many URLs, ten times what memory holds.
    DiskHits((&'static str, u64), u64),
    /// Hits over TLS.
    TlsHits((&'static str, u64)),
    /// A TLS handshake for each hit of [`SMALL`].
    Handshakes {
        resumes: bool,
    },
    Misses,
    /// Misses of an origin that takes that long for each, over TLS or not.
    SlowMisses(Duration, bool),
    /// Hits, and for every nine a miss that takes that long. What is timed are the hits.
    Mixed(Duration),
}

impl Load {
    fn origin(self) -> Result<Origin> {
        match self {
            Self::Hits(_)
            | Self::DiskHits(..)
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

/// Those that are measured where threads or events make the difference.
const WAITING: [Kind; 3] = [Kind::Forwardcache, Kind::Nginx, Kind::Varnish];

/// Those that keep what they store in files.
const ON_DISK: [Kind; 2] = [Kind::Forwardcache, Kind::Nginx];

/// Those that speak TLS with clients.
const TLS: [Kind; 2] = [Kind::Forwardcache, Kind::Nginx];

/// What a slow origin takes for each request, and an origin in a mix of hits and misses.
const SLOW: Duration = Duration::from_millis(200);
const MIXED: Duration = Duration::from_millis(50);

#[derive(Clone, Copy, Debug)]
pub(crate) struct Throughput {
    pub(crate) scenario: Scenario,
    pub(crate) name: &'static str,
    /// Whose turns it has.
    pub(crate) kinds: &'static [Kind],
    connections: u32,
    load: Load,
}

pub(crate) const ALL: [Throughput; 15] = [
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
        name: "misses at an origin of 200 ms, 256 connections",
        kinds: &WAITING,
        connections: 256,
        load: Load::SlowMisses(SLOW, false),
    },
    // Varnish does not speak TLS with origins.
    Throughput {
        scenario: Scenario::SlowTlsMisses,
        name: "misses at a TLS origin of 200 ms, 256 connections",
        kinds: &TLS,
        connections: 256,
        load: Load::SlowMisses(SLOW, true),
    },
    Throughput {
        scenario: Scenario::MixedHits,
        name: "hits 1 KiB beside 10 % of misses at 50 ms",
        kinds: &WAITING,
        connections: 32,
        load: Load::Mixed(MIXED),
    },
];

/// One turn of one server.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Turn {
    pub(crate) requests_per_second: f64,
    pub(crate) median_milliseconds: f64,
    pub(crate) p99_milliseconds: f64,
    /// CPU milliseconds a request, which is CPU seconds per 1,000 requests.
    pub(crate) cpu: f64,
    pub(crate) resident: f64,
}

/// What came of a scenario: of each server the turns, in the order of the rounds.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) what: Throughput,
    pub(crate) servers: Vec<(Kind, Vec<Turn>)>,
}

impl Outcome {
    fn turns(&self, kind: Kind) -> &[Turn] {
        self.servers.iter().find(|(other, _)| *other == kind).map_or(&[], |(_, turns)| turns)
    }

    /// The median over the rounds, `None` of a server that had no turn.
    pub(crate) fn median(&self, kind: Kind, figure: impl Fn(&Turn) -> f64) -> Option<f64> {
        median(self.turns(kind).iter().map(figure))
    }

    /// How many times as many requests forwardcache answers: the median over the rounds of what came of the
    /// same round, so that what disturbs a whole round disturbs no ratio.
    pub(crate) fn ratio(&self, rival: Kind) -> Option<f64> {
        let rounds = self.turns(Kind::Forwardcache).iter().zip(self.turns(rival));
        median(rounds.map(|(own, other)| own.requests_per_second / other.requests_per_second))
    }
}

/// Starts an origin and the servers, lets each have its turns, and ends them.
pub(crate) fn measure(what: Throughput, kinds: &[Kind], rounds: u32, seconds: u32) -> Result<Outcome> {
    let mut origin = what.load.origin()?;
    let certificate = match what.load.is_over_tls() {
        true => Some(tls::make_certificate(origin.home())?),
        false => None,
    };
    let is_on_disk = matches!(what.load, Load::DiskHits(..));
    let start = |kind: &Kind| Server::start_with(*kind, &origin, certificate.as_deref(), is_on_disk);
    let servers = kinds.iter().map(start).collect::<Result<Vec<Server>>>()?;
    let mut outcome = Outcome { what, servers: kinds.iter().map(|kind| (*kind, Vec::new())).collect() };
    let mut numbers = Numbers::default();
    for round in 0..rounds as usize {
        for place in 0..servers.len() {
            let index = (round + place) % servers.len();
            let server = &servers[index];
            let turn = turn(what, server, &mut origin, &mut numbers, seconds).map_err(|error| {
                format!("{}, {}: {error}\n{}", what.name, server.kind, server.last_words())
            })?;
            eprintln!(
                "{}, round {} of {rounds}: {:<12} {:>9.0} requests/s, p50 {:.2} ms, p99 {:.2} ms",
                what.name,
                round + 1,
                server.kind,
                turn.requests_per_second,
                turn.median_milliseconds,
                turn.p99_milliseconds
            );
            outcome.servers[index].1.push(turn);
        }
    }
    Ok(outcome)
}

/// Numbers of URLs that nobody asked for before.
#[derive(Debug, Default)]
pub(crate) struct Numbers(u64);

impl Numbers {
    /// The first of ten million, all for the caller.
    pub(crate) fn take(&mut self) -> u64 {
        self.0 += 10_000_000;
        self.0
    }
}

fn turn(
    what: Throughput,
    server: &Server,
    origin: &mut Origin,
    numbers: &mut Numbers,
    seconds: u32,
) -> Result<Turn> {
    match what.load {
        Load::Handshakes { resumes } => handshakes(server, origin, resumes, seconds),
        Load::Hits(file) | Load::TlsHits(file) => hits(server, origin, file, what.connections, seconds),
        Load::DiskHits(file, count) => disk_hits(server, origin, file, count, what.connections, seconds),
        Load::Misses => misses(server, origin, numbers, (what.connections, None), seconds),
        Load::SlowMisses(delay, _) => {
            misses(server, origin, numbers, (what.connections, Some(delay)), seconds)
        }
        Load::Mixed(_) => mixed(server, origin, numbers, what.connections, seconds),
    }
}

/// Makes sure that the server has it and says so, and asks for it that long.
///
/// # Errors
///
/// Also when the origin was asked meanwhile: then not all were hits.
pub(crate) fn hits(
    server: &Server,
    origin: &mut Origin,
    (path, length): (&str, u64),
    connections: u32,
    seconds: u32,
) -> Result<Turn> {
    store(server, (path, length))?;
    let path = server.path(path);
    let asked = origin.asked()?;
    let to = (server.scheme(), server.address);
    let asking = || wrk::run(to, Asking::Same(&path), connections, seconds, origin.home());
    let turn = timed(server, length, asking)?.1;
    all_hits(origin, asked, turn)
}

/// As [`hits`], each on a connection of its own.
fn handshakes(server: &Server, origin: &mut Origin, resumes: bool, seconds: u32) -> Result<Turn> {
    store(server, SMALL)?;
    let asked = origin.asked()?;
    let turn = timed(server, SMALL.1, || tls::handshakes(server, resumes, seconds))?.1;
    all_hits(origin, asked, turn)
}

/// The turn, if the origin was asked no more than before.
fn all_hits(origin: &mut Origin, asked: u64, turn: Turn) -> Result<Turn> {
    match origin.asked()? - asked {
        0 => Ok(turn),
        more => Err(format!("these are no hits: the origin was asked {more} times").into()),
    }
}

/// How long a server may take for what it writes behind.
const WRITING: Duration = Duration::from_secs(3);

/// Makes sure that the server has all of them, and asks for any of them that long.
fn disk_hits(
    server: &Server,
    origin: &mut Origin,
    (path, length): (&str, u64),
    count: u64,
    connections: u32,
    seconds: u32,
) -> Result<Turn> {
    let path = format!("{}{path}/", Origin::NUMBERED);
    let asked = origin.asked()?;
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
    fill()?;
    if origin.asked()? > asked {
        // The first time: what was not written for want of time is now.
        std::thread::sleep(WRITING);
        fill()?;
        std::thread::sleep(WRITING);
    }
    let path = server.path(&path);
    let asked = origin.asked()?;
    let asking = || {
        let asking = Asking::Among(&path, count);
        wrk::run((server.scheme(), server.address), asking, connections, seconds, origin.home())
    };
    let turn = timed(server, length, asking)?.1;
    match origin.asked()? - asked {
        0 => Ok(turn),
        more => Err(format!("these are no hits: the origin was asked {more} times").into()),
    }
}

/// Makes sure that the server has it and says so.
fn store(server: &Server, (path, length): (&str, u64)) -> Result<()> {
    for is_second in [false, true] {
        let answer = server.get(path)?;
        if answer.status != 200 || answer.length() != length {
            return Err(format!("status {} with {} bytes", answer.status, answer.length()).into());
        }
        if is_second && !server.is_hit(&answer) {
            return Err(format!("asked for the second time, it is no hit: {answer:?}").into());
        }
    }
    Ok(())
}

/// The first requests of all connections are spread over the time that the origin takes, if any.
fn misses(
    server: &Server,
    origin: &mut Origin,
    numbers: &mut Numbers,
    (connections, spread): (u32, Option<Duration>),
    seconds: u32,
) -> Result<Turn> {
    let first = numbers.take();
    let answer = server.get(&format!("{}{first}", Origin::DISTINCT))?;
    if answer.status != 200 || answer.length() != SMALL.1 || server.is_hit(&answer) {
        return Err(format!("no miss of 1 KiB: {answer:?}").into());
    }
    let path = server.path(Origin::DISTINCT);
    let asked = origin.asked()?;
    let asking = spread.map_or(Asking::Distinct(&path, first), |over| Asking::Spread(&path, first, over));
    let to = (server.scheme(), server.address);
    let asking = || wrk::run(to, asking, connections, seconds, origin.home());
    let (requests, turn) = timed(server, SMALL.1, asking)?;
    let more = origin.asked()? - asked;
    if (more as f64) < requests {
        return Err(format!("of {requests} requests {more} came to the origin: not all were misses").into());
    }
    Ok(turn)
}

fn mixed(
    server: &Server,
    origin: &mut Origin,
    numbers: &mut Numbers,
    connections: u32,
    seconds: u32,
) -> Result<Turn> {
    store(server, SMALL)?;
    let first = numbers.take();
    let asked = origin.asked()?;
    let mut misses = 0;
    let (_, turn) = timed(server, SMALL.1, || {
        let seen;
        (misses, seen) = mix::run(server, first, connections, seconds)?;
        Ok(seen)
    })?;
    match origin.asked()? - asked {
        more if more == misses => Ok(turn),
        more => Err(format!("of {misses} misses and all hits {more} came to the origin").into()),
    }
}

/// The number of requests, and the rest.
fn timed(server: &Server, length: u64, asking: impl FnOnce() -> Result<Seen>) -> Result<(f64, Turn)> {
    interruption::check()?;
    let before = server.usage();
    let seen = asking()?;
    let after = server.usage();
    if seen.bytes < seen.requests * length as f64 {
        return Err(format!("{} requests brought {} bytes", seen.requests, seen.bytes).into());
    }
    let turn = Turn {
        requests_per_second: seen.requests_per_second,
        median_milliseconds: seen.median_milliseconds,
        p99_milliseconds: seen.p99_milliseconds,
        cpu: (after.cpu_seconds - before.cpu_seconds) * 1000.0 / seen.requests,
        resident: after.resident as f64,
    };
    Ok((seen.requests, turn))
}
