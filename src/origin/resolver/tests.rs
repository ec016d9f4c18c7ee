use std::io;
use std::net::TcpListener;
use std::time::Duration;

use super::super::options::Options;
use super::super::testing::{ScriptedLookup, ScriptedOrigin, accept, get};
use super::super::transport::Origin;
use ureq::unversioned::resolver::Resolver as _;

use super::*;
use crate::base::clock::{ManualClock, SystemClock};
use crate::base::error::ErrorKind;

const LIFETIME: Duration = Duration::from_secs(30);

fn resolver(lookup: &ScriptedLookup, rules: &str) -> OriginResolver {
    let resolver = Resolver::new(lookup.clone(), Arc::new(SystemClock), LIFETIME);
    OriginResolver { resolver, rules: rules.parse().unwrap() }
}

/// Returns the addresses that ureq would connect to.
fn resolved(resolver: &OriginResolver, url: &str) -> Result<Vec<String>, Error> {
    let timeout = NextTimeout::default();
    match resolver.resolve(&url.parse().unwrap(), &Config::default(), timeout) {
        Ok(addresses) => Ok(addresses.iter().map(ToString::to_string).collect()),
        Err(ureq::Error::Other(error)) => Err(*error.downcast::<Error>().unwrap()),
        Err(other) => panic!("{other}"),
    }
}

fn leads_to(addresses: &'static [&'static str]) -> ScriptedLookup {
    ScriptedLookup::new(move |_, _| Ok(addresses.iter().map(|address| address.parse().unwrap()).collect()))
}

#[test]
fn literal_addresses_need_no_lookup() {
    let lookup = leads_to(&[]);
    let resolver = resolver(&lookup, "any");
    for (url, expected) in [
        ("http://192.0.2.1/", "192.0.2.1:80"),
        ("https://192.0.2.1", "192.0.2.1:443"),
        ("http://[2001:db8::1]:8080/", "[2001:db8::1]:8080"),
    ] {
        assert_eq!(resolved(&resolver, url).unwrap(), [expected]);
    }
    assert_eq!(lookup.count(), 0);
}

#[test]
fn numeric_host_that_is_not_a_literal_address_is_a_name() {
    let lookup = leads_to(&["127.0.0.1"]);
    let refused = resolved(&resolver(&lookup, "public"), "http://2130706433/").unwrap_err();
    assert_eq!((refused.kind(), lookup.count()), (ErrorKind::Forbidden, 1));
}

#[test]
fn forbidden_addresses_are_skipped() {
    let lookup = leads_to(&["127.0.0.1", "8.8.8.8", "::1", "::ffff:8.8.4.4", "2600::1", "169.254.169.254"]);
    let found = resolved(&resolver(&lookup, "public"), "https://A.example/").unwrap();
    assert_eq!(found, ["8.8.8.8:443", "[2600::1]:443"]);
}

#[test]
fn request_is_forbidden_if_all_addresses_are_forbidden() {
    let lookup = leads_to(&["10.0.0.1", "::1"]);
    let refused = resolved(&resolver(&lookup, "public"), "http://a.example/").unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Forbidden);
    assert!(refused.message().contains("private"), "{refused:?}");
    assert!(!refused.to_string().contains("10.0.0.1"));
}

#[test]
fn unresolved_name_differs_from_a_forbidden_one() {
    let refused = resolved(&resolver(&leads_to(&[]), "public"), "http://a.example/").unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Unresolved);
    let failing = ScriptedLookup::new(|_, _| Err(io::Error::other("no such name")));
    let refused = resolved(&resolver(&failing, "public"), "http://a.example/").unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Unresolved);
    assert_eq!(refused.reason(), "cannot resolve the host name: no such name");
}

#[test]
fn at_most_sixteen_addresses_are_returned() {
    let lookup = ScriptedLookup::new(|_, _| {
        let bad = (0..20).map(|last| IpAddr::from([10, 0, 0, last]));
        let good =
            (0..980_u16).map(|number| IpAddr::from([8, 8, number.to_be_bytes()[0], number.to_be_bytes()[1]]));
        Ok(bad.chain(good).collect())
    });
    let found = resolved(&resolver(&lookup, "public"), "http://a.example/").unwrap();
    assert_eq!((found.len(), found[0].as_str()), (MAX_ADDRESSES, "8.8.0.0:80"));
}

#[test]
fn slow_lookup_times_out() {
    let (hold, held) = std::sync::mpsc::channel::<()>();
    let held = parking_lot::Mutex::new(held);
    let lookup = ScriptedLookup::new(move |_, _| {
        let _ = held.lock().recv();
        Ok(Vec::new())
    });
    let resolver = Resolver::new(lookup, Arc::new(SystemClock), LIFETIME);
    let options = Options::with_resolve_timeout(Duration::from_millis(1));
    let error = get(&Origin::with_resolver(options, resolver), "http://a.example/").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Timeout);
    assert_eq!(error.message(), "the host name was not resolved in time");
    drop(hold);
}

/// Returns an origin that resolves names through this lookup.
fn origin(lookup: &ScriptedLookup, clock: &Arc<ManualClock>, rules: &str) -> Origin {
    let resolver = Resolver::new(lookup.clone(), Arc::clone(clock) as _, LIFETIME);
    let options = Options { rules: rules.parse().unwrap(), ..Options::default() };
    Origin::with_resolver(options, resolver)
}

const OK: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

#[test]
fn checked_address_is_the_one_connected_to() {
    let server = ScriptedOrigin::new(|listener| {
        let mut connection = accept(listener);
        connection.receive();
        connection.send(OK);
        connection.receive();
        connection.send(OK);
    });
    // A second lookup would return another address.
    let lookup = ScriptedLookup::new(|_, count| Ok(vec![IpAddr::from([127, 0, 0, count])]));
    let clock = Arc::new(ManualClock::at_unix_seconds(1000));
    let origin = origin(&lookup, &clock, "listed,allow:a.example@127.0.0.1");
    let url = format!("http://a.example:{}/", server.address().port());
    for _ in 0..2 {
        assert_eq!(get(&origin, &url).unwrap().into_body().into_text().unwrap(), "ok");
    }
    assert_eq!(lookup.count(), 1);
    // After its lifetime the name resolves to a forbidden address, and the idle connection is not used
    // either.
    clock.advance(LIFETIME);
    assert_eq!(get(&origin, &url).unwrap_err().kind(), ErrorKind::Forbidden);
    assert_eq!(lookup.count(), 2);
    server.finish();
}

#[test]
fn name_of_a_forbidden_url_is_not_looked_up() {
    let lookup = leads_to(&["8.8.8.8"]);
    let origin = origin(&lookup, &Arc::new(ManualClock::at_unix_seconds(1000)), "public,deny:*.bad.example");
    let error = get(&origin, "http://A.bad.example/a?secret").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Forbidden);
    assert!(!error.to_string().contains("secret"));
    assert_eq!(lookup.count(), 0);
}

#[test]
fn new_rules_close_idle_connections() {
    let server = ScriptedOrigin::new(|listener| {
        let mut first = accept(listener);
        first.receive();
        first.send(OK);
        // The client closes the idle connection instead of using it again.
        first.wait_for_close();
        let mut second = accept(listener);
        second.receive();
        second.send(OK);
    });
    let origin = Origin::new();
    let clone = origin.clone();
    get(&origin, &server.url()).unwrap().into_body().into_bytes().unwrap();
    clone.set_rules(OriginRules::public());
    assert_eq!(get(&origin, &server.url()).unwrap_err().kind(), ErrorKind::Forbidden);
    clone.set_rules(OriginRules::any());
    get(&origin, &server.url()).unwrap().into_body().into_bytes().unwrap();
    server.finish();
}

#[test]
fn name_is_looked_up_again_after_an_unreachable_address() {
    let nobody = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = nobody.local_addr().unwrap().port();
    drop(nobody);
    let lookup = leads_to(&["127.0.0.1"]);
    let origin = origin(&lookup, &Arc::new(ManualClock::at_unix_seconds(1000)), "any");
    for count in 1..3 {
        let error = get(&origin, &format!("http://a.example:{port}/")).unwrap_err();
        assert_eq!((error.kind(), lookup.count()), (ErrorKind::Unreachable, count));
    }
}
