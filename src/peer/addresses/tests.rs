use std::io;

use crossbeam_channel::{Receiver, unbounded};

use super::*;

/// A resolver that waits until the test provides each result.
#[derive(Debug)]
struct Scripted(Receiver<io::Result<Vec<IpAddr>>>);

impl Lookup for Scripted {
    fn look_up(&self, _: &str) -> io::Result<Vec<IpAddr>> {
        self.0.recv().unwrap()
    }
}

#[test]
fn literal_addresses_match_at_once_and_names_after_resolving() {
    let (answer, answers) = unbounded();
    let (addresses, start) = (MemberAddresses::new(Scripted(answers)), Instant::now());
    let members = |urls: &[&str]| urls.iter().map(|url| PeerUrl::parse(url).unwrap()).collect();
    let both = || members(&["http://10.0.0.1:3000", "http://[2001:db8::1]", "http://two.example"]);
    let (pool, other) = (PoolDigest::of("pool"), PoolDigest::of("other"));
    let has = |address: &str, pool, now| addresses.contain(address.parse().unwrap(), pool, now, both);
    let until_resolved = || {
        while addresses.resolved.lock().is_resolving {
            thread::yield_now();
        }
    };
    assert!(has("10.0.0.1", pool, start) && has("::ffff:10.0.0.1", pool, start));
    assert!(has("2001:db8::1", pool, start) && !has("10.0.0.2", pool, start));
    answer.send(Ok(vec!["10.0.0.2".parse().unwrap()])).unwrap();
    until_resolved();
    assert!(has("10.0.0.2", pool, start) && !has("10.0.0.3", pool, start));
    // The name can no longer be resolved, so its last addresses stay valid.
    answer.send(Err(io::ErrorKind::TimedOut.into())).unwrap();
    assert!(has("10.0.0.2", pool, start + LIFETIME));
    until_resolved();
    assert!(has("10.0.0.2", pool, start + LIFETIME));
    let rest = || members(&["http://10.0.0.1:3000"]);
    assert!(!addresses.contain("10.0.0.2".parse().unwrap(), other, start + LIFETIME, rest));
    assert!(addresses.contain("10.0.0.1".parse().unwrap(), other, start + LIFETIME, rest));
}
