//! The status page in a real browser.

use std::net::SocketAddr;
use std::path::Path;

use forwardcache::server::ServerConfig;
use serde_json::{Value, json};

use crate::local::{LocalPeer, escaped, listen, send};
use crate::processes::PeerProcess;
use crate::support::browser::Browser;
use crate::support::origin::{Origin, Reply};
use crate::support::port::Port;
use crate::support::process::{Process, run};

fn admin_address(url: &str) -> SocketAddr {
    url.trim_start_matches("http://").parse().unwrap()
}

/// Saves the page as an image in the directory `STATUS_SCREENSHOTS`, if that is set.
fn keep_screenshot(browser: &mut Browser, name: &str) {
    let image = browser.screenshot();
    assert!(image.starts_with(b"\x89PNG"), "{name}");
    if let Some(folder) = std::env::var_os("STATUS_SCREENSHOTS") {
        std::fs::write(Path::new(&folder).join(name), image).unwrap();
    }
}

/// Returns the base URL of the admin address of a peer.
fn admin_url(peer: &PeerProcess) -> String {
    let line = peer.process.wait_for_line("metrics on http://");
    line.trim_start_matches("metrics on ").trim_end_matches("/metrics").to_owned()
}

#[test]
fn browser_shows_the_numbers_of_known_traffic_on_any_screen() {
    let origin = Origin::start(|_| Reply::ok("content").field("Cache-Control", "max-age=60"));
    let refusing = Port::hold();
    let store = tempfile::tempdir().unwrap();
    let options = ["--admin", "127.0.0.1:0", "--store", store.path().to_str().unwrap()];
    let peer = PeerProcess::start_as("127.0.0.1:0", &options);
    let admin = admin_url(&peer);
    let ask = |url: &str| send(peer.address, "GET", &format!("/proxy?q={}", escaped(url)), "").status;
    let long = origin.url(&format!("/{}", "a-long-path/".repeat(30)));
    for (url, count) in [(origin.url("/a?key=secret"), 6), (long.clone(), 2)] {
        (0..count).for_each(|_| assert_eq!(ask(&url), 200));
    }
    assert_eq!(ask(&format!("http://{}/unreachable/{}", refusing.address(), "x".repeat(300))), 502);

    let policy = send(admin_address(&admin), "GET", "/status", "Accept: text/html\r\n");
    let policy = policy.field("content-security-policy").unwrap();
    assert!(policy.contains("default-src 'none'") && !policy.contains("unsafe"), "{policy}");

    let mut browser = Browser::start();
    for (name, width, is_dark) in [
        ("status.png", 1000, false),
        ("status-phone.png", 375, false),
        ("status-phone-dark.png", 375, true),
        ("status-narrow.png", 320, true),
    ] {
        browser.set_screen(width, 812, is_dark);
        browser.open(&format!("{admin}/status"));
        let widths = browser.evaluate("[document.documentElement.scrollWidth, document.body.scrollWidth]");
        let is_narrow = widths.as_array().unwrap().iter().all(|one| one.as_u64().unwrap() <= width.into());
        assert!(is_narrow, "{name} scrolls: {widths}");
        let color = browser.evaluate("getComputedStyle(document.body).color");
        assert_eq!(color, if is_dark { "rgb(255, 255, 255)" } else { "rgb(0, 0, 0)" }, "{name}");
        keep_screenshot(&mut browser, name);
    }
    let page = browser.html();
    for expected in [
        "Hit ratio<b>66.7 %</b>",
        "Requests<b>9</b>",
        "<span>66.7 % of 9 requests</span>",
        "<td>hit</td><td class=\"number\">6</td>",
        "<td>miss</td><td class=\"number\">2</td>",
        "<td>failed</td><td class=\"number\">1</td>",
        &format!(
            "<td>{}</td><td class=\"number\">6</td><td class=\"number\">42 B</td><td class=\"number\">1</td>",
            origin.url("/a")
        ),
        &format!("<h1>{}</h1>", peer.url()),
        &format!("<td>{}</td><td class=\"number\">2</td>", origin.url("")),
        "unreachable",
    ] {
        assert!(page.contains(expected), "{expected}: {page}");
    }
    for absent in ["secret", "<script", "style=", "onclick"] {
        assert!(!page.contains(absent), "{absent}: {page}");
    }
    // The plot is in the current minute: at the right end, and two thirds high.
    let line = browser.evaluate("document.querySelector('.line').getAttribute('d')");
    let segments = line.as_str().unwrap();
    assert!(segments.ends_with("h10") && segments.starts_with("M5"), "{line}");

    // The keyboard reaches the fields in their order on the page, and Enter sends the form.
    let focused = "document.activeElement.getAttribute('aria-label') ?? document.activeElement.textContent";
    let mut order = Vec::new();
    for _ in 0..5 {
        browser.press("Tab", 9);
        order.push(browser.evaluate(focused).as_str().unwrap().to_owned());
        let outline = browser.evaluate("getComputedStyle(document.activeElement).outlineStyle");
        assert_ne!(outline, "none", "{order:?}");
    }
    assert_eq!(order, ["URL to explain", "Why?", "What to purge", "URL to purge", "Purge from the pool"]);
    browser.evaluate("document.querySelector('[name=q]').focus()");
    browser.call("Input.insertText", &json!({"text": origin.url("/a?key=secret")}));
    browser.press("Enter", 13);
    browser.wait_for_load();
    let page = browser.html();
    assert!(page.contains("<h1>Why</h1>") && page.contains("hit"), "{page}");

    // The form of the page purges, and the result leads back.
    browser.open(&format!("{admin}/status"));
    browser.evaluate("document.querySelector('[name=url]').focus()");
    browser.call("Input.insertText", &json!({"text": long}));
    browser.press("Enter", 13);
    browser.wait_for_load();
    let page = browser.html();
    assert!(page.contains("<h1>Purged</h1>") && page.contains("href=\"/status\""), "{page}");
    let before = origin.count();
    assert_eq!((ask(&long), origin.count()), (200, before + 1));

    let console = browser.console();
    assert!(console.is_empty(), "{console:?}");
    let requested = browser.requested();
    let is_own = |url: &String| url.starts_with(&format!("{admin}/")) || url.starts_with("data:");
    assert!(requested.len() >= 8 && requested.iter().all(is_own), "{requested:?}");
}

#[test]
fn console_and_requests_of_a_page_are_noticed() {
    let page = "<img src='/missing.png'><script>console.log('noticed')</script>";
    let origin = Origin::start(move |received| match received.target.as_str() {
        "/" => Reply::ok("").field("Content-Type", "text/html").body(page),
        _ => Reply::status(404),
    });
    let mut browser = Browser::start();
    browser.open(&origin.url("/"));
    let console = browser.console().join("\n");
    assert!(console.contains("noticed") && console.contains("404"), "{console}");
    assert!(browser.requested().contains(&origin.url("/missing.png")));
}

#[test]
fn status_command_prints_a_table_and_json() {
    let origin = Origin::start(|_| Reply::ok("content").field("Cache-Control", "max-age=60"));
    let peer = PeerProcess::start_as("127.0.0.1:0", &["--admin", "127.0.0.1:0"]);
    let admin = admin_url(&peer);
    for _ in 0..4 {
        let target = format!("/proxy?q={}", escaped(&origin.url("/a")));
        assert_eq!(send(peer.address, "GET", &target, "").status, 200);
    }
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
    let url = format!("http://{}/a?key=secret", refusing.address());
    for _ in 0..2 {
        let target = format!("/proxy?q={}", escaped(&url));
        assert_eq!(send(peer.address, "GET", &target, "").status, 502);
    }
    let status = send(admin_address(&admin), "GET", "/status.json", "");
    let status: Value = serde_json::from_slice(&status.body).unwrap();
    let warnings = status["warnings"].as_array().unwrap();
    let text = warnings.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n");
    assert_eq!(warnings.len(), 1, "{text}");
    assert!(text.contains(&refusing.address().to_string()) && !text.contains("secret"), "{text}");
    assert_eq!(warnings[0]["count"], 2, "{text}");
}

#[test]
fn top_adds_up_the_lists_of_several_peers() {
    let origin = Origin::start(|_| Reply::ok("content").field("Cache-Control", "max-age=60"));
    let peers = [(); 2].map(|()| PeerProcess::start_as("127.0.0.1:0", &["--admin", "127.0.0.1:0"]));
    let admins = peers.each_ref().map(admin_url);
    let ask = |peer: &PeerProcess, path: &str| {
        let target = format!("/proxy?q={}", escaped(&origin.url(path)));
        assert_eq!(send(peer.address, "GET", &target, "").status, 200);
    };
    for (peer, count) in peers.iter().zip([3, 2]) {
        (0..count).for_each(|_| ask(peer, "/a"));
    }
    ask(&peers[1], "/b");
    let output = run(["top", "--json", &admins[0], &admins[1]]);
    let lists: Value = serde_json::from_slice(&output.stdout).unwrap();
    let row = |name: &str, amounts: [u64; 3]| json!({"name": name, "requests": amounts[0], "bytes": amounts[1], "misses": amounts[2]});
    let urls = [row(&origin.url("/a"), [5, 35, 2]), row(&origin.url("/b"), [1, 7, 1])];
    assert_eq!(lists["urls"].as_array().unwrap()[..], urls);
    assert_eq!(lists["origins"][0], row(&origin.url(""), [6, 42, 3]));
    assert_eq!(lists["clients"][0], row("127.0.0.1", [6, 42, 3]));

    let output =
        run(["top", "--of", "urls", "--by", "misses", "--lines", "1", &admins[0], "http://127.0.0.1:1"]);
    let text = String::from_utf8(output.stdout).unwrap();
    let lines: Vec<Vec<&str>> = text.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(lines, [vec!["REQUESTS", "BYTES", "MISSES", "URL"], vec!["3", "21", "1", &origin.url("/a")]]);
    let error = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.code() == Some(1) && error.contains("http://127.0.0.1:1"), "{error}");

    let watching = Process::spawn(["top", "--of", "urls", "--watch=0.05", &admins[0]]);
    watching.wait_for_line(&format!("         3              21          1  {}", origin.url("/a")));
    ask(&peers[0], "/a");
    watching.wait_for_line(&format!("         4              28          1  {}", origin.url("/a")));
}

#[test]
fn status_of_a_peer_that_cannot_be_reached_is_an_error_that_names_it() {
    let output = run(["status", "http://127.0.0.1:1"]);
    let error = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.code() == Some(1) && error.contains("http://127.0.0.1:1"), "{error}");
    let output = run(["status", "nonsense"]);
    assert_eq!(output.status.code(), Some(2));
}
