//! What a client makes of each thing that a peer may do, with real sockets and default settings.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::thread;
use std::time::{Duration, Instant};

use forwardcache::{Body, Client, ClientBuilder, Error, ErrorKind, NoPeerLeft, PeerState, ServerTls};
use http::{Request, Response};

use crate::local::{LocalPeer, escaped, listen, send, state};
use crate::processes::PeerProcess;
use crate::support::origin::{Gate, Origin, Piece, Reply};
use crate::support::port::Port;
use crate::support::process::Process;
use crate::support::raw::Connection;
use crate::support::tls::Authority;
use crate::support::wait_until;

const SECOND: Duration = Duration::from_secs(1);

/// What is being done anyway does not count as waiting: processes are many here, and processors few.
const SLACK: Duration = Duration::from_millis(1500);

/// What a peer that does not answer may add.
const FROZEN: Duration = Duration::from_secs(2);

fn text(response: Result<Response<Body>, Error>) -> Result<String, Error> {
    response?.into_body().into_text()
}

fn origin() -> Origin {
    Origin::start(Reply::target)
}

/// The pool of a real peer and of another that behaves in some way.
struct Two {
    good: LocalPeer,
    bad: String,
    client: Client,
}

impl Two {
    fn new(bad: impl Into<String>) -> Self {
        Self::with(bad, |builder| builder)
    }

    fn with(bad: impl Into<String>, with: impl FnOnce(ClientBuilder) -> ClientBuilder) -> Self {
        let (good, bad) = (LocalPeer::start(), bad.into());
        let client = Client::builder().pool([bad.clone(), good.url()]).no_peer_left(NoPeerLeft::Fail);
        Self { good, bad, client: with(client).build().unwrap() }
    }

    /// A URL that the other owns.
    fn url(&self, origin: &Origin) -> String {
        self.urls(origin).next().unwrap()
    }

    fn urls<'a>(&'a self, origin: &'a Origin) -> impl Iterator<Item = String> + 'a {
        let all = (0..10_000).map(|number| origin.url(&format!("/{number}")));
        all.filter(|url| self.client.owner(url).unwrap().unwrap().as_str() == self.bad)
    }

    fn state(&self) -> PeerState {
        state(&self.client, &self.bad)
    }

    /// Fetches what the other owns, which the good one answers.
    fn fetch(&self, url: &str) {
        assert!(url.ends_with(&text(self.client.get(url)).unwrap()), "{url}");
    }
}

/// A peer that says that it is there, and answers everything else in this way.
fn scripted(answer: impl Fn(&str) -> Reply + Send + Sync + 'static) -> Origin {
    Origin::start(
        move |received| {
            if received.target == "/healthz" { Reply::ok("ok") } else { answer(&received.target) }
        },
    )
}

/// A response that a peer makes itself.
fn refusal(status: u16, kind: ErrorKind) -> Reply {
    Reply::status(status).field("Forwardcache-Peer", "1").field("Forwardcache-Error", kind.name())
}

#[test]
fn dead_is_refused_reset_or_no_http() {
    let port = Port::hold();
    let refused = Two::new(format!("http://{}", port.address()));
    let origin = origin();
    refused.fetch(&refused.url(&origin));
    assert_eq!(refused.state(), PeerState::Down);
    for reply in [
        Reply::nothing(),
        Reply::nothing_by_reset(),
        Reply::raw("\u{0}\u{1}\u{2} is no HTTP\r\n\r\n"),
        Reply::raw("HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\nx"),
    ] {
        let shown = format!("{reply:?}");
        let dead = scripted(move |_| reply.clone());
        let pool = Two::new(dead.url(""));
        pool.fetch(&pool.url(&origin));
        assert_eq!(pool.state(), PeerState::Down, "{shown}");
        assert_eq!(pool.client.counts().failovers, 1, "{shown}");
    }
}

#[test]
fn dead_is_a_peer_that_does_not_speak_tls() {
    let (origin, plain) = (origin(), listen());
    let pool = Two::new(format!("https://{}", plain.local_addr().unwrap()));
    thread::spawn(move || {
        for connection in plain.incoming() {
            let _ = connection.unwrap().write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n");
        }
    });
    pool.fetch(&pool.url(&origin));
    assert_eq!(pool.state(), PeerState::Down);
}

#[test]
fn a_broken_body_marks_its_peer_when_it_repeats() {
    let cuts: [fn() -> Reply; 2] = [
        || Reply::ok("x".repeat(1000)).cut_after(500),
        // Not the one that is announced.
        || Reply::ok("abc").field("Content-Digest", "sha-256=:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=:"),
    ];
    for cut in cuts {
        let (origin, broken) = (origin(), scripted(move |_| cut()));
        let pool = Two::new(broken.url(""));
        let urls: Vec<_> = pool.urls(&origin).take(4).collect();
        // One URL alone marks nobody.
        for url in [&urls[0], &urls[0], &urls[0], &urls[0], &urls[1]] {
            pool.fetch(url);
            assert_eq!(pool.state(), PeerState::Up);
        }
        pool.fetch(&urls[2]);
        assert_eq!(pool.state(), PeerState::Down);
    }
}

#[test]
fn a_busy_peer_is_not_marked_and_its_retry_after_is_passed_on() {
    let origin = origin();
    let busy = scripted(|_| refusal(503, ErrorKind::Unavailable).field("Retry-After", "3"));
    let pool = Two::new(busy.url(""));
    let url = pool.url(&origin);
    pool.fetch(&url);
    assert_eq!((pool.state(), pool.client.counts().failovers), (PeerState::Up, 1));
    let both = scripted(|_| refusal(503, ErrorKind::Unavailable).field("Retry-After", "3"));
    // It does not go to the origin either.
    let client = Client::builder().pool([busy.url(""), both.url("")]).build().unwrap();
    let error = client.get(&url).unwrap_err();
    assert_eq!((error.kind(), error.retry_after()), (ErrorKind::Unavailable, Some(3 * SECOND)));
    assert_eq!(client.counts().direct_fetches, 0);
    assert!(client.health().iter().all(|peer| peer.state == PeerState::Up));
}

#[test]
fn too_many_connections_are_busy_and_not_dead() {
    let origin = origin();
    let full = LocalPeer::start_on(forwardcache::FrontOptions::new().max_connections(1), |builder| builder);
    let mut held = Connection::open(full.address());
    let target = escaped(&origin.url("/held"));
    held.write(format!("GET /proxy?q={target} HTTP/1.1\r\nHost: {}\r\n\r\n", full.address()));
    assert_eq!(held.read_response().status, 200);
    let pool = Two::new(full.url());
    pool.fetch(&pool.url(&origin));
    assert_eq!((pool.state(), pool.client.counts().failovers), (PeerState::Up, 1));
}

#[test]
fn a_peer_that_leaves_drains_and_comes_back() {
    let origin = origin();
    let leaving = LocalPeer::start();
    let pool = Two::new(leaving.url());
    let urls: Vec<_> = pool.urls(&origin).take(10).collect();
    leaving.peer.leave();
    urls.iter().for_each(|url| pool.fetch(url));
    assert_eq!(pool.state(), PeerState::Draining);
    assert_eq!(leaving.peer.stats().counts().origin_requests, 1);
    // It is asked again and again whether it is back.
    wait_until("it is not asked", || {
        pool.fetch(&urls[0]);
        pool.client.counts().probes >= 2
    });
    assert!(pool.client.health().iter().all(|peer| peer.failures == 0));
}

#[test]
fn a_peer_that_is_set_up_wrongly_is_followed_by_the_next() {
    let origin = origin();
    for (status, kind) in [(407, ErrorKind::Unauthorized), (404, ErrorKind::BadPeer)] {
        let wrong = scripted(move |_| refusal(status, kind));
        let pool = Two::new(wrong.url(""));
        for url in pool.urls(&origin).take(3) {
            pool.fetch(&url);
        }
        assert_eq!((pool.state(), pool.client.counts().failovers), (PeerState::Up, 3), "{status}");
    }
    // An origin's own is passed on.
    let missing = Origin::start(|_| Reply::status(404));
    let peer = LocalPeer::start();
    assert_eq!(peer.client().get(&missing.url("/")).unwrap().status(), 404);
}

#[test]
fn what_the_limits_refuse_is_an_error_of_this_request_alone() {
    let origin = origin().may_be_unused();
    let large: fn() -> Reply = || Reply::ok("").field("X-Large", "x".repeat(1200 << 10));
    let many: fn() -> Reply = || (0..4200).fold(Reply::ok(""), |reply, _| reply.field("X-Many", "x"));
    for reply in [large, many] {
        let peer = scripted(move |_| reply());
        let pool = Two::new(peer.url(""));
        for url in pool.urls(&origin).take(5) {
            let error = pool.client.get(&url).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::BadResponse, "{error}");
        }
        assert_eq!((pool.state(), pool.client.counts().failovers), (PeerState::Up, 0));
    }
}

#[test]
fn no_head_of_an_origin_marks_a_peer() {
    let odd = Origin::start(|received| {
        let lines: usize = received.target.trim_start_matches('/').parse().unwrap();
        (0..lines).fold(Reply::ok("x"), |reply, _| reply.field("X-Many", "x"))
    });
    let pool: Vec<_> = (0..3).map(|_| LocalPeer::start()).collect();
    let client =
        Client::builder().pool(LocalPeer::urls(&pool)).no_peer_left(NoPeerLeft::Fail).build().unwrap();
    for lines in [100, 115, 120, 125, 127, 200, 300] {
        let _ = client.get(&odd.url(&format!("/{lines}")));
    }
    assert!(client.health().iter().all(|peer| peer.state == PeerState::Up && peer.failures == 0));
}

#[test]
fn an_error_of_another_program_is_followed_by_the_next_unless_peers_may_be_unmarked() {
    let origin = origin();
    let stranger = scripted(|_| Reply::status(502).body("no backend"));
    let pool = Two::new(stranger.url(""));
    pool.fetch(&pool.url(&origin));
    assert_eq!(pool.state(), PeerState::Up);
    let pool = Two::with(stranger.url(""), |builder| builder.accept_unmarked(true));
    assert_eq!(pool.client.get(&pool.url(&origin)).unwrap().status(), 502);
    let command = |extra: &[&str]| {
        let (url, bad, good) = (pool.url(&origin), pool.bad.clone(), pool.good.url());
        let typed = [&["get", "--peer", &bad, "--peer", &good][..], extra, &[&url]].concat();
        crate::support::process::run(typed).status.code()
    };
    assert_eq!((command(&[]), command(&["--go-peers"])), (Some(0), Some(5)));
}

#[test]
fn an_error_of_the_origin_is_passed_on_and_says_that_a_peer_gave_it() {
    let failing = Origin::start(|_| Reply::status(502).field("Forwardcache-Peer", "9"));
    let peer = LocalPeer::start();
    let response = peer.client().get(&failing.url("/")).unwrap();
    assert_eq!((response.status().as_u16(), response.headers().get("forwardcache-peer")), (502, None));
    for (hop, expected) in [("", None), ("Forwardcache: digest\r\nSec-Forwardcache: 1\r\n", Some("1"))] {
        assert_eq!(peer.get_with(&failing.url("/"), hop).field("forwardcache-peer"), expected);
        // A hit, a refusal, and an explanation.
        let cached = origin();
        for _ in 0..3 {
            assert_eq!(peer.get_with(&cached.url("/a"), hop).field("forwardcache-peer"), expected);
        }
        let refused = send(peer.address(), "GET", "/elsewhere", hop);
        assert_eq!((refused.status, refused.field("forwardcache-peer")), (404, expected));
        let why = send(peer.address(), "GET", &format!("/proxy/why?q={}", escaped(&cached.url("/a"))), hop);
        assert_eq!((why.status, why.field("forwardcache-peer")), (200, expected));
    }
}

fn served_over(authority: &Authority) -> LocalPeer {
    let file = authority.server_file();
    let tls = ServerTls::from_files(file, file).unwrap();
    LocalPeer::start_on(forwardcache::FrontOptions::new().tls(tls).io_threads(1), |builder| builder)
}

#[test]
fn a_client_that_trusts_no_peer_says_so_and_never_goes_past_the_pool() {
    let (origin, authority) = (origin().may_be_unused(), Authority::new());
    let pool: Vec<_> = (0..2).map(|_| served_over(&authority)).collect();
    let urls = || pool.iter().map(|peer| format!("https://localhost:{}", peer.address().port()));
    let client = Client::builder().pool(urls()).build().unwrap();
    let error = client.get(&origin.url("/a")).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Tls);
    assert!(error.message().contains("UnknownIssuer"), "{error}");
    assert_eq!((client.counts().direct_fetches, origin.count()), (0, 0));
    assert!(client.health().iter().all(|peer| peer.state == PeerState::Up && peer.failures == 0));
}

#[test]
fn a_single_peer_that_is_not_trusted_is_set_up_wrongly() {
    let (origin, authority) = (origin(), Authority::new());
    let stranger = served_over(&authority);
    let pool = Two::new(format!("https://localhost:{}", stranger.address().port()));
    for url in pool.urls(&origin).take(3) {
        pool.fetch(&url);
    }
    assert_eq!((pool.state(), pool.client.counts().failovers), (PeerState::Up, 3));
}

/// One that takes connections, and answers nothing but what is asked of its health, if that.
fn silent(answers_health: bool) -> SocketAddr {
    let listener = listen();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || serve_silently(&listener, answers_health));
    address
}

fn serve_silently(listener: &TcpListener, answers_health: bool) {
    let mut held = Vec::new();
    for connection in listener.incoming() {
        let mut connection = connection.unwrap();
        let mut head = [0; 4096];
        let count = connection.read(&mut head).unwrap_or(0);
        if answers_health && head[..count].starts_with(b"GET /healthz ") {
            let _ = connection.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
        }
        held.push(connection);
    }
}

#[test]
fn a_peer_that_says_nothing_is_left_for_the_next_and_then_marked() {
    let origin = origin();
    let pool = Two::new(format!("http://{}", silent(false)));
    let url = pool.url(&origin);
    let begun = Instant::now();
    pool.fetch(&url);
    assert!(begun.elapsed() < FROZEN, "{:?}", begun.elapsed());
    wait_until("it is not marked", || pool.state() == PeerState::Down);
    // What may not be repeated fails.
    let pool = Two::new(pool.bad);
    let url = pool.url(&origin);
    let begun = Instant::now();
    let error = pool.client.request(Request::post(&url).body("an item").unwrap()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Timeout);
    assert!(begun.elapsed() < FROZEN + SLACK, "{:?}", begun.elapsed());
}

#[test]
fn a_slow_origin_is_waited_for_where_its_peer_says_that_it_is_there() {
    let gate = Gate::new();
    let held = gate.clone();
    let slow = Origin::start(move |_| Reply::ok("at last").gate_head(&held));
    let pool: Vec<_> = (0..2).map(|_| LocalPeer::start()).collect();
    let client = Client::builder().pool(LocalPeer::urls(&pool)).build().unwrap();
    thread::scope(|scope| {
        let asking = scope.spawn(|| text(client.get(&slow.url("/a"))).unwrap());
        wait_until("it is not asked whether it is there", || client.counts().probes >= 2);
        gate.open();
        assert_eq!(asking.join().unwrap(), "at last");
    });
    assert_eq!((client.counts().failovers, slow.count()), (0, 1));
}

#[test]
fn a_short_body_of_a_slow_origin_streams_as_it_comes_with_one_fetch() {
    let gates = [Gate::new(), Gate::new()];
    let held = gates.clone();
    // A peer, behind which an origin is slow.
    let slow = scripted(move |_| {
        let head =
            "HTTP/1.1 200 OK\r\nContent-Length: 3\r\nCache-Status: forwardcache; fwd=uri-miss\r\n\r\na";
        let pieces: [Piece; 5] =
            [head.into(), Piece::Wait(held[0].clone()), "b".into(), Piece::Wait(held[1].clone()), "c".into()];
        Reply::raw_pieces(pieces)
    });
    let client = Client::builder().pool([slow.url("")]).no_peer_left(NoPeerLeft::Fail).build().unwrap();
    let mut body = client.get("http://origin.invalid/a").unwrap().into_body();
    let mut byte = [0];
    for (at, expected) in b"abc".iter().enumerate() {
        body.read_exact(&mut byte).unwrap();
        assert_eq!(byte[0], *expected);
        if let Some(gate) = gates.get(at) {
            gate.open();
        }
    }
    assert_eq!(body.read(&mut byte).unwrap(), 0);
    assert_eq!(client.counts().failovers, 0);
}

#[test]
fn a_frozen_process_costs_a_library_and_a_command_little() {
    let origin = origin();
    let mut pool = [PeerProcess::start(), PeerProcess::start()];
    let urls = PeerProcess::urls(&pool);
    let client = || Client::builder().pool(urls.clone()).build().unwrap();
    let owned = (0..100).map(|number| origin.url(&format!("/{number}")));
    let owned: Vec<_> =
        owned.filter(|url| client().owner(url).unwrap().unwrap().as_str() == urls[0]).take(3).collect();
    let warm = client();
    text(warm.get(&owned[0])).unwrap();
    pool[0].process.signal("STOP");
    // With a connection that is kept, and with none.
    for client in [warm, client()] {
        let begun = Instant::now();
        text(client.get(&owned[1])).unwrap();
        assert!(begun.elapsed() < FROZEN, "{:?}", begun.elapsed());
        assert_eq!(client.counts().direct_fetches, 0);
    }
    let begun = Instant::now();
    let mut get = Process::spawn(["get", "--peer", &urls[0], "--peer", &urls[1], &owned[2]]);
    assert_eq!(get.wait().code(), Some(0), "{}", get.stderr());
    assert!(begun.elapsed() < FROZEN + SLACK, "{:?}", begun.elapsed());
    pool[0].process.signal("CONT");
}
