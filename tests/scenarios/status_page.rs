//! The status page in a real browser.

use std::process::Command;

use forwardcache::server::ServerConfig;
use serde_json::Value;

use crate::local::{LocalPeer, escaped, listen, send};
use crate::processes::PeerProcess;
use crate::support::origin::{Origin, Reply};
use crate::support::port::Port;
use crate::support::process::{Process, run};
use crate::support::raw::Connection;

/// Opens a page in Chromium. Returns the document after it is rendered, and the messages of the console.
fn browse(url: &str) -> (String, Vec<String>) {
    let profile = tempfile::tempdir().unwrap();
    let mut command = Command::new("chromium");
    command.args(["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"]);
    command.args(["--disable-background-networking", "--disable-component-update", "--disable-sync"]);
    command.args(["--enable-logging=stderr", "--window-size=390,844", "--dump-dom"]);
    command.arg(format!("--user-data-dir={}", profile.path().display())).arg(url);
    let mut browser = Process::start(command).expect("chromium is installed: tests/run installs it");
    assert!(browser.wait().success(), "{}", browser.stderr());
    let console =
        browser.stderr().lines().filter(|line| line.contains("CONSOLE")).map(str::to_owned).collect();
    (browser.stdout(), console)
}

/// Returns the base URL of the admin address of a peer.
fn admin_url(peer: &PeerProcess) -> String {
    let line = peer.process.wait_for_line("metrics on http://");
    line.trim_start_matches("metrics on ").trim_end_matches("/metrics").to_owned()
}

#[test]
fn browser_shows_the_numbers_of_known_traffic_without_errors() {
    let origin = Origin::start(|_| Reply::ok("content").field("Cache-Control", "max-age=60"));
    let peer = PeerProcess::start_as("127.0.0.1:0", &["--admin", "127.0.0.1:0"]);
    let admin = admin_url(&peer);
    for _ in 0..4 {
        let mut connection = Connection::open(peer.address);
        let target = format!("/proxy?q={}", escaped(&origin.url("/a")));
        connection.write(format!("GET {target} HTTP/1.1\r\nHost: {}\r\n\r\n", peer.address));
        assert_eq!(connection.read_response().status, 200);
    }
    let (page, console) = browse(&format!("{admin}/status"));
    assert!(console.is_empty(), "{console:?}");
    for expected in [
        "<b>75.0 %</b>",
        "<td>hit</td><td class=\"number\">3</td>",
        "<td>miss</td><td class=\"number\">1</td>",
        &format!("<h1>{}</h1>", peer.url()),
        "action=\"/purge\"",
    ] {
        assert!(page.contains(expected), "{expected}: {page}");
    }
    let (page, console) = browse(&format!("{admin}/why?q={}", escaped(&origin.url("/a"))));
    assert!(console.is_empty() && page.contains("<pre>") && page.contains("hit"), "{console:?} {page}");

    let output = run(["status", &admin]);
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success() && text.contains(" 75.0 %         4 "), "{text}");
    let output = run(["status", "--json", &admin]);
    let json: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(json["counts"]["hit"], 3);
}

#[test]
fn status_names_urls_clients_and_warnings_of_known_traffic() {
    let origin = Origin::start(|received| {
        let reply = Reply::ok("x".repeat(if received.target.contains("large") { 50_000 } else { 10 }));
        reply.field("Cache-Control", if received.target.contains("no") { "no-store" } else { "max-age=60" })
    });
    let refusing = Port::hold();
    let peer = LocalPeer::start();
    let admin = peer.peer.serve_admin_on(listen(), ServerConfig::new().io_threads(1)).unwrap();
    for (path, count) in [("/often?key=secret", 7), ("/large", 2), ("/no", 3)] {
        (0..count).for_each(|_| assert_eq!(peer.get(&origin.url(path)).status, 200));
    }
    let unreachable = format!("http://{}/", refusing.address());
    assert_eq!(peer.get(&unreachable).status, 502);
    // Neither is a request for a URL.
    assert_eq!(send(peer.address(), "GET", "/healthz", "").status, 200);
    assert_eq!(send(peer.address(), "GET", "/proxy?q=nonsense", "").status, 400);

    let text = String::from_utf8(send(admin.local_addr(), "GET", "/status.json", "").body).unwrap();
    assert!(!text.contains("secret"), "{text}");
    let status: Value = serde_json::from_str(&text).unwrap();
    let rows = |subject: &str, order: &str| -> Vec<(String, [u64; 3])> {
        let rows = status["top"][subject][order].as_array().unwrap().iter();
        let amount = |row: &Value, name: &str| row[name].as_u64().unwrap();
        rows.map(|row| {
            let amounts = ["requests", "bytes", "misses"].map(|name| amount(row, name));
            (row["name"].as_str().unwrap().to_owned(), amounts)
        })
        .collect()
    };
    let urls = rows("urls", "requests");
    assert_eq!(urls[0], (origin.url("/often"), [7, 70, 1]), "{urls:?}");
    assert_eq!(urls[1], (origin.url("/no"), [3, 30, 3]));
    assert_eq!(urls[2], (origin.url("/large"), [2, 100_000, 1]));
    assert_eq!((urls[3].0.as_str(), urls[3].1[0], urls[3].1[2], urls.len()), (unreachable.as_str(), 1, 1, 4));
    assert_eq!(rows("urls", "bytes")[0].0, origin.url("/large"));
    assert_eq!(rows("urls", "misses")[0].0, origin.url("/no"));
    assert_eq!(rows("origins", "requests")[0], (origin.url(""), [12, 100_100, 5]));
    let clients = rows("clients", "requests");
    assert_eq!(
        (clients[0].0.as_str(), clients[0].1[0], clients[0].1[2], clients.len()),
        ("127.0.0.1", 13, 6, 1)
    );
    for (name, expected) in [("hits", 7), ("misses", 6)] {
        let minutes = status["last_hour"][name].as_array().unwrap();
        let sum: u64 = minutes.iter().map(|count| count.as_u64().unwrap()).sum();
        assert_eq!((minutes.len(), sum), (60, expected), "{name}");
    }
    let recorded = status["memory"]["statistics"].as_u64().unwrap();
    assert!((1000..20_000).contains(&recorded), "{recorded}");
}

#[test]
fn warnings_of_the_log_are_in_the_status_without_credentials() {
    let refusing = Port::hold();
    let peer = PeerProcess::start_as("127.0.0.1:0", &["--admin", "127.0.0.1:0"]);
    let admin = admin_url(&peer);
    let address: std::net::SocketAddr = admin.trim_start_matches("http://").parse().unwrap();
    let url = format!("http://{}/a?key=secret", refusing.address());
    for _ in 0..2 {
        let target = format!("/proxy?q={}", escaped(&url));
        assert_eq!(send(peer.address, "GET", &target, "").status, 502);
    }
    let status = send(address, "GET", "/status.json", "");
    let status: Value = serde_json::from_slice(&status.body).unwrap();
    let warnings = status["warnings"].as_array().unwrap();
    let text = warnings.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n");
    assert_eq!(warnings.len(), 1, "{text}");
    assert!(text.contains(&refusing.address().to_string()) && !text.contains("secret"), "{text}");
    assert_eq!(warnings[0]["count"], 2, "{text}");
}

#[test]
fn status_of_a_peer_that_cannot_be_reached_is_an_error_that_names_it() {
    let output = run(["status", "http://127.0.0.1:1"]);
    let error = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.code() == Some(1) && error.contains("http://127.0.0.1:1"), "{error}");
    let output = run(["status", "nonsense"]);
    assert_eq!(output.status.code(), Some(2));
}
