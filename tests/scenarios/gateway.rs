//! A gateway in front of a peer that fails in different ways, and of one that does not.

use std::time::{Duration, Instant};

use forwardcache::client::NearCache;
use forwardcache::server::{ServerConfig, ServerHandle};
use forwardcache::{Client, Peer};

use crate::local::listen;
use crate::support::origin::{Origin, Reply};
use crate::support::raw::{Connection, Response};
use crate::support::relay::{Fault, Relay};

/// A failed peer delays a request by at most this time, and by less than the slack of a busy machine.
const LIMIT: Duration = Duration::from_secs(2);
const SLACK: Duration = Duration::from_millis(1500);

/// The length of a body that one connection of a gateway reads whole, and of one that it passes on in parts.
const LENGTHS: [usize; 2] = [1_000, 300_000];

/// Returns the body of a target such as `/1000/name`: its text again and again.
fn body_of(target: &str) -> Vec<u8> {
    let length =
        target.split('/').nth(1).and_then(|length| length.parse().ok()).expect("a target has a length");
    target.bytes().cycle().take(length).collect()
}

/// Two peers, one of them behind a relay.
struct Pool {
    relay: Relay,
    urls: [String; 2],
    peers: Vec<(Peer, ServerHandle)>,
}

impl Pool {
    fn start() -> Self {
        let listeners = [listen(), listen()];
        let addresses = listeners.each_ref().map(|listener| listener.local_addr().unwrap());
        let relay = Relay::to(addresses[0]);
        let urls = [relay.url(), format!("http://{}", addresses[1])];
        let peers = listeners.into_iter().zip(&urls).map(|(listener, url)| {
            let peer = Peer::builder(url).pool(urls.clone()).build().unwrap();
            let server = peer.serve_on(listener, ServerConfig::new()).unwrap();
            (peer, server)
        });
        let peers = peers.collect();
        Self { relay, urls, peers }
    }

    fn gateway(&self) -> (Peer, ServerHandle) {
        let builder = Peer::builder("http://gateway.invalid").pool(self.urls.clone()).gateway(true);
        let peer = builder.near_cache(NearCache::new().memory(0)).build().unwrap();
        let server = peer.serve_on(listen(), ServerConfig::new()).unwrap();
        (peer, server)
    }

    /// Returns a URL with a body of this length that the peer behind the relay owns and has stored.
    fn stored(&self, origin: &Origin, length: usize, name: &str) -> String {
        let client = Client::builder().pool(self.urls.clone()).build().unwrap();
        let urls = (0..).map(|number| origin.url(&format!("/{length}/{name}/{number}")));
        let is_owned = |url: &String| client.owner(url).unwrap().unwrap().as_str() == self.urls[0];
        let url = urls.into_iter().find(is_owned).unwrap();
        let mut connection = Connection::open(self.peers[0].1.local_addr());
        connection.write(format!("GET /fetch/{url} HTTP/1.1\r\nHost: localhost\r\n\r\n"));
        assert_eq!(connection.read_response().status, 200);
        url
    }
}

fn get(gateway: &ServerHandle, url: &str) -> Response {
    let mut connection = Connection::open(gateway.local_addr());
    connection.write(format!("GET /fetch/{url} HTTP/1.1\r\nHost: localhost\r\n\r\n"));
    connection.read_response()
}

fn assert_whole(response: &Response, url: &str, context: impl std::fmt::Debug) {
    let target = url.strip_prefix("http://").and_then(|rest| rest.find('/').map(|at| &rest[at..])).unwrap();
    assert_eq!((response.status, response.cut), (200, None), "{context:?} {url}");
    assert!(response.body == body_of(target), "{context:?} {url}: {} bytes", response.body.len());
}

#[test]
fn gateway_answers_although_the_owner_fails_before_or_in_a_response() {
    let origin = Origin::start(|received| {
        Reply::ok(body_of(&received.target)).field("Cache-Control", "max-age=600").field("ETag", "\"1\"")
    });
    let pool = Pool::start();
    for fault in Fault::ALL {
        for length in LENGTHS {
            let name = format!("{fault:?}");
            let [first, second] =
                ["first", "second"].map(|part| pool.stored(&origin, length, &(name.clone() + part)));
            // A gateway without a connection, and one that has an idle connection to the owner.
            for is_connected in [false, true] {
                pool.relay.set(None);
                let (_peer, gateway) = pool.gateway();
                if is_connected {
                    let response = get(&gateway, &first);
                    assert_whole(&response, &first, fault);
                    assert!(
                        response.field("cache-status").unwrap().contains("hit"),
                        "{:?}",
                        response.headers
                    );
                }
                pool.relay.set(Some(fault));
                let started = Instant::now();
                let response = get(&gateway, &second);
                if fault == Fault::CorruptBody && length == LENGTHS[1] {
                    // The digest is checked at the end, when a part of the body is sent.
                    assert!(response.status == 200 && response.cut.is_some(), "{is_connected}");
                } else {
                    assert_whole(&response, &second, (fault, is_connected));
                }
                let elapsed = started.elapsed();
                assert!(elapsed < LIMIT + SLACK, "{fault:?} {length} {is_connected}: {elapsed:?}");
            }
        }
    }
}

#[test]
fn bodies_of_all_lengths_pass_a_gateway_and_each_is_fetched_once() {
    let origin =
        Origin::start(|received| Reply::ok(body_of(&received.target)).field("Cache-Control", "max-age=600"));
    let pool = Pool::start();
    let (_peer, gateway) = pool.gateway();
    let lengths = [0, 1, 65_535, 65_536, 65_537, 1_000_000];
    for round in 0..3 {
        for length in lengths {
            for number in 0..4 {
                let url = origin.url(&format!("/{length}/{number}"));
                assert_whole(&get(&gateway, &url), &url, round);
            }
        }
    }
    assert_eq!(origin.count(), lengths.len() * 4);
    // A request with a condition, and one that no cache may answer.
    let mut connection = Connection::open(gateway.local_addr());
    let url = origin.url("/1/0");
    connection.write(format!(
        "GET /fetch/{url} HTTP/1.1\r\nHost: localhost\r\nCache-Control: only-if-cached\r\n\r\n"
    ));
    assert_eq!(connection.read_response().status, 200);
    let url = origin.url("/1/new");
    connection.write(format!(
        "GET /fetch/{url} HTTP/1.1\r\nHost: localhost\r\nCache-Control: only-if-cached\r\n\r\n"
    ));
    assert_eq!(connection.read_response().status, 504);
    connection.write(format!("HEAD /fetch/{url} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"));
    assert!(connection.read_to_end().starts_with(b"HTTP/1.1 200 "));
}
