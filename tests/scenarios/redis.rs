//! Real processes over a real Redis: what a replaced peer finds, and what becomes of a Redis that fails.

use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::local::{escaped, send};
use crate::processes::PeerProcess;
use crate::support::origin::{Origin, Received, Reply};
use crate::support::raw::Response;
use crate::support::tls::Authority;
use crate::support::wait_until;

#[path = "../../src/store/redis/testing.rs"]
mod server;

use server::{Cluster, RedisServer};

/// Each target has a body of its own, which may be stored for an hour.
fn origin() -> Origin {
    Origin::start(|received: &Received| {
        Reply::ok(format!("the body of {}", received.target)).field("Cache-Control", "max-age=3600")
    })
}

fn get(peer: &PeerProcess, url: &str) -> Response {
    let response = send(peer.address, "GET", &format!("/proxy?q={}", escaped(url)), "");
    assert_eq!(response.status, 200, "{response:?}");
    let path = &url[url.find("/t").unwrap()..];
    assert_eq!(response.body, format!("the body of {path}").into_bytes());
    response
}

fn cache_status(response: &Response) -> &str {
    response.field("cache-status").unwrap()
}

/// Ends a peer as a service manager does; what waits is written.
fn stop(peer: &mut PeerProcess) {
    peer.process.terminate();
    assert_eq!(peer.process.wait().code(), Some(0));
}

/// A loaded machine may take longer than the default.
const PATIENT: [&str; 2] = ["--redis-timeout", "5000"];

fn options<'a>(url: &'a str, more: &[&'a str]) -> Vec<&'a str> {
    [&["--redis", url], &PATIENT[..], more].concat()
}

#[test]
fn replaced_peer_finds_what_the_pool_has_fetched() {
    let (server, cluster) = (RedisServer::start(&[]), Cluster::start());
    for url in [server.url(), cluster.url()] {
        let origin = origin();
        let urls: Vec<_> = (0..40).map(|number| origin.url(&format!("/t{number}"))).collect();
        let mut pool = PeerProcess::pool_as(3, &options(&url, &[]));
        for (number, url) in urls.iter().enumerate() {
            get(&pool[number % 3], url);
        }
        assert_eq!(origin.count(), urls.len());
        for peer in &mut pool {
            // The new process has the address of the old one, and an empty memory.
            stop(peer);
            peer.restart();
            let from_redis = urls.iter().filter(|url| {
                let response = get(peer, url);
                assert!(cache_status(&response).contains("; hit"), "{response:?}");
                cache_status(&response).contains("detail=redis")
            });
            assert!(from_redis.count() > 0, "{url}");
        }
        assert_eq!(origin.count(), urls.len(), "{url}: the origin got requests for stored responses");
        assert!(pool.iter().all(|peer| peer.process.stderr().is_empty()), "{}", pool[0].process.stderr());
    }
}

#[test]
fn purge_at_one_peer_holds_for_a_replaced_peer() {
    let (server, origin) = (RedisServer::start(&[]), origin());
    let url = server.url();
    let mut pool = PeerProcess::pool_as(2, &options(&url, &[]));
    let urls: Vec<_> = (0..10).map(|number| origin.url(&format!("/t{number}"))).collect();
    urls.iter().for_each(|url| drop(get(&pool[0], url)));
    let prefix = format!("/proxy?prefix={}", escaped(&origin.url("/t")));
    let purged = send(pool[0].address, "PURGE", &prefix, "");
    assert_eq!(purged.status, 200, "{purged:?}");
    for peer in &mut pool {
        stop(peer);
        peer.restart();
    }
    urls.iter().for_each(|url| drop(get(&pool[1], url)));
    assert_eq!(origin.count(), 2 * urls.len());
}

#[test]
fn tls_and_a_password_from_a_file_work() {
    let (authority, folder) = (Authority::new(), TempDir::new().unwrap());
    let files = authority.server_file().to_str().unwrap();
    let authority_file = authority.ca_file().to_str().unwrap();
    let server = RedisServer::start(&[
        "--tls-cert-file",
        files,
        "--tls-key-file",
        files,
        "--tls-ca-cert-file",
        authority_file,
        "--tls-auth-clients",
        "no",
        "--requirepass",
        "a secret",
    ]);
    let origin = origin();
    let password = password_file(folder.path(), "a secret");
    let url = format!("rediss://localhost:{}", server.port());
    let more = ["--redis-password-file", &password, "--redis-ca-file", authority_file];
    let mut peer = PeerProcess::start_as("127.0.0.1:0", &options(&url, &more));
    get(&peer, &origin.url("/t"));
    stop(&mut peer);
    peer.restart();
    let response = get(&peer, &origin.url("/t"));
    assert!(cache_status(&response).contains("detail=redis"), "{response:?}\n{}", peer.process.stderr());
    assert_eq!(origin.count(), 1);
    // Without the authority, the server is not trusted.
    let more = ["--redis-password-file", &password];
    let other = PeerProcess::start_as("127.0.0.1:0", &options(&url, &more));
    assert!(!cache_status(&get(&other, &origin.url("/t"))).contains("hit"));
    other.process.wait_for_line("the store in Redis cannot be used");
}

fn password_file(folder: &Path, password: &str) -> String {
    let file = folder.join("password");
    fs::write(&file, format!("{password}\n")).unwrap();
    file.to_str().unwrap().to_owned()
}

#[test]
fn wrong_password_costs_no_request_and_is_not_logged() {
    let (server, origin) = (RedisServer::start(&["--requirepass", "a secret"]), origin());
    let url = format!("redis://:wrong-secret@127.0.0.1:{}", server.port());
    let peer = PeerProcess::start_as("127.0.0.1:0", &options(&url, &["--verbose"]));
    for number in 0..20 {
        get(&peer, &origin.url(&format!("/t{number}")));
    }
    assert!(cache_status(&get(&peer, &origin.url("/t0"))).contains("; hit"));
    peer.process.wait_for_line("the store in Redis cannot be used");
    let printed = peer.process.stdout() + &peer.process.stderr();
    assert!(!printed.contains("wrong-secret"), "{printed}");
    assert_eq!(printed.matches("the store in Redis cannot").count(), 1, "{printed}");
}

#[test]
fn silent_server_costs_one_timeout_and_then_nothing() {
    let (server, origin) = (RedisServer::start(&[]), origin());
    let url = server.url();
    let peer = PeerProcess::start_as("127.0.0.1:0", &["--redis", &url, "--redis-timeout", "1000"]);
    get(&peer, &origin.url("/t"));
    server.run(&["CLIENT", "PAUSE", "30000"]);
    let begun = Instant::now();
    for number in 0..20 {
        get(&peer, &origin.url(&format!("/t{number}")));
    }
    // Connecting and the operation may each take a second; 20 times that would be 20 seconds at least.
    let taken = begun.elapsed();
    assert!(taken < Duration::from_secs(8), "{taken:?}");
    assert!(taken > Duration::from_millis(900), "{taken:?}: nothing was asked");
    peer.process.wait_for_line("the store in Redis cannot be used");
}

#[test]
fn server_that_is_killed_under_load_and_comes_back_fails_no_request() {
    let (mut server, origin) = (RedisServer::start(&[]), origin());
    let url = server.url();
    let peer = PeerProcess::start_as("127.0.0.1:0", &["--redis", &url, "--memory", "16MiB"]);
    let (is_over, served) = (AtomicBool::new(false), AtomicUsize::new(0));
    thread::scope(|scope| {
        for client in 0..4 {
            let (peer, origin, is_over, served) = (&peer, &origin, &is_over, &served);
            scope.spawn(move || {
                for number in 0.. {
                    if is_over.load(Ordering::Relaxed) {
                        break;
                    }
                    get(peer, &origin.url(&format!("/t{client}/{number}")));
                    served.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        let more = |what: &str, count: usize| {
            let goal = served.load(Ordering::Relaxed) + count;
            wait_until(what, || served.load(Ordering::Relaxed) >= goal);
        };
        for _ in 0..2 {
            wait_until("something is stored in Redis", || !server.keys("forwardcache").is_empty());
            more("requests are served with Redis", 50);
            server.kill();
            more("requests are served without Redis", 200);
            server.restart();
        }
        wait_until("something is stored in Redis again", || !server.keys("forwardcache").is_empty());
        is_over.store(true, Ordering::Relaxed);
    });
}

#[test]
fn invalid_address_is_an_error_without_the_password() {
    let run = |url: &str| {
        let output = crate::support::process::run(["serve", "--listen", "127.0.0.1:0", "--redis", url]);
        assert_eq!(output.status.code(), Some(2), "{url}");
        String::from_utf8(output.stderr).unwrap()
    };
    let printed = run("http://user:a-secret@host");
    assert!(printed.starts_with("forwardcache: --redis: invalid address of Redis"), "{printed}");
    assert!(!printed.contains("a-secret"), "{printed}");
}
