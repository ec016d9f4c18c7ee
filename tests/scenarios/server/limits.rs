//! Too many connections, requests, file descriptors.

use std::net::{SocketAddr, TcpStream};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use forwardcache::Body;
use forwardcache::server::ServerConfig;
use http::{Request, Response};

use super::{RecordingServer, assert_still_serves, start_server};
use crate::support::origin::Gate;
use crate::support::process::Process;
use crate::support::raw::Connection;
use crate::support::{TEST_TIMEOUT, wait_until};

const GET: &str = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";

#[test]
fn ten_thousand_short_connections_leave_the_server_working() {
    let server = RecordingServer::start();
    for _ in 0..10_000 {
        drop(TcpStream::connect(server.address()).unwrap());
    }
    server.assert_still_serves();
}

#[test]
fn pipelined_requests_are_handled_as_responses_are_read() {
    const REQUESTS: usize = 10_000;
    let handled = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&handled);
    let serving = start_server(ServerConfig::new(), move |request: Request<Body>| {
        counter.fetch_add(1, Ordering::Relaxed);
        let mut body = request.uri().path().as_bytes().to_vec();
        body.resize(16 << 10, b' ');
        Response::new(Body::from(body))
    });
    let mut connection = Connection::open(serving.local_addr());
    let writing = connection.try_clone();
    std::thread::scope(|scope| {
        scope.spawn(move || {
            let mut writing = writing;
            for number in 0..REQUESTS {
                writing.write(format!("GET /{number} HTTP/1.1\r\nHost: a\r\n\r\n"));
            }
        });
        // Meanwhile the server serves other clients and reads this connection slowly: all responses would take 160
        // MB.
        for _ in 0..100 {
            assert_still_serves(serving.local_addr());
        }
        assert!(handled.load(Ordering::Relaxed) < REQUESTS);
        for number in 0..REQUESTS {
            let response = connection.read_response();
            let path = format!("/{number} ");
            assert!(response.body.starts_with(path.as_bytes()), "{number}");
        }
    });
}

#[test]
fn connection_over_the_limit_gets_503() {
    for options in
        [ServerConfig::new().max_connections(2), ServerConfig::new().max_connections_per_address(2)]
    {
        let server = RecordingServer::start_with(options);
        let mut held: Vec<Connection> = (0..2)
            .map(|_| {
                let mut connection = server.connect();
                connection.write(GET);
                assert_eq!(connection.read_response().status, 200);
                connection
            })
            .collect();
        let mut another = server.connect();
        let rejected = another.read_response();
        assert_eq!((rejected.status, rejected.field("retry-after")), (503, Some("1")));
        assert_eq!(rejected.field("forwardcache-error"), Some("unavailable"));
        assert!(another.read_to_end().is_empty());
        held.pop();
        // The server notices the closed connection with a delay.
        wait_until("no connection is accepted although one has ended", || {
            TcpStream::connect(server.address()).is_ok_and(|socket| is_served(&socket))
        });
        held[0].write(GET);
        assert_eq!(held[0].read_response().status, 200);
    }
}

/// Returns whether a request on this connection gets a status other than 503.
fn is_served(mut socket: &TcpStream) -> bool {
    use std::io::{Read, Write};
    socket.set_read_timeout(Some(TEST_TIMEOUT)).unwrap();
    let mut answer = [0; 12];
    let sent = socket.write_all(GET.as_bytes()).and_then(|()| socket.read_exact(&mut answer));
    sent.is_ok() && !answer.ends_with(b"503")
}

#[test]
fn requests_over_the_queue_limit_get_503() {
    let (gate, started) = (Gate::new(), Gate::new());
    let (handler_gate, started_signal) = (gate.clone(), started.clone());
    let options = ServerConfig::new().workers(1).queue_length(1).io_threads(1);
    let serving = start_server(options, move |_: Request<Body>| {
        started_signal.open();
        handler_gate.wait();
        Response::new(Body::from("done"))
    });
    let send_request = || {
        let mut connection = Connection::open(serving.local_addr());
        connection.write(GET);
        connection
    };
    let mut first = send_request();
    started.wait();
    let mut others: Vec<Connection> = (0..5).map(|_| send_request()).collect();
    // One of these requests is queued, and four are rejected. The gate opens after the rejections.
    let is_rejected = |connection: &mut Connection| {
        let response = connection.read_response();
        let retry = response.field("retry-after").map(str::to_owned);
        assert_eq!(response.status == 503, retry.as_deref() == Some("1"));
        response.status == 503
    };
    let waiting = {
        let mut last = send_request();
        assert!(is_rejected(&mut last));
        last.write(GET);
        assert!(is_rejected(&mut last), "the connection stays open after a 503");
        gate.open();
        others.iter_mut().map(is_rejected).filter(|rejected| !rejected).count()
    };
    assert_eq!(waiting, 1);
    assert_eq!(first.read_response().body, b"done");
}

/// Starts the command with these soft and hard limits of open files, after running `before` in the shell.
fn serve_with_open_files(soft: u32, hard: u32, before: &str) -> Process {
    let program = crate::support::process::command::<&str>([]).get_program().to_owned();
    let limits = format!("ulimit -Sn {soft}; ulimit -Hn {hard}");
    let serve = format!("{limits}; {before} exec {} -v serve --listen 127.0.0.1:0", program.display());
    let mut command = Command::new("bash");
    command.args(["-c", &serve]);
    Process::start(command).unwrap()
}

fn address_of(process: &Process) -> SocketAddr {
    let line = process.wait_for_line("serving on http://");
    line.split("http://").nth(1).unwrap().split(' ').next().unwrap().parse().unwrap()
}

#[test]
fn open_files_limit_is_raised_and_limits_connections() {
    let process = serve_with_open_files(30, 100, "");
    process.wait_for_line("raised the limit of open files from 30 to 100");
    // Half of the 100 files are reserved for the fetches of the worker threads, and a quarter for other uses.
    process.wait_for_line("permits 25 connections, not 16384");
    let address = address_of(&process);
    let many: Vec<TcpStream> = (0..30).map(|_| TcpStream::connect(address).unwrap()).collect();
    let served = many.iter().filter(|socket| is_served(socket)).count();
    assert_eq!(served, 25);
    drop(many);
    wait_until("the server does not recover", || {
        TcpStream::connect(address).is_ok_and(|socket| is_served(&socket))
    });
    assert!(!process.stderr().contains("cannot accept connections"), "{}", process.stderr());
}

#[test]
fn process_recovers_from_file_descriptor_exhaustion() {
    // The process inherits 20 open files that it does not account for.
    let process =
        serve_with_open_files(40, 40, "for file in {10..29}; do eval \"exec $file</dev/null\"; done;");
    let address = address_of(&process);
    assert_still_serves(address);
    let many: Vec<TcpStream> = (0..100).map(|_| TcpStream::connect(address).unwrap()).collect();
    process.wait_for_line("cannot accept connections");
    drop(many);
    wait_until("the server does not recover", || {
        TcpStream::connect(address).is_ok_and(|socket| is_served(&socket))
    });
    assert_still_serves(address);
}
