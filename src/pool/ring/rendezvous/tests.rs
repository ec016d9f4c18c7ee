//! Tests of the properties of rendezvous hashing, also against a reference implementation that sorts all scores.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

fn weight(weight: u32) -> NonZeroU32 {
    NonZeroU32::new(weight).unwrap()
}

fn name(number: u32) -> String {
    format!("http://10.0.{}.{}:3000", number / 250, number % 250)
}

fn keys(count: usize) -> impl Iterator<Item = String> {
    (0..count).map(|number| format!("https://example.com/{number}"))
}

/// Returns all peers sorted by score and name.
fn sorted_by_score(peers: &BTreeMap<String, NonZeroU32>, key: &str) -> Vec<String> {
    let mut scored: Vec<(f64, &String)> = peers
        .iter()
        .map(|(name, weight)| {
            let product = u128::from(mix(!hash(name)) ^ hash(key)) * 0x9fb2_1c65_1e98_df25;
            let mixed =
                u64::try_from(product >> 64).unwrap() ^ u64::try_from(product & (u128::MAX >> 64)).unwrap();
            let distance = (mixed >> 11) as f64 / 2_f64.powi(53);
            (-(-distance).ln_1p() * (1.0 / f64::from(weight.get())), name)
        })
        .collect();
    scored.sort_by(|one, other| one.0.total_cmp(&other.0).then(one.1.cmp(other.1)));
    scored.into_iter().map(|(_, name)| name.clone()).collect()
}

proptest! {
    #[test]
    fn the_owners_are_those_of_the_reference_implementation(
        peers in prop::collection::btree_map((0..500_u32).prop_map(name), (1..1000_u32).prop_map(weight), 1..80),
        keys in prop::collection::vec("[ -~]{0,40}", 20),
    ) {
        let ring = Rendezvous::new(peers.clone());
        for key in keys {
                let sorted = sorted_by_score(&peers, &key);
            prop_assert_eq!(ring.owner(&key), Some(sorted[0].as_str()));
            prop_assert!(ring.owners(&key).eq(sorted.iter().map(String::as_str)));
        }
    }

    #[test]
    fn a_joining_peer_takes_keys_and_other_keys_stay(
        peers in prop::collection::btree_map((0..500_u32).prop_map(name), (1..20_u32).prop_map(weight), 1..40),
        joining in (1..20_u32).prop_map(weight),
        seed in any::<u64>(),
    ) {
        let before = Rendezvous::new(peers.clone());
        let after = Rendezvous::new(peers.into_iter().chain([("http://new".to_owned(), joining)]));
        for number in 0..40_u64 {
            let key = format!("https://example.com/{}", mix(seed.wrapping_add(number)));
            let owner = after.owner(&key);
            prop_assert!(owner == before.owner(&key) || owner == Some("http://new"));
            prop_assert!(after.owners(&key).filter(|peer| *peer != "http://new").eq(before.owners(&key)));
        }
    }
}

/// Returns the chi-square statistic of counts against their expected values.
fn chi_square(counts: &[u32], expected: &[f64]) -> f64 {
    let square = |(count, expected): (&u32, &f64)| (f64::from(*count) - expected).powi(2) / expected;
    counts.iter().zip(expected).map(square).sum()
}

/// Returns a limit for chi-square, five standard deviations above the mean. Chance exceeds it once in a million runs.
fn chi_square_limit(degrees: usize) -> f64 {
    degrees as f64 + 5.0 * (2.0 * degrees as f64).sqrt() + 10.0
}

#[test]
fn shares_are_proportional_to_weights_for_first_and_second_owners() {
    for count in [2, 10, 40] {
        let weights: Vec<u32> = (0..count).map(|number| number % 7 + 1).collect();
        let total: u32 = weights.iter().sum();
        let peers = (0..count).zip(&weights).map(|(number, of)| (format!("{number:03}"), weight(*of)));
        let ring = Rendezvous::new(peers);
        let size = weights.len();
        let (mut pairs, drawn) = (vec![0_u32; size * size], 100_000);
        for key in keys(drawn) {
            let mut owners = ring.owner_indices(&key);
            let (first, second) = (owners.next().unwrap(), owners.next().unwrap());
            pairs[first * size + second] += 1;
        }
        let part = |number: usize| f64::from(weights[number]);
        let firsts: Vec<u32> = pairs.chunks(size).map(|row| row.iter().sum()).collect();
        let fair: Vec<f64> = ring.shares().iter().map(|share| share * drawn as f64).collect();
        let found = chi_square(&firsts, &fair);
        assert!(found < chi_square_limit(size - 1), "{count}: {found}");
        // The second owner must be independent of the first.
        let expected =
            |first: usize, second: usize| fair[first] * part(second) / (f64::from(total) - part(first));
        let apart =
            (0..size * size).map(|at| (at / size, at % size)).filter(|(first, second)| first != second);
        let (counts, fair): (Vec<u32>, Vec<f64>) =
            apart.map(|(first, second)| (pairs[first * size + second], expected(first, second))).unzip();
        let found = chi_square(&counts, &fair);
        assert!(found < chi_square_limit(counts.len()), "{count}: {found} for second owners");
    }
}

#[test]
fn a_peer_that_joins_many_takes_its_share() {
    let ring = |count: u32| Rendezvous::new((0..count).map(|number| (name(number), NonZeroU32::MIN)));
    let (before, after) = (ring(100), ring(101));
    let moved = keys(100_000).filter(|key| before.owner(key) != after.owner(key)).count();
    assert!(moved.abs_diff(100_000 / 101) < 5 * 32, "{moved}");
}

#[test]
fn a_placement_may_have_no_peer_or_one() {
    let none = Rendezvous::new([] as [(&str, NonZeroU32); 0]);
    assert_eq!((none.owner("a"), none.owners("a").count()), (None, 0));
    assert!(none.shares().is_empty());
    let one = Rendezvous::new([("http://a", weight(7))]);
    assert_eq!((one.owner("a"), one.owners("a").count()), (Some("http://a"), 1));
    assert_eq!(one.shares(), [1.0]);
}

#[test]
fn the_order_of_the_list_does_not_matter_and_the_greater_weight_wins() {
    let listed = [("b", weight(2)), ("a", weight(1)), ("c", weight(5)), ("b", weight(3))];
    let one = Rendezvous::new(listed);
    let other = Rendezvous::new([("c", weight(5)), ("b", weight(3)), ("a", weight(1))]);
    assert_eq!(one.peers(), ["a", "b", "c"]);
    assert_eq!(one.shares(), [1.0 / 9.0, 3.0 / 9.0, 5.0 / 9.0]);
    assert!(keys(500).all(|key| one.owners(&key).eq(other.owners(&key))));
}

#[test]
fn the_lesser_name_comes_first_at_equal_scores() {
    let peer = Peer { seed: 7, scale: 1.0, weight: NonZeroU32::MIN };
    let peers = vec![peer; 40].into();
    let ring = Rendezvous { names: (0..40).map(name).collect(), peers };
    assert_eq!(ring.owner_index("a"), Some(0));
    assert!(ring.owner_indices("a").eq(0..40));
}
