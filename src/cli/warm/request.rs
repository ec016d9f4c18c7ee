//! One request: the response is read and discarded.

use std::io::{self, Read};
use std::time::{Duration, Instant};

use forwardcache::origin::CanonicalUrl;
use forwardcache::{Body, Cancellation, Deadline, Error, ErrorKind, Outcome, ResponseExt, RoundTrip};
use http::header::{CONTENT_ENCODING, CONTENT_TYPE};
use http::{HeaderMap, Request, Response, StatusCode};

use super::links;

/// How much of a body is read, in bytes, if that stores nothing: enough to use the connection again after short bodies.
const UNSTORED: u64 = 64 << 10;

/// How much of a page is searched for links, in bytes.
const PAGE: usize = 2 << 20;

/// Sends the requests.
pub(super) struct Requests {
    pub(super) transport: Box<dyn RoundTrip>,
    pub(super) fields: HeaderMap,
    pub(super) max_time: Duration,
    /// Ends the requests in progress.
    pub(super) cancellation: Cancellation,
}

/// The effect of a request on the cache.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// The response was stored before.
    Hit,
    /// The origin has confirmed the stored response.
    Revalidated,
    /// The response is now stored.
    Stored,
    /// The response is not stored, for this reason.
    NotStored(String),
    /// The request failed, or its status is 400 or higher.
    Failed(String),
}

/// The result of a request.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) verdict: Verdict,
    pub(super) status: Option<StatusCode>,
    pub(super) outcome: Option<Outcome>,
    pub(super) peer: Option<String>,
    /// The error, unless a complete response arrived.
    pub(super) error: Option<Error>,
    /// The number of bytes of the body that were read.
    pub(super) bytes: u64,
    pub(super) time: Duration,
    /// How long the origin or the pool wants a pause.
    pub(super) retry_after: Option<Duration>,
    /// Links of the page to the same origin.
    pub(super) links: Vec<CanonicalUrl>,
}

impl Answer {
    /// Returns whether a later request may succeed although this one has failed.
    pub(super) fn may_improve(&self) -> bool {
        match (&self.error, self.status) {
            (Some(error), _) => !matches!(error.kind(), ErrorKind::BadUrl | ErrorKind::Forbidden),
            (None, status) => status
                .is_some_and(|status| status.is_server_error() || matches!(status.as_u16(), 408 | 425 | 429)),
        }
    }
}

impl Requests {
    /// Sends a GET request.
    pub(super) fn send(&self, url: &CanonicalUrl) -> Result<Response<Body>, Error> {
        let mut request = Request::new(Body::empty());
        *request.uri_mut() = url.uri();
        *request.headers_mut() = self.fields.clone();
        request.extensions_mut().insert(Deadline::within(self.max_time));
        request.extensions_mut().insert(self.cancellation.clone());
        self.transport.round_trip(request)
    }

    /// Requests a URL and discards the response.
    pub(super) fn warm(&self, url: &CanonicalUrl, wants_links: bool) -> Answer {
        let started = Instant::now();
        let mut answer = match self.send(url) {
            Ok(response) => received(url, response, wants_links),
            Err(error) => Answer {
                verdict: Verdict::Failed(error.kind().name().to_owned()),
                retry_after: error.retry_after(),
                error: Some(error),
                status: None,
                outcome: None,
                peer: None,
                bytes: 0,
                time: Duration::ZERO,
                links: Vec::new(),
            },
        };
        answer.time = started.elapsed();
        answer
    }
}

fn received(url: &CanonicalUrl, response: Response<Body>, wants_links: bool) -> Answer {
    let (info, status) = (response.info(), response.status());
    let has_links = wants_links && status.is_success() && is_page(response.headers());
    let retry_after = response.status_error().and_then(|error| error.retry_after());
    let mut verdict = verdict(status, info.outcome(), info.is_stored(), info.not_stored());
    let mut body = response.into_body();
    let mut page = Vec::new();
    let mut read = |limit: u64| discard(&mut body, limit, has_links.then_some(&mut page));
    let (bytes, error) = match verdict {
        Verdict::Stored => read(u64::MAX),
        // A page with links is read as far as it is searched.
        _ => read(UNSTORED.max(if has_links { PAGE as u64 } else { 0 })),
    };
    if let Some(error) = &error {
        verdict = Verdict::Failed(error.kind().name().to_owned());
    }
    Answer {
        verdict,
        status: Some(status),
        outcome: info.outcome(),
        peer: info.peer().map(str::to_owned),
        error,
        bytes,
        time: Duration::ZERO,
        retry_after,
        links: links::of(url, &String::from_utf8_lossy(&page)),
    }
}

/// Decides what a response means, before its body is read.
fn verdict(status: StatusCode, outcome: Option<Outcome>, is_stored: bool, why_not: Option<&str>) -> Verdict {
    if status.is_client_error() || status.is_server_error() {
        return Verdict::Failed(status.as_u16().to_string());
    }
    match outcome {
        Some(Outcome::Revalidated(_)) => Verdict::Revalidated,
        Some(outcome) if outcome.is_from_store() => Verdict::Hit,
        // The request that started the fetch stores the response.
        Some(Outcome::Collapsed(_)) => Verdict::Stored,
        _ if is_stored => Verdict::Stored,
        Some(outcome) => {
            // A miss without a reason is one that the store refused.
            let other = if matches!(outcome, Outcome::Miss(_)) { "refused-by-store" } else { outcome.name() };
            Verdict::NotStored(why_not.unwrap_or(other).to_owned())
        }
        None => Verdict::NotStored("no-cache-status".to_owned()),
    }
}

fn is_page(headers: &HeaderMap) -> bool {
    let media_type = headers.get(CONTENT_TYPE).map(|value| value.as_bytes().to_ascii_lowercase());
    media_type
        .is_some_and(|kind| kind.starts_with(b"text/html") || kind.starts_with(b"application/xhtml+xml"))
        && !headers.contains_key(CONTENT_ENCODING)
}

/// Reads up to `limit` bytes of a body, and the beginning of a page into `page`.
fn discard(body: &mut Body, limit: u64, mut page: Option<&mut Vec<u8>>) -> (u64, Option<Error>) {
    let (mut length, mut buffer) = (0, vec![0; 64 << 10]);
    while length < limit {
        match body.read(&mut buffer) {
            Ok(0) => break,
            Ok(count) => {
                length += count as u64;
                if let Some(page) = &mut page {
                    let missing = PAGE.saturating_sub(page.len());
                    page.extend_from_slice(&buffer[..count.min(missing)]);
                }
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return (length, Some(error.into())),
        }
    }
    (length, None)
}

#[cfg(test)]
mod tests {
    use forwardcache::metrics::Forward;

    use super::*;

    #[test]
    fn verdict_follows_status_and_outcome() {
        let miss = Some(Outcome::Miss(Forward::UriMiss));
        let not = |reason: &str| Verdict::NotStored(reason.to_owned());
        for (status, outcome, is_stored, why_not, expected) in [
            (200, Some(Outcome::Hit), false, None, Verdict::Hit),
            (301, miss, true, None, Verdict::Stored),
            (200, miss, false, Some("no-store"), not("no-store")),
            (200, miss, false, None, not("refused-by-store")),
            (200, Some(Outcome::Passed(Forward::Bypass)), false, None, not("passed")),
            (200, Some(Outcome::Collapsed(Forward::UriMiss)), false, None, Verdict::Stored),
            (200, Some(Outcome::Revalidated(Forward::Stale)), false, None, Verdict::Revalidated),
            (200, Some(Outcome::StaleIfError(Forward::Stale)), false, None, Verdict::Hit),
            (404, miss, true, None, Verdict::Failed("404".to_owned())),
            (200, None, false, None, not("no-cache-status")),
        ] {
            let status = StatusCode::from_u16(status).unwrap();
            assert_eq!(verdict(status, outcome, is_stored, why_not), expected, "{status} {outcome:?}");
        }
    }
}
