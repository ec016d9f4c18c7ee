//! A pool of processes, each started as a user would, in front of real origins.

use std::net::{Ipv4Addr, SocketAddr, TcpStream};

use crate::local::start_get;
use crate::support::nginx::Nginx;
use crate::support::origin::{Gate, Origin, Reply};
use crate::support::port::Port;
use crate::support::process::{Process, run};
use crate::support::raw::Connection;
use crate::support::tls::TlsOrigin;
use crate::support::{TEST_TIMEOUT, wait_until};

/// Another process may take a port between its release and a peer's `bind`.
const ATTEMPTS: usize = 5;

pub(crate) struct PeerProcess {
    pub(crate) process: Process,
    pub(crate) address: SocketAddr,
    /// The arguments except `--listen`.
    arguments: Vec<String>,
}

impl PeerProcess {
    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    pub(crate) fn urls(pool: &[Self]) -> Vec<String> {
        pool.iter().map(Self::url).collect()
    }

    /// Starts a pool of one on a free port.
    pub(crate) fn start() -> Self {
        Self::start_as("127.0.0.1:0", &[])
    }

    /// Starts a pool of one on this address.
    pub(crate) fn start_on(address: &SocketAddr) -> Self {
        Self::start_with(address, Vec::new())
    }

    /// Starts a pool of one with these options. If it listens on all interfaces, `address` is the loopback address.
    pub(crate) fn start_as(listen: &str, options: &[&str]) -> Self {
        let mut peer = Self::start_with(&listen.parse().unwrap(), to_strings(options).collect());
        if peer.address.ip().is_unspecified() {
            peer.address.set_ip(Ipv4Addr::LOCALHOST.into());
        }
        peer
    }

    fn start_with(address: &SocketAddr, arguments: Vec<String>) -> Self {
        let process = Self::spawn(address, &arguments);
        let line = process.wait_for_line("serving on http://");
        let address = line.split(' ').nth(2).and_then(|url| url.strip_prefix("http://"));
        let address = address.and_then(|address| address.parse().ok()).unwrap_or_else(|| panic!("{line}"));
        Self { process, address, arguments }
    }

    fn spawn(address: &SocketAddr, arguments: &[String]) -> Process {
        let listen = ["serve".to_owned(), "--listen".to_owned(), address.to_string()];
        Process::spawn(listen.iter().chain(arguments))
    }

    /// Kills the process, if it is still running, and restarts it on the same address.
    pub(crate) fn restart(&mut self) {
        self.process.kill();
        *self = Self::start_with(&self.address, std::mem::take(&mut self.arguments));
    }

    /// Starts a pool of `size` processes that know each other.
    pub(crate) fn pool(size: usize) -> Vec<Self> {
        Self::pool_as(size, &[])
    }

    /// Like [`pool`](Self::pool), with these options.
    pub(crate) fn pool_as(size: usize, options: &[&str]) -> Vec<Self> {
        Self::pool_with(size, |addresses| {
            let peers = addresses.iter().flat_map(|peer| ["--peer".to_owned(), format!("http://{peer}")]);
            peers.chain(to_strings(options)).collect()
        })
    }

    /// Like [`pool`](Self::pool), with arguments computed from the addresses of all peers, which are chosen before
    /// any of them starts.
    pub(crate) fn pool_with(size: usize, arguments: impl Fn(&[SocketAddr]) -> Vec<String>) -> Vec<Self> {
        for _ in 0..ATTEMPTS {
            let ports: Vec<_> = (0..size).map(|_| Port::hold()).collect();
            let addresses: Vec<_> = ports.iter().map(Port::address).collect();
            for port in ports {
                port.release();
            }
            let arguments = arguments(&addresses);
            let start = |address: &SocketAddr| {
                let process = Self::spawn(address, &arguments);
                Self { process, address: *address, arguments: arguments.clone() }
            };
            let pool: Vec<_> = addresses.iter().map(start).collect();
            let expected = format!("one of a pool of {size}");
            if pool.iter().all(|peer| peer.process.line(&expected).is_some()) {
                return pool;
            }
            for peer in &pool {
                let message = peer.process.stderr();
                assert!(message.is_empty() || message.contains("cannot listen"), "{message}");
            }
        }
        panic!("a port was already in use in each of {ATTEMPTS} attempts");
    }
}

fn to_strings(options: &[&str]) -> impl Iterator<Item = String> {
    options.iter().copied().map(str::to_owned)
}

/// Runs `get` for a URL, with the peers listed in this order. Returns its output.
fn get(peers: &[String], url: &str) -> String {
    let mut arguments = vec!["get"];
    for peer in peers {
        arguments.extend(["--peer", peer]);
    }
    arguments.push(url);
    let output = run(arguments);
    assert!(output.status.success() && output.stderr.is_empty(), "{url}: {output:?}");
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn three_processes_form_one_cache_for_http_and_https() {
    let nginx = Nginx::start();
    let tls = TlsOrigin::start(|received| {
        Reply::ok(format!("tls {}", received.target)).field("Cache-Control", "max-age=60")
    });
    let ca_file = tls.ca_file().to_str().unwrap();
    let pool = PeerProcess::pool_as(3, &["--cacert", ca_file]);
    let mut peers = PeerProcess::urls(&pool);

    let mut paths = Vec::new();
    for number in 0..6 {
        let folder = if number % 2 == 0 { "fresh" } else { "chunked" };
        let path = format!("/{folder}/{number}.txt");
        nginx.write(&path, format!("nginx {path}"));
        paths.push(path);
    }
    for _ in 0..2 {
        for path in &paths {
            assert_eq!(get(&peers, &nginx.url(path)), format!("nginx {path}"));
            assert_eq!(get(&peers, &tls.url(path)), format!("tls {path}"));
            peers.rotate_left(1);
        }
        // Start with another peer for each URL in the next round.
        peers.swap(0, 1);
    }
    for path in &paths {
        assert_eq!((nginx.settled_count_of(path), tls.count_of(path)), (1, 1), "{path}");
    }

    for (mut peer, signal) in pool.into_iter().zip(["TERM", "INT", "TERM"]) {
        peer.process.signal(signal);
        assert_eq!(peer.process.wait().code(), Some(0), "{signal}");
        assert_eq!(peer.process.stderr(), "", "{signal}");
    }
}

#[test]
fn requests_in_flight_are_finished_before_exit() {
    for signal in ["TERM", "INT"] {
        let (head, body) = (Gate::new(), Gate::new());
        let large = "x".repeat(300_000);
        let origin = {
            let (head, body, large) = (head.clone(), body.clone(), large.clone());
            Origin::start(move |received| match received.target.as_str() {
                "/head" => Reply::ok("at last").gate_head(&head),
                _ => Reply::ok(large.clone()).gate_body(100_000, &body),
            })
        };
        let mut peer = PeerProcess::start();
        let mut waiting = ["/head", "/body"].map(|path| start_get(peer.address, &origin.url(path)));
        origin.wait_for(2);

        peer.process.signal(signal);
        wait_until_refused(peer.address);
        head.open();
        body.open();
        let [at_last, whole] = waiting.each_mut().map(Connection::read_response);
        assert_eq!((at_last.status, at_last.body.as_slice()), (200, &b"at last"[..]));
        assert!(whole.status == 200 && whole.cut.is_none() && whole.body == large.as_bytes());
        assert_eq!(peer.process.wait().code(), Some(0), "{signal}");
    }
}

/// Blocks until connections to this address are refused.
fn wait_until_refused(address: SocketAddr) {
    wait_until("the peer still accepts connections", || {
        TcpStream::connect_timeout(&address, TEST_TIMEOUT).is_err()
    });
}

#[test]
fn second_signal_exits_at_once() {
    let gate = Gate::new();
    let origin = {
        let gate = gate.clone();
        Origin::start(move |_| Reply::ok("never seen").gate_head(&gate))
    };
    let mut peer = PeerProcess::start();
    let mut connection = start_get(peer.address, &origin.url("/"));
    origin.wait_for(1);
    peer.process.signal("INT");
    wait_until_refused(peer.address);
    peer.process.signal("INT");
    assert_eq!(peer.process.wait().code(), Some(1));
    assert!(connection.read_to_end().is_empty());
    gate.open();
}
