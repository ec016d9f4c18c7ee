//! Access to a peer requires its token.

use forwardcache::pool::Tokens;
use forwardcache::server::ServerConfig;
use forwardcache::{Client, ErrorKind, Outcome, Peer};

use crate::local::{LocalPeer, escaped, listen, send};
use crate::processes::PeerProcess;
use crate::support::origin::{Origin, Reply};
use crate::support::process::{Process, command, run};
use crate::support::raw::exchange;
use crate::support::wait_until;

const OLD: &str = "an-old-token-of-the-pool";
const NEW: &str = "a-new-token-of-the-pool";

fn origin() -> Origin {
    Origin::start(Reply::target)
}

fn peer_with_tokens(tokens: &Tokens) -> LocalPeer {
    LocalPeer::start_with(|builder| builder.tokens(tokens.clone()))
}

fn token_field(token: &str) -> String {
    format!("Proxy-Authorization: Bearer {token}\r\n")
}

#[test]
fn request_without_valid_token_gets_407_even_for_a_hit() {
    let (origin, peer) = (origin(), peer_with_tokens(&Tokens::new([OLD]).unwrap()));
    let url = origin.url("/a");
    let wrong = [
        String::new(),
        token_field(NEW),
        token_field(""),
        format!("Proxy-Authorization: Basic {OLD}\r\n"),
        format!("Authorization: Bearer {OLD}\r\n"),
        token_field(OLD) + &token_field(OLD),
    ];
    for round in 0..2 {
        for fields in &wrong {
            for method in ["GET", "HEAD", "POST"] {
                let answer = peer.send(method, &url, fields);
                assert_eq!(answer.status, 407, "{method} {fields:?}");
                assert_eq!(answer.field("proxy-authenticate"), Some("Bearer realm=\"forwardcache\""));
                assert_eq!(answer.field("forwardcache-error"), Some("unauthorized"));
                assert_eq!(answer.field("cache-control"), Some("no-store"));
            }
            let range = fields.clone() + "Range: bytes=0-0\r\n";
            assert_eq!(peer.get_with(&url, &range).status, 407);
        }
        let answer = peer.get_with(&url, &token_field(OLD));
        assert_eq!((answer.status, &answer.body[..]), (200, &b"/a"[..]));
        assert_eq!(Outcome::of(&answer.headers) == Some(Outcome::Hit), round > 0);
    }
    let why = format!("GET /proxy/why?q={} HTTP/1.1\r\nHost: a\r\n\r\n", escaped(&url));
    assert!(exchange(peer.address(), why).starts_with(b"HTTP/1.1 407 "));
    assert_eq!(origin.count(), 1);
}

#[test]
fn token_is_not_forwarded_to_origins() {
    let (origin, peer) = (origin(), peer_with_tokens(&Tokens::new([OLD]).unwrap()));
    peer.get_with(&origin.url("/a"), &token_field(OLD));
    peer.send("DELETE", &origin.url("/a"), &token_field(OLD));
    assert_eq!(origin.count(), 2);
    for received in origin.seen() {
        assert!(!format!("{received:?}").contains(OLD), "{received:?}");
    }
}

#[test]
fn token_can_be_rotated_without_interruption() {
    let (origin, file) = (origin(), tempfile::NamedTempFile::new().unwrap());
    std::fs::write(file.path(), OLD).unwrap();
    let tokens = Tokens::from_file(file.path()).unwrap();
    let peer = peer_with_tokens(&tokens);
    let statuses = || [OLD, NEW].map(|token| peer.get_with(&origin.url("/a"), &token_field(token)).status);
    assert_eq!(statuses(), [200, 407]);
    std::fs::write(file.path(), format!("{OLD}\n{NEW}\n")).unwrap();
    tokens.reload().unwrap();
    assert_eq!(statuses(), [200, 200]);
    std::fs::write(file.path(), NEW).unwrap();
    tokens.reload().unwrap();
    assert_eq!(statuses(), [407, 200]);
    assert_eq!(origin.count(), 1);
}

#[test]
fn clients_and_peers_send_the_token_to_peers() {
    let (origin, tokens) = (origin(), Tokens::new([OLD]).unwrap());
    let listeners = [listen(), listen(), listen()];
    let urls: Vec<String> =
        listeners.iter().map(|listener| format!("http://{}", listener.local_addr().unwrap())).collect();
    let pool: Vec<_> = listeners
        .into_iter()
        .zip(&urls)
        .map(|(listener, url)| {
            let peer = Peer::builder(url).pool(urls.clone()).tokens(tokens.clone()).build().unwrap();
            let serving = peer.serve_on(listener, ServerConfig::new()).unwrap();
            (peer, serving)
        })
        .collect();
    let client = Client::builder().pool(urls.clone()).tokens(tokens).build().unwrap();
    let stranger = Client::builder().pool(urls).build().unwrap();
    for number in 0..6 {
        let url = origin.url(&format!("/{number}"));
        for (peer, _) in &pool {
            assert_eq!(peer.get(&url).send().unwrap().status(), 200);
        }
        assert_eq!(client.get(&url).send().unwrap().status(), 200);
        let error = stranger.get(&url).send().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unauthorized, "{error}");
        assert!(error.is_reported_by_peer());
    }
    assert_eq!(origin.count(), 6);
}

#[test]
fn public_listener_requires_access_and_origin_options() {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), OLD).unwrap();
    let path = file.path().to_str().unwrap();
    fn serve<'a>(more: &[&'a str]) -> Vec<&'a str> {
        ["serve", "--listen", "0.0.0.0:0", "--self-url", "http://10.0.0.1:3000"]
            .into_iter()
            .chain(more.iter().copied())
            .collect()
    }
    for (more, expected) in [
        (&[][..], &["--token-file", "--tls-client-ca", "--allow-anyone", "--origins"][..]),
        (&["--allow-anyone"], &["--origins"]),
        (&["--token-file", path], &["--origins"]),
        (&["--origins", "public"], &["--token-file", "--tls-client-ca", "--allow-anyone"]),
        (&["--allow-anyone", "--token-file", path, "--origins", "any"], &["--allow-anyone", "--token-file"]),
    ] {
        let refused = run(serve(more));
        assert_eq!(refused.status.code(), Some(2), "{more:?}");
        let message = String::from_utf8(refused.stderr).unwrap();
        assert_eq!(message.lines().count(), 1, "{message}");
        assert!(expected.iter().all(|word| message.contains(word)), "{message}");
    }
    for more in [&["--allow-anyone", "--origins", "any"][..], &["--token-file", path, "--origins", "public"]]
    {
        let mut serving = Process::spawn(serve(more));
        serving.wait_for_line("serving on http://0.0.0.0:");
        serving.terminate();
        assert!(serving.wait().success());
    }
}

#[test]
fn command_reads_tokens_from_files_and_never_logs_them() {
    let (origin, file) = (origin(), tempfile::NamedTempFile::new().unwrap());
    std::fs::write(file.path(), OLD).unwrap();
    let path = file.path().to_str().unwrap();
    let mut serve = command(["serve", "--listen", "127.0.0.1:0", "--token-file", path]);
    serve.env("RUST_LOG", "trace");
    let mut serving = Process::start(serve).unwrap();
    let line = serving.wait_for_line("serving on http://");
    let peer = line.split(' ').nth(2).unwrap();
    let url = origin.url("/a");
    let refused = run(["get", "--peer", peer, &url]);
    assert_eq!(refused.status.code(), Some(1));
    let message = String::from_utf8(refused.stderr).unwrap();
    assert!(message.contains("token") && message.lines().count() == 1, "{message}");
    let answered = run(["get", "--peer", peer, "--token-file", path, &url]);
    assert_eq!((answered.status.code(), &answered.stdout[..]), (Some(0), &b"/a"[..]));
    let mut by_environment = command(["-v", "get", "--peer", peer, &url]);
    let answered = by_environment.env("FORWARDCACHE_TOKEN", OLD).output().unwrap();
    assert_eq!((answered.status.code(), &answered.stdout[..]), (Some(0), &b"/a"[..]));
    assert!(!String::from_utf8_lossy(&answered.stderr).contains(OLD));
    serving.terminate();
    assert!(serving.wait().success());
    let written = serving.stdout() + &serving.stderr();
    assert!(written.contains("127.0.0.1") && !written.contains(OLD), "{written}");
    for bad in ["", "short", "one-token-of-three\nthe-second-of-three\nthe-third-of-them"] {
        std::fs::write(file.path(), bad).unwrap();
        let refused = run(["serve", "--listen", "127.0.0.1:0", "--token-file", path]);
        assert_eq!(refused.status.code(), Some(2));
        assert_eq!(String::from_utf8(refused.stderr).unwrap().lines().count(), 1);
    }
}

const OPERATOR: &str = "a-token-of-the-operators";

/// Sends a request with this token, if any. Returns the status.
fn status(peer: &PeerProcess, method: &str, target: &str, token: Option<&str>) -> u16 {
    send(peer.address, method, target, &token.map(token_field).unwrap_or_default()).status
}

#[test]
fn operator_tokens_separate_reading_from_operating() {
    let origin = origin();
    let (readers, operators) =
        (tempfile::NamedTempFile::new().unwrap(), tempfile::NamedTempFile::new().unwrap());
    std::fs::write(readers.path(), OLD).unwrap();
    std::fs::write(operators.path(), OPERATOR).unwrap();
    let (reading, operating) = (readers.path().to_str().unwrap(), operators.path().to_str().unwrap());
    let arguments = ["--token-file", reading, "--operator-token-file", operating, "-v", "--drain-time", "1"];
    let mut pool = PeerProcess::pool_as(3, &arguments);
    let (one, two) = (&pool[0], &pool[1]);
    let peers: Vec<String> =
        PeerProcess::urls(&pool).into_iter().flat_map(|url| ["--peer".to_owned(), url]).collect();
    let command = |name: &str, token_file: &str, more: &str| {
        let arguments = [name, "--token-file", token_file, more].map(str::to_owned);
        let output = run(arguments.iter().chain(&peers));
        (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    let target = format!("/proxy?q={}", escaped(&origin.url("/a")));
    let leaving = format!("/proxy/leaving?q={}", escaped(&two.url()));
    for (method, target, without_token, by_reader, by_operator) in [
        ("GET", target.as_str(), 407, 200, 200),
        ("GET", &target.replacen("proxy", "proxy/why", 1), 407, 200, 200),
        ("PURGE", "/proxy?all", 407, 403, 200),
        ("POST", &leaving, 407, 403, 204),
    ] {
        assert_eq!(status(one, method, target, None), without_token, "{method} {target}");
        assert_eq!(status(one, method, target, Some(NEW)), 407, "{method} {target}");
        assert_eq!(status(one, method, target, Some(OLD)), by_reader, "{method} {target}");
        // A purge is passed on to the other peers, which require the operator token too.
        assert_eq!(status(one, method, target, Some(OPERATOR)), by_operator, "{method} {target}");
    }
    assert_eq!(command("get", reading, &origin.url("/b")).0, Some(0));
    let (code, message) = command("purge", reading, "--all");
    assert!(code == Some(1) && message.contains("operator token"), "{message}");
    assert_eq!(command("purge", operating, "--all"), (Some(0), String::new()));

    // Rotate the token: add the new one, then remove the old one. An invalid file changes nothing.
    std::fs::write(operators.path(), format!("{OPERATOR}\n{NEW}\n")).unwrap();
    pool.iter_mut().for_each(|peer| peer.process.signal("HUP"));
    let purged = |peer: &PeerProcess, token| status(peer, "PURGE", "/proxy?all", Some(token));
    wait_until("the new token is not accepted", || pool.iter().all(|peer| purged(peer, NEW) == 200));
    std::fs::write(operators.path(), NEW).unwrap();
    pool.iter_mut().for_each(|peer| peer.process.signal("HUP"));
    wait_until("the old token is still accepted", || pool.iter().all(|peer| purged(peer, OPERATOR) == 407));
    assert!(pool.iter().all(|peer| purged(peer, NEW) == 200 && purged(peer, OLD) == 403));
    std::fs::write(operators.path(), "short").unwrap();
    pool[0].process.signal("HUP");
    let message = pool[0].process.wait_for_line("cannot reload the operator tokens");
    assert!(message.contains(operating), "{message}");
    assert_eq!(purged(&pool[0], NEW), 200);

    let last = &mut pool[2].process;
    last.terminate();
    last.wait_for_line("leaving the pool: notified 2 of the other peers");
    assert!(last.wait().success());
}

#[test]
fn operator_tokens_without_reader_tokens_leave_reading_open() {
    let (origin, operators) = (origin(), Tokens::new([OPERATOR]).unwrap());
    let peer = LocalPeer::start_with(|builder| builder.operator_tokens(operators).purge_by_anyone(true));
    let admin = peer.peer.serve_admin_on(listen(), ServerConfig::new()).unwrap();
    assert_eq!(peer.get(&origin.url("/a")).status, 200);
    for (token, expected) in [(String::new(), 407), (token_field(OLD), 407), (token_field(OPERATOR), 200)] {
        assert_eq!(send(peer.address(), "PURGE", "/proxy?all", &token).status, expected);
        // The admin address answers as an origin, the peer as a proxy.
        let expected = if expected == 407 { 401 } else { expected };
        assert_eq!(send(admin.local_addr(), "PURGE", "/purge?all", &token).status, expected);
        assert_eq!(send(admin.local_addr(), "GET", "/status", &token).status, 200);
    }
}
