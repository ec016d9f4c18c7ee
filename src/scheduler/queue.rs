//! What waits for a thread, and what is next. Pure: nothing here waits, and times are arguments.
//!
//! Transfers that have begun go first, then fetches, then refreshes. Fetches wait in a queue for each origin, and a
//! thread that gets free goes round over the origins of which something may start.

use std::collections::{HashMap, VecDeque};
use std::time::Instant;

use super::fair_share::{Claim, FairShare, Granted, Purpose};
use crate::target::Target;

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
    transfers: VecDeque<Entry<J>>,
    others: VecDeque<Entry<J>>,
    fetches: Round<J>,
    refreshes: Round<J>,
}

/// A queue for each origin.
#[derive(Debug)]
struct Round<J> {
    count: usize,
    queues: HashMap<Target, VecDeque<Entry<J>>>,
    /// Those that are not empty, the next one first.
    turns: VecDeque<Target>,
}

impl<J> Queue<J> {
    /// A queue in which so many may wait, and half of them for one origin.
    pub(super) fn new(most: usize) -> Self {
        Self {
            most,
            transfers: VecDeque::new(),
            others: VecDeque::new(),
            fetches: Round::new(),
            refreshes: Round::new(),
        }
    }

    /// How many wait.
    pub(super) fn len(&self) -> usize {
        self.transfers.len() + self.untransferred()
    }

    fn untransferred(&self) -> usize {
        self.others.len() + self.fetches.count + self.refreshes.count
    }

    /// The entry back, where too many wait.
    pub(super) fn push(&mut self, entry: Entry<J>) -> Result<(), Entry<J>> {
        let count = if entry.claim.purpose == Purpose::Transfer {
            self.transfers.len()
        } else {
            self.untransferred()
        };
        let of_origin = self.most.div_ceil(2);
        if count >= self.most {
            return Err(entry);
        }
        match &entry.claim.purpose {
            Purpose::Transfer => self.transfers.push_back(entry),
            Purpose::Any => self.others.push_back(entry),
            Purpose::Fetch { origin, .. } => return self.fetches.push(origin.clone(), entry, of_origin),
            Purpose::Refresh { origin, .. } => return self.refreshes.push(origin.clone(), entry, of_origin),
        }
        Ok(())
    }

    /// Takes the next one that may start.
    pub(super) fn next(&mut self, share: &mut FairShare, now: Instant) -> Option<(Entry<J>, Granted)> {
        if share.free() == 0 {
            return None;
        }
        for queue in [&mut self.transfers, &mut self.others] {
            if let Some(granted) = queue.front().and_then(|entry| share.start(&entry.claim, now)) {
                return queue.pop_front().map(|entry| (entry, granted));
            }
        }
        self.fetches.next(share, now).or_else(|| self.refreshes.next(share, now))
    }

    /// Takes out all that the test is true of.
    pub(super) fn take(&mut self, mut is_meant: impl FnMut(&Entry<J>) -> bool) -> Vec<Entry<J>> {
        let mut taken = Vec::new();
        for queue in [&mut self.transfers, &mut self.others] {
            take_from(queue, &mut is_meant, &mut taken);
        }
        self.fetches.take(&mut is_meant, &mut taken);
        self.refreshes.take(&mut is_meant, &mut taken);
        taken
    }

    /// Makes a refresh a fetch, as somebody waits for it now.
    pub(super) fn promote(&mut self, is_meant: impl FnMut(&Entry<J>) -> bool) {
        let mut taken = Vec::new();
        self.refreshes.take(is_meant, &mut taken);
        for mut entry in taken {
            if let Purpose::Refresh { origin, cap } = &entry.claim.purpose {
                let (origin, cap) = (origin.clone(), *cap);
                entry.claim.purpose = Purpose::Fetch { origin: origin.clone(), cap };
                // It is in the queue already: there is room for it.
                let _ = self.fetches.push(origin, entry, usize::MAX);
            }
        }
    }

    /// Since when the oldest one waits.
    pub(super) fn oldest(&self) -> Option<Instant> {
        let rounds = [&self.fetches, &self.refreshes].into_iter().flat_map(|round| round.queues.values());
        [&self.transfers, &self.others]
            .into_iter()
            .chain(rounds)
            .filter_map(|queue| queue.front().map(|entry| entry.since))
            .min()
    }

    /// The origins for which most wait, and how many do.
    pub(super) fn longest(&self, most: usize) -> Vec<(Target, usize)> {
        let queues = self.fetches.queues.iter();
        let mut lengths: Vec<_> = queues.map(|(origin, queue)| (origin.clone(), queue.len())).collect();
        lengths.sort_by(|one, other| other.1.cmp(&one.1).then_with(|| one.0.cmp(&other.0)));
        lengths.truncate(most);
        lengths
    }
}

impl<J> Round<J> {
    fn new() -> Self {
        Self { count: 0, queues: HashMap::new(), turns: VecDeque::new() }
    }

    fn push(&mut self, origin: Target, entry: Entry<J>, most: usize) -> Result<(), Entry<J>> {
        let queue = self.queues.entry(origin.clone()).or_default();
        if queue.len() >= most {
            return Err(entry);
        }
        if queue.is_empty() {
            self.turns.push_back(origin);
        }
        queue.push_back(entry);
        self.count += 1;
        Ok(())
    }

    /// The first one that may start, of the first origin that has one. That origin is the last one then.
    fn next(&mut self, share: &mut FairShare, now: Instant) -> Option<(Entry<J>, Granted)> {
        for turn in 0..self.turns.len() {
            let Some(queue) = self.turns.get(turn).and_then(|origin| self.queues.get_mut(origin)) else {
                continue;
            };
            let mut waits_for_its_client = None;
            let startable = queue.iter().enumerate().find_map(|(at, entry)| {
                // Most often those behind it are of the same client.
                if at > 0 && entry.claim.client == waits_for_its_client {
                    return None;
                }
                waits_for_its_client = entry.claim.client;
                share.start(&entry.claim, now).map(|granted| (at, granted))
            });
            if let Some((at, granted)) = startable {
                let entry = queue.remove(at);
                let is_empty = queue.is_empty();
                self.count -= 1;
                if let Some(origin) = self.turns.remove(turn) {
                    if is_empty {
                        self.queues.remove(&origin);
                    } else {
                        self.turns.push_back(origin);
                    }
                }
                return entry.map(|entry| (entry, granted));
            }
        }
        None
    }

    fn take(&mut self, mut is_meant: impl FnMut(&Entry<J>) -> bool, taken: &mut Vec<Entry<J>>) {
        let before = taken.len();
        for queue in self.queues.values_mut() {
            take_from(queue, &mut is_meant, taken);
        }
        self.count -= taken.len() - before;
        self.queues.retain(|_, queue| !queue.is_empty());
        self.turns.retain(|origin| self.queues.contains_key(origin));
    }
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

    fn origin(number: u8) -> Target {
        Target::parse(&format!("http://origin-{number}/")).unwrap()
    }

    fn entry(job: u32, purpose: Purpose, client: u8) -> Entry<u32> {
        let client = (client > 0).then(|| Client::of([10, 0, 0, client].into()));
        Entry { job, claim: Claim { purpose, client }, since: Instant::now(), until: None }
    }

    fn fetch(job: u32, of: u8, by: u8) -> Entry<u32> {
        entry(job, Purpose::Fetch { origin: origin(of), cap: None }, by)
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
        for entry in [
            refresh(9, 3),
            fetch(1, 1, 1),
            fetch(2, 1, 1),
            fetch(3, 1, 1),
            fetch(4, 2, 2),
            entry(0, Purpose::Transfer, 1),
        ] {
            queue.push(entry).unwrap();
        }
        assert_eq!(queue.longest(1), [(origin(1), 3)]);
        assert_eq!(order(&mut queue, &mut share), [0, 1, 4, 2, 3, 9]);
        assert!(queue.len() == 0 && queue.oldest().is_none() && queue.fetches.queues.is_empty());
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
        queue.push(fetch(2, 1, 1)).unwrap();
        assert_eq!(queue.push(fetch(3, 1, 1)).unwrap_err().job, 3);
        queue.push(fetch(3, 2, 1)).unwrap();
        queue.push(entry(4, Purpose::Any, 1)).unwrap();
        assert_eq!(queue.push(fetch(5, 3, 1)).unwrap_err().job, 5);
        queue.push(entry(5, Purpose::Transfer, 1)).unwrap();
        assert_eq!(queue.len(), 5);
    }

    #[test]
    fn what_is_promoted_goes_with_the_fetches() {
        let (mut queue, mut share) = (Queue::new(100), FairShare::new(1));
        for entry in [refresh(1, 1), refresh(2, 1), fetch(3, 2, 1)] {
            queue.push(entry).unwrap();
        }
        queue.promote(|entry| entry.job == 2);
        assert_eq!(order(&mut queue, &mut share), [3, 2, 1]);
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
        /// Everything that was pushed comes out once, and those of one origin in order.
        #[test]
        fn nothing_is_lost(pushed in prop::collection::vec((0_u8..4, 1_u8..4, any::<bool>()), 0..60)) {
            let (mut queue, mut share) = (Queue::new(1000), FairShare::new(1));
            for (job, (of, by, is_refresh)) in (0..).zip(&pushed) {
                queue.push(if *is_refresh { refresh(job, *of) } else { fetch(job, *of, *by) }).unwrap();
            }
            let order = order(&mut queue, &mut share);
            prop_assert_eq!(order.len(), pushed.len());
            for wanted in 0..4 {
                for refreshes in [false, true] {
                    let of_one: Vec<u32> = order.iter().copied().filter(|job| {
                        let (of, _, is_refresh) = pushed[*job as usize];
                        of == wanted && is_refresh == refreshes
                    }).collect();
                    prop_assert!(of_one.is_sorted());
                }
            }
            prop_assert!(queue.fetches.queues.is_empty() && queue.refreshes.turns.is_empty());
        }
    }
}
