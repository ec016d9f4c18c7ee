//! The latency of small hits of a few quiet clients, with and without other clients that keep the server busy.

use std::io::{self, Read};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::Result;
use crate::arguments::Scenario;
use crate::client::{self, Connection};
use crate::figures::median;
use crate::servers::{HUGE, Kind, Origin, SMALL, Server};
use crate::tls;
use crate::wrk::LoadResult;

/// The number of quiet clients, and their pause between requests.
const CLIENTS: u32 = 4;
const THINKING: Duration = Duration::from_millis(1);

/// The number of clients that read [`HUGE`] repeatedly, as fast as they can.
const READERS: u32 = 3;

/// The rate of full TLS handshakes per second, and the number of clients that perform them.
const HANDSHAKES: u32 = 500;
const HANDSHAKE_CLIENTS: u32 = 4;

/// The other clients.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Disturbance {
    Readers,
    Handshakes,
}

impl Disturbance {
    pub(crate) const ALL: [Self; 2] = [Self::Readers, Self::Handshakes];

    pub(crate) fn scenario(self) -> Scenario {
        match self {
            Self::Readers => Scenario::Readers,
            Self::Handshakes => Scenario::BesideHandshakes,
        }
    }

    pub(crate) fn name(self) -> String {
        match self {
            Self::Readers => format!("{READERS} fast readers of 60 MiB"),
            Self::Handshakes => format!("{HANDSHAKES} TLS handshakes per second"),
        }
    }
}

/// The results of one server in one round.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Measurement {
    pub(crate) quiet: LoadResult,
    pub(crate) disturbed: LoadResult,
    /// The bytes or handshakes per second of the other clients.
    pub(crate) others: f64,
}

#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) disturbance: Disturbance,
    pub(crate) servers: Vec<(Kind, Vec<Measurement>)>,
}

impl Outcome {
    /// Returns the median over the rounds, or `None` if the server was not measured.
    pub(crate) fn median(&self, kind: Kind, figure: impl Fn(&Measurement) -> f64) -> Option<f64> {
        let measurements = self
            .servers
            .iter()
            .find(|(other, _)| *other == kind)
            .map_or(&[][..], |(_, measurements)| measurements);
        median(measurements.iter().map(figure))
    }
}

pub(crate) fn measure(
    disturbance: Disturbance,
    kinds: &[Kind],
    rounds: u32,
    seconds: u32,
) -> Result<Outcome> {
    let origin = Origin::start()?;
    let certificate = match disturbance {
        Disturbance::Readers => None,
        Disturbance::Handshakes => Some(tls::make_certificate(origin.home())?),
    };
    let start = |kind: &Kind| Server::start_with(*kind, &origin, certificate.as_deref(), false);
    let servers = kinds.iter().map(start).collect::<Result<Vec<Server>>>()?;
    let mut outcome =
        Outcome { disturbance, servers: kinds.iter().map(|kind| (*kind, Vec::new())).collect() };
    for round in 0..rounds as usize {
        for place in 0..servers.len() {
            let index = (round + place) % servers.len();
            let server = &servers[index];
            let measurement = measure_once(disturbance, server, seconds).map_err(|error| {
                format!("{}, {}: {error}\n{}", disturbance.name(), server.kind, server.output_tail())
            })?;
            eprintln!(
                "with {}, round {} of {rounds}: {:<12} p50 {:.2} ms, then {:.2} ms; p99 {:.2} ms, then {:.2} ms; \
                 others {:.0} per second",
                disturbance.name(),
                round + 1,
                server.kind,
                measurement.quiet.median_milliseconds,
                measurement.disturbed.median_milliseconds,
                measurement.quiet.p99_milliseconds,
                measurement.disturbed.p99_milliseconds,
                measurement.others
            );
            outcome.servers[index].1.push(measurement);
        }
    }
    Ok(outcome)
}

fn measure_once(disturbance: Disturbance, server: &Server, seconds: u32) -> Result<Measurement> {
    let files = if disturbance == Disturbance::Readers { &[SMALL, HUGE][..] } else { &[SMALL] };
    for (path, length) in files {
        // The second request is a hit.
        for _ in 0..2 {
            let answer = server.get(path)?;
            if answer.status != 200 || answer.length() != *length {
                return Err(format!("status {} with {} bytes", answer.status, answer.length()).into());
            }
        }
    }
    let quiet = hits(server, seconds)?;
    let has_ended = AtomicBool::new(false);
    let (disturbed, others) = thread::scope(|scope| {
        let others: Vec<_> = match disturbance {
            Disturbance::Readers => (0..READERS).map(|_| scope.spawn(|| read(server, &has_ended))).collect(),
            Disturbance::Handshakes => {
                (0..HANDSHAKE_CLIENTS).map(|_| scope.spawn(|| handshake(server, &has_ended))).collect()
            }
        };
        let started = Instant::now();
        let disturbed = hits(server, seconds);
        has_ended.store(true, Ordering::Relaxed);
        let elapsed = started.elapsed().as_secs_f64();
        let others = others.into_iter().map(|other| Ok(other.join().map_err(|_| "a client panicked")??));
        let done = others.sum::<Result<f64>>()?;
        disturbed.map(|disturbed| (disturbed, done / elapsed))
    })?;
    Ok(Measurement { quiet, disturbed, others })
}

/// Measures the hits of the quiet clients.
fn hits(server: &Server, seconds: u32) -> Result<LoadResult> {
    let until = Instant::now() + Duration::from_secs(seconds.into());
    let started = Instant::now();
    let path = server.path(SMALL.0);
    let times = thread::scope(|scope| {
        let clients: Vec<_> = (0..CLIENTS)
            .map(|_| {
                scope.spawn(|| {
                    if server.is_tls() {
                        run_client(tls::connect(server.address, &tls::config(false)?)?, &path, until)
                    } else {
                        run_client(Connection::open(server.address)?, &path, until)
                    }
                })
            })
            .collect();
        let joined =
            clients.into_iter().map(|client| Ok(client.join().map_err(|_| "a client panicked")??));
        joined.collect::<Result<Vec<Vec<f64>>>>()
    })?;
    Ok(LoadResult::of(times.concat(), started.elapsed().as_secs_f64(), SMALL.1)?)
}

fn run_client<S: client::Stream>(
    mut connection: Connection<S>,
    path: &str,
    until: Instant,
) -> io::Result<Vec<f64>> {
    let mut times = Vec::new();
    // Exclude the handshake from the measurement.
    connection.get(path)?;
    while Instant::now() < until {
        thread::sleep(THINKING);
        let started = Instant::now();
        let answer = connection.get(path)?;
        if answer.status != 200 || answer.length() != SMALL.1 {
            let text = format!("status {} with {} bytes", answer.status, answer.length());
            return Err(io::Error::other(text));
        }
        times.push(started.elapsed().as_secs_f64() * 1e6);
    }
    Ok(times)
}

/// Reads until `has_ended` is set. Returns the number of bytes.
fn read(server: &Server, has_ended: &AtomicBool) -> io::Result<f64> {
    let path = server.path(HUGE.0);
    let mut buffer = vec![0; 256 << 10];
    let mut bytes = 0;
    let mut connection = Connection::open(server.address)?;
    loop {
        connection.send_get(&path)?;
        let mut body = connection.body(HUGE.1);
        loop {
            if has_ended.load(Ordering::Relaxed) {
                return Ok(bytes as f64);
            }
            match body.read(&mut buffer)? {
                0 => break,
                count => bytes += count,
            }
        }
    }
}

/// Performs handshakes until `has_ended` is set. Returns their number.
fn handshake(server: &Server, has_ended: &AtomicBool) -> io::Result<f64> {
    let config = tls::config(false)?;
    let path = server.path(SMALL.0);
    let mut done = 0;
    let mut next = Instant::now();
    while !has_ended.load(Ordering::Relaxed) {
        thread::sleep(next.saturating_duration_since(Instant::now()));
        next += Duration::from_secs(HANDSHAKE_CLIENTS.into()) / HANDSHAKES;
        tls::once(server.address, &path, &config)?;
        done += 1;
    }
    Ok(f64::from(done))
}
