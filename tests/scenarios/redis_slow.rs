//! A peer over a Redis that always answers just in time.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::local::{escaped, send};
use crate::processes::PeerProcess;
use crate::redis::{RedisServer, cache_status, get, origin, redis_status};
use crate::support::wait_until;

/// How long the peer waits for Redis at most.
const TIMEOUT: Duration = Duration::from_millis(400);

/// How long Redis takes when it is slow.
const SLOW: Duration = Duration::from_millis(250);

/// Relays connections to a server, and delays its responses.
struct Delay {
    address: SocketAddr,
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    milliseconds: AtomicU64,
    is_over: AtomicBool,
}

impl Delay {
    fn before(server: u16) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let (address, shared) = (listener.local_addr().unwrap(), Arc::new(Shared::default()));
        let of_thread = Arc::clone(&shared);
        thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                if of_thread.is_over.load(Ordering::SeqCst) {
                    return;
                }
                let server = TcpStream::connect((Ipv4Addr::LOCALHOST, server)).unwrap();
                let ends = [(&client, &server), (&server, &client)];
                for (is_response, (from, to)) in [false, true].into_iter().zip(ends) {
                    let (from, to) = (from.try_clone().unwrap(), to.try_clone().unwrap());
                    to.set_nodelay(true).unwrap();
                    let shared = Arc::clone(&of_thread);
                    thread::spawn(move || shared.relay(from, to, is_response));
                }
            }
        });
        Self { address, shared }
    }

    fn set(&self, delay: Duration) {
        self.shared.milliseconds.store(u64::try_from(delay.as_millis()).unwrap(), Ordering::SeqCst);
    }
}

impl Shared {
    fn relay(&self, mut from: TcpStream, mut to: TcpStream, is_response: bool) {
        let mut buffer = [0; 16 << 10];
        while let Ok(count @ 1..) = from.read(&mut buffer) {
            if is_response {
                thread::sleep(Duration::from_millis(self.milliseconds.load(Ordering::SeqCst)));
            }
            if to.write_all(&buffer[..count]).is_err() {
                break;
            }
        }
        let _ = from.shutdown(Shutdown::Both);
        let _ = to.shutdown(Shutdown::Both);
    }
}

impl Drop for Delay {
    fn drop(&mut self) {
        self.shared.is_over.store(true, Ordering::SeqCst);
        // Wakes the thread that accepts.
        drop(TcpStream::connect(self.address));
    }
}

/// Requests so many new URLs, and returns how long that took.
fn get_many(count: usize, mut get_new: impl FnMut() -> Duration) -> Duration {
    (0..count).map(|_| get_new()).sum()
}

#[test]
fn redis_that_always_answers_just_in_time_slows_few_requests() {
    let (server, origin) = (RedisServer::start(&[]), origin());
    let delay = Delay::before(server.port());
    let (url, timeout) = (format!("redis://{}", delay.address), TIMEOUT.as_millis().to_string());
    let options = ["--redis", &url, "--redis-timeout", &timeout, "--admin", "127.0.0.1:0"];
    let peer = PeerProcess::start_as("127.0.0.1:0", &options);
    let mut number = 0;
    // Requests a new URL, and returns how long that took.
    let mut get_new = || {
        number += 1;
        let begun = Instant::now();
        get(&peer, &origin.url(&format!("/t{number}")));
        begun.elapsed()
    };
    let values = || server.keys("}:[0-9a-f][0-9a-f]").len();
    let circuit = || redis_status(&peer)["circuit"].as_str().unwrap().to_owned();
    get_many(20, &mut get_new);
    for _ in 0..3 {
        delay.set(SLOW);
        assert!(get_new() > SLOW);
        delay.set(Duration::ZERO);
        get_many(10, &mut get_new);
    }
    assert_eq!(circuit(), "closed", "single responses were slow");

    delay.set(SLOW);
    let slow = (1..100).find(|_| {
        assert!(get_new() > SLOW);
        circuit() == "slow"
    });
    assert!(slow.is_some_and(|count| (8..=20).contains(&count)), "{slow:?}");
    peer.process.wait_for_line("lookups take");
    let before = values();
    let taken = get_many(20, &mut get_new);
    assert!(taken < 5 * SLOW, "{taken:?}");
    // Responses are still written, and purges are still sent.
    wait_until("more responses are in Redis", || values() > before + 5);
    let purged = send(peer.address, "PURGE", &format!("/proxy?q={}", escaped(&origin.url("/t1"))), "");
    assert_eq!(purged.status, 200, "{purged:?}");
    let (url, more) = (server.url(), ["--admin", "127.0.0.1:0"]);
    let other = PeerProcess::start_as("127.0.0.1:0", &crate::redis::options(&url, &more));
    assert!(!cache_status(&get(&other, &origin.url("/t1"))).contains("hit"));

    delay.set(Duration::ZERO);
    wait_until("responses are looked up again", || circuit() == "closed");
    let found = "/t/of/another";
    get(&other, &origin.url(found));
    wait_until("it is in Redis", || redis_status(&other)["pending_bytes"] == 0);
    assert!(cache_status(&get(&peer, &origin.url(found))).contains("detail=redis"));
    assert_eq!(redis_status(&peer)["errors"], 0);
}
