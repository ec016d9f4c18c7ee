//! Prepares a response for a thread that never blocks.

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use http::{Method, Response, StatusCode};

use super::transfer::Fill;
use crate::base::cancellation::Cancellation;
use crate::base::error::Error;
use crate::base::memory_limit::Ledger;
use crate::message::body::{Body, Growing, PollRead, Wake};
use crate::message::digest::Digest;
use crate::message::nonblocking::{Collecting, JobResult};
use crate::message::pieces::Pieces;
use crate::pool::protocol::{self, WantsDigest};

/// The longest body that is collected before its response is sent, in bytes. The head and the body then go out
/// together, and a truncated body becomes an error response.
const COLLECTED: u64 = 64 << 10;

/// How long the head may wait for its body.
const COLLECTING: Duration = Duration::from_millis(100);

/// Returns the response with a body that can be read without blocking, and the work of reading the body.
///
/// A short body is collected for at most 100 ms, however long one read of the source takes. A body that is incomplete
/// by then streams from its beginning. If the body fails before, the result is an error, because no byte has been
/// sent.
pub(crate) fn prepared(
    response: Response<Body>,
    method: &Method,
    ledger: &Arc<Ledger>,
    cancellation: &Cancellation,
) -> JobResult<Result<Response<Body>, Error>> {
    let until = Instant::now() + COLLECTING;
    let (mut parts, body) = response.into_parts();
    if body.as_pieces().is_some() {
        parts.extensions.remove::<WantsDigest>();
        return Ok(Response::from_parts(parts, body)).into();
    }
    if is_bodiless(parts.status, method) {
        parts.extensions.remove::<WantsDigest>();
        // A bodiless response may still have a Content-Length.
        let length = body.length();
        drop(body);
        return Ok(Response::from_parts(parts, Body::from_reader(io::empty(), length))).into();
    }
    let (stream, length) = growing(body, ledger, cancellation);
    let is_short = length.is_some_and(|length| length <= COLLECTED);
    let driver = stream.driver();
    if is_short && driver.is_none() {
        // Another thread reads the body.
        stream.wait_for_end(until);
    }
    let response = Ok(Response::from_parts(parts, Body::from_boxed_poll_body(stream, length)));
    match driver {
        None if is_short => collected(response).into(),
        driver => {
            let collecting = is_short.then_some(Collecting { until, whole: collected, abandon });
            JobResult { result: response, driver, collecting }
        }
    }
}

/// Joins the response with its complete body, and adds the digest if the client requested one. If the body has not
/// ended, returns the response unchanged.
fn collected(response: Result<Response<Body>, Error>) -> Result<Response<Body>, Error> {
    let (mut parts, body) = response?.into_parts();
    let wants_digest = parts.extensions.remove::<WantsDigest>().is_some();
    let (mut stream, length) = match body.into_poll_body() {
        Ok(growing) => growing,
        Err(body) => return Ok(Response::from_parts(parts, body)),
    };
    if !stream.wait_for_end(Instant::now()) {
        return Ok(Response::from_parts(parts, Body::from_boxed_poll_body(stream, length)));
    }
    let pieces = read_ready(&mut *stream)?;
    if wants_digest && !pieces.is_empty() {
        protocol::announce_digest(&mut parts.headers, Digest::of_pieces(&pieces));
    }
    Ok(Response::from_parts(parts, Body::from(pieces)))
}

/// Drops a response whose client left while its body was collected.
fn abandon(response: Result<Response<Body>, Error>) {
    if let Ok(response) = response
        && let Ok((stream, _)) = response.into_body().into_poll_body()
    {
        stream.abandon();
    }
}

/// Turns a body into a stream that can be read without blocking.
fn growing(body: Body, ledger: &Arc<Ledger>, cancellation: &Cancellation) -> (Box<dyn Growing>, Option<u64>) {
    body.into_poll_body().unwrap_or_else(|body| {
        let length = body.length();
        (Box::new(Fill::pass(body, Arc::clone(ledger), cancellation.clone())), length)
    })
}

/// Returns all bytes of a stream that has ended.
fn read_ready(stream: &mut dyn Growing) -> io::Result<Pieces> {
    let wake: Wake = Arc::new(|| ());
    let mut pieces = Vec::new();
    loop {
        match stream.poll_read(usize::MAX, &wake)? {
            PollRead::Bytes(bytes) => pieces.push(bytes.into()),
            PollRead::End => return Ok(pieces.into_iter().collect()),
            PollRead::Pending => return Err(io::ErrorKind::UnexpectedEof.into()),
        }
    }
}

/// Whether a response has no content by its status or its request (RFC 9110 section 6.4.1).
pub(crate) fn is_bodiless(status: StatusCode, method: &Method) -> bool {
    *method == Method::HEAD
        || status.is_informational()
        || matches!(status, StatusCode::NO_CONTENT | StatusCode::RESET_CONTENT | StatusCode::NOT_MODIFIED)
        || (*method == Method::CONNECT && status.is_success())
}
