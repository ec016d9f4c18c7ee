use std::num::NonZeroU32;

use super::super::members::parse;
use super::*;
use crate::base::error::ErrorKind;
use crate::pool::ring::{HashFunction, Ring};

fn members(texts: &[&str]) -> Vec<Member> {
    texts.iter().map(|text| text.parse().unwrap()).collect()
}

fn compatible() -> RingChoice {
    RingChoice::Compatible { replicas: NonZeroU32::MIN, hash: HashFunction::default() }
}

#[test]
fn owners_are_numbered_in_order_of_url_text() {
    // With a trailing slash, as in URLs, the first two would be in reverse order.
    let registered = ["http://h-x", "http://h", "http://h.y", "http://h:1/a", "http://h:1"];
    for ring in [compatible(), RingChoice::Rendezvous] {
        let pool = Pool::new(members(&registered), ring.clone(), Duration::ZERO).unwrap();
        let place = ring.place(&members(&registered));
        let mut sorted = registered;
        sorted.sort_unstable();
        let mut owners = std::collections::BTreeSet::new();
        for number in 0..100 {
            let target = CanonicalUrl::parse(&format!("http://example.com/{number}")).unwrap();
            let owner = pool.owner(&target).unwrap();
            assert_eq!(owner.as_str(), sorted[place.owner(target.ring_key()).unwrap()]);
            owners.insert(owner.to_string());
        }
        assert!(owners.len() > 2, "{owners:?}");
    }
}

#[test]
fn digest_depends_on_the_ring_parameters() {
    let registered = members(&["http://a weight=2", "http://b"]);
    let digest = |ring| Pool::new(registered.clone(), ring, Duration::ZERO).unwrap().digest();
    let replicas = NonZeroU32::new(2).unwrap();
    let other = RingChoice::Compatible { replicas, hash: HashFunction::default() };
    assert_ne!(digest(compatible()), digest(RingChoice::Rendezvous));
    assert_ne!(digest(compatible()), digest(other));
    assert_eq!(digest(RingChoice::Rendezvous), digest(RingChoice::Rendezvous));
}

#[test]
fn peer_with_two_weights_is_rejected() {
    let pool = Pool::new(members(&["http://a weight=2", "http://a weight=2"]), compatible(), Duration::ZERO)
        .unwrap();
    let error = pool.set(members(&["http://b", "http://a weight=3", "http://a"])).unwrap_err();
    assert_eq!((error.kind(), error.peer()), (ErrorKind::BadPeer, Some("http://a")));
    assert_eq!(pool.members(), members(&["http://a weight=2"]));
    pool.set(members(&["http://b", "http://a weight=3"])).unwrap();
    assert_eq!(pool.members(), members(&["http://a weight=3", "http://b"]));
}

#[test]
fn owners_follow_the_ring_without_duplicates() {
    let peers: Vec<_> = (1..=20).map(|number| format!("http://p{number}")).collect();
    let pool = Pool::new(parse(&peers).unwrap(), compatible(), Duration::ZERO).unwrap();
    let target = CanonicalUrl::parse("http://h/a").unwrap();
    let owners: Vec<_> = pool.owners(&target).map(|owner| owner.to_string()).collect();
    let ring = Ring::with(peers, NonZeroU32::MIN, HashFunction::default());
    assert_eq!(owners, ring.owners(target.ring_key()).take(MAX_OWNERS).collect::<Vec<_>>());
    assert_eq!(pool.owners(&target).next(), pool.owner(&target));
    pool.set(Vec::new()).unwrap();
    assert_eq!(pool.owners(&target).next(), None);
}

#[test]
fn total_weight_excludes_peers_that_are_away() {
    let member = |text: &str| text.parse::<Member>().unwrap();
    let members = ["http://a:1 weight=2", "http://b:1", "http://c:1 weight=5"].map(member);
    let url = |text: &str| text.parse::<PeerUrl>().unwrap();
    let pool = Pool::new(members.to_vec(), RingChoice::Rendezvous, Duration::ZERO).unwrap();
    let (a, c, stranger) = (url("http://a:1"), url("http://c:1"), url("http://d:1"));
    assert_eq!(pool.weights(&a, &[]), (2, 8));
    assert_eq!(pool.weights(&a, &[a.clone(), c.clone()]), (2, 3));
    assert_eq!(pool.weights(&stranger, &[c]), (1, 4));
}

#[test]
fn parse_error_names_the_peer_without_its_secrets() {
    for (peer, named) in [
        ("nonsense", Some("nonsense")),
        ("http://b:3000/?secret", Some("http://b:3000/")),
        ("user:secret@b", None),
        ("http://user:secret@b:3000", None),
    ] {
        let error = parse(["http://a:3000", peer]).unwrap_err();
        assert_eq!(error.peer(), named, "{peer}");
        assert!(!format!("{error:?}").contains("secret"), "{error:?}");
    }
}
