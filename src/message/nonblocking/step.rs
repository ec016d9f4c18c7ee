//! The next step of a request that is answered by a thread which never waits.

use std::sync::Arc;
use std::time::Instant;

use parking_lot::Mutex;

use crate::base::cancellation::Cancellation;
use crate::base::named::named;
use crate::message::body::{Driver, Wake};
use crate::message::url::CanonicalUrl;

/// What to do for a request.
pub(crate) enum Step<R> {
    /// Send this response. Its body is in memory, or can be read without waiting.
    Serve(R),
    /// Another thread works on it.
    Wait(Waiting<R>),
    /// Give the job to a thread that may wait, then wait.
    Fetch(Job, Waiting<R>),
    /// The job was dropped without a response: it panicked.
    Lost,
}

/// A request that waits. Dropping it means that its client has left.
pub(crate) struct Waiting<R> {
    /// Asks again; never waits. To be called when the request is woken, and at the latest at `until`.
    pub(crate) again: Box<dyn FnOnce() -> Step<R> + Send>,
    pub(crate) until: Option<Instant>,
    /// Whether it may be answered with something stale then, while the job goes on.
    pub(crate) is_soft: bool,
}

/// Work for a thread that may wait. Dropped without being run, it releases whoever counts on it.
pub(crate) struct Job {
    pub(crate) lane: Lane,
    /// Cancelled when nobody waits for it any more. A queued job is dropped then.
    pub(crate) cancellation: Cancellation,
    run: Box<dyn FnOnce(Turn) + Send>,
}

/// What a job waits for, which decides when it is run.
#[derive(Clone, Debug)]
pub(crate) enum Lane {
    /// An answer of this origin (`scheme://authority/`).
    Origin(CanonicalUrl),
    /// The same, for nobody in particular.
    Refresh(CanonicalUrl),
    /// The next bytes of a body whose transfer has begun, from this origin where that is known.
    Transfer(Option<CanonicalUrl>),
    /// Whatever a handler of one's own waits for.
    Handler,
    /// Other peers.
    Peers,
    /// A store that may block.
    Store,
    /// Nobody: it takes some time, and ends.
    Own,
}

/// From which origin the body of a response comes: an extension of responses that grow.
#[derive(Clone, Debug)]
pub(crate) struct BodyOf(pub(crate) CanonicalUrl);

/// Who has threads for jobs.
pub(crate) trait Spawn: Send + Sync {
    /// Takes a job, to run it soon. Never waits.
    ///
    /// # Errors
    ///
    /// The job, when it cannot be taken.
    fn spawn(&self, job: Job) -> Result<(), Job>;
}

/// How a job's turn comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Turn {
    /// On a thread of a pool, which also moves the body of the response on.
    Pool,
    /// On the thread of a caller who reads the body itself.
    Caller,
    /// Never, for this reason: the job answers without waiting.
    Refused(Refused),
}

named! {
    /// Why a job is not run.
    #[repr(usize)]
    pub(crate) enum Refused: pub(crate) ALL {
        /// Too many wait already.
        QueueFull = "queue_full",
        /// It has waited for too long.
        QueuedTooLong = "queued_too_long",
        /// There is no memory for it.
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

/// Makes what is called when it is worth asking again.
pub(crate) type Wakes<'a> = &'a dyn Fn() -> Wake;

impl Job {
    pub(crate) fn new(
        lane: Lane,
        cancellation: Cancellation,
        run: impl FnOnce(Turn) + Send + 'static,
    ) -> Self {
        Self { lane, cancellation, run: Box::new(run) }
    }

    /// Runs it, or has it answer without being run.
    pub(crate) fn take(self, turn: Turn) {
        (self.run)(turn);
    }
}

/// Where a job leaves its result for the one request that waits for it.
pub(crate) struct Slot<R>(Arc<Mutex<Content<R>>>);

/// What is found in a [`Slot`].
pub(crate) enum Content<R> {
    Empty,
    /// A result whose short body is still being collected: it is served as it is once this time has come.
    Early(R, Collecting<R>),
    Full(R),
    /// The job was dropped, or panicked.
    Lost,
}

/// What a job has made.
pub(crate) struct Made<R> {
    pub(crate) result: R,
    /// Moves the body of the response on where that has to be waited for.
    pub(crate) driver: Option<Driver>,
    /// Where the body is short and is to go out together with its head.
    pub(crate) collecting: Option<Collecting<R>>,
}

/// How a short body is collected while its driver moves it on.
pub(crate) struct Collecting<R> {
    /// The response waits for its body until then.
    pub(crate) until: Instant,
    /// The response with the body that is whole by now.
    pub(crate) whole: fn(R) -> R,
    /// Lets go of a response that nobody waits for.
    pub(crate) abandon: fn(R),
}

impl<R> From<R> for Made<R> {
    fn from(result: R) -> Self {
        Self { result, driver: None, collecting: None }
    }
}

impl<R> Slot<R> {
    /// An empty slot, and the promise to fill it, which wakes whoever waits for that.
    pub(crate) fn new(wake: Wake) -> (Self, Promise<R>) {
        let content = Arc::new(Mutex::new(Content::Empty));
        (Self(Arc::clone(&content)), Promise { content, wake })
    }

    /// Takes out what may be served now.
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

    /// When what is there may be served, where that is not now.
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

/// Marks a slot as lost unless the job has filled it.
pub(crate) struct Promise<R> {
    content: Arc<Mutex<Content<R>>>,
    wake: Wake,
}

impl<R> Promise<R> {
    /// Fills the slot and wakes the request. From then on the readers of the response's body decide whether its transfer
    /// goes on, which the driver does where that has to be waited for.
    pub(crate) fn keep(self, made: Made<R>) {
        let Made { result, driver, collecting } = made;
        let Some(collecting) = collecting else {
            *self.content.lock() = Content::Full(result);
            drop(self);
            return driver.into_iter().for_each(|driver| driver());
        };
        *self.content.lock() = Content::Early(result, collecting);
        // It has to know until when it waits.
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

/// A job for one request alone: cancelled when the request leaves before it has the result.
struct Alone<R> {
    slot: Slot<R>,
    cancellation: Cancellation,
    is_served: bool,
}

impl<R: Send + 'static> Alone<R> {
    fn again(mut self) -> Step<R> {
        let found = self.slot.take(Instant::now());
        self.is_served = !matches!(found, Content::Empty);
        match found {
            Content::Full(result) => Step::Serve(result),
            Content::Lost => Step::Lost,
            Content::Empty | Content::Early(..) => {
                Step::Wait(Waiting::new(self.slot.until(), move || self.again()))
            }
        }
    }
}

impl<R> Drop for Alone<R> {
    fn drop(&mut self) {
        if !self.is_served && self.slot.is_empty() {
            self.cancellation.cancel();
        }
    }
}

impl<R: Send + 'static> Step<R> {
    /// A job for one request. `work` makes the response.
    /// When the request leaves before it has the response, `cancellation` is cancelled.
    pub(crate) fn fetch(
        lane: Lane,
        cancellation: Cancellation,
        wake: Wake,
        work: impl FnOnce(Turn) -> Made<R> + Send + 'static,
    ) -> Self {
        let (slot, promise) = Slot::new(wake);
        let alone = Alone { slot, cancellation: cancellation.clone(), is_served: false };
        let job = Job::new(lane, cancellation, move |turn| promise.keep(work(turn)));
        Self::Fetch(job, Waiting::new(None, move || alone.again()))
    }

    /// The same with another response in the end.
    pub(crate) fn map<S: 'static>(self, change: impl FnOnce(R) -> S + Send + 'static) -> Step<S> {
        self.and_then(move |response| Step::Serve(change(response)))
    }

    /// The same, and with what it comes to another step.
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

    fn fetch(work: impl FnOnce(Turn) -> u32 + Send + 'static) -> (Step<u32>, Arc<AtomicUsize>, Cancellation) {
        let (woken, cancellation) = (Arc::new(AtomicUsize::new(0)), Cancellation::new());
        let counter = Arc::clone(&woken);
        let wake: Wake = Arc::new(move || {
            counter.fetch_add(1, Ordering::Relaxed);
        });
        let step = Step::fetch(Lane::Own, cancellation.clone(), wake, |turn| Made::from(work(turn)));
        (step.map(|result| result + 1), woken, cancellation)
    }

    #[test]
    fn a_job_leaves_its_result_for_the_request_that_waits() {
        let (step, woken, cancellation) = fetch(|turn| if turn == Turn::Pool { 1 } else { 2 });
        let Step::Fetch(job, waiting) = step else { panic!("a job") };
        let Step::Wait(waiting) = (waiting.again)() else { panic!("nothing is there yet") };
        job.take(Turn::Pool);
        assert_eq!(woken.load(Ordering::Relaxed), 1);
        assert!(matches!((waiting.again)(), Step::Serve(2)));
        assert!(!cancellation.is_cancelled());
    }

    #[test]
    fn a_job_is_lost_when_it_is_dropped_and_cancelled_when_its_request_leaves() {
        let (step, woken, _) = fetch(|_| 1);
        let Step::Fetch(job, waiting) = step else { panic!("a job") };
        drop(job);
        assert_eq!(woken.load(Ordering::Relaxed), 1);
        assert!(matches!((waiting.again)(), Step::Lost));

        let (step, _, cancellation) = fetch(|_| 1);
        let Step::Fetch(job, waiting) = step else { panic!("a job") };
        drop(waiting);
        assert!(cancellation.is_cancelled() && job.cancellation.is_cancelled());
    }
}
