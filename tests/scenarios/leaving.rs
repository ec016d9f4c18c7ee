//! A peer that shuts down: it notifies the other peers, keeps serving for a while, and exits.

use forwardcache::Client;
use forwardcache::client::PeerState;

use crate::local::{LocalPeer, escaped, send};
use crate::support::origin::{Origin, Reply};
use crate::support::process::{Process, command};

#[test]
fn leaving_peer_is_skipped_by_the_other_peers() {
    let pool = LocalPeer::pool(3);
    let state = |of: &LocalPeer, peer: &LocalPeer| {
        let health = of.peer.client().health();
        health.into_iter().find(|health| health.url.as_str() == peer.url()).unwrap().state
    };
    pool[0].peer.leave();
    for other in &pool[1..] {
        assert_eq!(state(other, &pool[0]), PeerState::Draining);
        assert!(matches!(state(other, other), PeerState::Up));
    }
    let origin = Origin::start(|received| Reply::ok(received.target.clone()));
    for number in 0..20 {
        let path = format!("/{number}");
        let answer = pool[1].peer.get(&origin.url(&path)).send().unwrap();
        assert_eq!(answer.into_body().into_text().unwrap(), path);
    }
    assert_eq!(pool[0].peer.stats().counts().origin_requests, 0);
}

#[test]
fn client_of_a_leaving_peer_is_answered_and_switches() {
    let origin = Origin::start(|received| Reply::ok(received.target.clone()));
    let pool = LocalPeer::pool(2);
    let client = Client::builder().pool(LocalPeer::urls(&pool)).build().unwrap();
    pool[0].peer.leave();
    for number in 0..40 {
        let path = format!("/{number}");
        let answer = client.get(&origin.url(&path)).send().unwrap();
        assert!(
            answer.headers().get("forwardcache-leaving").is_none(),
            "the field is not passed on to the program"
        );
        assert_eq!(answer.into_body().into_text().unwrap(), path);
    }
    assert_eq!(
        pool[0].peer.stats().counts().origin_requests,
        1,
        "only the first request reaches the leaving peer"
    );
}

#[test]
fn command_drains_before_it_exits() {
    let origin = Origin::start(|_| Reply::ok("hello"));
    let other = LocalPeer::start();
    let url = other.url();
    let listener = crate::local::listen();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let own = format!("http://{address}");
    other.peer.set_pool([&url, &own]).unwrap();
    let listen = address.to_string();
    let mut serve =
        command(["serve", "--listen", &listen, "--drain-time", "600", "--peer", &own, "--peer", &url]);
    serve.env("RUST_LOG", "info");
    let mut serving = Process::start(serve).unwrap();
    serving.wait_for_line("serving on http://");
    let get = |target: &str| send(address, "GET", target, "");
    let proxied = format!("/proxy?q={}", escaped(&origin.url("/a")));
    assert_eq!((get("/healthz").status, get(&proxied).field("forwardcache-leaving")), (200, None));
    serving.terminate();
    serving.wait_for_line("leaving the pool: notified 1 of the other peers");
    assert_eq!(get("/healthz").status, 503);
    let answer = get(&proxied);
    assert_eq!((answer.status, answer.field("forwardcache-leaving")), (200, Some("1")));
    assert!(other.peer.client().health().iter().any(|health| matches!(health.state, PeerState::Draining)));
    // A second signal ends the process at once.
    serving.terminate();
    assert_eq!(serving.wait().code(), Some(1));
}
