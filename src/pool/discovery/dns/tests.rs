use std::io;
use std::sync::mpsc;
use std::time::SystemTime;

use parking_lot::Mutex;

use super::*;
use crate::client::Client;
use crate::client::membership::Membership;

/// A lookup that calls the closure.
struct Scripted<F>(F);

impl<F> std::fmt::Debug for Scripted<F> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Scripted")
    }
}

impl<F: Fn(&str) -> io::Result<Vec<IpAddr>> + Send + Sync> Lookup for Scripted<F> {
    fn look_up(&self, name: &str) -> io::Result<Vec<IpAddr>> {
        (self.0)(name)
    }
}

fn addresses(texts: &[&str]) -> Vec<IpAddr> {
    texts.iter().map(|text| text.parse().unwrap()).collect()
}

fn members(dns: &mut DnsDiscovery) -> Vec<String> {
    dns.read().unwrap().unwrap().iter().map(Member::to_string).collect()
}

#[test]
fn each_address_is_a_peer() {
    for (name, expected) in [
        ("pool.example:3000", ["http://10.0.0.1:3000", "http://[2001:db8::1]:3000", "http://10.0.0.2:3000"]),
        ("HTTPS://Pool.example", ["https://10.0.0.1", "https://[2001:db8::1]", "https://10.0.0.2"]),
        (
            "https://pool.example:8443/cache/",
            [
                "https://10.0.0.1:8443/cache",
                "https://[2001:db8::1]:8443/cache",
                "https://10.0.0.2:8443/cache",
            ],
        ),
    ] {
        let lookup = Scripted(|name: &str| {
            assert_eq!(name, "pool.example");
            Ok(addresses(&["10.0.0.1", "2001:db8::1", "::ffff:10.0.0.2"]))
        });
        assert_eq!(members(&mut DnsDiscovery::with_lookup(name, lookup).unwrap()), expected);
    }
}

#[test]
fn an_address_needs_no_lookup() {
    let lookup = || Scripted(|name: &str| panic!("{name}"));
    for (name, expected) in [("10.0.0.1:3000", "http://10.0.0.1:3000"), ("[::1]:3000", "http://[::1]:3000")] {
        assert_eq!(members(&mut DnsDiscovery::with_lookup(name, lookup()).unwrap()), [expected]);
    }
}

#[test]
fn an_invalid_name_is_refused_without_showing_its_password() {
    for bad in ["", "pool.example", "pool.example:", "pool.example:0", "[::1]", ":3000", "ftp://pool.example"]
    {
        assert_eq!(DnsDiscovery::new(bad).unwrap_err().kind(), ErrorKind::BadPeer, "{bad}");
    }
    let error = DnsDiscovery::new("http://user:secret@pool.example:3000").unwrap_err();
    assert!(!format!("{error} {error:?}").contains("secret"));
}

#[test]
fn a_failed_lookup_is_an_error_and_not_an_empty_pool() {
    let empty = Scripted(|_: &str| Ok(Vec::new()));
    let failing = Scripted(|_: &str| Err(io::Error::other("no such name")));
    let failure = |mut dns: DnsDiscovery| {
        let error = dns.read().unwrap_err();
        (error.kind(), error.reason())
    };
    assert_eq!(
        failure(DnsDiscovery::with_lookup("pool.example:3000", empty).unwrap()),
        (ErrorKind::Unresolved, "the peers at http://pool.example:3000: the name has no address".to_owned())
    );
    let why = "the peers at http://pool.example:3000: the name cannot be resolved: no such name";
    assert_eq!(
        failure(DnsDiscovery::with_lookup("pool.example:3000", failing).unwrap()),
        (ErrorKind::Unresolved, why.to_owned())
    );
}

#[test]
fn the_pool_is_unchanged_by_failed_lookups_and_by_another_order() {
    let answers = Mutex::new(vec![
        Ok(addresses(&["10.0.0.1"])),
        Err(io::Error::other("no such name")),
        Ok(Vec::new()),
        Ok(addresses(&["10.0.0.1", "10.0.0.2", "10.0.0.1"])),
        Ok(addresses(&["10.0.0.2", "10.0.0.1"])),
    ]);
    let lookup = Scripted(move |_: &str| answers.lock().pop().unwrap());
    let client = Client::builder().build().unwrap();
    let dns = DnsDiscovery::with_lookup("pool.example:3000", lookup).unwrap();
    let mut membership = Membership::new(&client, dns);
    let mut refresh = || {
        let text = membership.refresh(SystemTime::UNIX_EPOCH).map(|change| change.to_string());
        (text.unwrap_or_else(|error| error.kind().to_string()), client.pool().len())
    };
    assert_eq!(refresh(), ("joined: http://10.0.0.1:3000, http://10.0.0.2:3000".to_owned(), 2));
    assert_eq!(refresh(), ("no change".to_owned(), 2));
    assert_eq!(refresh(), ("unresolved".to_owned(), 2));
    assert_eq!(refresh(), ("unresolved".to_owned(), 2));
    assert_eq!(refresh(), ("left: http://10.0.0.2:3000".to_owned(), 1));
}

#[test]
fn all_addresses_of_a_name_are_peers() {
    let many =
        (0..1000_u16).map(|number| IpAddr::from([10, 0, number.to_be_bytes()[0], number.to_be_bytes()[1]]));
    let many: Vec<IpAddr> = many.collect();
    let lookup = Scripted(move |_: &str| Ok(many.clone()));
    assert_eq!(members(&mut DnsDiscovery::with_lookup("pool.example:3000", lookup).unwrap()).len(), 1000);
}

#[test]
fn a_lookup_that_hangs_times_out() {
    let (hold, held) = mpsc::channel::<()>();
    let held = Mutex::new(held);
    let hanging = Scripted(move |_: &str| {
        let _ = held.lock().recv();
        Ok(Vec::new())
    });
    let dns = DnsDiscovery::with_lookup("pool.example:3000", hanging).unwrap();
    let error = dns.timeout(Duration::from_millis(1)).read().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Timeout);
    drop(hold);
}

#[test]
fn an_answer_is_used_for_its_ttl() {
    let dns = DnsDiscovery::new("pool.example:3000").unwrap();
    assert_eq!(dns.interval(), Duration::from_secs(30));
    assert_eq!(dns.ttl(Duration::from_secs(5)).interval(), Duration::from_secs(5));
}
