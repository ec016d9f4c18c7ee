//! A response whose body a thread can send that never waits.

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use http::{Method, Response, StatusCode};

use super::transfer::Fill;
use crate::base::cancellation::Cancellation;
use crate::base::error::Error;
use crate::base::ledger::Ledger;
use crate::message::body::{Body, Growing, Grown, Wake};
use crate::message::digest::Digest;
use crate::message::nonblocking::{Collecting, Made};
use crate::message::pieces::Pieces;
use crate::pool::protocol::{self, WantsDigest};

/// A body of known length up to this is read before its response is sent, so that both go out together, and
/// one that is cut can be reported as an error. In bytes.
const COLLECTED: u64 = 64 << 10;

/// How long the head may wait for that.
const COLLECTING: Duration = Duration::from_millis(100);

/// The response with a body that is here or growing, and the work of moving its body on.
///
/// A short body is collected for at most 100 ms, however long a read of its source takes. What is not whole by then
/// streams, from the beginning. A body that fails before makes an error of its response: nothing of it has been sent.
pub(crate) fn prepared(
    response: Response<Body>,
    method: &Method,
    ledger: &Arc<Ledger>,
    cancellation: &Cancellation,
) -> Made<Result<Response<Body>, Error>> {
    let until = Instant::now() + COLLECTING;
    let (mut parts, body) = response.into_parts();
    if body.as_pieces().is_some() {
        parts.extensions.remove::<WantsDigest>();
        return Ok(Response::from_parts(parts, body)).into();
    }
    if is_bodiless(parts.status, method) {
        parts.extensions.remove::<WantsDigest>();
        // Its length may still be told.
        let length = body.length();
        drop(body);
        return Ok(Response::from_parts(parts, Body::from_reader(io::empty(), length))).into();
    }
    let (stream, length) = growing(body, ledger, cancellation);
    let is_short = length.is_some_and(|length| length <= COLLECTED);
    let driver = stream.driver();
    if is_short && driver.is_none() {
        // Somebody else moves it on.
        stream.wait_for_end(until);
    }
    let response = Ok(Response::from_parts(parts, Body::from_growing(stream, length)));
    match driver {
        None if is_short => whole(response).into(),
        driver => {
            let collecting = is_short.then_some(Collecting { until, whole, abandon });
            Made { result: response, driver, collecting }
        }
    }
}

/// The response with its body in one with it, and with its digest if that is wanted; as it is where the body has not
/// ended.
fn whole(response: Result<Response<Body>, Error>) -> Result<Response<Body>, Error> {
    let (mut parts, body) = response?.into_parts();
    let wants_digest = parts.extensions.remove::<WantsDigest>().is_some();
    let (mut stream, length) = match body.into_growing() {
        Ok(growing) => growing,
        Err(body) => return Ok(Response::from_parts(parts, body)),
    };
    if !stream.wait_for_end(Instant::now()) {
        return Ok(Response::from_parts(parts, Body::from_growing(stream, length)));
    }
    let pieces = ready(&mut *stream)?;
    if wants_digest && !pieces.is_empty() {
        protocol::announce_digest(&mut parts.headers, Digest::of_pieces(&pieces));
    }
    Ok(Response::from_parts(parts, Body::from(pieces)))
}

/// Lets go of a response whose client has left while its body was collected.
fn abandon(response: Result<Response<Body>, Error>) {
    if let Ok(response) = response
        && let Ok((stream, _)) = response.into_body().into_growing()
    {
        stream.abandon();
    }
}

/// The body as a stream that can be read without waiting.
fn growing(body: Body, ledger: &Arc<Ledger>, cancellation: &Cancellation) -> (Box<dyn Growing>, Option<u64>) {
    body.into_growing().unwrap_or_else(|body| {
        let length = body.length();
        (Box::new(Fill::pass(body, Arc::clone(ledger), cancellation.clone())), length)
    })
}

/// All of a stream that has ended.
fn ready(stream: &mut dyn Growing) -> io::Result<Pieces> {
    let wake: Wake = Arc::new(|| ());
    let mut pieces = Vec::new();
    loop {
        match stream.read_at_once(usize::MAX, &wake)? {
            Grown::Bytes(bytes) => pieces.push(bytes),
            Grown::End => return Ok(pieces.into_iter().collect()),
            Grown::Pending => return Err(io::ErrorKind::UnexpectedEof.into()),
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
