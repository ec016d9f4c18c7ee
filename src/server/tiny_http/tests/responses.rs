//! Responses as the client receives them.

use std::io::{self, Read};

use bytes::Bytes;
use http::{Method, Request, Response};

use super::{Client, echo, serve};
use crate::message::body::Body;

/// A stream that yields one piece for each read, and then the result of `end`.
struct Pieces {
    pieces: std::vec::IntoIter<Vec<u8>>,
    end: End,
}

impl Pieces {
    fn new(pieces: &[&[u8]], end: End) -> Self {
        Self { pieces: pieces.iter().map(|piece| piece.to_vec()).collect::<Vec<_>>().into_iter(), end }
    }
}

impl Read for Pieces {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let Some(piece) = self.pieces.next() else { return (self.end)() };
        buffer[..piece.len()].copy_from_slice(&piece);
        Ok(piece.len())
    }
}

type End = fn() -> io::Result<usize>;

fn fails() -> io::Result<usize> {
    Err(io::Error::other("the origin is gone"))
}

#[test]
fn a_connection_serves_several_requests() {
    let serving = serve(echo);
    let mut client = Client::of(&serving);
    for target in ["/a", "/b?q=1", "/c%20d"] {
        let answer = client.get(target);
        assert_eq!(answer.status, 200);
        assert_eq!(answer.text(), format!("GET {target} "));
        assert!(answer.field("date").is_some());
        assert_eq!(answer.field("server"), None);
        assert_eq!(answer.field("connection"), None);
    }
}

#[test]
fn a_connection_closes_if_the_client_asks_for_it() {
    let serving = serve(echo);
    let mut client = Client::of(&serving);
    client.send("GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    let answer = client.answer(&Method::GET);
    assert_eq!((answer.status, answer.field("connection")), (200, Some("close")));
    assert!(client.is_at_end());
}

#[test]
fn responses_without_content_send_none() {
    let serving = serve(|request: Request<Body>| {
        let response = Response::builder();
        let response = match request.uri().path() {
            "/head" => response.header("content-length", "77").body(Body::empty()),
            "/stream" => response.body(Body::from_reader(io::repeat(7), Some(1 << 40))),
            "/shared" => response.body(Body::from("12345")),
            "/204" => response.status(204).body(Body::from("must not be sent")),
            "/304" => response.status(304).header("etag", "\"1\"").body(Body::from("must not be sent")),
            path => panic!("{path}"),
        };
        response.unwrap()
    });
    let mut client = Client::of(&serving);
    for (target, length) in [("/head", "77"), ("/stream", "1099511627776"), ("/shared", "5")] {
        client.send(format!("HEAD {target} HTTP/1.1\r\nHost: a\r\n\r\n"));
        let answer = client.answer(&Method::HEAD);
        assert_eq!((answer.status, answer.field("content-length")), (200, Some(length)), "{target}");
        assert_eq!(answer.field("transfer-encoding"), None);
    }
    let answer = client.get("/204");
    assert_eq!((answer.status, answer.field("content-length")), (204, None));
    let answer = client.get("/304");
    assert_eq!((answer.status, answer.field("content-length")), (304, None));
    assert_eq!(answer.field("etag"), Some("\"1\""));
    // Body bytes of the previous responses would precede this response.
    assert_eq!(client.get("/shared").text(), "12345");
}

#[test]
fn large_shared_bytes_arrive_intact() {
    for size in [64 << 10, (64 << 10) + 1, 1 << 20] {
        let bytes: Bytes = (0..size).map(|n: u32| (n % 251) as u8).collect();
        let shared = bytes.clone();
        let serving = serve(move |_: Request<Body>| Response::new(Body::from(shared.clone())));
        let mut client = Client::of(&serving);
        for _ in 0..2 {
            let answer = client.get("/");
            assert_eq!(answer.field("content-length"), Some(size.to_string().as_str()));
            assert!(answer.body == bytes);
        }
    }
}

#[test]
fn the_handlers_fields_are_sent_unchanged() {
    let serving = serve(|_: Request<Body>| {
        let response = Response::builder().header("date", "Thu, 01 Jan 1970 00:00:00 GMT");
        let response = response.header("link", "a").header("link", "b").header("connection", "upgrade");
        response.body(Body::empty()).unwrap()
    });
    let answer = Client::of(&serving).get("/");
    assert_eq!(answer.field("date"), Some("Thu, 01 Jan 1970 00:00:00 GMT"));
    assert_eq!(answer.head.matches("date: ").count(), 1);
    assert_eq!(answer.head.matches("link: ").count(), 2);
    assert_eq!(answer.field("connection"), None);
}

#[test]
fn a_stream_is_sent_in_chunks() {
    let serving = serve(|request: Request<Body>| {
        let body = match request.uri().path() {
            "/unknown" => Body::from_reader(Pieces::new(&[b"one", b"two"], || Ok(0)), None),
            "/empty" => Body::from_reader(io::empty(), None),
            "/short" => Body::from_reader(Pieces::new(&[b"one", b"two"], || Ok(0)), Some(6)),
            _ => Body::from_reader(io::repeat(7).take(300_000), Some(300_000)),
        };
        Response::new(body)
    });
    let mut client = Client::of(&serving);
    let answer = client.get("/unknown");
    assert_eq!((answer.field("transfer-encoding"), answer.text()), (Some("chunked"), "onetwo"));
    let answer = client.get("/empty");
    assert_eq!((answer.field("content-length"), answer.text()), (Some("0"), ""));
    let answer = client.get("/short");
    assert_eq!((answer.field("content-length"), answer.text()), (Some("6"), "onetwo"));
    let answer = client.get("/long");
    assert_eq!((answer.field("content-length"), answer.body.len()), (None, 300_000));
    // A client that asks to close the connection gets the length.
    client.send("GET /long HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    let answer = client.answer(&Method::GET);
    assert_eq!((answer.field("content-length"), answer.body.len()), (Some("300000"), 300_000));
    assert!(client.is_at_end());
}

#[test]
fn an_incomplete_stream_is_detected_by_the_client() {
    let long = Some(1 << 20);
    let ends: [(End, Option<u64>); 4] =
        [(fails, None), (|| panic!("the stream panics"), None), (fails, long), (|| Ok(0), long)];
    for (end, length) in ends {
        let serving = serve(move |_: Request<Body>| {
            Response::new(Body::from_reader(Pieces::new(&[b"one", b"two"], end), length))
        });
        let mut client = Client::of(&serving);
        client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
        let bad_gateway = client.try_answer(&Method::GET).err().expect("the response is incomplete");
        assert_eq!(bad_gateway.kind(), io::ErrorKind::InvalidData);

        let mut client = Client::of(&serving);
        client.send("GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
        let bad_gateway = client.try_answer(&Method::GET).err().expect("the response is incomplete");
        assert!(matches!(bad_gateway.kind(), io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof));
    }
}

#[test]
fn a_stream_that_fails_before_its_first_byte_becomes_a_marked_502() {
    let ends: [(End, Option<u64>, &str); 4] = [
        (fails, None, "io"),
        (|| panic!("the stream panics"), None, "io"),
        (fails, Some(5), "io"),
        (|| Ok(0), Some(1 << 20), "incomplete-body"),
    ];
    for (end, length, kind) in ends {
        let serving =
            serve(move |_: Request<Body>| Response::new(Body::from_reader(Pieces::new(&[], end), length)));
        let mut client = Client::of(&serving);
        for _ in 0..2 {
            let answer = client.get("/");
            assert_eq!((answer.status, answer.field("forwardcache-error")), (502, Some(kind)));
        }
    }
}

#[test]
fn an_http_1_0_client_gets_neither_chunks_nor_a_partial_response() {
    let serving = serve(|request: Request<Body>| {
        Response::new(match request.uri().path() {
            "/bytes" => Body::from("bytes"),
            "/unknown" => Body::from_reader(io::repeat(7).take(200_000), None),
            "/known" => Body::from_reader(io::repeat(7).take(20 << 20), Some(20 << 20)),
            "/large" => Body::from_reader(io::repeat(7).take(20 << 20), None),
            _ => Body::from_reader(Pieces::new(&[b"one"], fails), None),
        })
    });
    let cases = [
        ("/bytes", 200, 5),
        ("/unknown", 200, 200_000),
        ("/known", 200, 20 << 20),
        ("/large", 505, 38),
        ("/fails", 502, 26),
    ];
    for (target, status, length) in cases {
        let mut client = Client::of(&serving);
        client.send(format!("GET {target} HTTP/1.0\r\n\r\n"));
        let answer = client.answer(&Method::GET);
        assert_eq!((answer.status, answer.body.len()), (status, length), "{target}");
        assert_eq!(answer.field("connection"), Some("close"));
        assert_eq!(answer.field("transfer-encoding"), None);
        assert!(client.is_at_end());
    }
    let mut client = Client::of(&serving);
    for _ in 0..2 {
        client.send("GET /unknown HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
        let answer = client.answer(&Method::GET);
        assert_eq!((answer.field("connection"), answer.body.len()), (Some("keep-alive"), 200_000));
    }
}
