//! The jobs that wait for a thread, and which is next. These are pure functions: they never block, and times are
//! arguments.
//!
//! Continued transfers go first, then jobs without an origin, then fetches, then refreshes. Each kind has a queue for
//! each origin and client. A free thread takes turns among the queues whose first job may start: first those of clients
//! without a running job.

use std::collections::{HashMap, VecDeque};
use std::time::Instant;

use super::client::ClientAddress;
use super::fair_share::{Claim, FairShare, Grant, Purpose};
use crate::base::counts::Counts;
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
    origins: Counts<CanonicalUrl>,
    /// The number of queued jobs of each client.
    clients: Counts<ClientAddress>,
}

type QueueKey = (Option<CanonicalUrl>, Option<ClientAddress>);

impl<J> Queue<J> {
    /// Creates a queue with this capacity: half of it for one origin or client, a quarter for one origin and client.
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
        let mut lengths: Vec<_> = origins.map(|(origin, count)| (origin.clone(), count)).collect();
        lengths.sort_by(|one, other| other.1.cmp(&one.1).then_with(|| one.0.cmp(&other.0)));
        lengths.truncate(limit);
        lengths
    }
}

impl<J> RoundRobin<J> {
    fn new() -> Self {
        Self {
            count: 0,
            queues: HashMap::new(),
            turns: VecDeque::new(),
            origins: Counts::default(),
            clients: Counts::default(),
        }
    }

    /// Returns whether the origin, the client, or both together already have their part of the capacity: half for an origin or
    /// a client, a quarter for an origin and a client.
    fn is_full_for(&self, claim: &Claim, capacity: usize) -> bool {
        let half = capacity.div_ceil(2);
        if claim.client.is_some_and(|client| self.clients.of(&client) >= half) {
            return true;
        }
        let Some(origin) = claim.purpose.origin() else { return false };
        let own = claim.client.and_then(|_| self.queues.get(&queue_key(claim))).map_or(0, VecDeque::len);
        self.origins.of(origin) >= half || own >= capacity.div_ceil(4)
    }

    fn push(&mut self, entry: Entry<J>) {
        let key = queue_key(&entry.claim);
        if let Some(origin) = &key.0 {
            self.origins.add(origin.clone());
        }
        if let Some(client) = key.1 {
            self.clients.add(client);
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
        if let Some(origin) = entry.claim.purpose.origin() {
            self.origins.remove(origin);
        }
        if let Some(client) = &entry.claim.client {
            self.clients.remove(client);
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
mod tests;
