//! Builds the answer to a request from a stored response (RFC 9111 section 4).

use std::io::{self, Read};
use std::ops::Range;
use std::sync::Arc;
use std::time::SystemTime;

use http::header::{
    ACCEPT_RANGES, AGE, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_LANGUAGE, CONTENT_LENGTH, CONTENT_RANGE,
    CONTENT_TYPE, ETAG, EXPIRES, LAST_MODIFIED, RANGE,
};
use http::{HeaderMap, HeaderValue, Method, Response, StatusCode};

use super::incoming::Incoming;
use super::ranges::{self, Slice};
use crate::base::clock::Moment;
use crate::base::memory_limit::Ledger;
use crate::cache::fill::is_bodiless;
use crate::message::body::Body;
use crate::message::digest::{CONTENT_DIGEST, REPR_DIGEST};
use crate::message::header::number;
use crate::message::header::range::{Requested, requested};
use crate::message::pieces::Pieces;
use crate::message::stats::{CacheStatus, X_FROM_CACHE};
use crate::message::stored_bytes::StoredReader;
use crate::policy::{CDN_CACHE_CONTROL, Condition, Part, Validity, condition, range_applies};
use crate::pool::protocol;
use crate::store::{RemoteBody, StoredResponse};

/// Answers with a stored response: the whole, a part, or 304 if the client has it.
pub(crate) fn answer(
    stored: &StoredResponse,
    incoming: &Incoming,
    status: CacheStatus<'_>,
    now: Moment,
    ledger: &Arc<Ledger>,
) -> Response<Body> {
    if let Some(remote) = stored.remote() {
        return answer_remote(stored, remote, incoming, status, now, ledger);
    }
    let mut headers = stored.headers();
    let mut code = stored.status();
    let (mut body, mut is_whole) = (stored.body(), true);
    if is_bodiless(code, &Method::GET) {
        // The origin may have sent content that this status does not allow.
        (body, is_whole) = (Pieces::new(), false);
    }
    let conditions_apply = matches!(code, StatusCode::OK | StatusCode::PARTIAL_CONTENT);
    if conditions_apply
        && condition(&incoming.headers, &headers, stored.validity().response_time.wall())
            == Condition::NotModified
    {
        code = StatusCode::NOT_MODIFIED;
        (body, is_whole) = (Pieces::new(), false);
        remove_content_fields(&mut headers);
    } else {
        if conditions_apply
            && incoming.method == Method::GET
            && let Some(part) = cut_range(code, &body, &mut headers, incoming)
        {
            (code, body) = part;
            is_whole = false;
        }
        // RFC 9110 section 8.6: a 204 has no Content-Length.
        if code != StatusCode::NO_CONTENT {
            headers.insert(CONTENT_LENGTH, number::value(body.len() as u64));
        }
    }
    let length = body.len() as u64;
    let selected = Selected { code, headers, length, is_whole };
    respond(stored, selected, incoming, status, now, || Body::from(body))
}

/// Like [`answer`], for a body that is read from the disk while it is sent. Several ranges get the whole.
fn answer_remote(
    stored: &StoredResponse,
    remote: &RemoteBody,
    incoming: &Incoming,
    status: CacheStatus<'_>,
    now: Moment,
    ledger: &Arc<Ledger>,
) -> Response<Body> {
    let mut headers = stored.headers();
    // A 304 or 204 has no content, whatever the origin sent.
    let length = if is_bodiless(stored.status(), &Method::GET) { 0 } else { remote.length };
    let (mut code, mut range, mut is_whole) = (stored.status(), 0..length, true);
    let is_ok = code == StatusCode::OK;
    let part = Part::of(code, &headers);
    if (is_ok || part.is_some())
        && condition(&incoming.headers, &headers, stored.validity().response_time.wall())
            == Condition::NotModified
    {
        (code, range, is_whole) = (StatusCode::NOT_MODIFIED, 0..0, false);
        remove_content_fields(&mut headers);
    } else {
        if let Some(part) = part
            && let Some(Range { start, end }) = part.answers(&incoming.headers, &headers)
        {
            headers.insert(CONTENT_RANGE, Part { start, end, ..part }.value());
            (range, is_whole) = (start - part.start..end - part.start, false);
        }
        if is_ok && incoming.method == Method::GET {
            match range_of(incoming, &headers).map(|range| requested(range, remote.length)) {
                Some(Requested::Complete) => {
                    headers.insert(ACCEPT_RANGES, HeaderValue::from_static("bytes"));
                }
                Some(Requested::Parts(parts)) if parts.len() == 1 => {
                    let (start, end) = parts[0];
                    headers.insert(CONTENT_RANGE, Part { start, end, complete: remote.length }.value());
                    (code, range, is_whole) = (StatusCode::PARTIAL_CONTENT, start..end, false);
                }
                Some(Requested::Unsatisfiable) => {
                    make_unsatisfiable(&mut headers, ranges::text(format!("bytes */{}", remote.length)));
                    (code, range, is_whole) = (StatusCode::RANGE_NOT_SATISFIABLE, 0..0, false);
                }
                Some(Requested::Parts(_)) | None => {}
            }
        }
        if code != StatusCode::NO_CONTENT {
            headers.insert(CONTENT_LENGTH, number::value(range.end - range.start));
        }
    }
    let selected = Selected { code, headers, length: range.end - range.start, is_whole };
    let body = || StoredReader::body(Arc::clone(&remote.source), range, Arc::clone(ledger));
    respond(stored, selected, incoming, status, now, body)
}

/// The part of a stored response that a request selects: the whole, a range, or no content.
struct Selected {
    code: StatusCode,
    headers: HeaderMap,
    length: u64,
    is_whole: bool,
}

/// Builds the answer. A response to HEAD has no body.
fn respond(
    stored: &StoredResponse,
    selected: Selected,
    incoming: &Incoming,
    status: CacheStatus<'_>,
    now: Moment,
    body: impl FnOnce() -> Body,
) -> Response<Body> {
    let Selected { code, mut headers, length, is_whole } = selected;
    add_cache_fields(&mut headers, stored.validity(), status, now);
    if incoming.is_head() || !is_whole {
        headers.remove(&CONTENT_DIGEST);
    }
    if incoming.is_head() {
        return response(code, headers, Body::empty());
    }
    // Only the digest of the whole is known. Computing one for a part would cost as much as hashing its bytes.
    if incoming.hop.wants_digest
        && length > 0
        && let Some(digest) = stored.digest().filter(|_| is_whole)
    {
        protocol::announce_digest(&mut headers, digest);
    }
    response(code, headers, body())
}

/// Returns the single `Range` field of the request, if it applies to a response with these fields.
fn range_of<'a>(incoming: &'a Incoming, headers: &HeaderMap) -> Option<&'a [u8]> {
    let mut lines = incoming.headers.get_all(RANGE).into_iter();
    let (Some(range), None) = (lines.next(), lines.next()) else { return None };
    range_applies(&incoming.headers, headers).then(|| range.as_bytes())
}

/// Applies the client's own condition or range to the whole response that the origin sent, because the request to the
/// origin had neither.
pub(crate) fn apply_client_conditions(
    response: Response<Body>,
    incoming: &Incoming,
    now: SystemTime,
) -> Response<Body> {
    if response.status() != StatusCode::OK {
        return response;
    }
    let (mut parts, body) = response.into_parts();
    if condition(&incoming.headers, &parts.headers, now) == Condition::NotModified {
        parts.status = StatusCode::NOT_MODIFIED;
        remove_content_fields(&mut parts.headers);
        parts.headers.remove(&CONTENT_DIGEST);
        return Response::from_parts(parts, Body::empty());
    }
    let body = match body.as_pieces().filter(|_| incoming.method == Method::GET) {
        Some(whole) => match cut_range(parts.status, whole, &mut parts.headers, incoming) {
            Some((code, cut)) => {
                parts.status = code;
                Body::from(cut)
            }
            None => return Response::from_parts(parts, body),
        },
        None => match cut_single_range(&mut parts.headers, body, incoming) {
            Ok(cut) => {
                parts.status = StatusCode::PARTIAL_CONTENT;
                cut
            }
            Err(body) => return Response::from_parts(parts, body),
        },
    };
    parts.headers.remove(&CONTENT_DIGEST);
    parts.headers.insert(CONTENT_LENGTH, number::value(body.length().unwrap_or_default()));
    Response::from_parts(parts, body)
}

/// Cuts the single requested range from a body in transit. Returns the body itself if the request has no such range.
fn cut_single_range(headers: &mut HeaderMap, body: Body, incoming: &Incoming) -> Result<Body, Body> {
    let range = range_of(incoming, headers).filter(|_| incoming.method == Method::GET);
    let (Some(range), Some(length)) = (range, body.length()) else { return Err(body) };
    let Requested::Parts(parts) = requested(range, length) else { return Err(body) };
    let [(start, end)] = parts[..] else { return Err(body) };
    headers.insert(CONTENT_RANGE, Part { start, end, complete: length }.value());
    let mut body = body;
    let left = start - body.skip(start);
    Ok(Body::from_reader(SkipPrefix { body, left }.take(end - start), Some(end - start)))
}

/// Skips the beginning of a body.
struct SkipPrefix {
    body: Body,
    left: u64,
}

impl Read for SkipPrefix {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.left > 0 {
            let mut beginning = self.body.by_ref().take(self.left);
            self.left -= io::copy(&mut beginning, &mut io::sink())?;
        }
        if self.left > 0 { Ok(0) } else { self.body.read(buffer) }
    }
}

/// Adds the fields of a cached response: its age and its `Cache-Status`.
pub(crate) fn add_cache_fields(
    headers: &mut HeaderMap,
    validity: &Validity,
    status: CacheStatus<'_>,
    now: Moment,
) {
    headers.insert(AGE, number::value(validity.age(now).as_secs()));
    if status.outcome().is_from_store() {
        headers.insert(&X_FROM_CACHE, HeaderValue::from_static("1"));
    }
    status.time_to_live(validity.remaining(now), validity.staleness(now)).append_to(headers);
}

/// Builds a response from its parts.
pub(crate) fn response(status: StatusCode, headers: HeaderMap, body: Body) -> Response<Body> {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    *response.headers_mut() = headers;
    response
}

/// Removes the fields that describe a body, which a 304 does not have (RFC 9110 section 15.4.5).
fn remove_content_fields(headers: &mut HeaderMap) {
    for name in [CONTENT_ENCODING, CONTENT_LANGUAGE, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE] {
        headers.remove(name);
    }
}

/// Makes the fields those of a 416, to which validators and lifetimes of the whole do not apply.
fn make_unsatisfiable(headers: &mut HeaderMap, content_range: HeaderValue) {
    remove_content_fields(headers);
    for name in [&ETAG, &EXPIRES, &LAST_MODIFIED, &CDN_CACHE_CONTROL, &REPR_DIGEST] {
        headers.remove(name);
    }
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(CONTENT_RANGE, content_range);
}

/// Returns the requested range within a stored part, if the part contains all of it.
fn cut_partial(stored: Part, body: &Pieces, headers: &mut HeaderMap, incoming: &Incoming) -> Option<Pieces> {
    let Range { start, end } = stored.answers(&incoming.headers, headers)?;
    let at = |position: u64| usize::try_from(position - stored.start).ok();
    let (from, to) = (at(start)?, at(end)?);
    headers.insert(CONTENT_RANGE, Part { start, end, ..stored }.value());
    (to <= body.len() && to - from < body.len()).then(|| body.slice(from..to))
}

/// Returns the requested `Range` of a stored body (RFC 9110 section 14.2); `None` for the whole body.
fn cut_range(
    code: StatusCode,
    body: &Pieces,
    headers: &mut HeaderMap,
    incoming: &Incoming,
) -> Option<(StatusCode, Pieces)> {
    if let Some(stored) = Part::of(code, headers) {
        return cut_partial(stored, body, headers, incoming).map(|part| (code, part));
    }
    let range = range_of(incoming, headers)?;
    match ranges::slice(range, body, headers.get(CONTENT_TYPE)) {
        Slice::Complete => {
            headers.insert(ACCEPT_RANGES, HeaderValue::from_static("bytes"));
            None
        }
        Slice::One { body, content_range } => {
            headers.insert(CONTENT_RANGE, content_range);
            Some((StatusCode::PARTIAL_CONTENT, body))
        }
        Slice::Several { body, content_type } => {
            headers.insert(CONTENT_TYPE, content_type);
            Some((StatusCode::PARTIAL_CONTENT, body))
        }
        Slice::Unsatisfiable { content_range } => {
            make_unsatisfiable(headers, content_range);
            Some((StatusCode::RANGE_NOT_SATISFIABLE, Pieces::new()))
        }
    }
}
