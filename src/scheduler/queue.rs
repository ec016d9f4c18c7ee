//! What waits for a thread, and what is next. Pure: nothing here waits, and times are arguments.
//!
//! Transfers that have begun go first, then whatever has no origin, then fetches, then refreshes. Each wait in a queue
//! for each origin and client, and a thread that gets free goes round over those of which something may start: first
//! over those of clients of which nothing runs.

use std::collections::{HashMap, VecDeque};
use std::time::Instant;

use super::client::Client;
use super::fair_share::{Claim, FairShare, Granted, Purpose};
use crate::message::url::CanonicalUrl;

/// One that waits.
#[derive(Debug)]
pub(super) struct Entry<J> {
    pub(super) job: J,
    pub(super) claim: Claim,
    pub(super) since: Instant,
    /// When it has waited for too long.
    pub(super) until: Option<Instant>,
}

#[derive(Debug)]
pub(super) struct Queue<J> {
    /// How many may wait: transfers, and all others.
    most: usize,
    transfers: Round<J>,
    others: Round<J>,
    fetches: Round<J>,
    refreshes: Round<J>,
}

/// A queue for each origin and client.
#[derive(Debug)]
struct Round<J> {
    count: usize,
    queues: HashMap<Whose, VecDeque<Entry<J>>>,
    /// Those that are not empty, the next one first.
    turns: VecDeque<Whose>,
    /// How many wait for each origin.
    origins: HashMap<CanonicalUrl, usize>,
}

type Whose = (Option<CanonicalUrl>, Option<Client>);

impl<J> Queue<J> {
    /// A queue in which so many may wait, half of them for one origin, and a quarter for one origin and one client.
    pub(super) fn new(most: usize) -> Self {
        Self {
            most,
            transfers: Round::new(),
            others: Round::new(),
            fetches: Round::new(),
            refreshes: Round::new(),
        }
    }

    /// How many wait.
    pub(super) fn len(&self) -> usize {
        self.transfers.count + self.untransferred()
    }

    fn untransferred(&self) -> usize {
        self.others.count + self.fetches.count + self.refreshes.count
    }

    /// The entry back, where too many wait.
    pub(super) fn push(&mut self, entry: Entry<J>) -> Result<(), Entry<J>> {
        let (most, count) = (self.most, self.untransferred());
        let (round, count) = match &entry.claim.purpose {
            Purpose::Transfer { .. } => (&mut self.transfers, None),
            Purpose::Any => (&mut self.others, Some(count)),
            Purpose::Fetch { .. } => (&mut self.fetches, Some(count)),
            Purpose::Refresh { .. } => (&mut self.refreshes, Some(count)),
        };
        if count.unwrap_or(round.count) >= most || round.is_full_for(&entry.claim, most) {
            return Err(entry);
        }
        round.push(entry);
        Ok(())
    }

    fn rounds(&mut self) -> [&mut Round<J>; 4] {
        [&mut self.transfers, &mut self.others, &mut self.fetches, &mut self.refreshes]
    }

    /// Takes the next one that may start.
    pub(super) fn next(&mut self, share: &mut FairShare, now: Instant) -> Option<(Entry<J>, Granted)> {
        if share.free() == 0 {
            return None;
        }
        self.rounds().into_iter().find_map(|round| round.next(share, now))
    }

    /// Takes out all that the test is true of.
    pub(super) fn take(&mut self, mut is_meant: impl FnMut(&Entry<J>) -> bool) -> Vec<Entry<J>> {
        let mut taken = Vec::new();
        for round in self.rounds() {
            round.take(&mut is_meant, &mut taken);
        }
        taken
    }

    /// Since when the oldest one waits.
    pub(super) fn oldest(&self) -> Option<Instant> {
        [&self.transfers, &self.others, &self.fetches, &self.refreshes]
            .into_iter()
            .flat_map(|round| round.queues.values())
            .filter_map(|queue| queue.front().map(|entry| entry.since))
            .min()
    }

    /// The origins for which most wait, and how many do.
    pub(super) fn longest(&self, most: usize) -> Vec<(CanonicalUrl, usize)> {
        let origins = self.fetches.origins.iter();
        let mut lengths: Vec<_> = origins.map(|(origin, count)| (origin.clone(), *count)).collect();
        lengths.sort_by(|one, other| other.1.cmp(&one.1).then_with(|| one.0.cmp(&other.0)));
        lengths.truncate(most);
        lengths
    }
}

impl<J> Round<J> {
    fn new() -> Self {
        Self { count: 0, queues: HashMap::new(), turns: VecDeque::new(), origins: HashMap::new() }
    }

    /// Whether one more of them would be more than its part of so many: half for an origin, and a quarter for an
    /// origin and a client.
    fn is_full_for(&self, claim: &Claim, most: usize) -> bool {
        let Some(origin) = claim.purpose.origin() else { return false };
        let own = claim.client.and_then(|_| self.queues.get(&whose(claim))).map_or(0, VecDeque::len);
        self.origins.get(origin).is_some_and(|count| *count >= most.div_ceil(2)) || own >= most.div_ceil(4)
    }

    fn push(&mut self, entry: Entry<J>) {
        let whose = whose(&entry.claim);
        if let Some(origin) = &whose.0 {
            *self.origins.entry(origin.clone()).or_default() += 1;
        }
        let queue = self.queues.entry(whose.clone()).or_default();
        if queue.is_empty() {
            self.turns.push_back(whose);
        }
        queue.push_back(entry);
        self.count += 1;
    }

    /// The first one of the first queue that may start. That queue is the last one then.
    fn next(&mut self, share: &mut FairShare, now: Instant) -> Option<(Entry<J>, Granted)> {
        let next = |is_new: bool| {
            self.turns.iter().enumerate().find_map(|(turn, whose)| {
                let claim = &self.queues.get(whose)?.front()?.claim;
                let granted = (share.is_new(whose.1) == is_new).then(|| share.start(claim, now))??;
                Some((turn, granted))
            })
        };
        let (turn, granted) = [true, false].into_iter().find_map(next)?;
        let whose = self.turns.remove(turn)?;
        let queue = self.queues.get_mut(&whose)?;
        let entry = queue.pop_front()?;
        if queue.is_empty() {
            self.queues.remove(&whose);
        } else {
            self.turns.push_back(whose);
        }
        self.count_down(&entry);
        Some((entry, granted))
    }

    fn take(&mut self, mut is_meant: impl FnMut(&Entry<J>) -> bool, taken: &mut Vec<Entry<J>>) {
        let before = taken.len();
        for queue in self.queues.values_mut() {
            take_from(queue, &mut is_meant, taken);
        }
        if taken.len() == before {
            return;
        }
        taken[before..].iter().for_each(|entry| self.count_down(entry));
        self.queues.retain(|_, queue| !queue.is_empty());
        self.turns.retain(|whose| self.queues.contains_key(whose));
    }

    fn count_down(&mut self, entry: &Entry<J>) {
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

fn whose(claim: &Claim) -> Whose {
    (claim.purpose.origin().cloned(), claim.client)
}

fn take_from<J>(
    queue: &mut VecDeque<Entry<J>>,
    mut is_meant: impl FnMut(&Entry<J>) -> bool,
    taken: &mut Vec<Entry<J>>,
) {
    for entry in std::mem::take(queue) {
        if is_meant(&entry) {
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

    /// The order in which they start, each ending before the next.
    fn order(queue: &mut Queue<u32>, share: &mut FairShare) -> Vec<u32> {
        std::iter::from_fn(|| {
            let (entry, granted) = queue.next(share, Instant::now())?;
            share.finish(&granted);
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
        assert_eq!(queue.longest(1), [(origin(1), 3)]);
        assert_eq!(order(&mut queue, &mut share), [0, 1, 4, 2, 3, 9]);
        assert!(queue.len() == 0 && queue.oldest().is_none() && queue.fetches.queues.is_empty());
        assert!(queue.fetches.origins.is_empty() && queue.transfers.turns.is_empty());
    }

    #[test]
    fn a_transfer_that_waits_holds_up_no_others() {
        let (mut queue, mut share) = (Queue::new(100), FairShare::new(16));
        // Paused transfers of one client have all that one client can have.
        let _running: Vec<_> =
            (0..).map_while(|number| share.start(&transfer(0, number, 1).claim, Instant::now())).collect();
        for entry in [transfer(1, 100, 1), transfer(2, 100, 2), entry(3, Purpose::Any, 1), fetch(4, 100, 3)] {
            queue.push(entry).unwrap();
        }
        let next = |_| queue.next(&mut share, Instant::now()).map(|(entry, _)| entry.job);
        assert_eq!([(); 3].map(next), [Some(2), Some(4), None]);
    }

    #[test]
    fn clients_of_which_nothing_runs_come_first() {
        let (mut queue, mut share) = (Queue::new(100), FairShare::new(64));
        let _running = share.start(&fetch(0, 9, 1).claim, Instant::now());
        for entry in [fetch(1, 1, 1), fetch(2, 2, 1), fetch(3, 1, 2), fetch(4, 1, 2)] {
            queue.push(entry).unwrap();
        }
        let next = |_| queue.next(&mut share, Instant::now()).map(|(entry, _)| entry.job);
        assert_eq!([(); 5].map(next), [Some(3), Some(1), Some(2), Some(4), None]);
    }

    #[test]
    fn a_quarter_of_the_queue_is_for_one_client_at_one_origin() {
        let mut queue = Queue::new(1024);
        let mut push = |of, by| queue.push(fetch(0, of, by)).is_ok();
        assert_eq!((0..1024).filter(|_| push(1, 1)).count(), 256);
        assert!(push(1, 2) && push(2, 1));
        assert_eq!((0..1024).filter(|_| push(1, 0)).count(), 255, "half is for one origin");
    }

    #[test]
    fn who_is_over_its_share_holds_up_nobody_behind_it() {
        let (mut queue, mut share) = (Queue::new(100), FairShare::new(16));
        // One client has all that one client can have.
        let _running: Vec<_> =
            (0..).map_while(|number| share.start(&fetch(0, number, 1).claim, Instant::now())).collect();
        for entry in [fetch(1, 100, 1), fetch(2, 100, 1), fetch(3, 100, 2)] {
            queue.push(entry).unwrap();
        }
        assert_eq!(queue.next(&mut share, Instant::now()).unwrap().0.job, 3);
        assert!(queue.next(&mut share, Instant::now()).is_none());
    }

    #[test]
    fn all_and_those_of_one_origin_are_bounded() {
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
    fn what_is_taken_out_is_gone() {
        let mut queue = Queue::new(100);
        let start = Instant::now();
        for (job, since) in [(1, 0), (2, 5), (3, 9)] {
            let mut entry = fetch(job, 1, 1);
            entry.since = start + Duration::from_secs(since);
            queue.push(entry).unwrap();
        }
        assert_eq!(queue.oldest(), Some(start));
        let taken: Vec<u32> = queue.take(|entry| entry.job != 2).into_iter().map(|entry| entry.job).collect();
        assert_eq!((taken, queue.len()), (vec![1, 3], 1));
        assert_eq!(order(&mut queue, &mut FairShare::new(1)), [2]);
    }

    proptest! {
        /// Everything that was pushed comes out once, and those of one client at one origin in order.
        #[test]
        fn nothing_is_lost(pushed in prop::collection::vec((0_u8..4, 1_u8..4, any::<bool>()), 0..60)) {
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
