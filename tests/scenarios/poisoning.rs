//! Cache poisoning: one client tries to control the response that another client gets. The origin here is vulnerable
//! to all of these attacks, but only the attacker may see the effect.

use forwardcache::Outcome;
use forwardcache::policy::{Mode, Rules, UnknownFields};

use crate::local::{LocalPeer, escaped, send};
use crate::support::origin::{Origin, Received, Reply};

/// An origin that reflects every header field and makes the response cacheable by everyone.
fn reflecting_origin() -> Origin {
    Origin::start(|received: &Received| {
        let fields: Vec<String> = received
            .headers
            .iter()
            .filter(|(name, _)| *name != "via")
            .map(|(name, value)| format!("{name}: {}\n", String::from_utf8_lossy(value.as_bytes())))
            .collect();
        let body = String::from_utf8_lossy(&received.body).into_owned();
        let text = format!("{} {}\n{}{body}", received.method, received.target, fields.concat());
        Reply::ok(text).field("Cache-Control", "public, max-age=60")
    })
}

/// Fields that are not part of the cache key and must be dropped on the way to the origin.
const UNKEYED_FIELDS: [&str; 38] = [
    "X_Forwarded_Host: evil.example",
    "X-Original_URL: /evil",
    "X_HTTP_Method_Override: EVIL",
    "X-Middleware-Rewrite: /evil",
    "X-Forward-Host: evil.example",
    "X-Override-URL: /evil",
    "Content-Type: evil",
    "X-Remote-User: evil",
    "X-Forwarded-Host: evil.example",
    "X-Forwarded-Server: evil.example",
    "X-Forwarded-For: 6.6.6.6, evil",
    "X-Forwarded-Proto: evil",
    "X-Forwarded-Scheme: evil",
    "X-Forwarded-Port: 666evil",
    "X-Forwarded-Prefix: /evil",
    "X-Forwarded-Path: /evil",
    "X-Forwarded: host=evil",
    "Forwarded: for=evil;host=evil.example;proto=http",
    "Forwarded-For: evil",
    "X-Host: evil.example",
    "X-Original-Host: evil.example",
    "X-HTTP-Host-Override: evil.example",
    "X-HTTP-DestinationURL: http://evil.example/",
    "X-Original-URL: /evil",
    "X-Rewrite-URL: /evil",
    "X-Url-Scheme: evil",
    "Front-End-Https: evil",
    "Proxy: http://evil.example/",
    "X-Real-IP: evil",
    "X-Client-IP: evil",
    "Client-IP: evil",
    "True-Client-IP: evil",
    "CF-Connecting-IP: evil",
    "X-Cluster-Client-IP: evil",
    "X-HTTP-Method-Override: EVIL",
    "X-HTTP-Method: EVIL",
    "X-Method-Override: EVIL",
    "X-Method: EVIL",
];

fn is_clean(text: &[u8]) -> bool {
    !String::from_utf8_lossy(text).to_lowercase().contains("evil")
}

#[test]
fn rewriting_fields_are_not_forwarded() {
    for mode in [Mode::Private, Mode::Shared] {
        let (origin, peer) = (reflecting_origin(), LocalPeer::start_with(|builder| builder.mode(mode)));
        for (number, field) in UNKEYED_FIELDS.iter().enumerate() {
            let url = origin.url(&format!("/{number}"));
            for method in ["GET", "HEAD"] {
                assert_eq!(peer.send(method, &url, &format!("{field}\r\n")).status, 200);
            }
            let victim = peer.get(&url);
            assert_eq!(Outcome::of(&victim.headers), Some(Outcome::Hit), "{field}");
            assert!(is_clean(&victim.body), "{field}: {}", String::from_utf8_lossy(&victim.body));
        }
        assert!(origin.seen().iter().all(|received| is_clean(format!("{received:?}").as_bytes())));
    }
}

/// A field that the cache does not know, to which the origin responds without listing it in `Vary`.
#[test]
fn unknown_field_cannot_poison_if_selected_or_dropped() {
    for (unknown_fields, reaches) in
        [(UnknownFields::Forward, true), (UnknownFields::Vary, true), (UnknownFields::Drop, false)]
    {
        let origin = reflecting_origin();
        let rules = Rules::new(Mode::Shared).unknown_fields(unknown_fields);
        let rules = rules.known_fields(["x-harmless".parse().unwrap()]);
        let peer = LocalPeer::start_with(|builder| builder.rules(rules));
        let url = origin.url("/a");
        let attacker = peer.get_with(&url, "X-Template: evil\r\n");
        assert_eq!(is_clean(&attacker.body), !reaches);
        let victim = peer.get_with(&url, "X-Harmless: 1\r\n");
        // With `Forward`, RFC 9111 makes the origin responsible for listing the field in `Vary`.
        assert_eq!(is_clean(&victim.body), unknown_fields != UnknownFields::Forward, "{unknown_fields:?}");
        let again = peer.get_with(&url, "X-Harmless: 2\r\n");
        assert_eq!((again.body, Outcome::of(&again.headers)), (victim.body, Some(Outcome::Hit)));
        if unknown_fields == UnknownFields::Vary {
            // Conversely, a response to a request without the field is not served to a request with it.
            let other = peer.get_with(&url, "X-Template: other\r\n");
            assert!(other.body.windows(15).any(|bytes| bytes == b"template: other"), "{other:?}");
            let again = peer.get_with(&url, "X-Template: evil\r\n");
            assert_eq!(Outcome::of(&again.headers), Some(Outcome::Hit), "the selected response is stored");
        }
    }
}

/// Raw requests with which the attacker tries to store its own response for `/a`; `URL` is replaced by the escaped
/// URL.
const CONFUSING_REQUESTS: [&str; 19] = [
    // A GET with a body to which the origin responds.
    "GET /proxy?q=URL HTTP/1.1\r\nHost: localhost\r\nContent-Length: 4\r\n\r\nevil",
    "GET /proxy?q=URL HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nevil\r\n0\r\n\r\n",
    // The host of the peer differs from the host of the origin.
    "GET /proxy?q=URL HTTP/1.1\r\nHost: evil.example\r\n\r\n",
    "GET http://evil.example/proxy?q=URL HTTP/1.1\r\nHost: evil.example\r\n\r\n",
    "GET /proxy?q=URL HTTP/1.1\r\nHost: localhost\r\nHost: evil.example\r\n\r\n",
    "GET /proxy?q=URL HTTP/1.1\r\nHost : evil.example\r\n\r\n",
    "GET /proxy?q=URL HTTP/1.1\r\nHost: localhost\r\n X: evil\r\n\r\n",
    // A second query parameter, a hidden one, a fragment, another path, a line break.
    "GET /proxy?q=URL&q=evil HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "GET /proxy?q=URL;evil=1 HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "GET /proxy?q=URL%3Fevil HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "GET /proxy?q=URL%23evil HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "GET /proxy?q=URL%2F..%2Fevil HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "GET /proxy?q=URL%5C..%5Cevil HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "GET /proxy?q=URL%252f..%252fevil HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "GET /proxy?q=URL%0d%0aX-Evil:evil HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "GET /proxy/evil?q=URL HTTP/1.1\r\nHost: localhost\r\n\r\n",
    // An unknown method and a POST.
    "EVIL /proxy?q=URL HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "POST /proxy?q=URL HTTP/1.1\r\nHost: localhost\r\nContent-Length: 4\r\n\r\nevil",
    // Fields listed in `Connection` are removed before the key is computed.
    "GET /proxy?q=URL HTTP/1.1\r\nHost: localhost\r\nConnection: x-evil\r\nX-Evil: evil\r\n\r\n",
];

#[test]
fn confusing_request_fills_only_its_own_key() {
    for mode in [Mode::Private, Mode::Shared] {
        for request in CONFUSING_REQUESTS {
            let (origin, peer) = (reflecting_origin(), LocalPeer::start_with(|builder| builder.mode(mode)));
            let url = origin.url("/a");
            let _ = crate::support::raw::exchange(peer.address(), request.replace("URL", &escaped(&url)));
            let victim = peer.get(&url);
            assert_eq!(victim.status, 200);
            assert!(is_clean(&victim.body), "{request:?}: {}", String::from_utf8_lossy(&victim.body));
            assert!(victim.body.starts_with(b"GET /a\n"), "{}", String::from_utf8_lossy(&victim.body));
        }
    }
}

/// The URL that is requested from the origin matches the cache key, regardless of its spelling.
#[test]
fn requested_url_matches_the_cache_key() {
    let (origin, peer) = (reflecting_origin(), LocalPeer::start());
    let base = origin.url("");
    for (spelling, path) in [
        ("/x/../a", "/a"),
        ("/%61", "/a"),
        ("/a#fragment", "/a"),
        ("/./a", "/a"),
        ("/%2e%2e/a", "/a"),
        ("//a", "//a"),
        ("/a;b", "/a;b"),
        ("/a%2fb", "/a%2Fb"),
        ("/A", "/A"),
        ("/a?b", "/a?b"),
        ("/a\\b", "/a%5Cb"),
    ] {
        let answer = peer.get(&format!("{base}{spelling}"));
        let asked = format!("GET {path}\n");
        assert!(
            answer.body.starts_with(asked.as_bytes()),
            "{spelling}: {}",
            String::from_utf8_lossy(&answer.body)
        );
        let upper = format!("HTTP{}{path}", &base[4..]);
        assert_eq!(Outcome::of(&peer.get(&upper).headers), Some(Outcome::Hit), "{spelling}");
    }
    assert_eq!(origin.count_of("/a"), 1);
}

/// Requests that provoke a failure: the failure must not affect other clients.
#[test]
fn provoked_failure_is_not_served_to_others() {
    let origin = Origin::start(|received: &Received| {
        let is_odd = received.headers.iter().any(|(name, value)| *name != "via" && value.len() > 4096)
            || received.field("range").is_some()
            || received.field("expect").is_some();
        let reply = if is_odd { Reply::status(400).body("evil") } else { Reply::ok("good") };
        reply.field("Cache-Control", "max-age=60")
    });
    let peer = LocalPeer::start_with(|builder| {
        builder.rules(Rules::new(Mode::Shared).unknown_fields(UnknownFields::Vary))
    });
    let long = "x".repeat(5000);
    for (number, fields) in [
        format!("X-Oversized: {long}\r\n"),
        "Range: bytes=evil\r\n".into(),
        "X-Meta: a\x07b\r\n".into(),
        "X-Meta: \0\r\n".into(),
    ]
    .iter()
    .enumerate()
    {
        let url = origin.url(&format!("/{number}"));
        let _ = peer.get_with(&url, fields);
        let target = format!("/proxy?q={}", escaped(&url));
        let victim = send(peer.address(), "GET", &target, "");
        assert_eq!((victim.status, &victim.body[..]), (200, &b"good"[..]), "{fields:.30}");
    }
}

#[test]
fn post_response_is_not_stored_if_unknown_fields_are_untrusted() {
    for unknown_fields in [UnknownFields::Vary, UnknownFields::Drop] {
        let origin = Origin::start(|received: &Received| {
            let text = format!("{} {}", received.method, String::from_utf8_lossy(&received.body));
            Reply::ok(text).field("Cache-Control", "max-age=60").field("Content-Location", &received.target)
        });
        let rules = Rules::new(Mode::Shared).unknown_fields(unknown_fields);
        let peer = LocalPeer::start_with(|builder| builder.rules(rules));
        let url = origin.url("/a");
        assert_eq!(peer.send("POST", &url, "X-Evil: evil\r\n").status, 200);
        assert_eq!(peer.get(&url).body, b"GET ");
    }
}

/// A reflected field is not confirmed for other clients by a 304, although the body is the same.
#[test]
fn a_304_does_not_share_reflected_fields() {
    let origin = Origin::start(|received: &Received| {
        let link = received.field("x-template").unwrap_or("none").to_owned();
        let is_known = received.field("if-none-match").is_some_and(|tags| tags.contains("\"1\""));
        let reply =
            if is_known { Reply::status(304) } else { Reply::ok("the same bytes").field("Link", link) };
        reply.field("ETag", "\"1\"").field("Cache-Control", "public, max-age=60")
    });
    let rules = Rules::new(Mode::Shared).unknown_fields(UnknownFields::Vary);
    let peer = LocalPeer::start_with(|builder| builder.rules(rules));
    let url = origin.url("/a");
    assert_eq!(peer.get_with(&url, "X-Template: evil\r\n").field("link"), Some("evil"));
    for _ in 0..2 {
        assert_eq!(peer.get(&url).field("link"), Some("none"));
        assert_eq!(peer.get_with(&url, "X-Template: other\r\n").field("link"), Some("other"));
    }
}
