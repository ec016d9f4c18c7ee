//! Who gets which slot of a [`BalancedRing`](super::BalancedRing).
//!
//! Each peer has a stream of draws of its own, from its name alone, and makes them at a pace in proportion
//! to its weight. A slot belongs to whoever draws it first. So one peer more takes those slots alone that it
//! draws before their owner did, and the slots of one peer less go to whoever draws them next: nothing else
//! moves. Chance alone would leave some with a tenth more than others, so nobody may take more than
//! [`SLACK`] above its share; whoever has that many draws no more. That bound is what moves a few more slots
//! than necessary, and less of them the more slack there is and the more slots.
//!
//! The last slots would take most of the draws. Those that are free when one in [`LAST`] is left choose
//! themselves: each draws other slots until it finds one whose owner may take more.
//!
//! Maglev is this without slack, and with peers that draw on until they find a free slot: the shares are
//! equal to one slot, but every slot that changes hands pushes others on, some ten times as many.

use std::num::NonZeroU32;

use super::mixing::{STEP, draw, mix};

/// How much above its share a peer may have, in thousandths of it, and one slot: where a share is few slots
/// the spread is wide, and so has the slack to be.
const SLACK: u128 = 40;

/// The time from one draw to the next at a weight of 1. It is divided by the weight: a weight of a million is
/// exact to two hundred-thousandths.
const PACE: u64 = 1 << 36;

/// One in so many slots is left to choose its owner itself.
const LAST: usize = 128;

const NOBODY: u32 = u32::MAX;

#[derive(Clone)]
struct Bidder {
    peer: u32,
    weight: u64,
    stream: u64,
    next: u64,
    pace: u64,
    /// How many more slots it may take.
    left: u128,
}

/// Gives each of 2^`bits` slots to one of these peers, by their hashes and weights. The order of the peers
/// decides between those of the same hash and nowhere else.
///
/// There must be a peer, and fewer than 2^32 - 1.
pub(super) fn assign(peers: &[(u64, NonZeroU32)], bits: u32) -> Box<[u32]> {
    let mut bidding = bidders(peers, bits);
    let mut table = Table::new(bits, peers.len());
    let mut draws: Vec<(u64, usize)> = Vec::new();
    // With so many peers that a share is about one slot, the bounds may add up to less than there is.
    while !table.is_nearly_full() && !bidding.is_empty() {
        // What happens when does not depend on how much of it is looked at together: about a draw each.
        let weight: u64 = bidding.iter().map(|bidder| bidder.weight).sum();
        let begin = bidding.iter().map(|bidder| bidder.next).min().unwrap_or_default();
        let until = begin + PACE / weight * bidding.len() as u64;
        draws.clear();
        for (at, bidder) in bidding.iter_mut().enumerate() {
            while bidder.next <= until {
                draws.push((bidder.next, at));
                bidder.next += bidder.pace;
            }
        }
        if bidding.iter().any(|bidder| bidder.pace != bidding[0].pace) {
            draws.sort_unstable();
        }
        for &(_, at) in &draws {
            table.bid(&mut bidding[at]);
        }
        bidding.retain(|bidder| bidder.left > 0);
    }
    table.give_the_last(&bidding);
    table.owners.into()
}

/// In the order in which those draw that draw at the same time.
fn bidders(peers: &[(u64, NonZeroU32)], bits: u32) -> Vec<Bidder> {
    let total: u128 = peers.iter().map(|(_, weight)| u128::from(weight.get())).sum();
    let bound = |hash: u64, weight: u32| {
        let share = (((u128::from(weight) << bits) * (1000 + SLACK)) << 32) / (1000 * total);
        // Rounded up or down by chance, each for itself: if all went down by one at the same number of peers,
        // that number would move them all.
        1 + ((share + u128::from(mix(!hash) >> 32)) >> 32)
    };
    let mut bidders: Vec<Bidder> = (0..NOBODY)
        .zip(peers)
        .map(|(peer, &(hash, weight))| {
            let pace = PACE / u64::from(weight.get());
            let left = bound(hash, weight.get());
            Bidder { peer, weight: weight.get().into(), stream: hash, next: pace, pace, left }
        })
        .collect();
    bidders.sort_unstable_by_key(|bidder| (bidder.stream, bidder.peer));
    bidders
}

struct Table {
    owners: Vec<u32>,
    /// One bit a slot: most draws find their slot taken, and this much stays in the processor's cache.
    taken: Vec<u64>,
    bits: u32,
    free: usize,
    peers: usize,
}

/// So many draws in vain, and a slot takes the next best.
const PATIENCE: usize = 64;

impl Table {
    fn new(bits: u32, peers: usize) -> Self {
        let slots = 1_usize << bits;
        Self { owners: vec![NOBODY; slots], taken: vec![0; slots.div_ceil(64)], bits, free: slots, peers }
    }

    fn is_nearly_full(&self) -> bool {
        self.free <= self.owners.len() / LAST
    }

    fn bid(&mut self, bidder: &mut Bidder) {
        if bidder.left == 0 || self.is_nearly_full() {
            return;
        }
        bidder.stream = bidder.stream.wrapping_add(STEP);
        let slot = slot(mix(bidder.stream), self.bits);
        let (word, bit) = (slot / 64, 1 << (slot % 64));
        if self.taken[word] & bit == 0 {
            self.taken[word] |= bit;
            self.owners[slot] = bidder.peer;
            self.free -= 1;
            bidder.left -= 1;
        }
    }

    fn is_taken(&self, slot: usize) -> bool {
        self.taken[slot / 64] >> (slot % 64) & 1 == 1
    }

    /// Gives what is free to those who may take more, in proportion to what they have.
    fn give_the_last(&mut self, bidding: &[Bidder]) {
        let mut left = vec![0; self.peers];
        bidding.iter().for_each(|bidder| left[bidder.peer as usize] = bidder.left);
        for at in 0..self.owners.len() {
            if self.is_taken(at) {
                continue;
            }
            // Those alone that were bid for: what this slot finds does not depend on the free ones before it.
            let hash = mix(at as u64);
            let found =
                (0..).map(|number| slot(draw(hash, number), self.bits)).filter(|&slot| self.is_taken(slot));
            let mut found = found.map(|slot| self.owners[slot]);
            let owner = found
                .by_ref()
                .take(PATIENCE)
                .find(|&owner| left[owner as usize] > 0)
                .or_else(|| found.next());
            if let Some(owner) = owner {
                self.owners[at] = owner;
                left[owner as usize] = left[owner as usize].saturating_sub(1);
            }
        }
    }
}

/// The slot, of 2^`bits`, that a hash falls into.
pub(super) fn slot(hash: u64, bits: u32) -> usize {
    usize::try_from(hash >> (64 - bits)).expect("a table that fits into memory has indices that fit")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn weight(weight: u32) -> NonZeroU32 {
        NonZeroU32::new(weight).unwrap()
    }

    fn peers(count: u64) -> Vec<(u64, NonZeroU32)> {
        (1..=count).map(|number| (mix(number), NonZeroU32::MIN)).collect()
    }

    fn counts(slots: &[u32], peers: usize) -> Vec<usize> {
        let mut counts = vec![0; peers];
        slots.iter().for_each(|&owner| counts[owner as usize] += 1);
        counts
    }

    #[test]
    fn whoever_draws_a_slot_first_has_it() {
        // With slack for all, who comes first is all there is: found here by looking at every draw.
        let few = [(mix(1), weight(2)), (mix(2), weight(3)), (mix(3), weight(2))];
        let mut bidders = bidders(&few, 6);
        bidders.iter_mut().for_each(|bidder| bidder.left = u128::MAX);
        let mut first = vec![(u64::MAX, 0, NOBODY); 64];
        for (rank, bidder) in bidders.iter().enumerate() {
            for number in 1..2000 {
                let at = slot(draw(bidder.stream, number), 6);
                first[at] = first[at].min((bidder.pace * number, rank, bidder.peer));
            }
        }
        let expected: Vec<u32> = first.iter().map(|&(_, _, peer)| peer).collect();
        let mut table = Table::new(6, 3);
        let mut time = 0;
        while !table.is_nearly_full() {
            time += 1;
            let mut due: Vec<&mut Bidder> = bidders.iter_mut().filter(|bidder| bidder.next == time).collect();
            if due.is_empty() {
                time = bidders.iter().map(|bidder| bidder.next).min().unwrap() - 1;
                continue;
            }
            for bidder in &mut due {
                bidder.next += bidder.pace;
                table.bid(bidder);
            }
        }
        let bid_for: Vec<usize> = (0..64).filter(|&at| table.owners[at] != NOBODY).collect();
        assert_eq!(bid_for.len(), 64);
        assert!(bid_for.iter().all(|&at| table.owners[at] == expected[at]));
    }

    #[test]
    fn nobody_has_more_than_the_slack_allows() {
        for count in [2, 3, 20, 100] {
            let slots = assign(&peers(count), 12);
            let counts = counts(&slots, usize::try_from(count).unwrap());
            let bound = 4096 * 1040 / 1000 / usize::try_from(count).unwrap() + 2;
            assert!(counts.iter().all(|&has| has > 0 && has <= bound), "{count}: {counts:?}");
        }
    }

    #[test]
    fn more_peers_than_slots_fill_them_all() {
        let slots = assign(&peers(300), 6);
        assert!(slots.iter().all(|&owner| owner < 300));
    }

    #[test]
    fn great_and_small_weights_take_no_time() {
        let mut peers = peers(200);
        for (at, (_, heavy)) in peers.iter_mut().enumerate() {
            *heavy = if at < 3 { weight(1000) } else { weight(1) };
        }
        let counts = counts(&assign(&peers, 16), 200);
        let fair = 65_536 * 1000 / 3197;
        for &has in &counts[..3] {
            assert!(has.abs_diff(fair) < fair / 25, "{has} of {fair}");
        }
    }
}
