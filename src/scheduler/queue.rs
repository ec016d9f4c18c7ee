//! The jobs that wait for a thread, and which is next. These are pure functions: they never block, and times are arguments.
//!
//! Continued transfers go first, then jobs without an origin, then fetches, then refreshes. Each kind has a queue for each
//! origin and client. A free thread takes turns among the queues whose first job may start: first those of clients without
//! a running job.

use std::collections::{HashMap, VecDeque};
use std::time::Instant;

use super::client::Client;
use super::fair_share::{Claim, FairShare, Grant, Purpose};
use crate::message::url::CanonicalUrl;

/// A queued job.
#[derive(Debug)]
pub(super) struct Entry<J> {
    pub(super) job: J,
    pub(super) claim: Claim,
    pub(super) since: Instant,
    /// When the job has waited for too long.
    pub(super) until: Option<Instant>,
}

#[derive(Debug)]
pub(super) struct Queue<J> {
    /// The greatest number of queued transfers, and of all other queued jobs.
    capacity: usize,
    transfers: RoundRobin<J>,
    others: RoundRobin<J>,
    fetches: RoundRobin<J>,
    refreshes: RoundRobin<J>,
}

/// The queues of one kind of jobs: one for each origin and client, served in turn.
#[derive(Debug)]
struct RoundRobin<J> {
    count: usize,
    queues: HashMap<QueueKey, VecDeque<Entry<J>>>,
    /// The keys of the queues, the next one first. A queue is never empty.
    turns: VecDeque<QueueKey>,
    /// The number of queued jobs for each origin.
    origins: HashMap<CanonicalUrl, usize>,
}

type QueueKey = (Option<CanonicalUrl>, Option<Client>);

impl<J> Queue<J> {
    /// Creates a queue with this capacity: half of it for one origin, a quarter for one origin and client.
    pub(super) fn new(capacity: usize) -> Self {
        Self {
            capacity,
            transfers: RoundRobin::new(),
            others: RoundRobin::new(),
            fetches: RoundRobin::new(),
            refreshes: RoundRobin::new(),
        }
    }

    /// Returns the number of queued jobs.
    pub(super) fn len(&self) -> usize {
        self.transfers.count + self.len_without_transfers()
    }

    fn len_without_transfers(&self) -> usize {
        self.others.count + self.fetches.count + self.refreshes.count
    }

    /// Adds a job, or returns the entry if the queue is full.
    pub(super) fn push(&mut self, entry: Entry<J>) -> Result<(), Entry<J>> {
        let (capacity, count) = (self.capacity, self.len_without_transfers());
        let (round, count) = match &entry.claim.purpose {
            Purpose::Transfer { .. } => (&mut self.transfers, None),
            Purpose::Any => (&mut self.others, Some(count)),
            Purpose::Fetch { .. } => (&mut self.fetches, Some(count)),
            Purpose::Refresh { .. } => (&mut self.refreshes, Some(count)),
        };
        if count.unwrap_or(round.count) >= capacity || round.is_full_for(&entry.claim, capacity) {
            return Err(entry);
        }
        round.push(entry);
        Ok(())
    }

    fn rounds(&mut self) -> [&mut RoundRobin<J>; 4] {
        [&mut self.transfers, &mut self.others, &mut self.fetches, &mut self.refreshes]
    }

    /// Removes and returns the next job that may start.
    pub(super) fn next(&mut self, share: &mut FairShare, now: Instant) -> Option<(Entry<J>, Grant)> {
        if share.free() == 0 {
            return None;
        }
        self.rounds().into_iter().find_map(|round| round.next(share, now))
    }

    /// Removes and returns all jobs that match.
    pub(super) fn extract(&mut self, mut is_match: impl FnMut(&Entry<J>) -> bool) -> Vec<Entry<J>> {
        let mut taken = Vec::new();
        for round in self.rounds() {
            round.extract(&mut is_match, &mut taken);
        }
        taken
    }

    /// Returns since when the oldest job waits.
    pub(super) fn oldest(&self) -> Option<Instant> {
        [&self.transfers, &self.others, &self.fetches, &self.refreshes]
            .into_iter()
            .flat_map(|round| round.queues.values())
            .filter_map(|queue| queue.front().map(|entry| entry.since))
            .min()
    }

    /// Returns the origins with the most queued fetches, and their numbers.
    pub(super) fn busiest_origins(&self, limit: usize) -> Vec<(CanonicalUrl, usize)> {
        let origins = self.fetches.origins.iter();
        let mut lengths: Vec<_> = origins.map(|(origin, count)| (origin.clone(), *count)).collect();
        lengths.sort_by(|one, other| other.1.cmp(&one.1).then_with(|| one.0.cmp(&other.0)));
        lengths.truncate(limit);
        lengths
    }
}

impl<J> RoundRobin<J> {
    fn new() -> Self {
        Self { count: 0, queues: HashMap::new(), turns: VecDeque::new(), origins: HashMap::new() }
    }

    /// Returns whether the origin, or the origin and the client, already has its part of the capacity: half for an origin,
    /// a quarter for an origin and a client.
    fn is_full_for(&self, claim: &Claim, capacity: usize) -> bool {
        let Some(origin) = claim.purpose.origin() else { return false };
        let own = claim.client.and_then(|_| self.queues.get(&queue_key(claim))).map_or(0, VecDeque::len);
        self.origins.get(origin).is_some_and(|count| *count >= capacity.div_ceil(2))
            || own >= capacity.div_ceil(4)
    }

    fn push(&mut self, entry: Entry<J>) {
        let key = queue_key(&entry.claim);
        if let Some(origin) = &key.0 {
            *self.origins.entry(origin.clone()).or_default() += 1;
        }
        let queue = self.queues.entry(key.clone()).or_default();
        if queue.is_empty() {
            self.turns.push_back(key);
        }
        queue.push_back(entry);
        self.count += 1;
    }

    /// Removes the first job that may start. Its queue goes to the end of the turns.
    fn next(&mut self, share: &mut FairShare, now: Instant) -> Option<(Entry<J>, Grant)> {
        let next = |is_idle: bool| {
            self.turns.iter().enumerate().find_map(|(turn, key)| {
                let claim = &self.queues.get(key)?.front()?.claim;
                let grant = (share.is_idle(key.1) == is_idle).then(|| share.start(claim, now))??;
                Some((turn, grant))
            })
        };
        let (turn, grant) = [true, false].into_iter().find_map(next)?;
        let key = self.turns.remove(turn)?;
        let queue = self.queues.get_mut(&key)?;
        let entry = queue.pop_front()?;
        if queue.is_empty() {
            self.queues.remove(&key);
        } else {
            self.turns.push_back(key);
        }
        self.uncount(&entry);
        Some((entry, grant))
    }

    fn extract(&mut self, mut is_match: impl FnMut(&Entry<J>) -> bool, taken: &mut Vec<Entry<J>>) {
        let before = taken.len();
        for queue in self.queues.values_mut() {
            extract_from(queue, &mut is_match, taken);
        }
        if taken.len() == before {
            return;
        }
        taken[before..].iter().for_each(|entry| self.uncount(entry));
        self.queues.retain(|_, queue| !queue.is_empty());
        self.turns.retain(|key| self.queues.contains_key(key));
    }

    fn uncount(&mut self, entry: &Entry<J>) {
        self.count -= 1;
        if let Some(origin) = entry.claim.purpose.origin()
            && let Some(count) = self.origins.get_mut(origin)
        {
            *count -= 1;
            if *count == 0 {
                self.origins.remove(origin);
            }
        }
    }
}

fn queue_key(claim: &Claim) -> QueueKey {
    (claim.purpose.origin().cloned(), claim.client)
}

fn extract_from<J>(
    queue: &mut VecDeque<Entry<J>>,
    mut is_match: impl FnMut(&Entry<J>) -> bool,
    taken: &mut Vec<Entry<J>>,
) {
    for entry in std::mem::take(queue) {
        if is_match(&entry) {
            taken.push(entry);
        } else {
            queue.push_back(entry);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;
    use crate::scheduler::Client;

    fn origin(number: u8) -> CanonicalUrl {
        CanonicalUrl::parse(&format!("http://origin-{number}/")).unwrap()
    }

    fn entry(job: u32, purpose: Purpose, client: u8) -> Entry<u32> {
        let client = (client > 0).then(|| Client::of([10, 0, 0, client].into()));
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
        let taken: Vec<u32> =
            queue.extract(|entry| entry.job != 2).into_iter().map(|entry| entry.job).collect();
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
        }
    }
}
