//! The resident memory of a real process under demanding clients, read from `/proc`.

#![cfg(target_os = "linux")]

use std::fs;
use std::io::Write;
use std::net::SocketAddr;

use crate::local::{escaped, send, start_get};
use crate::processes::PeerProcess;
use crate::support::origin::{Gate, Origin, Received, Reply};
use crate::support::raw::{Connection, Response};
use crate::support::wait_until;

const MIB: u64 = 1 << 20;

impl PeerProcess {
    /// Returns a value of `/proc/PID/status` in bytes.
    fn resident(&self, line: &str) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.process.id())).unwrap();
        let value =
            status.lines().find_map(|each| each.strip_prefix(line)).expect("the line is in /proc/PID/status");
        value.trim_matches([':', ' ', '\t', 'k', 'B']).parse::<u64>().unwrap() << 10
    }

    /// Returns the resident memory and resets the peak.
    pub(crate) fn resident_now(&self) -> u64 {
        let mut file =
            fs::File::options().write(true).open(format!("/proc/{}/clear_refs", self.process.id())).unwrap();
        file.write_all(b"5").unwrap();
        self.resident("VmRSS")
    }

    /// Returns the peak resident memory since the last call of [`resident_now`](Self::resident_now).
    pub(crate) fn peak_resident(&self) -> u64 {
        self.resident("VmHWM")
    }

    /// Sends small requests until the server has made progress on all other connections.
    fn settle(&self, url: &str) {
        for _ in 0..200 {
            assert_eq!(get(self, url).status, 200);
        }
    }
}

fn get(peer: &PeerProcess, url: &str) -> Response {
    send(peer.address, "GET", &format!("/proxy?q={}", escaped(url)), "")
}

/// An origin whose bodies have the length given by the first segment of the path: `/LENGTH/…`.
fn origin_of_bodies(cache_control: &'static str) -> Origin {
    Origin::start(move |received: &Received| {
        let length: usize = received.target.split('/').nth(1).unwrap().parse().unwrap();
        Reply::ok(vec![b'x'; length]).field("Cache-Control", cache_control)
    })
}

fn body(origin: &Origin, length: u64, number: usize) -> String {
    origin.url(&format!("/{length}/{number}"))
}

/// Checks that the peak memory of a process exceeds `before` by at most `most`.
fn assert_growth_at_most(peer: &PeerProcess, before: u64, most: u64) {
    let grown = peer.peak_resident().saturating_sub(before);
    assert!(grown <= most, "{} MiB more, of {} MiB", grown / MIB, before / MIB);
}

fn ask_for_ranges(peer: SocketAddr, url: &str) -> Connection {
    let mut connection = Connection::open(peer);
    let (target, ranges) = (escaped(url), "bytes=0-31457279,31457290-62914559");
    connection.write(format!("GET /proxy?q={target} HTTP/1.1\r\nHost: localhost\r\nRange: {ranges}\r\n\r\n"));
    connection
}

#[test]
fn unread_range_responses_take_little_memory() {
    let origin = origin_of_bodies("max-age=600");
    let peer = PeerProcess::start_as("127.0.0.1:0", &["--memory", "256MiB"]);
    let (large, small) = (body(&origin, 60 * MIB, 0), body(&origin, 10, 0));
    for url in [&large, &small] {
        assert_eq!(get(&peer, url).status, 200);
    }
    let before = peer.resident_now();
    let _clients: Vec<Connection> = (0..12).map(|_| ask_for_ranges(peer.address, &large)).collect();
    peer.settle(&small);
    assert_growth_at_most(&peer, before, 30 * MIB);
    assert_eq!(origin.count(), 2);
}

#[test]
fn slow_readers_of_evicted_bodies_stay_within_the_memory_limit() {
    let origin = origin_of_bodies("max-age=600");
    let peer = PeerProcess::start_as("127.0.0.1:0", &["--memory", "64MiB"]);
    let small = body(&origin, 10, 0);
    let mut readers = Vec::new();
    for number in 0..20 {
        let url = body(&origin, 14 * MIB, number);
        assert_eq!(get(&peer, &url).body.len() as u64, 14 * MIB);
        let mut reader = start_get(peer.address, &url);
        // The client reads the beginning and then stops.
        reader.wait_for_bytes(b"x");
        readers.push(reader);
    }
    peer.settle(&small);
    let most = peer.peak_resident();
    // On a busy machine readers are cut off later. Without the limit the bodies take 280 MiB.
    assert!(most <= 160 * MIB, "{} MiB", most / MIB);
}

#[test]
fn pass_through_transfers_with_slow_readers_stay_within_the_memory_limit() {
    let origin = origin_of_bodies("no-store");
    let peer = PeerProcess::start_as("127.0.0.1:0", &["--memory", "64MiB"]);
    let small = body(&origin, 10, 0);
    assert_eq!(get(&peer, &small).status, 200);
    let before = peer.resident_now();
    let _readers: Vec<Connection> =
        (0..20).map(|number| start_get(peer.address, &body(&origin, 12 * MIB, number))).collect();
    origin.wait_for(21);
    peer.settle(&small);
    assert_growth_at_most(&peer, before, 50 * MIB);
}

#[test]
fn one_byte_chunks_take_memory_in_proportion_to_their_content() {
    let gate = Gate::new();
    let origin = {
        let gate = gate.clone();
        Origin::start(move |received: &Received| Reply::ok(received.body.len().to_string()).gate_head(&gate))
    };
    let peer = PeerProcess::start_as("127.0.0.1:0", &["--memory", "64MiB"]);
    let before = peer.resident_now();
    let target = escaped(&origin.url("/"));
    let mut clients: Vec<Connection> = (0..8)
        .map(|_| {
            let mut client = Connection::open(peer.address);
            let fields = "Host: localhost\r\nTransfer-Encoding: chunked\r\n";
            client.write(format!("POST /proxy?q={target} HTTP/1.1\r\n{fields}\r\n"));
            client
        })
        .collect();
    let chunks = "1\r\nx\r\n".repeat(50_000);
    for client in &mut clients {
        client.write(&chunks);
        client.write("0\r\n\r\n");
    }
    origin.wait_for(clients.len());
    gate.open();
    for client in &mut clients {
        assert_eq!(client.read_response().body, b"50000");
    }
    assert_growth_at_most(&peer, before, 30 * MIB);
}

#[test]
fn bodies_of_unauthorized_clients_are_not_buffered() {
    let tokens = tempfile::NamedTempFile::new().unwrap();
    fs::write(tokens.path(), "a-token-of-the-pool-that-is-long-enough\n").unwrap();
    let file = tokens.path().to_str().unwrap();
    let peer = PeerProcess::start_as("127.0.0.1:0", &["--memory", "64MiB", "--token-file", file]);
    let before = peer.resident_now();
    let target = escaped("http://origin.invalid/");
    let mut clients: Vec<Connection> = (0..40)
        .map(|_| {
            let mut client = Connection::open(peer.address);
            let fields = "Host: localhost\r\nContent-Length: 60000\r\n";
            client.write(format!("POST /proxy?q={target} HTTP/1.1\r\n{fields}\r\n"));
            client.write([b'x'; 50_000]);
            client
        })
        .collect();
    for client in &mut clients {
        assert_eq!(client.read_response().status, 407);
    }
    assert_growth_at_most(&peer, before, 8 * MIB);
}

#[test]
fn variants_fetched_during_a_slow_one_do_not_leak() {
    const VARIANTS: usize = 1500;
    let gate = Gate::new();
    let origin = {
        let gate = gate.clone();
        Origin::start(move |received: &Received| {
            let number = received.field("accept-language").unwrap().to_owned();
            let reply = Reply::ok(number.clone()).field("Vary", "Accept-Language");
            match &*number {
                "slow" => {
                    let reply = reply.body(vec![b'x'; 200_000]).field("Cache-Control", "max-age=600");
                    reply.gate_body(100_000, &gate)
                }
                _ => reply.field("Cache-Control", "max-age=600"),
            }
        })
    };
    let options = ["--memory", "64MiB", "--origin-read-timeout", "600"];
    let peer = PeerProcess::start_as("127.0.0.1:0", &options);
    let target = escaped(&origin.url("/"));
    let ask = |connection: &mut Connection, language: &str| {
        let field = format!("Accept-Language: {language}\r\n");
        connection.write(format!("GET /proxy?q={target} HTTP/1.1\r\nHost: localhost\r\n{field}\r\n"));
    };
    let mut slow = Connection::open(peer.address);
    ask(&mut slow, "slow");
    slow.wait_for_bytes(b"x");
    let mut connection = Connection::open(peer.address);
    let mut round = |from: usize| {
        for number in from..from + VARIANTS {
            // However long all of them take, each takes less than the limits of a test.
            gate.keep();
            ask(&mut connection, &number.to_string());
            assert_eq!(connection.read_response().body, number.to_string().as_bytes());
        }
    };
    round(0);
    let before = peer.resident_now();
    round(VARIANTS);
    assert_growth_at_most(&peer, before, 5 * MIB);
    gate.open();
    assert_eq!(slow.read_response().body.len(), 200_000);
}

#[test]
fn what_is_remembered_of_long_urls_takes_little_memory() {
    let origin = origin_of_bodies("no-store");
    let peer = PeerProcess::start_as("127.0.0.1:0", &["--memory", "64MiB"]);
    let mut connection = Connection::open(peer.address);
    let mut ask = |number: usize| {
        let target = escaped(&body(&origin, 10, number)) + "%3F" + &"x".repeat(7_000);
        connection.write(format!("GET /proxy?q={target} HTTP/1.1\r\nHost: localhost\r\n\r\n"));
        assert_eq!(connection.read_response().status, 200);
    };
    (0..100).for_each(&mut ask);
    let before = peer.resident_now();
    (100..5_000).for_each(&mut ask);
    // The lists of responses that were not stored have up to 5,120 keys: 35 MiB of them if the keys were kept.
    assert_growth_at_most(&peer, before, 12 * MIB);
}

#[test]
fn small_hits_are_served_between_large_ranges() {
    let origin = origin_of_bodies("max-age=600");
    let peer = PeerProcess::start_as("127.0.0.1:0", &["--memory", "256MiB"]);
    let (large, small) = (body(&origin, 60 * MIB, 0), body(&origin, 10, 0));
    for url in [&large, &small] {
        assert_eq!(get(&peer, url).status, 200);
    }
    let is_over = std::sync::atomic::AtomicBool::new(false);
    let read = std::sync::atomic::AtomicU64::new(0);
    std::thread::scope(|scope| {
        let over = crate::support::SetOnDrop(&is_over);
        for _ in 0..4 {
            scope.spawn(|| {
                while !is_over.load(std::sync::atomic::Ordering::SeqCst) {
                    let response = ask_for_ranges(peer.address, &large).read_response();
                    assert_eq!((response.status, response.cut), (206, None));
                    read.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
                }
            });
        }
        wait_until("no large range is read", || read.load(std::sync::atomic::Ordering::SeqCst) > 3);
        let mut connection = Connection::open(peer.address);
        let target = escaped(&small);
        let mut times: Vec<_> = (0..100)
            .map(|_| {
                let started = std::time::Instant::now();
                connection.write(format!("GET /proxy?q={target} HTTP/1.1\r\nHost: localhost\r\n\r\n"));
                assert_eq!(connection.read_response().body.len(), 10);
                started.elapsed()
            })
            .collect();
        drop(over);
        times.sort();
        // It took 279 ms when a whole range was built at once. A debug build on a busy machine is slower than a
        // release.
        assert!(times[50] < std::time::Duration::from_millis(100), "{:?} {:?}", times[50], times[95]);
    });
}
