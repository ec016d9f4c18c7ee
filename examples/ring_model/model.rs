//! Keys, requests and membership changes of a large pool, counted for each ring.

use std::fmt::Write as _;
use std::num::NonZeroU32;

use forwardcache::pool::{HashFunction, Rendezvous, Ring};

use crate::load::{BitSet, Load};
use crate::zipf::{Random, Zipf};

/// The number of requests in flight per peer.
const UNDER_WAY: usize = 16;

/// How far the requests in flight of a peer may exceed the mean, if limited.
pub(crate) const SLACK: f64 = 0.25;

/// The number of most popular keys in a near cache, if enabled.
pub(crate) const NEAR: u64 = 1000;

/// The number of steps between progress reports.
const TELL: u64 = 1 << 14;

/// The parameters of the model.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Model {
    pub(crate) peers: u32,
    pub(crate) keys: u64,
    pub(crate) requests: u64,
    pub(crate) exponent: f64,
    pub(crate) seed: u64,
}

/// The results of one ring.
#[derive(Debug)]
pub(crate) struct Counted {
    pub(crate) name: &'static str,
    /// The keys of each peer relative to the mean, largest first.
    pub(crate) shares: Vec<f64>,
    pub(crate) joined: Moved,
    pub(crate) left: Moved,
    pub(crate) loads: Vec<Loaded>,
}

/// The keys moved by a membership change.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Moved {
    pub(crate) keys: u64,
    /// The moved keys that a peer had stored, which must be fetched again.
    pub(crate) stored: u64,
}

/// The load with and without a limit and a near cache.
#[derive(Debug)]
pub(crate) struct Loaded {
    pub(crate) is_bounded: bool,
    pub(crate) is_near: bool,
    pub(crate) load: Load,
}

/// One of the rings, before and after a change.
struct Rings {
    name: &'static str,
    now: Either,
    joined: Either,
    left: Either,
    owned: Vec<u64>,
    moved: [Moved; 2],
    loads: Vec<Loaded>,
}

enum Either {
    Compatible(Ring),
    Rendezvous(Rendezvous),
}

impl Model {
    /// Returns the number of steps of [`run`](Self::run).
    pub(crate) fn steps(&self) -> u64 {
        self.requests + self.keys
    }

    /// Runs the model. Calls `tell` from time to time with the number of steps since the last call.
    pub(crate) fn run(&self, mut tell: impl FnMut(u64)) -> Vec<Counted> {
        let mut rings = [
            self.rings("compatible", |peers| Either::Compatible(compatible(peers))),
            self.rings("rendezvous", |peers| Either::Rendezvous(rendezvous(peers))),
        ];
        let mut text = String::new();
        let mut stored = BitSet::below(self.keys);
        let zipf = Zipf::new(self.keys, self.exponent);
        let mut random = Random(self.seed);
        for number in 1..=self.requests {
            let key = zipf.draw(&mut random);
            stored.insert(key);
            spell(&mut text, key);
            for rings in &mut rings {
                let owner = rings.now.owner(&text);
                for loaded in &mut rings.loads {
                    loaded.load.request(key, owner, || rings.now.owners(&text));
                }
            }
            told(number, self.requests, &mut tell);
        }
        for key in 0..self.keys {
            spell(&mut text, key);
            for rings in &mut rings {
                let owner = rings.now.owner(&text);
                rings.owned[owner] += 1;
                for (after, moved) in [&rings.joined, &rings.left].into_iter().zip(&mut rings.moved) {
                    if after.owner(&text) != owner {
                        moved.keys += 1;
                        moved.stored += u64::from(stored.contains(key));
                    }
                }
            }
            told(key + 1, self.keys, &mut tell);
        }
        rings.into_iter().map(|rings| rings.counted(self.keys)).collect()
    }

    fn rings(&self, name: &'static str, ring: impl Fn(&[u32]) -> Either) -> Rings {
        let mut peers: Vec<u32> = (0..self.peers).collect();
        let now = ring(&peers);
        peers.push(self.peers);
        let joined = ring(&peers);
        peers.retain(|&peer| peer != self.peers && peer != self.peers / 2);
        let left = ring(&peers);
        let count = self.peers as usize;
        let loads =
            [(false, false), (true, false), (false, true), (true, true)].map(|(is_bounded, is_near)| {
                let (slack, near) = (is_bounded.then_some(SLACK), if is_near { NEAR } else { 0 });
                Loaded { is_bounded, is_near, load: Load::new(count, self.keys, UNDER_WAY, slack, near) }
            });
        Rings {
            name,
            now,
            joined,
            left,
            owned: vec![0; count],
            moved: [Moved::default(); 2],
            loads: loads.into(),
        }
    }
}

fn told(step: u64, last: u64, tell: &mut impl FnMut(u64)) {
    if step.is_multiple_of(TELL) {
        tell(TELL);
    } else if step == last {
        tell(step % TELL);
    }
}

fn compatible(peers: &[u32]) -> Ring {
    Ring::with(peers.iter().map(|&peer| name(peer)), Ring::DEFAULT_REPLICAS, HashFunction::default())
}

fn rendezvous(peers: &[u32]) -> Rendezvous {
    Rendezvous::new(peers.iter().map(|&peer| (name(peer), NonZeroU32::MIN)))
}

const SCHEME: &str = "http://";

fn name(peer: u32) -> String {
    format!("{SCHEME}{peer}.cache.example.com:3000")
}

/// Returns the number in a peer name, since rings only return names.
fn number(name: &str) -> usize {
    let digits = name.as_bytes()[SCHEME.len()..].iter().take_while(|byte| byte.is_ascii_digit());
    digits.fold(0, |number, digit| number * 10 + usize::from(digit - b'0'))
}

fn spell(text: &mut String, key: u64) {
    text.clear();
    // Writing to a String never fails.
    let _ = write!(text, "https://example.com/{key}");
}

impl Either {
    fn owner(&self, key: &str) -> usize {
        let owner = match self {
            Self::Compatible(ring) => ring.owner(key),
            Self::Rendezvous(ring) => ring.owner(key),
        };
        owner.map_or(0, number)
    }

    fn owners(&self, key: &str) -> impl Iterator<Item = usize> {
        let (one, other) = match self {
            Self::Compatible(ring) => (Some(ring.owners(key)), None),
            Self::Rendezvous(ring) => (None, Some(ring.owners(key))),
        };
        one.into_iter().flatten().chain(other.into_iter().flatten()).map(number)
    }
}

impl Rings {
    fn counted(self, keys: u64) -> Counted {
        let mean = keys as f64 / self.owned.len() as f64;
        let mut shares: Vec<f64> = self.owned.iter().map(|&owned| owned as f64 / mean).collect();
        shares.sort_by(|one, other| other.total_cmp(one));
        let [joined, left] = self.moved;
        Counted { name: self.name, shares, joined, left, loads: self.loads }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    const SMALL: Model = Model { peers: 7, keys: 3000, requests: 20_000, exponent: 1.0, seed: 5 };

    #[test]
    fn counts_match_a_lookup_of_each_key() {
        let mut steps = 0;
        let counted = SMALL.run(|more| steps += more);
        assert_eq!(steps, SMALL.steps());
        let zipf = Zipf::new(SMALL.keys, SMALL.exponent);
        let mut random = Random(SMALL.seed);
        let mut asked: BTreeMap<u64, u64> = BTreeMap::new();
        for _ in 0..SMALL.requests {
            *asked.entry(zipf.draw(&mut random)).or_default() += 1;
        }
        let [now, joined, left] = [(0..7).collect(), (0..8).collect(), [0, 1, 2, 4, 5, 6].to_vec()]
            .map(|peers: Vec<u32>| compatible(&peers));
        let key = |number| format!("https://example.com/{number}");
        let owner = |ring: &Ring, number| ring.owner(&key(number)).unwrap().to_owned();
        let mut owned: BTreeMap<String, u32> = BTreeMap::new();
        (0..SMALL.keys).for_each(|number| *owned.entry(owner(&now, number)).or_default() += 1);
        let most = f64::from(*owned.values().max().unwrap()) * 7.0 / 3000.0;
        assert!((counted[0].shares[0] - most).abs() < 1e-9);
        let sum: f64 = counted[0].shares.iter().sum();
        assert!((sum - 7.0).abs() < 1e-9);
        for (after, moved) in [(joined, counted[0].joined), (left, counted[0].left)] {
            let others: Vec<u64> =
                (0..SMALL.keys).filter(|&number| owner(&after, number) != owner(&now, number)).collect();
            let stored = others.iter().filter(|number| asked.contains_key(number)).count() as u64;
            assert_eq!(moved, Moved { keys: others.len() as u64, stored });
            assert!(stored > 0);
        }
        let mut answered: BTreeMap<String, u64> = BTreeMap::new();
        asked.iter().for_each(|(&number, count)| *answered.entry(owner(&now, number)).or_default() += count);
        let busiest = *answered.values().max().unwrap() as f64 * 7.0 / 20_000.0;
        let plain = &counted[0].loads[0].load;
        assert!((plain.busiest() - busiest).abs() < 1e-9);
        assert_eq!(plain.origin_fetches(), asked.len() as u64);
        let near = counted[0].loads.iter().find(|loaded| loaded.is_near && !loaded.is_bounded).unwrap();
        let far: u64 = asked.range(NEAR..).map(|(_, count)| count).sum();
        assert_eq!(near.load.at_peers(), far);
        assert_eq!(near.load.origin_fetches(), asked.len() as u64);
    }

    #[test]
    fn limit_balances_requests_and_causes_fetches() {
        for counted in SMALL.run(|_| ()) {
            let [plain, bounded] = [&counted.loads[0], &counted.loads[1]];
            assert!(!plain.is_bounded && bounded.is_bounded);
            assert!(bounded.load.busiest() <= 1.0 + SLACK + 0.05, "{}", bounded.load.busiest());
            assert!(bounded.load.busiest() < plain.load.busiest());
            assert!(bounded.load.origin_fetches() > plain.load.origin_fetches());
        }
    }
}
