//! Dispatches jobs to four pools: one for fetches, one for requests to other peers, and two small ones
//! for control.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::client::ClientAddress;
use super::fair_share::Purpose;
use super::limits::max_threads;
use super::pool::{Load, Pool, PoolOptions};
use crate::base::cancellation::Cancellation;
use crate::base::memory_limit::Ledger;
use crate::message::nonblocking::{Job, Lane, Spawn};
use crate::message::url::CanonicalUrl;

/// The number of threads of each control pool, and the number of jobs that may wait for one.
const CONTROL_THREADS: usize = 4;
const CONTROL_QUEUE: usize = 64;

/// The memory of one fetch in bytes: the buffers of its connection, with TLS, and the used part of a stack.
const FETCH_MEMORY: u64 = 96 << 10;

/// The number of concurrent fetches that are always allowed, even with very little memory.
const MIN_FETCHES: usize = 4;

/// How long threads may take to end after their jobs are cancelled.
const SHUTDOWN_TIME: Duration = Duration::from_secs(1);

/// Returns the operator's limit of concurrent fetches from an origin. It is called without a lock and must be quick.
pub(crate) type Cap = Box<dyn Fn(&CanonicalUrl) -> Option<usize> + Send + Sync>;

/// The threads of a server that may block: a pool for fetches, one for requests to other peers, and two small pools for
/// control.
///
/// Threads start on demand. Dropping the scheduler refuses queued jobs and cancels running ones.
pub(crate) struct Scheduler {
    fetches: Pool,
    gateway: Pool,
    peers: Pool,
    own: Pool,
    threads: usize,
    cap: Cap,
}

/// The present load of a scheduler.
#[derive(Debug)]
pub(crate) struct SchedulerLoad {
    /// The greatest number of threads for fetches.
    pub(crate) threads: usize,
    pub(crate) fetches: Load,
    /// The numbers of running and of queued requests to other peers.
    pub(crate) gateway: (usize, usize),
    /// The numbers of running and of queued jobs in the two control pools.
    pub(crate) control: (usize, usize),
}

impl Scheduler {
    /// Creates a scheduler. The options limit its threads, and so do the system's limits and a quarter of the memory
    /// limit.
    pub(crate) fn new(options: &PoolOptions, ledger: &Arc<Ledger>, cap: Cap) -> Self {
        let affordable =
            usize::try_from(ledger.limit() / 4 / FETCH_MEMORY).unwrap_or(usize::MAX).max(MIN_FETCHES);
        let threads = options.max.min(affordable).min(max_threads()).max(1);
        let control = |name| {
            let options =
                PoolOptions { name, max: CONTROL_THREADS, min: 0, queue: CONTROL_QUEUE, ..options.clone() };
            Pool::new(options, Arc::clone(ledger))
        };
        let (peers, own) = (control("peers"), control("control"));
        let fetches = Pool::new(PoolOptions { max: threads, ..options.clone() }, Arc::clone(ledger));
        let forwarding = PoolOptions { name: "gateway", max: threads.div_ceil(2), min: 0, ..options.clone() };
        let gateway = Pool::new(forwarding, Arc::clone(ledger));
        Self { fetches, gateway, peers, own, threads, cap }
    }

    /// Returns the greatest number of threads for fetches.
    pub(crate) fn threads(&self) -> usize {
        self.threads
    }

    /// Runs the job on a thread of the pool when its turn comes, or refuses it on the present thread. The job learns
    /// which. Never blocks. `client` is `None` for a peer of the pool and for the cache itself.
    pub(crate) fn submit(&self, job: Job, client: Option<ClientAddress>) {
        let (pool, purpose) = match &job.lane {
            Lane::Origin(origin) => {
                (&self.fetches, Purpose::Fetch { origin: origin.clone(), cap: (self.cap)(origin) })
            }
            Lane::Refresh(origin) => {
                (&self.fetches, Purpose::Refresh { origin: origin.clone(), cap: (self.cap)(origin) })
            }
            // The owner applies the operator's limit.
            Lane::Gateway(origin) => (&self.gateway, Purpose::Fetch { origin: origin.clone(), cap: None }),
            Lane::Transfer(origin) => (&self.fetches, Purpose::Transfer { origin: origin.clone() }),
            Lane::Handler | Lane::Store => (&self.fetches, Purpose::Any),
            Lane::Peers => (&self.peers, Purpose::Any),
            Lane::Own => (&self.own, Purpose::Any),
        };
        pool.submit(job, purpose, client);
    }

    /// Refuses jobs that have waited for too long. The server must call this regularly. Never blocks.
    pub(crate) fn tick(&self, now: Instant) {
        self.pools().for_each(|pool| pool.tick(now));
    }

    /// Counts the job with this cancellation as a stream, which may run for a long time.
    pub(crate) fn is_stream(&self, job: &Cancellation) {
        self.fetches.mark_stream(job);
        self.gateway.mark_stream(job);
    }

    /// Drops queued and future refreshes. All other jobs continue.
    pub(crate) fn stop(&self) {
        self.fetches.stop();
    }

    /// Shuts down: waits until no job is left or `until` has passed, refuses queued jobs, cancels running jobs, and
    /// waits for the threads to end.
    pub(crate) fn finish(&self, until: Instant) {
        self.pools().for_each(|pool| pool.wait_until_idle(until));
        self.close();
        let until = Instant::now() + SHUTDOWN_TIME;
        let remaining: usize = self.pools().map(|pool| pool.wait_for_threads(until)).sum();
        if remaining > 0 {
            log::warn!("{remaining} threads are still running after shutdown");
        }
    }

    /// Refuses queued jobs and cancels running ones.
    pub(crate) fn close(&self) {
        self.pools().for_each(Pool::close);
    }

    /// Returns whether a fetch has waited for more than half of the time limit for waiting. Never blocks.
    pub(crate) fn is_behind(&self, now: Instant) -> bool {
        self.fetches.is_behind(now)
    }

    pub(crate) fn load(&self) -> SchedulerLoad {
        let now = Instant::now();
        let control = [&self.peers, &self.own].map(|pool| pool.load(now));
        let gateway = self.gateway.load(now);
        SchedulerLoad {
            threads: self.threads,
            fetches: self.fetches.load(now),
            gateway: (gateway.running, gateway.queued),
            control: (
                control.iter().map(|load| load.running).sum(),
                control.iter().map(|load| load.queued).sum(),
            ),
        }
    }

    pub(super) fn pools(&self) -> impl Iterator<Item = &Pool> {
        [&self.fetches, &self.gateway, &self.peers, &self.own].into_iter()
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

/// For the jobs of the cache itself.
impl Scheduler {
    /// Returns whether the scheduler still accepts all kinds of jobs.
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
