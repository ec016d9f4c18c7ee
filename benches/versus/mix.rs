//! A mixed load of hits and misses, with the hits timed separately, which wrk cannot do.

use std::net::SocketAddr;
use std::thread;
use std::time::{Duration, Instant};

use crate::Result;
use crate::client::Connection;
use crate::interruption;
use crate::servers::{Origin, SMALL, Server};
use crate::wrk::LoadResult;

/// One of this many requests of a client is a miss.
pub(crate) const MISS_EVERY: u64 = 10;

/// The results of one client.
#[derive(Debug, Default)]
struct ClientResults {
    /// The duration of each hit in microseconds.
    hits: Vec<f64>,
    misses: u64,
    bytes: u64,
}

/// Runs the load for this time over this many connections. Each client requests [`SMALL`], which is stored, and every
/// tenth time a new URL, numbered from `first`. Returns the number of misses and the results; the percentiles are
/// those of the hits, the number of requests includes the misses.
///
/// # Errors
///
/// If a response is an error or has a wrong length, or if a connection breaks.
pub(crate) fn run(server: &Server, first: u64, connections: u32, seconds: u32) -> Result<(u64, LoadResult)> {
    let until = Instant::now() + Duration::from_secs(seconds.into());
    let (address, hit, miss) = (server.address, server.path(SMALL.0), server.path(Origin::DISTINCT));
    let (hit, miss) = (&*hit, &*miss);
    let started = Instant::now();
    let results = thread::scope(|scope| {
        let start = |client: u32| {
            // A range of numbers larger than the number of requests of one client.
            let numbers = first + u64::from(client) * 100_000;
            // Spread the misses of the clients over time.
            let offset = u64::from(client) % MISS_EVERY;
            scope.spawn(move || run_client(address, hit, (miss, numbers), offset, until))
        };
        let clients: Vec<_> = (0..connections).map(start).collect();
        let joined =
            clients.into_iter().map(|client| Ok(client.join().map_err(|_| "a client panicked")??));
        joined.collect::<Result<Vec<ClientResults>>>()
    })?;
    let elapsed = started.elapsed().as_secs_f64();
    let misses: u64 = results.iter().map(|client| client.misses).sum();
    let bytes: u64 = results.iter().map(|client| client.bytes).sum();
    let hits: Vec<f64> = results.into_iter().flat_map(|client| client.hits).collect();
    let result = LoadResult::of(hits, elapsed, SMALL.1)?;
    let requests = result.requests + misses as f64;
    Ok((
        misses,
        LoadResult { requests, requests_per_second: requests / elapsed, bytes: bytes as f64, ..result },
    ))
}

fn run_client(
    address: SocketAddr,
    hit: &str,
    (miss, numbers): (&str, u64),
    offset: u64,
    until: Instant,
) -> std::io::Result<ClientResults> {
    let mut connection = Connection::open(address)?;
    let mut results = ClientResults::default();
    for count in offset.. {
        if Instant::now() >= until {
            break;
        }
        interruption::check()?;
        let is_miss = count % MISS_EVERY == 0;
        let path = if is_miss { format!("{miss}{}", numbers + count) } else { hit.to_owned() };
        let started = Instant::now();
        let answer = connection.get(&path)?;
        let microseconds = started.elapsed().as_secs_f64() * 1e6;
        if answer.status != 200 || answer.length() != SMALL.1 {
            let text = format!("status {} with {} bytes", answer.status, answer.length());
            return Err(std::io::Error::other(text));
        }
        results.bytes += answer.length();
        if is_miss {
            results.misses += 1;
        } else {
            results.hits.push(microseconds);
        }
    }
    Ok(results)
}
