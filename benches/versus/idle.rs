//! Connections that stay open, thousands that have asked once, or a hundred event streams: what each takes,
//! and what becomes of hits meanwhile.

use std::time::Duration;

use crate::Result;
use crate::arguments::Scenario;
use crate::client::Connection;
use crate::figures::median;
use crate::interruption;
use crate::processes::open_files;
use crate::servers::{Kind, Origin, SMALL, Server};
use crate::throughput;

/// How many are held open that ask for nothing more.
const CONNECTIONS: u64 = 8_000;

/// How many event streams are held open.
const STREAMS: u64 = 100;

/// Files that this process has open beside them.
const OTHER_FILES: u64 = 500;

pub(crate) const OPEN_FILES: u64 = CONNECTIONS + OTHER_FILES;

/// Connections that ask at a time.
const ASKING: u32 = 64;

/// What is held open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum What {
    Idle,
    Streams,
}

impl What {
    pub(crate) const ALL: [Self; 2] = [Self::Idle, Self::Streams];

    pub(crate) fn scenario(self) -> Scenario {
        match self {
            Self::Idle => Scenario::Idle,
            Self::Streams => Scenario::Streams,
        }
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Idle => "idle connections",
            Self::Streams => "event streams",
        }
    }

    pub(crate) fn count(self) -> u64 {
        match self {
            Self::Idle => CONNECTIONS,
            Self::Streams => STREAMS,
        }
    }

    /// Whether this process may hold that many connections at all.
    pub(crate) fn is_possible(self) -> bool {
        open_files() >= self.count() + OTHER_FILES
    }

    fn origin(self) -> Result<Origin> {
        match self {
            Self::Idle => Origin::start(),
            Self::Streams => Origin::slow(Duration::ZERO, false),
        }
    }

    /// The connection of that number.
    fn open(self, server: &Server, number: u64) -> Result<Connection> {
        let mut connection = Connection::open_small(server.address)?;
        let answer = match self {
            Self::Idle => connection.get(&server.path(SMALL.0))?,
            Self::Streams => connection.ask(&server.path(&format!("{}{number}", Origin::STREAM)))?,
        };
        if answer.status != 200 {
            return Err(format!("status {}", answer.status).into());
        }
        if !self.is_held(&mut connection, Duration::ZERO) {
            return Err("it ends".into());
        }
        Ok(connection)
    }

    /// Whether the server still holds it: one that is idle has nothing to say, a stream has brought all events
    /// of that time and one more. However the server divides them into chunks.
    fn is_held(self, connection: &mut Connection, time: Duration) -> bool {
        match self {
            Self::Idle => connection.is_idle(),
            Self::Streams => {
                let events = 1 + time.as_millis() / Origin::EVENTS.as_millis();
                let wanted = Origin::EVENT.len() as u128 * events;
                let mut body = Vec::new();
                while (body.len() as u128) < wanted {
                    if connection.chunk(&mut body).map_or(true, |length| length == 0) {
                        return false;
                    }
                }
                true
            }
        }
    }
}

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
    pub(crate) what: What,
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

/// When a server cannot hold the connections, the others still have their turns.
pub(crate) fn measure(what: What, kinds: &[Kind], rounds: u32, seconds: u32) -> Result<Outcome> {
    let mut servers: Vec<(Kind, Held<Vec<Turn>>)> =
        kinds.iter().map(|kind| (*kind, Ok(Vec::new()))).collect();
    let name = what.name();
    for round in 0..rounds as usize {
        for place in 0..servers.len() {
            let index = (round + place) % servers.len();
            let (kind, turns) = &mut servers[index];
            let Ok(so_far) = turns else { continue };
            let turn = turn(what, *kind, seconds).map_err(|error| format!("{name}, {kind}: {error}"))?;
            match turn {
                Ok(turn) => {
                    eprintln!(
                        "{name}, round {} of {rounds}: {kind:<12} {} threads, then {}; {:.0} bytes a connection; \
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
                    eprintln!("{name}, round {} of {rounds}: {kind:<12} {reason}", round + 1);
                    *turns = Err(reason);
                }
            }
        }
    }
    Ok(Outcome { what, servers })
}

/// A server of its own for each, because memory once taken is seldom given back.
fn turn(what: What, kind: Kind, seconds: u32) -> Result<Held<Turn>> {
    let (name, count) = (what.name(), what.count());
    let mut origin = what.origin()?;
    let server = Server::start(kind, &origin)?;
    let hits = |origin: &mut Origin| {
        throughput::hits(&server, origin, SMALL, ASKING, seconds).map(|turn| turn.requests_per_second)
    };
    let hits_without = hits(&mut origin)?;
    let before = server.usage();
    let mut connections = match opened(what, &server) {
        Ok(connections) => connections,
        Err(error) => {
            interruption::check()?;
            let words = server.last_words();
            return Ok(Err(format!("it does not hold {count} {name}: {error}\n{words}")));
        }
    };
    let after = server.usage();
    let hits_with = match hits(&mut origin) {
        Ok(hits) => hits,
        Err(error) => {
            interruption::check()?;
            return Ok(Err(format!("beside {count} {name} it has no hits: {error}")));
        }
    };
    let time = Duration::from_secs(seconds.into());
    let held = connections.iter_mut().map(|connection| what.is_held(connection, time));
    let held = held.filter(|is_held| *is_held).count() as u64;
    if held < count {
        return Ok(Err(format!("of {count} {name} it has held {held}")));
    }
    Ok(Ok(Turn {
        threads_before: before.threads,
        threads_after: after.threads,
        bytes_per_connection: (after.resident as f64 - before.resident as f64) / count as f64,
        hits_without,
        hits_with,
    }))
}

fn opened(what: What, server: &Server) -> Result<Vec<Connection>> {
    let mut connections = Vec::new();
    for number in 0..what.count() {
        interruption::check()?;
        let connection =
            what.open(server, number).map_err(|error| format!("after {number} of them: {error}"))?;
        connections.push(connection);
    }
    Ok(connections)
}
