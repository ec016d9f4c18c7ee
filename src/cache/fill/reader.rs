//! A reader of a body in transit.

use std::fmt;
use std::io::{self, Read};
use std::sync::Arc;
use std::time::Instant;

use super::beginning::Beginning;
use super::driver::drive;
use super::keeping::Keeping;
use super::transfer::Fill;
use crate::base::cancellation::Cancellation;
use crate::base::memory_limit::Ledger;
use crate::message::body::{Body, Driver, Growing, PollRead, Wake};
use crate::message::stored_bytes::ReadAhead;

/// Reads a body from its beginning while it arrives.
pub(crate) struct FillReader {
    fill: Arc<Fill>,
    reader: u64,
    position: u64,
    /// Reads ahead in the file of a spilled body.
    behind: ReadAhead,
}

impl Fill {
    /// Starts the transfer of a body that is to be stored; returns its first reader.
    pub(crate) fn start(body: Body, keeping: Keeping) -> FillReader {
        let Keeping { limit, worth_finishing, ledger, cancellation, spill, commit, beginning, stored } =
            keeping;
        let mut body = body;
        let stored_length = stored.as_ref().map_or(0, |(length, _)| *length);
        let continued = stored.and_then(|(_, open)| open()).filter(|_| body.drop_beginning());
        let present = if continued.is_some() { stored_length } else { 0 };
        let fill = Self::new(body, present, limit, worth_finishing, Some(commit), ledger, cancellation);
        let mut state = fill.state.lock();
        state.begin_spill = spill;
        state.beginning = beginning.map(|keep| Beginning::new(keep, stored_length));
        if let Some(spill) = continued {
            state.continue_file(spill, stored_length);
        }
        drop(state);
        FillReader::new(fill, 0)
    }

    /// Starts the transfer of a body that is not stored. Only unread bytes are kept in memory.
    pub(crate) fn pass(body: Body, ledger: Arc<Ledger>, cancellation: Cancellation) -> FillReader {
        FillReader::new(Self::new(body, 0, 0, 0, None, ledger, cancellation), 0)
    }

    /// Moves a reader forward within what has arrived; returns by how much.
    fn skip(&self, reader: u64, position: u64, most: u64) -> u64 {
        let mut state = self.state.lock();
        let skipped = most.min(state.received.saturating_sub(position));
        state.note_position(reader, position + skipped);
        skipped
    }

    /// Adds a reader at the beginning; `None` if the beginning is gone or the transfer has failed.
    pub(crate) fn reader(self: &Arc<Self>) -> Option<FillReader> {
        let reader = self.state.lock().admit()?;
        Some(FillReader::new(Arc::clone(self), reader))
    }
}

impl FillReader {
    pub(super) fn new(fill: Arc<Fill>, reader: u64) -> Self {
        Self { fill, reader, position: 0, behind: ReadAhead::default() }
    }

    /// Returns the fill that this reader reads.
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
    fn poll_read(&mut self, most: usize, wake: &Wake) -> io::Result<PollRead> {
        let grown = self.fill.read_nonblocking(self.reader, self.position, most, &self.behind, wake)?;
        if let PollRead::Bytes(bytes) = &grown {
            self.position += bytes.len() as u64;
        }
        Ok(grown)
    }

    fn skip(&mut self, most: u64) -> u64 {
        let skipped = self.fill.skip(self.reader, self.position, most);
        self.position += skipped;
        skipped
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
        self.fill.remove_reader(self.reader, false);
    }
}

impl Drop for FillReader {
    fn drop(&mut self) {
        self.fill.remove_reader(self.reader, true);
    }
}

impl fmt::Debug for FillReader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FillReader").field("fill", &self.fill).field("position", &self.position).finish()
    }
}
