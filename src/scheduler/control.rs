//! A pool for fetches, and two small ones for control.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::client::Client;
use super::fair_share::Purpose;
use super::limits::most_threads;
use super::pool::{Load, Pool, PoolOptions};
use crate::base::cancellation::Cancellation;
use crate::base::ledger::Ledger;
use crate::message::nonblocking::{Job, Lane, Spawn};
use crate::message::url::CanonicalUrl;

/// The threads of a control lane, and how many jobs may wait for one.
const CONTROL_THREADS: usize = 4;
const CONTROL_QUEUE: usize = 64;

/// What a fetch costs in memory: the buffers of its connection, with TLS, and the part of a stack that it touches.
const FETCH: u64 = 96 << 10;

/// A server with very little memory still fetches so much at a time.
const LEAST: usize = 4;

/// How long threads may take to end once their jobs are cancelled.
const ENDING: Duration = Duration::from_secs(1);

/// How many fetches of an origin the operator allows at a time. Called without any lock; must be quick.
pub(crate) type Cap = Box<dyn Fn(&CanonicalUrl) -> Option<usize> + Send + Sync>;

/// The threads of a server that may wait: a pool for fetches, and two small ones for control.
///
/// It has no thread before there is a job. Dropping it refuses what waits and cancels what runs.
pub(crate) struct Scheduler {
    fetches: Pool,
    peers: Pool,
    own: Pool,
    threads: usize,
    cap: Cap,
}

/// What it is doing.
#[derive(Debug)]
pub(crate) struct Numbers {
    /// How many threads for fetches there may be.
    pub(crate) threads: usize,
    pub(crate) fetches: Load,
    /// Jobs of the two control lanes that run, and that wait.
    pub(crate) control: (usize, usize),
}

impl Scheduler {
    /// Threads as the options say, but no more than the system has room for and a quarter of the memory pays for.
    pub(crate) fn new(options: &PoolOptions, ledger: &Arc<Ledger>, cap: Cap) -> Self {
        let paid = usize::try_from(ledger.limit() / 4 / FETCH).unwrap_or(usize::MAX).max(LEAST);
        let threads = options.max.min(paid).min(most_threads()).max(1);
        let control = |name| {
            let options =
                PoolOptions { name, max: CONTROL_THREADS, min: 0, queue: CONTROL_QUEUE, ..options.clone() };
            Pool::new(options, Arc::clone(ledger))
        };
        let (peers, own) = (control("peers"), control("control"));
        let fetches = Pool::new(PoolOptions { max: threads, ..options.clone() }, Arc::clone(ledger));
        Self { fetches, peers, own, threads, cap }
    }

    /// How many threads for fetches there may be.
    pub(crate) fn threads(&self) -> usize {
        self.threads
    }

    /// Has a thread run the job when it is its turn, or refuses it on this one: whoever waits for it is told in either
    /// case. Never waits. `client` is `None` for a peer of the pool, and for the cache itself.
    pub(crate) fn submit(&self, job: Job, client: Option<Client>) {
        let (pool, purpose) = match &job.lane {
            Lane::Origin(origin) => {
                (&self.fetches, Purpose::Fetch { origin: origin.clone(), cap: (self.cap)(origin) })
            }
            Lane::Refresh(origin) => {
                (&self.fetches, Purpose::Refresh { origin: origin.clone(), cap: (self.cap)(origin) })
            }
            Lane::Transfer(origin) => (&self.fetches, Purpose::Transfer { origin: origin.clone() }),
            Lane::Handler | Lane::Store => (&self.fetches, Purpose::Any),
            Lane::Peers => (&self.peers, Purpose::Any),
            Lane::Own => (&self.own, Purpose::Any),
        };
        pool.submit(job, purpose, client);
    }

    /// Refuses what has waited for too long. To be called now and then; never waits.
    pub(crate) fn tick(&self, now: Instant) {
        self.pools().for_each(|pool| pool.tick(now));
    }

    /// The job whose cancellation this is has turned out to be a stream, which may last.
    pub(crate) fn is_stream(&self, job: &Cancellation) {
        self.fetches.is_stream(job);
    }

    /// Drops refreshes from now on; everything else goes on.
    pub(crate) fn stop(&self) {
        self.fetches.stop();
    }

    /// Waits until nothing is left to do, and at most until then; refuses what still waits, cancels what still runs,
    /// and waits for the threads to end.
    pub(crate) fn finish(&self, until: Instant) {
        self.pools().for_each(|pool| pool.wait_until_idle(until));
        self.close();
        let until = Instant::now() + ENDING;
        let left: usize = self.pools().map(|pool| pool.wait_for_threads(until)).sum();
        if left > 0 {
            log::warn!("{left} threads are still at work");
        }
    }

    /// Refuses what waits, and cancels what runs.
    pub(crate) fn close(&self) {
        self.pools().for_each(Pool::close);
    }

    /// Whether a fetch has waited for more than half as long as it may. Never waits.
    pub(crate) fn is_behind(&self, now: Instant) -> bool {
        self.fetches.is_behind(now)
    }

    pub(crate) fn numbers(&self) -> Numbers {
        let now = Instant::now();
        let control = [&self.peers, &self.own].map(|pool| pool.load(now));
        Numbers {
            threads: self.threads,
            fetches: self.fetches.load(now),
            control: (
                control.iter().map(|load| load.running).sum(),
                control.iter().map(|load| load.queued).sum(),
            ),
        }
    }

    pub(super) fn pools(&self) -> impl Iterator<Item = &Pool> {
        [&self.fetches, &self.peers, &self.own].into_iter()
    }
}

impl Drop for Scheduler {
    fn drop(&mut self) {
        self.close();
    }
}

impl fmt::Debug for Scheduler {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Scheduler").field("threads", &self.threads).finish_non_exhaustive()
    }
}

/// Jobs of the cache itself.
impl Scheduler {
    /// Whether it still takes jobs of every kind.
    pub(crate) fn is_open(&self) -> bool {
        self.fetches.is_open()
    }
}

impl Spawn for Scheduler {
    fn spawn(&self, job: Job) -> Result<(), Job> {
        self.submit(job, None);
        Ok(())
    }
}
