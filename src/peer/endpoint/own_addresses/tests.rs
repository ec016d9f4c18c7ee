use super::*;

#[test]
fn own_authorities_are_loopback_localhost_and_the_own_url() {
    let own = PeerUrl::parse("http://cache.example:3000").unwrap();
    let addresses = OwnAddresses::default();
    addresses.add("0.0.0.0:3000".parse().unwrap());
    addresses.add("10.0.0.1:3000".parse().unwrap());
    addresses.add_admin("[::ffff:10.0.0.1]:3001".parse().unwrap());
    for (authority, is_own) in [
        ("127.0.0.1:3000", true),
        ("127.0.0.1", true),
        ("127.8.9.10:81", true),
        ("[::1]:3000", true),
        ("[::1]", true),
        ("[::ffff:127.0.0.1]:3000", true),
        ("localhost", true),
        ("LocalHost:8080", true),
        ("localhost:", true),
        ("cache.example:3000", true),
        ("CACHE.Example:3000", true),
        ("cache.example:3001", true),
        ("10.0.0.1:3000", true),
        ("10.0.0.1:3001", true),
        ("[::ffff:10.0.0.1]:3001", true),
        ("", false),
        (":3000", false),
        ("0.0.0.0:3000", false),
        ("[::]:3000", false),
        ("[::ffff:0.0.0.0]:3000", false),
        ("10.0.0.2:3000", false),
        ("[::ffff:10.0.0.2]:3000", false),
        ("10.0.0.1", false),
        ("10.0.0.1:3002", false),
        ("cache.example", false),
        ("cache.example:80", false),
        ("cache.example:3002", false),
        ("cache.example.:3000", false),
        ("localhost.", false),
        ("localhost.evil.example", false),
        ("a-name:3000", false),
        ("evil.example:3000", false),
        ("localhost@evil.example", false),
        ("user@localhost:3000", false),
        ("user@cache.example:3000", false),
        ("::1", false),
        ("[127.0.0.1]", false),
        ("[::1", false),
        ("[::1]x", false),
        ("127.1", false),
        ("0x7f.0.0.1", false),
        ("localhost:x", false),
        ("localhost:+1", false),
        ("localhost:65536", false),
        ("localhost:80:80", false),
    ] {
        assert_eq!(addresses.has_authority(authority.as_bytes(), 80, &own), is_own, "{authority}");
    }
    assert!(!addresses.has_authority(b"caf\xe9", 80, &own));
    let own = PeerUrl::parse("https://cache.example").unwrap();
    for (authority, port, is_own) in [
        ("cache.example", 443, true),
        ("cache.example:443", 80, true),
        ("cache.example", 80, true),
        ("cache.example:80", 443, false),
    ] {
        assert_eq!(addresses.has_authority(authority.as_bytes(), port, &own), is_own, "{authority}");
    }
    let own = PeerUrl::parse("http://127.0.0.1:3000").unwrap();
    assert!(addresses.has_authority(b"127.0.0.1:5000", 80, &own), "a forwarded port");
    let own = PeerUrl::parse("http://[2001:db8::1]:3000").unwrap();
    assert!(addresses.has_authority(b"[2001:DB8::1]:3000", 80, &own));
    assert!(!addresses.has_authority(b"[2001:db8::2]:3000", 80, &own));
}

#[test]
fn one_reachable_address_makes_the_peer_reachable() {
    let addresses = OwnAddresses::default();
    assert!(!addresses.are_all_loopback());
    addresses.add_admin("0.0.0.0:3001".parse().unwrap());
    assert!(!addresses.are_admin_all_loopback());
    for (bound, is_loopback) in [
        ("127.0.0.1:3000", true),
        ("[::1]:3000", true),
        ("[::ffff:127.0.0.1]:3000", true),
        ("0.0.0.0:3000", false),
        ("127.0.0.1:3001", false),
    ] {
        addresses.add(bound.parse().unwrap());
        assert_eq!(addresses.are_all_loopback(), is_loopback, "{bound}");
    }
}

#[test]
fn own_url_is_recognized_in_every_spelling() {
    for (bound, url, own) in [
        ("127.0.0.1:3000", "http://127.0.0.1:3000/", true),
        ("127.0.0.1:3000", "http://localhost:3000/", true),
        ("127.0.0.1:3000", "http://LOCALHOST:3000/", true),
        ("127.0.0.1:3000", "http://[::ffff:127.0.0.1]:3000/", true),
        ("127.0.0.1:3000", "http://0.0.0.0:3000/", true),
        ("127.0.0.1:3000", "http://127.0.0.1:3001/", false),
        ("127.0.0.1:3000", "http://127.0.0.2:3000/", false),
        ("127.0.0.1:3000", "http://example.com:3000/", false),
        ("127.0.0.1:80", "http://127.0.0.1/", true),
        ("0.0.0.0:3000", "http://127.0.0.9:3000/", true),
        ("[::]:3000", "http://[::1]:3000/", true),
        ("10.0.0.1:3000", "http://10.0.0.1:3000/x", true),
        ("10.0.0.1:3000", "http://localhost:3000/", false),
        ("10.0.0.1:3001", "http://cache.example:3001/", true),
        ("10.0.0.1:3001", "http://cache.example:3002/", false),
    ] {
        let self_url = PeerUrl::parse("http://cache.example:3000").unwrap();
        let is_own_url = |add: fn(&OwnAddresses, SocketAddr)| {
            let addresses = OwnAddresses::default();
            add(&addresses, bound.parse().unwrap());
            addresses.has_url(&CanonicalUrl::parse(url).unwrap(), &self_url)
        };
        assert_eq!(is_own_url(OwnAddresses::add), own, "{bound} {url}");
        assert_eq!(is_own_url(OwnAddresses::add_admin), own, "admin address: {bound} {url}");
    }
}
