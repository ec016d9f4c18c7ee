//! Time limits, cancellation and idle connections, with real sockets.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Barrier, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use http::{Request, Response};

use super::Origin;
use super::testing::{ScriptedOrigin, accept, get};
use crate::base::cancellation::Cancellation;
use crate::base::error::{Error, ErrorKind, Result};
use crate::base::tls::testing::{Authority, server_config};
use crate::message::body::Body;
use crate::message::deadline::Deadline;
use crate::message::round_trip::RoundTrip;

/// The time within which a waiting thread must notice an event: generous, because tests run in parallel.
const SOON: Duration = Duration::from_millis(500);
const SHORT: Duration = Duration::from_millis(100);

fn ask(origin: &Origin, url: &str, extension: impl Clone + Send + Sync + 'static) -> Result<Response<Body>> {
    let mut request = Request::get(url).body(Body::empty()).unwrap();
    request.extensions_mut().insert(extension);
    origin.round_trip(request)
}

/// Reads the body up to its failure. Returns the bytes before it and the error.
fn failure_of(mut body: Body) -> (Vec<u8>, Error) {
    let mut bytes = Vec::new();
    let error = body.read_to_end(&mut bytes).unwrap_err();
    (bytes, error.into())
}

/// Starts an origin that sends these bytes, signals the receiver, and waits until the client closes the
/// connection.
fn stalling(answer: &'static [u8]) -> (ScriptedOrigin<()>, mpsc::Receiver<()>) {
    let (tell, told) = mpsc::channel();
    let server = ScriptedOrigin::new(move |listener| {
        let mut connection = accept(listener);
        connection.receive();
        connection.send(answer);
        let _ = tell.send(());
        connection.wait_for_close();
    });
    (server, told)
}

#[test]
fn cancellation_ends_the_wait_for_a_silent_origin() {
    let (server, asked) = stalling(b"");
    let token = Cancellation::new();
    let (url, given) = (server.url(), token.clone());
    let waiting = thread::spawn(move || {
        let error = ask(&Origin::new(), &url, given).unwrap_err();
        (error, Instant::now())
    });
    asked.recv().unwrap();
    let cancelled = Instant::now();
    token.cancel();
    let (error, ended) = waiting.join().unwrap();
    assert_eq!(error.kind(), ErrorKind::Cancelled, "{error}");
    assert!(ended.duration_since(cancelled) < SOON);
    server.finish();
}

#[test]
fn cancelled_body_is_an_error() {
    for answer in [
        &b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\ndata: 1\n\n"[..],
        b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n9\r\ndata: 1\n\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\ndata: 1\n\n",
    ] {
        let (server, _) = stalling(answer);
        let token = Cancellation::new();
        let mut body = ask(&Origin::new(), &server.url(), token.clone()).unwrap().into_body();
        let mut event = [0; 9];
        body.read_exact(&mut event).unwrap();
        assert_eq!(&event, b"data: 1\n\n");
        let (reads, reading) = mpsc::channel();
        let waiting = thread::spawn(move || {
            reads.send(()).unwrap();
            let (rest, error) = failure_of(body);
            (rest, error, Instant::now())
        });
        reading.recv().unwrap();
        let cancelled = Instant::now();
        token.cancel();
        let (rest, error, ended) = waiting.join().unwrap();
        assert_eq!((rest, error.kind()), (Vec::new(), ErrorKind::Cancelled), "{error}");
        assert!(ended.saturating_duration_since(cancelled) < SOON);
        server.finish();
    }
}

#[test]
fn cancelled_request_is_not_sent() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let token = Cancellation::new();
    token.cancel();
    let error =
        ask(&Origin::new(), &format!("http://{}/", listener.local_addr().unwrap()), token).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Cancelled);
    listener.set_nonblocking(true).unwrap();
    assert!(listener.accept().is_err());
}

#[test]
fn cancellation_spares_a_connection_used_by_another_request() {
    const OK: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
    let (go_on, may_go_on) = mpsc::channel::<()>();
    let server = ScriptedOrigin::new(move |listener| {
        let mut connection = accept(listener);
        connection.receive();
        connection.send(OK);
        connection.receive();
        connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nok");
        may_go_on.recv().unwrap();
        connection.send(b"ok");
    });
    let origin = Origin::new();
    let first = Cancellation::new();
    let whole = ask(&origin, &server.url(), first.clone()).unwrap().into_body();
    assert_eq!(whole.into_text().unwrap(), "ok");
    let second = get(&origin, &server.url()).unwrap().into_body();
    first.cancel();
    go_on.send(()).unwrap();
    assert_eq!(second.into_text().unwrap(), "okok");
    server.finish();
}

#[test]
fn tls_handshake_can_be_cancelled() {
    let (tell, told) = mpsc::channel();
    let server = ScriptedOrigin::new(move |listener| {
        let (mut socket, _) = listener.accept().unwrap();
        tell.send(()).unwrap();
        std::io::copy(&mut socket, &mut std::io::sink()).ok();
    });
    let token = Cancellation::new();
    let (url, given) = (server.url().replace("http:", "https:"), token.clone());
    let waiting = thread::spawn(move || ask(&Origin::new(), &url, given).unwrap_err());
    told.recv().unwrap();
    token.cancel();
    assert_eq!(waiting.join().unwrap().kind(), ErrorKind::Cancelled);
    server.finish();
}

#[test]
fn body_over_tls_can_be_cancelled() {
    let authority = Authority::new();
    let config = Arc::new(server_config(&authority, None));
    let server = ScriptedOrigin::new(move |listener| {
        let connection = rustls::ServerConnection::new(config).unwrap();
        let mut stream = rustls::StreamOwned::new(connection, listener.accept().unwrap().0);
        let _ = stream.read(&mut [0; 4096]).unwrap();
        stream.write_all(b"HTTP/1.1 200 OK\r\n\r\nok").unwrap();
        std::io::copy(&mut stream, &mut std::io::sink()).ok();
    });
    let origin = Origin::builder().root_certificates_pem(authority.certificate).build().unwrap();
    let url = format!("https://localhost:{}/", server.address().port());
    let token = Cancellation::new();
    let mut body = ask(&origin, &url, token.clone()).unwrap().into_body();
    body.read_exact(&mut [0; 2]).unwrap();
    let waiting = thread::spawn(move || failure_of(body).1);
    token.cancel();
    assert_eq!(waiting.join().unwrap().kind(), ErrorKind::Cancelled);
    server.finish();
}

#[test]
fn deadline_covers_the_body_unless_it_is_for_the_head() {
    const SLOW: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\nslow";
    let (server, _) = stalling(SLOW);
    let begun = Instant::now();
    let body = ask(&Origin::new(), &server.url(), Deadline::within(SHORT)).unwrap().into_body();
    let (bytes, error) = failure_of(body);
    assert_eq!((&bytes[..], error.kind()), (&b"slow"[..], ErrorKind::Timeout), "{error}");
    assert!((SHORT..SHORT + SOON).contains(&begun.elapsed()));
    server.finish();

    let (server, _) = stalling(SLOW);
    let origin = Origin::builder().read_timeout(3 * SHORT).build().unwrap();
    let begun = Instant::now();
    let body = ask(&origin, &server.url(), Deadline::within(SHORT).for_head()).unwrap().into_body();
    assert_eq!(failure_of(body).1.kind(), ErrorKind::Timeout);
    assert!(begun.elapsed() >= 3 * SHORT);
    server.finish();
}

#[test]
fn slow_bytes_do_not_extend_a_deadline() {
    let server = ScriptedOrigin::new(|listener| {
        let mut connection = accept(listener);
        connection.receive();
        connection.send(b"HTTP/1.1 200 OK\r\nX: ");
        let begun = Instant::now();
        while begun.elapsed() < 20 * SHORT && connection.try_send(b"x").is_ok() {
            thread::park_timeout(SHORT / 10);
        }
    });
    let origin = Origin::builder().response_timeout(SHORT).build().unwrap();
    let begun = Instant::now();
    assert_eq!(get(&origin, &server.url()).unwrap_err().kind(), ErrorKind::Timeout);
    assert!(begun.elapsed() < SHORT + SOON);
    server.finish();
}

#[test]
fn silence_limit_depends_on_the_content_type() {
    let origin = Origin::builder().read_timeout(SHORT).stream_timeout(3 * SHORT).build().unwrap();
    for (answer, limit) in [
        (&b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n\r\n"[..], SHORT),
        (b"HTTP/1.1 200 OK\r\nContent-Type: text/Event-Stream; charset=utf-8\r\n\r\n", 3 * SHORT),
    ] {
        let (server, _) = stalling(answer);
        let body = get(&origin, &server.url()).unwrap().into_body();
        let begun = Instant::now();
        assert_eq!(failure_of(body).1.kind(), ErrorKind::Timeout);
        assert!(begun.elapsed() >= limit && (limit > SHORT || begun.elapsed() < 3 * SHORT));
        server.finish();
    }
}

#[test]
fn whole_timeout_covers_the_body() {
    let (server, _) = stalling(b"HTTP/1.1 200 OK\r\n\r\n");
    let origin = Origin::builder().whole_timeout(SHORT).build().unwrap();
    let body = get(&origin, &server.url()).unwrap().into_body();
    assert_eq!(failure_of(body).1.kind(), ErrorKind::Timeout);
    server.finish();
}

/// Starts an origin that serves any number of connections. Returns its URL and the number of connections.
fn counting() -> (String, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    let count = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&count);
    thread::spawn(move || {
        for socket in listener.incoming() {
            counted.fetch_add(1, Ordering::SeqCst);
            let mut socket = socket.unwrap();
            thread::spawn(move || {
                let mut request = [0; 1024];
                // A request is short enough to arrive in one read.
                while socket.read(&mut request).is_ok_and(|count| count > 0) {
                    socket.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").unwrap();
                }
            });
        }
    });
    (url, count)
}

#[test]
fn all_concurrently_used_connections_are_kept() {
    const AT_A_TIME: usize = 64;
    let (url, count) = counting();
    let origin = Origin::new();
    for _ in 0..2 {
        let (all_are_there, url, origin) = (Barrier::new(AT_A_TIME), &url, &origin);
        thread::scope(|scope| {
            for _ in 0..AT_A_TIME {
                scope.spawn(|| {
                    let body = get(origin, url).unwrap().into_body();
                    // No thread returns its connection before all threads have one.
                    all_are_there.wait();
                    assert_eq!(body.into_text().unwrap(), "ok");
                });
            }
        });
    }
    let made = count.load(Ordering::SeqCst);
    assert!((AT_A_TIME..AT_A_TIME + 4).contains(&made), "{made}");
}

#[test]
fn head_limits_are_enforced() {
    let fields = |count: usize| {
        let lines: String = (0..count).map(|number| format!("X-{number}: 1\r\n")).collect();
        format!("HTTP/1.1 200 OK\r\n{lines}Content-Length : 2\r\n\r\nok")
    };
    let answered = |origin: &Origin, answer: String| {
        let server = ScriptedOrigin::answering(answer);
        let answer = get(origin, &server.url());
        server.finish();
        answer
    };
    let response = answered(&Origin::new(), fields(200)).unwrap();
    assert_eq!((response.headers().len(), response.body().length()), (201, Some(2)));
    assert_eq!(response.into_body().into_text().unwrap(), "ok");
    let strict = Origin::builder().max_fields(100).build().unwrap();
    assert_eq!(answered(&strict, fields(100)).unwrap_err().kind(), ErrorKind::BadResponse);
    let strict = Origin::builder().max_head(500).build().unwrap();
    assert_eq!(answered(&strict, fields(100)).unwrap_err().kind(), ErrorKind::BadResponse);
}

#[cfg(feature = "peer")]
#[test]
fn begun_request_is_not_sent_again_and_its_response_is_read_to_the_end() {
    use crate::origin::{Begun, BegunConnection};
    let server = ScriptedOrigin::new(|listener| {
        let mut connection = accept(listener);
        let line = connection.receive().line;
        connection.send(b"th: 11\r\n\r\nhello");
        connection.send(b" world");
        // The connection is used for the next request.
        (line, connection.receive().line)
    });
    let mut socket = std::net::TcpStream::connect(server.address()).unwrap();
    socket.write_all(b"GET /begun HTTP/1.1\r\nhost: a\r\n\r\n").unwrap();
    let begun = Begun::new(&server.address().to_string());
    begun.put(BegunConnection { socket, received: b"HTTP/1.1 200 OK\r\ncontent-leng".into() });
    let origin = Origin::new();
    // A request to another authority leaves the connection alone.
    let other = ScriptedOrigin::answering("HTTP/1.1 204 No Content\r\n\r\n");
    assert_eq!(ask(&origin, &other.url(), begun.clone()).unwrap().status(), 204);
    let response = ask(&origin, &server.url(), begun.clone()).unwrap();
    assert_eq!(response.into_body().into_text().unwrap(), "hello world");
    assert!(ask(&origin, &server.url(), begun).is_err());
    let (first, second) = server.finish();
    assert_eq!((first.as_str(), second.as_str()), ("GET /begun HTTP/1.1", "GET /a?b=c HTTP/1.1"));
    other.finish();
}
