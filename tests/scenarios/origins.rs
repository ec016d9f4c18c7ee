//! Origin rules: a peer must not give its clients access to its internal network.

use forwardcache::origin::{AddressClass, OriginPattern, OriginRules};
use forwardcache::{Client, ErrorKind, Outcome, Peer};

use crate::local::LocalPeer;
use crate::support::origin::{Origin, Reply};
use crate::support::process::Process;

fn peer_for(rules: &str) -> LocalPeer {
    LocalPeer::start_with(|builder| builder.origins(rules.parse().unwrap()))
}

/// Checks that a URL is refused with one line of text, over the wire and in process, and that nothing is stored.
fn assert_forbidden(peer: &LocalPeer, url: &str) {
    let answer = peer.get(url);
    assert_eq!(answer.status, 403, "{url}: {answer:?}");
    assert_eq!(answer.field("forwardcache-error"), Some("forbidden"), "{url}");
    assert_eq!(answer.field("cache-status"), Some("forwardcache; detail=forbidden"));
    assert_eq!(answer.field("cache-control"), Some("no-store"));
    let text = std::str::from_utf8(&answer.body).unwrap();
    assert!(text.ends_with('\n') && text.lines().count() == 1, "{text:?}");
    assert!(!text.contains("127.0.0.1") && !text.contains("secret"), "{text:?}");

    let error = peer.client().get(url).send().unwrap_err();
    assert_eq!((error.kind(), error.is_reported_by_peer()), (ErrorKind::Forbidden, true), "{url}: {error}");
    assert_eq!(peer.peer.get(url).send().unwrap_err().kind(), ErrorKind::Forbidden);
    assert_eq!(peer.peer.cache().store().usage().keys, 0);
}

fn by_name(origin: &Origin, path: &str) -> String {
    format!("http://localhost:{}{path}", origin.address().port())
}

#[test]
fn metadata_and_link_local_addresses_are_always_forbidden() {
    for rules in ["any", "public", "any,allow:*", "any,allow:0.0.0.0/0", "allow:any"] {
        let peer = peer_for(rules);
        for url in [
            "http://169.254.169.254/latest/meta-data/iam/security-credentials/?secret",
            "http://169.254.1.1/",
            "http://[fe80::1]/",
            "http://[fd00:ec2::254]/",
            "http://100.100.100.200/",
            "http://[::ffff:169.254.169.254]/",
            "http://[::ffff:a9fe:a9fe]/",
            "http://[64:ff9b::a9fe:a9fe]/",
            "http://[2002:a9fe:a9fe::]/",
        ] {
            assert_forbidden(&peer, url);
        }
        assert_eq!(peer.peer.stats().counts().origin_requests, 0);
    }
}

#[test]
fn public_rules_forbid_private_addresses() {
    let origin = Origin::start(|_| Reply::ok("hello")).may_be_unused();
    let peer = peer_for("public");
    assert_forbidden(&peer, &origin.url("/a?secret"));
    for host in
        ["10.0.0.1", "192.168.1.1", "172.16.0.1", "100.64.0.1", "0.0.0.0", "[::1]", "[fd00::1]", "[::]"]
    {
        assert_forbidden(&peer, &format!("http://{host}/"));
    }
    assert_eq!(peer.peer.stats().counts().origin_requests, 0);
    // A name that resolves to a private address is refused after the lookup.
    assert_forbidden(&peer, &by_name(&origin, "/a?secret"));
    assert_eq!(origin.count(), 0);
}

#[test]
fn allowed_name_must_not_resolve_to_a_private_address() {
    let origin = Origin::start(|_| Reply::ok("hello"));
    for rules in ["public,allow:localhost", "allow:*", "public,allow:localhost@private"] {
        assert_forbidden(&peer_for(rules), &by_name(&origin, "/"));
    }
    assert_eq!(origin.count(), 0);
    for rules in [
        "public,allow:localhost@loopback",
        "allow:http://localhost@loopback:1-65535",
        "public,allow:127.0.0.0/8,allow:[::1]",
        "any",
    ] {
        let answer = peer_for(rules).get(&by_name(&origin, "/"));
        assert_eq!((answer.status, &answer.body[..]), (200, &b"hello"[..]), "{rules}");
    }
}

#[test]
fn deny_rule_applies_to_every_spelling() {
    let origin = Origin::start(|_| Reply::ok("hello")).may_be_unused();
    let port = origin.address().port();
    let peer = peer_for("any,deny:loopback");
    for host in ["127.0.0.1", "localhost", "LOCALHOST", "[::ffff:127.0.0.1]", "127.0.0.2"] {
        assert_forbidden(&peer, &format!("http://{host}:{port}/"));
    }
    // Spellings that only lenient parsers accept as an address are not valid URLs.
    for host in ["127.1", "2130706433", "0x7f.1", "0177.0.0.1", "%31%32%37.0.0.1", "１２７.0.0.1"] {
        let answer = peer.get(&format!("http://{host}:{port}/"));
        assert_eq!((answer.status, answer.field("forwardcache-error")), (400, Some("bad-url")), "{host}");
    }
    assert_eq!(origin.count(), 0);
}

#[test]
fn redirect_is_passed_on_and_not_followed() {
    let origin =
        Origin::start(|_| Reply::status(302).field("Location", "http://169.254.169.254/latest/meta-data/"));
    let answer = peer_for("allow:127.0.0.1").get(&origin.url("/"));
    assert_eq!(answer.status, 302);
    assert_eq!(answer.field("location"), Some("http://169.254.169.254/latest/meta-data/"));
    assert_eq!(origin.count(), 1);
}

#[test]
fn stored_response_is_served_only_if_the_rules_allow_its_origin() {
    let origin = Origin::start(|_| Reply::ok("hello").field("Cache-Control", "max-age=60"));
    let url = origin.url("/");
    let rules = OriginRules::listed().allow(OriginPattern::class(AddressClass::Loopback));
    let open = LocalPeer::start_with(|builder| builder.origins(rules));
    for outcome in ["miss", "hit", "hit"] {
        let response = open.client().get(&url).send().unwrap();
        assert_eq!(Outcome::of(response.headers()).unwrap().name(), outcome);
    }
    // A second peer with the same cache and stricter rules.
    let peer = Peer::builder("http://127.0.0.1:1").origin(open.peer.cache().clone());
    let closed = peer.origins(OriginRules::public()).build().unwrap();
    assert_eq!(closed.get(&url).send().unwrap_err().kind(), ErrorKind::Forbidden);
    assert_eq!(origin.count(), 1);
}

#[test]
fn command_applies_the_origin_rules() {
    let origin = Origin::start(|_| Reply::ok("hello"));
    let ask = |rules: &str| {
        let process = Process::spawn(["serve", "--listen", "127.0.0.1:0", "--origins", rules]);
        let serving = process.wait_for_line("serving on");
        let peer =
            serving.split(' ').find(|word| word.starts_with("http://")).expect("the line contains the URL");
        let client = Client::builder().pool([peer]).build().unwrap();
        client.get(&origin.url("/")).send().map(|response| response.status().as_u16())
    };
    assert_eq!(ask("public").unwrap_err().kind(), ErrorKind::Forbidden);
    assert_eq!(ask("public,allow:loopback").unwrap(), 200);
    assert_eq!(origin.count(), 1);
}

#[test]
fn changed_rules_apply_to_all_later_requests() {
    let origin = Origin::start(|_| Reply::ok("hello").field("Cache-Control", "max-age=60"));
    let (peer, url) = (peer_for("any"), origin.url("/a"));
    assert_eq!(peer.get(&url).status, 200);
    peer.peer.set_origins(OriginRules::public());
    let refused = peer.get(&url);
    assert_eq!((refused.status, refused.field("forwardcache-error")), (403, Some("forbidden")));
    assert_eq!(peer.peer.get(&url).send().unwrap_err().kind(), ErrorKind::Forbidden);
    // The new rules also apply to names that resolve to a private address.
    assert_eq!(peer.get(&by_name(&origin, "/b")).status, 403);
    assert_eq!(peer.peer.origins(), OriginRules::public());
    peer.peer.set_origins(OriginRules::any());
    assert_eq!(peer.get(&url).status, 200);
    assert_eq!(peer.get(&by_name(&origin, "/b")).status, 200);
    assert_eq!(origin.count_of("/a"), 2, "the response stored under the previous rules has been removed");
}
