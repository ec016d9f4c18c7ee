//! Recovers from a stored body that turns out to be damaged, or cannot be read, while it is sent: the rest comes from the origin.
//!
//! With a strong entity tag, `Range` with `If-Range` asks for the rest (RFC 9110 section 13.1.5). Without one, the whole is
//! fetched, and continues the response if it has the same length and the same bytes up to there. The damaged response was
//! dropped, so that a later request fetches the whole again.

use std::error::Error as _;
use std::io::{self, Read};
use std::mem;
use std::sync::{Arc, Weak};
use std::time::Instant;

use http::header::{CONTENT_ENCODING, CONTENT_TYPE, ETAG, IF_RANGE, LAST_MODIFIED, RANGE};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Response, StatusCode, Version};
use log::debug;

use super::engine::Inner;
use super::fetching::Exchange;
use super::forwarding::received_over;
use super::incoming::Incoming;
use super::lookup::Plan;
use super::ranges;
use super::refresh::of_the_whole;
use crate::base::cancellation::Cancellation;
use crate::base::error::{Error, ErrorKind, Result};
use crate::base::redacted::redacted;
use crate::cache::fill::Fill;
use crate::message::body::{Body, Driver, Growing, PollRead, Wake};
use crate::message::body_piece::BodyPiece;
use crate::message::nonblocking::RunMode;
use crate::message::stats::{Forward, Outcome};
use crate::message::stored_bytes::StoredReader;
use crate::message::url::CanonicalUrl;
use crate::policy::{Part, have_same_strong_tag, strong_tag};
use crate::pool::protocol::Hop;
use crate::store::{RemoteBody, StoredResponse};

/// Makes the request for the rest.
type MakeRequest = Box<dyn FnOnce(&Inner, &StoredResponse) -> Option<Incoming> + Send>;

/// The length of the pieces in which two bodies are compared, in bytes.
const PIECE: usize = 16 << 10;

/// A range of a representation whose body is stored, and where the rest of it comes from if it cannot be read.
struct RecoveringBody {
    stream: Box<dyn Growing>,
    position: Position,
    recovery: Option<Recovery>,
}

/// Positions in a representation: where a body begins, its next byte, and its end.
#[derive(Clone, Copy)]
struct Position {
    start: u64,
    at: u64,
    end: u64,
}

struct Recovery {
    cache: Weak<Inner>,
    stored: StoredResponse,
    request: MakeRequest,
}

impl Inner {
    /// Lets the rest of a stored body come from the origin if the body cannot be read any more.
    pub(super) fn recovering(
        &self,
        response: Response<Body>,
        stored: &StoredResponse,
        incoming: &Incoming,
    ) -> Response<Body> {
        // A refresh has no client, and may itself be a recovery.
        let is_for_client = !incoming.directives.only_if_cached && !incoming.is_refresh;
        if stored.remote().is_none() || !is_for_client || !self.can_recover(stored) {
            return response;
        }
        let start = Part::of(response.status(), response.headers()).map_or(0, |part| part.start);
        response.map(|body| self.recovering_body(body, start, stored, incoming))
    }

    /// The same for the body of a response that begins with this stored part.
    pub(super) fn recovering_whole(&self, body: Body, part: &StoredResponse, incoming: &Incoming) -> Body {
        if part.remote().is_some() { self.recovering_body(body, 0, part, incoming) } else { body }
    }

    fn recovering_body(&self, body: Body, start: u64, stored: &StoredResponse, incoming: &Incoming) -> Body {
        let incoming = of_the_whole(incoming, 0);
        self.with_recovery(body, start, stored, Box::new(move |_, _| Some(incoming)))
    }

    /// Returns the body of a hit on a plain request, whose first bytes were read before.
    pub(super) fn recovering_hit(
        &self,
        beginning: BodyPiece,
        remote: &RemoteBody,
        stored: &StoredResponse,
        url: &str,
    ) -> Body {
        let (source, ledger) = (Arc::clone(&remote.source), Arc::clone(&self.ledger));
        let is_read = beginning.len() as u64 >= remote.length;
        let body = StoredReader::body_after(beginning, source, 0..remote.length, ledger);
        if is_read || !self.can_recover(stored) {
            return body;
        }
        let url = url.to_owned();
        let request = move |cache: &Inner, stored: &StoredResponse| {
            let mut headers = HeaderMap::new();
            for (name, value) in &stored.variant().fields {
                if let Some(value) = value {
                    headers.insert(name, HeaderValue::from_maybe_shared(value.clone()).ok()?);
                }
            }
            let target = CanonicalUrl::parse(&url).ok()?;
            let via = received_over(Version::HTTP_11, cache.via.as_ref());
            let incoming = Incoming::new(Method::GET, target, headers, Hop::default(), via, &cache.keys);
            Some(of_the_whole(&incoming, 0))
        };
        self.with_recovery(body, 0, stored, Box::new(request))
    }

    /// Whether the origin can be asked for the rest of this body.
    fn can_recover(&self, stored: &StoredResponse) -> bool {
        matches!(stored.status(), StatusCode::OK | StatusCode::PARTIAL_CONTENT) && self.near.is_none()
    }

    fn with_recovery(&self, body: Body, start: u64, stored: &StoredResponse, request: MakeRequest) -> Body {
        match body.into_poll_body() {
            Ok((stream, Some(length))) => {
                let recovery = Recovery { cache: self.me.clone(), stored: stored.clone(), request };
                let position = Position { start, at: start, end: start + length };
                Body::growing(RecoveringBody { stream, position, recovery: Some(recovery) }, Some(length))
            }
            Ok((stream, length)) => Body::from_boxed_poll_body(stream, length),
            Err(body) => body,
        }
    }

    /// Fetches what is left of the body of a stored response. Blocks.
    fn fetch_rest(
        self: &Arc<Self>,
        stored: &StoredResponse,
        incoming: Incoming,
        position: Position,
        cancellation: Cancellation,
    ) -> Result<Body> {
        debug!("{}: the rest is fetched", redacted(incoming.target.as_str()));
        let (headers, target) = (stored.headers(), incoming.target.clone());
        let fetched = if strong_tag(&headers).is_some() {
            self.fetch_range(stored, &headers, incoming, position, cancellation)
        } else {
            self.fetch_equal(stored, &headers, incoming, position, &cancellation)
        };
        fetched?.ok_or_else(|| {
            let text = "a stored body is damaged, and the origin does not have it any more";
            Error::new(ErrorKind::IncompleteBody, text).with_url(&target)
        })
    }

    /// Fetches the range that is left. Returns `None` if the origin has another representation.
    fn fetch_range(
        self: &Arc<Self>,
        stored: &StoredResponse,
        headers: &HeaderMap,
        mut incoming: Incoming,
        Position { at, end, .. }: Position,
        cancellation: Cancellation,
    ) -> Result<Option<Body>> {
        incoming.headers.insert(RANGE, ranges::text(format!("bytes={at}-{}", end - 1)));
        if let Some(tag) = headers.get(ETAG) {
            incoming.headers.insert(IF_RANGE, tag.clone());
        }
        let response = self.forward_past_store(&incoming, Forward::Partial, cancellation)?;
        let complete = complete_length(stored, headers);
        let is_whole = response.status() == StatusCode::OK && response.body().length() == Some(complete);
        let wanted = Part { start: at, end, complete };
        let is_rest = Part::of(response.status(), response.headers()) == Some(wanted);
        if !(is_whole || is_rest) || !have_same_strong_tag(headers, response.headers()) {
            return Ok(None);
        }
        let mut body = response.into_body();
        if is_whole {
            skip(&mut body, at)?;
        }
        Ok(Some(body))
    }

    /// Sends a request to the origin, whatever is stored.
    fn forward_past_store(
        self: &Arc<Self>,
        incoming: &Incoming,
        why: Forward,
        cancellation: Cancellation,
    ) -> Result<Response<Body>> {
        let exchange = Exchange { fetch: self.begin(&incoming.key), mode: RunMode::Worker, cancellation };
        self.forward(incoming, &Plan::without_store(why), None, exchange)
    }

    /// Fetches the whole, together with other requests, and compares it with the stored bytes that were sent. Returns `None`
    /// unless the description, the length and these bytes are equal: then the whole body is the one that the origin has now.
    fn fetch_equal(
        self: &Arc<Self>,
        stored: &StoredResponse,
        headers: &HeaderMap,
        incoming: Incoming,
        Position { start, at, .. }: Position,
        cancellation: &Cancellation,
    ) -> Result<Option<Body>> {
        let (Some(remote), true) = (stored.remote(), start < at) else { return Ok(None) };
        let incoming = Arc::new(incoming);
        let response = self.answer(&incoming)?;
        // Where it cannot be dropped, because the store is only read or its disk fails, the damaged response was found again.
        let response = if Outcome::of(response.headers()).is_some_and(Outcome::is_from_store) {
            self.forward_past_store(&incoming, Forward::Stale, cancellation.clone())?
        } else {
            response
        };
        let is_equal = |name: &HeaderName| headers.get(name) == response.headers().get(name);
        if response.status() != StatusCode::OK
            || response.body().length() != Some(complete_length(stored, headers))
            || ![CONTENT_ENCODING, CONTENT_TYPE, ETAG, LAST_MODIFIED].iter().all(is_equal)
        {
            return Ok(None);
        }
        let mut body = response.into_body();
        skip(&mut body, start)?;
        let from = Part::of(stored.status(), headers).map_or(0, |part| part.start);
        let source = Arc::clone(&remote.source);
        let mut sent = StoredReader::body(source, start - from..at - from, Arc::clone(&self.ledger));
        let (mut expected, mut arrived) = (vec![0; PIECE], vec![0; PIECE]);
        loop {
            let count = sent.read(&mut expected)?;
            let arrived = &mut arrived[..count];
            body.read_exact(arrived)?;
            if *arrived != expected[..count] || cancellation.is_cancelled() {
                return Ok(None);
            }
            if count == 0 {
                return Ok(Some(body));
            }
        }
    }
}

/// Returns the length of the representation of which a body, or a part of it, is stored.
fn complete_length(stored: &StoredResponse, headers: &HeaderMap) -> u64 {
    Part::of(stored.status(), headers).map_or(stored.body_length() as u64, |part| part.complete)
}

/// Reads the first `count` bytes of a body.
fn skip(body: &mut Body, count: u64) -> io::Result<()> {
    let left = count - body.skip(count);
    io::copy(&mut body.take(left), &mut io::sink()).map(drop)
}

/// Whether an error is that of a stored body, also if the body was read for several readers, and not that of a transfer.
fn is_of_stored(error: &io::Error) -> bool {
    let Some(shared) = error.get_ref().and_then(|inner| inner.downcast_ref::<Error>()) else { return true };
    let cause = shared.source().and_then(|cause| cause.downcast_ref::<io::Error>());
    cause.is_some_and(|cause| matches!(cause.kind(), io::ErrorKind::InvalidData | io::ErrorKind::NotFound))
}

impl RecoveringBody {
    /// Replaces the stream by one that gets the rest from the origin. Never waits.
    ///
    /// # Errors
    ///
    /// The error that was met, if there is no other source.
    fn recover(&mut self, error: io::Error) -> io::Result<()> {
        let recovery = if is_of_stored(&error) { self.recovery.take() } else { None };
        let Some(recovery) = recovery else { return Err(error) };
        let cache = recovery.cache.upgrade().filter(|cache| !cache.is_offline());
        let Some(ledger) = cache.map(|cache| Arc::clone(&cache.ledger)) else { return Err(error) };
        let (position, cancellation) = (self.position, Cancellation::new());
        let token = cancellation.clone();
        let fetch = move || {
            let cache = recovery.cache.upgrade()?;
            let incoming = (recovery.request)(&cache, &recovery.stored)?;
            Some(cache.fetch_rest(&recovery.stored, incoming, position, token))
        };
        let rest = Rest { fetch: Some(Box::new(fetch)), error: Some(error), body: Body::empty() };
        let length = position.end - position.at;
        let body = Body::from_reader(rest.take(length), Some(length));
        let body = Fill::pass(body, ledger, cancellation).into_body();
        let (stream, _) = body.into_poll_body().map_err(|_| io::ErrorKind::Unsupported)?;
        mem::replace(&mut self.stream, stream).abandon();
        Ok(())
    }
}

/// The rest of a body, which is requested when it is first read.
struct Rest {
    fetch: Option<Box<dyn FnOnce() -> Option<Result<Body>> + Send>>,
    /// Why the stored body cannot be read.
    error: Option<io::Error>,
    body: Body,
}

impl Read for Rest {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        if let Some(fetch) = self.fetch.take() {
            self.body = match (fetch(), self.error.take()) {
                (Some(rest), _) => rest?,
                (None, Some(error)) => return Err(error),
                (None, None) => return Err(io::ErrorKind::UnexpectedEof.into()),
            };
        }
        self.body.read(out)
    }
}

impl Read for RecoveringBody {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let count = match self.stream.read(out) {
            Err(error) => {
                self.recover(error)?;
                self.stream.read(out)?
            }
            Ok(count) => count,
        };
        self.position.at += count as u64;
        Ok(count)
    }
}

impl Growing for RecoveringBody {
    fn poll_read(&mut self, most: usize, wake: &Wake) -> io::Result<PollRead> {
        let read = match self.stream.poll_read(most, wake) {
            Err(error) => {
                self.recover(error)?;
                self.stream.poll_read(most, wake)?
            }
            Ok(read) => read,
        };
        if let PollRead::Bytes(bytes) = &read {
            self.position.at += bytes.len() as u64;
        }
        Ok(read)
    }

    fn driver(&self) -> Option<Driver> {
        self.stream.driver()
    }

    fn wait_for_end(&self, until: Instant) -> bool {
        self.stream.wait_for_end(until)
    }

    fn is_worth_finishing(&self) -> bool {
        self.stream.is_worth_finishing()
    }

    fn skip(&mut self, most: u64) -> u64 {
        let skipped = self.stream.skip(most);
        self.position.at += skipped;
        skipped
    }

    fn abandon(self: Box<Self>) {
        self.stream.abandon();
    }
}
