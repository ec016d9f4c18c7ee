//! What the command is before it has done anything: its size, its memory, and how soon it answers.

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

/// A peer that answers later is not slow but broken.
const PATIENCE: Duration = Duration::from_secs(10);

#[derive(Clone, Copy, Debug)]
pub(crate) struct Outcome {
    /// Of the binary as it is released: stripped.
    pub(crate) binary_bytes: f64,
    pub(crate) idle_resident: f64,
    pub(crate) milliseconds: f64,
}

pub(crate) fn measure() -> Result<Outcome> {
    let origin = Origin::start()?;
    // The origin has all in memory that it sends.
    client::get(origin.address, SMALL.0)?;
    let times = (0..STARTS).map(|_| first_answer(&origin)).collect::<Result<Vec<f64>>>()?;
    let server = Server::start(Kind::Forwardcache, &origin)?;
    // Long enough for the threads that come with the start.
    thread::sleep(Duration::from_millis(200));
    let outcome = Outcome {
        binary_bytes: fs::metadata(BINARY)?.len() as f64,
        idle_resident: server.whole_resident() as f64,
        milliseconds: median(times).ok_or("nothing was started")?,
    };
    eprintln!(
        "start: {:.0} bytes of binary, {:.0} bytes resident, first answer after {:.1} ms",
        outcome.binary_bytes, outcome.idle_resident, outcome.milliseconds
    );
    Ok(outcome)
}

/// Milliseconds from the start of the program to the end of the first answer, fetched from the origin.
fn first_answer(origin: &Origin) -> Result<f64> {
    interruption::check()?;
    let address = free_address()?;
    let path = forwardcache::path(&origin.url(), SMALL.0);
    let mut command = Command::new(BINARY);
    command.args(["serve", "--listen", &address.to_string()]).env_remove("RUST_LOG");
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let begun = Instant::now();
    // Without the shell and the rest that start the others: they would be timed too.
    let _running = Running(command.spawn()?);
    while begun.elapsed() < PATIENCE {
        if is_answered(address, &path)? {
            return Ok(begun.elapsed().as_secs_f64() * 1e3);
        }
        thread::sleep(Duration::from_micros(100));
    }
    Err("a started peer does not answer".into())
}

/// `false` while nobody listens.
fn is_answered(address: SocketAddr, path: &str) -> Result<bool> {
    match client::get(address, path) {
        Ok(answer) if answer.status == 200 => Ok(true),
        Ok(answer) => Err(format!("the first answer is {answer:?}").into()),
        Err(error) if error.kind() == std::io::ErrorKind::ConnectionRefused => Ok(false),
        Err(error) => Err(error.into()),
    }
}

struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
