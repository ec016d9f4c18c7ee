//! Workers, queues, and the shutdown.

use std::io::{self, Read};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, unbounded};
use http::{Method, Request, Response, StatusCode};

use super::super::TinyHttpServer;
use super::{Client, echo, serve, serve_with};
use crate::base::error::ErrorKind;
use crate::message::body::Body;
use crate::server::{Handler, ServerConfig};

/// A handler that reports when it starts, and returns when it is released.
fn gated() -> (impl Handler, Receiver<()>, Sender<()>) {
    let (begun, has_begun) = unbounded();
    let (go_on, may_go_on) = unbounded::<()>();
    let handler = move |_: Request<Body>| {
        begun.send(()).unwrap();
        // Dropping the sender releases the handler.
        let _ = may_go_on.recv();
        Response::new(Body::from("done"))
    };
    (handler, has_begun, go_on)
}

#[test]
fn a_panic_ends_only_one_request() {
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
        serve_with(ServerConfig::new().workers(1), |request: Request<Body>| match request.uri().path() {
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
fn a_request_that_finds_the_queue_full_gets_503_with_retry_after() {
    let (handler, has_begun, go_on) = gated();
    let serving = serve_with(ServerConfig::new().workers(1).queue_length(1), handler);
    let mut first = Client::of(&serving);
    first.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    has_begun.recv().unwrap();

    // The worker is busy. Of two more requests one is queued and the other is rejected, in either order.
    let (answers, answered) = unbounded();
    let address = serving.local_addr();
    for _ in 0..2 {
        let answers = answers.clone();
        std::thread::spawn(move || answers.send(Client::connect(address).get("/")).unwrap());
    }
    let rejected = answered.recv().unwrap();
    assert_eq!((rejected.status, rejected.field("retry-after")), (503, Some("1")));

    // Requests with a larger body have a queue of their own.
    let mut with_body = Client::of(&serving);
    with_body.send(format!("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2000\r\n\r\n{:2000}", ""));
    has_begun.recv().unwrap();
    drop(go_on);
    assert_eq!(with_body.answer(&Method::POST).text(), "done");
    assert_eq!(first.answer(&Method::GET).text(), "done");
    assert_eq!(answered.recv().unwrap().text(), "done");
}

#[test]
fn a_missing_body_does_not_delay_requests_without_one() {
    let serving = serve_with(ServerConfig::new().workers(1), echo);
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
fn a_client_that_does_not_read_frees_its_worker_after_the_timeout() {
    let options = ServerConfig::new().workers(1).write_timeout(Duration::from_millis(200));
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
fn a_shutdown_completes_requests_in_progress_and_stops_accepting() {
    let (handler, has_begun, go_on) = gated();
    let options = ServerConfig::new().workers(1).drain_deadline(Duration::from_secs(3600));
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
fn at_the_drain_deadline_queued_requests_get_503_and_join_returns() {
    let (handler, has_begun, go_on) = gated();
    let options = ServerConfig::new().workers(1).queue_length(2).drain_deadline(Duration::ZERO);
    let serving = serve_with(options, handler);
    let mut clients: Vec<_> = (0..3).map(|_| Client::of(&serving)).collect();
    clients[0].send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    has_begun.recv().unwrap();
    clients[1].send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    clients[2].send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");

    // The handler has not been released; dropping the handle returns nevertheless.
    drop(serving);
    drop(go_on);
    assert_eq!(clients[0].answer(&Method::GET).text(), "done");
    assert_eq!(clients[1].answer(&Method::GET).status, 503);
    assert_eq!(clients[2].answer(&Method::GET).status, 503);
}

#[test]
fn a_shutdown_handle_ends_a_join_in_another_thread() {
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
    let serving = TinyHttpServer::bind(address, ServerConfig::new(), echo).unwrap();
    assert_eq!(Client::of(&serving).get("/again").text(), "GET /again ");
}

#[test]
fn the_error_for_a_port_in_use_names_the_address() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    let error = TinyHttpServer::bind(address, ServerConfig::new(), echo).err().unwrap();
    assert_eq!(error.kind(), ErrorKind::Listen);
    assert!(error.to_string().contains(&address.to_string()), "{error}");
}

#[test]
fn the_handler_is_dropped_after_the_server_has_ended() {
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
