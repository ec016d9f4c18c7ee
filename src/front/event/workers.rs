//! The fixed pool of threads that may wait, behind a bounded queue.

use std::io;
use std::panic::{self, AssertUnwindSafe};
use std::sync::Arc;
use std::thread;

use crossbeam_channel::{Receiver, Sender, TrySendError, bounded};
use http::{Method, Response, StatusCode};

use super::mailbox::{Address, Letter, Mailbox};
use crate::body::{Body, Driver};
use crate::digest::Digest;
use crate::error::Error;
use crate::fill::Fill;
use crate::front::answer::text;
use crate::front::response_head::is_bodiless;
use crate::front::serving::Lifetime;
use crate::protocol::{self, WantsDigest};

/// A body of known length up to this is read before its response is sent, so that both go out together, and
/// one that fails is still an honest 502. In bytes.
const COLLECTED: u64 = 64 << 10;

/// Something to do that may wait.
pub(super) enum Job {
    /// Answers a request.
    Answer { work: Box<dyn FnOnce() -> Response<Body> + Send>, reply_to: ReplyTo },
    /// Moves a body on.
    Drive(Driver),
}

/// Who gets the answer, and to what method.
pub(super) struct ReplyTo {
    pub(super) mailbox: Mailbox,
    pub(super) address: Address,
    pub(super) method: Method,
}

/// Where jobs are left.
#[derive(Clone)]
pub(super) struct Jobs {
    queue: Sender<Job>,
}

impl Jobs {
    /// The job back, where too many wait.
    pub(super) fn offer(&self, job: Job) -> Option<Job> {
        match self.queue.try_send(job) {
            Ok(()) => None,
            Err(TrySendError::Full(job) | TrySendError::Disconnected(job)) => Some(job),
        }
    }
}

/// Starts the workers. They end when all [`Jobs`] are gone and the queue is empty.
pub(super) fn start(workers: usize, queue_length: usize, lifetime: &Arc<Lifetime>) -> io::Result<Jobs> {
    let (queue, jobs) = bounded(queue_length);
    for number in 0..workers {
        let jobs: Receiver<Job> = jobs.clone();
        let (finishing, lifetime) = (lifetime.enter(), Arc::clone(lifetime));
        thread::Builder::new().name(format!("worker-{number}")).spawn(move || {
            for job in jobs {
                // Past the drain deadline nobody is there for what still waits.
                if !lifetime.is_over() {
                    do_job(job);
                }
            }
            drop(finishing);
        })?;
    }
    Ok(Jobs { queue })
}

fn do_job(job: Job) {
    let driver = match job {
        Job::Drive(driver) => Some(driver),
        Job::Answer { work, reply_to } => {
            let answered = panic::catch_unwind(AssertUnwindSafe(|| prepared(work(), &reply_to.method)));
            let (response, driver) = answered.unwrap_or_else(|_| {
                log::error!("the handler panicked; the request is answered with 500");
                (text(StatusCode::INTERNAL_SERVER_ERROR, "the handler failed"), None)
            });
            reply_to.mailbox.leave(Letter::Reply(reply_to.address, response));
            driver
        }
    };
    if let Some(driver) = driver
        && panic::catch_unwind(AssertUnwindSafe(driver)).is_err()
    {
        log::error!("a body panicked; its transfer is broken off");
    }
}

/// The response as a thread can send it that never waits, and the work of moving its body on.
fn prepared(response: Response<Body>, method: &Method) -> (Response<Body>, Option<Driver>) {
    let (mut parts, body) = response.into_parts();
    let wants_digest = parts.extensions.remove::<WantsDigest>().is_some();
    if body.as_bytes().is_some() {
        return (Response::from_parts(parts, body), None);
    }
    if is_bodiless(parts.status, method) {
        // Its length may still be told.
        let length = body.length();
        drop(body);
        return (Response::from_parts(parts, Body::from_reader(io::empty(), length)), None);
    }
    if body.length().is_some_and(|length| length <= COLLECTED) {
        let length = body.length();
        return match body.into_bytes_limited(COLLECTED) {
            Ok(bytes) if length == Some(bytes.len() as u64) => {
                if wants_digest && !bytes.is_empty() {
                    protocol::announce_digest(&mut parts.headers, Digest::of(&bytes));
                }
                (Response::from_parts(parts, Body::from(bytes)), None)
            }
            Ok(_) => (broken(&Error::from(io::Error::from(io::ErrorKind::UnexpectedEof))), None),
            Err(error) => (broken(&error), None),
        };
    }
    let (stream, length) = match body.into_growing() {
        Ok(growing) => growing,
        Err(body) => match Fill::pass(body).into_body().into_growing() {
            Ok(growing) => growing,
            Err(body) => return (Response::from_parts(parts, body), None),
        },
    };
    let driver = stream.driver();
    (Response::from_parts(parts, Body::from_growing(stream, length)), driver)
}

/// What is said where a response cannot be read, as long as nothing of it has been sent.
fn broken(error: &Error) -> Response<Body> {
    log::warn!("a response could not be read: {error}");
    let mut response = text(StatusCode::BAD_GATEWAY, "the response broke off");
    // Without it a client would take this for the origin's own answer.
    protocol::mark_failure(response.headers_mut(), error.kind());
    response
}
