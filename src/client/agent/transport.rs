//! One request and its response, and how errors pass through ureq.

use std::fmt;
use std::io;
use std::mem;
use std::sync::Arc;
use std::time::Instant;

use ureq::Timeout;
use ureq::unversioned::transport::{Buffers, ConnectionDetails, LazyBuffers, NextTimeout, Transport};

use super::request::IncomingRequest;
use super::response::OutgoingResponse;
use crate::base::error::{Error, ErrorKind, Result};
use crate::message::deadline::Deadline;
use crate::message::round_trip::RoundTrip;

/// Maximum size of a request body, which is buffered in memory.
const REQUEST_BODY_LIMIT: usize = 64 << 20;

/// Minimum buffer size, whatever is configured.
const SMALLEST_BUFFER: usize = 1024;

const CONTINUE: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";

/// Acts as a connection for ureq: one request and its response.
pub(super) struct Exchange {
    round_trip: Arc<dyn RoundTrip>,
    buffers: LazyBuffers,
    is_https: bool,
    state: State,
}

enum State {
    Request(IncomingRequest),
    Response(OutgoingResponse),
    /// Final. ureq lets its caller read on after an error, and a body that has failed may then report its end,
    /// so that it must not be read again.
    Failed(ErrorKind),
}

impl Exchange {
    pub(super) fn new(round_trip: Arc<dyn RoundTrip>, details: &ConnectionDetails<'_>) -> Self {
        Self {
            round_trip,
            buffers: LazyBuffers::new(
                details.config.input_buffer_size().max(SMALLEST_BUFFER),
                details.config.output_buffer_size().max(SMALLEST_BUFFER),
            ),
            is_https: details.needs_tls(),
            state: State::Request(IncomingRequest::new(details.uri.clone(), REQUEST_BODY_LIMIT)),
        }
    }

    fn take_output(&mut self, amount: usize) -> Result<()> {
        match &mut self.state {
            State::Request(request) => request.push(&self.buffers.output()[..amount]),
            State::Response(_) => Err(Error::new(ErrorKind::BadRequest, "ureq wrote more than one request")),
            State::Failed(kind) => Err(failed_before(*kind)),
        }
    }

    /// Gives ureq the next bytes. `limit` becomes the limit that the response has had since its first bytes: a later
    /// call computes a slightly later time for the same limit.
    fn give_input(&mut self, limit: &mut Option<Limit>) -> Result<usize> {
        let mut response = match mem::replace(&mut self.state, State::Failed(ErrorKind::Io)) {
            State::Request(mut request) => {
                if request.awaits_continue() {
                    self.state = State::Request(request);
                    self.buffers.input_append_buf()[..CONTINUE.len()].copy_from_slice(CONTINUE);
                    return Ok(CONTINUE.len());
                }
                let mut request = request.finish()?;
                if let Some(limit) = *limit {
                    request.extensions_mut().insert(limit.deadline());
                }
                let (method, url) = (request.method().clone(), request.uri().clone());
                OutgoingResponse::new(&method, url, self.round_trip.round_trip(request)?)?
            }
            State::Response(mut response) => {
                if let Some(Limit { until, .. }) = limit {
                    *until = response.limit(*until);
                }
                response
            }
            State::Failed(kind) => return Err(failed_before(kind)),
        };
        let count = response.fill(self.buffers.input_append_buf())?;
        self.state = State::Response(response);
        Ok(count)
    }

    /// Records a failure, and wraps it for ureq.
    fn fail(&mut self, error: Error) -> ureq::Error {
        self.state = State::Failed(error.kind());
        // `UnexpectedEof` must not be used: ureq treats it as the end of the connection, and the error would
        // be lost.
        let kind = match error.kind() {
            ErrorKind::Timeout => io::ErrorKind::TimedOut,
            _ => io::ErrorKind::Other,
        };
        ureq::Error::Io(io::Error::new(kind, error))
    }
}

/// A time limit that ureq sets for the next step.
#[derive(Clone, Copy)]
struct Limit {
    until: Instant,
    /// Whether the limit includes the body.
    is_for_all: bool,
}

impl Limit {
    fn of(timeout: NextTimeout, now: Instant) -> Option<Self> {
        let after = (!timeout.after.is_not_happening()).then_some(*timeout.after)?;
        let is_for_all = matches!(timeout.reason, Timeout::Global | Timeout::PerCall);
        Some(Self { until: now.checked_add(after)?, is_for_all })
    }

    fn deadline(self) -> Deadline {
        let deadline = Deadline::at(self.until);
        if self.is_for_all { deadline } else { deadline.for_head() }
    }

    fn is_over(self) -> bool {
        Instant::now() >= self.until
    }
}

fn failed_before(kind: ErrorKind) -> Error {
    Error::new(kind, "this request has already failed")
}

impl Transport for Exchange {
    fn buffers(&mut self) -> &mut dyn Buffers {
        &mut self.buffers
    }

    fn transmit_output(&mut self, amount: usize, _: NextTimeout) -> Result<(), ureq::Error> {
        self.take_output(amount).map_err(|error| self.fail(error))
    }

    fn await_input(&mut self, timeout: NextTimeout) -> Result<bool, ureq::Error> {
        let mut limit = Limit::of(timeout, Instant::now());
        let count = self.give_input(&mut limit).map_err(|error| {
            let is_limits = error.kind() == ErrorKind::Timeout && limit.is_some_and(Limit::is_over);
            let failure = self.fail(error);
            // ureq's own limits are reported as ureq's timeout.
            if is_limits { ureq::Error::Timeout(timeout.reason) } else { failure }
        })?;
        self.buffers.input_appended(count);
        Ok(count > 0)
    }

    /// ureq must not pool an exchange: it ends with its response.
    fn is_open(&mut self) -> bool {
        false
    }

    /// ureq rejects `https` over a transport without TLS. Here nothing leaves the process, and the round trip
    /// receives the URL with its scheme.
    fn is_tls(&self) -> bool {
        self.is_https
    }
}

impl fmt::Debug for Exchange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Exchange").field("is_https", &self.is_https).finish_non_exhaustive()
    }
}
