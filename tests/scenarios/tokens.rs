//! Who may ask a peer: those who show its token.

use forwardcache::{Client, ErrorKind, FrontOptions, Outcome, Peer, Tokens};

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

fn guarded(tokens: &Tokens) -> LocalPeer {
    LocalPeer::start_with(|builder| builder.tokens(tokens.clone()))
}

fn shown(token: &str) -> String {
    format!("Proxy-Authorization: Bearer {token}\r\n")
}

#[test]
fn who_shows_no_token_or_another_is_not_answered_also_when_it_is_stored() {
    let (origin, peer) = (origin(), guarded(&Tokens::new([OLD]).unwrap()));
    let url = origin.url("/a");
    let wrong = [
        String::new(),
        shown(NEW),
        shown(""),
        format!("Proxy-Authorization: Basic {OLD}\r\n"),
        format!("Authorization: Bearer {OLD}\r\n"),
        shown(OLD) + &shown(OLD),
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
        let answer = peer.get_with(&url, &shown(OLD));
        assert_eq!((answer.status, &answer.body[..]), (200, &b"/a"[..]));
        assert_eq!(Outcome::of(&answer.headers) == Some(Outcome::Hit), round > 0);
    }
    let why = format!("GET /proxy/why?q={} HTTP/1.1\r\nHost: a\r\n\r\n", escaped(&url));
    assert!(exchange(peer.address(), why).starts_with(b"HTTP/1.1 407 "));
    assert_eq!(origin.count(), 1);
}

#[test]
fn no_origin_is_shown_the_token() {
    let (origin, peer) = (origin(), guarded(&Tokens::new([OLD]).unwrap()));
    peer.get_with(&origin.url("/a"), &shown(OLD));
    peer.send("DELETE", &origin.url("/a"), &shown(OLD));
    assert_eq!(origin.count(), 2);
    for received in origin.seen() {
        assert!(!format!("{received:?}").contains(OLD), "{received:?}");
    }
}

#[test]
fn a_token_is_changed_without_an_interruption() {
    let (origin, file) = (origin(), tempfile::NamedTempFile::new().unwrap());
    std::fs::write(file.path(), OLD).unwrap();
    let tokens = Tokens::from_file(file.path()).unwrap();
    let peer = guarded(&tokens);
    let statuses = || [OLD, NEW].map(|token| peer.get_with(&origin.url("/a"), &shown(token)).status);
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
fn a_client_and_the_peers_of_a_pool_show_it_to_each_other() {
    let (origin, tokens) = (origin(), Tokens::new([OLD]).unwrap());
    let listeners = [listen(), listen(), listen()];
    let urls: Vec<String> =
        listeners.iter().map(|listener| format!("http://{}", listener.local_addr().unwrap())).collect();
    let pool: Vec<_> = listeners
        .into_iter()
        .zip(&urls)
        .map(|(listener, url)| {
            let peer = Peer::builder(url).pool(urls.clone()).tokens(tokens.clone()).build().unwrap();
            let serving = peer.serve_on(listener, FrontOptions::new()).unwrap();
            (peer, serving)
        })
        .collect();
    let client = Client::builder().pool(urls.clone()).tokens(tokens).build().unwrap();
    let stranger = Client::builder().pool(urls).build().unwrap();
    for number in 0..6 {
        let url = origin.url(&format!("/{number}"));
        for (peer, _) in &pool {
            assert_eq!(peer.get(&url).unwrap().status(), 200);
        }
        assert_eq!(client.get(&url).unwrap().status(), 200);
        let error = stranger.get(&url).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unauthorized, "{error}");
        assert!(error.is_told_by_peer());
    }
    assert_eq!(origin.count(), 6);
}

#[test]
fn nothing_is_opened_to_others_until_it_is_said_for_whom_and_to_what() {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), OLD).unwrap();
    let path = file.path().to_str().unwrap();
    fn serve<'a>(more: &[&'a str]) -> Vec<&'a str> {
        ["serve", "--listen", "0.0.0.0:0", "--self-url", "http://10.0.0.1:3000"]
            .into_iter()
            .chain(more.iter().copied())
            .collect()
    }
    for (more, says) in [
        (&[][..], &["--token-file", "--tls-client-ca", "--allow-anyone", "--origins"][..]),
        (&["--allow-anyone"], &["--origins"]),
        (&["--token-file", path], &["--origins"]),
        (&["--origins", "public"], &["--token-file", "--tls-client-ca", "--allow-anyone"]),
        (&["--allow-anyone", "--token-file", path, "--origins", "any"], &["--allow-anyone", "--token-file"]),
    ] {
        let refused = run(serve(more));
        assert_eq!(refused.status.code(), Some(2), "{more:?}");
        let said = String::from_utf8(refused.stderr).unwrap();
        assert_eq!(said.lines().count(), 1, "{said}");
        assert!(says.iter().all(|word| said.contains(word)), "{said}");
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
fn the_command_takes_tokens_from_files_and_shows_them_to_nobody_else() {
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
    let said = String::from_utf8(refused.stderr).unwrap();
    assert!(said.contains("token") && said.lines().count() == 1, "{said}");
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

/// Sends a request that shows this token, if one.
fn status(peer: &PeerProcess, method: &str, target: &str, token: Option<&str>) -> u16 {
    send(peer.address, method, target, &token.map(shown).unwrap_or_default()).status
}

#[test]
fn reading_and_operating_are_separate_rights_where_there_are_operator_tokens() {
    let origin = origin();
    let (readers, operators) =
        (tempfile::NamedTempFile::new().unwrap(), tempfile::NamedTempFile::new().unwrap());
    std::fs::write(readers.path(), OLD).unwrap();
    std::fs::write(operators.path(), OPERATOR).unwrap();
    let (reading, operating) = (readers.path().to_str().unwrap(), operators.path().to_str().unwrap());
    let arguments = ["--token-file", reading, "--operator-token-file", operating, "-v", "--drain", "1"];
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
    for (method, target, by_nobody, by_reader, by_operator) in [
        ("GET", target.as_str(), 407, 200, 200),
        ("GET", &target.replacen("proxy", "proxy/why", 1), 407, 200, 200),
        ("PURGE", "/proxy?all", 407, 403, 200),
        ("POST", &leaving, 407, 403, 204),
    ] {
        assert_eq!(status(one, method, target, None), by_nobody, "{method} {target}");
        assert_eq!(status(one, method, target, Some(NEW)), 407, "{method} {target}");
        assert_eq!(status(one, method, target, Some(OLD)), by_reader, "{method} {target}");
        // A purge of the pool goes to the other peers, which want to see it as well.
        assert_eq!(status(one, method, target, Some(OPERATOR)), by_operator, "{method} {target}");
    }
    assert_eq!(command("get", reading, &origin.url("/b")).0, Some(0));
    let (code, said) = command("purge", reading, "--all");
    assert!(code == Some(1) && said.contains("operator token"), "{said}");
    assert_eq!(command("purge", operating, "--all"), (Some(0), String::new()));

    // A new token goes in behind the old one, and the old one goes out; what is no token changes nothing.
    std::fs::write(operators.path(), format!("{OPERATOR}\n{NEW}\n")).unwrap();
    pool.iter_mut().for_each(|peer| peer.process.signal("HUP"));
    let purged = |peer: &PeerProcess, token| status(peer, "PURGE", "/proxy?all", Some(token));
    wait_until("the new token is not read", || pool.iter().all(|peer| purged(peer, NEW) == 200));
    std::fs::write(operators.path(), NEW).unwrap();
    pool.iter_mut().for_each(|peer| peer.process.signal("HUP"));
    wait_until("the old token is not forgotten", || pool.iter().all(|peer| purged(peer, OPERATOR) == 407));
    assert!(pool.iter().all(|peer| purged(peer, NEW) == 200 && purged(peer, OLD) == 403));
    std::fs::write(operators.path(), "short").unwrap();
    pool[0].process.signal("HUP");
    let said = pool[0].process.wait_for_line("the operator tokens stay as they are");
    assert!(said.contains(operating), "{said}");
    assert_eq!(purged(&pool[0], NEW), 200);

    let last = &mut pool[2].process;
    last.terminate();
    last.wait_for_line("leaving the pool: 2 of the other peers are told");
    assert!(last.wait().success());
}

#[test]
fn operator_tokens_alone_leave_reading_to_everybody() {
    let (origin, operators) = (origin(), Tokens::new([OPERATOR]).unwrap());
    let peer = LocalPeer::start_with(|builder| builder.operator_tokens(operators).purge_by_anyone(true));
    let admin = peer.peer.serve_admin_on(listen(), FrontOptions::new()).unwrap();
    assert_eq!(peer.get(&origin.url("/a")).status, 200);
    for (token, expected) in [(String::new(), 407), (shown(OLD), 407), (shown(OPERATOR), 200)] {
        assert_eq!(send(peer.address(), "PURGE", "/proxy?all", &token).status, expected);
        assert_eq!(send(admin.local_addr(), "PURGE", "/purge?all", &token).status, expected);
        assert_eq!(send(admin.local_addr(), "GET", "/status", &token).status, 200);
    }
}
