//! A load of hits and misses, of which the hits are timed by themselves: wrk times all requests as one.

use std::net::SocketAddr;
use std::thread;
use std::time::{Duration, Instant};

use crate::Result;
use crate::client::Connection;
use crate::interruption;
use crate::servers::{Origin, SMALL, Server};
use crate::wrk::Seen;

/// Of so many requests of a client one is a miss.
pub(crate) const MISS_EVERY: u64 = 10;

/// What one client saw.
#[derive(Debug, Default)]
struct Share {
    /// Microseconds of each hit.
    hits: Vec<f64>,
    misses: u64,
    bytes: u64,
}

/// Asks for that long, over that many connections at a time: each asks for [`SMALL`], which the server has,
/// and each tenth time for a number from `first` upwards. What comes is the number of misses, and what was
/// seen: the times are those of hits alone, the requests are all.
///
/// # Errors
///
/// When any answer is an error or has another length, or any connection breaks.
pub(crate) fn run(server: &Server, first: u64, connections: u32, seconds: u32) -> Result<(u64, Seen)> {
    let until = Instant::now() + Duration::from_secs(seconds.into());
    let (address, hit, miss) = (server.address, server.path(SMALL.0), server.path(Origin::DISTINCT));
    let (hit, miss) = (&*hit, &*miss);
    let begun = Instant::now();
    let shares = thread::scope(|scope| {
        let start = |client: u32| {
            // As many numbers as one client can never ask for.
            let numbers = first + u64::from(client) * 100_000;
            // Not all miss at the same time.
            let turn = u64::from(client) % MISS_EVERY;
            scope.spawn(move || share(address, hit, (miss, numbers), turn, until))
        };
        let clients: Vec<_> = (0..connections).map(start).collect();
        let joined =
            clients.into_iter().map(|client| Ok(client.join().map_err(|_| "a client panicked")??));
        joined.collect::<Result<Vec<Share>>>()
    })?;
    let elapsed = begun.elapsed().as_secs_f64();
    let misses: u64 = shares.iter().map(|share| share.misses).sum();
    let bytes: u64 = shares.iter().map(|share| share.bytes).sum();
    let hits: Vec<f64> = shares.into_iter().flat_map(|share| share.hits).collect();
    let seen = Seen::of(hits, elapsed, SMALL.1)?;
    let requests = seen.requests + misses as f64;
    Ok((misses, Seen { requests, requests_per_second: requests / elapsed, bytes: bytes as f64, ..seen }))
}

fn share(
    address: SocketAddr,
    hit: &str,
    (miss, numbers): (&str, u64),
    turn: u64,
    until: Instant,
) -> std::io::Result<Share> {
    let mut connection = Connection::open(address)?;
    let mut share = Share::default();
    for count in turn.. {
        if Instant::now() >= until {
            break;
        }
        interruption::check()?;
        let is_miss = count % MISS_EVERY == 0;
        let path = if is_miss { format!("{miss}{}", numbers + count) } else { hit.to_owned() };
        let begun = Instant::now();
        let answer = connection.get(&path)?;
        let microseconds = begun.elapsed().as_secs_f64() * 1e6;
        if answer.status != 200 || answer.length() != SMALL.1 {
            let text = format!("status {} with {} bytes", answer.status, answer.length());
            return Err(std::io::Error::other(text));
        }
        share.bytes += answer.length();
        if is_miss {
            share.misses += 1;
        } else {
            share.hits.push(microseconds);
        }
    }
    Ok(share)
}
