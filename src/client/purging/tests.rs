use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Barrier};

use parking_lot::Mutex;

use super::super::fan_out::MAX_CONCURRENT;
use super::*;
use crate::message::round_trip::{RoundTrip, RoundTripFn};
use crate::pool::protocol::PoolDigest;

fn client(peers: usize, transport: impl RoundTrip + 'static) -> Client {
    let pool = (1..=peers).map(|port| format!("http://p:{port}/base"));
    Client::builder().pool(pool).transport(transport).build().unwrap()
}

fn answer(status: u16, text: &str) -> Response<Body> {
    Response::builder().status(status).body(Body::from(text.to_owned())).unwrap()
}

#[test]
fn purge_asks_every_peer_for_its_own_cache() {
    let client = client(
        3,
        RoundTripFn(|request: Request<Body>| {
            assert_eq!((request.method().as_str(), request.uri().path()), ("PURGE", "/base/proxy"));
            if request.headers()["forwardcache-scope"] == "near" {
                return Ok(answer(204, ""));
            }
            assert_eq!(request.headers()["forwardcache-scope"], "own");
            assert_eq!(request.uri().query(), Some("group=a+b&origin=http%3A%2F%2Fh"));
            let port = request.uri().port_u16().unwrap();
            Ok(answer(200, &format!("http://p:{port}/base responses {port} bytes 10\n")))
        }),
    );
    let purged = client.purge(&Purge::group("http://h", "a b").unwrap()).unwrap();
    let went: Vec<_> =
        purged.peers.iter().map(|peer| (peer.peer.as_str(), *peer.result.as_ref().unwrap())).collect();
    assert_eq!(
        went,
        [1, 2, 3].map(|number| (["", "http://p:1/base", "http://p:2/base", "http://p:3/base"][number], {
            Purged::new(number as u64, 10)
        }))
    );
    client.set_pool([""; 0]).unwrap();
    assert_eq!(client.purge(&Purge::all()).unwrap_err().kind(), ErrorKind::NoPeers);
}

#[test]
fn failed_peers_are_reported_and_the_others_purge() {
    use ErrorKind::{BadResponse, BodyTooLarge, Forbidden, Unreachable};
    let client = client(
        6,
        RoundTripFn(|request: Request<Body>| {
            Ok(match request.uri().port_u16().unwrap() {
                1 => return Err(Error::new(Unreachable, "no peer listens")),
                2 => {
                    let mut refused = answer(403, "not by you\nsecond line\n");
                    protocol::mark_failure(refused.headers_mut(), Forbidden);
                    refused
                }
                3 => answer(501, ""),
                4 => answer(200, "<html>the page of an origin</html>\n"),
                5 => answer(200, &"x".repeat(20_000)),
                _ => answer(200, "http://p:6/base responses unknown bytes unknown\n"),
            })
        }),
    );
    let purged = client.purge(&Purge::all()).unwrap();
    assert!(!purged.is_complete() && !purged.total().is_counted);
    let failed: Vec<_> = purged.failed().map(|(_, error)| error.kind()).collect();
    assert_eq!(failed, [Unreachable, Forbidden, BadResponse, BadResponse, BodyTooLarge]);
    for (peer, error) in purged.failed() {
        assert_eq!(error.peer(), Some(peer.as_str()));
    }
    assert_eq!(purged.failed().nth(1).unwrap().1.message(), "not by you");
}

#[test]
fn purge_reports_peers_with_another_pool() {
    let client = client(
        3,
        RoundTripFn(|request: Request<Body>| {
            let is_first_round = request.headers()["forwardcache-scope"] == "own";
            let asked_with = Hop::of(request.headers()).members;
            assert_eq!(asked_with.is_some(), is_first_round);
            let mut answer = answer(200, "p responses 1 bytes 2\n");
            match request.uri().port_u16().unwrap() {
                1 => protocol::announce_members(answer.headers_mut(), PoolDigest::of("another")),
                // This peer does not clear its near cache.
                2 if is_first_round => {
                    protocol::announce_members(answer.headers_mut(), PoolDigest::of("another"));
                }
                2 => *answer.status_mut() = StatusCode::SERVICE_UNAVAILABLE,
                _ => {}
            }
            Ok(answer)
        }),
    );
    let purged = client.purge(&Purge::all()).unwrap();
    let said: Vec<_> = purged.peers.iter().map(|peer| (peer.knows_other_pool, peer.result.is_ok())).collect();
    assert_eq!(said, [(true, true), (true, false), (false, true)]);
    assert_eq!(client.ring_mismatches(), 2);
}

#[test]
fn near_caches_are_cleared_after_all_peers_have_purged() {
    let asked = Arc::new(Mutex::new(Vec::new()));
    let client = client(4, {
        let asked = Arc::clone(&asked);
        RoundTripFn(move |request: Request<Body>| {
            let port = request.uri().port_u16().unwrap();
            let scope = request.headers()["forwardcache-scope"].to_str().unwrap().to_owned();
            asked.lock().push((scope.clone(), port));
            Ok(match (&*scope, port) {
                (_, 1) => return Err(Error::new(ErrorKind::Unreachable, "no peer listens")),
                ("own", _) => answer(200, "p responses 1 bytes 2\n"),
                // The response of an older release.
                (_, 2) => {
                    let mut refused = answer(400, "forwardcache-scope says something else than own\n");
                    protocol::mark_failure(refused.headers_mut(), ErrorKind::BadRequest);
                    refused
                }
                (_, 3) => answer(503, ""),
                _ => answer(204, ""),
            })
        })
    });
    let purged = client.purge(&Purge::all()).unwrap();
    let failed: Vec<_> =
        purged.failed().map(|(peer, error)| (peer.as_str().to_owned(), error.kind())).collect();
    let names = [("http://p:1/base", ErrorKind::Unreachable), ("http://p:3/base", ErrorKind::BadResponse)];
    assert_eq!(failed, names.map(|(peer, kind)| (peer.to_owned(), kind)));
    assert_eq!((purged.peers.len(), purged.total()), (4, Purged::new(2, 4)));
    let mut rounds = asked.lock().clone();
    rounds[..4].sort();
    rounds[4..].sort();
    let said = |scope: &str, ports: &[u16]| -> Vec<_> {
        ports.iter().map(|port| (scope.to_owned(), *port)).collect()
    };
    assert_eq!(rounds, [said("own", &[1, 2, 3, 4]), said("near", &[2, 3, 4])].concat());
}

#[test]
fn purge_asks_sixteen_peers_at_a_time() {
    // No request is answered until sixteen have arrived; a seventeenth has to wait.
    let together = Barrier::new(MAX_CONCURRENT);
    let under_way = AtomicUsize::new(0);
    let client = client(
        2 * MAX_CONCURRENT,
        RoundTripFn(move |_| {
            assert!(under_way.fetch_add(1, Ordering::SeqCst) < MAX_CONCURRENT);
            together.wait();
            under_way.fetch_sub(1, Ordering::SeqCst);
            Ok(answer(200, "p responses 1 bytes 2\n"))
        }),
    );
    let purged = client.purge(&Purge::all()).unwrap();
    assert_eq!(purged.total(), Purged::new(32, 64));
}
