//! Real processes over a real Redis: what a replaced peer finds, and what becomes of a Redis that fails.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::local::{escaped, send};
use crate::processes::PeerProcess;
use crate::support::origin::{Origin, Received, Reply};
use crate::support::raw::Response;
use crate::support::wait_until;

#[path = "../../src/store/redis/testing.rs"]
mod server;

pub(crate) use server::{Cluster, Program, RedisServer};

/// Each target has a body of its own, which may be stored for an hour.
pub(crate) fn origin() -> Origin {
    Origin::start(|received: &Received| {
        Reply::ok(format!("the body of {}", received.target)).field("Cache-Control", "max-age=3600")
    })
}

pub(crate) fn get(peer: &PeerProcess, url: &str) -> Response {
    let response = send(peer.address, "GET", &format!("/proxy?q={}", escaped(url)), "");
    assert_eq!(response.status, 200, "{response:?}");
    let path = &url[url.find("/t").unwrap()..];
    assert_eq!(response.body, format!("the body of {path}").into_bytes());
    response
}

pub(crate) fn cache_status(response: &Response) -> &str {
    response.field("cache-status").unwrap()
}

/// Ends a peer as a service manager does; what waits is written.
pub(crate) fn stop(peer: &mut PeerProcess) {
    peer.process.terminate();
    assert_eq!(peer.process.wait().code(), Some(0));
}

/// A loaded machine may take longer than the default.
const PATIENT: [&str; 2] = ["--redis-timeout", "5000"];

pub(crate) fn options<'a>(url: &'a str, more: &[&'a str]) -> Vec<&'a str> {
    [&["--redis", url], &PATIENT[..], more].concat()
}

#[test]
fn replaced_peer_finds_what_the_pool_has_fetched() {
    for program in Program::ALL {
        let (server, cluster) = (RedisServer::start_as(program, &[]), Cluster::start_as(program, 0, &[]));
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
}

/// A date in the past, which makes a response stale when it arrives.
const LONG_AGO: &str = "Wed, 01 Jan 2020 00:00:00 GMT";

#[test]
fn peer_with_a_stale_response_serves_what_a_peer_of_another_pool_has_validated() {
    let server = RedisServer::start(&[]);
    let origin = Origin::start(|received: &Received| {
        let is_validation = received.field("if-none-match") == Some("\"1\"");
        let reply = if is_validation {
            Reply::status(304)
        } else {
            Reply::ok(format!("the body of {}", received.target))
        };
        let reply = reply.field("Cache-Control", "max-age=3600").field("ETag", "\"1\"");
        let stays_stale = received.target == "/t/always-stale";
        if is_validation && !stays_stale { reply } else { reply.field("Date", LONG_AGO) }
    });
    let url = server.url();
    let [one, other] = [(), ()].map(|()| PeerProcess::start_as("127.0.0.1:0", &options(&url, &[])));
    let validated = |response: &Response| cache_status(response).contains("fwd=stale; fwd-status=304");
    for (at, target) in ["/t/validated", "/t/always-stale"].iter().enumerate() {
        let url = origin.url(target);
        assert!(cache_status(&get(&one, &url)).contains("fwd=uri-miss"));
        let values = || server.keys("forwardcache").iter().filter(|name| name.len() > 70).count();
        wait_until("it is in Redis", || values() == at + 1);
        assert!(validated(&get(&other, &url)));
        assert_eq!(origin.count_of(target), 2);
    }
    let url = origin.url("/t/validated");
    let path = format!("/proxy?q={}", escaped(&url));
    let mut found = None;
    wait_until("the other peer has written it", || {
        let response = send(one.address, "GET", &path, "Cache-Control: only-if-cached\r\n");
        let is_found = response.status == 200;
        found = Some(response);
        is_found
    });
    let found = found.unwrap();
    assert!(
        cache_status(&found).contains("; hit") && cache_status(&found).contains("detail=redis"),
        "{found:?}"
    );
    let again = get(&one, &url);
    assert!(cache_status(&again).contains("; hit") && !cache_status(&again).contains("detail"), "{again:?}");
    assert_eq!(origin.count_of("/t/validated"), 2);
    // A response that is stale in Redis too is validated by one request.
    assert!(validated(&get(&one, &origin.url("/t/always-stale"))));
    assert_eq!(origin.count_of("/t/always-stale"), 3);
}

#[test]
fn killed_peer_that_is_replaced_finds_what_the_pool_has_fetched() {
    let (server, origin) = (RedisServer::start(&[]), origin());
    let url = server.url();
    let mut pool = PeerProcess::pool_as(3, &options(&url, &[]));
    let urls: Vec<_> = (0..30).map(|number| origin.url(&format!("/t{number}"))).collect();
    for (number, url) in urls.iter().enumerate() {
        get(&pool[number % 3], url);
    }
    // A name of 64 digits for each URL.
    let values = || server.keys("forwardcache").iter().filter(|name| name.len() > 70).count();
    wait_until("all are in Redis", || values() >= urls.len());
    // Kills the process, and starts an empty one.
    pool[1].restart();
    for url in &urls {
        for peer in &pool {
            assert!(cache_status(&get(peer, url)).contains("; hit"));
        }
    }
    assert_eq!(origin.count(), urls.len());
}

#[test]
fn full_redis_fails_no_request_and_is_still_asked() {
    let server = RedisServer::start(&["--maxmemory", "3mb", "--maxmemory-policy", "noeviction"]);
    let origin = Origin::start(|received: &Received| {
        let body = format!("the body of {}", received.target).into_bytes();
        // What does not change and is long enough that few fit.
        let filler = ("X-Filler", "x".repeat(20_000));
        Reply::ok(body).field("Cache-Control", "max-age=3600").field(filler.0, filler.1)
    });
    let url = server.url();
    let mut more = options(&url, &["--admin", "127.0.0.1:0"]);
    more.extend(["--memory", "64MiB"]);
    let mut peer = PeerProcess::start_as("127.0.0.1:0", &more);
    let urls: Vec<_> = (0..300).map(|number| origin.url(&format!("/t{number}"))).collect();
    urls.iter().for_each(|url| drop(get(&peer, url)));
    assert_eq!(origin.count(), urls.len());
    let redis = redis_status(&peer);
    assert_eq!(
        (&redis["circuit"], redis["answers"].as_u64() > Some(300)),
        (&"closed".into(), true),
        "{redis}"
    );
    // Some were written before it was full, and are found.
    stop(&mut peer);
    peer.restart();
    let found = urls.iter().filter(|url| cache_status(&get(&peer, url)).contains("detail=redis")).count();
    assert!((1..urls.len()).contains(&found), "{found}");
    assert_eq!(redis_status(&peer)["circuit"], "closed");
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
    for program in Program::ALL {
        let (mut server, origin) = (RedisServer::start_as(program, &[]), origin());
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
}

/// The numbers that a peer shows of its store in Redis.
pub(crate) fn redis_status(peer: &PeerProcess) -> serde_json::Value {
    let line = peer.process.wait_for_line("metrics on http://");
    let address = line.split('/').nth(2).unwrap().parse().unwrap();
    let status = send(address, "GET", "/status.json", "");
    let metrics = send(address, "GET", "/metrics", "");
    let metrics = String::from_utf8(metrics.body).unwrap();
    let status: serde_json::Value = serde_json::from_slice(&status.body).unwrap();
    let metric = |name: &str| {
        let line = metrics.lines().find_map(|line| line.strip_prefix(&format!("forwardcache_redis_{name} ")));
        line.expect(name).parse::<u64>().unwrap()
    };
    let redis = status["redis"].clone();
    // The metrics are later.
    for result in ["answer", "error"] {
        let shown = redis[format!("{result}s")].as_u64().unwrap();
        assert!(metric(&format!("operations_total{{result=\"{result}\"}}")) >= shown, "{metrics}");
    }
    assert!(metric("up") <= 1);
    redis
}

#[test]
fn master_of_a_cluster_that_is_killed_fails_no_request_and_its_replica_takes_over() {
    for program in Program::ALL {
        const TIMEOUT: Duration = Duration::from_millis(500);
        let (mut cluster, origin) = (Cluster::start_as(program, 3, &[]), origin());
        let url = cluster.url();
        let options = ["--redis", &url, "--redis-timeout", "500", "--admin", "127.0.0.1:0"];
        let mut peer = PeerProcess::start_as("127.0.0.1:0", &options);
        let urls: Vec<_> = (0..60).map(|number| origin.url(&format!("/t{number}"))).collect();
        urls.iter().for_each(|url| drop(get(&peer, url)));
        let sizes = |servers: &[RedisServer]| -> Vec<String> {
            servers.iter().map(|server| server.run(&["DBSIZE"])).collect()
        };
        let stored = || {
            sizes(&cluster.servers[..3])
                .iter()
                .filter_map(|size| size.trim().parse::<usize>().ok())
                .sum::<usize>()
        };
        // A value for each URL, and a list of purges for each shard.
        wait_until("all are in Redis, and copied", || {
            stored() > urls.len() && sizes(&cluster.servers[..3]) == sizes(&cluster.servers[3..])
        });
        assert_eq!(redis_status(&peer)["circuit"], "closed");
        cluster.servers[1].kill();
        let (begun, mut longest) = (Instant::now(), Duration::ZERO);
        let mut count = 0;
        let is_slave = |server: &RedisServer| server.run(&["ROLE"]).starts_with("slave");
        while is_slave(&cluster.servers[4]) || count < 100 {
            let asked = Instant::now();
            get(&peer, &origin.url(&format!("/t/new/{count}")));
            longest = longest.max(asked.elapsed());
            count += 1;
            assert!(begun.elapsed() < Duration::from_secs(60), "the replica does not take over");
        }
        // At most a lookup that connects and waits; the rest is the time of a loaded machine.
        assert!(longest < 2 * TIMEOUT + Duration::from_secs(2), "{longest:?}");
        assert!(redis_status(&peer)["errors"].as_u64() > Some(0));
        wait_until("Redis is asked again", || redis_status(&peer)["circuit"] == "closed");
        // A new process finds what the killed master had.
        stop(&mut peer);
        peer.restart();
        let asked = origin.count();
        wait_until("all responses are found", || {
            stop(&mut peer);
            peer.restart();
            urls.iter().all(|url| cache_status(&get(&peer, url)).contains("detail=redis"))
        });
        assert!(origin.count() < asked + urls.len(), "{} of {}", origin.count() - asked, urls.len());
    }
}

#[test]
fn responses_for_credentials_are_shared_by_a_key_file_and_redis_gets_no_credential() {
    const SECRETS: [(&str, &str); 3] = [
        ("Authorization", "Basic c2VjcmV0LWF1dGhvcml6YXRpb24="),
        ("Cookie", "session=secret-cookie"),
        ("X-Api-Key", "secret-api-key"),
    ];
    let origin = Origin::start(|received: &Received| {
        Reply::ok(format!("the body of {}", received.target))
            .field("Cache-Control", "private, max-age=3600")
            .field("Vary", "Cookie, X-Api-Key")
    });
    let (server, folder) = (RedisServer::start(&[]), TempDir::new().unwrap());
    let (url, file) = (server.url(), folder.path().join("key"));
    let file = file.to_str().unwrap();
    let keyed = options(&url, &["--store-key-file", file]);
    let ask = |peer: &PeerProcess, number: usize, fields: &str| {
        let path = format!("/proxy?q={}", escaped(&origin.url(&format!("/t{number}"))));
        let response = send(peer.address, "GET", &path, fields);
        assert_eq!(response.status, 200, "{response:?}");
        cache_status(&response).contains("; hit")
    };
    let field = |number: usize| format!("{}: {}\r\n", SECRETS[number].0, SECRETS[number].1);
    let mut first = PeerProcess::start_as("127.0.0.1:0", &keyed);
    for number in 0..SECRETS.len() {
        assert!(!ask(&first, number, &field(number)) && ask(&first, number, &field(number)));
    }
    stop(&mut first);
    let second = PeerProcess::start_as("127.0.0.1:0", &keyed);
    let without = PeerProcess::start_as("127.0.0.1:0", &options(&url, &[]));
    for (number, (name, _)) in SECRETS.iter().enumerate() {
        assert!(ask(&second, number, &field(number)), "{name}");
        assert!(!ask(&without, number, &field(number)), "{name}");
        let other = format!("{name}: another\r\n");
        assert!(!ask(&second, number, &other) && !ask(&second, number, ""), "{name}");
    }
    let dump = server.dump();
    let has = |text: &str| dump.windows(text.len()).any(|bytes| bytes == text.as_bytes());
    assert!(has("the body of /t0") && has("the body of /t2"));
    for (_, secret) in SECRETS {
        assert!(!has(secret) && !has(secret.split(['=', ' ']).nth(1).unwrap_or(secret)), "{secret}");
    }
}
