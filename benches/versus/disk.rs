//! The start over a store on disk, and the memory that its entries take.

use std::thread;
use std::time::{Duration, Instant};

use crate::Result;
use crate::client;
use crate::interruption;
use crate::objects;
use crate::servers::{Kind, Origin, Server};

/// The entries of the start, and those beside which the memory of more is measured.
const ENTRIES: u64 = 100_000;

/// How many objects are requested before the store has time to write them.
const BATCH: u64 = 10_000;

/// The longest time until the first response from the disk.
const TIMEOUT: Duration = Duration::from_secs(60);

#[derive(Clone, Copy, Debug)]
pub(crate) struct Outcome {
    /// The time from the start of the command to the first response from the disk, with [`ENTRIES`].
    pub(crate) start_milliseconds: f64,
    /// The memory of each further entry.
    pub(crate) bytes: f64,
    pub(crate) more: u64,
}

/// Fills a store, and measures how long a restart takes and what is resident after it, with and without `more` entries.
pub(crate) fn measure(more: u64) -> Result<Outcome> {
    let origin = Origin::start()?;
    let server = Server::start_with(Kind::Forwardcache, &origin, None, true)?;
    fill(&server, 0, ENTRIES)?;
    let (server, milliseconds) = restart(server, &origin)?;
    let before = settled(&server);
    fill(&server, ENTRIES, more)?;
    let (server, _) = restart(server, &origin)?;
    let after = settled(&server);
    let bytes = (after - before) / more as f64;
    eprintln!(
        "disk entries: first hit {milliseconds:.1} ms after the start, {bytes:.0} bytes of memory each"
    );
    Ok(Outcome { start_milliseconds: milliseconds, bytes, more })
}

/// Stores objects, no faster than the disk takes them.
fn fill(server: &Server, first: u64, count: u64) -> Result<()> {
    for first in (first..first + count).step_by(usize::try_from(BATCH)?) {
        interruption::check()?;
        objects::fill(server, first, BATCH)?;
        thread::sleep(Duration::from_millis(500));
    }
    Ok(())
}

/// Restarts the server, and returns the milliseconds until its first hit.
fn restart(server: Server, origin: &Origin) -> Result<(Server, f64)> {
    let path = server.path(&objects::path(ENTRIES / 2));
    let (server, started) = server.restarted(origin)?;
    while started.elapsed() < TIMEOUT {
        match client::get(server.address, &path) {
            Ok(answer) if server.is_hit(&answer) => {
                let elapsed = started.elapsed();
                return Ok((server, elapsed.as_secs_f64() * 1e3));
            }
            Ok(answer) => return Err(format!("the first response is not a hit: {answer:?}").into()),
            Err(_) => thread::sleep(Duration::from_micros(200)),
        }
    }
    Err("the server does not respond after its restart".into())
}

/// Returns what is resident once that does not grow any more: the keys are read in the background.
fn settled(server: &Server) -> f64 {
    let (started, mut last) = (Instant::now(), 0);
    while started.elapsed() < TIMEOUT {
        thread::sleep(Duration::from_secs(3));
        let now = server.own_resident();
        if now <= last + (256 << 10) {
            return now as f64;
        }
        last = now;
    }
    last as f64
}
