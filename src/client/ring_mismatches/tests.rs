use super::super::members::{RingChoice, parse};
use super::*;

fn pool(peers: &[&str]) -> Pool {
    Pool::new(parse(peers).unwrap(), RingChoice::Rendezvous, Duration::ZERO).unwrap()
}

#[test]
fn mismatch_is_logged_once_and_a_new_one_after_a_minute() {
    let (mismatches, pool) = (RingMismatches::default(), pool(&["http://a", "http://b"]));
    let (one, other) = ("http://a".parse().unwrap(), "http://b".parse().unwrap());
    let begun = Instant::now();
    for (peer, reported, second, expected) in [
        (&one, "1", 0, true),
        (&one, "1", 1, false),
        (&one, "2", 1, false),
        (&other, "2", 1, true),
        (&one, "1", 59, false),
        (&one, "1", 60, false),
        (&one, "2", 60, true),
        (&one, "3", 119, false),
        (&one, "3", 120, true),
    ] {
        let now = begun + Duration::from_secs(second);
        let found = mismatches.remember(peer, PoolDigest::of(reported), &pool, now);
        assert_eq!(found, expected, "{peer} {reported} {second}");
    }
}

#[test]
fn mismatches_are_remembered_for_pool_members_only() {
    let (mismatches, pool) = (RingMismatches::default(), pool(&[]));
    let (reported, now) = (PoolDigest::of("another"), Instant::now());
    let stranger = "http://stranger".parse().unwrap();
    for number in 0..10 {
        let peer = format!("http://p{number}");
        pool.set(parse([&peer]).unwrap()).unwrap();
        let peer = peer.parse().unwrap();
        assert!(mismatches.remember(&peer, reported, &pool, now));
        assert!(!mismatches.remember(&peer, reported, &pool, now));
        assert!(!mismatches.remember(&stranger, reported, &pool, now));
        assert_eq!(mismatches.logged_mismatches.lock().keys().collect::<Vec<_>>(), [&peer]);
    }
    mismatches.note(&stranger, reported, &pool, now);
    assert_eq!(mismatches.count(), 1);
}
