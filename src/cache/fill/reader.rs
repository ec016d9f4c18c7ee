//! A reader of a body in transit.

use std::io::{self, Read};
use std::sync::Arc;
use std::time::Instant;

use super::driver::drive;
use super::transfer::Fill;
use crate::message::body::{Body, Driver, Growing, Grown, Wake};

/// Reads a body from its beginning while it arrives.
#[derive(Debug)]
pub(crate) struct FillReader {
    fill: Arc<Fill>,
    reader: u64,
    position: u64,
}

impl FillReader {
    pub(super) fn new(fill: Arc<Fill>, reader: u64) -> Self {
        Self { fill, reader, position: 0 }
    }

    pub(crate) fn fill(&self) -> &Arc<Fill> {
        &self.fill
    }

    /// Converts this reader to a body of which no byte has been read.
    pub(crate) fn into_body(self) -> Body {
        let length = self.fill.length();
        Body::growing(self, length)
    }
}

impl Read for FillReader {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let count = self.fill.read(self.reader, self.position, out)?;
        self.position += count as u64;
        Ok(count)
    }
}

impl Growing for FillReader {
    fn read_at_once(&mut self, most: usize, wake: &Wake) -> io::Result<Grown> {
        let grown = self.fill.read_at_once(self.reader, self.position, most, wake)?;
        if let Grown::Bytes(bytes) = &grown {
            self.position += bytes.len() as u64;
        }
        Ok(grown)
    }

    fn driver(&self) -> Option<Driver> {
        drive(&self.fill)
    }

    fn wait_for_end(&self, until: Instant) -> bool {
        self.fill.wait_for_end(until)
    }

    fn is_worth_finishing(&self) -> bool {
        let state = self.fill.state.lock();
        state.readers.len() == 1 && !state.has_ended() && self.fill.is_worth_finishing(&state, 0)
    }

    fn abandon(self: Box<Self>) {
        self.fill.leave(self.reader, false);
    }
}

impl Drop for FillReader {
    fn drop(&mut self) {
        self.fill.leave(self.reader, true);
    }
}
