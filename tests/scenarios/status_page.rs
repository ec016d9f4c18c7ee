//! The status page in a real browser.

use crate::local::escaped;
use crate::processes::PeerProcess;
use crate::support::browser::browse;
use crate::support::origin::{Origin, Reply};
use crate::support::process::run;
use crate::support::raw::Connection;

#[test]
fn browser_shows_the_numbers_of_known_traffic_without_errors() {
    let origin = Origin::start(|_| Reply::ok("content").field("Cache-Control", "max-age=60"));
    let peer = PeerProcess::start_as("127.0.0.1:0", &["--admin", "127.0.0.1:0"]);
    let line = peer.process.wait_for_line("metrics on http://");
    let admin = line.trim_start_matches("metrics on ").trim_end_matches("/metrics").to_owned();
    for _ in 0..4 {
        let mut connection = Connection::open(peer.address);
        let target = format!("/proxy?q={}", escaped(&origin.url("/a")));
        connection.write(format!("GET {target} HTTP/1.1\r\nHost: {}\r\n\r\n", peer.address));
        assert_eq!(connection.read_response().status, 200);
    }
    let (page, console) = browse(&format!("{admin}/status"), &[]);
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
    let (page, console) = browse(&format!("{admin}/why?q={}", escaped(&origin.url("/a"))), &[]);
    assert!(console.is_empty() && page.contains("<pre>") && page.contains("hit"), "{console:?} {page}");

    let output = run(["status", &admin]);
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success() && text.contains(" 75.0 %         4 "), "{text}");
    let output = run(["status", "--json", &admin]);
    let json: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(json["counts"]["hit"], 3);
}

#[test]
fn status_of_a_peer_that_cannot_be_reached_is_an_error_that_names_it() {
    let output = run(["status", "http://127.0.0.1:1"]);
    let error = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.code() == Some(1) && error.contains("http://127.0.0.1:1"), "{error}");
    let output = run(["status", "nonsense"]);
    assert_eq!(output.status.code(), Some(2));
}
