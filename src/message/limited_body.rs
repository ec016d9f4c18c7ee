//! A body that may be read until a deadline.

use std::io::{self, Read};
use std::sync::Arc;
use std::thread;
use std::time::Instant;

use parking_lot::{Condvar, Mutex};

use crate::base::error::{Error, ErrorKind};
use crate::message::body::{Body, Driver, Growing, Grown, Wake};
use crate::message::deadline::Deadline;

/// The same body, whose reads fail as [`ErrorKind::Timeout`] past the deadline. Bytes that are there, and a deadline
/// for the head alone, change nothing.
///
/// Waiting for a growing body ends at the deadline too, where it is read as [`Read`]: if nobody moves it on, a thread of
/// its own does. Any other body is looked at between reads alone; one of an [`Origin`](crate::Origin) that was told the
/// same deadline does not wait longer either.
pub(crate) fn limited(body: Body, deadline: Deadline) -> Body {
    let Some(until) = deadline.hard().filter(|_| !deadline.is_for_head()) else { return body };
    if body.as_pieces().is_some() {
        return body;
    }
    match body.into_growing() {
        Ok((stream, length)) => Body::growing(LimitedGrowing::new(stream, until), length),
        Err(body) => body.read_through(|body| LimitedReader { body, until }),
    }
}

fn check(until: Instant) -> io::Result<()> {
    if Instant::now() < until { Ok(()) } else { Err(too_late()) }
}

/// What a body fails with whose time is over.
pub(crate) fn too_late() -> io::Error {
    Error::new(ErrorKind::Timeout, "the time for the body is over").into()
}

struct LimitedReader {
    body: Body,
    until: Instant,
}

impl Read for LimitedReader {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        check(self.until)?;
        self.body.read(out)
    }
}

struct LimitedGrowing {
    stream: Box<dyn Growing>,
    until: Instant,
    change: Arc<Change>,
    wake: Wake,
}

/// Whether there is something new to look at.
#[derive(Default)]
struct Change {
    has_come: Mutex<bool>,
    came: Condvar,
}

impl LimitedGrowing {
    fn new(stream: Box<dyn Growing>, until: Instant) -> Self {
        let change = Arc::new(Change::default());
        let told = Arc::clone(&change);
        let wake: Wake = Arc::new(move || {
            *told.has_come.lock() = true;
            told.came.notify_all();
        });
        Self { stream, until, change, wake }
    }

    fn wait(&self) {
        let mut has_come = self.change.has_come.lock();
        while !*has_come {
            if self.change.came.wait_until(&mut has_come, self.until).timed_out() {
                return;
            }
        }
    }
}

impl Read for LimitedGrowing {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        if out.is_empty() {
            return Ok(0);
        }
        loop {
            check(self.until)?;
            *self.change.has_come.lock() = false;
            match self.stream.read_at_once(out.len(), &self.wake)? {
                Grown::Bytes(bytes) => {
                    out[..bytes.len()].copy_from_slice(&bytes);
                    return Ok(bytes.len());
                }
                Grown::End => return Ok(0),
                Grown::Pending => {}
            }
            if let Some(driver) = self.stream.driver() {
                // Not on this thread, which may have to leave before the body moves.
                let driving = thread::Builder::new().name("forwardcache-body".to_owned()).spawn(driver);
                if driving.is_err() {
                    return self.stream.read(out);
                }
            }
            self.wait();
        }
    }
}

impl Growing for LimitedGrowing {
    fn read_at_once(&mut self, most: usize, wake: &Wake) -> io::Result<Grown> {
        check(self.until)?;
        self.stream.read_at_once(most, wake)
    }

    fn driver(&self) -> Option<Driver> {
        self.stream.driver()
    }

    fn wait_for_end(&self, until: Instant) -> bool {
        self.stream.wait_for_end(until.min(self.until))
    }

    fn is_worth_finishing(&self) -> bool {
        self.stream.is_worth_finishing()
    }

    fn abandon(self: Box<Self>) {
        self.stream.abandon();
    }
}

#[cfg(test)]
mod tests;
