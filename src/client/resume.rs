//! Continues a body from another peer when the peer that sent it breaks off.

use std::io::{self, Read};
use std::sync::Arc;
use std::time::{Duration, Instant};

use http::header::RANGE;
use http::{Method, Response};
use log::debug;

use super::announced_digest::has_announced_digest;
use super::answer::{Answer, AnsweredBy};
use super::buffering::MIN_RATE;
use super::inner::{Fallback, Inner};
use super::peer_circuit_breaker::Evidence;
use super::replayable_request::{ReplayableBody, ReplayableRequest};
use crate::base::error::{Cause, Error, ErrorKind};
use crate::base::redacted::redacted;
use crate::message::body::Body;
use crate::message::body_identity::BodyIdentity;
use crate::pool::peer_url::PeerUrl;
use crate::pool::protocol::Endpoint;

/// Maximum number of attempts to continue one body.
const MAX_RESUMES: u32 = 3;

/// Time over which the rate of a body is measured.
const RATE_WINDOW: Duration = Duration::from_millis(500);

/// Returns a response whose body records failures of its peer and continues from another peer if possible.
pub(super) fn resumable(
    inner: &Arc<Inner>,
    replayable: &Arc<ReplayableRequest>,
    answer: Answer,
) -> Response<Body> {
    let Answer { response, from: Some(from) } = answer else { return answer.response };
    // A body in memory cannot break off.
    if response.body().as_bytes().is_some() {
        return response;
    }
    let is_whole = replayable.parts.method == Method::GET
        && replayable.body.is_empty()
        && !replayable.parts.headers.contains_key(RANGE);
    let identity = is_whole.then(|| BodyIdentity::of(&response)).flatten();
    let (parts, body) = response.into_parts();
    from.exchange().set_may_be_repeated(identity.is_some());
    let rate = Rate { waited: from.waited, bytes: 0 };
    let rest =
        identity.map(|identity| Continuation { identity, attempts_left: MAX_RESUMES, failed: Vec::new() });
    let body = body.map_reader(|body| ResumableBody {
        body,
        from: Some(from),
        inner: Arc::clone(inner),
        replayable: Arc::clone(replayable),
        offset: 0,
        rest,
        rate,
        is_checked: has_announced_digest(&parts.extensions),
    });
    Response::from_parts(parts, body)
}

/// A body from a peer, which another peer can continue.
struct ResumableBody {
    body: Body,
    /// `None` after the end of the body: the exchange is over.
    from: Option<AnsweredBy>,
    inner: Arc<Inner>,
    replayable: Arc<ReplayableRequest>,
    offset: u64,
    rest: Option<Continuation>,
    rate: Rate,
    /// Whether the reader of this body verifies its digest.
    is_checked: bool,
}

/// How another peer can continue a body.
struct Continuation {
    identity: BodyIdentity,
    attempts_left: u32,
    /// Peers that broke off, or that have another body.
    failed: Vec<PeerUrl>,
}

/// The rate of a body. Only time spent waiting for data counts, not the time that the reader takes.
#[derive(Debug, Default)]
struct Rate {
    waited: Duration,
    bytes: u64,
}

impl Rate {
    /// Adds a read. At the end of each window, returns whether it was below the minimum rate.
    fn record_read(&mut self, waited: Duration, bytes: usize) -> bool {
        self.waited += waited;
        self.bytes += bytes as u64;
        if self.waited < RATE_WINDOW {
            return false;
        }
        let is_slow = (self.bytes as f64) < MIN_RATE * self.waited.as_secs_f64();
        *self = Self::default();
        is_slow
    }
}

impl Read for ResumableBody {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            let failed = match self.read_once(buffer) {
                Ok(0) if !buffer.is_empty() => {
                    self.finish();
                    return Ok(0);
                }
                Ok(count) => {
                    self.offset += count as u64;
                    return Ok(count);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => return Err(error),
                Err(error) => self.with_context(Error::from(error)),
            };
            if !self.resume(&failed) {
                self.rest = None;
                return Err(failed.into());
            }
        }
    }
}

impl ResumableBody {
    fn read_once(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let exchange = self.from.as_ref().map(AnsweredBy::exchange);
        if let Some(exchange) = exchange {
            exchange.start_waiting();
        }
        let started = Instant::now();
        let read = self.body.read(buffer);
        if let Some(exchange) = exchange {
            exchange.stop_waiting();
        }
        let count = read?;
        // A peer that has the whole body can send it at once; a body that cannot be continued is not cut off
        // for being slow.
        let is_judged = self.rest.is_some() && self.from.as_ref().is_some_and(|from| from.is_stored);
        let is_at_end = self.rest.as_ref().is_some_and(|rest| {
            rest.identity.length().is_some_and(|length| length <= self.offset + count as u64)
        });
        if is_judged && count > 0 && !is_at_end && self.rate.record_read(started.elapsed(), count) {
            return Err(Error::new(ErrorKind::Timeout, "the body arrives too slowly").into());
        }
        Ok(count)
    }

    fn finish(&mut self) {
        if let Some(from) = self.from.take().filter(|_| !self.is_checked) {
            self.inner.peers.record(from.peer(), Evidence::BodyComplete, from.exchange().epoch);
        }
    }

    fn with_context(&self, error: Error) -> Error {
        match &self.from {
            Some(from) => from
                .exchange()
                .explain_failure(error)
                .with_url(&self.replayable.target)
                .with_peer(&from.peer().url),
            None => error.with_url(&self.replayable.target),
        }
    }

    /// Continues the body from another peer. Returns `false` if that is not possible.
    fn resume(&mut self, error: &Error) -> bool {
        // The caller no longer waits, which is not the peer's failure.
        if self.replayable.is_abandoned() {
            return false;
        }
        let Some(rest) = &mut self.rest else {
            self.record_broken_body(error);
            return false;
        };
        // The body is already complete.
        if rest.identity.length() == Some(self.offset) {
            return false;
        }
        if let Some(from) = &self.from {
            rest.failed.push(from.peer().url.clone());
        }
        let Some((body, from)) = rest.fetch_rest(&self.inner, &self.replayable, self.offset, error) else {
            return false;
        };
        // Another peer has the body, so the failure was this peer's fault.
        self.record_broken_body(error);
        if let Some(from) = &from {
            from.exchange().set_may_be_repeated(true);
        }
        (self.body, self.from) = (body, from);
        true
    }

    fn record_broken_body(&self, error: &Error) {
        if let Some(from) = self.from.as_ref().filter(|_| error.cause() != Some(Cause::Silent)) {
            let evidence = self.inner.broken_body_evidence(&self.replayable);
            self.inner.peers.record_error(from.peer(), evidence, from.exchange().epoch, error);
        }
    }
}

impl Continuation {
    /// Requests the body from this offset on from other peers.
    fn fetch_rest(
        &mut self,
        inner: &Arc<Inner>,
        replayable: &ReplayableRequest,
        offset: u64,
        error: &Error,
    ) -> Option<(Body, Option<AnsweredBy>)> {
        let mut parts = replayable.parts.clone();
        self.identity.request_rest(offset, &mut parts.headers);
        while let Some(attempts_left) = self.attempts_left.checked_sub(1) {
            self.attempts_left = attempts_left;
            let replayable = Arc::new(ReplayableRequest {
                target: replayable.target.clone(),
                parts: parts.clone(),
                body: ReplayableBody::Bytes(bytes::Bytes::new()),
                excluded: self.failed.clone(),
            });
            let Answer { response, from } =
                inner.send(&replayable, Endpoint::Proxy, &Fallback::Configured).ok()?;
            let (head, mut body) = response.into_parts();
            let before = self.identity.bytes_before_rest(offset, head.status, &head.headers);
            if before.is_some_and(|before| skip(&mut body, before)) {
                inner.counters.resumed_bodies.count();
                let url = redacted(replayable.target.as_str());
                debug!("{url} continues from another peer at byte {offset} after: {error:#}");
                return Some((body, from));
            }
            // This peer has another body or broke off too; the next one may not.
            self.failed.push(from?.peer().url.clone());
        }
        None
    }
}

/// Skips this many bytes; returns whether they were there.
fn skip(body: &mut Body, bytes: u64) -> bool {
    bytes == 0 || io::copy(&mut body.take(bytes), &mut io::sink()).is_ok_and(|count| count == bytes)
}

#[cfg(test)]
mod tests;
