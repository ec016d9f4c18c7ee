//! One direction of a tunnel.

use std::io::{self, IoSlice};
use std::time::Instant;

use crate::server::event::budget::Budget;
use crate::server::event::transport::Transport;

/// Maximum number of bytes to read at once, and so to keep for one direction.
pub(super) const MAX_READ: usize = 32 << 10;

/// One end of a tunnel.
pub(super) struct End {
    pub(super) transport: Transport,
    /// Whether the socket may have input.
    pub(super) may_read: bool,
    /// Whether the other side has closed its sending side. The system reports this once, with the last bytes.
    pub(super) is_read_closed: bool,
    /// Whether the socket accepts no output for now.
    pub(super) is_blocked: bool,
}

impl End {
    pub(super) fn new(transport: Transport) -> Self {
        Self { transport, may_read: true, is_read_closed: false, is_blocked: false }
    }

    /// Reads available input. Returns `None` if there is none for now, and zero at its end.
    pub(super) fn read(&mut self, buffer: &mut [u8]) -> io::Result<Option<usize>> {
        if !self.may_read {
            return Ok(None);
        }
        match self.transport.read(buffer) {
            Ok(read) => {
                self.may_read = !read.is_drained || self.is_read_closed;
                Ok(Some(read.count))
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                self.may_read = false;
                Ok(None)
            }
            // Bytes arrived, but they have no content (TLS).
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Writes as many bytes as the socket accepts.
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.is_blocked {
            return Ok(0);
        }
        match self.transport.write_vectored(&[IoSlice::new(bytes)]) {
            Ok(0) => Err(io::ErrorKind::WriteZero.into()),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                self.is_blocked = true;
                Ok(0)
            }
            written => written,
        }
    }

    /// Writes output that TLS holds. Returns whether nothing is left.
    fn flush(&mut self) -> io::Result<bool> {
        if self.is_blocked || !self.transport.wants_write() {
            return Ok(!self.is_blocked);
        }
        match self.transport.flush() {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                self.is_blocked = true;
                Ok(false)
            }
            flushed => flushed.map(|()| true),
        }
    }
}

/// The bytes on their way in one direction.
#[derive(Debug, Default)]
pub(super) struct Flow {
    /// Bytes that the receiving end has not accepted yet.
    pending: Vec<u8>,
    start: usize,
    /// Since when bytes have been pending.
    pub(super) blocked_since: Option<Instant>,
    /// Whether the sending end has sent everything.
    has_ended: bool,
    /// Whether the receiving end knows that.
    is_finished: bool,
    /// Number of bytes that the receiving end has accepted.
    pub(super) sent: u64,
}

/// The result of moving bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Moved {
    /// Until a socket reports an event.
    All,
    /// The budget is used up.
    Some,
}

impl Flow {
    /// Queues bytes to send before any other.
    pub(super) fn queue(&mut self, bytes: Vec<u8>) {
        self.pending = bytes;
        self.start = 0;
    }

    /// Returns the number of pending bytes.
    pub(super) fn pending(&self) -> usize {
        self.pending.len() - self.start
    }

    /// Returns whether the receiving end knows that nothing follows.
    pub(super) fn is_finished(&self) -> bool {
        self.is_finished
    }

    /// Moves bytes from one end to the other while both are ready and the budget lasts.
    pub(super) fn relay(
        &mut self,
        from: &mut End,
        to: &mut End,
        buffer: &mut [u8],
        budget: &mut Budget,
        now: Instant,
    ) -> io::Result<Moved> {
        while budget.take_step() {
            if self.pending() > 0 {
                let written = to.write(&self.pending[self.start..])?;
                self.note_sent(written, budget);
                self.start += written;
                if self.pending() > 0 && to.is_blocked {
                    self.blocked_since.get_or_insert(now);
                    return Ok(Moved::All);
                }
                if self.pending() == 0 {
                    // An idle tunnel needs no memory.
                    self.queue(Vec::new());
                    self.blocked_since = None;
                }
                continue;
            }
            if !to.flush()? {
                return Ok(Moved::All);
            }
            if self.has_ended {
                if !std::mem::replace(&mut self.is_finished, true) {
                    to.transport.finish();
                }
                return Ok(Moved::All);
            }
            let Some(count) = from.read(buffer)? else {
                // TLS may have further records without content.
                if from.may_read {
                    continue;
                }
                return Ok(Moved::All);
            };
            budget.charge(count);
            self.has_ended = count == 0;
            let mut rest = &buffer[..count];
            while !rest.is_empty() && !to.is_blocked {
                let written = to.write(rest)?;
                self.note_sent(written, budget);
                rest = &rest[written..];
            }
            self.queue(rest.to_vec());
        }
        Ok(Moved::Some)
    }

    fn note_sent(&mut self, count: usize, budget: &mut Budget) {
        self.sent += count as u64;
        budget.charge(count);
    }
}
