//! Open connections, either thousands of idle ones or a hundred event streams: the memory and threads they take, and
//! the rate of hits while they are open.

use std::time::Duration;

use crate::Result;
use crate::arguments::Scenario;
use crate::client::Connection;
use crate::figures::median;
use crate::interruption;
use crate::processes::open_files;
use crate::servers::{Kind, Origin, SMALL, Server};
use crate::throughput;

/// The number of idle connections.
const CONNECTIONS: u64 = 8_000;

/// The number of event streams.
const STREAMS: u64 = 100;

/// Other files that this process needs to open.
const OTHER_FILES: u64 = 500;

pub(crate) const OPEN_FILES: u64 = CONNECTIONS + OTHER_FILES;

/// The number of connections that send requests at a time.
const LOAD_CONNECTIONS: u32 = 64;

/// The kind of open connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum HeldOpen {
    Idle,
    Streams,
}

impl HeldOpen {
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

    /// Returns whether the limit of open files allows that many connections.
    pub(crate) fn is_possible(self) -> bool {
        open_files() >= self.count() + OTHER_FILES
    }

    fn origin(self) -> Result<Origin> {
        match self {
            Self::Idle => Origin::start(),
            Self::Streams => Origin::slow(Duration::ZERO, false),
        }
    }

    /// Opens the connection with this number.
    fn open(self, server: &Server, number: u64) -> Result<Connection> {
        let mut connection = Connection::open_small(server.address)?;
        let answer = match self {
            Self::Idle => connection.get(&server.path(SMALL.0))?,
            Self::Streams => connection.send_get(&server.path(&format!("{}{number}", Origin::STREAM)))?,
        };
        if answer.status != 200 {
            return Err(format!("status {}", answer.status).into());
        }
        if !self.is_held(&mut connection, Duration::ZERO) {
            return Err("the connection ends".into());
        }
        Ok(connection)
    }

    /// Returns whether the server keeps the connection open: an idle one must have nothing to read, and a stream must
    /// have delivered all events of this time plus one, in chunks of any size.
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

/// The results of one server in one round.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Measurement {
    pub(crate) threads_before: u64,
    pub(crate) threads_after: u64,
    pub(crate) bytes_per_connection: f64,
    pub(crate) hits_without: f64,
    pub(crate) hits_with: f64,
}

/// The error is the reason why a server cannot hold the connections. It is a result and not a failure of the
/// benchmark.
type Held<T> = std::result::Result<T, String>;

#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) case: HeldOpen,
    /// The results of each server, or the reason why it cannot hold the connections.
    pub(crate) servers: Vec<(Kind, Held<Vec<Measurement>>)>,
}

impl Outcome {
    pub(crate) fn measurements(&self, kind: Kind) -> &[Measurement] {
        let found = self.servers.iter().find(|(other, _)| *other == kind);
        found.and_then(|(_, measurements)| measurements.as_deref().ok()).unwrap_or(&[])
    }

    /// Returns the median over the rounds, or `None` if the server has no results.
    pub(crate) fn median(&self, kind: Kind, figure: impl Fn(&Measurement) -> f64) -> Option<f64> {
        median(self.measurements(kind).iter().map(figure))
    }
}

/// Measures each server in each round. A server that cannot hold the connections is left out of the remaining rounds.
pub(crate) fn measure(case: HeldOpen, kinds: &[Kind], rounds: u32, seconds: u32) -> Result<Outcome> {
    let mut servers: Vec<(Kind, Held<Vec<Measurement>>)> =
        kinds.iter().map(|kind| (*kind, Ok(Vec::new()))).collect();
    let name = case.name();
    for round in 0..rounds as usize {
        for place in 0..servers.len() {
            let index = (round + place) % servers.len();
            let (kind, measurements) = &mut servers[index];
            let Ok(so_far) = measurements else { continue };
            let measurement =
                measure_once(case, *kind, seconds).map_err(|error| format!("{name}, {kind}: {error}"))?;
            match measurement {
                Ok(measurement) => {
                    eprintln!(
                        "{name}, round {} of {rounds}: {kind:<12} {} threads, then {}; {:.0} bytes per connection; \
                         {:.0} requests/s without, {:.0} with",
                        round + 1,
                        measurement.threads_before,
                        measurement.threads_after,
                        measurement.bytes_per_connection,
                        measurement.hits_without,
                        measurement.hits_with
                    );
                    so_far.push(measurement);
                }
                Err(reason) => {
                    eprintln!("{name}, round {} of {rounds}: {kind:<12} {reason}", round + 1);
                    *measurements = Err(reason);
                }
            }
        }
    }
    Ok(Outcome { case, servers })
}

/// Starts a new server for each measurement, because servers rarely return memory to the system.
fn measure_once(case: HeldOpen, kind: Kind, seconds: u32) -> Result<Held<Measurement>> {
    let (name, count) = (case.name(), case.count());
    let mut origin = case.origin()?;
    let server = Server::start(kind, &origin)?;
    let hits = |origin: &mut Origin| {
        throughput::hits(&server, origin, SMALL, LOAD_CONNECTIONS, seconds)
            .map(|measurement| measurement.requests_per_second)
    };
    let hits_without = hits(&mut origin)?;
    let before = server.usage();
    let mut connections = match opened(case, &server) {
        Ok(connections) => connections,
        Err(error) => {
            interruption::check()?;
            let words = server.output_tail();
            return Ok(Err(format!("the server does not hold {count} {name}: {error}\n{words}")));
        }
    };
    let after = server.usage();
    let hits_with = match hits(&mut origin) {
        Ok(hits) => hits,
        Err(error) => {
            interruption::check()?;
            return Ok(Err(format!("no hits with {count} {name} open: {error}")));
        }
    };
    let time = Duration::from_secs(seconds.into());
    let held = connections.iter_mut().map(|connection| case.is_held(connection, time));
    let held = held.filter(|is_held| *is_held).count() as u64;
    if held < count {
        return Ok(Err(format!("only {held} of {count} {name} were held")));
    }
    Ok(Ok(Measurement {
        threads_before: before.threads,
        threads_after: after.threads,
        bytes_per_connection: (after.resident as f64 - before.resident as f64) / count as f64,
        hits_without,
        hits_with,
    }))
}

fn opened(case: HeldOpen, server: &Server) -> Result<Vec<Connection>> {
    let mut connections = Vec::new();
    for number in 0..case.count() {
        interruption::check()?;
        let connection =
            case.open(server, number).map_err(|error| format!("after {number} connections: {error}"))?;
        connections.push(connection);
    }
    Ok(connections)
}
