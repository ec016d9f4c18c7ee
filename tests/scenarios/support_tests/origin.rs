//! The scripted origin, tested with raw bytes.

use std::io::ErrorKind;
use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::support::origin::{Gate, Origin, Piece, Reply};
use crate::support::raw::{self, Connection, Response};

const GET: &str = "GET / HTTP/1.1\r\nHost: origin\r\n\r\n";

fn get(origin: &Origin) -> Response {
    let mut connection = Connection::open(origin.address());
    connection.write(GET);
    connection.read_response()
}

fn bytes_of(reply: Reply) -> String {
    let origin = Origin::replies([reply]);
    String::from_utf8(raw::exchange(origin.address(), GET)).unwrap()
}

/// Returns the message with which the drop of this origin panics.
fn drop_panic(origin: Origin) -> String {
    let panic = catch_unwind(AssertUnwindSafe(|| drop(origin))).unwrap_err();
    panic.downcast_ref::<String>().unwrap().clone()
}

#[test]
fn reply_has_the_added_fields_and_a_length() {
    assert_eq!(
        bytes_of(Reply::ok("body").field("ETag", "\"a\"").field("Odd", b"\xc3\xa9")),
        "HTTP/1.1 200 OK\r\nETag: \"a\"\r\nOdd: \u{e9}\r\nContent-Length: 4\r\n\r\nbody"
    );
    assert_eq!(bytes_of(Reply::status(404)), "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n");
}

#[test]
fn every_framing_is_sent_as_requested() {
    assert_eq!(
        bytes_of(Reply::ok("body").chunked()),
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nbo\r\n2\r\ndy\r\n0\r\n\r\n"
    );
    assert_eq!(bytes_of(Reply::ok("body").until_close()), "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nbody");
    assert_eq!(bytes_of(Reply::ok("body").unframed().close_silently()), "HTTP/1.1 200 OK\r\n\r\nbody");
    assert_eq!(bytes_of(Reply::ok("body").announcing(9)), "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nbody");
}

#[test]
fn bodiless_replies_send_no_body() {
    assert_eq!(bytes_of(Reply::status(204).body("no")), "HTTP/1.1 204 No Content\r\n\r\n");
    assert_eq!(
        bytes_of(Reply::status(304).body("no").announcing(7)),
        "HTTP/1.1 304 Not Modified\r\nContent-Length: 7\r\n\r\n"
    );
    let origin = Origin::replies([Reply::ok("body"), Reply::ok("next").chunked(), Reply::ok("last")]);
    let mut connection = Connection::open(origin.address());
    for framing in [("content-length", "4"), ("transfer-encoding", "chunked")] {
        connection.write("HEAD / HTTP/1.1\r\nHost: origin\r\n\r\n");
        let response = connection.read_response_to_head();
        assert_eq!(response.field(framing.0), Some(framing.1));
    }
    connection.write(GET);
    assert_eq!(connection.read_response().body, b"last");
}

#[test]
fn connection_is_kept_until_client_or_reply_closes_it() {
    let origin = Origin::replies([
        Reply::ok("kept"),
        Reply::ok("said").close(),
        Reply::ok("unsaid").close_silently(),
        Reply::ok("asked"),
        Reply::ok("old"),
    ]);
    let mut first = Connection::open(origin.address());
    first.write(GET);
    assert_eq!(first.read_response().field("connection"), None);
    first.write(GET);
    assert_eq!(first.read_response().field("connection"), Some("close"));
    assert_eq!(first.read_to_end(), b"");

    let mut second = Connection::open(origin.address());
    second.write(GET);
    assert_eq!(second.read_response().field("connection"), None);
    assert_eq!(second.read_to_end(), b"");

    for request in ["GET / HTTP/1.1\r\nHost: origin\r\nConnection: close\r\n\r\n", "GET / HTTP/1.0\r\n\r\n"] {
        let mut connection = Connection::open(origin.address());
        connection.write(request);
        assert_eq!(connection.read_response().field("connection"), Some("close"));
        assert_eq!(connection.read_to_end(), b"");
    }
    let connections: Vec<_> = origin.seen().iter().map(|received| received.connection).collect();
    assert_eq!(connections, [0, 0, 1, 2, 3]);
}

#[test]
fn cut_and_reset_bodies_end_early() {
    for chunked in [false, true] {
        let body = || if chunked { Reply::ok("0123456789").chunked() } else { Reply::ok("0123456789") };
        let origin = Origin::replies([body().cut_after(7), body().reset_after(7), body().cut_after(0)]);
        let [cut, reset, bare] = [get(&origin), get(&origin), get(&origin)];
        assert_eq!((cut.body.as_slice(), cut.cut), (&b"0123456"[..], Some(ErrorKind::UnexpectedEof)));
        assert_eq!((reset.body.as_slice(), reset.cut), (&b"0123456"[..], Some(ErrorKind::ConnectionReset)));
        assert_eq!((bare.body.as_slice(), bare.cut), (&b""[..], Some(ErrorKind::UnexpectedEof)));
    }
}

#[test]
fn announced_length_may_differ_from_the_body() {
    let origin = Origin::replies([Reply::ok("body").announcing(5), Reply::ok("body").announcing(3).close()]);
    let short = get(&origin);
    assert_eq!((short.body.as_slice(), short.cut), (&b"body"[..], Some(ErrorKind::UnexpectedEof)));
    let mut connection = Connection::open(origin.address());
    connection.write(GET);
    assert_eq!(connection.read_response().body, b"bod");
    assert_eq!(connection.read_to_end(), b"y");
}

#[test]
fn nothing_closes_and_nothing_by_reset_resets() {
    use std::io::{Read, Write};
    let origin = Origin::replies([Reply::nothing(), Reply::nothing_by_reset()]);
    let read = || {
        let mut socket = std::net::TcpStream::connect(origin.address()).unwrap();
        socket.write_all(GET.as_bytes()).unwrap();
        socket.read(&mut [0; 1])
    };
    assert_eq!(read().unwrap(), 0);
    assert_eq!(read().unwrap_err().kind(), ErrorKind::ConnectionReset);
}

#[test]
fn never_sends_nothing_until_the_origin_is_dropped() {
    let origin = Origin::replies([Reply::never()]);
    let mut connection = Connection::open(origin.address());
    connection.write(GET);
    origin.wait_for(1);
    drop(origin);
    assert_eq!(connection.read_to_end(), b"");
}

#[test]
fn gates_pause_head_and_body_until_opened() {
    let [head, body] = [Gate::new(), Gate::new()];
    let origin = Origin::replies([Reply::ok("0123456789").gate_head(&head).gate_body(4, &body)]);
    let mut connection = Connection::open(origin.address());
    connection.write(GET);
    origin.wait_for(1);
    connection.expect_silence();
    head.open();
    connection.wait_for_bytes(b"\r\n\r\n0123");
    connection.expect_silence();
    body.open();
    assert_eq!(connection.read_response().body, b"0123456789");
    assert!(head.is_open() && body.is_open());
}

#[test]
fn dropping_the_origin_opens_gates_and_closes_connections() {
    let gate = Gate::new();
    let origin = Origin::replies([Reply::ok("never sent").gate_head(&gate)]);
    let mut connection = Connection::open(origin.address());
    connection.write(GET);
    origin.wait_for(1);
    assert!(!gate.is_open());
    drop(origin);
    assert!(gate.is_open());
    assert_eq!(connection.read_to_end(), b"");
}

#[test]
fn raw_pieces_are_sent_unchanged_with_gates() {
    let gate = Gate::new();
    let pieces = [Piece::from("HTTP/1.1 2"), Piece::from(&gate), Piece::from(b"99 Odd\n\n".to_vec())];
    let origin = Origin::replies([Reply::raw_pieces(pieces), Reply::raw("not HTTP at all")]);
    let mut connection = Connection::open(origin.address());
    connection.write(GET);
    connection.wait_for_bytes(b"HTTP/1.1 2");
    connection.expect_silence();
    gate.open();
    assert_eq!(connection.read_to_end(), b"HTTP/1.1 299 Odd\n\n");
    let mut connection = Connection::open(origin.address());
    connection.write(GET);
    assert_eq!(connection.read_to_end(), b"not HTTP at all");
}

#[test]
fn raw_reply_can_keep_the_connection() {
    let interim = "HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\na";
    let origin = Origin::replies([Reply::raw(interim).keep_alive(), Reply::ok("b")]);
    let mut connection = Connection::open(origin.address());
    connection.write(GET);
    assert_eq!(connection.read_response().status, 103);
    assert_eq!(connection.read_response().body, b"a");
    connection.write(GET);
    assert_eq!(connection.read_response().body, b"b");
}

#[test]
fn exchange_reads_up_to_the_final_response() {
    let both = "HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\na";
    let origin = Origin::replies([Reply::raw(both).keep_alive(), Reply::nothing()]);
    assert_eq!(raw::exchange(origin.address(), GET), both.as_bytes());
    assert_eq!(raw::exchange(origin.address(), GET), b"");
}

#[test]
fn trailers_are_separate_from_headers_and_body() {
    let chunks = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\nDigest: d\r\n\r\n";
    let origin = Origin::replies([Reply::raw(chunks)]);
    let response = get(&origin);
    assert_eq!((response.body.as_slice(), response.cut), (&b"a"[..], None));
    assert_eq!((response.field("digest"), response.trailers["digest"].as_bytes()), (None, &b"d"[..]));
}

#[test]
fn requests_are_recorded_completely() {
    let origin = Origin::start(|received| Reply::ok(received.body.clone()));
    let mut connection = Connection::open(origin.address());
    connection.write("POST /a?b=c HTTP/1.1\r\nHost: origin\r\nX-Name: value\r\nContent-Length: 4\r\n\r\n");
    connection.write("body");
    assert_eq!(connection.read_response().body, b"body");
    connection.write("PUT /a HTTP/1.1\r\nHost: origin\r\nExpect: 100-continue\r\n");
    connection.write("Transfer-Encoding: chunked\r\n\r\n");
    assert_eq!(connection.read_response().status, 100);
    connection.write("3\r\nin \r\n6;x=y\r\nchunks\r\n0\r\nTrailer: t\r\n\r\n");
    connection.finish_writing();
    assert_eq!(connection.read_response().body, b"in chunks");

    let seen = origin.seen();
    assert_eq!((seen[0].method.as_str(), seen[0].target.as_str()), ("POST", "/a?b=c"));
    assert_eq!((seen[0].field("x-name"), seen[0].field("absent")), (Some("value"), None));
    assert_eq!((seen[1].method.as_str(), seen[1].body.as_slice()), ("PUT", &b"in chunks"[..]));
    assert_eq!((origin.count(), origin.count_of("/a"), origin.count_of("/")), (2, 1, 0));
}

#[test]
fn unused_origin_fails_when_dropped() {
    assert!(drop_panic(Origin::replies([Reply::ok("unused")])).contains("received no request"));
    drop(Origin::replies([Reply::ok("unused")]).may_be_unused());
}

#[test]
fn extra_request_gets_500_and_fails_the_drop() {
    let origin = Origin::replies([Reply::ok("only")]);
    assert_eq!(get(&origin).status, 200);
    assert_eq!(get(&origin).status, 500);
    assert!(drop_panic(origin).contains("no reply is left for GET /"));
}

#[test]
fn panicking_handler_fails_the_drop() {
    let origin = Origin::start(|received| panic!("unexpected {}", received.target));
    assert_eq!(get(&origin).status, 500);
    assert!(drop_panic(origin).contains("unexpected /"));
}

#[test]
fn malformed_request_gets_400_and_fails_the_drop() {
    let both = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n";
    for request in ["GET / HTTP/1.1\r\n\r\n", "GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n", both] {
        let origin = Origin::replies([]).may_be_unused();
        let mut connection = Connection::open(origin.address());
        connection.write(request);
        assert_eq!(connection.read_response().status, 400);
        assert!(drop_panic(origin).contains("malformed request"), "{request}");
    }
}

#[test]
fn origin_does_not_hide_the_panic_of_a_failing_test() {
    let panic = catch_unwind(|| {
        let _unused = Origin::replies([Reply::ok("unused")]);
        panic!("the reason");
    });
    assert_eq!(panic.unwrap_err().downcast_ref::<&str>(), Some(&"the reason"));
}
