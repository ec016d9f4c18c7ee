//! The next step of a request that is answered by a thread which never waits.

use std::sync::Arc;
use std::time::Instant;

use parking_lot::Mutex;

use crate::body::{Driver, Wake};
use crate::cancellation::{CancelOnDrop, Cancellation};
use crate::target::Target;

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
    Origin(Target),
    /// The same, for nobody in particular.
    Refresh(Target),
    /// The next bytes of a body whose transfer has begun.
    Transfer,
    /// Whatever a handler of one's own waits for.
    Handler,
    /// Other peers.
    Peers,
    /// Nobody: it takes some time, and ends.
    Own,
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

/// Why a job is not run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(usize)]
pub(crate) enum Refused {
    /// Too many wait already.
    QueueFull,
    /// It has waited for too long.
    QueuedTooLong,
    /// There is no memory for it.
    NoMemory,
    /// The server is shutting down.
    ShuttingDown,
}

impl Refused {
    pub(crate) const ALL: [Self; 4] =
        [Self::QueueFull, Self::QueuedTooLong, Self::NoMemory, Self::ShuttingDown];

    /// Its name in metrics.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::QueueFull => "queue_full",
            Self::QueuedTooLong => "queued_too_long",
            Self::NoMemory => "no_memory",
            Self::ShuttingDown => "shutting_down",
        }
    }

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
enum Slot<R> {
    Empty,
    Full(R),
    /// The job was dropped, or panicked.
    Lost,
}

/// Marks the slot as lost unless the job has filled it.
struct Promise<R> {
    slot: Arc<Mutex<Slot<R>>>,
    wake: Wake,
}

impl<R> Promise<R> {
    fn fill(&self, result: R) {
        *self.slot.lock() = Slot::Full(result);
        (self.wake)();
    }
}

impl<R> Drop for Promise<R> {
    fn drop(&mut self) {
        let mut slot = self.slot.lock();
        let is_lost = matches!(*slot, Slot::Empty);
        if is_lost {
            *slot = Slot::Lost;
        }
        drop(slot);
        if is_lost {
            (self.wake)();
        }
    }
}

impl<R: Send + 'static> Step<R> {
    /// A job for one request. `work` gives the response, and what moves its body on where that has to be waited for.
    /// When the request leaves before it has the response, `cancellation` is cancelled.
    pub(crate) fn fetch(
        lane: Lane,
        cancellation: Cancellation,
        wake: Wake,
        work: impl FnOnce(Turn) -> (R, Option<Driver>) + Send + 'static,
    ) -> Self {
        let slot = Arc::new(Mutex::new(Slot::Empty));
        let promise = Promise { slot: Arc::clone(&slot), wake };
        let interest = CancelOnDrop::new(cancellation.clone());
        let job = Job::new(lane, cancellation, move |turn| {
            let (result, driver) = work(turn);
            // From here on the readers of the body decide whether it goes on.
            promise.fill(result);
            drop(promise);
            if let Some(driver) = driver {
                driver();
            }
        });
        Self::Fetch(job, Waiting { again: Box::new(move || again(slot, interest)), until: None })
    }

    /// The same with another response in the end.
    pub(crate) fn map<S: 'static>(self, change: impl Fn(R) -> S + Send + 'static) -> Step<S> {
        match self {
            Self::Serve(response) => Step::Serve(change(response)),
            Self::Wait(waiting) => Step::Wait(waiting.map(change)),
            Self::Fetch(job, waiting) => Step::Fetch(job, waiting.map(change)),
            Self::Lost => Step::Lost,
        }
    }
}

fn again<R: Send + 'static>(slot: Arc<Mutex<Slot<R>>>, interest: CancelOnDrop) -> Step<R> {
    let found = std::mem::replace(&mut *slot.lock(), Slot::Empty);
    match found {
        Slot::Full(result) => {
            interest.disarm();
            Step::Serve(result)
        }
        Slot::Lost => Step::Lost,
        Slot::Empty => Step::Wait(Waiting { again: Box::new(move || again(slot, interest)), until: None }),
    }
}

impl<R: Send + 'static> Waiting<R> {
    fn map<S: 'static>(self, change: impl Fn(R) -> S + Send + 'static) -> Waiting<S> {
        let (again, until) = (self.again, self.until);
        Waiting { again: Box::new(move || again().map(change)), until }
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
        let step = Step::fetch(Lane::Own, cancellation.clone(), wake, |turn| (work(turn), None));
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
