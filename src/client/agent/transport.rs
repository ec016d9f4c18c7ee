//! One exchange: the order of things, and errors on their way through ureq.

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

/// How much of a request's body is held in memory.
const REQUEST_BODY_LIMIT: usize = 64 << 20;

/// No buffer is smaller than this, whatever is configured.
const SMALLEST_BUFFER: usize = 1024;

const CONTINUE: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";

/// What ureq takes for a connection: one request and its response.
pub(super) struct Exchange {
    round_trip: Arc<dyn RoundTrip>,
    buffers: LazyBuffers,
    is_https: bool,
    state: State,
}

enum State {
    Request(IncomingRequest),
    Response(OutgoingResponse),
    /// Final. ureq lets its caller go on reading after an error, and a body that failed may claim
    /// that it has ended: it must not be asked again.
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
            State::Response(_) => Err(Error::new(ErrorKind::BadRequest, "more than one request was written")),
            State::Failed(kind) => Err(failed_before(*kind)),
        }
    }

    fn give_input(&mut self, limit: Option<Limit>) -> Result<usize> {
        let mut response = match mem::replace(&mut self.state, State::Failed(ErrorKind::Io)) {
            State::Request(mut request) => {
                if request.awaits_continue() {
                    self.state = State::Request(request);
                    self.buffers.input_append_buf()[..CONTINUE.len()].copy_from_slice(CONTINUE);
                    return Ok(CONTINUE.len());
                }
                let mut request = request.finish()?;
                if let Some(limit) = limit {
                    request.extensions_mut().insert(limit.deadline());
                }
                let (method, url) = (request.method().clone(), request.uri().clone());
                OutgoingResponse::new(&method, url, self.round_trip.round_trip(request)?)?
            }
            State::Response(mut response) => {
                if let Some(Limit { until, .. }) = limit {
                    response.limit(until);
                }
                response
            }
            State::Failed(kind) => return Err(failed_before(kind)),
        };
        let count = response.fill(self.buffers.input_append_buf())?;
        self.state = State::Response(response);
        Ok(count)
    }

    /// Remembers a failure, and wraps it for ureq.
    fn fail(&mut self, error: Error) -> ureq::Error {
        self.state = State::Failed(error.kind());
        // Not as `UnexpectedEof`, the kind of a cut: ureq takes that for the end of a connection, and
        // what went wrong would be lost.
        let kind = match error.kind() {
            ErrorKind::Timeout => io::ErrorKind::TimedOut,
            _ => io::ErrorKind::Other,
        };
        ureq::Error::Io(io::Error::new(kind, error))
    }
}

/// A limit that ureq has for what comes next.
#[derive(Clone, Copy)]
struct Limit {
    until: Instant,
    /// Whether it goes on to the end of the body.
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
    Error::new(kind, "the exchange has failed before")
}

impl Transport for Exchange {
    fn buffers(&mut self) -> &mut dyn Buffers {
        &mut self.buffers
    }

    fn transmit_output(&mut self, amount: usize, _: NextTimeout) -> Result<(), ureq::Error> {
        self.take_output(amount).map_err(|error| self.fail(error))
    }

    fn await_input(&mut self, timeout: NextTimeout) -> Result<bool, ureq::Error> {
        let limit = Limit::of(timeout, Instant::now());
        let count = self.give_input(limit).map_err(|error| {
            let is_limits = error.kind() == ErrorKind::Timeout && limit.is_some_and(Limit::is_over);
            let failure = self.fail(error);
            // As ureq says it, where it is a limit of ureq.
            if is_limits { ureq::Error::Timeout(timeout.reason) } else { failure }
        })?;
        self.buffers.input_appended(count);
        Ok(count > 0)
    }

    /// An exchange is over with its response: never pooled.
    fn is_open(&mut self) -> bool {
        false
    }

    /// ureq refuses `https` over a transport that is not TLS. Here nothing leaves the process, and
    /// the round trip is told the scheme.
    fn is_tls(&self) -> bool {
        self.is_https
    }
}

impl fmt::Debug for Exchange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Exchange").field("is_https", &self.is_https).finish_non_exhaustive()
    }
}
