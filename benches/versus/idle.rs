//! Thousands of connections that have asked once and stay open: what each takes, and what becomes of hits
//! meanwhile.

use crate::Result;
use crate::client::Connection;
use crate::figures::median;
use crate::interruption;
use crate::processes::{Usage, open_files};
use crate::servers::{Kind, Origin, SMALL, Server};
use crate::throughput;

/// How many are held open.
pub(crate) const CONNECTIONS: u64 = 8_000;

/// Files that this process has open beside them.
const OTHER_FILES: u64 = 500;

pub(crate) const OPEN_FILES: u64 = CONNECTIONS + OTHER_FILES;

/// Connections that ask at a time.
const ASKING: u32 = 64;

/// One turn of one server.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Turn {
    pub(crate) threads_before: u64,
    pub(crate) threads_after: u64,
    pub(crate) bytes_per_connection: f64,
    pub(crate) hits_without: f64,
    pub(crate) hits_with: f64,
}

/// Or the reason why the connections cannot be held: a result too, and no failure of the bench.
type Held<T> = std::result::Result<T, String>;

#[derive(Debug)]
pub(crate) struct Outcome {
    /// Of each server its turns, or why it cannot hold the connections.
    pub(crate) servers: Vec<(Kind, Held<Vec<Turn>>)>,
}

impl Outcome {
    pub(crate) fn turns(&self, kind: Kind) -> &[Turn] {
        let found = self.servers.iter().find(|(other, _)| *other == kind);
        found.and_then(|(_, turns)| turns.as_deref().ok()).unwrap_or(&[])
    }

    /// The median over the rounds, `None` of a server that had no turn or could not hold the connections.
    pub(crate) fn median(&self, kind: Kind, figure: impl Fn(&Turn) -> f64) -> Option<f64> {
        median(self.turns(kind).iter().map(figure))
    }
}

/// Whether this process may hold that many connections at all.
pub(crate) fn is_possible() -> bool {
    open_files() >= OPEN_FILES
}

/// When a server cannot hold the connections, the others still have their turns.
pub(crate) fn measure(kinds: &[Kind], rounds: u32, seconds: u32) -> Result<Outcome> {
    let mut servers: Vec<(Kind, Held<Vec<Turn>>)> =
        kinds.iter().map(|kind| (*kind, Ok(Vec::new()))).collect();
    for round in 0..rounds as usize {
        for place in 0..servers.len() {
            let index = (round + place) % servers.len();
            let (kind, turns) = &mut servers[index];
            let Ok(so_far) = turns else { continue };
            let turn = turn(*kind, seconds).map_err(|error| format!("idle, {kind}: {error}"))?;
            match turn {
                Ok(turn) => {
                    eprintln!(
                        "idle, round {} of {rounds}: {kind:<12} {} threads, then {}; {:.0} bytes a connection; \
                         {:.0} requests/s without, {:.0} with",
                        round + 1,
                        turn.threads_before,
                        turn.threads_after,
                        turn.bytes_per_connection,
                        turn.hits_without,
                        turn.hits_with
                    );
                    so_far.push(turn);
                }
                Err(reason) => {
                    eprintln!("idle, round {} of {rounds}: {kind:<12} {reason}", round + 1);
                    *turns = Err(reason);
                }
            }
        }
    }
    Ok(Outcome { servers })
}

/// A server of its own for each, because memory once taken is seldom given back.
fn turn(kind: Kind, seconds: u32) -> Result<Held<Turn>> {
    let mut origin = Origin::start()?;
    let server = Server::start(kind, &origin)?;
    let hits = |origin: &mut Origin| {
        throughput::hits(&server, origin, SMALL, ASKING, seconds).map(|turn| turn.requests_per_second)
    };
    let hits_without = hits(&mut origin)?;
    let before = server.usage();
    let connections = match opened(&server) {
        Ok(connections) => connections,
        Err(error) => {
            interruption::check()?;
            let words = server.last_words();
            return Ok(Err(format!("it does not hold {CONNECTIONS} connections: {error}\n{words}")));
        }
    };
    let after = server.usage();
    let hits_with = match hits(&mut origin) {
        Ok(hits) => hits,
        Err(error) => {
            interruption::check()?;
            return Ok(Err(format!("beside {CONNECTIONS} connections it has no hits: {error}")));
        }
    };
    let idle = connections.iter().filter(|connection| connection.is_idle()).count();
    if idle < connections.len() {
        return Ok(Err(format!("of {CONNECTIONS} connections it has held {idle}")));
    }
    Ok(Ok(Turn {
        threads_before: before.threads,
        threads_after: after.threads,
        bytes_per_connection: per_connection(before, after),
        hits_without,
        hits_with,
    }))
}

fn opened(server: &Server) -> Result<Vec<Connection>> {
    let path = server.path(SMALL.0);
    let mut connections = Vec::new();
    for count in 0..CONNECTIONS {
        interruption::check()?;
        let mut connection = Connection::open_small(server.address)?;
        let answer = connection.get(&path)?;
        if answer.status != 200 {
            return Err(format!("after {count} connections, status {}", answer.status).into());
        }
        connections.push(connection);
    }
    Ok(connections)
}

fn per_connection(before: Usage, after: Usage) -> f64 {
    (after.resident as f64 - before.resident as f64) / CONNECTIONS as f64
}
