//! The command: its output and its exit status.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::Path;
use std::process::{Command, Output, Stdio};

use forwardcache::Client;
use forwardcache::pool::{Member, RingKind};

use crate::local::{self, LocalPeer, escaped};
use crate::processes::PeerProcess;
use crate::support::origin::{Origin, Reply};
use crate::support::port::Port;
use crate::support::process::{Process, command, run};
use crate::support::tls::{Authority, TlsOrigin};

fn stdout(output: &Output) -> &str {
    std::str::from_utf8(&output.stdout).unwrap()
}

/// Checks that the command exits with this status and prints exactly one line to stderr, which contains `words`.
pub(crate) fn assert_refuses(arguments: &[&str], code: i32, words: &str) {
    let output = run(arguments);
    let message = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(code), "{arguments:?}: {message}");
    assert!(message.starts_with("forwardcache: ") && message.contains(words), "{arguments:?}: {message}");
    assert_eq!(message.lines().count(), 1, "{arguments:?}: {message}");
    let sentences: Vec<_> = message.trim().split(": ").collect();
    assert!(sentences.iter().enumerate().all(|(at, part)| !sentences[..at].contains(part)), "{message}");
    assert!(!message.contains("panicked") && !message.contains("secret"), "{message}");
    assert!(output.stdout.is_empty(), "{arguments:?}");
}

#[test]
fn usage_error_prints_one_line_and_exits_with_2() {
    for (arguments, words) in [
        (&["serve", "--no-such-flag"][..], "--no-such-flag"),
        (&["no-such-command"], "no-such-command"),
        (&["serve", "--memory", "10 parsecs"], "10 parsecs"),
        (&["serve", "--memory", "-1"], "-1"),
        (&["serve", "--origins", "private"], "public, any or listed"),
        (&["serve", "--origins", "public,allow:10.0.0.1/8"], "10.0.0.1/8"),
        (&["serve", "--workers", "0"], "0"),
        (&["serve", "--workers", "10001"], "1..=10000"),
        (&["serve", "--io-threads", "65535"], "1..=1024"),
        (&["serve", "--queue-length", "4294967295"], "1..=1000000"),
        (&["serve", "--max-connections", "4294967296"], "4294967296"),
        (&["serve", "--stall-timeout", "4294967295"], "1..=1000000"),
        (&["serve", "--replicas", "4294967295"], "1..=10000"),
        (&["serve", "--origin-connect-timeout", "1e19"], "at most 1000000000"),
        (&["serve", "--memory", "16777216TiB"], "16777216TiB"),
        (&["serve", "--listen", "127.0.0.1:0", "--origin-rate", "1e308"], "a rate"),
        (&["get", "--max-time", "1e19", "http://h"], "at most 1000000000"),
        (&["serve", "--listen", "nonsense"], "HOST:PORT"),
        (&["serve", "--listen", "0.0.0.0:0"], "--self-url"),
        (&["serve", "--listen", "127.0.0.1:0", "--store-set-cookie"], "--mode shared"),
        (&["serve", "--mode", "public"], "public"),
        (&["serve", "--listen", "127.0.0.1:0", "--peer", "nonsense"], "nonsense"),
        (&["serve", "--listen", "127.0.0.1:0", "--self-url", "ftp://h"], "a peer"),
        (&["serve", "--listen", "127.0.0.1:0", "--peer", "http://10.0.0.1:3000"], "not in its own pool"),
        (&["serve", "--listen", "127.0.0.1:0", "--cacert", "/no/such/file"], "/no/such/file"),
        (&["serve", "--listen", "127.0.0.1:0", "--path", "proxy"], "proxy"),
        (&["serve", "--replicas", "0"], "0"),
        (
            &["serve", "--listen", "127.0.0.1:0", "--ring", "rendezvous", "--replicas", "9"],
            "replicas apply only to",
        ),
        (&["ring"], "--peer"),
        (&["ring", "--peer", "http://h", "--simulate"], "--simulate"),
        (&["owner", "--ring", "balanced", "--peer", "http://h", "http://host/"], "rendezvous"),
        (&["owner", "--ring", "even", "--peer", "http://h", "http://host/"], "even"),
        (&["owner", "--peer", "http://h weight=0", "http://host/"], "from 1 to 1000"),
        (
            &["owner", "--peer", "http://h weight=2", "--peer", "http://h", "http://host/"],
            "two weights, 1 and 2",
        ),
        (&["serve", "--tls-cert", "a"], "--tls-key"),
        (&["serve", "--tls-key", "a"], "--tls-cert"),
        (&["serve", "--tls-client-ca", "a"], "--tls-cert"),
        (&["serve", "--listen", "127.0.0.1:0", "--tls-cert", "/no/c", "--tls-key", "/no/k"], "/no/c"),
        (&["get"], "<URL>"),
        (&["get", "foo"], "absolute"),
        (&["get", "http://user:secret@host/"], "user name"),
        (&["get", "--peer", "nonsense", "http://host/"], "nonsense"),
        (
            &["get", "-H", "Authorization Basic secret", "http://host/"],
            "invalid header field -H \"Authorization\"",
        ),
        (&["get", "--cacert", "/no/such/file", "http://host/"], "/no/such/file"),
        (&["get", "--peer", "https://h", "--cert", "a", "http://host/"], "--key"),
        (&["get", "--peer", "https://h", "--key", "a", "http://host/"], "--cert"),
        (&["get", "--cert", "a", "--key", "a", "http://host/"], "--peer"),
        (&["get", "--peer", "https://h", "--cert", "/no/c", "--key", "/no/k", "http://h/"], "/no/c"),
        (&["warm"], "<LIST>"),
        (&["warm", "--rate", "5/d", "list"], "5/s"),
        (&["warm", "--concurrency", "0", "list"], "1..=256"),
        (&["warm", "http://user:secret@host/"], "user name"),
        (&["warm", "--peer", "http://h", "--store", "s", "list"], "--store"),
        (&["why", "--peer", "https://h", "--cert", "a", "http://host/"], "--key"),
        (&["why", "http://host/"], "--peer"),
        (&["why", "--peer", "http://10.0.0.1:3000"], "<URL>"),
        (&["why", "--peer", "http://127.0.0.1:9", "http://host/", "foo"], "absolute"),
        (
            &["why", "--peer", "http://h", "-H", "Authorization Basic secret", "http://host/"],
            "invalid header field",
        ),
        (&["owner", "http://host/"], "--peer"),
        (&["owner", "--peer", "http://10.0.0.1:3000", "foo"], "absolute"),
    ] {
        assert_refuses(arguments, 2, words);
    }
}

#[test]
fn runtime_error_prints_one_line_and_exits_with_1() {
    let port = Port::hold();
    let unreachable = format!("http://{}/a?secret=1", port.address());
    let peer = format!("http://{}", port.address());
    assert_refuses(&["get", &unreachable], 1, "refused");
    assert_refuses(&["get", "--peers-only", "--peer", &peer, "http://host/"], 1, &peer);
    assert_refuses(&["why", "--peer", &peer, "http://host/"], 1, &peer);
    assert_refuses(&["get", "http://name.invalid/"], 1, "resolve");
    assert_refuses(&["warm", "--peer", &peer, "/no/such/list"], 1, "/no/such/list");
    assert_refuses(&["warm", "--peer", &peer, "--resume", "/dev/null/j", "list"], 1, "/dev/null/j");
}

#[test]
fn command_sends_client_certificate_to_peers() {
    let peer = TlsOrigin::start_with_client_auth(|received| Reply::ok(received.target.clone()));
    let [url, ca, me] = [
        peer.url_by_name(""),
        peer.ca_file().display().to_string(),
        peer.client_file().display().to_string(),
    ];
    for subcommand in ["get", "why"] {
        let known = [subcommand, "--peer", &url, "--cacert", &ca, "--cert", &me, "--key", &me];
        let output = run([&known[..], &["http://host/"]].concat());
        assert_eq!(output.status.code(), Some(0), "{subcommand}: {output:?}");
        assert!(stdout(&output).contains("q=http%3A%2F%2Fhost%2F"), "{subcommand}: {output:?}");
    }
    for subcommand in [&["get", "--peers-only"][..], &["why"]] {
        let unknown = ["--peer", &url, "--cacert", &ca, "http://host/"];
        assert_refuses(&[subcommand, &unknown].concat(), 1, "TLS");
    }
    assert_eq!(peer.count(), 2);
}

#[test]
fn port_in_use_prints_one_line_and_exits_with_1() {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = listener.local_addr().unwrap().to_string();
    assert_refuses(&["serve", "--listen", &address], 1, &address);
}

#[test]
fn help_and_version_exit_with_0() {
    for arguments in [&["--help"][..], &["help", "serve"], &["get", "--help"]] {
        let output = run(arguments);
        assert_eq!(output.status.code(), Some(0));
        assert!(stdout(&output).contains("Usage: forwardcache") && output.stderr.is_empty());
    }
    let output = run(["--version"]);
    assert_eq!(stdout(&output), format!("forwardcache {}\n", env!("CARGO_PKG_VERSION")));
    let output = run::<&str>([]);
    assert_eq!((output.status.code(), stdout(&output)), (Some(2), ""));
}

#[test]
fn get_exit_code_reflects_the_status() {
    let peer = LocalPeer::start();
    for (status, code) in [(200, 0), (204, 0), (301, 0), (404, 4), (410, 4), (500, 5), (503, 5)] {
        let origin = Origin::start(move |_| match status {
            204 => Reply::status(204),
            _ => Reply::status(status).body("the body"),
        });
        let body = if status == 204 { "" } else { "the body" };
        for output in [run(["get", &origin.url("/")]), run(["get", "--peer", &peer.url(), &origin.url("/")])]
        {
            assert_eq!(output.status.code(), Some(code), "{status}");
            assert_eq!((stdout(&output), output.stderr.as_slice()), (body, &b""[..]), "{status}");
        }
    }
}

#[test]
fn get_exits_with_1_for_incomplete_body() {
    let origin = Origin::start(|_| Reply::ok("x".repeat(300_000)).cut_after(200_000));
    let peer = LocalPeer::start();
    for output in [run(["get", &origin.url("/")]), run(["get", "--peer", &peer.url(), &origin.url("/")])] {
        assert_eq!(output.status.code(), Some(1));
        assert!(output.stdout.len() < 300_000);
        assert_eq!(String::from_utf8(output.stderr).unwrap().lines().count(), 1);
    }
}

#[test]
fn get_prints_the_head_writes_a_file_and_sends_fields() {
    let origin = Origin::start(|_| Reply::ok("the body").field("X-Twice", "1").field("X-Twice", "2"));
    let output = run(["get", "-i", "-H", "X-One: 1", "--header", "Accept:text/plain", &origin.url("/")]);
    let (head, body) = stdout(&output).split_once("\r\n\r\n").unwrap();
    assert!(
        head.starts_with("HTTP/1.1 200 OK\r\n") && head.contains("\r\nx-twice: 1\r\nx-twice: 2"),
        "{head}"
    );
    assert!(head.contains("\r\ncache-status: forwardcache; fwd=uri-miss"), "{head}");
    assert_eq!(body, "the body");
    let received = &origin.seen()[0];
    assert_eq!((received.field("x-one"), received.field("accept")), (Some("1"), Some("text/plain")));

    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("body");
    let output = run(["get", "-o", file.to_str().unwrap(), &origin.url("/")]);
    assert_eq!((output.status.code(), stdout(&output)), (Some(0), ""));
    assert_eq!(fs::read(&file).unwrap(), b"the body");

    let nowhere = folder.path().join("no such folder").join("body");
    assert_refuses(&["get", "-o", nowhere.to_str().unwrap(), &origin.url("/")], 1, "no such folder");
}

#[test]
fn owner_prints_the_owner_of_each_url() {
    let pool = ["http://10.0.0.1:3000", "http://10.0.0.2:3000", "http://10.0.0.3:3000"];
    let urls: Vec<_> = (0..20).map(|number| format!("https://example.com/{number}?a=b")).collect();
    let client = Client::builder().pool(pool).build().unwrap();
    let mut arguments = vec!["owner"];
    for peer in pool {
        arguments.extend(["--peer", peer]);
    }
    arguments.extend(urls.iter().map(String::as_str));
    let line = |url: &String| format!("{}\t{url}\n", client.owner(url).unwrap().unwrap());
    let output = run(&arguments);
    assert_eq!((output.status.code(), output.stderr.as_slice()), (Some(0), &b""[..]));
    assert_eq!(stdout(&output), urls.iter().map(line).collect::<String>());
}

#[test]
fn owner_uses_the_given_ring_and_weights() {
    let members = ["http://10.0.0.1:3000 weight=3", "http://10.0.0.2:3000", "http://10.0.0.3:3000"];
    let urls: Vec<_> = (0..20).map(|number| format!("https://example.com/{number}")).collect();
    let mut outputs = Vec::new();
    for (name, kind) in [("compatible", RingKind::Compatible), ("rendezvous", RingKind::Rendezvous)] {
        let read = members.map(|member| Member::parse(member).unwrap());
        let client = Client::builder().ring(kind).members(read).build().unwrap();
        let mut arguments = vec!["owner", "--ring", name];
        members.iter().for_each(|member| arguments.extend(["--peer", member]));
        arguments.extend(urls.iter().map(String::as_str));
        let line = |url: &String| format!("{}\t{url}\n", client.owner(url).unwrap().unwrap());
        let output = run(&arguments);
        assert_eq!((output.status.code(), output.stderr.as_slice()), (Some(0), &b""[..]));
        assert_eq!(stdout(&output), urls.iter().map(line).collect::<String>());
        outputs.push(output.stdout);
    }
    assert_ne!(outputs[0], outputs[1]);
}

#[test]
fn ring_prints_the_share_of_each_peer() {
    for name in ["compatible", "rendezvous"] {
        let output = run(["ring", "--ring", name, "--peer", "http://a", "--peer", "http://b weight=3"]);
        assert_eq!((output.status.code(), output.stderr.as_slice()), (Some(0), &b""[..]));
        let lines: Vec<Vec<&str>> = stdout(&output).lines().map(|line| line.split('\t').collect()).collect();
        assert_eq!((lines[0][2], lines[1][2], lines.len()), ("http://a", "http://b weight=3", 2));
        let shares: Vec<f64> =
            lines.iter().map(|line| line[0].strip_suffix(" %").unwrap().parse().unwrap()).collect();
        assert!((shares[0] + shares[1] - 100.0).abs() < 0.001 && shares[1] > 60.0, "{shares:?}");
        if name == "rendezvous" {
            assert_eq!(shares, [25.0, 75.0]);
        }
    }
}

/// Returns the rest of each line of an explanation that starts with this word.
fn lines<'a>(output: &'a Output, word: &str) -> Vec<&'a str> {
    let words = stdout(output).lines().filter_map(|line| line.strip_prefix(word));
    words.map(str::trim).collect()
}

#[test]
fn why_predicts_the_outcome_without_contacting_the_origin() {
    let origin = Origin::start(|_| {
        Reply::ok("hello")
            .field("Cache-Control", "max-age=3600")
            .field("Vary", "Accept-Language")
            .field("ETag", "\"a\"")
    });
    let mut process = Process::spawn(["serve", "--listen", "127.0.0.1:0"]);
    let serving = process.wait_for_line("serving on");
    let peer = serving
        .split(' ')
        .find(|word| word.starts_with("http://"))
        .expect("the line contains the URL")
        .to_owned();
    let (url, other) = (origin.url("/a?b=c"), origin.url("/other"));
    let why = |arguments: &[&str]| {
        let output = run([&["why", "--peer", &peer][..], arguments].concat());
        let message = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!((output.status.code(), message.as_str()), (Some(0), ""), "{arguments:?}");
        output
    };
    let output = why(&[&url]);
    assert_eq!(lines(&output, "owner "), [&peer]);
    assert_eq!(lines(&output, "url "), [&url]);
    assert_eq!(lines(&output, "verdict "), ["forward (uri-miss): the origin is asked"]);
    assert_eq!(origin.count(), 0);

    let german = "Accept-Language: de";
    assert_eq!(run(["get", "--peer", &peer, "-H", german, &url]).status.code(), Some(0));
    let output = why(&["-H", german, &url, &other]);
    assert_eq!(
        lines(&output, "verdict "),
        ["hit: answered from the store with 200", "forward (uri-miss): the origin is asked"]
    );
    assert_eq!(lines(&output, "rule ")[0], "the stored response is fresh (RFC 9111 section 4.2)");
    assert!(lines(&output, "outlook ")[0].ends_with("after that it is validated with its entity tag."));
    assert_eq!(lines(&output, "  vary "), ["accept-language: de"]);
    for (field, verdict) in [
        ("Accept-Language: fr", "forward (vary-miss)"),
        ("Cache-Control: no-cache", "forward (vary-miss)"),
        ("Authorization: Basic secret", "forward (uri-miss)"),
    ] {
        let output = why(&["-H", field, &url]);
        assert!(lines(&output, "verdict ")[0].starts_with(verdict), "{field}: {}", stdout(&output));
        assert!(!stdout(&output).contains("secret"));
    }
    let output = why(&["-H", german, "-H", "Cache-Control: no-cache", &url]);
    assert_eq!(lines(&output, "rule "), ["the request has no-cache (RFC 9111 section 5.2.1.4)"]);
    assert_eq!(origin.count(), 1);
    process.terminate();
    assert_eq!(process.wait().code(), Some(0));
}

#[test]
fn demo_prints_the_outcomes_of_a_pool() {
    let output = run(["demo"]);
    assert_eq!((output.status.code(), output.stderr.as_slice()), (Some(0), &b""[..]));
    let lines: Vec<_> = stdout(&output).lines().collect();
    assert!(lines[0].starts_with("round   URL ") && lines[0].ends_with("origin requests"));
    let count = |round: &str, outcome: &str| {
        lines.iter().filter(|line| line.starts_with(round) && line.contains(outcome)).count()
    };
    assert_eq!((count("first ", "  miss  "), count("second ", "  hit  ")), (6, 6));
    // One peer fails but its URLs are still served; after its return it owns them again.
    let refetched = count("failed ", "  miss  ");
    assert!((1..6).contains(&refetched) && count("failed ", "  hit  ") == 6 - refetched);
    assert_eq!((count("probed ", "  hit  "), count("back ", "  hit  ")), (6, 6));
    let message = lines.join(" ");
    assert!(
        message.contains("The origin received 6 requests in the first round and 0 in the second."),
        "{message}"
    );
    assert!(message.contains("no request failed") && message.ends_with("0 fetches."), "{message}");
}

#[test]
fn closed_stdout_is_not_an_error() {
    let origin = Origin::start(|_| Reply::ok("x".repeat(1 << 20))).may_be_unused();
    for arguments in [
        &["get", "-i", &origin.url("/")][..],
        &["owner", "--peer", "http://10.0.0.1:3000", "http://host/"],
        &["demo"],
        &["--help"],
    ] {
        let mut command = command(arguments);
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        drop(child.stdout.take());
        let output = child.wait_with_output().unwrap();
        let message = String::from_utf8(output.stderr).unwrap();
        assert_eq!((output.status.code(), message.as_str()), (Some(0), ""), "{arguments:?}");
    }
}

/// Runs the command after `try it:` in a shell, for this URL. Returns what it prints.
fn paste(process: &Process, url: &str) -> String {
    let line = process.wait_for_line("try it: ");
    let line = line
        .strip_prefix("try it: ")
        .unwrap()
        .replace("https://example.com/", url)
        .replace("http://example.com/", url);
    let program = Path::new(env!("CARGO_BIN_EXE_forwardcache")).parent().unwrap();
    let path = format!("{}:{}", program.display(), std::env::var("PATH").unwrap());
    let mut shell = Command::new("sh");
    shell.args(["-c", &line]).env("PATH", path).env_remove("FORWARDCACHE_TOKEN");
    let mut shell = Process::start(shell).unwrap();
    let status = shell.wait();
    assert!(status.success(), "{line}: {status}: {}", shell.stderr());
    shell.stdout()
}

#[test]
fn command_that_serve_prints_works_when_it_is_pasted() {
    let origin = Origin::start(|_| Reply::ok("tried").field("Cache-Control", "max-age=60"));
    let (authority, folder) = (Authority::new(), tempfile::tempdir().unwrap());
    let file = |name: &str, content: &str| {
        let path = folder.path().join(name);
        fs::write(&path, content).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let token = file("the pool's token", "a-token-of-sixteen-bytes-or-more\n");
    let socket = format!("unix:{}", folder.path().join("peer.sock").display());
    let (own, ca) = (authority.server_file().to_str().unwrap(), authority.ca_file().to_str().unwrap());
    let tls = ["--tls-cert", own, "--tls-key", own, "--cacert", ca];
    for (listen, options) in [
        ("127.0.0.1:0", &[][..]),
        ("[::1]:0", &["--path", "/a'b"]),
        (&socket, &["--self-url", "http://localhost:1"]),
        ("127.0.0.1:0", &["--token-file", &token, "--path", "/it's"]),
        ("127.0.0.1:0", &tls),
        ("127.0.0.1:0", &[&tls[..], &["--tls-client-ca", ca]].concat()),
    ] {
        let mut peer = Process::spawn([&["serve", "--listen", listen], options].concat());
        for _ in 0..2 {
            let printed = paste(&peer, &origin.url("/"));
            assert!(
                printed.contains("cache-status: forwardcache") && printed.ends_with("tried"),
                "{printed}"
            );
        }
        peer.terminate();
        assert!(peer.wait().success());
    }
    assert_eq!(origin.count(), 6, "each peer stored the response, and the second command got it");

    let options = ["--token-file", &token, "--replicas", "7", "--path", "/it's"];
    let pool = PeerProcess::pool_as(3, &options);
    for peer in &pool {
        let printed = paste(&peer.process, &origin.url("/pool"));
        assert!(printed.contains("cache-status: forwardcache") && printed.ends_with("tried"), "{printed}");
    }
    assert_eq!(origin.count(), 7, "the printed commands ask the owner");

    let peers = file("the peers.txt", &(PeerProcess::urls(&pool).join("\n") + "\n"));
    let options = ["--replicas", "7", "--path", "/it's"];
    let pool_access = ["--peers-file", &peers, "--token-file", &token];
    let gateway = ["gateway", "--listen", "127.0.0.1:0", "--client-token-file", &token];
    let gateway = Process::spawn([&gateway[..], &pool_access, &options].concat());
    let printed = paste(&gateway, &origin.url("/pool"));
    assert!(printed.contains("cache-status: forwardcache; hit") && printed.ends_with("tried"), "{printed}");
}

#[test]
fn serve_prints_its_address_and_an_example_request() {
    let origin = Origin::start(|_| Reply::ok("tried").field("Cache-Control", "max-age=60"));
    let mut process = Process::spawn(["serve", "--listen", "127.0.0.1:0"]);
    let serving = process.wait_for_line("serving on");
    let address: SocketAddr = serving
        .strip_prefix("serving on http://")
        .and_then(|rest| rest.strip_suffix(" as a pool of one"))
        .and_then(|address| address.parse().ok())
        .unwrap_or_else(|| panic!("{serving}"));
    let line = process.wait_for_line("try it");
    let words: Vec<_> = line.split(' ').collect();
    let [.., "curl", "-i", "--get", "--data-urlencode", "'q=https://example.com/'", url] = words[..] else {
        panic!("{line}")
    };
    // The request that curl sends with these arguments.
    let path = url.strip_prefix(&format!("http://{address}")).unwrap_or_else(|| panic!("{line}"));
    let target = format!("{path}?q={}", escaped(&origin.url("/")));
    for from_cache in [None, Some("1")] {
        let answer = local::send(address, "GET", &target, "Accept: */*\r\n");
        assert_eq!((answer.status, answer.body.as_slice()), (200, &b"tried"[..]));
        assert_eq!(answer.field("x-from-cache"), from_cache);
    }
    assert_eq!(origin.count(), 1);
    process.terminate();
    assert_eq!(process.wait().code(), Some(0));
}
