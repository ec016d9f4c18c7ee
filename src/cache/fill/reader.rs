//! One reader of a body that is being fetched.

use std::fmt;
use std::io::{self, Read};
use std::sync::Arc;
use std::time::Instant;

use super::driver::drive;
use super::transfer::Fill;
use crate::message::body::{Body, Driver, Growing, Grown, Wake};
use crate::message::stored_bytes::ReadAhead;

/// Reads a body from its beginning while it is being fetched.
pub(crate) struct FillReader {
    fill: Arc<Fill>,
    reader: u64,
    position: u64,
    /// What is read again of a file.
    behind: ReadAhead,
}

impl FillReader {
    pub(super) fn new(fill: Arc<Fill>, reader: u64) -> Self {
        Self { fill, reader, position: 0, behind: ReadAhead::default() }
    }

    pub(crate) fn fill(&self) -> &Arc<Fill> {
        &self.fill
    }

    /// As a body, of which no byte has been read.
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
        let grown = self.fill.read_at_once(self.reader, self.position, most, &self.behind, wake)?;
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

impl fmt::Debug for FillReader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FillReader").field("fill", &self.fill).field("position", &self.position).finish()
    }
}
