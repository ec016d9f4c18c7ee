//! Requests in flight, and the peer that serves the next one.

use std::collections::{HashSet, VecDeque};

/// A set of integers below a bound.
#[derive(Clone, Debug)]
pub(crate) struct BitSet(Vec<u64>);

impl BitSet {
    pub(crate) fn below(bound: u64) -> Self {
        Self(vec![0; usize::try_from(bound.div_ceil(64)).unwrap_or(usize::MAX)])
    }

    pub(crate) fn insert(&mut self, number: u64) {
        self.0[at(number)] |= 1 << (number % 64);
    }

    pub(crate) fn contains(&self, number: u64) -> bool {
        self.0[at(number)] >> (number % 64) & 1 == 1
    }

    pub(crate) fn len(&self) -> u64 {
        self.0.iter().map(|word| u64::from(word.count_ones())).sum()
    }
}

fn at(number: u64) -> usize {
    usize::try_from(number / 64).unwrap_or(usize::MAX)
}

/// The load of the peers with given options.
#[derive(Debug)]
pub(crate) struct Load {
    /// The number of requests served by each peer.
    answered: Vec<u64>,
    /// The peer of each request in flight, oldest first.
    under_way: VecDeque<usize>,
    in_flight: Vec<u32>,
    most_under_way: usize,
    /// How far the requests in flight of a peer may exceed the mean; `None` means without limit.
    slack: Option<f64>,
    /// The number of most popular keys in the near cache of every client.
    near: u64,
    passed_on: u64,
    at_owner: BitSet,
    at_others: HashSet<(u64, usize)>,
}

impl Load {
    /// Starts with `each` requests in flight per peer.
    pub(crate) fn new(peers: usize, keys: u64, each: usize, slack: Option<f64>, near: u64) -> Self {
        Self {
            answered: vec![0; peers],
            under_way: VecDeque::new(),
            in_flight: vec![0; peers],
            most_under_way: peers * each,
            slack,
            near,
            passed_on: 0,
            at_owner: BitSet::below(keys),
            at_others: HashSet::new(),
        }
    }

    /// One more request, for a key of this owner. The owners in their order are asked for only if the first
    /// has too much to do.
    pub(crate) fn request<I: Iterator<Item = usize>>(
        &mut self,
        key: u64,
        owner: usize,
        owners: impl FnOnce() -> I,
    ) {
        if key < self.near {
            // The key was fetched once.
            self.at_owner.insert(key);
            return;
        }
        let peer = match self.slack {
            None => owner,
            Some(slack) => {
                if self.under_way.len() == self.most_under_way
                    && let Some(ended) = self.under_way.pop_front()
                {
                    self.in_flight[ended] -= 1;
                }
                let mean = (self.under_way.len() + 1) as f64 / self.in_flight.len() as f64;
                let bound = (mean * (1.0 + slack)).ceil();
                let has_room = |peer: usize| f64::from(self.in_flight[peer]) + 1.0 <= bound;
                let peer = if has_room(owner) {
                    owner
                } else {
                    owners().find(|&peer| has_room(peer)).unwrap_or(owner)
                };
                self.under_way.push_back(peer);
                self.in_flight[peer] += 1;
                peer
            }
        };
        self.answered[peer] += 1;
        if peer == owner {
            self.at_owner.insert(key);
        } else {
            self.passed_on += 1;
            self.at_others.insert((key, peer));
        }
    }

    /// Returns the load of the busiest peer, relative to the mean.
    pub(crate) fn busiest(&self) -> f64 {
        let most = self.answered.iter().max().copied().unwrap_or_default() as f64;
        most * self.answered.len() as f64 / (self.at_peers() as f64).max(1.0)
    }

    /// Returns the number of requests that reached the pool.
    pub(crate) fn at_peers(&self) -> u64 {
        self.answered.iter().sum()
    }

    pub(crate) fn passed_on(&self) -> u64 {
        self.passed_on
    }

    /// Returns the number of origin fetches: one for each peer that served a key.
    pub(crate) fn origin_fetches(&self) -> u64 {
        self.at_owner.len() + self.at_others.len() as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn owner_serves_all_requests_without_a_limit() {
        let mut load = Load::new(4, 10, 2, None, 1);
        for key in [0, 1, 2, 2, 5] {
            load.request(key, 3, || 0..4);
        }
        assert_eq!((load.answered.as_slice(), load.at_peers()), (&[0, 0, 0, 4][..], 4));
        assert_eq!((load.origin_fetches(), load.passed_on()), (4, 0));
        assert!((load.busiest() - 4.0).abs() < 1e-9);
    }

    #[test]
    fn no_peer_exceeds_the_limit_of_requests_in_flight() {
        let mut load = Load::new(5, 100, 8, Some(0.25), 0);
        for number in 0..500_u64 {
            // Half of the requests are for one key.
            let key = if number % 2 == 0 { 0 } else { number % 100 };
            let owner = usize::try_from(key % 5).unwrap();
            load.request(key, owner, || (0..5).map(move |next| (owner + next) % 5));
            let bound = (load.under_way.len() as f64 / 5.0 * 1.25).ceil();
            let mut counted = [0_u32; 5];
            load.under_way.iter().for_each(|&peer| counted[peer] += 1);
            assert_eq!(load.in_flight, counted);
            assert!(counted.iter().all(|&count| f64::from(count) <= bound.max(2.0)), "{counted:?}");
            assert!(load.under_way.len() <= 40);
        }
        assert!(load.busiest() < 1.3 && load.passed_on() > 100);
        assert!(load.origin_fetches() > 51);
    }
}
