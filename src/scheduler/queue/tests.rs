use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::scheduler::ClientAddress;

fn origin(number: u8) -> CanonicalUrl {
    CanonicalUrl::parse(&format!("http://origin-{number}/")).unwrap()
}

fn entry(job: u32, purpose: Purpose, client: u8) -> Entry<u32> {
    let client = (client > 0).then(|| ClientAddress::of([10, 0, 0, client].into()));
    Entry { job, claim: Claim { purpose, client }, since: Instant::now(), until: None }
}

fn fetch(job: u32, of: u8, by: u8) -> Entry<u32> {
    entry(job, Purpose::Fetch { origin: origin(of), cap: None }, by)
}

fn transfer(job: u32, of: u8, by: u8) -> Entry<u32> {
    entry(job, Purpose::Transfer { origin: Some(origin(of)) }, by)
}

fn refresh(job: u32, of: u8) -> Entry<u32> {
    entry(job, Purpose::Refresh { origin: origin(of), cap: None }, 0)
}

/// Returns the order in which the jobs start, if each ends before the next.
fn order(queue: &mut Queue<u32>, share: &mut FairShare) -> Vec<u32> {
    std::iter::from_fn(|| {
        let (entry, grant) = queue.next(share, Instant::now())?;
        share.finish(&grant);
        Some(entry.job)
    })
    .collect()
}

#[test]
fn transfers_go_first_then_origins_in_turn_and_refreshes_last() {
    let (mut queue, mut share) = (Queue::new(100), FairShare::new(1));
    for entry in
        [refresh(9, 3), fetch(1, 1, 1), fetch(2, 1, 1), fetch(3, 1, 1), fetch(4, 2, 2), transfer(0, 1, 1)]
    {
        queue.push(entry).unwrap();
    }
    assert_eq!(queue.busiest_origins(1), [(origin(1), 3)]);
    assert_eq!(order(&mut queue, &mut share), [0, 1, 4, 2, 3, 9]);
    assert!(queue.len() == 0 && queue.oldest().is_none() && queue.fetches.queues.is_empty());
    assert!(queue.fetches.origins.is_empty() && queue.transfers.turns.is_empty());
}

#[test]
fn a_waiting_transfer_does_not_block_other_clients() {
    let (mut queue, mut share) = (Queue::new(100), FairShare::new(16));
    // The paused transfers of client 1 occupy all threads that one client may have.
    let _running: Vec<_> =
        (0..).map_while(|number| share.start(&transfer(0, number, 1).claim, Instant::now())).collect();
    for entry in [transfer(1, 100, 1), transfer(2, 100, 2), entry(3, Purpose::Any, 1), fetch(4, 100, 3)] {
        queue.push(entry).unwrap();
    }
    let next = |_| queue.next(&mut share, Instant::now()).map(|(entry, _)| entry.job);
    assert_eq!([(); 3].map(next), [Some(2), Some(4), None]);
}

#[test]
fn clients_without_a_running_job_come_first() {
    let (mut queue, mut share) = (Queue::new(100), FairShare::new(64));
    let _running = share.start(&fetch(0, 9, 1).claim, Instant::now());
    for entry in [fetch(1, 1, 1), fetch(2, 2, 1), fetch(3, 1, 2), fetch(4, 1, 2)] {
        queue.push(entry).unwrap();
    }
    let next = |_| queue.next(&mut share, Instant::now()).map(|(entry, _)| entry.job);
    assert_eq!([(); 5].map(next), [Some(3), Some(1), Some(2), Some(4), None]);
}

#[test]
fn one_client_may_fill_a_quarter_of_the_queue_for_one_origin() {
    let mut queue = Queue::new(1024);
    let mut push = |of, by| queue.push(fetch(0, of, by)).is_ok();
    assert_eq!((0..1024).filter(|_| push(1, 1)).count(), 256);
    assert!(push(1, 2) && push(2, 1));
    assert_eq!((0..1024).filter(|_| push(1, 0)).count(), 255, "half is for one origin");
}

#[test]
fn one_client_may_fill_half_of_the_queue() {
    let mut queue = Queue::new(64);
    let mut push = |purpose, by| queue.push(entry(0, purpose, by)).is_ok();
    assert_eq!((0..64).filter(|_| push(Purpose::Any, 1)).count(), 32);
    assert!(push(Purpose::Any, 2), "another client");
    assert!(push(Purpose::Any, 0), "another peer, or the cache itself");
    let mut queue = Queue::new(64);
    let mut push = |of, by| queue.push(fetch(0, of, by)).is_ok();
    assert_eq!((0..64).filter(|of| push(*of, 1)).count(), 32);
    assert!(push(1, 2) && push(1, 0));
    queue.extract(|entry| entry.claim.client.is_some());
    assert!(queue.fetches.clients.is_empty() && queue.len() == 1);
}

#[test]
fn a_client_over_its_share_does_not_block_others() {
    let (mut queue, mut share) = (Queue::new(100), FairShare::new(16));
    // Client 1 occupies all threads that one client may have.
    let _running: Vec<_> =
        (0..).map_while(|number| share.start(&fetch(0, number, 1).claim, Instant::now())).collect();
    for entry in [fetch(1, 100, 1), fetch(2, 100, 1), fetch(3, 100, 2)] {
        queue.push(entry).unwrap();
    }
    assert_eq!(queue.next(&mut share, Instant::now()).unwrap().0.job, 3);
    assert!(queue.next(&mut share, Instant::now()).is_none());
}

#[test]
fn the_queue_is_bounded_in_total_and_for_each_origin() {
    let mut queue = Queue::new(4);
    queue.push(fetch(1, 1, 1)).unwrap();
    queue.push(fetch(2, 1, 2)).unwrap();
    assert_eq!(queue.push(fetch(3, 1, 3)).unwrap_err().job, 3);
    queue.push(fetch(3, 2, 1)).unwrap();
    queue.push(entry(4, Purpose::Any, 1)).unwrap();
    assert_eq!(queue.push(fetch(5, 3, 1)).unwrap_err().job, 5);
    queue.push(transfer(5, 3, 1)).unwrap();
    assert_eq!(queue.len(), 5);
}

#[test]
fn extracted_jobs_are_removed() {
    let mut queue = Queue::new(100);
    let start = Instant::now();
    for (job, since) in [(1, 0), (2, 5), (3, 9)] {
        let mut entry = fetch(job, 1, 1);
        entry.since = start + Duration::from_secs(since);
        queue.push(entry).unwrap();
    }
    assert_eq!(queue.oldest(), Some(start));
    let taken: Vec<u32> = queue.extract(|entry| entry.job != 2).into_iter().map(|entry| entry.job).collect();
    assert_eq!((taken, queue.len()), (vec![1, 3], 1));
    assert_eq!(order(&mut queue, &mut FairShare::new(1)), [2]);
}

proptest! {
    /// Each pushed job comes out once, and the jobs of one client and origin in order.
    #[test]
    fn no_job_is_lost(pushed in prop::collection::vec((0_u8..4, 1_u8..4, any::<bool>()), 0..60)) {
        let (mut queue, mut share) = (Queue::new(1000), FairShare::new(1));
        for (job, (of, by, is_refresh)) in (0..).zip(&pushed) {
            queue.push(if *is_refresh { refresh(job, *of) } else { fetch(job, *of, *by) }).unwrap();
        }
        let order = order(&mut queue, &mut share);
        prop_assert_eq!(order.len(), pushed.len());
        for (wanted, client, refreshes) in (0..4).flat_map(|of| {
            (1..4).flat_map(move |by| [(of, by, false), (of, by, true)])
        }) {
            let of_one: Vec<u32> = order.iter().copied().filter(|job| {
                let (of, by, is_refresh) = pushed[*job as usize];
                of == wanted && by == client && is_refresh == refreshes
            }).collect();
            prop_assert!(of_one.is_sorted());
        }
        prop_assert!(queue.fetches.queues.is_empty() && queue.refreshes.turns.is_empty());
        prop_assert!(queue.fetches.origins.is_empty() && queue.refreshes.origins.is_empty());
        prop_assert!(queue.fetches.clients.is_empty() && queue.refreshes.clients.is_empty());
    }
}
