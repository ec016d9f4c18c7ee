use super::*;
use crate::base::clock::ManualClock;
use crate::metrics::Watcher;

#[test]
fn random_numbers_are_spread_from_zero_to_one() {
    let random = random();
    let numbers: Vec<f64> = (0..1000).map(|_| random()).collect();
    assert!(numbers.iter().all(|number| (0.0..=1.0).contains(number)));
    let mean = numbers.iter().sum::<f64>() / 1000.0;
    assert!((0.4..0.6).contains(&mean), "{mean}");
}

#[test]
fn probe_that_panics_counts_as_failed() {
    let clock = Arc::new(ManualClock::at_unix_seconds(1_000_000));
    let peers = Peers::new(clock.clone(), Box::new(|| 1.0), Watcher::default());
    let peer = peers.entry(&"http://p:1".parse().unwrap());
    let Admission::Ask(epoch) = peers.admit(&peer, || 0) else { panic!("it is up") };
    let error = Error::new(crate::base::error::ErrorKind::Unreachable, "broken");
    peers.record_error(&peer, Evidence::Failed, epoch, &error);
    clock.advance(Duration::from_secs(1));
    assert!(peers.is_due(&peer));
    let probe = std::panic::AssertUnwindSafe(|| peers.probe(&peer, || panic!("on purpose")));
    assert!(std::panic::catch_unwind(probe).is_err());
    assert_eq!((peer.health().state, peer.health().failures), (PeerState::Down, 2));
}

#[test]
fn peer_has_one_probe_at_a_time() {
    let peers = Peers::new(Arc::new(crate::base::clock::SystemClock), random(), Watcher::default());
    let peer = peers.entry(&"http://p:1".parse().unwrap());
    let claimed = peer.claim_probe();
    assert!(claimed.is_some() && peer.claim_probe().is_none());
    drop(claimed);
    assert!(peer.claim_probe().is_some());
}

#[test]
fn peers_that_left_the_pool_are_forgotten() {
    let peers = Peers::new(Arc::new(crate::base::clock::SystemClock), random(), Watcher::default());
    let (kept, gone): (PeerUrl, PeerUrl) = ("http://a".parse().unwrap(), "http://b".parse().unwrap());
    let before = [peers.entry(&kept), peers.entry(&gone)];
    peers.retain(std::slice::from_ref(&kept));
    assert!(Arc::ptr_eq(&before[0], &peers.entry(&kept)));
    assert!(!Arc::ptr_eq(&before[1], &peers.entry(&gone)));
}
