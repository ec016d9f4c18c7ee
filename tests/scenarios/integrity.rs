//! Digests sent by origins and by peers, and responses that do not match them.

use forwardcache::client::OnNoPeers;
use forwardcache::{Client, Error, ErrorKind, Outcome};

use crate::local::LocalPeer;
use crate::support::origin::{Origin, Reply};
use crate::support::raw::Connection;

/// The digest of `hello`, as in RFC 9530.
const SHA_256: &str = "sha-256=:LPJNul+wow4m6DsqxbninhsWHlwfp0JecwQzYpOLmCQ=:";
const SHA_512: &str =
    "sha-512=:m3HSJL1i83hdltRq0+o9czGb+8KJDKra4t/3JRlnPKcjI8PZm6XBHXx6zG4UuMXaDEZjR1wuXDre9G9zvN7AQw==:";

#[test]
fn origin_digest_mismatch_fails_the_response_and_prevents_storing() {
    for name in ["Content-Digest", "Repr-Digest"] {
        for digest in [SHA_256, SHA_512] {
            for is_chunked in [false, true] {
                let origin = Origin::start(move |received| {
                    let body = if received.target == "/right" { "hello" } else { "hallo" };
                    let reply = Reply::ok(body).field(name, digest).field("Cache-Control", "max-age=60");
                    if is_chunked { reply.chunked() } else { reply }
                });
                let peer = LocalPeer::start();
                for expected in [None, Some(Outcome::Hit)] {
                    let answer = peer.get(&origin.url("/right"));
                    assert_eq!((&answer.body[..], answer.cut), (&b"hello"[..], None));
                    assert_eq!(answer.field(name), Some(digest));
                    assert_eq!(
                        Outcome::of(&answer.headers).filter(|outcome| *outcome == Outcome::Hit),
                        expected
                    );
                }
                for _ in 0..2 {
                    let answer = peer.get(&origin.url("/wrong"));
                    // A short body with a length is verified before the head is sent, so the error has a status.
                    let has_error_status =
                        answer.status == 502 && answer.field("forwardcache-error") == Some("digest-mismatch");
                    assert!(
                        if is_chunked { answer.cut.is_some() } else { has_error_status },
                        "{name} {digest} {answer:?}"
                    );
                }
                assert_eq!((origin.count_of("/right"), origin.count_of("/wrong")), (1, 2));
                assert_eq!(peer.peer.stats().counts().digest_mismatches, 2);
                assert_eq!(peer.peer.stats().counts().stored, 1);
                let error = peer
                    .peer
                    .get(&origin.url("/wrong"))
                    .send()
                    .unwrap()
                    .into_body()
                    .into_bytes()
                    .unwrap_err();
                assert_eq!(error.kind(), ErrorKind::DigestMismatch);
            }
        }
    }
}

#[test]
fn stored_response_without_body_passes_the_digest_check() {
    let origin = Origin::start(|_| {
        // A 205 must not have a body, but this origin sends five bytes.
        Reply::status(205).field("Cache-Control", "max-age=60").body("12345")
    });
    let peer = LocalPeer::start();
    let client = Client::builder().pool([peer.url()]).on_no_peers(OnNoPeers::Fail).build().unwrap();
    for _ in 0..3 {
        let response = client.get(&origin.url("/")).send().unwrap();
        assert_eq!(response.status(), 205);
        assert!(response.into_body().into_bytes().unwrap().is_empty());
    }
    assert_eq!(origin.count_of("/"), 1);
}

#[test]
fn digest_mismatch_fails_every_sharing_client() {
    let origin = Origin::start(|_| {
        Reply::ok("x".repeat(300_000)).field("Repr-Digest", SHA_256).field("Cache-Control", "max-age=60")
    });
    let peer = LocalPeer::start();
    std::thread::scope(|scope| {
        let clients: Vec<_> =
            (0..8).map(|_| scope.spawn(|| peer.get(&origin.url("/a")).cut.is_some())).collect();
        assert!(clients.into_iter().all(|client| client.join().unwrap()));
    });
    assert_eq!(peer.peer.stats().counts().stored, 0);
}

#[test]
fn partial_and_head_responses_are_not_checked_against_the_whole_digest() {
    let origin = Origin::start(|received| match received.field("range") {
        // `Repr-Digest` covers the whole representation.
        Some(_) => {
            Reply::status(206).field("Content-Range", "bytes 1-3/5").field("Repr-Digest", SHA_256).body("ell")
        }
        None => Reply::ok("hello").field("Repr-Digest", SHA_256).field("Content-Digest", SHA_256),
    });
    let peer = LocalPeer::start();
    let part = peer.get_with(&origin.url("/a"), "Range: bytes=1-3\r\n");
    assert_eq!((part.status, &part.body[..], part.cut), (206, &b"ell"[..], None));
    assert_eq!(peer.send("HEAD", &origin.url("/a"), "").status, 200);
}

#[test]
fn range_from_the_store_drops_content_digest() {
    let origin = Origin::start(|_| {
        let reply = Reply::ok("hello").field("Repr-Digest", SHA_256).field("Content-Digest", SHA_256);
        reply.field("Cache-Control", "max-age=60").field("Last-Modified", "Fri, 15 Jan 2027 08:00:00 GMT")
    });
    let peer = LocalPeer::start();
    peer.get(&origin.url("/a"));
    let part = peer.get_with(&origin.url("/a"), "Range: bytes=1-3\r\n");
    assert_eq!((part.status, part.field("content-digest")), (206, None));
    assert_eq!(part.field("repr-digest"), Some(SHA_256));
    let whole = peer.get(&origin.url("/a"));
    assert_eq!(whole.field("content-digest"), Some(SHA_256));
}

/// A relay between a client and a peer that changes the last byte of each body.
fn altering_relay(peer: &LocalPeer) -> Origin {
    let address = peer.address();
    Origin::start(move |received| {
        let mut connection = Connection::open(address);
        let fields: String = received
            .headers
            .iter()
            .filter(|(name, _)| *name != "host")
            .map(|(name, value)| format!("{name}: {}\r\n", value.to_str().unwrap()))
            .collect();
        connection.write(format!("GET {} HTTP/1.1\r\nHost: {address}\r\n{fields}\r\n", received.target));
        let answer = connection.read_response();
        let mut body = answer.body;
        if let Some(last) = body.last_mut() {
            *last ^= 1;
        }
        let framing = ["content-length", "connection", "transfer-encoding", "date"];
        answer
            .headers
            .iter()
            .filter(|(name, _)| !framing.contains(&name.as_str()))
            .fold(Reply::status(answer.status), |reply, (name, value)| reply.field(name.as_str(), value))
            .body(body)
    })
}

#[test]
fn client_detects_a_body_altered_by_a_peer() {
    let origin = Origin::start(|received| {
        let body = if received.target == "/long" { "x".repeat(100_000) } else { "hello".to_owned() };
        Reply::ok(body).field("Cache-Control", "max-age=60")
    });
    let peer = LocalPeer::start();
    let relay = altering_relay(&peer);
    peer.get(&origin.url("/a"));
    let client = Client::builder().pool([relay.url("")]).on_no_peers(OnNoPeers::Fail).build().unwrap();
    let error: Error = client.get(&origin.url("/a")).send().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::DigestMismatch);
    assert_eq!(error.peer(), Some(&*relay.url("")));
    // A longer body is verified at its end.
    peer.get(&origin.url("/long"));
    let answer = client.get(&origin.url("/long")).send().unwrap();
    assert_eq!(Outcome::of(answer.headers()), Some(Outcome::Hit));
    let error: Error = answer.into_body().into_bytes().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::DigestMismatch);
    let honest = peer.client().get(&origin.url("/a")).send().unwrap();
    assert!(
        honest.headers().get("forwardcache-digest").is_none(),
        "the field is not passed on to the program"
    );
    assert_eq!(honest.into_body().into_text().unwrap(), "hello");
    assert_eq!(origin.count(), 2);
    // With a way around the peer, the client recovers without an error.
    let client = Client::builder().pool([relay.url("")]).build().unwrap();
    assert_eq!(client.get(&origin.url("/a")).send().unwrap().into_body().into_text().unwrap(), "hello");
}

#[test]
fn digest_is_sent_only_on_request_and_never_requested_from_origins() {
    let origin = Origin::start(|_| {
        Reply::ok("hello").field("Cache-Control", "max-age=60").field("Forwardcache-Digest", "sha-256=:AAAA:")
    });
    let peer = LocalPeer::start();
    for _ in 0..2 {
        // This includes a response that is being fetched, if it is complete before its head is sent.
        let asked = peer.get_with(&origin.url("/b"), "Forwardcache: digest\r\n");
        assert_eq!(asked.field("forwardcache-digest"), Some(SHA_256));
        let answer = peer.client().get(&origin.url("/a")).send().unwrap();
        assert_eq!(answer.into_body().into_text().unwrap(), "hello");
    }
    let asked = peer.get_with(&origin.url("/a"), "Forwardcache: digest\r\n");
    assert_eq!(asked.field("forwardcache-digest"), Some(SHA_256));
    assert_eq!(peer.get(&origin.url("/a")).field("forwardcache-digest"), None);
    assert!(origin.seen().iter().all(|received| received.field("forwardcache").is_none()));
}

/// An origin whose parts do not match the digest of the whole.
fn origin_with_wrong_parts() -> Origin {
    Origin::start(|received| {
        let reply = |status: u16, body: &str| {
            let reply = Reply::status(status).body(body).field("Cache-Control", "max-age=60");
            reply.field("ETag", "\"1\"").field("Repr-Digest", SHA_256)
        };
        match received.field("range") {
            Some("bytes=0-1") => reply(206, "he").field("Content-Range", "bytes 0-1/5"),
            Some("bytes=2-4" | "bytes=2-") => reply(206, "XXX").field("Content-Range", "bytes 2-4/5"),
            _ => reply(200, "hello"),
        }
    })
}

#[test]
fn joined_parts_with_a_wrong_digest_are_not_stored() {
    // The peer completes the stored part: the response is cut off, and the next request fetches the whole.
    let (origin, peer) = (origin_with_wrong_parts(), LocalPeer::start());
    let url = origin.url("/a");
    assert_eq!(peer.get_with(&url, "Range: bytes=0-1\r\n").body, b"he");
    let answer = peer.get(&url);
    assert!(answer.status == 502 || answer.cut.is_some(), "{answer:?}");
    assert_eq!(peer.get(&url).body, b"hello");
    assert_eq!(peer.get(&url).body, b"hello");
    // Two stored parts are joined: the result is never served as a whole.
    let (origin, peer) = (origin_with_wrong_parts(), LocalPeer::start());
    let url = origin.url("/a");
    peer.get_with(&url, "Range: bytes=0-1\r\n");
    peer.get_with(&url, "Range: bytes=2-4\r\n");
    let answer = peer.get(&url);
    assert!(answer.status == 502 || answer.body == b"hello", "{answer:?}");
}

#[test]
fn digests_are_ignored_on_416_and_multipart_responses() {
    let body = "x".repeat(400);
    let sum = "sha-256=:mVuuXZPIvJKlc48tuQ+l2JRJdXTvROiqcbVwJlYyWQ8=:";
    let origin = Origin::start(move |received| match &received.target[..] {
        "/416" => {
            Reply::status(416).field("Content-Range", "bytes */5").field("Repr-Digest", SHA_256).body("no")
        }
        _ => Reply::ok(body.clone()).field("Cache-Control", "max-age=60").field("X-Sum", sum),
    });
    let peer = LocalPeer::start();
    let get = |path: &str, range: &str| {
        let response = peer.client().get(&origin.url(path)).header("range", range).send().unwrap();
        (response.status().as_u16(), response.into_body().into_bytes().unwrap().len())
    };
    peer.get(&origin.url("/a"));
    assert_eq!(get("/a", "bytes=999-"), (416, 0));
    assert_eq!(get("/416", "bytes=99-"), (416, 2));
    // Several parts, of about the length of the whole.
    for first in 280..340 {
        assert_eq!(get("/a", &format!("bytes=0-0,100-{first}")).0, 206);
    }
}
