//! The memory per stored object of 1 KiB, including all overhead.

use std::thread;

use crate::Result;
use crate::client::Connection;
use crate::interruption;
use crate::servers::{Kind, Origin, SMALL, Server};

const COUNT: u64 = 200_000;

/// The number of concurrent clients.
const CLIENTS: u64 = 8;

/// The servers that store responses in their own memory. nginx stores files, which do not count as memory of a
/// process.
pub(crate) const KINDS: [Kind; 3] = [Kind::Forwardcache, Kind::Varnish, Kind::Squid];

/// Returns the resident bytes per object for each server.
pub(crate) fn measure(kinds: &[Kind]) -> Result<Vec<(Kind, f64)>> {
    let measured = |kind: &Kind| {
        let bytes = bytes(*kind).map_err(|error| format!("objects, {kind}: {error}"))?;
        eprintln!("objects: {kind:<12} {bytes:.0} bytes each");
        Ok((*kind, bytes))
    };
    kinds.iter().map(measured).collect()
}

fn bytes(kind: Kind) -> Result<f64> {
    let mut origin = Origin::start()?;
    let server = Server::start(kind, &origin)?;
    // The first requests allocate memory that is not per object.
    fill(&server, COUNT, 1_000)?;
    let before = server.usage().resident;
    fill(&server, 0, COUNT)?;
    let after = server.usage().resident;
    // Verify that the objects are still stored.
    let requests_before = origin.request_count()?;
    for number in (0..COUNT).step_by(997) {
        let answer = server.get(&path(number))?;
        if !server.is_hit(&answer) {
            return Err(format!("object {number} is not stored").into());
        }
    }
    if origin.request_count()? > requests_before {
        return Err("not all objects are stored".into());
    }
    Ok((after as f64 - before as f64) / COUNT as f64)
}

pub(crate) fn path(number: u64) -> String {
    format!("{}{number}", Origin::DISTINCT)
}

/// Requests `count` objects, numbered from `first`.
pub(crate) fn fill(server: &Server, first: u64, count: u64) -> Result<()> {
    let share = |client: u64| -> std::io::Result<()> {
        let mut connection = Connection::open(server.address)?;
        for number in (first + client..first + count).step_by(usize::try_from(CLIENTS).unwrap_or(1)) {
            interruption::check()?;
            let answer = connection.get(&server.path(&path(number)))?;
            if answer.status != 200 || answer.length() != SMALL.1 {
                return Err(std::io::Error::other(format!("object {number}: {answer:?}")));
            }
        }
        Ok(())
    };
    thread::scope(|scope| {
        let clients: Vec<_> = (0..CLIENTS).map(|client| scope.spawn(move || share(client))).collect();
        for client in clients {
            client.join().map_err(|_| "a client panicked")??;
        }
        Ok(())
    })
}
