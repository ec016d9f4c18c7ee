//! Content, its framing and its limits.

use forwardcache::FrontOptions;

use super::{Noting, Seen, refusal};

fn post(fields: &str, body: &str) -> String {
    format!("POST / HTTP/1.1\r\nHost: a\r\n{fields}\r\n{body}")
}

#[test]
fn framing_that_cannot_be_trusted_is_refused() {
    let front = Noting::start();
    let chunked = "Transfer-Encoding: chunked\r\n";
    for (what, fields, body, status) in [
        ("a negative length", "Content-Length: -1\r\n", "", 400),
        ("a length with a sign", "Content-Length: +1\r\n", "a", 400),
        ("a length in hexadecimal", "Content-Length: 0x1\r\n", "a", 400),
        ("a length that is none", "Content-Length: \r\n", "", 400),
        ("a length out of range", "Content-Length: 18446744073709551616\r\n", "", 400),
        ("the largest length", "Content-Length: 18446744073709551615\r\n", "", 413),
        ("a length past the limit", "Content-Length: 67108865\r\n", "", 413),
        ("a length twice", "Content-Length: 1\r\nContent-Length: 1\r\n", "a", 400),
        ("two lengths", "Content-Length: 1\r\nContent-Length: 2\r\n", "a", 400),
        ("a list of lengths", "Content-Length: 1, 1\r\n", "a", 400),
        ("a length and chunks", "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n", "0\r\n\r\n", 400),
        ("chunks and a length", "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n", "0\r\n\r\n", 400),
        ("another coding first", "Transfer-Encoding: gzip, chunked\r\n", "", 501),
        (
            "another coding on a line before",
            "Transfer-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n",
            "",
            501,
        ),
        ("another coding alone", "Transfer-Encoding: gzip\r\n", "", 400),
        ("identity", "Transfer-Encoding: identity\r\n", "", 400),
        ("another coding last", "Transfer-Encoding: chunked, gzip\r\n", "", 400),
        ("chunks twice", "Transfer-Encoding: chunked, chunked\r\n", "", 400),
        ("chunks on two lines", "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n", "", 400),
        ("a coding named alike", "Transfer-Encoding: xchunked\r\n", "", 400),
        ("a coding that is empty", "Transfer-Encoding:\r\n", "", 400),
        ("a chunk without a size", chunked, "\r\n", 400),
        ("a chunk size with a sign", chunked, "+1\r\na\r\n", 400),
        ("a negative chunk size", chunked, "-1\r\na\r\n", 400),
        ("a chunk size with a prefix", chunked, "0x1\r\na\r\n", 400),
        ("a chunk size behind a space", chunked, " 1\r\na\r\n", 400),
        ("a chunk size out of range", chunked, "10000000000000000\r\na", 400),
        ("a chunk longer than its size", chunked, "1\r\nab\r\n0\r\n\r\n", 400),
        ("a chunk size that ends with LF", chunked, "1\na\r\n", 400),
        ("a chunk that ends with LF", chunked, "1\r\na\n", 400),
        ("an end with LF", chunked, "0\r\n\n", 400),
        ("NUL in an extension", chunked, "1;a=\0\r\na\r\n", 400),
        ("chunks past the limit", chunked, "4000001\r\n", 413),
    ] {
        let mut bytes = post(fields, body).into_bytes();
        if what == "chunks past the limit" {
            bytes.extend(std::iter::repeat_n(b'a', 0x400_0001));
        }
        let mut connection = front.connect();
        connection.write(bytes);
        assert_eq!(refusal(&mut connection), status, "{what}");
        // Only what has been handed on already is known to the handler, and as cut.
        assert!(front.seen().iter().all(|seen| seen.body.is_none()), "{what}");
        front.still_serves();
    }
    let old = "POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n";
    assert_eq!(Noting::start().refuses(old), 400);
}

#[test]
fn extensions_and_trailers_without_end_are_refused() {
    let front = Noting::start();
    let head = post("Transfer-Encoding: chunked\r\n", "");
    for body in [
        format!("1;{}", "a".repeat(20 << 10)),
        "1;aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\r\nx\r\n".repeat(1000),
        format!("0\r\nx: {}", "a".repeat(20 << 10)),
        format!("0\r\n{}", "x: y\r\n".repeat(10_000)),
    ] {
        assert_eq!(front.refuses(head.clone() + &body), 431);
    }
}

#[test]
fn content_arrives_as_it_was_sent_however_it_is_split() {
    let front = Noting::start();
    let chunked = "3;x=y\r\nabc\r\nA\r\n0123456789\r\n0\r\nX: y\r\n\r\n";
    let expected = [Seen::of("POST", "/", "abc0123456789")];
    for message in
        [post("Content-Length: 13\r\n", "abc0123456789"), post("Transfer-Encoding: chunked\r\n", chunked)]
    {
        for size in [1, 2, 3, 7, message.len()] {
            let mut connection = front.connect();
            for piece in message.as_bytes().chunks(size) {
                connection.write(piece);
            }
            assert_eq!(connection.read_response().body, b"ok");
            assert_eq!(front.seen(), expected, "{size}");
            // The connection is at the beginning of the next request.
            connection.write("GET /next HTTP/1.1\r\nHost: a\r\n\r\n");
            assert_eq!(connection.read_response().body, b"ok");
            assert_eq!(front.seen(), [Seen::of("GET", "/next", "")]);
        }
    }
}

#[test]
fn a_limit_on_bodies_is_kept_whichever_way_they_come() {
    let front = Noting::start_with(FrontOptions::new().max_body(10));
    assert_eq!(front.refuses(post("Content-Length: 11\r\n", "")), 413);
    assert_eq!(front.refuses(post("Transfer-Encoding: chunked\r\n", "b\r\n01234567890")), 413);
    for body in [
        post("Content-Length: 10\r\n", "0123456789"),
        post("Transfer-Encoding: chunked\r\n", "a\r\n0123456789\r\n0\r\n\r\n"),
    ] {
        let mut connection = front.connect();
        connection.write(body);
        assert_eq!(connection.read_response().status, 200);
    }
}

#[test]
fn who_expects_a_word_before_the_body_gets_it_and_not_in_vain() {
    let front = Noting::start_with(FrontOptions::new().max_body(10));
    let mut connection = front.connect();
    connection.write(post("Content-Length: 3\r\nExpect: 100-Continue\r\n", ""));
    assert_eq!(connection.read_response().status, 100);
    connection.write("abc");
    assert_eq!(connection.read_response().status, 200);
    assert_eq!(front.seen(), [Seen::of("POST", "/", "abc")]);
    // Nothing is asked for that would be refused.
    assert_eq!(front.refuses(post("Content-Length: 11\r\nExpect: 100-continue\r\n", "")), 413);
    // Nor is there anything to wait for without a body, or for a client that does not know the word.
    for message in [
        post("Expect: 100-continue\r\n", ""),
        "POST / HTTP/1.0\r\nContent-Length: 1\r\nExpect: 100-continue\r\n\r\na".to_owned(),
    ] {
        let mut connection = front.connect();
        connection.write(message);
        assert_eq!(connection.read_response().status, 200);
    }
}

#[test]
fn a_line_end_behind_a_request_begins_no_other() {
    let front = Noting::start_with(FrontOptions::new().head_timeout(std::time::Duration::from_millis(100)));
    let mut connection = front.connect();
    connection.write(post("Content-Length: 1\r\n", "a") + "\r");
    assert_eq!(connection.read_response().status, 200);
    front.still_serves();
    connection.write("\n");
    // Longer than a head may take.
    let mut other = front.connect();
    other.write("GET /");
    assert_eq!(refusal(&mut other), 408);
    connection.write(post("Content-Length: 1\r\n", "b"));
    assert_eq!(connection.read_response().status, 200);
}

#[test]
fn a_refusal_of_a_head_is_a_head() {
    let front = Noting::start();
    for message in [
        "HEAD / HTTP/1.1\r\n\r\n",
        "HEAD / HTTP/1.1\r\nHost: a\r\nExpect: x\r\n\r\n",
        "HEAD / HTTP/1.1\r\nHost: a\r\nContent-Length: 100000000\r\n\r\n",
    ] {
        let mut connection = front.connect();
        connection.write(message);
        assert!(connection.read_response_to_head().status >= 400);
        assert!(connection.read_to_end().is_empty(), "{message}");
    }
}

#[test]
fn a_handler_may_answer_with_what_is_still_coming() {
    let serving =
        super::front(FrontOptions::new().workers(2), |request: http::Request<forwardcache::Body>| {
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
fn a_body_that_is_cut_is_never_a_whole_one() {
    let front = Noting::start();
    for message in [
        post("Content-Length: 10\r\n", "abc"),
        post("Transfer-Encoding: chunked\r\n", "3\r\nabc\r\n"),
        post("Content-Length: 100000\r\n", "abc"),
    ] {
        let mut connection = front.connect();
        connection.write(&message);
        connection.finish_writing();
        assert_eq!(refusal(&mut connection), 400);
        assert!(front.seen().iter().all(|seen| seen.body.is_none()), "{message}");
        front.still_serves();
    }
}
