//! The access log and the histogram of request durations.

use std::fs;
use std::path::Path;
use std::thread;
use std::time::Duration;

use crate::local::escaped;
use crate::processes::PeerProcess;
use crate::support::origin::{Gate, Origin, Reply};
use crate::support::raw::Connection;
use crate::support::wait_until;

fn ask(peer: &PeerProcess, url: &str) -> Connection {
    let mut connection = Connection::open(peer.address);
    let target = format!("/proxy?q={}", escaped(url));
    connection.write(format!("GET {target} HTTP/1.1\r\nHost: {}\r\nCookie: secret=1\r\n\r\n", peer.address));
    connection
}

/// Waits until the log has this many lines, and returns them.
fn lines(path: &Path, count: usize) -> Vec<String> {
    let read = || fs::read_to_string(path).unwrap_or_default();
    wait_until(&format!("the log never has {count} lines"), || read().lines().count() >= count);
    read().lines().map(str::to_owned).collect()
}

#[test]
fn each_request_is_one_line_without_credentials() {
    let (gate, rest, folder) = (Gate::new(), Gate::new(), tempfile::tempdir().unwrap());
    let origin = {
        let (gate, rest) = (gate.clone(), rest.clone());
        Origin::start(move |received| match received.target.as_str() {
            "/slow" => Reply::ok("late").gate_head(&gate),
            // The rest arrives only after the client has left: the system could take all of a body at once.
            "/large" => Reply::ok(vec![b'x'; 8 << 20]).gate_body(1 << 20, &rest),
            _ => Reply::ok("content").field("Cache-Control", "max-age=60"),
        })
    };
    let path = folder.path().join("access.log");
    let options = ["--access-log", path.to_str().unwrap(), "--max-body", "1MiB"];
    let mut peer = PeerProcess::start_as("127.0.0.1:0", &options);

    let url = origin.url("/a?token=secret");
    assert_eq!(ask(&peer, &url).read_response().status, 200);
    lines(&path, 1);
    assert_eq!(ask(&peer, &url).read_response().status, 200);
    let logged = origin.url("/a");
    let got = lines(&path, 2);
    let begin = "127.0.0.1 - - [";
    assert!(got.iter().all(|line| line.starts_with(begin)), "{got:?}");
    assert!(got[0].contains(&format!("\"GET {logged} HTTP\" 200 7 \"-\" \"-\" miss 0.")), "{got:?}");
    assert!(got[1].contains(&format!("\"GET {logged} HTTP\" 200 7 \"-\" \"-\" hit 0.")), "{got:?}");

    // A client that leaves before there is a response.
    let waiting = ask(&peer, &origin.url("/slow"));
    origin.wait_for(2);
    drop(waiting);
    let line = lines(&path, 3).pop().unwrap();
    assert!(line.contains("/slow HTTP\" 499 0 ") && line.ends_with(" aborted"), "{line}");
    gate.open();

    // A client that leaves while it receives the response.
    let mut half = ask(&peer, &origin.url("/large"));
    half.wait_for_bytes(b"xxxxxxxx");
    drop(half);
    let line = lines(&path, 4).pop().unwrap();
    let bytes: u64 = line.split("HTTP\" 200 ").nth(1).unwrap().split(' ').next().unwrap().parse().unwrap();
    assert!(bytes < 8 << 20 && line.ends_with(" aborted"), "{line}");
    rest.open();

    // A request that is not HTTP.
    let mut broken = Connection::open(peer.address);
    broken.write("GET / HTTP/1.1\r\nHost: a\r\nbroken\r\n\r\n");
    assert_eq!(broken.read_response().status, 400);
    let line = lines(&path, 5).pop().unwrap();
    assert!(line.contains("\"- - HTTP\" 400 "), "{line}");

    // After a rename, SIGUSR1 makes the peer write to a new file.
    let renamed = folder.path().join("access.log.1");
    fs::rename(&path, &renamed).unwrap();
    peer.process.signal("USR1");
    wait_until("the log is never reopened", || path.exists());
    assert_eq!(ask(&peer, &url).read_response().status, 200);
    assert!(lines(&path, 1)[0].contains(" hit "));
    peer.process.terminate();
    assert!(peer.process.wait().success());
    for path in [path, renamed] {
        let text = fs::read_to_string(path).unwrap();
        assert!(!text.contains("secret"), "{text}");
    }
}

#[test]
fn json_lines_are_valid_and_the_last_ones_are_written_at_the_end() {
    let origin = Origin::start(|_| Reply::ok("content").field("Cache-Control", "max-age=60"));
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("access.log");
    let options = ["--access-log", path.to_str().unwrap(), "--access-log-format", "json"];
    let mut peer = PeerProcess::start_as("127.0.0.1:0", &options);
    for _ in 0..3 {
        assert_eq!(ask(&peer, &origin.url("/a\"b")).read_response().status, 200);
    }
    peer.process.terminate();
    assert!(peer.process.wait().success());
    let text = fs::read_to_string(path).unwrap();
    let values: Vec<serde_json::Value> = text
        .lines()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}")))
        .collect();
    assert_eq!(values.len(), 3);
    assert_eq!((&values[2]["outcome"], &values[2]["status"]), (&"hit".into(), &200.into()));
    assert_eq!(values[2]["url"], origin.url("/a%22b"));
}

#[test]
fn duration_of_a_slow_response_is_counted_in_its_bucket() {
    const LATENCY: Duration = Duration::from_millis(300);
    let origin = Origin::start(|_| {
        thread::sleep(LATENCY);
        Reply::ok("content").field("Cache-Control", "max-age=60")
    });
    let peer = PeerProcess::start_as("127.0.0.1:0", &["--admin", "127.0.0.1:0"]);
    let line = peer.process.wait_for_line("metrics on http://");
    let admin = line.trim_start_matches("metrics on http://").trim_end_matches("/metrics").parse().unwrap();
    assert_eq!(ask(&peer, &origin.url("/a")).read_response().status, 200);
    assert_eq!(ask(&peer, &origin.url("/a")).read_response().status, 200);
    let value = |name: &str| {
        let mut connection = Connection::open(admin);
        connection.write(format!("GET /metrics HTTP/1.1\r\nHost: {admin}\r\nConnection: close\r\n\r\n"));
        let text = String::from_utf8(connection.read_response().body).unwrap();
        let begin = format!("forwardcache_request_duration_seconds{name} ");
        let value = text.lines().find_map(|line| line.strip_prefix(&begin));
        value.unwrap_or_else(|| panic!("{name} is missing: {text}")).parse::<f64>().unwrap()
    };
    wait_until("the hit is never counted", || value("_count{outcome=\"hit\"}") == 1.0);
    assert_eq!(value("_bucket{outcome=\"miss\",le=\"0.25\"}"), 0.0);
    assert_eq!(value("_bucket{outcome=\"miss\",le=\"+Inf\"}"), 1.0);
    assert!(value("_sum{outcome=\"miss\"}") >= LATENCY.as_secs_f64());
    assert!(value("_sum{outcome=\"hit\"}") < LATENCY.as_secs_f64());
}
