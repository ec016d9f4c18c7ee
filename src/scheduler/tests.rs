use std::sync::Arc;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, unbounded};

use super::{Client, PoolOptions, Scheduler};
use crate::base::cancellation::Cancellation;
use crate::base::ledger::Ledger;
use crate::message::nonblocking::{Job, Lane, Refused, Turn};
use crate::message::url::CanonicalUrl;

/// How long a test waits for what must come.
const PATIENCE: Duration = Duration::from_secs(20);

fn scheduler(options: &PoolOptions) -> Scheduler {
    Scheduler::new(options, &Ledger::new(u64::MAX), Box::new(|_| None))
}

fn threads(max: usize) -> PoolOptions {
    PoolOptions { max, ..PoolOptions::default() }
}

fn origin(name: &str) -> Lane {
    Lane::Origin(CanonicalUrl::parse(&format!("http://{name}/")).unwrap())
}

fn client(number: u8) -> Option<Client> {
    Some(Client::of([127, 0, 0, number].into()))
}

/// Jobs that tell how their turn came, and what lets those go that hold a thread.
struct Jobs {
    tell: Sender<(u32, Turn)>,
    told: Receiver<(u32, Turn)>,
    hold: Option<Sender<()>>,
    held: Receiver<()>,
}

impl Jobs {
    fn new() -> Self {
        let ((tell, told), (hold, held)) = (unbounded(), unbounded());
        Self { tell, told, hold: Some(hold), held }
    }

    /// One that ends at once.
    fn quick(&self, number: u32, lane: Lane) -> Job {
        let tell = self.tell.clone();
        Job::new(lane, Cancellation::new(), move |turn| tell.send((number, turn)).unwrap())
    }

    /// One that runs until it is let go, or cancelled.
    fn long(&self, number: u32, lane: Lane) -> Job {
        let (tell, held, cancellation) = (self.tell.clone(), self.held.clone(), Cancellation::new());
        let token = cancellation.clone();
        Job::new(lane, cancellation, move |turn| {
            tell.send((number, turn)).unwrap();
            if turn != Turn::Pool {
                return;
            }
            let (cancel, cancelled) = unbounded::<()>();
            let hook = token.on_cancel(move || drop(cancel));
            crossbeam_channel::select! {
                recv(held) -> _ => {}
                recv(cancelled) -> _ => {}
                default(PATIENCE) => panic!("nobody lets the job go"),
            }
            drop(hook);
        })
    }

    fn next(&self) -> (u32, Turn) {
        self.told.recv_timeout(PATIENCE).expect("the job has its turn")
    }

    fn let_go(&mut self) {
        self.hold = None;
    }
}

#[test]
fn threads_come_when_there_is_work_and_end_when_there_is_none() {
    let pool = scheduler(&PoolOptions { idle: Duration::from_millis(5), ..threads(64) });
    let mut jobs = Jobs::new();
    for number in 0..20 {
        pool.submit(jobs.long(number, origin("a")), client(1));
    }
    for _ in 0..20 {
        assert_eq!(jobs.next().1, Turn::Pool);
    }
    assert_eq!(pool.numbers().fetches.running, 20);
    jobs.let_go();
    let until = Instant::now() + PATIENCE;
    assert_eq!(pool.pools().map(|pool| pool.wait_for_threads(until)).sum::<usize>(), 0);
    pool.submit(jobs.quick(99, origin("a")), client(1));
    assert_eq!(jobs.next(), (99, Turn::Pool));
}

#[test]
fn a_panic_ends_a_job_and_no_thread() {
    let (pool, jobs) = (scheduler(&threads(1)), Jobs::new());
    pool.submit(Job::new(origin("a"), Cancellation::new(), |_| panic!("a job of a test panics")), None);
    pool.submit(jobs.quick(1, origin("a")), None);
    assert_eq!(jobs.next(), (1, Turn::Pool));
}

#[test]
fn one_client_with_silent_names_leaves_others_a_thread() {
    let (pool, jobs) = (scheduler(&threads(64)), Jobs::new());
    for number in 0..1000 {
        pool.submit(jobs.long(number, origin(&format!("silent-{}", number % 20))), client(1));
    }
    let quick = |number, name: &str, by| {
        pool.submit(jobs.quick(number, origin(name)), client(by));
        while jobs.next() != (number, Turn::Pool) {}
    };
    quick(2001, "another", 2);
    quick(2002, "silent-3", 2);
}

#[test]
fn resumed_transfers_of_one_client_leave_others_a_thread() {
    let (pool, jobs) = (scheduler(&threads(64)), Jobs::new());
    let transfer = |name: &str| Lane::Transfer(CanonicalUrl::parse(&format!("http://{name}/")).ok());
    for number in 0..900 {
        pool.submit(jobs.long(number, transfer(&format!("silent-{}", number % 20))), client(1));
    }
    pool.submit(jobs.quick(2001, transfer("another")), client(2));
    while jobs.next() != (2001, Turn::Pool) {}
    pool.submit(jobs.quick(2002, transfer("silent-3")), client(2));
    while jobs.next() != (2002, Turn::Pool) {}
}

#[test]
fn one_client_does_not_close_an_origin_to_others() {
    let (pool, jobs) = (scheduler(&PoolOptions { queue: 64, ..threads(64) }), Jobs::new());
    for number in 0..200 {
        pool.submit(jobs.long(number, origin("x")), client(1));
    }
    let numbers = pool.numbers().fetches;
    assert_eq!((numbers.running, numbers.queued), (32, 16), "a quarter of the queue waits");
    pool.submit(jobs.quick(2001, origin("x")), client(2));
    while jobs.next() != (2001, Turn::Pool) {}
}

#[test]
fn what_waits_has_its_turn_when_something_ends_or_turns_out_to_be_a_stream() {
    let (pool, mut jobs) = (scheduler(&threads(2)), Jobs::new());
    let stream = jobs.long(0, origin("a"));
    let cancellation = stream.cancellation.clone();
    pool.submit(stream, None);
    assert_eq!(jobs.next(), (0, Turn::Pool));
    pool.submit(jobs.long(1, origin("a")), None);
    pool.submit(jobs.quick(2, origin("a")), None);
    assert!(jobs.told.is_empty());
    pool.is_stream(&cancellation);
    assert_eq!(jobs.next(), (1, Turn::Pool));
    jobs.let_go();
    assert_eq!(jobs.next(), (2, Turn::Pool));
}

#[test]
fn purges_and_questions_do_not_wait_for_origins_or_other_peers() {
    let (pool, jobs) = (scheduler(&threads(4)), Jobs::new());
    for number in 0..20 {
        pool.submit(jobs.long(number, Lane::Peers), None);
        pool.submit(jobs.long(100 + number, origin("silent")), None);
    }
    pool.submit(jobs.quick(1000, Lane::Own), None);
    while jobs.next() != (1000, Turn::Pool) {}
}

#[test]
fn too_many_are_refused_those_left_by_their_client_first_and_who_may_start_never() {
    let (pool, mut jobs) = (scheduler(&PoolOptions { queue: 2, ..threads(2) }), Jobs::new());
    pool.submit(jobs.long(0, origin("a")), client(1));
    assert_eq!(jobs.next(), (0, Turn::Pool));
    let left = jobs.quick(1, origin("a"));
    let cancellation = left.cancellation.clone();
    pool.submit(left, client(1));
    pool.submit(jobs.quick(2, origin("a")), client(1));
    assert_eq!(jobs.next(), (2, Turn::Refused(Refused::QueueFull)), "half of the queue is for one origin");
    cancellation.cancel();
    pool.submit(jobs.quick(7, origin("a")), client(1));
    assert_eq!(jobs.next(), (7, Turn::Refused(Refused::QueueFull)), "who has left is looked for once a tick");
    pool.tick(Instant::now());
    pool.submit(jobs.quick(3, origin("a")), client(1));
    pool.submit(jobs.long(4, origin("b")), client(2));
    assert_eq!(jobs.next(), (4, Turn::Pool));
    pool.submit(jobs.quick(5, origin("c")), client(3));
    pool.submit(jobs.quick(6, origin("d")), client(3));
    assert_eq!(jobs.next(), (6, Turn::Refused(Refused::QueueFull)));
    assert_eq!(pool.numbers().fetches.refused[Refused::QueueFull as usize], 3);
    jobs.let_go();
    let mut rest = [jobs.next().0, jobs.next().0];
    rest.sort_unstable();
    assert_eq!(rest, [3, 5]);
}

#[test]
fn what_waits_for_too_long_is_refused() {
    let (pool, jobs) = (scheduler(&threads(1)), Jobs::new());
    pool.submit(jobs.long(0, origin("a")), None);
    assert_eq!(jobs.next(), (0, Turn::Pool));
    pool.submit(jobs.quick(1, origin("a")), None);
    let (now, numbers) = (Instant::now(), pool.numbers());
    assert_eq!((numbers.fetches.queued, numbers.fetches.longest[0].1), (1, 1));
    pool.tick(now);
    assert!(jobs.told.is_empty());
    pool.tick(now + Duration::from_secs(10));
    assert_eq!(jobs.next(), (1, Turn::Refused(Refused::QueuedTooLong)));
}

#[test]
fn a_fetch_that_takes_a_minute_no_longer_keeps_others_from_its_origin() {
    let (pool, jobs) = (scheduler(&threads(4)), Jobs::new());
    for number in 0..2_u8 {
        pool.submit(jobs.long(number.into(), origin("a")), client(number));
        assert_eq!(jobs.next().1, Turn::Pool);
    }
    pool.submit(jobs.quick(9, origin("a")), None);
    pool.tick(Instant::now() + Duration::from_secs(61));
    // It has waited for too long by then, so another one has its turn.
    assert_eq!(jobs.next().0, 9);
    pool.submit(jobs.quick(10, origin("a")), None);
    assert_eq!(jobs.next(), (10, Turn::Pool));
    assert_eq!(pool.numbers().fetches.streams, 2);
}

#[test]
fn a_job_whose_client_has_left_is_not_run() {
    let (pool, mut jobs) = (scheduler(&threads(1)), Jobs::new());
    pool.submit(jobs.long(0, origin("a")), None);
    let left = jobs.quick(1, origin("a"));
    left.cancellation.cancel();
    pool.submit(left, None);
    pool.submit(jobs.quick(2, origin("a")), None);
    jobs.let_go();
    assert_eq!([jobs.next().0, jobs.next().0], [0, 2]);
}

#[test]
fn refreshes_go_after_the_fetches() {
    let (pool, mut jobs) = (scheduler(&threads(1)), Jobs::new());
    pool.submit(jobs.long(0, origin("a")), None);
    assert_eq!(jobs.next().0, 0);
    let refreshed = |name: &str| Lane::Refresh(CanonicalUrl::parse(&format!("http://{name}/")).unwrap());
    pool.submit(jobs.quick(1, refreshed("b")), None);
    let wanted = jobs.quick(2, refreshed("c"));
    pool.submit(wanted, None);
    pool.submit(jobs.quick(3, origin("d")), None);
    jobs.let_go();
    assert_eq!([jobs.next().0, jobs.next().0, jobs.next().0], [3, 1, 2]);
}

#[test]
fn a_fetch_is_refused_when_there_is_no_memory_for_its_buffers() {
    let jobs = Jobs::new();
    let ledger = Ledger::new(40 << 10);
    let pool = Scheduler::new(&threads(4), &ledger, Box::new(|_| None));
    let secure = Lane::Origin(CanonicalUrl::parse("https://a/").unwrap());
    for (number, lane, turn) in [
        (1, secure, Turn::Refused(Refused::NoMemory)),
        (2, origin("a"), Turn::Pool),
        (3, Lane::Own, Turn::Pool),
    ] {
        pool.submit(jobs.quick(number, lane), None);
        assert_eq!(jobs.next(), (number, turn));
    }
}

#[test]
fn an_operators_cap_holds() {
    let jobs = Jobs::new();
    let pool = Scheduler::new(&threads(64), &Ledger::new(u64::MAX), Box::new(|_| Some(2)));
    for number in 0..5 {
        pool.submit(jobs.long(number, origin("a")), None);
    }
    let numbers = pool.numbers();
    assert_eq!((numbers.fetches.running, numbers.fetches.queued), (2, 3));
}

#[test]
fn at_the_end_refreshes_go_first_and_then_everything() {
    let (pool, jobs) = (scheduler(&threads(1)), Jobs::new());
    pool.submit(jobs.long(0, origin("a")), None);
    assert_eq!(jobs.next(), (0, Turn::Pool));
    let refresh = || Lane::Refresh(CanonicalUrl::parse("http://a/").unwrap());
    pool.submit(jobs.quick(1, refresh()), None);
    pool.submit(jobs.quick(2, origin("a")), None);
    pool.stop();
    assert_eq!(jobs.next(), (1, Turn::Refused(Refused::ShuttingDown)));
    pool.submit(jobs.quick(3, refresh()), None);
    assert_eq!(jobs.next(), (3, Turn::Refused(Refused::ShuttingDown)));
    pool.finish(Instant::now());
    assert_eq!(jobs.next(), (2, Turn::Refused(Refused::ShuttingDown)));
    assert_eq!(pool.pools().map(|pool| pool.wait_for_threads(Instant::now())).sum::<usize>(), 0);
    pool.submit(jobs.quick(4, origin("a")), None);
    assert_eq!(jobs.next(), (4, Turn::Refused(Refused::ShuttingDown)));
}

#[test]
fn little_memory_means_few_threads() {
    let of = |limit| Scheduler::new(&threads(1000), &Ledger::new(limit), Box::new(|_| None)).threads();
    assert_eq!((of(0), of((96 * 4 * 10) << 10)), (4, 10));
    let shared = Arc::new(scheduler(&threads(3)));
    assert_eq!(shared.threads(), 3);
}

#[test]
fn a_scheduler_is_behind_when_a_job_has_waited_for_half_as_long_as_it_may() {
    let longest_wait = Some(Duration::from_secs(3600));
    let scheduler = scheduler(&PoolOptions { longest_wait, ..threads(1) });
    let jobs = Jobs::new();
    scheduler.submit(jobs.long(1, origin("a")), client(1));
    let half = Duration::from_secs(1800);
    assert!(!scheduler.is_behind(Instant::now() + 2 * half), "nothing waits");
    let before = Instant::now();
    scheduler.submit(jobs.quick(2, origin("b")), client(2));
    let after = Instant::now();
    assert!(!scheduler.is_behind(before + half));
    assert!(scheduler.is_behind(after + half + Duration::from_millis(1)));
}
