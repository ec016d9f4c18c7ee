use std::io;

use crossbeam_channel::{Receiver, unbounded};

use super::*;

/// Waits for each answer to be given.
#[derive(Debug)]
struct Scripted(Receiver<io::Result<Vec<IpAddr>>>);

impl Lookup for Scripted {
    fn look_up(&self, _: &str) -> io::Result<Vec<IpAddr>> {
        self.0.recv().unwrap()
    }
}

#[test]
fn literals_are_known_at_once_and_names_once_they_are_resolved() {
    let (answer, answers) = unbounded();
    let (addresses, start) = (MemberAddresses::new(Scripted(answers)), Instant::now());
    let members = |urls: &[&str]| urls.iter().map(|url| PeerUrl::parse(url).unwrap()).collect();
    let both = || members(&["http://10.0.0.1:3000", "http://[2001:db8::1]", "http://two.example"]);
    let (pool, other) = (PoolDigest::of("pool"), PoolDigest::of("other"));
    let has = |address: &str, pool, now| addresses.has(address.parse().unwrap(), pool, now, both);
    let until_resolved = || {
        while addresses.known.lock().is_resolving {
            thread::yield_now();
        }
    };
    assert!(has("10.0.0.1", pool, start) && has("::ffff:10.0.0.1", pool, start));
    assert!(has("2001:db8::1", pool, start) && !has("10.0.0.2", pool, start));
    answer.send(Ok(vec!["10.0.0.2".parse().unwrap()])).unwrap();
    until_resolved();
    assert!(has("10.0.0.2", pool, start) && !has("10.0.0.3", pool, start));
    // It cannot be resolved any more.
    answer.send(Err(io::ErrorKind::TimedOut.into())).unwrap();
    assert!(has("10.0.0.2", pool, start + LIFETIME));
    until_resolved();
    assert!(has("10.0.0.2", pool, start + LIFETIME));
    let rest = || members(&["http://10.0.0.1:3000"]);
    assert!(!addresses.has("10.0.0.2".parse().unwrap(), other, start + LIFETIME, rest));
    assert!(addresses.has("10.0.0.1".parse().unwrap(), other, start + LIFETIME, rest));
}
