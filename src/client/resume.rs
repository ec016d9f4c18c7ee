//! A body that goes on from another peer when the one that sent it breaks off.

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

/// How often somebody may be asked for the rest of one body.
const MOST_RESUMES: u32 = 3;

/// Over how long the rate of a body is measured.
const RATE_WINDOW: Duration = Duration::from_millis(500);

/// A date of modification names exact bytes when the response is so much younger (RFC 9110 section 8.8.2.2):
/// the clocks that gave the two may differ.
const STRONG_AFTER: Duration = Duration::from_secs(60);

/// The response, whose body knows where it came from and goes on elsewhere where it may.
pub(super) fn watched(inner: &Arc<Inner>, asked: &Arc<ReplayableRequest>, answer: Answer) -> Response<Body> {
    let Answer { response, from: Some(from) } = answer else { return answer.response };
    // What is in memory cannot break off.
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

/// A body from a peer.
struct Watched {
    body: Body,
    /// Gone at its end: the peer has nothing more to do.
    from: Option<AnsweredBy>,
    inner: Arc<Inner>,
    asked: Arc<ReplayableRequest>,
    offset: u64,
    rest: Option<Rest>,
    rate: Rate,
    /// Whether something behind this finds out if the bytes are right.
    is_checked: bool,
}

/// How the rest of a body may be had from somebody else.
struct Rest {
    way: Way,
    left: u32,
    /// Those who broke off, or have another body.
    failed: Vec<PeerUrl>,
}

/// How fast a body comes, by the time that was waited for it: how often it is read is the reader's business.
#[derive(Debug, Default)]
struct Rate {
    waited: Duration,
    bytes: u64,
}

impl Rate {
    /// Whether it was too slow over the time of a window that has just ended.
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
        // What a peer has whole comes as fast as the peer is; what does not come whole is no use to the reader.
        let is_judged = self.rest.is_some() && self.from.as_ref().is_some_and(|from| from.is_stored);
        let is_at_end = self
            .rest
            .as_ref()
            .is_some_and(|rest| rest.way.length.is_some_and(|length| length <= self.offset + count as u64));
        if is_judged && count > 0 && !is_at_end && self.rate.is_too_slow(begun.elapsed(), count) {
            return Err(Error::new(ErrorKind::Timeout, "the body comes too slowly").into());
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

    /// Whether the rest comes from somebody else from now on.
    fn goes_on(&mut self, error: &Error) -> bool {
        // Nobody waits for it: what a caller has no time for says nothing of the peer.
        if self.asked.is_over() {
            return false;
        }
        let Some(rest) = &mut self.rest else {
            self.tell_broken(error);
            return false;
        };
        // Nothing is missing.
        if rest.way.length == Some(self.offset) {
            return false;
        }
        if let Some(from) = &self.from {
            rest.failed.push(from.peer().url.clone());
        }
        let Some((body, from)) = rest.go_on(&self.inner, &self.asked, self.offset, error) else {
            return false;
        };
        // Somebody else has it: it was not the response's fault.
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
    /// The rest of the body from this offset on, from somebody else.
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
                debug!("{url} goes on at byte {offset} after: {error}");
                return Some((body, from));
            }
            // It has another body, or breaks off as well: the next one may not.
            self.failed.push(from?.peer().url.clone());
        }
        None
    }
}

/// By what the rest of a response is known.
#[derive(Debug)]
struct Way {
    field: HeaderName,
    validator: HeaderValue,
    length: Option<u64>,
}

impl Way {
    /// `None` where its bytes cannot be told from those of another.
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
        // What made the whole the answer is behind us.
        for name in [IF_MATCH, IF_NONE_MATCH, IF_MODIFIED_SINCE, IF_UNMODIFIED_SINCE] {
            headers.remove(name);
        }
        let range = HeaderValue::try_from(format!("bytes={offset}-"));
        headers.insert(RANGE, range.expect("a number is good in a field"));
        headers.insert(IF_RANGE, self.validator.clone());
    }

    /// How much of this comes before the rest of the same bytes: nothing, or all that came already where it is
    /// the whole once more, as from an origin that knows no ranges. `None` where the bytes may be others.
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
            // A part has to say what it is a part of.
            (_, None) => status == StatusCode::OK,
            (None, Some(_)) => true,
        };
        (is_same && (start == offset || start == 0)).then(|| offset - start)
    }
}

fn length(headers: &HeaderMap) -> Option<u64> {
    headers.get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

/// Reads so many bytes past; says whether they came.
fn is_skipped(body: &mut Body, bytes: u64) -> bool {
    bytes == 0 || io::copy(&mut body.take(bytes), &mut io::sink()).is_ok_and(|count| count == bytes)
}

/// The field that names these exact bytes.
fn strong_validator(headers: &HeaderMap) -> Option<(HeaderName, HeaderValue)> {
    if let Some(tag) = headers.get(ETAG) {
        // An unquoted one would be no good in If-Range.
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
