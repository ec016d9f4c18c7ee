//! The operator's view of a running peer: `/metrics` and readiness.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use forwardcache::Peer;
use forwardcache::client::NearCache;
use forwardcache::pool::Tokens;
use forwardcache::server::{ServerConfig, ServerHandle, ServerTls};
use forwardcache::store::DiskStore;

use crate::local::{LocalPeer, escaped, listen, send};
use crate::support::origin::{Gate, Origin, Reply};
use crate::support::port::Port;
use crate::support::raw::Connection;
use crate::support::tls::Authority;
use crate::support::wait_until;
use crate::tls::{client_config, connect_with};

const TOKEN: &str = "a-token-of-the-pool";

/// The admin address of a peer.
struct Admin(ServerHandle);

impl Admin {
    fn of(peer: &Peer) -> Self {
        Self(peer.serve_admin_on(listen(), ServerConfig::new().workers(1).io_threads(1)).unwrap())
    }

    fn address(&self) -> SocketAddr {
        self.0.local_addr()
    }

    fn get(&self, path: &str) -> (u16, String) {
        let fields = format!("Proxy-Authorization: Bearer {TOKEN}\r\n");
        text_of(send(self.address(), "GET", path, &fields))
    }

    /// Returns the value of a metric, given its name with labels.
    fn value(&self, name: &str) -> u64 {
        let (status, text) = self.get("/metrics");
        assert_eq!(status, 200);
        let begin = format!("forwardcache_{name} ");
        let value = text.lines().find_map(|line| line.strip_prefix(&begin));
        value.unwrap_or_else(|| panic!("{name} is missing: {text}")).parse().unwrap()
    }

    fn wait_for(&self, name: &str, value: u64) {
        wait_until(&format!("{name} never becomes {value}"), || self.value(name) == value);
    }
}

fn text_of(response: crate::support::raw::Response) -> (u16, String) {
    (response.status, String::from_utf8(response.body).unwrap())
}

fn readiness(address: SocketAddr) -> (u16, String) {
    text_of(send(address, "GET", "/readyz", ""))
}

fn is_ok(answer: &(u16, String)) -> bool {
    *answer == (200, "ok\n".to_owned())
}

#[test]
fn admin_requests_are_answered_while_a_purge_waits() {
    let (own, silent) = (listen(), listen());
    let urls = [&own, &silent].map(|listener| format!("http://{}", listener.local_addr().unwrap()));
    let peer = Peer::builder(&*urls[0]).pool(&urls).build().unwrap();
    let serving = peer.serve_on(own, ServerConfig::new().workers(1).io_threads(1)).unwrap();
    let admin = peer.serve_admin_on(listen(), ServerConfig::new().workers(1).io_threads(1)).unwrap();
    let purge = |address: SocketAddr, target: &str| {
        let mut connection = Connection::open(address);
        connection.write(format!("PURGE {target} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"));
        // The other peer receives the purge and does not respond.
        let (mut asked, _) = silent.accept().unwrap();
        assert!(asked.read(&mut [0; 1024]).unwrap() > 0);
        (connection, asked)
    };
    let waiting = [purge(admin.local_addr(), "/purge?all"), purge(serving.local_addr(), "/proxy?all")];
    for address in [admin.local_addr(), serving.local_addr()] {
        for _ in 0..20 {
            let started = Instant::now();
            assert!(is_ok(&text_of(send(address, "GET", "/healthz", ""))));
            assert!(started.elapsed() < Duration::from_millis(250), "{:?}", started.elapsed());
        }
    }
    assert_eq!(send(admin.local_addr(), "GET", "/metrics", "").status, 200);
    for (connection, asked) in waiting {
        connection.expect_silence();
        drop(asked);
    }
}

#[test]
fn rejected_tokens_connections_and_requests_are_counted() {
    let tokens = Tokens::new([TOKEN]).unwrap();
    let options = ServerConfig::new().max_connections(2).max_body(10);
    let peer = LocalPeer::start_on(options, |builder| builder.tokens(tokens));
    let admin = Admin::of(&peer.peer);
    let mut asking = Connection::open(peer.address());
    for (field, status) in [("", 407), ("Proxy-Authorization: Bearer wrong\r\n", 407)] {
        asking.write(format!("GET /proxy?q=http%3A%2F%2Fa%2F HTTP/1.1\r\nHost: a\r\n{field}\r\n"));
        assert_eq!(asking.read_response().status, status);
    }
    assert_eq!(send(admin.address(), "GET", "/metrics", "").status, 401);
    assert_eq!(admin.value("unauthorized_requests_total"), 3);
    // Readiness needs no token and accepts any host name.
    asking.write("GET /readyz HTTP/1.1\r\nHost: another.example\r\n\r\n");
    assert!(is_ok(&text_of(asking.read_response())));

    let mut idle = Connection::open(peer.address());
    idle.write("HEAD /readyz HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(idle.read_response_to_head().status, 200);
    assert_eq!((admin.value("connections_open"), admin.value("connections_accepted_total")), (2, 2));
    assert_eq!(Connection::open(peer.address()).read_response().status, 503);
    assert_eq!(admin.value("connections_rejected_total{reason=\"too_many\"}"), 1);
    assert_eq!(admin.value("connections_rejected_total{reason=\"too_many_from_address\"}"), 0);

    asking.write("POST /proxy?q=a HTTP/1.1\r\nHost: a\r\nContent-Length: 11\r\n\r\n");
    assert_eq!(asking.read_response().status, 413);
    idle.write("nonsense\r\n\r\n");
    assert_eq!(idle.read_response().status, 400);
    assert_eq!(admin.value("requests_rejected_total{reason=\"too_large\"}"), 1);
    assert_eq!(admin.value("requests_rejected_total{reason=\"malformed\"}"), 1);
    drop((asking, idle));
    admin.wait_for("connections_open", 0);
}

#[test]
fn peer_is_not_ready_while_its_queue_is_too_old() {
    let gate = Gate::new();
    let origin = {
        let gate = gate.clone();
        Origin::start(move |received| Reply::target(received).gate_head(&gate))
    };
    let options = ServerConfig::new().workers(2).max_queue_wait(Duration::from_secs(4));
    let peer = LocalPeer::start_on(options, |builder| builder);
    let admin = Admin::of(&peer.peer);
    let mut number = 0;
    let mut ask = || {
        number += 1;
        peer.start_get(&origin.url(&format!("/{number}")))
    };
    let mut asking: Vec<Connection> = (0..6).map(|_| ask()).collect();
    let mut answer = (0, String::new());
    wait_until("the peer stays ready", || {
        // Keep the queue full no matter how slow the machine is.
        if admin.value("fetch_queue_length") < 4 {
            asking.push(ask());
        }
        answer = readiness(peer.address());
        answer.0 == 503 && readiness(admin.address()) == answer
    });
    assert!(answer.1.contains("wait") && answer.1.lines().count() == 1, "{answer:?}");
    assert!(admin.value("worker_threads{state=\"fetching\"}") > 0);
    assert_eq!(
        send(peer.address(), "GET", "/healthz", "").status,
        200,
        "the peer is alive although it is not ready"
    );
    gate.open();
    wait_until("the peer does not become ready again", || {
        is_ok(&readiness(peer.address())) && is_ok(&readiness(admin.address()))
    });
}

#[test]
fn peer_is_not_ready_during_shutdown() {
    let listener = listen();
    let peer = Peer::builder(format!("http://{}", listener.local_addr().unwrap())).build().unwrap();
    let admin = Admin::of(&peer);
    let serving = peer.serve_on(listener, ServerConfig::new()).unwrap();
    assert!(is_ok(&readiness(admin.address())));
    serving.shutdown();
    let (status, text) = readiness(admin.address());
    assert!(status == 503 && text.contains("shutting down"), "{status} {text}");
    serving.join();
    assert_eq!(readiness(admin.address()).0, 503);
    let again = peer.serve("127.0.0.1:0").unwrap();
    assert!(is_ok(&readiness(admin.address())) && is_ok(&readiness(again.local_addr())));
    peer.leave();
    for address in [admin.address(), again.local_addr()] {
        let (status, text) = readiness(address);
        assert!(status == 503 && text.contains("leaving"), "{status} {text}");
    }
}

#[test]
fn handshakes_are_counted_by_result() {
    let (authority, another) = (Authority::new(), Authority::new());
    let tls = ServerTls::from_files(authority.server_file(), authority.server_file()).unwrap();
    let peer = LocalPeer::start_on(ServerConfig::new().tls(tls), |builder| builder);
    let admin = Admin::of(&peer.peer);
    let asked = "GET /readyz HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
    let config = client_config(&authority, None);
    for (full, resumed) in [(1, 0), (1, 1)] {
        let (mut stream, mut text) = (connect_with(peer.address(), &config), String::new());
        stream.write_all(asked.as_bytes()).unwrap();
        stream.read_to_string(&mut text).unwrap();
        assert!(text.starts_with("HTTP/1.1 200 ") && text.ends_with("ok\n"), "{text}");
        let counted = ["full", "resumed"].map(|result| handshakes(&admin, result));
        assert_eq!(counted, [full, resumed]);
    }
    let mut stranger = connect_with(peer.address(), &client_config(&another, None));
    stranger.write_all(asked.as_bytes()).unwrap_err();
    drop(stranger);
    admin.wait_for("tls_handshakes_total{result=\"failed\"}", 1);
    // A connection that is closed without data does not count as a handshake.
    drop(TcpStream::connect(peer.address()).unwrap());
    admin.wait_for("connections_accepted_total", 4);
    admin.wait_for("connections_open", 0);
    assert_eq!(["full", "resumed", "failed"].map(|result| handshakes(&admin, result)), [1, 1, 1]);
}

fn handshakes(admin: &Admin, result: &str) -> u64 {
    admin.value(&format!("tls_handshakes_total{{result=\"{result}\"}}"))
}

#[test]
fn waiting_purges_do_not_block_other_admin_requests() {
    let gate = Gate::new();
    // A peer that does not respond until the gate opens.
    let other = {
        let gate = gate.clone();
        Origin::start(move |_| Reply::ok("").gate_head(&gate)).may_be_unused()
    };
    let peer = LocalPeer::start();
    peer.peer.set_pool([peer.url(), other.url("")]).unwrap();
    let admin = Admin::of(&peer.peer);
    let mut purging: Vec<Connection> = (0..20)
        .map(|number| {
            let mut connection = Connection::open(admin.address());
            let target = format!("/purge?q={}", escaped(&format!("http://a.example/{number}")));
            connection.write(format!("PURGE {target} HTTP/1.1\r\nHost: {}\r\n\r\n", admin.address()));
            connection
        })
        .collect();
    other.wait_for(1);
    for path in ["/healthz", "/readyz", "/metrics", "/status"] {
        assert_eq!(admin.get(path).0, 200, "{path}");
    }
    purging.iter().for_each(Connection::expect_silence);
    gate.open();
    for connection in &mut purging {
        let (_, text) = text_of(connection.read_response());
        assert!(text.contains(&peer.url()), "{text}");
    }
}

#[test]
fn promtool_accepts_all_metrics_and_the_guide_lists_them() {
    let folder = tempfile::tempdir().unwrap();
    let disk = DiskStore::open(folder.path()).unwrap();
    let near_cache = NearCache::new().memory(1 << 20);
    let peer = LocalPeer::start_with(|builder| builder.disk_store(&disk).near_cache(near_cache));
    let admin = Admin::of(&peer.peer);
    assert_eq!(send(peer.address(), "GET", "/readyz", "").status, 200);
    let (status, text) = admin.get("/metrics");
    assert_eq!(status, 200);
    for tier in ["memory", "near", "disk"] {
        assert!(text.contains(&format!("forwardcache_cache_keys{{tier=\"{tier}\"}} 0\n")), "{text}");
    }

    let mut promtool = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("promtool is installed (Debian package prometheus)");
    promtool.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    let checked = promtool.wait_with_output().unwrap();
    let complaints = [checked.stdout, checked.stderr].concat();
    assert!(checked.status.success() && complaints.is_empty(), "{}", String::from_utf8_lossy(&complaints));

    let guide = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/guide.md");
    let guide = std::fs::read_to_string(guide).unwrap();
    let listed = |name: &str| guide.contains(&format!("`{name}`")) || guide.contains(&format!("`{name}{{"));
    let types = text.lines().filter_map(|line| line.strip_prefix("# TYPE forwardcache_"));
    let names: Vec<&str> = types.filter_map(|line| line.split(' ').next()).collect();
    assert!(names.len() > 30, "{names:?}");
    let missing: Vec<_> = names.into_iter().filter(|name| !listed(name)).collect();
    assert!(missing.is_empty(), "docs/guide.md does not list {missing:?}");
}

#[test]
fn fetches_are_timed_by_result_and_slow_origins_are_named_in_the_status_only() {
    let gate = Gate::new();
    let slow = {
        let gate = gate.clone();
        Origin::start(move |received| Reply::target(received).gate_head(&gate))
    };
    let fast = Origin::start(|_| Reply::status(404));
    let refusing = Port::hold();
    let peer = LocalPeer::start();
    let admin = Admin::of(&peer.peer);
    let delay = Duration::from_millis(300);
    let begun = Instant::now();
    let mut asking = peer.start_get(&slow.url("/a"));
    slow.wait_for(1);
    let received = Instant::now();
    wait_until("time does not pass", || received.elapsed() >= delay);
    gate.open();
    assert_eq!(asking.read_response().status, 200);
    let longest = begun.elapsed().as_secs_f64();
    assert_eq!(peer.get(&fast.url("/b")).status, 404);
    assert_eq!(peer.get(&format!("http://{}/", refusing.address())).status, 502);
    assert_eq!(peer.get(&slow.url("/a")).field("x-from-cache"), Some("1"), "a hit is not a fetch");

    let (_, metrics) = admin.get("/metrics");
    let value = |name: &str| -> f64 {
        let begin = format!("forwardcache_fetch_duration_seconds_{name} ");
        let value = metrics.lines().find_map(|line| line.strip_prefix(&begin));
        value.unwrap_or_else(|| panic!("{name} is missing: {metrics}")).parse().unwrap()
    };
    for (result, count) in
        [("2xx", 1.0), ("3xx", 0.0), ("4xx", 1.0), ("5xx", 0.0), ("timeout", 0.0), ("error", 1.0)]
    {
        assert_eq!(value(&format!("count{{result=\"{result}\"}}")), count, "{result}");
    }
    let (shortest, sum) = (delay.as_secs_f64(), value("sum{result=\"2xx\"}"));
    assert!((shortest..=longest).contains(&sum), "{sum} of {longest}");
    assert_eq!(value("bucket{result=\"2xx\",le=\"0.25\"}"), 0.0);
    let names = [slow.url(""), fast.url(""), format!("http://{}", refusing.address())];
    let is_named = |text: &str| names.iter().any(|name| text.contains(name.trim_start_matches("http://")));
    assert!(!is_named(&metrics), "{metrics}");

    let (_, status) = admin.get("/status.json");
    let status: serde_json::Value = serde_json::from_str(&status).unwrap();
    let origins = status["slow_origins"].as_array().unwrap();
    assert_eq!(origins.len(), 3, "{origins:?}");
    assert_eq!(
        (origins[0]["origin"].as_str(), origins[0]["fetches"].as_u64()),
        (Some(names[0].as_str()), Some(1))
    );
    let average = origins[0]["average_seconds"].as_f64().unwrap();
    assert!(
        (average - sum).abs() < 0.001 && origins[0]["slowest_seconds"].as_f64() == Some(average),
        "{average}"
    );
}
