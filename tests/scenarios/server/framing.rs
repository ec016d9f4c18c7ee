//! Bodies, their framing and their limits.

use forwardcache::server::ServerConfig;

use super::{ReceivedRequest, RecordingServer, read_rejection};

fn post(fields: &str, body: &str) -> String {
    format!("POST / HTTP/1.1\r\nHost: a\r\n{fields}\r\n{body}")
}

#[test]
fn invalid_framing_is_rejected() {
    let server = RecordingServer::start();
    let chunked = "Transfer-Encoding: chunked\r\n";
    for (what, fields, body, status) in [
        ("a negative length", "Content-Length: -1\r\n", "", 400),
        ("a length with a sign", "Content-Length: +1\r\n", "a", 400),
        ("a length in hexadecimal", "Content-Length: 0x1\r\n", "a", 400),
        ("an empty length", "Content-Length: \r\n", "", 400),
        ("a length out of range", "Content-Length: 18446744073709551616\r\n", "", 400),
        ("the largest length", "Content-Length: 18446744073709551615\r\n", "", 413),
        ("a length over the limit", "Content-Length: 67108865\r\n", "", 413),
        ("the same length twice", "Content-Length: 1\r\nContent-Length: 1\r\n", "a", 400),
        ("two different lengths", "Content-Length: 1\r\nContent-Length: 2\r\n", "a", 400),
        ("a list of lengths", "Content-Length: 1, 1\r\n", "a", 400),
        (
            "a length before chunked coding",
            "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
            "0\r\n\r\n",
            400,
        ),
        (
            "chunked coding before a length",
            "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n",
            "0\r\n\r\n",
            400,
        ),
        ("another coding before chunked", "Transfer-Encoding: gzip, chunked\r\n", "", 501),
        (
            "another coding on the previous line",
            "Transfer-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n",
            "",
            501,
        ),
        ("only another coding", "Transfer-Encoding: gzip\r\n", "", 400),
        ("identity", "Transfer-Encoding: identity\r\n", "", 400),
        ("another coding after chunked", "Transfer-Encoding: chunked, gzip\r\n", "", 400),
        ("chunked twice", "Transfer-Encoding: chunked, chunked\r\n", "", 400),
        ("chunked on two lines", "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n", "", 400),
        ("a coding with a similar name", "Transfer-Encoding: xchunked\r\n", "", 400),
        ("an empty coding", "Transfer-Encoding:\r\n", "", 400),
        ("a chunk without a size", chunked, "\r\n", 400),
        ("a chunk size with a sign", chunked, "+1\r\na\r\n", 400),
        ("a negative chunk size", chunked, "-1\r\na\r\n", 400),
        ("a chunk size with a prefix", chunked, "0x1\r\na\r\n", 400),
        ("a chunk size after a space", chunked, " 1\r\na\r\n", 400),
        ("a chunk size out of range", chunked, "10000000000000000\r\na", 400),
        ("a chunk longer than its size", chunked, "1\r\nab\r\n0\r\n\r\n", 400),
        ("a chunk size that ends with LF", chunked, "1\na\r\n", 400),
        ("a chunk that ends with LF", chunked, "1\r\na\n", 400),
        ("a last chunk that ends with LF", chunked, "0\r\n\n", 400),
        ("NUL in an extension", chunked, "1;a=\0\r\na\r\n", 400),
        ("chunks over the limit", chunked, "4000001\r\n", 413),
    ] {
        let mut bytes = post(fields, body).into_bytes();
        if what == "chunks over the limit" {
            bytes.extend(std::iter::repeat_n(b'a', 0x400_0001));
        }
        let mut connection = server.connect();
        connection.write(bytes);
        assert_eq!(read_rejection(&mut connection), status, "{what}");
        // The handler may already have been called, but then it gets a truncated body.
        assert!(server.seen().iter().all(|seen| seen.body.is_none()), "{what}");
        server.assert_still_serves();
    }
    let old = "POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n";
    assert_eq!(RecordingServer::start().rejected_with(old), 400);
}

#[test]
fn endless_chunk_extensions_and_trailers_are_rejected() {
    let server = RecordingServer::start();
    let head = post("Transfer-Encoding: chunked\r\n", "");
    for body in [
        format!("1;{}", "a".repeat(20 << 10)),
        "1;aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\r\nx\r\n".repeat(1000),
        format!("0\r\nx: {}", "a".repeat(20 << 10)),
        format!("0\r\n{}", "x: y\r\n".repeat(10_000)),
    ] {
        assert_eq!(server.rejected_with(head.clone() + &body), 431);
    }
}

#[test]
fn body_is_unchanged_for_any_split() {
    let server = RecordingServer::start();
    let chunked = "3;x=y\r\nabc\r\nA\r\n0123456789\r\n0\r\nX: y\r\n\r\n";
    let expected = [ReceivedRequest::of("POST", "/", "abc0123456789")];
    for message in
        [post("Content-Length: 13\r\n", "abc0123456789"), post("Transfer-Encoding: chunked\r\n", chunked)]
    {
        for size in [1, 2, 3, 7, message.len()] {
            let mut connection = server.connect();
            for piece in message.as_bytes().chunks(size) {
                connection.write(piece);
            }
            assert_eq!(connection.read_response().body, b"ok");
            assert_eq!(server.seen(), expected, "{size}");
            // The next request on the same connection is parsed correctly.
            connection.write("GET /next HTTP/1.1\r\nHost: a\r\n\r\n");
            assert_eq!(connection.read_response().body, b"ok");
            assert_eq!(server.seen(), [ReceivedRequest::of("GET", "/next", "")]);
        }
    }
}

#[test]
fn body_limit_applies_to_every_framing() {
    let server = RecordingServer::start_with(ServerConfig::new().max_body(10));
    assert_eq!(server.rejected_with(post("Content-Length: 11\r\n", "")), 413);
    assert_eq!(server.rejected_with(post("Transfer-Encoding: chunked\r\n", "b\r\n01234567890")), 413);
    for body in [
        post("Content-Length: 10\r\n", "0123456789"),
        post("Transfer-Encoding: chunked\r\n", "a\r\n0123456789\r\n0\r\n\r\n"),
    ] {
        let mut connection = server.connect();
        connection.write(body);
        assert_eq!(connection.read_response().status, 200);
    }
}

#[test]
fn expect_100_continue_is_answered_only_if_the_body_is_accepted() {
    let server = RecordingServer::start_with(ServerConfig::new().max_body(10));
    let mut connection = server.connect();
    connection.write(post("Content-Length: 3\r\nExpect: 100-Continue\r\n", ""));
    assert_eq!(connection.read_response().status, 100);
    connection.write("abc");
    assert_eq!(connection.read_response().status, 200);
    assert_eq!(server.seen(), [ReceivedRequest::of("POST", "/", "abc")]);
    // No 100 is sent for a body that will be rejected.
    assert_eq!(server.rejected_with(post("Content-Length: 11\r\nExpect: 100-continue\r\n", "")), 413);
    // No 100 is sent without a body, or to an HTTP/1.0 client.
    for message in [
        post("Expect: 100-continue\r\n", ""),
        "POST / HTTP/1.0\r\nContent-Length: 1\r\nExpect: 100-continue\r\n\r\na".to_owned(),
    ] {
        let mut connection = server.connect();
        connection.write(message);
        assert_eq!(connection.read_response().status, 200);
    }
}

#[test]
fn extra_line_end_after_a_body_is_ignored() {
    let server =
        RecordingServer::start_with(ServerConfig::new().head_timeout(std::time::Duration::from_millis(100)));
    let mut connection = server.connect();
    connection.write(post("Content-Length: 1\r\n", "a") + "\r");
    assert_eq!(connection.read_response().status, 200);
    server.assert_still_serves();
    connection.write("\n");
    // This takes longer than the head timeout.
    let mut other = server.connect();
    other.write("GET /");
    assert_eq!(read_rejection(&mut other), 408);
    connection.write(post("Content-Length: 1\r\n", "b"));
    assert_eq!(connection.read_response().status, 200);
}

#[test]
fn rejection_of_a_head_request_has_no_body() {
    let server = RecordingServer::start();
    for message in [
        "HEAD / HTTP/1.1\r\n\r\n",
        "HEAD / HTTP/1.1\r\nHost: a\r\nExpect: x\r\n\r\n",
        "HEAD / HTTP/1.1\r\nHost: a\r\nContent-Length: 100000000\r\n\r\n",
    ] {
        let mut connection = server.connect();
        connection.write(message);
        assert!(connection.read_response_to_head().status >= 400);
        assert!(connection.read_to_end().is_empty(), "{message}");
    }
}

#[test]
fn handler_can_echo_a_body_while_it_arrives() {
    let serving =
        super::start_server(ServerConfig::new().workers(2), |request: http::Request<forwardcache::Body>| {
            http::Response::new(request.into_body())
        });
    let content = "0123456789abcdef".repeat(200_000);
    for _ in 0..3 {
        let mut connection = crate::support::raw::Connection::open(serving.local_addr());
        let mut writing = connection.try_clone();
        std::thread::scope(|scope| {
            let fields = format!("Content-Length: {}\r\n", content.len());
            let content = &content;
            scope.spawn(move || writing.write(post(&fields, content)));
            let response = connection.read_response();
            assert_eq!((response.cut, response.body.len()), (None, content.len()));
            assert!(response.body == content.as_bytes());
        });
    }
}

#[test]
fn truncated_request_body_is_never_complete() {
    let server = RecordingServer::start();
    for message in [
        post("Content-Length: 10\r\n", "abc"),
        post("Transfer-Encoding: chunked\r\n", "3\r\nabc\r\n"),
        post("Content-Length: 100000\r\n", "abc"),
    ] {
        let mut connection = server.connect();
        connection.write(&message);
        connection.finish_writing();
        assert_eq!(read_rejection(&mut connection), 400);
        assert!(server.seen().iter().all(|seen| seen.body.is_none()), "{message}");
        server.assert_still_serves();
    }
}
