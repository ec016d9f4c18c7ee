//! The front over real sockets, spoken to byte by byte.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use crossbeam_channel::{Receiver, Sender, unbounded};
use http::{Method, Request, Response, StatusCode};

use super::TinyHttpFront;
use crate::body::Body;
use crate::error::ErrorKind;
use crate::front::{FrontOptions, Handler, RemoteAddress, Serving};

fn serve(handler: impl Handler + 'static) -> Serving {
    serve_with(FrontOptions::new(), handler)
}

fn serve_with(options: FrontOptions, handler: impl Handler + 'static) -> Serving {
    TinyHttpFront::bind("127.0.0.1:0", options, handler).unwrap()
}

/// Answers with method, target and body of the request.
fn echo(request: Request<Body>) -> Response<Body> {
    let (parts, body) = request.into_parts();
    let text = format!("{} {} {}", parts.method, parts.uri, body.into_text().unwrap());
    Response::new(text.into())
}

struct Client {
    stream: BufReader<TcpStream>,
}

struct Answer {
    status: u16,
    head: String,
    body: Vec<u8>,
}

impl Client {
    fn of(serving: &Serving) -> Self {
        Self::connect(serving.local_addr())
    }

    fn connect(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).unwrap();
        // A test that would hang fails instead.
        stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        Self { stream: BufReader::new(stream) }
    }

    fn send(&mut self, bytes: impl AsRef<[u8]>) -> &mut Self {
        self.stream.get_mut().write_all(bytes.as_ref()).unwrap();
        self
    }

    fn get(&mut self, target: &str) -> Answer {
        self.send(format!("GET {target} HTTP/1.1\r\nHost: a\r\n\r\n")).answer(&Method::GET)
    }

    fn answer(&mut self, method: &Method) -> Answer {
        self.try_answer(method).unwrap()
    }

    fn head(&mut self) -> io::Result<String> {
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            if self.stream.read_line(&mut head)? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
        Ok(head)
    }

    fn try_answer(&mut self, method: &Method) -> io::Result<Answer> {
        let head = self.head()?;
        let status = head[9..12].parse().unwrap();
        let mut answer = Answer { status, head, body: Vec::new() };
        if *method == Method::HEAD || [204, 205, 304].contains(&status) {
            return Ok(answer);
        }
        if answer.field("transfer-encoding") == Some("chunked") {
            self.chunks(&mut answer.body)?;
        } else if let Some(length) = answer.field("content-length") {
            answer.body.resize(length.parse().unwrap(), 0);
            self.stream.read_exact(&mut answer.body)?;
        } else {
            self.stream.read_to_end(&mut answer.body)?;
        }
        Ok(answer)
    }

    fn chunks(&mut self, body: &mut Vec<u8>) -> io::Result<()> {
        loop {
            let mut line = String::new();
            self.stream.read_line(&mut line)?;
            let size = usize::from_str_radix(line.trim_end(), 16).map_err(|_| {
                io::Error::new(io::ErrorKind::InvalidData, format!("no chunk size: {line:?}"))
            })?;
            let start = body.len();
            body.resize(start + size, 0);
            self.stream.read_exact(&mut body[start..])?;
            self.stream.read_line(&mut line)?;
            assert!(line.ends_with("\r\n"));
            if size == 0 {
                return Ok(());
            }
        }
    }

    /// Whether the connection has ended cleanly, with nothing left on it.
    fn is_at_end(&mut self) -> bool {
        self.stream.read(&mut [0]).is_ok_and(|count| count == 0)
    }
}

impl Answer {
    fn field(&self, name: &str) -> Option<&str> {
        let mut fields = self.head.lines().skip(1).filter_map(|line| line.split_once(": "));
        fields.find(|(field, _)| field.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    }

    fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }
}

/// A handler that says when it has begun and goes on when it is let.
fn gated() -> (impl Handler, Receiver<()>, Sender<()>) {
    let (begun, has_begun) = unbounded();
    let (go_on, may_go_on) = unbounded::<()>();
    let handler = move |_: Request<Body>| {
        begun.send(()).unwrap();
        // A gate that is dropped is open.
        let _ = may_go_on.recv();
        Response::new(Body::from("done"))
    };
    (handler, has_begun, go_on)
}

/// A stream that yields these pieces, one a read, and then ends as it is told.
struct Pieces {
    pieces: std::vec::IntoIter<Vec<u8>>,
    end: fn() -> io::Result<usize>,
}

impl Pieces {
    fn new(pieces: &[&[u8]], end: fn() -> io::Result<usize>) -> Self {
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

fn fails() -> io::Result<usize> {
    Err(io::Error::other("the origin is gone"))
}

#[test]
fn a_connection_serves_one_request_after_the_other() {
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
fn a_client_that_says_close_sees_the_end() {
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
            "/204" => response.status(204).body(Body::from("must not be seen")),
            "/304" => response.status(304).header("etag", "\"1\"").body(Body::from("must not be seen")),
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
    // Whatever had been sent as a body would stand before this.
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
fn fields_go_out_as_the_handler_gave_them() {
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
fn a_stream_goes_out_in_chunks() {
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
    // To a client that wants the connection closed, the length can be told.
    client.send("GET /long HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    let answer = client.answer(&Method::GET);
    assert_eq!((answer.field("content-length"), answer.body.len()), (Some("300000"), 300_000));
    assert!(client.is_at_end());
}

#[test]
fn a_stream_that_breaks_off_is_seen_to() {
    let long = Some(1 << 20);
    let ends: [(fn() -> io::Result<usize>, Option<u64>); 4] =
        [(fails, None), (|| panic!("the stream panics"), None), (fails, long), (|| Ok(0), long)];
    for (end, length) in ends {
        let serving = serve(move |_: Request<Body>| {
            Response::new(Body::from_reader(Pieces::new(&[b"one", b"two"], end), length))
        });
        let mut client = Client::of(&serving);
        client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
        let broken = client.try_answer(&Method::GET).err().expect("the response is not whole");
        assert_eq!(broken.kind(), io::ErrorKind::InvalidData);

        let mut client = Client::of(&serving);
        client.send("GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
        let broken = client.try_answer(&Method::GET).err().expect("the response is not whole");
        assert!(matches!(broken.kind(), io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof));
    }
}

#[test]
fn a_stream_that_fails_before_its_first_byte_is_a_502() {
    let ends: [(fn() -> io::Result<usize>, Option<u64>); 4] =
        [(fails, None), (|| panic!("the stream panics"), None), (fails, Some(5)), (|| Ok(0), Some(1 << 20))];
    for (end, length) in ends {
        let serving =
            serve(move |_: Request<Body>| Response::new(Body::from_reader(Pieces::new(&[], end), length)));
        let mut client = Client::of(&serving);
        assert_eq!(client.get("/").status, 502);
        assert_eq!(client.get("/").status, 502);
    }
}

#[test]
fn a_panic_ends_one_request_and_nothing_else() {
    struct PanicsWhenDropped;
    impl Read for PanicsWhenDropped {
        fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
            Ok(0)
        }
    }
    impl Drop for PanicsWhenDropped {
        fn drop(&mut self) {
            panic!("dropped");
        }
    }
    let serving =
        serve_with(FrontOptions::new().workers(1), |request: Request<Body>| match request.uri().path() {
            "/panic" => panic!("asked to"),
            "/drop" => Response::new(Body::from_reader(PanicsWhenDropped, None)),
            "/interim" => Response::builder().status(103).body(Body::empty()).unwrap(),
            _ => Response::new(Body::from("alive")),
        });
    let mut client = Client::of(&serving);
    for _ in 0..3 {
        assert_eq!(client.get("/panic").status, 500);
        assert_eq!(client.get("/interim").status, 500);
        assert_eq!(client.get("/drop").status, 500);
        client.send("HEAD /drop HTTP/1.1\r\nHost: a\r\n\r\n");
        assert_eq!(client.answer(&Method::HEAD).status, 200);
        assert_eq!(client.get("/").text(), "alive");
    }
}

#[test]
fn who_finds_the_queue_full_is_told_to_come_back() {
    let (handler, has_begun, go_on) = gated();
    let serving = serve_with(FrontOptions::new().workers(1).queue_length(1), handler);
    let mut first = Client::of(&serving);
    first.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    has_begun.recv().unwrap();

    // The worker is busy. Of two more one is queued, the other turned away: whichever it is.
    let (answers, answered) = unbounded();
    let address = serving.local_addr();
    for _ in 0..2 {
        let answers = answers.clone();
        std::thread::spawn(move || answers.send(Client::connect(address).get("/")).unwrap());
    }
    let turned_away = answered.recv().unwrap();
    assert_eq!((turned_away.status, turned_away.field("retry-after")), (503, Some("1")));

    // A request with a body that has to wait for its client is not in their way, nor they in its.
    let mut with_body = Client::of(&serving);
    with_body.send(format!("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2000\r\n\r\n{:2000}", ""));
    has_begun.recv().unwrap();
    drop(go_on);
    assert_eq!(with_body.answer(&Method::POST).text(), "done");
    assert_eq!(first.answer(&Method::GET).text(), "done");
    assert_eq!(answered.recv().unwrap().text(), "done");
}

#[test]
fn a_body_that_does_not_come_holds_up_nobody_without_one() {
    let serving = serve_with(FrontOptions::new().workers(1), echo);
    let waiting: Vec<_> = (0..8)
        .map(|_| {
            let mut client = Client::of(&serving);
            client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5000\r\n\r\n");
            client
        })
        .collect();
    assert_eq!(Client::of(&serving).get("/").status, 200);
    drop(waiting);
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
fn a_body_that_is_cut_does_not_reach_the_handler() {
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
fn bad_heads_are_refused() {
    let serving = serve(|_: Request<Body>| Response::new(Body::from("must not be reached")));
    let long = "a".repeat(10 << 10);
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
fn what_follows_a_doubtful_body_is_not_taken_for_a_request() {
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
fn a_body_over_the_limit_is_a_413_and_ends_nothing() {
    let serving = serve_with(FrontOptions::new().workers(1).max_body(10_000), echo);
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
fn an_http_1_0_client_gets_neither_chunks_nor_a_torso() {
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
        ("/large", 505, 39),
        ("/fails", 502, 22),
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

#[test]
fn the_handler_knows_who_asks() {
    let serving = serve(|request: Request<Body>| {
        let RemoteAddress(address) = request.extensions().get().copied().unwrap();
        Response::new(address.to_string().into())
    });
    let mut client = Client::of(&serving);
    let own = client.stream.get_ref().local_addr().unwrap();
    assert_eq!(client.get("/").text(), own.to_string());
}

#[test]
fn a_client_that_does_not_read_gives_its_worker_back() {
    let options = FrontOptions::new().workers(1).write_timeout(Duration::from_millis(200));
    let serving = serve_with(options, |request: Request<Body>| {
        Response::new(match request.uri().path() {
            "/large" => Body::from(vec![7; 64 << 20]),
            _ => Body::from("served"),
        })
    });
    let mut lazy = Client::of(&serving);
    lazy.send("GET /large HTTP/1.1\r\nHost: a\r\n\r\n");
    lazy.head().unwrap();
    assert_eq!(Client::of(&serving).get("/").text(), "served");
}

#[test]
fn a_shutdown_answers_what_is_in_flight_and_lets_nobody_in() {
    let (handler, has_begun, go_on) = gated();
    let options = FrontOptions::new().workers(1).drain_deadline(Duration::from_secs(3600));
    let serving = serve_with(options, handler);
    let address = serving.local_addr();
    let mut idle = Client::of(&serving);
    let mut client = Client::of(&serving);
    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    has_begun.recv().unwrap();

    serving.shutdown();
    serving.shutdown();
    assert!(TcpStream::connect(address).is_err());
    let joining = std::thread::spawn(move || serving.join());

    let late = idle.get("/");
    assert_eq!((late.status, late.field("connection")), (503, Some("close")));
    assert!(!joining.is_finished());
    go_on.send(()).unwrap();
    let answer = client.answer(&Method::GET);
    assert_eq!((answer.status, answer.field("connection"), answer.text()), (200, Some("close"), "done"));
    joining.join().unwrap();
}

#[test]
fn at_the_drain_deadline_the_queue_is_told_and_the_wait_is_over() {
    let (handler, has_begun, go_on) = gated();
    let options = FrontOptions::new().workers(1).queue_length(2).drain_deadline(Duration::ZERO);
    let serving = serve_with(options, handler);
    let mut clients: Vec<_> = (0..3).map(|_| Client::of(&serving)).collect();
    clients[0].send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    has_begun.recv().unwrap();
    clients[1].send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    clients[2].send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");

    // The handler is still at the gate: this returns all the same.
    drop(serving);
    drop(go_on);
    assert_eq!(clients[0].answer(&Method::GET).text(), "done");
    assert_eq!(clients[1].answer(&Method::GET).status, 503);
    assert_eq!(clients[2].answer(&Method::GET).status, 503);
}

#[test]
fn a_handle_ends_the_wait_of_another_thread() {
    let serving = serve(echo);
    let address = serving.local_addr();
    let handle = serving.shutdown_handle();
    let joining = std::thread::spawn(move || serving.join());
    assert_eq!(Client::connect(address).get("/").status, 200);
    handle.shutdown();
    joining.join().unwrap();
    handle.shutdown();
    assert!(TcpStream::connect(address).is_err());
}

#[test]
fn a_port_can_be_served_again_after_a_shutdown() {
    let serving = serve(echo);
    let address = serving.local_addr();
    let mut client = Client::of(&serving);
    assert_eq!(client.get("/").status, 200);
    drop(serving);
    let serving = TinyHttpFront::bind(address, FrontOptions::new(), echo).unwrap();
    assert_eq!(Client::of(&serving).get("/again").text(), "GET /again ");
}

#[test]
fn a_port_in_use_is_an_error_that_names_it() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    let error = TinyHttpFront::bind(address, FrontOptions::new(), echo).err().unwrap();
    assert_eq!(error.kind(), ErrorKind::Listen);
    assert!(error.to_string().contains(&address.to_string()), "{error}");
}

#[test]
fn the_handler_is_dropped_when_the_front_has_ended() {
    let witness = Arc::new(());
    let held = Arc::clone(&witness);
    let serving = serve(move |_: Request<Body>| {
        assert!(Arc::strong_count(&held) > 0);
        Response::builder().status(StatusCode::OK).body(Body::empty()).unwrap()
    });
    assert_eq!(Client::of(&serving).get("/").status, 200);
    drop(serving);
    assert_eq!(Arc::strong_count(&witness), 1);
}
