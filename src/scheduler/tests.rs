use std::sync::Arc;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, unbounded};

use super::{ClientAddress, PoolOptions, Scheduler};
use crate::base::cancellation::Cancellation;
use crate::base::memory_limit::Ledger;
use crate::message::nonblocking::{Job, Lane, Refused, RunMode};
use crate::message::url::CanonicalUrl;

/// The time limit for each step of a test.
const TIMEOUT: Duration = Duration::from_secs(20);

fn scheduler(options: &PoolOptions) -> Scheduler {
    Scheduler::new(options, &Ledger::new(u64::MAX), Box::new(|_| None))
}

fn threads(max: usize) -> PoolOptions {
    PoolOptions { max, ..PoolOptions::default() }
}

fn origin(name: &str) -> Lane {
    Lane::Origin(CanonicalUrl::parse(&format!("http://{name}/")).unwrap())
}

fn client(number: u8) -> Option<ClientAddress> {
    Some(ClientAddress::of([127, 0, 0, number].into()))
}

/// Creates jobs that report how they were called. Long jobs occupy a thread until `release`.
struct Jobs {
    reporter: Sender<(u32, RunMode)>,
    reports: Receiver<(u32, RunMode)>,
    hold: Option<Sender<()>>,
    held: Receiver<()>,
}

impl Jobs {
    fn new() -> Self {
        let ((reporter, reports), (hold, held)) = (unbounded(), unbounded());
        Self { reporter, reports, hold: Some(hold), held }
    }

    /// Creates a job that ends at once.
    fn quick(&self, number: u32, lane: Lane) -> Job {
        let reporter = self.reporter.clone();
        Job::new(lane, Cancellation::new(), move |mode| reporter.send((number, mode)).unwrap())
    }

    /// Creates a job that runs until it is released or cancelled.
    fn long(&self, number: u32, lane: Lane) -> Job {
        let (reporter, held, cancellation) = (self.reporter.clone(), self.held.clone(), Cancellation::new());
        let token = cancellation.clone();
        Job::new(lane, cancellation, move |mode| {
            reporter.send((number, mode)).unwrap();
            if mode != RunMode::Worker {
                return;
            }
            let (cancel, cancelled) = unbounded::<()>();
            let hook = token.on_cancel(move || drop(cancel));
            crossbeam_channel::select! {
                recv(held) -> _ => {}
                recv(cancelled) -> _ => {}
                default(TIMEOUT) => panic!("the job was not released in time"),
            }
            drop(hook);
        })
    }

    fn next(&self) -> (u32, RunMode) {
        self.reports.recv_timeout(TIMEOUT).expect("a job was called")
    }

    fn release(&mut self) {
        self.hold = None;
    }
}

#[test]
fn threads_start_on_demand_and_end_when_idle() {
    let pool = scheduler(&PoolOptions { idle: Duration::from_millis(5), ..threads(64) });
    let mut jobs = Jobs::new();
    for number in 0..20 {
        pool.submit(jobs.long(number, origin("a")), client(1));
    }
    for _ in 0..20 {
        assert_eq!(jobs.next().1, RunMode::Worker);
    }
    assert_eq!(pool.load().fetches.running, 20);
    jobs.release();
    let until = Instant::now() + TIMEOUT;
    assert_eq!(pool.pools().map(|pool| pool.wait_for_threads(until)).sum::<usize>(), 0);
    pool.submit(jobs.quick(99, origin("a")), client(1));
    assert_eq!(jobs.next(), (99, RunMode::Worker));
}

#[test]
fn a_panic_ends_a_job_but_not_its_thread() {
    let (pool, jobs) = (scheduler(&threads(1)), Jobs::new());
    pool.submit(Job::new(origin("a"), Cancellation::new(), |_| panic!("this job panics on purpose")), None);
    pool.submit(jobs.quick(1, origin("a")), None);
    assert_eq!(jobs.next(), (1, RunMode::Worker));
}

#[test]
fn a_client_with_unresponsive_origins_leaves_threads_for_others() {
    let (pool, jobs) = (scheduler(&threads(64)), Jobs::new());
    for number in 0..1000 {
        pool.submit(jobs.long(number, origin(&format!("silent-{}", number % 20))), client(1));
    }
    let quick = |number, name: &str, by| {
        pool.submit(jobs.quick(number, origin(name)), client(by));
        while jobs.next() != (number, RunMode::Worker) {}
    };
    quick(2001, "another", 2);
    quick(2002, "silent-3", 2);
}

#[test]
fn resumed_transfers_of_one_client_leave_threads_for_others() {
    let (pool, jobs) = (scheduler(&threads(64)), Jobs::new());
    let transfer = |name: &str| Lane::Transfer(CanonicalUrl::parse(&format!("http://{name}/")).ok());
    for number in 0..900 {
        pool.submit(jobs.long(number, transfer(&format!("silent-{}", number % 20))), client(1));
    }
    pool.submit(jobs.quick(2001, transfer("another")), client(2));
    while jobs.next() != (2001, RunMode::Worker) {}
    pool.submit(jobs.quick(2002, transfer("silent-3")), client(2));
    while jobs.next() != (2002, RunMode::Worker) {}
}

#[test]
fn one_client_cannot_block_an_origin_for_others() {
    let (pool, jobs) = (scheduler(&PoolOptions { queue: 64, ..threads(64) }), Jobs::new());
    for number in 0..200 {
        pool.submit(jobs.long(number, origin("x")), client(1));
    }
    let numbers = pool.load().fetches;
    assert_eq!((numbers.running, numbers.queued), (32, 16), "a quarter of the queue is for this client");
    pool.submit(jobs.quick(2001, origin("x")), client(2));
    while jobs.next() != (2001, RunMode::Worker) {}
}

#[test]
fn a_queued_job_starts_when_another_ends_or_becomes_a_stream() {
    let (pool, mut jobs) = (scheduler(&threads(2)), Jobs::new());
    let stream = jobs.long(0, origin("a"));
    let cancellation = stream.cancellation.clone();
    pool.submit(stream, None);
    assert_eq!(jobs.next(), (0, RunMode::Worker));
    pool.submit(jobs.long(1, origin("a")), None);
    pool.submit(jobs.quick(2, origin("a")), None);
    assert!(jobs.reports.is_empty());
    pool.is_stream(&cancellation);
    assert_eq!(jobs.next(), (1, RunMode::Worker));
    jobs.release();
    assert_eq!(jobs.next(), (2, RunMode::Worker));
}

#[test]
fn purges_and_explanations_do_not_wait_for_origins_or_other_peers() {
    let (pool, jobs) = (scheduler(&threads(4)), Jobs::new());
    for number in 0..20 {
        pool.submit(jobs.long(number, Lane::Peers), None);
        pool.submit(jobs.long(100 + number, origin("silent")), None);
    }
    pool.submit(jobs.quick(1000, Lane::Own), None);
    while jobs.next() != (1000, RunMode::Worker) {}
}

#[test]
fn a_full_queue_drops_abandoned_jobs_before_it_refuses_new_ones() {
    let (pool, mut jobs) = (scheduler(&PoolOptions { queue: 2, ..threads(2) }), Jobs::new());
    pool.submit(jobs.long(0, origin("a")), client(1));
    assert_eq!(jobs.next(), (0, RunMode::Worker));
    let left = jobs.quick(1, origin("a"));
    let cancellation = left.cancellation.clone();
    pool.submit(left, client(1));
    pool.submit(jobs.quick(2, origin("a")), client(1));
    assert_eq!(
        jobs.next(),
        (2, RunMode::Refused(Refused::QueueFull)),
        "one origin may fill half of the queue"
    );
    cancellation.cancel();
    pool.submit(jobs.quick(7, origin("a")), client(1));
    assert_eq!(jobs.next(), (7, RunMode::Refused(Refused::QueueFull)), "the queue is searched once a tick");
    pool.tick(Instant::now());
    pool.submit(jobs.quick(3, origin("a")), client(1));
    pool.submit(jobs.long(4, origin("b")), client(2));
    assert_eq!(jobs.next(), (4, RunMode::Worker));
    pool.submit(jobs.quick(5, origin("c")), client(3));
    pool.submit(jobs.quick(6, origin("d")), client(3));
    assert_eq!(jobs.next(), (6, RunMode::Refused(Refused::QueueFull)));
    assert_eq!(pool.load().fetches.refused[Refused::QueueFull as usize], 3);
    jobs.release();
    let mut rest = [jobs.next().0, jobs.next().0];
    rest.sort_unstable();
    assert_eq!(rest, [3, 5]);
}

#[test]
fn a_job_that_waits_for_too_long_is_refused() {
    let (pool, jobs) = (scheduler(&threads(1)), Jobs::new());
    pool.submit(jobs.long(0, origin("a")), None);
    assert_eq!(jobs.next(), (0, RunMode::Worker));
    pool.submit(jobs.quick(1, origin("a")), None);
    let (now, numbers) = (Instant::now(), pool.load());
    assert_eq!((numbers.fetches.queued, numbers.fetches.longest[0].1), (1, 1));
    pool.tick(now);
    assert!(jobs.reports.is_empty());
    pool.tick(now + Duration::from_secs(10));
    assert_eq!(jobs.next(), (1, RunMode::Refused(Refused::QueuedTooLong)));
}

#[test]
fn a_fetch_that_takes_a_minute_no_longer_limits_its_origin() {
    let (pool, jobs) = (scheduler(&threads(4)), Jobs::new());
    for number in 0..2_u8 {
        pool.submit(jobs.long(number.into(), origin("a")), client(number));
        assert_eq!(jobs.next().1, RunMode::Worker);
    }
    pool.submit(jobs.quick(9, origin("a")), None);
    pool.tick(Instant::now() + Duration::from_secs(61));
    // Job 9 may also have waited for too long by then, so a new job follows.
    assert_eq!(jobs.next().0, 9);
    pool.submit(jobs.quick(10, origin("a")), None);
    assert_eq!(jobs.next(), (10, RunMode::Worker));
    assert_eq!(pool.load().fetches.streams, 2);
}

#[test]
fn a_job_of_a_disconnected_client_does_not_run() {
    let (pool, mut jobs) = (scheduler(&threads(1)), Jobs::new());
    pool.submit(jobs.long(0, origin("a")), None);
    let left = jobs.quick(1, origin("a"));
    left.cancellation.cancel();
    pool.submit(left, None);
    pool.submit(jobs.quick(2, origin("a")), None);
    jobs.release();
    assert_eq!([jobs.next().0, jobs.next().0], [0, 2]);
}

#[test]
fn refreshes_run_after_fetches() {
    let (pool, mut jobs) = (scheduler(&threads(1)), Jobs::new());
    pool.submit(jobs.long(0, origin("a")), None);
    assert_eq!(jobs.next().0, 0);
    let refreshed = |name: &str| Lane::Refresh(CanonicalUrl::parse(&format!("http://{name}/")).unwrap());
    pool.submit(jobs.quick(1, refreshed("b")), None);
    let wanted = jobs.quick(2, refreshed("c"));
    pool.submit(wanted, None);
    pool.submit(jobs.quick(3, origin("d")), None);
    jobs.release();
    assert_eq!([jobs.next().0, jobs.next().0, jobs.next().0], [3, 1, 2]);
}

#[test]
fn a_fetch_is_refused_if_there_is_no_memory_for_its_buffers() {
    let jobs = Jobs::new();
    let ledger = Ledger::new(40 << 10);
    let pool = Scheduler::new(&threads(4), &ledger, Box::new(|_| None));
    let secure = Lane::Origin(CanonicalUrl::parse("https://a/").unwrap());
    for (number, lane, mode) in [
        (1, secure, RunMode::Refused(Refused::NoMemory)),
        (2, origin("a"), RunMode::Worker),
        (3, Lane::Own, RunMode::Worker),
    ] {
        pool.submit(jobs.quick(number, lane), None);
        assert_eq!(jobs.next(), (number, mode));
    }
}

#[test]
fn the_operators_cap_limits_fetches() {
    let jobs = Jobs::new();
    let pool = Scheduler::new(&threads(64), &Ledger::new(u64::MAX), Box::new(|_| Some(2)));
    for number in 0..5 {
        pool.submit(jobs.long(number, origin("a")), None);
    }
    let numbers = pool.load();
    assert_eq!((numbers.fetches.running, numbers.fetches.queued), (2, 3));
}

#[test]
fn shutdown_refuses_refreshes_first_and_then_all_jobs() {
    let (pool, jobs) = (scheduler(&threads(1)), Jobs::new());
    pool.submit(jobs.long(0, origin("a")), None);
    assert_eq!(jobs.next(), (0, RunMode::Worker));
    let refresh = || Lane::Refresh(CanonicalUrl::parse("http://a/").unwrap());
    pool.submit(jobs.quick(1, refresh()), None);
    pool.submit(jobs.quick(2, origin("a")), None);
    pool.stop();
    assert_eq!(jobs.next(), (1, RunMode::Refused(Refused::ShuttingDown)));
    pool.submit(jobs.quick(3, refresh()), None);
    assert_eq!(jobs.next(), (3, RunMode::Refused(Refused::ShuttingDown)));
    pool.finish(Instant::now());
    assert_eq!(jobs.next(), (2, RunMode::Refused(Refused::ShuttingDown)));
    assert_eq!(pool.pools().map(|pool| pool.wait_for_threads(Instant::now())).sum::<usize>(), 0);
    pool.submit(jobs.quick(4, origin("a")), None);
    assert_eq!(jobs.next(), (4, RunMode::Refused(Refused::ShuttingDown)));
}

#[test]
fn little_memory_limits_the_number_of_threads() {
    let of = |limit| Scheduler::new(&threads(1000), &Ledger::new(limit), Box::new(|_| None)).threads();
    assert_eq!((of(0), of((96 * 4 * 10) << 10)), (4, 10));
    let shared = Arc::new(scheduler(&threads(3)));
    assert_eq!(shared.threads(), 3);
}

#[test]
fn a_scheduler_is_behind_when_a_job_has_waited_for_half_of_its_limit() {
    let longest_wait = Some(Duration::from_secs(3600));
    let scheduler = scheduler(&PoolOptions { longest_wait, ..threads(1) });
    let jobs = Jobs::new();
    scheduler.submit(jobs.long(1, origin("a")), client(1));
    let half = Duration::from_secs(1800);
    assert!(!scheduler.is_behind(Instant::now() + 2 * half), "no job waits");
    let before = Instant::now();
    scheduler.submit(jobs.quick(2, origin("b")), client(2));
    let after = Instant::now();
    assert!(!scheduler.is_behind(before + half));
    assert!(scheduler.is_behind(after + half + Duration::from_millis(1)));
}
