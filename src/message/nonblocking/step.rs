//! The next step of a request on a thread that must not wait.

use std::sync::Arc;
use std::time::Instant;

use parking_lot::Mutex;

use super::ask::Ask;
use crate::base::cancellation::Cancellation;
use crate::base::named::named;
use crate::message::body::{Driver, Wake};
use crate::message::url::CanonicalUrl;

/// The next step of a request.
pub(crate) enum Step<R> {
    /// Send this response. Its body is in memory or can be read without waiting.
    Serve(R),
    /// Wait: another thread works on the response.
    Wait(Waiting<R>),
    /// Hand the job to a thread that may block, then wait.
    Fetch(Job, Waiting<R>),
    /// The job ended without a response because it panicked or was dropped.
    Lost,
}

/// A waiting request. Dropping it means that the client has left.
pub(crate) struct Waiting<R> {
    /// Returns the next step without waiting. To be called when the request is woken, and at `until` at the latest.
    pub(crate) again: Box<dyn FnOnce() -> Step<R> + Send>,
    pub(crate) until: Option<Instant>,
    /// Whether `until` is a soft deadline: a stale response may be served then while the job continues.
    pub(crate) is_soft: bool,
}

/// Work for a thread that may block. Dropping it without running it releases all requests that wait for it.
pub(crate) struct Job {
    pub(crate) lane: Lane,
    /// Cancelled when no request waits for the job any more. A queued job is dropped then.
    pub(crate) cancellation: Cancellation,
    /// What an event loop may try before it hands the job to a thread.
    pub(crate) ask: Option<Box<Ask>>,
    run: Box<dyn FnOnce(RunMode) + Send>,
}

/// The resource that a job waits for. It decides when the job may run.
#[derive(Clone, Debug)]
pub(crate) enum Lane {
    /// A response from this origin (`scheme://authority/`).
    Origin(CanonicalUrl),
    /// A response from this origin for a background refresh.
    Refresh(CanonicalUrl),
    /// The next bytes of a body in transit, from this origin if it is known.
    Transfer(Option<CanonicalUrl>),
    /// A response from another peer, on behalf of a client that asks this peer for a URL of this origin.
    Gateway(CanonicalUrl),
    /// Whatever a custom handler waits for.
    Handler,
    /// Other peers.
    Peers,
    /// A store that may block.
    Store,
    /// No external resource: the job takes some time and ends.
    Own,
}

/// The origin that a growing body comes from: an extension of responses.
#[derive(Clone, Debug)]
pub(crate) struct BodyOrigin(pub(crate) CanonicalUrl);

/// Runs jobs on its own threads.
pub(crate) trait Spawn: Send + Sync {
    /// Accepts a job and runs it soon. Never waits.
    ///
    /// # Errors
    ///
    /// Returns the job if it cannot be accepted.
    fn spawn(&self, job: Job) -> Result<(), Job>;
}

/// How a job is run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RunMode {
    /// On a worker thread, which also fills the body of the response.
    Worker,
    /// On the thread of a caller that reads the body itself.
    Caller,
    /// Not at all, for this reason: the job produces its response without waiting.
    Refused(Refused),
}

named! {
    /// The reason for not running a job.
    #[repr(usize)]
    pub(crate) enum Refused: pub(crate) ALL {
        /// The queue is full.
        QueueFull = "queue_full",
        /// The job waited in the queue for too long.
        QueuedTooLong = "queued_too_long",
        /// The memory limit is reached.
        NoMemory = "no_memory",
        /// The server is shutting down.
        ShuttingDown = "shutting_down",
    }
}

impl Refused {
    pub(crate) const fn reason(self) -> &'static str {
        match self {
            Self::QueueFull => "too many requests are waiting",
            Self::QueuedTooLong => "the request waited for too long",
            Self::NoMemory => "the memory limit is reached",
            Self::ShuttingDown => "the server is shutting down",
        }
    }
}

/// Creates a callback that tells a request to continue.
pub(crate) type Wakes<'a> = &'a dyn Fn() -> Wake;

impl Job {
    pub(crate) fn new(
        lane: Lane,
        cancellation: Cancellation,
        run: impl FnOnce(RunMode) + Send + 'static,
    ) -> Self {
        Self { lane, cancellation, ask: None, run: Box::new(run) }
    }

    /// Runs the job, or lets it produce a response without running if `mode` is `Refused`.
    pub(crate) fn take(self, mode: RunMode) {
        (self.run)(mode);
    }
}

/// Holds the result of a job for the one request that waits for it.
pub(crate) struct Slot<R>(Arc<Mutex<Content<R>>>);

/// The content of a [`Slot`].
pub(crate) enum Content<R> {
    Empty,
    /// A result whose short body is still being collected. It is served incomplete when its time is over.
    Early(R, Collecting<R>),
    Full(R),
    /// The job was dropped or panicked.
    Lost,
}

/// The result of a job.
pub(crate) struct JobResult<R> {
    pub(crate) result: R,
    /// Fills the body of the response, if that requires waiting.
    pub(crate) driver: Option<Driver>,
    /// Present if the body is short and should be sent together with the head.
    pub(crate) collecting: Option<Collecting<R>>,
}

/// How to collect a short body while its driver fills it.
pub(crate) struct Collecting<R> {
    /// The time until which the response waits for its body.
    pub(crate) until: Instant,
    /// Returns the response with its complete body. Called once the driver has finished.
    pub(crate) whole: fn(R) -> R,
    /// Releases a response that no request waits for any more.
    pub(crate) abandon: fn(R),
}

impl<R> From<R> for JobResult<R> {
    fn from(result: R) -> Self {
        Self { result, driver: None, collecting: None }
    }
}

impl<R> Slot<R> {
    /// Creates an empty slot, and the promise to fill it. The promise calls `wake` when the slot changes.
    pub(crate) fn new(wake: Wake) -> (Self, Promise<R>) {
        let content = Arc::new(Mutex::new(Content::Empty));
        (Self(Arc::clone(&content)), Promise { content, wake })
    }

    /// Takes the content that may be served at `now`.
    pub(crate) fn take(&self, now: Instant) -> Content<R> {
        let mut content = self.0.lock();
        match std::mem::replace(&mut *content, Content::Empty) {
            Content::Early(result, collecting) if now < collecting.until => {
                *content = Content::Early(result, collecting);
                Content::Empty
            }
            Content::Early(result, _) => Content::Full(result),
            found => found,
        }
    }

    /// Returns when the content may be served, if that is later.
    pub(crate) fn until(&self) -> Option<Instant> {
        match &*self.0.lock() {
            Content::Early(_, collecting) => Some(collecting.until),
            _ => None,
        }
    }

    fn is_empty(&self) -> bool {
        matches!(*self.0.lock(), Content::Empty)
    }
}

impl<R> Drop for Slot<R> {
    fn drop(&mut self) {
        if let Some((result, collecting)) = take_early(&self.0) {
            (collecting.abandon)(result);
        }
    }
}

fn take_early<R>(content: &Mutex<Content<R>>) -> Option<(R, Collecting<R>)> {
    let mut content = content.lock();
    match std::mem::replace(&mut *content, Content::Empty) {
        Content::Early(result, collecting) => Some((result, collecting)),
        found => {
            *content = found;
            None
        }
    }
}

/// The job's side of a slot. Dropping an unfulfilled promise marks the slot as lost.
pub(crate) struct Promise<R> {
    content: Arc<Mutex<Content<R>>>,
    wake: Wake,
}

impl<R> Promise<R> {
    /// Whether a request still waits for the result.
    #[cfg_attr(not(feature = "peer"), allow(dead_code))]
    pub(crate) fn is_awaited(&self) -> bool {
        Arc::strong_count(&self.content) > 1
    }

    /// Fills the slot and wakes the request, then runs the driver if there is one. The readers of the body decide
    /// from then on whether its transfer continues.
    pub(crate) fn keep(self, made: JobResult<R>) {
        let JobResult { result, driver, collecting } = made;
        let Some(collecting) = collecting else {
            *self.content.lock() = Content::Full(result);
            drop(self);
            return driver.into_iter().for_each(|driver| driver());
        };
        *self.content.lock() = Content::Early(result, collecting);
        // Wakes the request so that it learns until when it has to wait for the body.
        (self.wake)();
        driver.into_iter().for_each(|driver| driver());
        if let Some((result, collecting)) = take_early(&self.content) {
            let result = (collecting.whole)(result);
            *self.content.lock() = Content::Full(result);
        }
    }
}

impl<R> Drop for Promise<R> {
    fn drop(&mut self) {
        let mut content = self.content.lock();
        if matches!(*content, Content::Empty) {
            *content = Content::Lost;
        }
        drop(content);
        (self.wake)();
    }
}

/// The wait of a single request for its job. Dropping it before the result is taken cancels the job.
struct SingleWait<R> {
    slot: Slot<R>,
    cancellation: Cancellation,
    is_served: bool,
}

impl<R: Send + 'static> SingleWait<R> {
    fn next_step(mut self) -> Step<R> {
        let found = self.slot.take(Instant::now());
        self.is_served = !matches!(found, Content::Empty);
        match found {
            Content::Full(result) => Step::Serve(result),
            Content::Lost => Step::Lost,
            Content::Empty | Content::Early(..) => {
                Step::Wait(Waiting::new(self.slot.until(), move || self.next_step()))
            }
        }
    }
}

impl<R> Drop for SingleWait<R> {
    fn drop(&mut self) {
        if !self.is_served && self.slot.is_empty() {
            self.cancellation.cancel();
        }
    }
}

impl<R: Send + 'static> Step<R> {
    /// Creates a job for a single request; `work` makes the response. If the request ends before it has the response,
    /// `cancellation` is cancelled.
    pub(crate) fn fetch(
        lane: Lane,
        cancellation: Cancellation,
        wake: Wake,
        work: impl FnOnce(RunMode) -> JobResult<R> + Send + 'static,
    ) -> Self {
        let (slot, promise) = Slot::new(wake);
        let wait = SingleWait { slot, cancellation: cancellation.clone(), is_served: false };
        let job = Job::new(lane, cancellation, move |mode| promise.keep(work(mode)));
        Self::Fetch(job, Waiting::new(None, move || wait.next_step()))
    }

    /// Adds a request that may replace the job.
    pub(crate) fn with_ask(mut self, ask: Option<Box<Ask>>) -> Self {
        if let Self::Fetch(job, _) = &mut self {
            job.ask = ask;
        }
        self
    }

    /// Applies `change` to the response when it is there.
    pub(crate) fn map<S: 'static>(self, change: impl FnOnce(R) -> S + Send + 'static) -> Step<S> {
        self.and_then(move |response| Step::Serve(change(response)))
    }

    /// Continues with the step that `then` returns for the response when it is there.
    pub(crate) fn and_then<S: 'static>(self, then: impl FnOnce(R) -> Step<S> + Send + 'static) -> Step<S> {
        match self {
            Self::Serve(response) => then(response),
            Self::Wait(waiting) => Step::Wait(waiting.and_then(then)),
            Self::Fetch(job, waiting) => Step::Fetch(job, waiting.and_then(then)),
            Self::Lost => Step::Lost,
        }
    }
}

impl<R: Send + 'static> Waiting<R> {
    pub(crate) fn new(until: Option<Instant>, again: impl FnOnce() -> Step<R> + Send + 'static) -> Self {
        Self { again: Box::new(again), until, is_soft: false }
    }

    fn and_then<S: 'static>(self, then: impl FnOnce(R) -> Step<S> + Send + 'static) -> Waiting<S> {
        let Self { again, until, is_soft } = self;
        Waiting { again: Box::new(move || again().and_then(then)), until, is_soft }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    fn fetch(
        work: impl FnOnce(RunMode) -> u32 + Send + 'static,
    ) -> (Step<u32>, Arc<AtomicUsize>, Cancellation) {
        let (woken, cancellation) = (Arc::new(AtomicUsize::new(0)), Cancellation::new());
        let counter = Arc::clone(&woken);
        let wake: Wake = Arc::new(move || {
            counter.fetch_add(1, Ordering::Relaxed);
        });
        let step = Step::fetch(Lane::Own, cancellation.clone(), wake, |mode| JobResult::from(work(mode)));
        (step.map(|result| result + 1), woken, cancellation)
    }

    #[test]
    fn job_leaves_its_result_for_the_waiting_request() {
        let (step, woken, cancellation) = fetch(|mode| if mode == RunMode::Worker { 1 } else { 2 });
        let Step::Fetch(job, waiting) = step else { panic!("expected a job") };
        let Step::Wait(waiting) = (waiting.again)() else { panic!("the result is not there yet") };
        job.take(RunMode::Worker);
        assert_eq!(woken.load(Ordering::Relaxed), 1);
        assert!(matches!((waiting.again)(), Step::Serve(2)));
        assert!(!cancellation.is_cancelled());
    }

    #[test]
    fn dropped_job_is_lost_and_dropped_request_cancels_its_job() {
        let (step, woken, _) = fetch(|_| 1);
        let Step::Fetch(job, waiting) = step else { panic!("expected a job") };
        drop(job);
        assert_eq!(woken.load(Ordering::Relaxed), 1);
        assert!(matches!((waiting.again)(), Step::Lost));

        let (step, _, cancellation) = fetch(|_| 1);
        let Step::Fetch(job, waiting) = step else { panic!("expected a job") };
        drop(waiting);
        assert!(cancellation.is_cancelled() && job.cancellation.is_cancelled());
    }
}
