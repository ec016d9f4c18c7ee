//! Continues a body from another peer when the peer that sent it breaks off.

use std::io::{self, Read};
use std::sync::Arc;
use std::time::{Duration, Instant};

use http::header::{
    CONTENT_LENGTH, CONTENT_RANGE, DATE, ETAG, IF_MATCH, IF_MODIFIED_SINCE, IF_NONE_MATCH, IF_RANGE,
    IF_UNMODIFIED_SINCE, LAST_MODIFIED, RANGE,
};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Response, StatusCode};
use log::debug;

use super::announced_digest::is_announced;
use super::answer::{Answer, AnsweredBy};
use super::buffering::LEAST_RATE;
use super::circuit_breaker::Evidence;
use super::inner::{Fallback, Inner};
use super::replayable_request::{Repeatable, ReplayableRequest};
use crate::base::error::{Cause, Error, ErrorKind, redacted};
use crate::message::body::Body;
use crate::message::header::date;
use crate::message::header::entity_tag::EntityTag;
use crate::message::header::range::ContentRange;
use crate::pool::peer_url::PeerUrl;
use crate::pool::protocol::Endpoint;

/// Maximum number of attempts to continue one body.
const MOST_RESUMES: u32 = 3;

/// Time over which the rate of a body is measured.
const RATE_WINDOW: Duration = Duration::from_millis(500);

/// A `Last-Modified` date is a strong validator if the response is at least this much younger (RFC 9110
/// section 8.8.2.2), since the clocks that set the two dates may differ.
const STRONG_AFTER: Duration = Duration::from_secs(60);

/// Returns a response whose body records failures of its peer and continues from another peer if possible.
pub(super) fn watched(inner: &Arc<Inner>, asked: &Arc<ReplayableRequest>, answer: Answer) -> Response<Body> {
    let Answer { response, from: Some(from) } = answer else { return answer.response };
    // A body in memory cannot break off.
    if response.body().as_bytes().is_some() {
        return response;
    }
    let (parts, body) = response.into_parts();
    let way = Way::of(asked, parts.status, &parts.headers, &body);
    from.exchange().set_may_be_repeated(way.is_some());
    let rate = Rate { waited: from.waited, bytes: 0 };
    let rest = way.map(|way| Rest { way, left: MOST_RESUMES, failed: Vec::new() });
    let body = body.read_through(|body| Watched {
        body,
        from: Some(from),
        inner: Arc::clone(inner),
        asked: Arc::clone(asked),
        offset: 0,
        rest,
        rate,
        is_checked: is_announced(&parts.extensions),
    });
    Response::from_parts(parts, body)
}

/// A body from a peer, which another peer can continue.
struct Watched {
    body: Body,
    /// `None` after the end of the body: the exchange is over.
    from: Option<AnsweredBy>,
    inner: Arc<Inner>,
    asked: Arc<ReplayableRequest>,
    offset: u64,
    rest: Option<Rest>,
    rate: Rate,
    /// Whether the reader of this body verifies its digest.
    is_checked: bool,
}

/// How another peer can continue a body.
struct Rest {
    way: Way,
    left: u32,
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
    /// Adds a read. At the end of each window, returns whether the body was too slow in it.
    fn is_too_slow(&mut self, waited: Duration, bytes: usize) -> bool {
        self.waited += waited;
        self.bytes += bytes as u64;
        if self.waited < RATE_WINDOW {
            return false;
        }
        let is_slow = (self.bytes as f64) < LEAST_RATE * self.waited.as_secs_f64();
        *self = Self::default();
        is_slow
    }
}

impl Read for Watched {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            let failed = match self.read_once(buffer) {
                Ok(0) if !buffer.is_empty() => {
                    self.ended();
                    return Ok(0);
                }
                Ok(count) => {
                    self.offset += count as u64;
                    return Ok(count);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => return Err(error),
                Err(error) => self.about(Error::from(error)),
            };
            if !self.goes_on(&failed) {
                self.rest = None;
                return Err(failed.into());
            }
        }
    }
}

impl Watched {
    fn read_once(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let exchange = self.from.as_ref().map(AnsweredBy::exchange);
        if let Some(exchange) = exchange {
            exchange.wait();
        }
        let begun = Instant::now();
        let read = self.body.read(buffer);
        if let Some(exchange) = exchange {
            exchange.has_come();
        }
        let count = read?;
        // A peer that has the whole body can send it at once; a body that cannot be continued is not cut off
        // for being slow.
        let is_judged = self.rest.is_some() && self.from.as_ref().is_some_and(|from| from.is_stored);
        let is_at_end = self
            .rest
            .as_ref()
            .is_some_and(|rest| rest.way.length.is_some_and(|length| length <= self.offset + count as u64));
        if is_judged && count > 0 && !is_at_end && self.rate.is_too_slow(begun.elapsed(), count) {
            return Err(Error::new(ErrorKind::Timeout, "the body arrives too slowly").into());
        }
        Ok(count)
    }

    fn ended(&mut self) {
        if let Some(from) = self.from.take().filter(|_| !self.is_checked) {
            self.inner.peers.note(from.peer(), Evidence::Whole, from.exchange().ticket);
        }
    }

    fn about(&self, error: Error) -> Error {
        match &self.from {
            Some(from) => {
                from.exchange().failed(error).with_url(&self.asked.target).with_peer(&from.peer().url)
            }
            None => error.with_url(&self.asked.target),
        }
    }

    /// Continues the body from another peer. Returns `false` if that is not possible.
    fn goes_on(&mut self, error: &Error) -> bool {
        // The caller no longer waits, which is not the peer's failure.
        if self.asked.is_over() {
            return false;
        }
        let Some(rest) = &mut self.rest else {
            self.tell_broken(error);
            return false;
        };
        // The body is already complete.
        if rest.way.length == Some(self.offset) {
            return false;
        }
        if let Some(from) = &self.from {
            rest.failed.push(from.peer().url.clone());
        }
        let Some((body, from)) = rest.go_on(&self.inner, &self.asked, self.offset, error) else {
            return false;
        };
        // Another peer has the body, so the failure was this peer's fault.
        self.tell_broken(error);
        if let Some(from) = &from {
            from.exchange().set_may_be_repeated(true);
        }
        (self.body, self.from) = (body, from);
        true
    }

    fn tell_broken(&self, error: &Error) {
        if let Some(from) = self.from.as_ref().filter(|_| error.cause() != Some(Cause::Silent)) {
            let sign = self.inner.broken(&self.asked);
            self.inner.peers.told(from.peer(), sign, from.exchange().ticket, error);
        }
    }
}

impl Rest {
    /// Requests the body from this offset on from other peers.
    fn go_on(
        &mut self,
        inner: &Arc<Inner>,
        asked: &ReplayableRequest,
        offset: u64,
        error: &Error,
    ) -> Option<(Body, Option<AnsweredBy>)> {
        let mut parts = asked.parts.clone();
        self.way.ask_for_the_rest(offset, &mut parts.headers);
        while let Some(left) = self.left.checked_sub(1) {
            self.left = left;
            let asked = Arc::new(ReplayableRequest {
                target: asked.target.clone(),
                parts: parts.clone(),
                body: Repeatable::Bytes(bytes::Bytes::new()),
                but_not: self.failed.clone(),
            });
            let Answer { response, from } = inner.send(&asked, Endpoint::Proxy, &Fallback::Chosen).ok()?;
            let (head, mut body) = response.into_parts();
            let before = self.way.before_the_rest(offset, head.status, &head.headers);
            if before.is_some_and(|before| is_skipped(&mut body, before)) {
                inner.counters.resumed_bodies.count();
                let url = redacted(asked.target.as_str());
                debug!("{url} continues from another peer at byte {offset} after: {error}");
                return Some((body, from));
            }
            // This peer has another body or broke off too; the next one may not.
            self.failed.push(from?.peer().url.clone());
        }
        None
    }
}

/// What identifies the bytes of a response, so that another peer can continue them.
#[derive(Debug)]
struct Way {
    field: HeaderName,
    validator: HeaderValue,
    length: Option<u64>,
}

impl Way {
    /// Returns `None` if the response has no strong validator, or is not a complete 200 response to a plain
    /// GET.
    fn of(asked: &ReplayableRequest, status: StatusCode, headers: &HeaderMap, body: &Body) -> Option<Self> {
        let is_whole = asked.parts.method == Method::GET
            && asked.body.is_empty()
            && status == StatusCode::OK
            && !asked.parts.headers.contains_key(RANGE)
            && body.end_is_proven();
        if !is_whole {
            return None;
        }
        let (field, validator) = strong_validator(headers)?;
        Some(Self { field, validator, length: body.length().or_else(|| length(headers)) })
    }

    fn ask_for_the_rest(&self, offset: u64, headers: &mut HeaderMap) {
        // The conditions led to this response; they must not apply to the rest.
        for name in [IF_MATCH, IF_NONE_MATCH, IF_MODIFIED_SINCE, IF_UNMODIFIED_SINCE] {
            headers.remove(name);
        }
        let range = HeaderValue::try_from(format!("bytes={offset}-"));
        headers.insert(RANGE, range.expect("digits are valid in a header value"));
        headers.insert(IF_RANGE, self.validator.clone());
    }

    /// Returns how many bytes of this response precede the offset: zero, or all bytes before it if the origin
    /// does not support ranges and sends the whole body again. `None` if the bytes may differ.
    fn before_the_rest(&self, offset: u64, status: StatusCode, headers: &HeaderMap) -> Option<u64> {
        if headers.get(&self.field) != Some(&self.validator) {
            return None;
        }
        let (start, complete) = match status {
            StatusCode::PARTIAL_CONTENT => {
                let range = ContentRange::parse(headers.get(CONTENT_RANGE)?.as_bytes())?;
                (range.start, range.complete.filter(|complete| *complete == range.end))
            }
            StatusCode::OK => (0, length(headers)),
            _ => return None,
        };
        let is_same = match (self.length, complete) {
            (Some(length), Some(complete)) => length == complete,
            // A partial response must specify the complete length.
            (_, None) => status == StatusCode::OK,
            (None, Some(_)) => true,
        };
        (is_same && (start == offset || start == 0)).then(|| offset - start)
    }
}

fn length(headers: &HeaderMap) -> Option<u64> {
    headers.get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

/// Skips this many bytes; returns whether they were there.
fn is_skipped(body: &mut Body, bytes: u64) -> bool {
    bytes == 0 || io::copy(&mut body.take(bytes), &mut io::sink()).is_ok_and(|count| count == bytes)
}

/// Returns the header field that identifies the exact bytes of the body.
fn strong_validator(headers: &HeaderMap) -> Option<(HeaderName, HeaderValue)> {
    if let Some(tag) = headers.get(ETAG) {
        // `If-Range` requires a quoted entity tag.
        let is_strong = tag.as_bytes().starts_with(b"\"")
            && EntityTag::parse(tag.as_bytes()).is_some_and(EntityTag::is_strong);
        return is_strong.then(|| (ETAG, tag.clone()));
    }
    let modified = date::of(headers, &LAST_MODIFIED)?;
    let answered = date::of(headers, &DATE)?;
    let is_strong = answered.duration_since(modified).is_ok_and(|between| between >= STRONG_AFTER);
    is_strong.then(|| headers.get(LAST_MODIFIED).cloned().map(|value| (LAST_MODIFIED, value)))?
}

#[cfg(test)]
mod tests;
