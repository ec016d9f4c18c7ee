//! Recovers from a stored body that turns out to be damaged, or cannot be read, while it is sent: the rest is fetched from the
//! origin, if a strong entity tag proves that it is the rest of the same representation.
//!
//! `Range` with `If-Range` asks for it (RFC 9110 section 13.1.5). The damaged response was dropped, so that a later request
//! fetches the whole again.

use std::io::{self, Read};
use std::ops::Range;
use std::sync::{Arc, Weak};
use std::time::Instant;

use http::header::{ETAG, IF_RANGE, RANGE};
use http::{HeaderMap, HeaderValue, Method, Response, StatusCode, Version};
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
use crate::message::header::entity_tag::EntityTag;
use crate::message::nonblocking::RunMode;
use crate::message::stats::Forward;
use crate::message::stored_bytes::StoredReader;
use crate::message::url::CanonicalUrl;
use crate::policy::{Part, have_same_strong_tag};
use crate::pool::protocol::Hop;
use crate::store::{RemoteBody, StoredResponse};

/// Makes the request for the rest.
type MakeRequest = Box<dyn FnOnce(&Inner, &StoredResponse) -> Option<Incoming> + Send>;

/// A part of a stored body, and where the rest of it comes from if it cannot be read.
struct RecoveringBody {
    stream: Box<dyn Growing>,
    /// The position in the stored body of the next byte, and that of the end.
    at: u64,
    end: u64,
    recovery: Option<Recovery>,
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
        if stored.remote().is_none() || incoming.directives.only_if_cached || !self.can_recover(stored) {
            return response;
        }
        let start = Part::of(response.status(), response.headers()).map_or(0, |part| part.start);
        let incoming = of_the_whole(incoming, 0);
        response.map(|body| self.with_recovery(body, start, stored, Box::new(move |_, _| Some(incoming))))
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
        let tag = stored.field(&ETAG).and_then(EntityTag::parse);
        stored.status() == StatusCode::OK && self.near.is_none() && tag.is_some_and(EntityTag::is_strong)
    }

    fn with_recovery(&self, body: Body, start: u64, stored: &StoredResponse, request: MakeRequest) -> Body {
        match body.into_poll_body() {
            Ok((stream, Some(length))) => {
                let recovery = Recovery { cache: self.me.clone(), stored: stored.clone(), request };
                let end = start + length;
                Body::growing(
                    RecoveringBody { stream, at: start, end, recovery: Some(recovery) },
                    Some(length),
                )
            }
            Ok((stream, length)) => Body::from_boxed_poll_body(stream, length),
            Err(body) => body,
        }
    }

    /// Fetches a range of the body of a stored response. Blocks.
    fn fetch_rest(
        self: &Arc<Self>,
        stored: &StoredResponse,
        mut incoming: Incoming,
        range: Range<u64>,
        cancellation: Cancellation,
    ) -> Result<Body> {
        let complete = stored.body_length() as u64;
        let wanted = Part { start: range.start, end: range.end, complete };
        debug!("{}: the rest is fetched, {wanted:?}", redacted(incoming.target.as_str()));
        incoming.headers.insert(RANGE, ranges::text(format!("bytes={}-{}", range.start, range.end - 1)));
        if let Some(tag) = stored.headers().remove(ETAG) {
            incoming.headers.insert(IF_RANGE, tag);
        }
        let plan = Plan::without_store(Forward::Partial);
        let exchange = Exchange { fetch: self.begin(&incoming.key), mode: RunMode::Worker, cancellation };
        let response = self.forward(&incoming, &plan, None, exchange)?;
        let is_whole = response.status() == StatusCode::OK && response.body().length() == Some(complete);
        let is_rest = Part::of(response.status(), response.headers()) == Some(wanted);
        if !(is_whole || is_rest) || !have_same_strong_tag(&stored.headers(), response.headers()) {
            let text = "a stored body is damaged, and the origin does not have it any more";
            return Err(Error::new(ErrorKind::IncompleteBody, text).with_url(&incoming.target));
        }
        let mut body = response.into_body();
        if is_whole {
            let left = range.start - body.skip(range.start);
            io::copy(&mut (&mut body).take(left), &mut io::sink())?;
        }
        Ok(body)
    }
}

impl RecoveringBody {
    /// Replaces the stream by one that gets the rest from the origin. Never waits.
    ///
    /// # Errors
    ///
    /// The error that was met, if there is no other source.
    fn recover(&mut self, error: io::Error) -> io::Result<()> {
        let Some(recovery) = self.recovery.take() else { return Err(error) };
        let cache = recovery.cache.upgrade().filter(|cache| !cache.is_offline());
        let Some(ledger) = cache.map(|cache| Arc::clone(&cache.ledger)) else { return Err(error) };
        let (range, cancellation) = (self.at..self.end, Cancellation::new());
        let token = cancellation.clone();
        let fetch = move || {
            let cache = recovery.cache.upgrade()?;
            let incoming = (recovery.request)(&cache, &recovery.stored)?;
            Some(cache.fetch_rest(&recovery.stored, incoming, range, token))
        };
        let rest = Rest { fetch: Some(Box::new(fetch)), error: Some(error), body: Body::empty() };
        let length = self.end - self.at;
        let body = Body::from_reader(rest.take(length), Some(length));
        let body = Fill::pass(body, ledger, cancellation).into_body();
        let (stream, _) = body.into_poll_body().map_err(|_| io::ErrorKind::Unsupported)?;
        self.stream = stream;
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
        self.at += count as u64;
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
            self.at += bytes.len() as u64;
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
        self.at += skipped;
        skipped
    }

    fn abandon(self: Box<Self>) {
        self.stream.abandon();
    }
}
