//! Small hits of a few quiet clients, alone and beside others that make the server work: what becomes of their times.

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
use crate::wrk::Seen;

/// Quiet clients, and how long each thinks before it asks again.
const CLIENTS: u32 = 4;
const THINKING: Duration = Duration::from_millis(1);

/// Clients that read [`HUGE`] again and again, as fast as it comes.
const READERS: u32 = 3;

/// Full TLS handshakes a second, and by how many clients.
const HANDSHAKES: u32 = 500;
const CONNECTING: u32 = 4;

/// Beside whom the hits are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum What {
    Readers,
    Handshakes,
}

impl What {
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
            Self::Handshakes => format!("{HANDSHAKES} TLS handshakes a second"),
        }
    }
}

/// One turn of one server.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Turn {
    pub(crate) alone: Seen,
    pub(crate) beside: Seen,
    /// How much the others got a second: bytes, or handshakes.
    pub(crate) others: f64,
}

#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) what: What,
    pub(crate) servers: Vec<(Kind, Vec<Turn>)>,
}

impl Outcome {
    /// The median over the rounds, `None` of a server that had no turn.
    pub(crate) fn median(&self, kind: Kind, figure: impl Fn(&Turn) -> f64) -> Option<f64> {
        let turns = self.servers.iter().find(|(other, _)| *other == kind).map_or(&[][..], |(_, turns)| turns);
        median(turns.iter().map(figure))
    }
}

pub(crate) fn measure(what: What, kinds: &[Kind], rounds: u32, seconds: u32) -> Result<Outcome> {
    let origin = Origin::start()?;
    let certificate = match what {
        What::Readers => None,
        What::Handshakes => Some(tls::make_certificate(origin.home())?),
    };
    let start = |kind: &Kind| Server::start_with(*kind, &origin, certificate.as_deref(), false);
    let servers = kinds.iter().map(start).collect::<Result<Vec<Server>>>()?;
    let mut outcome = Outcome { what, servers: kinds.iter().map(|kind| (*kind, Vec::new())).collect() };
    for round in 0..rounds as usize {
        for place in 0..servers.len() {
            let index = (round + place) % servers.len();
            let server = &servers[index];
            let turn = turn(what, server, seconds).map_err(|error| {
                format!("{}, {}: {error}\n{}", what.name(), server.kind, server.last_words())
            })?;
            eprintln!(
                "beside {}, round {} of {rounds}: {:<12} p50 {:.2} ms, then {:.2} ms; p99 {:.2} ms, then {:.2} ms; \
                 the others get {:.0} a second",
                what.name(),
                round + 1,
                server.kind,
                turn.alone.median_milliseconds,
                turn.beside.median_milliseconds,
                turn.alone.p99_milliseconds,
                turn.beside.p99_milliseconds,
                turn.others
            );
            outcome.servers[index].1.push(turn);
        }
    }
    Ok(outcome)
}

fn turn(what: What, server: &Server, seconds: u32) -> Result<Turn> {
    let files = if what == What::Readers { &[SMALL, HUGE][..] } else { &[SMALL] };
    for (path, length) in files {
        // Twice: the second is a hit.
        for _ in 0..2 {
            let answer = server.get(path)?;
            if answer.status != 200 || answer.length() != *length {
                return Err(format!("status {} with {} bytes", answer.status, answer.length()).into());
            }
        }
    }
    let alone = hits(server, seconds)?;
    let has_ended = AtomicBool::new(false);
    let (beside, others) = thread::scope(|scope| {
        let others: Vec<_> = match what {
            What::Readers => (0..READERS).map(|_| scope.spawn(|| read(server, &has_ended))).collect(),
            What::Handshakes => {
                (0..CONNECTING).map(|_| scope.spawn(|| handshake(server, &has_ended))).collect()
            }
        };
        let begun = Instant::now();
        let beside = hits(server, seconds);
        has_ended.store(true, Ordering::Relaxed);
        let elapsed = begun.elapsed().as_secs_f64();
        let others = others.into_iter().map(|other| Ok(other.join().map_err(|_| "a client panicked")??));
        let done = others.sum::<Result<f64>>()?;
        beside.map(|beside| (beside, done / elapsed))
    })?;
    Ok(Turn { alone, beside, others })
}

/// The times of the quiet clients.
fn hits(server: &Server, seconds: u32) -> Result<Seen> {
    let until = Instant::now() + Duration::from_secs(seconds.into());
    let begun = Instant::now();
    let path = server.path(SMALL.0);
    let shares = thread::scope(|scope| {
        let clients: Vec<_> = (0..CLIENTS)
            .map(|_| {
                scope.spawn(|| {
                    if server.is_tls() {
                        share(tls::connect(server.address, &tls::config(false)?)?, &path, until)
                    } else {
                        share(Connection::open(server.address)?, &path, until)
                    }
                })
            })
            .collect();
        let joined =
            clients.into_iter().map(|client| Ok(client.join().map_err(|_| "a client panicked")??));
        joined.collect::<Result<Vec<Vec<f64>>>>()
    })?;
    Ok(Seen::of(shares.concat(), begun.elapsed().as_secs_f64(), SMALL.1)?)
}

fn share<S: client::Stream>(
    mut connection: Connection<S>,
    path: &str,
    until: Instant,
) -> io::Result<Vec<f64>> {
    let mut times = Vec::new();
    // A handshake is no part of a hit.
    connection.get(path)?;
    while Instant::now() < until {
        thread::sleep(THINKING);
        let begun = Instant::now();
        let answer = connection.get(path)?;
        if answer.status != 200 || answer.length() != SMALL.1 {
            let text = format!("status {} with {} bytes", answer.status, answer.length());
            return Err(io::Error::other(text));
        }
        times.push(begun.elapsed().as_secs_f64() * 1e6);
    }
    Ok(times)
}

/// How many bytes came until the end.
fn read(server: &Server, has_ended: &AtomicBool) -> io::Result<f64> {
    let path = server.path(HUGE.0);
    let mut buffer = vec![0; 256 << 10];
    let mut bytes = 0;
    let mut connection = Connection::open(server.address)?;
    loop {
        connection.ask(&path)?;
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

/// How many handshakes were done until the end.
fn handshake(server: &Server, has_ended: &AtomicBool) -> io::Result<f64> {
    let config = tls::config(false)?;
    let path = server.path(SMALL.0);
    let mut done = 0;
    let mut next = Instant::now();
    while !has_ended.load(Ordering::Relaxed) {
        thread::sleep(next.saturating_duration_since(Instant::now()));
        next += Duration::from_secs(CONNECTING.into()) / HANDSHAKES;
        tls::once(server.address, &path, &config)?;
        done += 1;
    }
    Ok(f64::from(done))
}
