//! Purging: stored responses are removed from every peer of the pool, by authorized clients.

use std::net::{SocketAddr, TcpListener};
use std::sync::{Arc, Barrier, Mutex, mpsc};
use std::thread;
use std::time::Duration;

use bytes::Bytes;
use forwardcache::client::NearCache;
use forwardcache::pool::Tokens;
use forwardcache::server::{ServerConfig, ServerHandle, TinyHttpServer};
use forwardcache::store::{BackedStore, ByteStore, MemoryByteStore, StoreError};
use forwardcache::{Body, Client, ErrorKind, Outcome, Peer, Purge, RoundTrip, RoundTripFn};
use http::Request;

use crate::local::{LocalPeer, escaped, listen, send, start_get};
use crate::processes::PeerProcess;
use crate::support::origin::{Gate, Origin, Received, Reply};
use crate::support::process::{Process, run};
use crate::support::raw::Response;
use crate::support::tls::Authority;

const TOKEN: &str = "a-token-of-the-pool";

/// A response that varies by `Accept` and belongs to two cache groups.
fn page(received: &Received) -> Reply {
    assert_ne!(received.method, "PURGE", "a purge reached an origin");
    Reply::ok(received.target.clone())
        .field("Cache-Control", "max-age=600")
        .field("Cache-Groups", "\"news\", \"all of it\"")
        .field("Vary", "Accept")
}

impl PeerProcess {
    fn get(&self, url: &str, fields: &str) -> Response {
        send(self.address, "GET", &format!("/proxy?q={}", escaped(url)), fields)
    }

    fn purge(&self, query: &str, fields: &str) -> (u16, String) {
        purge(self.address, query, fields)
    }
}

fn purge(peer: SocketAddr, query: &str, fields: &str) -> (u16, String) {
    let answer = send(peer, "PURGE", &format!("/proxy?{query}"), fields);
    (answer.status, String::from_utf8(answer.body).unwrap())
}

fn is_hit(answer: &Response) -> bool {
    assert_eq!(answer.status, 200);
    Outcome::of(&answer.headers) == Some(Outcome::Hit)
}

/// Header fields that select four different stored responses of one URL.
const FIELDS: [&str; 4] =
    ["", "Accept: b\r\n", "Authorization: anna\r\n", "Authorization: bert\r\nAccept: b\r\n"];

fn peer_flags(pool: &[PeerProcess]) -> Vec<String> {
    pool.iter().map(|peer| format!("--peer={}", peer.url())).collect()
}

/// Returns whether the result of a purge reports this number of removed responses for a peer.
fn reports_removal(peer: &str, text: &str, responses: usize) -> bool {
    text.lines().any(|line| {
        line.split(['\t', ' ']).next() == Some(peer) && line.contains(&format!("responses {responses} bytes"))
    })
}

/// Runs a purge and returns its result.
type PurgeForm<'a> = Box<dyn Fn() -> String + 'a>;

#[test]
fn every_form_of_purge_removes_every_copy_from_every_peer() {
    let (origin, other) = (Origin::start(page), Origin::start(page));
    let pool = PeerProcess::pool(3);
    let (url, sibling, stranger) = (origin.url("/a?b"), origin.url("/ab"), other.url("/a?b"));
    let urls = [&url, &sibling, &stranger];
    let client = Client::builder().pool(PeerProcess::urls(&pool)).build().unwrap();
    let prefix = origin.url("/");
    let host = origin.url("");
    let flags = peer_flags(&pool);
    let command = |words: &[&str]| {
        let words = words.iter().copied();
        let output = run(["purge"].into_iter().chain(flags.iter().map(String::as_str)).chain(words));
        assert_eq!(output.status.code(), Some(0), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    };
    let wire = |query: String| {
        let (status, text) = pool[1].purge(&query, "");
        assert_eq!(status, 200, "{text}");
        text
    };
    let library = |purge: Purge| {
        let purged = client.purge(&purge).unwrap();
        assert!(purged.is_complete());
        purged.to_string()
    };
    let forms: Vec<(PurgeForm<'_>, [bool; 3])> = vec![
        (Box::new(|| wire(format!("q={}", escaped(&url)))), [false, true, true]),
        (Box::new(|| library(Purge::url(&url).unwrap())), [false, true, true]),
        (Box::new(|| command(&[&url])), [false, true, true]),
        (Box::new(|| wire(format!("prefix={}", escaped(&prefix)))), [false, false, true]),
        (Box::new(|| library(Purge::prefix(&origin.url("/a?")).unwrap())), [false, true, true]),
        (Box::new(|| command(&["--prefix", &prefix])), [false, false, true]),
        (
            Box::new(|| wire(format!("group={}&origin={}", escaped("all of it"), escaped(&host)))),
            [false, false, true],
        ),
        (Box::new(|| library(Purge::group(&host, "news").unwrap())), [false, false, true]),
        (Box::new(|| command(&["--group", "news", "--origin", &host])), [false, false, true]),
        (Box::new(|| command(&["--group", "sport", "--origin", &host])), [true, true, true]),
        (Box::new(|| wire("all".to_owned())), [false, false, false]),
        (Box::new(|| library(Purge::all())), [false, false, false]),
        (Box::new(|| command(&["--all"])), [false, false, false]),
        (Box::new(|| command(&[&url, &stranger])), [false, true, false]),
    ];
    for (number, (form, stay)) in forms.iter().enumerate() {
        // Request each URL from every peer, including those that do not own it: a peer stores what it is asked for.
        for (peer, url) in pool.iter().flat_map(|peer| urls.map(|url| (peer, url))) {
            for fields in FIELDS {
                peer.get(url, fields);
                assert!(is_hit(&peer.get(url, fields)), "{number}");
            }
        }
        let removed = stay.iter().filter(|stays| !**stays).count() * FIELDS.len();
        let text = form();
        assert_eq!(text.lines().count(), 3, "{number}: {text}");
        for peer in &pool {
            assert!(reports_removal(&peer.url(), &text, removed), "{number}: {text}");
            for (url, stays) in urls.iter().zip(stay) {
                for fields in ["Cache-Control: only-if-cached\r\n"]
                    .iter()
                    .flat_map(|only| FIELDS.map(|fields| format!("{only}{fields}")))
                {
                    let status = peer.get(url, &fields).status;
                    assert_eq!(status == 200, *stays, "{number} {url} {fields}: {status}");
                }
            }
        }
    }
}

#[test]
fn purge_names_the_unreachable_peer_and_reaches_the_others() {
    let origin = Origin::start(page);
    let mut pool = PeerProcess::pool(3);
    for peer in &pool {
        peer.get(&origin.url("/a"), "");
    }
    let flags = peer_flags(&pool);
    let client = Client::builder().pool(PeerProcess::urls(&pool)).build().unwrap();
    let mut lost = pool.pop().unwrap();
    lost.process.terminate();
    assert!(lost.process.wait().success());

    let query = format!("q={}", escaped(&origin.url("/a")));
    let (status, text) = pool[0].purge(&query, "");
    assert_eq!((status, text.lines().count()), (502, 3), "{text}");
    assert!(text.contains(&format!("{} failed unreachable ", lost.url())), "{text}");
    assert!(pool.iter().all(|peer| reports_removal(&peer.url(), &text, 1)), "{text}");

    let purged = client.purge(&Purge::all()).unwrap();
    let failed: Vec<_> = purged.failed().map(|(peer, error)| (peer.to_string(), error.kind())).collect();
    assert_eq!(failed, [(lost.url(), ErrorKind::Unreachable)]);
    assert_eq!(purged.peers.len(), 3);

    let words = ["purge"].into_iter().chain(flags.iter().map(String::as_str));
    let (one, two) = (origin.url("/a"), origin.url("/b"));
    let output = run(words.chain([&*one, &*two]));
    assert_eq!(output.status.code(), Some(1));
    let (stdout, stderr) =
        (String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap());
    assert_eq!((stdout.lines().count(), stderr.lines().count()), (2, 1), "{stdout}{stderr}");
    assert!(pool.iter().all(|peer| reports_removal(&peer.url(), &stdout, 0)), "{stdout}");
    assert!(stderr.starts_with(&format!("forwardcache: {} ", lost.url())), "{stderr}");

    let own = pool[0].purge("all", "Forwardcache-Scope: own\r\n");
    assert_eq!(own, (200, format!("{} responses 0 bytes 0\n", pool[0].url())));
}

#[test]
fn purge_requires_a_valid_token() {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), TOKEN).unwrap();
    let path = file.path().to_str().unwrap();
    let (origin, pool) = (Origin::start(page), PeerProcess::pool_as(2, &["--token-file", path]));
    let shown = format!("Proxy-Authorization: Bearer {TOKEN}\r\n");
    let url = origin.url("/a");
    pool[0].get(&url, &shown);
    let flags = peer_flags(&pool);
    let words = || ["purge", "--all"].into_iter().chain(flags.iter().map(String::as_str));
    for fields in
        ["", "Proxy-Authorization: Bearer another-token-than-ours\r\n", "Forwardcache-Scope: own\r\n"]
    {
        for query in ["all", &format!("q={}", escaped(&url))] {
            let (status, text) = pool[0].purge(query, fields);
            assert_eq!((status, text.lines().count()), (407, 1), "{text}");
        }
    }
    let refused = run(words());
    assert_eq!((refused.status.code(), refused.stdout.len()), (Some(1), 0));
    let message = String::from_utf8(refused.stderr).unwrap();
    assert!(message.lines().count() == 2 && message.contains("token"), "{message}");
    assert!(is_hit(&pool[0].get(&url, &shown)));

    // A peer passes a purge on to the other peers with their shared token.
    let (status, text) = pool[1].purge("all", &shown);
    assert_eq!(status, 200, "{text}");
    assert!(reports_removal(&pool[0].url(), &text, 1) && reports_removal(&pool[1].url(), &text, 0), "{text}");
    let done = run(words().chain(["--token-file", path]));
    assert_eq!(done.status.code(), Some(0), "{done:?}");
    assert_eq!(origin.count(), 1);
}

#[test]
fn public_peer_forbids_purges_unless_allowed() {
    let origin = Origin::start(page);
    let open = ["--self-url", "http://127.0.0.1:1", "--origins", "any", "--allow-anyone"];
    for (more, status) in [(&[][..], 403), (&["--allow-anyone-to-purge"], 200)] {
        let mut peer = PeerProcess::start_as("0.0.0.0:0", &[&open[..], more].concat());
        peer.get(&origin.url("/a"), "");
        let (answered, text) = peer.purge("all", "");
        assert_eq!((answered, text.lines().count()), (status, 1), "{text}");
        assert_eq!(is_hit(&peer.get(&origin.url("/a"), "")), status == 403);
        peer.process.terminate();
        assert!(peer.process.wait().success());
    }
    let refused = run(["serve", "--allow-anyone-to-purge", "--token-file", "/no/such/file"]);
    assert_eq!(refused.status.code(), Some(2));
}

#[test]
fn client_certificate_authorizes_purging() {
    let (origin, authority) = (Origin::start(page), Authority::new());
    let server = authority.server_file().to_str().unwrap();
    let ca = authority.ca_file().to_str().unwrap();
    let served = ["--listen", "0.0.0.0:0", "--self-url", "https://localhost:1", "--origins", "any"];
    let tls = ["--tls-cert", server, "--tls-key", server, "--tls-client-ca", ca];
    let mut serving = Process::spawn(["serve"].iter().chain(&served).chain(&tls));
    let line = serving.wait_for_line("serving on https://");
    let port = line.split(' ').nth(2).unwrap().rsplit(':').next().unwrap();
    let peer = format!("--peer=https://localhost:{port}");
    let client = authority.client_file().to_str().unwrap();
    let shown = ["--cacert", ca, "--cert", client, "--key", client];
    let url = origin.url("/a");
    let got = run(["get", &peer, &url].iter().chain(&shown));
    assert!(got.status.success(), "{got:?}");
    let refused = run(["purge", &peer, &url].iter().chain(&shown[..2]));
    assert_eq!((refused.status.code(), refused.stdout.len()), (Some(1), 0));
    let purged = run(["purge", &peer, &url].iter().chain(&shown));
    let text = String::from_utf8(purged.stdout).unwrap();
    assert!(purged.status.success() && reports_removal(&peer["--peer=".len()..], &text, 1), "{text}");
    serving.terminate();
    assert!(serving.wait().success());
}

#[test]
fn tiny_http_server_supports_purging() {
    let origin = Origin::start(page);
    let peer = PeerProcess::start_as("127.0.0.1:0", &["--server", "tiny_http"]);
    peer.get(&origin.url("/a"), "");
    let (status, text) = peer.purge("all", "");
    assert!(status == 200 && reports_removal(&peer.url(), &text, 1), "{status} {text}");
}

#[test]
fn fetch_in_progress_is_not_stored_or_shared_after_a_purge() {
    let queries: [fn(&Origin) -> String; 4] = [
        |origin| format!("q={}", escaped(&origin.url("/a"))),
        |origin| format!("prefix={}", escaped(&origin.url("/"))),
        |origin| format!("group=news&origin={}", escaped(&origin.url(""))),
        |_| "all".to_owned(),
    ];
    for query in queries {
        let gate = Gate::new();
        let replies = [page_of("old".repeat(100_000)).gate_body(1_000, &gate), page_of("new".to_owned())];
        let origin = Origin::replies(replies);
        let peer = PeerProcess::start();
        let mut under_way = start_get(peer.address, &origin.url("/a"));
        under_way.wait_for_bytes(b"oldo");
        let (status, text) = peer.purge(&query(&origin), "");
        assert!(status == 200 && reports_removal(&peer.url(), &text, 0), "{text}");
        let answer = peer.get(&origin.url("/a"), "");
        assert_eq!(answer.body, b"new");
        gate.open();
        // A response that is already being sent is completed.
        assert_eq!(under_way.read_response().body.len(), 300_000);
        let answer = peer.get(&origin.url("/a"), "");
        assert!(is_hit(&answer) && answer.body == b"new");
        assert_eq!(origin.count(), 2);
    }
}

fn page_of(body: String) -> Reply {
    Reply::ok(body).field("Cache-Control", "max-age=600").field("Cache-Groups", "\"news\"")
}

#[test]
fn purge_is_sent_once_to_each_other_peer() {
    let neighbour = Origin::start(|received| {
        assert_eq!(
            (received.method.as_str(), &*received.target),
            ("PURGE", "/proxy?prefix=http%3A%2F%2Fa%2Fb")
        );
        // The neighbour is only asked for its own share; a near cache needs no second purge.
        assert_eq!(received.headers["forwardcache-scope"], "own");
        Reply::ok("me responses 7 bytes 70\n")
    });
    let neighbour_url = neighbour.url("");
    let pool = [&neighbour_url];
    let purge = Purge::prefix("http://a/b").unwrap();
    let local = LocalPeer::start_with(|builder| builder.pool([neighbour_url.clone()]));
    let (status, text) = self::purge(local.address(), "prefix=http%3A%2F%2Fa%2Fb", "");
    assert!(
        status == 200 && reports_removal(&neighbour_url, &text, 7) && reports_removal(&local.url(), &text, 0),
        "{text}"
    );
    assert_eq!(neighbour.count(), 1);
    let purged = local.peer.purge(&purge);
    assert_eq!((purged.peers.len(), purged.total().responses), (2, 7));
    assert_eq!(neighbour.count(), 2);
    let (status, _) =
        self::purge(local.address(), "prefix=http%3A%2F%2Fa%2Fb", "Forwardcache-Scope: own\r\n");
    assert_eq!((status, neighbour.count()), (200, 2));
    let client = Client::builder().pool(pool).build().unwrap();
    assert_eq!(client.purge(&purge).unwrap().total().responses, 7);
}

#[test]
fn purge_retries_on_a_stale_pooled_connection() {
    let neighbour = Origin::start(|_| Reply::ok("me responses 1 bytes 10\n").close_silently());
    let client = Client::builder().pool([neighbour.url("")]).build().unwrap();
    for _ in 0..3 {
        let purged = client.purge(&Purge::all()).unwrap();
        assert!(purged.is_complete(), "{purged}");
    }
}

#[test]
fn purge_method_in_the_library_reaches_no_origin() {
    let origin = Origin::start(page);
    let pool = LocalPeer::pool(2);
    let client = Client::builder().pool(LocalPeer::urls(&pool)).build().unwrap();
    let url = origin.url("/a");
    let request = || Request::builder().method("PURGE").uri(&url).body(Body::empty()).unwrap();
    for round in 1..=2 {
        pool.iter().for_each(|peer| drop(peer.get(&url)));
        assert_eq!(origin.count(), 2 * round);
        let answer =
            if round == 1 { client.round_trip(request()) } else { pool[0].peer.round_trip(request()) };
        let answer = answer.unwrap();
        assert_eq!(answer.status(), 200);
        let text = answer.into_body().into_text().unwrap();
        assert!(pool.iter().all(|peer| reports_removal(&peer.url(), &text, 1)), "{text}");
    }
    let direct = Client::builder().build().unwrap();
    assert_eq!(direct.round_trip(request()).unwrap_err().kind(), ErrorKind::NoPeers);
    let alone = pool[0].peer.cache();
    let refused = RoundTrip::round_trip(alone, request()).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::BadRequest);
    let why = send(pool[0].address(), "PURGE", &format!("/proxy/why?q={}", escaped(&url)), "");
    assert_eq!(why.status, 405);
}

/// A backend cache that does not list its keys.
#[derive(Debug, Default)]
struct UnlistedCache(MemoryByteStore);

impl ByteStore for UnlistedCache {
    fn get(&self, key: &str) -> Result<Option<Bytes>, StoreError> {
        self.0.get(key)
    }

    fn set(&self, key: &str, value: Bytes) -> Result<bool, StoreError> {
        self.0.set(key, value)
    }

    fn delete(&self, key: &str) -> Result<bool, StoreError> {
        self.0.delete(key)
    }
}

#[test]
fn purge_of_an_unlisted_backend_removes_without_counting() {
    let origin = Origin::start(page);
    let peer = LocalPeer::start_with(|builder| builder.store(BackedStore::new(UnlistedCache::default())));
    let url = origin.url("/a");
    for query in [
        format!("q={}", escaped(&url)),
        format!("prefix={}", escaped(&origin.url("/"))),
        format!("group=news&origin={}", escaped(&origin.url(""))),
        "all".to_owned(),
    ] {
        for fields in FIELDS {
            peer.get_with(&url, fields);
            assert!(is_hit(&peer.get_with(&url, fields)));
        }
        let answered = purge(peer.address(), &query, "");
        assert_eq!(answered, (200, format!("{} responses unknown bytes unknown\n", peer.url())));
        for fields in FIELDS {
            assert!(!is_hit(&peer.get_with(&url, fields)), "{query} {fields}");
        }
    }
}

#[test]
fn token_authorizes_purging_in_a_foreign_server() {
    let tokens = Tokens::new([TOKEN]).unwrap();
    let listener = listen();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let peer = Peer::builder(&url).tokens(tokens.clone()).build().unwrap();
    // The handler may run in a server that the peer does not control.
    let send_purge = |field: &str| {
        let request =
            Request::builder().method("PURGE").uri("/proxy?all").header("proxy-authorization", field);
        peer.handler()(request.body(Body::empty()).unwrap()).status()
    };
    assert_eq!(
        [send_purge(""), send_purge(&format!("Bearer {TOKEN}"))].map(|status| status.as_u16()),
        [407, 200]
    );
    let handler = Peer::builder(&url).build().unwrap().handler();
    let request = Request::builder().method("PURGE").uri("/proxy?all").body(Body::empty()).unwrap();
    assert_eq!(handler(request).status(), 403);
}

#[test]
fn purge_usage_error_exits_with_2() {
    let peer = "--peer=http://127.0.0.1:1";
    for (words, expected) in [
        (&["purge", "--all"][..], "--peer"),
        (&["purge", peer], "required"),
        (&["purge", peer, "--all", "http://a/"], "--all"),
        (&["purge", peer, "--all", "--prefix", "http://a/"], "--prefix"),
        (&["purge", peer, "--prefix", "http://a"], "such as http://example.com/"),
        (&["purge", peer, "--group", "news"], "--origin"),
        (&["purge", peer, "--origin", "http://a", "http://a/"], "--origin"),
        (&["purge", peer, "--origin", "http://a"], "--group"),
        (&["purge", peer, "--group", "news", "--origin", "http://a/b"], "without path"),
        (&["purge", peer, "http://a/", "nonsense"], "absolute"),
        (&["purge", "--peer=nonsense", "http://a/"], "absolute"),
    ] {
        let refused = run(words);
        let message = String::from_utf8(refused.stderr).unwrap();
        assert_eq!((refused.status.code(), refused.stdout.len()), (Some(2), 0), "{words:?}: {message}");
        assert!(message.lines().count() == 1 && message.contains(expected), "{words:?}: {message}");
    }
}

#[test]
fn purge_does_not_leave_an_old_copy_in_a_near_cache() {
    let text = Arc::new(Mutex::new("old"));
    let origin = || {
        let text = Arc::clone(&text);
        RoundTripFn(move |_: Request<Body>| {
            let response = http::Response::builder().header("cache-control", "max-age=600");
            Ok(response.body(Body::from(*text.lock().unwrap())).unwrap())
        })
    };
    let tokens = || Tokens::new([TOKEN]).unwrap();
    let pool = ["http://b:1", "http://c:1"];
    let member = |url: &str| Peer::builder(url).pool(pool).origin(origin()).tokens(tokens());
    let c = member(pool[1]).build().unwrap();
    let handler = c.handler();
    let near = NearCache::new().memory(1 << 20).hot(1, Duration::from_secs(60));
    let b = member(pool[0])
        .near_cache(near)
        .transport(RoundTripFn(move |request: Request<Body>| Ok(handler(request))))
        .build()
        .unwrap();
    let is_of_c = |url: &String| b.client().owner(url).unwrap().unwrap().as_str() == pool[1];
    let url = (0..).map(|number| format!("http://h/{number}")).find(is_of_c).unwrap();
    let get = |peer: &Peer| peer.get(&url).send().unwrap().into_body().into_text().unwrap();
    assert_eq!([get(&b), get(&b), get(&b)], ["old"; 3]);

    // Delay the purge of the owner until the other peer has been purged and has fetched the old response again.
    let (done, purge_allowed) = mpsc::channel();
    let purge_allowed = Mutex::new(purge_allowed);
    let (of_b, of_c, other_peer, purged_url) = (b.handler(), c.handler(), b.clone(), url.clone());
    let transport = RoundTripFn(move |request: Request<Body>| {
        let is_own = request.headers()["forwardcache-scope"] == "own";
        Ok(match (request.uri().host().unwrap(), is_own) {
            ("b", true) => {
                let answer = of_b(request);
                for _ in 0..2 {
                    assert_eq!(
                        other_peer.get(&purged_url).send().unwrap().into_body().into_text().unwrap(),
                        "old"
                    );
                }
                done.send(()).unwrap();
                answer
            }
            ("b", false) => of_b(request),
            (_, is_own) => {
                if is_own {
                    purge_allowed.lock().unwrap().recv().unwrap();
                }
                of_c(request)
            }
        })
    });
    let client = Client::builder().pool(pool).tokens(tokens()).transport(transport).build().unwrap();
    *text.lock().unwrap() = "new";
    let purged = client.purge(&Purge::url(&url).unwrap()).unwrap();
    assert!(purged.is_complete(), "{purged}");
    assert_eq!([get(&c), get(&b)], ["new"; 2]);
}

/// Two peers that know each other, each with a listener. `first` is called before a peer sends a purge to the other.
fn two_peers(first: impl Fn() + Clone + Send + Sync + 'static) -> [(Peer, TcpListener); 2] {
    let listeners = [listen(), listen()];
    let urls = listeners.each_ref().map(|listener| format!("http://{}", listener.local_addr().unwrap()));
    listeners.map(|listener| {
        let (first, network) = (first.clone(), forwardcache::Origin::new());
        let transport = RoundTripFn(move |request: Request<Body>| {
            first();
            network.round_trip(request)
        });
        let own = format!("http://{}", listener.local_addr().unwrap());
        (Peer::builder(own).pool(urls.clone()).transport(transport).build().unwrap(), listener)
    })
}

fn served(peers: [(Peer, TcpListener); 2], workers: usize) -> [ServerHandle; 2] {
    peers.map(|(peer, listener)| peer.serve_on(listener, ServerConfig::new().workers(workers)).unwrap())
}

#[test]
fn single_worker_peers_can_purge_each_other() {
    // Neither purge is sent before both peers wait for each other.
    let both = Arc::new(Barrier::new(2));
    let serving = served(
        two_peers(move || {
            both.wait();
        }),
        1,
    );
    thread::scope(|scope| {
        let purges = serving.each_ref().map(|serving| scope.spawn(|| purge(serving.local_addr(), "all", "")));
        for done in purges {
            let (status, text) = done.join().unwrap();
            assert_eq!((status, text.lines().count()), (200, 2), "{text}");
        }
    });
}

#[test]
fn concurrent_purges_finish_or_get_retry_after() {
    let serving = served(two_peers(|| {}), 1);
    thread::scope(|scope| {
        for number in 0..40 {
            let peer = serving[number % 2].local_addr();
            scope.spawn(move || {
                loop {
                    let query = format!("q=http%3A%2F%2Fh%2F{number}");
                    let answer = send(peer, "PURGE", &format!("/proxy?{query}"), "");
                    let text = String::from_utf8_lossy(&answer.body);
                    match answer.status {
                        200 => return assert_eq!(text.lines().count(), 2, "{text}"),
                        status => {
                            assert_eq!((status, answer.field("retry-after")), (503, Some("1")), "{text}");
                        }
                    }
                }
            });
        }
    });
}

#[test]
fn tiny_http_reserves_a_worker_for_purges_from_peers() {
    let (entered, is_waiting) = mpsc::channel();
    let barrier = Arc::new(Barrier::new(3));
    let waits = Arc::clone(&barrier);
    let peers = two_peers(move || {
        entered.send(()).unwrap();
        waits.wait();
    });
    let serving = peers.map(|(peer, listener)| {
        let options = ServerConfig::new().workers(2);
        let serving = TinyHttpServer::on(listener, options, peer.handler()).unwrap();
        peer.is_served_on(serving.local_addr());
        serving
    });
    let addresses = serving.each_ref().map(ServerHandle::local_addr);
    thread::scope(|scope| {
        let under_way = addresses.map(|peer| scope.spawn(move || purge(peer, "all", "")));
        under_way.iter().for_each(|_| is_waiting.recv().unwrap());
        for peer in addresses {
            assert_eq!(purge(peer, "all", "").0, 503);
            assert_eq!(purge(peer, "all", "Forwardcache-Scope: own\r\n").0, 200);
        }
        barrier.wait();
        for done in under_way {
            let (status, text) = done.join().unwrap();
            assert_eq!((status, text.lines().count()), (200, 2), "{text}");
        }
    });
}

/// After a soft purge, every peer revalidates its responses, and serves them stale if the origin fails.
#[test]
fn soft_purge_keeps_responses_for_revalidation() {
    let origin = Origin::start(|received| {
        let reply = match received.field("If-None-Match") {
            Some(_) => Reply::status(304),
            None => Reply::ok(received.target.clone()),
        };
        reply.field("ETag", "\"1\"").field("Cache-Control", "max-age=600").field("Cache-Groups", "\"news\"")
    });
    let pool = PeerProcess::pool(3);
    let client = Client::builder().pool(PeerProcess::urls(&pool)).build().unwrap();
    let base = origin.url("");
    let get = |number: usize| {
        let response = client.get(&format!("{base}/{number}")).send().unwrap();
        let outcome = Outcome::of(response.headers());
        assert_eq!(response.into_body().into_text().unwrap(), format!("/{number}"));
        outcome
    };
    for number in 0..12 {
        get(number);
    }
    let prefix = format!("{base}/");
    let targets = [vec!["--prefix", &prefix], vec!["--group", "news", "--origin", &base], vec!["--all"]];
    for target in targets {
        let before = origin.count();
        let flags = peer_flags(&pool);
        let typed = ["purge", "--soft"].into_iter().chain(flags.iter().map(String::as_str)).chain(target);
        let output = run(typed);
        assert!(output.status.success(), "{output:?}");
        for number in 0..12 {
            assert!(matches!(get(number), Some(Outcome::Revalidated(_))), "{number}");
            assert_eq!(get(number), Some(Outcome::Hit));
        }
        assert_eq!(origin.count(), before + 12);
    }
    let (status, text) = purge(pool[0].address, "all", "Forwardcache-Purge: hard\r\n");
    assert!(status == 400 && text.contains("forwardcache-purge"), "{text}");
    let (status, text) = purge(pool[0].address, "all", "Forwardcache-Purge: soft\r\n");
    assert!(status == 200 && text.lines().count() == 3, "{text}");
    drop(origin);
    for number in 0..12 {
        assert!(matches!(get(number), Some(Outcome::StaleIfError(_))), "{number}");
    }
}
