//! Requests that reach the handler, and requests that do not.

use crossbeam_channel::unbounded;
use http::{Method, Request, Response};

use super::{Client, echo, serve, serve_with};
use crate::message::body::Body;
use crate::server::{RemoteAddress, ServerConfig};

#[test]
fn pipelined_requests_are_answered_in_order() {
    let serving = serve(echo);
    let mut client = Client::of(&serving);
    let requests: String = (0..20).map(|n| format!("GET /{n} HTTP/1.1\r\nHost: a\r\n\r\n")).collect();
    client.send(requests);
    for number in 0..20 {
        assert_eq!(client.answer(&Method::GET).text(), format!("GET /{number} "));
    }
}

#[test]
fn bodies_reach_the_handler() {
    let serving = serve(echo);
    let mut client = Client::of(&serving);
    client.send("POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello");
    assert_eq!(client.answer(&Method::POST).text(), "POST /a hello");
    let long = "x".repeat(100_000);
    client.send(format!("PUT /b HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\n{long}"));
    assert_eq!(client.answer(&Method::PUT).text(), format!("PUT /b {long}"));
    client.send(
        "POST /c HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n",
    );
    assert_eq!(client.answer(&Method::POST).text(), "POST /c abcde");
    client.send("PUT /d HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n");
    assert!(client.head().unwrap().starts_with("HTTP/1.1 100 "));
    client.send("hi");
    assert_eq!(client.answer(&Method::PUT).text(), "PUT /d hi");
    assert_eq!(client.get("/e").text(), "GET /e ");
}

#[test]
fn an_incomplete_body_does_not_reach_the_handler() {
    let (handled, has_handled) = unbounded();
    let serving = serve(move |_: Request<Body>| {
        handled.send(()).unwrap();
        Response::new(Body::empty())
    });
    let mut client = Client::of(&serving);
    client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5000\r\n\r\nnot all of it");
    client.stream.get_ref().shutdown(std::net::Shutdown::Write).unwrap();
    assert_eq!(client.answer(&Method::POST).status, 400);
    assert!(has_handled.is_empty());
}

#[test]
fn invalid_heads_are_rejected() {
    let serving = serve(|_: Request<Body>| Response::new(Body::from("must not be reached")));
    let long = "a".repeat(30 << 10);
    let many = "X: 1\r\n".repeat(101);
    let cases = [
        ("GET / HTTP/1.1\r\n\r\n".to_owned(), 400),
        ("GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n".to_owned(), 400),
        ("GET / HTTP/1.1\r\nHost: a\r\nX: a\nY: b\r\n\r\n".to_owned(), 400),
        ("GET / HTTP/1.1\r\nHost: a\r\nX: a\0b\r\n\r\n".to_owned(), 400),
        ("GET / HTTP/1.1\r\nHost: a\r\n: b\r\n\r\n".to_owned(), 400),
        ("GET / HTTP/1.1\r\nHost: a\r\nX : b\r\n\r\n".to_owned(), 400),
        ("G(T / HTTP/1.1\r\nHost: a\r\n\r\n".to_owned(), 400),
        ("GET a HTTP/1.1\r\nHost: a\r\n\r\n".to_owned(), 400),
        (format!("GET /{long} HTTP/1.1\r\nHost: a\r\n\r\n"), 414),
        (format!("GET / HTTP/1.1\r\nHost: a\r\n{many}\r\n"), 431),
        ("GET / HTTP/0.9\r\nHost: a\r\n\r\n".to_owned(), 505),
        ("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: x\r\n\r\n".to_owned(), 400),
        ("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999999999999999\r\n\r\n".to_owned(), 400),
        ("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0, 0\r\n\r\n".to_owned(), 400),
        ("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\nx".to_owned(), 400),
        (
            "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n"
                .to_owned(),
            400,
        ),
        ("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: identity\r\n\r\n".to_owned(), 400),
        ("POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n".to_owned(), 400),
        ("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n".to_owned(), 400),
        (
            "POST / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nTransfer-Encoding: chunked\r\n\r\n"
                .to_owned(),
            400,
        ),
    ];
    for (head, status) in cases {
        let mut client = Client::of(&serving);
        client.send(&head);
        let shown = &head[..head.len().min(80)];
        let answer = client.try_answer(&Method::POST).unwrap_or_else(|error| panic!("{error}: {shown}"));
        assert_eq!(answer.status, status, "{shown}");
    }
}

#[test]
fn bytes_after_an_ambiguous_body_are_not_read_as_a_request() {
    let (handled, has_handled) = unbounded();
    let serving = serve(move |request: Request<Body>| {
        handled.send(request.uri().path().to_owned()).unwrap();
        Response::new(Body::empty())
    });
    let mut client = Client::of(&serving);
    client.send(
        "POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    );
    client.send("GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n");
    let answer = client.answer(&Method::POST);
    assert_eq!(answer.status, 400);
    assert!(answer.head.contains("Connection: close\r\n"));
    assert_eq!(Client::of(&serving).get("/other").status, 200);
    drop(serving);
    assert_eq!(has_handled.try_iter().collect::<Vec<_>>(), ["/other"]);
}

#[test]
fn a_body_over_the_limit_gets_413_and_other_requests_continue() {
    let serving = serve_with(ServerConfig::new().workers(1).max_body(10_000), echo);
    for length in ["10001", "100000000000000", "18446744073709551615"] {
        for method in [Method::GET, Method::POST] {
            let mut client = Client::of(&serving);
            client.send(format!("{method} / HTTP/1.1\r\nHost: a\r\nContent-Length: {length}\r\n\r\n"));
            assert_eq!(client.answer(&method).status, 413, "{length}");
        }
    }
    let mut client = Client::of(&serving);
    client.send("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n");
    client.send(format!("2711\r\n{}\r\n0\r\n\r\n", "x".repeat(10_001)));
    assert_eq!(client.answer(&Method::POST).status, 413);

    let mut client = Client::of(&serving);
    client.send(format!("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10000\r\n\r\n{:10000}", ""));
    assert_eq!(client.answer(&Method::POST).status, 200);
    assert_eq!(client.get("/").text(), "GET / ");
}

#[test]
fn the_handler_gets_the_clients_address() {
    let serving = serve(|request: Request<Body>| {
        let RemoteAddress(address) = request.extensions().get().copied().unwrap();
        Response::new(address.to_string().into())
    });
    let mut client = Client::of(&serving);
    let own = client.stream.get_ref().local_addr().unwrap();
    assert_eq!(client.get("/").text(), own.to_string());
}
