//! A body with a deadline.

use std::io::{self, Read};
use std::sync::Arc;
use std::thread;
use std::time::Instant;

use parking_lot::{Condvar, Mutex};

use crate::base::error::{Error, ErrorKind};
use crate::message::body::{Body, Driver, Growing, PollRead, Wake};
use crate::message::deadline::Deadline;

/// Returns the body with a deadline, after which reads fail with [`ErrorKind::Timeout`]. A body that is already in
/// memory is returned unchanged, and so is any body if the deadline is only for the head.
///
/// For a growing body, waiting in [`Read`] ends at the deadline too: if no other thread fills the stream, a new
/// thread does. For any other body the deadline is checked only between reads; a body from an
/// [`Origin`](crate::Origin) with the same deadline does not wait longer either.
pub(crate) fn limited(body: Body, deadline: Deadline) -> Body {
    let Some(until) = deadline.hard().filter(|_| !deadline.is_for_head()) else { return body };
    if body.as_pieces().is_some() {
        return body;
    }
    match body.into_poll_body() {
        Ok((stream, length)) => Body::growing(LimitedGrowing::new(stream, until), length),
        Err(body) => body.map_reader(|body| LimitedReader { body, until }),
    }
}

fn check(until: Instant) -> io::Result<()> {
    if Instant::now() < until { Ok(()) } else { Err(too_late()) }
}

/// Returns the error of reads after the deadline.
pub(crate) fn too_late() -> io::Error {
    Error::new(ErrorKind::Timeout, "the deadline for the body has passed").into()
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
    signal: Arc<Signal>,
    wake: Wake,
}

/// Tells a waiting reader that the stream may have more bytes.
#[derive(Default)]
struct Signal {
    is_set: Mutex<bool>,
    was_set: Condvar,
}

impl LimitedGrowing {
    fn new(stream: Box<dyn Growing>, until: Instant) -> Self {
        let signal = Arc::new(Signal::default());
        let setter = Arc::clone(&signal);
        let wake: Wake = Arc::new(move || {
            *setter.is_set.lock() = true;
            setter.was_set.notify_all();
        });
        Self { stream, until, signal, wake }
    }

    fn wait(&self) {
        let mut is_set = self.signal.is_set.lock();
        while !*is_set {
            if self.signal.was_set.wait_until(&mut is_set, self.until).timed_out() {
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
            *self.signal.is_set.lock() = false;
            match self.stream.poll_read(out.len(), &self.wake)? {
                PollRead::Bytes(bytes) => {
                    out[..bytes.len()].copy_from_slice(&bytes);
                    return Ok(bytes.len());
                }
                PollRead::End => return Ok(0),
                PollRead::Pending => {}
            }
            if let Some(driver) = self.stream.driver() {
                // The driver may block past the deadline, so it does not run on this thread.
                let spawned = thread::Builder::new().name("forwardcache-body".to_owned()).spawn(driver);
                if spawned.is_err() {
                    return self.stream.read(out);
                }
            }
            self.wait();
        }
    }
}

impl Growing for LimitedGrowing {
    fn poll_read(&mut self, most: usize, wake: &Wake) -> io::Result<PollRead> {
        check(self.until)?;
        self.stream.poll_read(most, wake)
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
