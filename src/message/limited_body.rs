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
mod tests {
    use std::time::Duration;

    use bytes::Bytes;

    use super::*;

    const SHORT: Duration = Duration::from_millis(50);

    fn kind(body: Body) -> ErrorKind {
        body.into_bytes().unwrap_err().kind()
    }

    #[test]
    fn a_growing_body_is_moved_on_and_waited_for() {
        struct Growth(Arc<Mutex<Vec<Wake>>>, Option<Bytes>);
        impl Read for Growth {
            fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
                panic!("it would wait");
            }
        }
        impl Growing for Growth {
            fn read_at_once(&mut self, most: usize, wake: &Wake) -> io::Result<Grown> {
                if let Some(bytes) = &mut self.1 {
                    let piece = bytes.split_to(most.min(bytes.len()));
                    return Ok(if piece.is_empty() { Grown::End } else { Grown::Bytes(piece) });
                }
                self.0.lock().push(Arc::clone(wake));
                self.1 = Some(Bytes::from_static(b"later"));
                Ok(Grown::Pending)
            }

            fn driver(&self) -> Option<Driver> {
                let wakes = Arc::clone(&self.0);
                Some(Box::new(move || wakes.lock().drain(..).for_each(|wake| wake())))
            }

            fn wait_for_end(&self, _: Instant) -> bool {
                false
            }

            fn is_worth_finishing(&self) -> bool {
                false
            }

            fn abandon(self: Box<Self>) {}
        }
        let body = Body::growing(Growth(Arc::default(), None), None);
        let body = limited(body, Deadline::within(Duration::from_secs(60)));
        assert_eq!(body.into_text().unwrap(), "later");
    }

    #[test]
    fn a_growing_body_that_nobody_moves_on_is_left_at_the_deadline() {
        struct Silent;
        impl Read for Silent {
            fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
                panic!("it would wait");
            }
        }
        impl Growing for Silent {
            fn read_at_once(&mut self, _: usize, _: &Wake) -> io::Result<Grown> {
                Ok(Grown::Pending)
            }

            fn driver(&self) -> Option<Driver> {
                None
            }

            fn wait_for_end(&self, _: Instant) -> bool {
                false
            }

            fn is_worth_finishing(&self) -> bool {
                false
            }

            fn abandon(self: Box<Self>) {}
        }
        let begun = Instant::now();
        assert_eq!(kind(limited(Body::growing(Silent, None), Deadline::within(SHORT))), ErrorKind::Timeout);
        assert!(begun.elapsed() >= SHORT);
    }

    #[test]
    fn what_is_there_and_what_has_no_limit_is_not_touched() {
        let over = Deadline::within(Duration::ZERO);
        assert_eq!(limited(Body::from("bytes"), over).into_text().unwrap(), "bytes");
        let stream = || Body::from_reader(&b"stream"[..], None);
        for deadline in [Deadline::none(), over.for_head()] {
            assert_eq!(limited(stream(), deadline).into_text().unwrap(), "stream");
        }
        assert_eq!(kind(limited(stream(), over)), ErrorKind::Timeout);
        let unproven = limited(Body::until_close(&b"x"[..]), Deadline::within(SHORT));
        assert!(!unproven.end_is_proven());
    }
}
