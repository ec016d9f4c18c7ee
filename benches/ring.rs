//! Compares key placement algorithms: balance, keys moved by a change, and the cost of a lookup and of a rebuild.
//! Prints a table in Markdown. The algorithms that are not in the library were measured for comparison and exist only
//! here.
//!
//! `cargo bench --bench ring [-- PEERS...]`
//!
//! The busiest peer and the moved keys are counted over a million keys, so that all algorithms are compared by the
//! same measure. With 10,000 peers there are 100 keys each, so random variation gives a maximum of about 1.4 even for
//! equal shares. The column `exact` is the maximum share, if it can be computed. Times are the best of ten runs.

use std::hint::black_box;
use std::num::NonZeroU32;
use std::time::Instant;

use forwardcache::pool::{HashFunction, Rendezvous, Ring};

const KEYS: usize = 1_000_000;

fn main() {
    let asked: Vec<usize> = std::env::args().skip(1).filter_map(|argument| argument.parse().ok()).collect();
    let counts = if asked.is_empty() { vec![10, 100, 1000, 10_000] } else { asked };
    let keys: Vec<String> = (0..KEYS)
        .map(|number| format!("https://cdn.example.com/static/assets/{number:07}/application.min.js"))
        .collect();
    println!(
        "| peers | placement | exact | by keys | join x N | leave x N | ns per lookup | KiB | build ms |"
    );
    println!("|---:|---|---:|---:|---:|---:|---:|---:|---:|");
    for count in counts {
        let names: Vec<String> =
            (0..=count).map(|number| format!("http://10.1.{}.{}:3000", number / 250, number % 250)).collect();
        measure::<Compatible>("compatible, 50 points", &names, &keys);
        measure::<Weighted>("**rendezvous**", &names, &keys);
        let unequal = Weighted::with(&names[..count], |place| NonZeroU32::MIN.saturating_add(place));
        println!(
            "| {count} | all weights different | - | - | - | - | {:.0} | - | - |",
            time(&unequal, &keys)
        );
        measure::<Maglev<16>>("Maglev, 65,537 slots", &names, &keys);
        measure::<Maglev<20>>("Maglev, 1,048,583 slots", &names, &keys);
        measure::<Anchor>("AnchorHash, in the order of joining", &names, &keys);
        measure::<MultiProbe>("multi-probe, 21 probes", &names, &keys);
    }
}

trait Candidate {
    fn new(peers: &[String]) -> Self;

    /// Returns the index of the owner in the list of peers.
    fn owner(&self, key: &str) -> usize;

    /// The operation that is timed.
    fn look_up(&self, key: &str) {
        black_box(self.owner(key));
    }

    fn bytes(&self) -> usize;

    /// Returns the largest share, relative to the mean, if it can be computed.
    fn exact(&self) -> Option<f64> {
        None
    }

    /// Builds the placement without the peer at this index.
    fn without(peers: &[String], place: usize) -> Self
    where
        Self: Sized,
    {
        let mut left = peers.to_vec();
        left.remove(place);
        Self::new(&left)
    }
}

fn measure<C: Candidate>(name: &str, names: &[String], keys: &[String]) {
    let (count, gone) = (names.len() - 1, names.len() / 2);
    let peers = &names[..count];
    let started = Instant::now();
    let placement = C::new(peers);
    let build = started.elapsed().as_secs_f64() * 1e3;
    if name.contains("rendezvous") {
        &keys[..keys.len().min(1_000_000_000 / count)]
    } else {
        keys
    };
    let mut owned = vec![0_u32; count];
    let owners: Vec<usize> = keys.iter().map(|key| placement.owner(key)).collect();
    owners.iter().for_each(|&owner| owned[owner] += 1);
    let busiest = owned.iter().max().copied().unwrap_or_default() as f64 * count as f64 / keys.len() as f64;
    let time = time(&placement, keys);
    let moved = |other: &C, place: &dyn Fn(usize) -> usize| {
        let moved =
            keys.iter().zip(&owners).filter(|(key, owner)| place(other.owner(key)) != **owner).count();
        moved as f64 / keys.len() as f64
    };
    let joined = moved(&C::new(names), &|place| place) * (count + 1) as f64;
    let left = moved(&C::without(peers, gone), &|place| place + usize::from(place >= gone)) * count as f64;
    let exact = placement.exact().map_or_else(|| "-".to_owned(), |exact| format!("{exact:.3}"));
    println!(
        "| {count} | {name} | {exact} | {busiest:.3} | {joined:.2} | {left:.2} | {time:.0} | {} | {build:.1} |",
        placement.bytes() / 1024
    );
}

/// Returns the nanoseconds per lookup.
fn time(placement: &impl Candidate, keys: &[String]) -> f64 {
    // Few enough keys to stay in the processor's cache, like the key of a real request; the tables have to fit too.
    let near = &keys[..keys.len().min(16_384)];
    let times = (0..10).map(|_| {
        let started = Instant::now();
        near.iter().for_each(|key| placement.look_up(black_box(key)));
        started.elapsed().as_secs_f64() * 1e9 / near.len() as f64
    });
    times.fold(f64::MAX, f64::min)
}

/// The library returns the owner's name; `Places` maps it to the index.
struct Compatible {
    ring: Ring,
    places: Places,
}

impl Candidate for Compatible {
    fn new(peers: &[String]) -> Self {
        let ring = Ring::with(peers, Ring::DEFAULT_REPLICAS, HashFunction::default());
        Self { places: Places::new(peers), ring }
    }

    fn owner(&self, key: &str) -> usize {
        self.places.of(self.ring.owner(key).expect("there are peers"))
    }

    fn look_up(&self, key: &str) {
        black_box(self.ring.owner(key));
    }

    fn bytes(&self) -> usize {
        self.ring.peers().len() * 50 * 8
    }

    fn exact(&self) -> Option<f64> {
        busiest(&self.ring.shares())
    }
}

struct Weighted {
    ring: Rendezvous,
    places: Places,
}

impl Weighted {
    fn with(peers: &[String], weight: impl Fn(u32) -> NonZeroU32) -> Self {
        let ring = Rendezvous::new((0..).zip(peers).map(|(place, peer)| (peer, weight(place))));
        Self { places: Places::new(peers), ring }
    }
}

impl Candidate for Weighted {
    fn new(peers: &[String]) -> Self {
        Self::with(peers, |_| NonZeroU32::MIN)
    }

    fn owner(&self, key: &str) -> usize {
        self.places.of(self.ring.owner(key).expect("there are peers"))
    }

    fn look_up(&self, key: &str) {
        black_box(self.ring.owner(key));
    }

    fn bytes(&self) -> usize {
        self.ring.peers().len() * 24
    }

    fn exact(&self) -> Option<f64> {
        busiest(&self.ring.shares())
    }
}

fn busiest(shares: &[f64]) -> Option<f64> {
    Some(shares.iter().copied().fold(0.0, f64::max) * shares.len() as f64)
}

/// Maps the peer names of this benchmark to their indexes. It uses the last two numbers of the name, so it is cheap.
struct Places(Vec<usize>);

impl Places {
    fn new(peers: &[String]) -> Self {
        let mut places = Vec::new();
        for (place, peer) in peers.iter().enumerate() {
            let number = Self::number(peer);
            if places.len() <= number {
                places.resize(number + 1, usize::MAX);
            }
            places[number] = place;
        }
        Self(places)
    }

    fn of(&self, peer: &str) -> usize {
        self.0[Self::number(peer)]
    }

    fn number(peer: &str) -> usize {
        let digits = peer.as_bytes()["http://10.1.".len()..].iter().take_while(|byte| **byte != b':');
        let (mut high, mut low) = (0, 0);
        for byte in digits {
            match byte {
                b'.' => (high, low) = (low, 0),
                digit => low = low * 10 + usize::from(digit - b'0'),
            }
        }
        high * 250 + low
    }
}

/// Maglev as in the paper: the peers take turns to claim the next free slot of their own permutation.
struct Maglev<const BITS: u32> {
    slots: Vec<u32>,
}

impl<const BITS: u32> Candidate for Maglev<BITS> {
    fn new(peers: &[String]) -> Self {
        let size = if BITS == 16 { 65_537 } else { 1_048_583 };
        let mut slots = vec![u32::MAX; size];
        let mut walks: Vec<(usize, usize)> = peers
            .iter()
            .map(|peer| (number(hash(peer), size), 1 + number(mix(hash(peer) ^ 1), size - 1)))
            .collect();
        let mut free = size;
        loop {
            for (place, (at, step)) in walks.iter_mut().enumerate() {
                while slots[*at] != u32::MAX {
                    *at = (*at + *step) % size;
                }
                slots[*at] = u32::try_from(place).expect("the index fits into u32");
                free -= 1;
                if free == 0 {
                    return Self { slots };
                }
            }
        }
    }

    fn owner(&self, key: &str) -> usize {
        self.slots[number(hash(key), self.slots.len())] as usize
    }

    fn bytes(&self) -> usize {
        self.slots.len() * 4
    }
}

/// AnchorHash with at least twice as many buckets as peers. It depends on the order of removals, so peers that know
/// only the current list do not agree.
struct Anchor {
    sizes: Vec<u32>,
    successors: Vec<u32>,
    removed: Option<usize>,
}

impl Anchor {
    fn of(peers: usize, removed: Option<usize>) -> Self {
        let capacity = peers.next_power_of_two() * 2;
        let mut sizes = vec![0; capacity];
        let mut last: Vec<usize> = (0..capacity).collect();
        let mut successors: Vec<u32> = (0..).take(capacity).collect();
        let mut places: Vec<usize> = (0..capacity).collect();
        let mut working = capacity;
        let mut remove = |bucket: usize| {
            working -= 1;
            sizes[bucket] = u32::try_from(working).expect("the index fits into u32");
            last[places[bucket]] = last[working];
            successors[bucket] = u32::try_from(last[working]).expect("the index fits into u32");
            places[last[working]] = places[bucket];
        };
        (peers..capacity).rev().for_each(&mut remove);
        removed.into_iter().for_each(&mut remove);
        Self { sizes, successors, removed }
    }
}

impl Candidate for Anchor {
    fn new(peers: &[String]) -> Self {
        Self::of(peers.len(), None)
    }

    fn owner(&self, key: &str) -> usize {
        let key = hash(key);
        let mut bucket = number(key, self.sizes.len());
        while self.sizes[bucket] > 0 {
            let size = self.sizes[bucket];
            let mut next = number(mix(key ^ mix(bucket as u64)), size as usize);
            while self.sizes[next] >= size {
                next = self.successors[next] as usize;
            }
            bucket = next;
        }
        // A removed peer is also missing from the list, so later indexes shift.
        bucket - usize::from(self.removed.is_some_and(|removed| removed < bucket))
    }

    fn bytes(&self) -> usize {
        self.sizes.len() * 16
    }

    fn without(peers: &[String], place: usize) -> Self {
        Self::of(peers.len(), Some(place))
    }
}

/// One point per peer on a circle of 64 bits; the owner is the nearest of 21 probes of the key.
struct MultiProbe {
    points: Vec<(u64, u32)>,
    /// The first point at or after the start of each of the equal parts of the circle.
    index: Vec<u32>,
    shift: u32,
}

impl Candidate for MultiProbe {
    fn new(peers: &[String]) -> Self {
        let mut points: Vec<(u64, u32)> = (0..).zip(peers).map(|(place, peer)| (hash(peer), place)).collect();
        points.sort_unstable();
        let bits = (peers.len() * 4).next_power_of_two().ilog2();
        let shift = 64 - bits;
        let begins = (0..1_u64 << bits).map(|part| part << shift);
        let first = begins.map(|begin| points.partition_point(|&(point, _)| point < begin));
        let index = first.map(|first| u32::try_from(first).expect("the index fits into u32")).collect();
        Self { points, index, shift }
    }

    fn owner(&self, key: &str) -> usize {
        let key = hash(key);
        let step = mix(key) | 1;
        let mut nearest = (u64::MAX, 0);
        for probe in 0..21_u64 {
            let at = key.wrapping_add(step.wrapping_mul(probe));
            let part = usize::try_from(at >> self.shift).expect("the index fits into usize");
            let mut next = self.index[part] as usize;
            while next < self.points.len() && self.points[next].0 < at {
                next += 1;
            }
            let (point, place) = self.points[if next < self.points.len() { next } else { 0 }];
            nearest = nearest.min((point.wrapping_sub(at), place));
        }
        nearest.1 as usize
    }

    fn bytes(&self) -> usize {
        self.points.len() * 16 + self.index.len() * 4
    }
}

/// A hash of the same quality as the library's, so that only the algorithms differ.
fn hash(text: &str) -> u64 {
    let (words, rest) = text.as_bytes().as_chunks::<8>();
    let absorb = |hash: u64, word: [u8; 8]| {
        let product = (hash ^ u64::from_le_bytes(word)).wrapping_mul(0x9fb2_1c65_1e98_df25);
        product ^ (product >> 32)
    };
    let hash = words.iter().fold(text.len() as u64, |hash, word| absorb(hash, *word));
    let mut last = [0; 8];
    last[..rest.len()].copy_from_slice(rest);
    mix(absorb(hash, last))
}

fn mix(value: u64) -> u64 {
    let value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
}

/// Returns a number below `bound`, proportional to the hash.
fn number(hash: u64, bound: usize) -> usize {
    let product = u128::from(hash) * bound as u128;
    usize::try_from(product >> 64).expect("the number is below the bound")
}
