//! The promises of the balanced ring, by its exact shares and by every slot of its table.

use std::collections::BTreeMap;

use super::*;

fn weight(weight: u32) -> NonZeroU32 {
    NonZeroU32::new(weight).unwrap()
}

fn name(number: usize) -> String {
    format!("http://10.0.{}.{}:3000", number / 250, number % 250)
}

fn ring(numbers: impl IntoIterator<Item = usize>) -> BalancedRing {
    BalancedRing::new(numbers.into_iter().map(|number| (name(number), NonZeroU32::MIN)))
}

fn keys(count: usize) -> impl Iterator<Item = String> {
    (0..count).map(|number| format!("https://example.com/{number}"))
}

/// The part of all keys whose owner is another, exactly.
fn moved(one: &BalancedRing, other: &BalancedRing) -> f64 {
    let is_moved = |(one_peer, other_peer): (&u32, &u32)| {
        one.peers[*one_peer as usize] != other.peers[*other_peer as usize]
    };
    let moved = one.slots.iter().zip(&other.slots).filter(|pair| is_moved(*pair)).count();
    moved as f64 / one.slots.len() as f64
}

fn busiest(ring: &BalancedRing) -> f64 {
    let total: f64 = ring.weights.iter().map(|weight| f64::from(weight.get())).sum();
    let ratios = ring.shares().into_iter().zip(&ring.weights);
    ratios.map(|(share, weight)| share * total / f64::from(weight.get())).fold(0.0, f64::max)
}

#[test]
fn owners_are_what_they_were() {
    // Another release that gave others would split a pool while it is updated.
    let peers = (1..=7_u32).map(|number| (format!("peer-{number}"), weight(number)));
    let ring = BalancedRing::new(peers);
    let numbers: String = keys(24).map(|key| ring.owner(&key).unwrap()[5..].to_owned()).collect();
    assert_eq!(numbers, "744462775757324473655652");
    let order: String = ring.owners("https://example.com/").map(|peer| &peer[5..]).collect();
    assert_eq!(order, "4653721");
}

#[test]
fn no_peer_and_one_peer() {
    let none = ring([]);
    assert_eq!((none.owner("a"), none.owners("a").count()), (None, 0));
    assert!(none.shares().is_empty());
    let one = ring([1]);
    assert_eq!(one.owner("a"), Some(name(1).as_str()));
    assert_eq!(one.owners("a").collect::<Vec<_>>(), [name(1)]);
    assert_eq!(one.shares(), [1.0]);
}

#[test]
fn the_order_of_the_list_does_not_matter_and_the_greater_weight_counts() {
    let listed = [("b", weight(2)), ("a", weight(1)), ("c", weight(5)), ("b", weight(3))];
    let one = BalancedRing::with_slots(listed, 12);
    let other = BalancedRing::with_slots([("c", weight(5)), ("b", weight(3)), ("a", weight(1))], 12);
    assert_eq!(one.slots, other.slots);
    assert_eq!(one.peers(), ["a", "b", "c"]);
    assert_eq!(one.weights(), [weight(1), weight(3), weight(5)]);
}

#[test]
fn the_busiest_has_at_most_a_twentieth_more_and_a_change_moves_at_most_twice_the_share() {
    // Fewer peers are easier. A leave is a join seen backwards.
    for count in [1000, 10_000] {
        let (before, after) = (ring(0..count), ring(0..=count));
        let moved = moved(&before, &after) * (count + 1) as f64;
        let most = if count > 1000 { 1.06 } else { 1.05 };
        assert!(busiest(&before) <= most, "{count}: {}", busiest(&before));
        assert!((0.9..=2.0).contains(&moved), "{count}: {moved}");
    }
}

#[test]
fn of_smaller_tables_too() {
    for count in [2, 20, 100] {
        let ring =
            |count| BalancedRing::with_slots((0..count).map(|number| (name(number), NonZeroU32::MIN)), 16);
        let (before, after) = (ring(count), ring(count + 1));
        let moved = moved(&before, &after) * (count + 1) as f64;
        assert!(busiest(&before) <= 1.05, "{count}: {}", busiest(&before));
        assert!((0.9..=2.0).contains(&moved), "{count}: {moved}");
    }
}

#[test]
fn weights_are_honoured_and_a_heavy_peer_moves_no_more_than_it_may() {
    let weights = |number: usize| weight(u32::try_from(number % 5 + 1).unwrap());
    let pool: Vec<_> = (0..300).map(|number| (name(number), weights(number))).collect();
    let before = BalancedRing::new(pool.clone());
    assert!(busiest(&before) <= 1.05, "{}", busiest(&before));
    let total: u32 = before.weights.iter().map(|weight| weight.get()).sum();
    for (share, weight) in before.shares().iter().zip(&before.weights) {
        let ratio = share * f64::from(total) / f64::from(weight.get());
        assert!(ratio > 0.9, "{ratio} of its share at a weight of {weight}");
    }
    // Heavier than any before: it changes no order among them.
    let with = BalancedRing::new(pool.into_iter().chain([("http://heavy".to_owned(), weight(20))]));
    let part = 20.0 / f64::from(total + 20);
    let moved = moved(&before, &with);
    assert!(moved >= part * 0.95 && moved <= part * 2.0, "{} of its share", moved / part);
}

#[test]
fn every_peer_follows_once_and_the_first_of_them_is_the_owner() {
    let pool = [("a", weight(1000)), ("b", weight(1)), ("c", weight(1)), ("d", weight(1))];
    let ring = BalancedRing::with_slots(pool, 16);
    for key in keys(50) {
        let mut owners: Vec<&str> = ring.owners(&key).collect();
        assert_eq!(ring.owner(&key), Some(owners[0]));
        owners.sort_unstable();
        assert_eq!(owners, ["a", "b", "c", "d"]);
    }
}

#[test]
fn the_keys_of_a_lost_peer_are_spread_over_all_others_by_weight() {
    let ring = BalancedRing::with_slots(
        (0..10).map(|number| (name(number), weight(if number < 5 { 1 } else { 3 }))),
        14,
    );
    let lost = name(0);
    let mut next: BTreeMap<&str, u32> = BTreeMap::new();
    let mut count = 0;
    for key in keys(400_000).filter(|key| ring.owner(key) == Some(&lost)) {
        *next.entry(ring.owners(&key).nth(1).unwrap()).or_default() += 1;
        count += 1;
    }
    assert_eq!(next.len(), 9);
    let total = 4.0 + 15.0;
    for (peer, has) in next {
        let weight = if (0..5).any(|number| name(number) == peer) { 1.0 } else { 3.0 };
        let ratio = f64::from(has) / f64::from(count) * total / weight;
        assert!((0.85..1.15).contains(&ratio), "{peer}: {ratio}");
    }
}

#[test]
fn keys_fall_evenly_into_the_slots() {
    let ring = ring(0..20);
    let mut counts: BTreeMap<&str, u32> = BTreeMap::new();
    let keys: Vec<String> = keys(200_000).collect();
    for key in &keys {
        *counts.entry(ring.owner(key).unwrap()).or_default() += 1;
    }
    assert!(counts.values().all(|count| (9_500..10_500).contains(count)), "{counts:?}");
}
