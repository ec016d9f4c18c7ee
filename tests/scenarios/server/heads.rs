//! Rejected heads and their statuses.

use std::io::{Read, Write};
use std::net::TcpStream;

use super::{ReceivedRequest, RecordingServer, assert_still_serves};
use crate::support::TEST_TIMEOUT;
use crate::support::process::Process;

#[test]
fn invalid_head_is_rejected_with_its_status() {
    let server = RecordingServer::start();
    let long = "a".repeat(9 << 10);
    let many = "X-A: 1\r\n".repeat(100);
    let large = "v".repeat(17 << 10);
    let get = |fields: &str| format!("GET / HTTP/1.1\r\nHost: a\r\n{fields}\r\n");
    for (what, bytes, status) in [
        ("a target of 9 KiB", format!("GET /{long} HTTP/1.1\r\nHost: a\r\n\r\n"), 414),
        ("a request line that never ends", "GET /".to_owned() + &"a".repeat(17 << 10), 414),
        ("101 fields", get(&many), 431),
        ("300 fields", get(&"X-A: 1\r\n".repeat(300)), 431),
        ("a field of 17 KiB", get(&format!("X: {large}\r\n")), 431),
        ("a head that never ends", format!("GET / HTTP/1.1\r\nHost: a\r\nX: {large}"), 431),
        ("a bare LF after the request line", "GET / HTTP/1.1\nHost: a\r\n\r\n".to_owned(), 400),
        ("a bare LF after a field", "GET / HTTP/1.1\r\nHost: a\n\r\n".to_owned(), 400),
        ("a bare LF at the end", "GET / HTTP/1.1\r\nHost: a\r\n\n".to_owned(), 400),
        ("a bare LF before the request", "\nGET / HTTP/1.1\r\nHost: a\r\n\r\n".to_owned(), 400),
        ("a bare CR in a value", get("X: a\rb\r\n"), 400),
        ("a bare CR in the target", "GET /\r HTTP/1.1\r\nHost: a\r\n\r\n".to_owned(), 400),
        ("NUL in a value", get("X: a\0b\r\n"), 400),
        ("NUL in a name", get("X\0: a\r\n"), 400),
        ("NUL in the target", "GET /\0 HTTP/1.1\r\nHost: a\r\n\r\n".to_owned(), 400),
        ("a folded line", get("X: a\r\n b\r\n"), 400),
        ("a folded first line", "GET / HTTP/1.1\r\n Host: a\r\n\r\n".to_owned(), 400),
        ("a space before the colon", get("X : a\r\n"), 400),
        ("a tab before the colon", get("X\t: a\r\n"), 400),
        ("an empty name", get(": a\r\n"), 400),
        ("a line without a colon", get("X\r\n"), 400),
        ("no Host", "GET / HTTP/1.1\r\n\r\n".to_owned(), 400),
        ("two Hosts", get("Host: a\r\n"), 400),
        ("two Hosts that differ", get("Host: b\r\n"), 400),
        ("a Host with userinfo", "GET / HTTP/1.1\r\nHost: a@b\r\n\r\n".to_owned(), 400),
        ("HTTP/0.9", "GET /\r\n\r\n".to_owned(), 400),
        ("HTTP/2.0", "GET / HTTP/2.0\r\nHost: a\r\n\r\n".to_owned(), 505),
        ("the preface of HTTP/2", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_owned(), 505),
        ("another protocol", "GET / HTCPCP/1.0\r\nHost: a\r\n\r\n".to_owned(), 400),
        ("two spaces", "GET  / HTTP/1.1\r\nHost: a\r\n\r\n".to_owned(), 400),
        ("a tab instead of a space", "GET\t/ HTTP/1.1\r\nHost: a\r\n\r\n".to_owned(), 400),
        ("an extra word", "GET / x HTTP/1.1\r\nHost: a\r\n\r\n".to_owned(), 400),
        ("a method that is not a token", "G(T / HTTP/1.1\r\nHost: a\r\n\r\n".to_owned(), 400),
        ("no method", " / HTTP/1.1\r\nHost: a\r\n\r\n".to_owned(), 400),
        ("a relative target", "GET a HTTP/1.1\r\nHost: a\r\n\r\n".to_owned(), 400),
        ("a fragment", "GET /#a HTTP/1.1\r\nHost: a\r\n\r\n".to_owned(), 400),
        ("a byte above ASCII in the target", "GET /\u{e9} HTTP/1.1\r\nHost: a\r\n\r\n".to_owned(), 400),
        ("an asterisk target without OPTIONS", "GET * HTTP/1.1\r\nHost: a\r\n\r\n".to_owned(), 400),
        ("an unknown expectation", get("Expect: 200-ok\r\n"), 417),
    ] {
        assert_eq!(server.rejected_with(bytes), status, "{what}");
    }
}

#[test]
fn tls_on_a_plain_port_is_rejected_at_once() {
    let server = RecordingServer::start();
    // The beginning of a ClientHello is enough: it cannot be the beginning of an HTTP request.
    assert_eq!(server.rejected_with([0x16, 0x03, 0x01, 0x02, 0x00, 0x01]), 400);
}

#[test]
fn unusual_but_valid_heads_are_accepted() {
    let server = RecordingServer::start();
    for (bytes, target) in [
        ("GET http://b.example/x?y HTTP/1.1\r\nHost: a\r\n\r\n", "http://b.example/x?y"),
        ("GET /x HTTP/1.0\r\n\r\n", "/x"),
        ("GET /x HTTP/1.2\r\nHost: a\r\n\r\n", "/x"),
        ("\r\n\r\nGET /x HTTP/1.1\r\nHost: a\r\n\r\n", "/x"),
        ("GET /x HTTP/1.1\r\nHOST:a\r\nX:\r\nx: b\u{e9}\r\n\r\n", "/x"),
        ("GET //x HTTP/1.1\r\nHost:\r\n\r\n", "//x"),
    ] {
        let mut connection = server.connect();
        connection.write(bytes);
        assert_eq!(connection.read_response().body, b"ok", "{bytes:?}");
        assert_eq!(server.seen(), [ReceivedRequest::of("GET", target, "")]);
    }
    for (method, target) in [("OPTIONS", "*"), ("CONNECT", "b:443"), ("BREW", "/pot")] {
        let mut connection = server.connect();
        connection.write(format!("{method} {target} HTTP/1.1\r\nHost: a\r\n\r\n"));
        connection
            .wait_for_bytes(b"\r\n\r\nok".as_slice().get(..if method == "CONNECT" { 4 } else { 6 }).unwrap());
        assert_eq!(server.seen(), [ReceivedRequest::of(method, target, "")]);
    }
}

#[test]
fn rejection_states_the_reason_in_one_line() {
    let server = RecordingServer::start();
    let mut connection = server.connect();
    connection.write("GET / HTTP/1.1\r\n\r\n");
    let response = connection.read_response();
    assert_eq!(response.body, b"the Host field is missing");
    assert_eq!(response.field("forwardcache-error"), Some("bad-request"));
}

#[test]
fn field_of_300_mb_takes_no_memory() {
    let process = Process::spawn(["serve", "--listen", "127.0.0.1:0"]);
    let line = process.wait_for_line("serving on http://");
    let address = line.split("http://").nth(1).unwrap().split(' ').next().unwrap().parse().unwrap();
    assert_still_serves(address);
    let before = resident(process.id());
    let mut socket = TcpStream::connect(address).unwrap();
    socket.set_read_timeout(Some(TEST_TIMEOUT)).unwrap();
    let mut answer = Vec::new();
    std::thread::scope(|scope| {
        let mut writing = socket.try_clone().unwrap();
        scope.spawn(move || {
            let piece = vec![b'a'; 1 << 20];
            // Writing fails once the server has closed the connection.
            let _ = writing.write_all(b"GET / HTTP/1.1\r\nHost: a\r\nX: ");
            (0..300).all(|_| writing.write_all(&piece).is_ok());
        });
        let _ = socket.read_to_end(&mut answer);
    });
    assert!(answer.starts_with(b"HTTP/1.1 431 "), "{:?}", answer.escape_ascii().to_string());
    let grown = resident(process.id()).saturating_sub(before);
    assert!(grown < 4 << 20, "{grown} bytes");
    assert_still_serves(address);
}

/// Returns the resident memory of a process in bytes.
pub(super) fn resident(process: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().strip_suffix(" kB").unwrap().trim().parse::<u64>().unwrap() * 1024
}
