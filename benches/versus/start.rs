//! Size, memory and start time of the command.

use std::fs;
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use crate::Result;
use crate::client;
use crate::figures::median;
use crate::interruption;
use crate::servers::forwardcache::{self, BINARY};
use crate::servers::{Kind, Origin, SMALL, Server, free_address};

const STARTS: usize = 5;

/// The longest time until the first response; a peer that takes longer is broken.
const TIMEOUT: Duration = Duration::from_secs(10);

#[derive(Clone, Copy, Debug)]
pub(crate) struct Outcome {
    /// The size of the stripped release binary.
    pub(crate) binary_bytes: f64,
    pub(crate) idle_resident: f64,
    pub(crate) milliseconds: f64,
}

pub(crate) fn measure() -> Result<Outcome> {
    let origin = Origin::start()?;
    // Warm up the origin, so that its file is in memory.
    client::get(origin.address, SMALL.0)?;
    let times = (0..STARTS).map(|_| first_answer(&origin)).collect::<Result<Vec<f64>>>()?;
    let server = Server::start(Kind::Forwardcache, &origin)?;
    // Wait until all threads have started.
    thread::sleep(Duration::from_millis(200));
    let outcome = Outcome {
        binary_bytes: fs::metadata(BINARY)?.len() as f64,
        idle_resident: server.own_resident() as f64,
        milliseconds: median(times).ok_or("no start was measured")?,
    };
    eprintln!(
        "start: {:.0} bytes of binary, {:.0} bytes resident, first answer after {:.1} ms",
        outcome.binary_bytes, outcome.idle_resident, outcome.milliseconds
    );
    Ok(outcome)
}

/// Returns the milliseconds from the start of the program to the end of the first response, fetched from the origin.
fn first_answer(origin: &Origin) -> Result<f64> {
    interruption::check()?;
    let address = free_address()?;
    let path = forwardcache::path(&origin.url(), SMALL.0);
    let mut command = Command::new(BINARY);
    command.args(["serve", "--listen", &address.to_string()]).env_remove("RUST_LOG");
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let started = Instant::now();
    // Started directly and not through the shell, whose time would be measured too.
    let _child = KillOnDrop(command.spawn()?);
    while started.elapsed() < TIMEOUT {
        if is_answered(address, &path)? {
            return Ok(started.elapsed().as_secs_f64() * 1e3);
        }
        thread::sleep(Duration::from_micros(100));
    }
    Err("the peer does not respond".into())
}

/// Returns `false` while connections are refused.
fn is_answered(address: SocketAddr, path: &str) -> Result<bool> {
    match client::get(address, path) {
        Ok(answer) if answer.status == 200 => Ok(true),
        Ok(answer) => Err(format!("unexpected first response {answer:?}").into()),
        Err(error) if error.kind() == std::io::ErrorKind::ConnectionRefused => Ok(false),
        Err(error) => Err(error.into()),
    }
}

struct KillOnDrop(Child);

impl Drop for KillOnDrop {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
