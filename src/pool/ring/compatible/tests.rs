use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;

/// A hash with so few values that points of different peers often coincide.
fn narrow() -> HashFunction {
    HashFunction::new(|bytes| crc32fast::hash(bytes) % 64)
}

fn keys() -> impl Iterator<Item = String> {
    (0..200).map(|number| format!("http://example.com/{number}"))
}

fn some_peers() -> impl Strategy<Value = BTreeSet<String>> {
    prop::collection::btree_set("http://[a-z]{1,3}:[1-9]", 1..8)
}

fn either_hash() -> impl Strategy<Value = HashFunction> {
    any::<bool>().prop_map(|wide| if wide { HashFunction::default() } else { narrow() })
}

#[test]
fn a_ring_without_peers_has_no_owner() {
    let ring = Ring::new(Vec::<String>::new());
    assert_eq!(ring.owner("a"), None);
    assert_eq!(ring.owners("a").count(), 0);
    assert!(ring.peers().is_empty());
}

#[test]
fn the_owner_is_the_peer_of_the_first_point_at_or_after_the_key() {
    // Peers and keys hash to themselves; the points of `20` are `020` and `120`.
    let number = HashFunction::new(|bytes| std::str::from_utf8(bytes).unwrap().parse().unwrap());
    let ring = Ring::with(["20", "50"], NonZeroU32::new(2).unwrap(), number);
    for (key, owner) in [("0", "20"), ("20", "20"), ("21", "50"), ("50", "50"), ("51", "20"), ("120", "20")] {
        assert_eq!(ring.owner(key), Some(owner), "{key}");
    }
    assert_eq!(ring.owner("121"), Some("50"));
    assert_eq!(ring.owner("150"), Some("50"));
    assert_eq!(ring.owner("151"), Some("20"), "past the last point");
}

#[test]
fn the_greater_name_comes_first_at_the_same_point() {
    let ring = Ring::with(["b", "c", "a"], NonZeroU32::MIN, HashFunction::new(|_| 7));
    assert_eq!(ring.owners("key").collect::<Vec<_>>(), ["c", "b", "a"]);
    assert_eq!(ring.owner("key"), Some("c"));
}

#[test]
fn a_weight_multiplies_the_points() {
    let weights = [("a", 1), ("b", 3), ("a", 2)];
    let weighted = weights.map(|(peer, weight)| (peer, NonZeroU32::new(weight).unwrap()));
    let ring = Ring::weighted(weighted, NonZeroU32::new(10).unwrap(), HashFunction::default());
    assert_eq!(ring.peers(), ["a", "b"]);
    let points = |peer| ring.point_peers.iter().filter(|&&owner| owner == peer).count();
    assert_eq!((points(0), points(1)), (20, 30));
    assert_eq!(ring.replicas().get(), 10);
}

#[test]
fn shares_equal_the_counts_of_all_keys() {
    // A circle where each position can be looked up: a number hashes to itself.
    let hash = HashFunction::new(|bytes| match std::str::from_utf8(bytes).unwrap().parse::<u32>() {
        Ok(number) => number << 24,
        Err(_) => crc32fast::hash(bytes) & 0xff00_0000,
    });
    let ring = Ring::with(["a", "b", "c"], NonZeroU32::new(3).unwrap(), hash);
    let mut found = [0.0; 3];
    for number in 0..256 {
        let owner = ring.owner(&number.to_string()).unwrap();
        found[ring.peers().iter().position(|peer| peer == owner).unwrap()] += 1.0 / 256.0;
    }
    assert_eq!(ring.shares(), found);
    assert!(Ring::new([""; 0]).shares().is_empty());
}

#[test]
fn peers_are_sorted_and_counted_once() {
    let ring = Ring::new(["b", "a", "b"]);
    assert_eq!(ring.peers(), ["a", "b"]);
    assert_eq!(ring.points.len(), 100);
}

#[test]
fn an_eleventh_peer_takes_about_an_eleventh_of_the_keys() {
    let peers: Vec<String> = (1..=11).map(|number| format!("http://10.0.1.{number}:3000")).collect();
    let before = Ring::new(&peers[..10]);
    let after = Ring::new(&peers);
    let keys = (0..20_000).map(|number| format!("https://cdn.example.com/{number}/app.js?v={}", number % 13));
    let moved = keys.filter(|key| before.owner(key) != after.owner(key)).count();
    let fair = 20_000 / 11;
    assert!((fair / 2..fair * 2).contains(&moved), "{moved} keys moved, expected about {fair}");
}

proptest! {
    #[test]
    fn the_order_of_the_list_does_not_matter(
        peers in some_peers().prop_flat_map(|peers| {
            let listed: Vec<String> = peers.into_iter().collect();
            (Just(listed.clone()), Just(listed).prop_shuffle())
        }),
        hash in either_hash(),
    ) {
        let (sorted, shuffled) = peers;
        let twice = shuffled.iter().chain(&shuffled[..1]).cloned();
        let one = Ring::with(sorted.clone(), Ring::DEFAULT_REPLICAS, hash.clone());
        let other = Ring::with(twice, Ring::DEFAULT_REPLICAS, hash);
        for key in keys() {
            prop_assert_eq!(one.owner(&key), other.owner(&key));
        }
    }

    #[test]
    fn a_new_peer_takes_keys_and_other_keys_stay(
        peers in some_peers(),
        new in "http://[0-9]{3}",
        hash in either_hash(),
    ) {
        let before = Ring::with(peers.clone(), Ring::DEFAULT_REPLICAS, hash.clone());
        let after = Ring::with(peers.into_iter().chain([new.clone()]), Ring::DEFAULT_REPLICAS, hash);
        for key in keys() {
            let owner = after.owner(&key).unwrap();
            prop_assert!(owner == new || Some(owner) == before.owner(&key));
        }
    }

    #[test]
    fn the_next_owner_is_the_owner_in_a_ring_without_those_before(
        peers in some_peers(),
        hash in either_hash(),
    ) {
        let ring = Ring::with(peers.clone(), Ring::DEFAULT_REPLICAS, hash.clone());
        for key in keys().take(20) {
            let owners: Vec<&str> = ring.owners(&key).collect();
            prop_assert_eq!(owners.len(), peers.len());
            let mut left = peers.clone();
            for owner in owners {
                let smaller = Ring::with(left.iter(), Ring::DEFAULT_REPLICAS, hash.clone());
                prop_assert_eq!(smaller.owner(&key), Some(owner));
                left.remove(owner);
            }
            prop_assert!(left.is_empty());
        }
    }
}
