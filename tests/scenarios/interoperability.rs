//! Interoperability with other HTTP clients, unusual origins and operator rules. A program that requests `/proxy?q=`
//! without the client of this crate sees every origin under the host of the peer.

use std::sync::{Arc, Mutex};

use forwardcache::origin::OnInterim;
use forwardcache::{Outcome, RoundTrip};
use http::Request;

use crate::local::{LocalPeer, escaped, send};
use crate::processes::PeerProcess;
use crate::support::origin::{Gate, Origin, Piece, Reply};
use crate::support::process::run;

const FIELDS: [(&str, &str); 6] = [
    ("Set-Cookie", "a=1"),
    ("Strict-Transport-Security", "max-age=60"),
    ("Alt-Svc", "h3=\":443\""),
    ("Clear-Site-Data", "\"*\""),
    ("NEL", "{}"),
    ("Report-To", "{}"),
];

fn page() -> Reply {
    let reply = Reply::status(302).field("Cache-Control", "max-age=60").field("Location", "/next?a#b");
    FIELDS
        .iter()
        .fold(reply.field("Content-Location", "here"), |reply, (name, value)| reply.field(name, value))
}

#[test]
fn host_wide_fields_of_an_origin_are_removed_for_other_clients() {
    for pass_cookies in [false, true] {
        let origin = Origin::replies([page()]);
        let peer = LocalPeer::start_with(|builder| builder.pass_cookies(pass_cookies));
        let url = origin.url("/a/b");
        // A miss, then a hit.
        for _ in 0..2 {
            let answer = peer.get(&url);
            assert_eq!(answer.status, 302);
            assert_eq!(answer.field("location"), Some(&*origin.url("/next?a#b")));
            assert_eq!(answer.field("content-location"), Some(&*origin.url("/a/here")));
            for (name, _) in FIELDS {
                let is_there = answer.field(name).is_some();
                assert_eq!(is_there, pass_cookies && name == "Set-Cookie", "{name}");
            }
        }
        // Clients of this crate know the origin of a response, so they get the original fields.
        let request = || Request::get(&url).body(forwardcache::Body::empty()).unwrap();
        for response in
            [peer.client().round_trip(request()).unwrap(), peer.peer.round_trip(request()).unwrap()]
        {
            assert_eq!(Outcome::of(response.headers()), Some(Outcome::Hit));
            assert_eq!(response.headers()["location"], "/next?a#b");
            for (name, value) in FIELDS {
                assert_eq!(response.headers()[name], value);
            }
        }
        assert_eq!(origin.count(), 1);
    }
}

#[test]
fn other_fields_are_unchanged_in_a_hit() {
    let origin = Origin::replies([Reply::ok("x").field("Cache-Control", "max-age=60").field("X-A", "1")]);
    let peer = LocalPeer::start();
    for _ in 0..3 {
        assert_eq!(peer.get(&origin.url("/")).field("x-a"), Some("1"));
    }
    assert_eq!(origin.count(), 1);
}

/// Interim responses precede the response on each hop and are never stored (RFC 9110 section 15.2, RFC 8297).
#[test]
fn interim_responses_are_forwarded_before_the_response() {
    let gate = Gate::new();
    let hints =
        "HTTP/1.1 103 Early Hints\r\nLink: </a.css>; rel=preload\r\nX-Hop: 1\r\nConnection: x-hop\r\n\r\n";
    let pieces = |gate: &Gate| {
        [
            Piece::from(hints),
            Piece::Wait(gate.clone()),
            Piece::from(
                "HTTP/1.1 102 Processing\r\n\r\nHTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\nContent-Length: 2\r\n\r\nok",
            ),
        ]
    };
    let origin = Origin::replies([Reply::raw_pieces(pieces(&gate)), Reply::raw_pieces(pieces(&gate))]);
    let peer = LocalPeer::start();
    let mut connection = peer.start_get(&origin.url("/"));
    let early = connection.read_response();
    assert_eq!((early.status, early.field("link")), (103, Some("</a.css>; rel=preload")));
    assert_eq!((early.field("x-hop"), early.field("connection")), (None, None));
    gate.open();
    assert_eq!(connection.read_response().status, 102);
    let answer = connection.read_response();
    assert_eq!((answer.status, &*answer.body), (200, &b"ok"[..]));
    // A hit has no interim response.
    let answer = peer.get(&origin.url("/"));
    assert_eq!((answer.status, Outcome::of(&answer.headers)), (200, Some(Outcome::Hit)));

    let interim = Arc::new(Mutex::new(Vec::new()));
    let recorder = Arc::clone(&interim);
    let on_interim = OnInterim::new(move |status, headers| {
        recorder.lock().unwrap().push((status.as_u16(), headers.get("link").cloned()));
    });
    let request = Request::get(origin.url("/other")).extension(on_interim);
    let response = peer.client().round_trip(request.body(forwardcache::Body::empty()).unwrap()).unwrap();
    assert_eq!(response.into_body().into_text().unwrap(), "ok");
    let interim: Vec<_> =
        interim.lock().unwrap().iter().map(|(status, link)| (*status, link.is_some())).collect();
    assert_eq!(interim, [(103, true), (102, false)]);
}

#[test]
fn http_1_0_client_gets_no_interim_response() {
    let reply =
        "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
    let origin = Origin::replies([Reply::raw(reply)]);
    let peer = LocalPeer::start();
    let target = escaped(&origin.url("/"));
    let mut connection = crate::support::raw::Connection::open(peer.address());
    let host = peer.address();
    connection.write(format!("GET /proxy?q={target} HTTP/1.0\r\nHost: {host}\r\n\r\n"));
    let answer = String::from_utf8(connection.read_to_end()).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n") && answer.ends_with("\r\n\r\nok"), "{answer}");
}

#[test]
fn unusual_but_unambiguous_heads_are_accepted_on_every_hop() {
    let links: String = (0..200).map(|number| format!("Link: </{number}>\r\n")).collect();
    let padding = "x".repeat(40_000);
    let reply = format!(
        "HTTP/1.2 200\r\n{links}X-A : 1\r\nX-B: 2\r\n 3\r\nX-Long: {padding}\r\nTransfer-Encoding: chunked\r\n\r\n2;{}\r\nok\r\n0\r\nX-C: 4\r\n\r\n",
        "e=1;".repeat(100),
    );
    let origin = Origin::replies([Reply::raw(reply)]);
    let peer = LocalPeer::start();
    let response = peer.client().get(&origin.url("/")).send().unwrap();
    let headers = response.headers();
    assert_eq!(headers.get_all("link").iter().count(), 200);
    assert_eq!((headers["x-a"].as_bytes(), headers["x-b"].as_bytes()), (&b"1"[..], &b"2 3"[..]));
    assert_eq!(headers["x-long"].len(), padding.len());
    assert_eq!(response.into_body().into_text().unwrap(), "ok");
}

/// A client accepts heads from a peer that exceed the default limits for origins.
#[test]
fn head_over_the_default_limits_is_accepted_from_a_peer() {
    let links: String =
        (0..3000).map(|number| format!("Link: </{number}-{}>\r\n", "x".repeat(100))).collect();
    let reply = format!("HTTP/1.1 200 OK\r\n{links}Content-Length: 2\r\n\r\nok");
    let origin = Origin::replies([Reply::raw(reply)]);
    let limits = forwardcache::Origin::builder().max_head(512 << 10).max_fields(4000);
    let peer = LocalPeer::start_with(|builder| builder.network(limits));
    let response = peer.client().get(&origin.url("/")).send().unwrap();
    assert_eq!(response.headers().get_all("link").iter().count(), 3000);
    assert_eq!(response.into_body().into_text().unwrap(), "ok");
}

#[test]
fn invalid_lifetime_rule_is_a_usage_error() {
    for (rule, expected) in [
        ("host=a.ex", "the lifetime is missing"),
        ("host=a.ex:http at-least=1h", "the port is not a number"),
        ("at-least=1y", "a time must be a whole number"),
    ] {
        let output = run(["serve", "--listen", "127.0.0.1:0", "--lifetime", rule]);
        assert_eq!(output.status.code(), Some(2));
        let text = String::from_utf8(output.stderr).unwrap();
        assert!(text.contains(expected), "{text}");
    }
}

#[test]
fn operator_options_are_applied() {
    let origin = Origin::start(|received| {
        assert_eq!(received.field("User-Agent"), Some("me/1"));
        match &*received.target {
            "/v1/private" => Reply::ok("x").field("Cache-Control", "private, no-store"),
            "/gone" => Reply::status(404),
            _ => Reply::ok("more than ten bytes").field("Cache-Control", "max-age=60"),
        }
    });
    let port = origin.address().port();
    let lifetime = format!("host=127.0.0.1:{port} path=/v1/ at-least=1h override=no-store,private");
    let peer = PeerProcess::start_as(
        "127.0.0.1:0",
        &[
            "--mode",
            "shared",
            "--lifetime",
            &lifetime,
            "--lifetime",
            "status=404 exactly=60",
            "--max-body",
            "10",
            "--user-agent",
            "me/1",
        ],
    );
    let get = |path: &str, way: &str| {
        send(peer.address, "GET", &format!("{way}?q={}", escaped(&origin.url(path))), "")
    };
    for (path, is_stored) in [("/v1/private", true), ("/gone", true), ("/large", false)] {
        get(path, "/proxy");
        let outcome = Outcome::of(&get(path, "/proxy").headers);
        assert_eq!(outcome == Some(Outcome::Hit), is_stored, "{path}");
    }
    let why = String::from_utf8(get("/large", "/proxy/why").body).unwrap();
    assert!(why.contains(" was not stored: too-large (the limit max_body)\n"), "{why}");
}

#[test]
fn offline_peer_contacts_no_origin() {
    let origin = Origin::start(|_| Reply::ok("x")).may_be_unused();
    let peer = PeerProcess::start_as("127.0.0.1:0", &["--offline"]);
    let answer = send(peer.address, "GET", &format!("/proxy?q={}", escaped(&origin.url("/"))), "");
    assert_eq!((answer.status, origin.count()), (504, 0));
}
