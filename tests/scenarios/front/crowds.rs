//! Too many connections, requests, file descriptors.

use std::net::{SocketAddr, TcpStream};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use forwardcache::{Body, FrontOptions};
use http::{Request, Response};

use super::{Noting, front, still_serves};
use crate::support::origin::Gate;
use crate::support::process::Process;
use crate::support::raw::Connection;
use crate::support::{PATIENCE, wait_until};

const GET: &str = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";

#[test]
fn ten_thousand_connections_that_come_and_go_leave_nothing_behind() {
    let front = Noting::start();
    for _ in 0..10_000 {
        drop(TcpStream::connect(front.address()).unwrap());
    }
    front.still_serves();
}

#[test]
fn ten_thousand_requests_at_once_are_worked_on_as_they_are_read() {
    const REQUESTS: usize = 10_000;
    let handled = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&handled);
    let serving = front(FrontOptions::new(), move |request: Request<Body>| {
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
        // Others are served meanwhile, and it is held back: 160 MB would have to be somewhere.
        for _ in 0..100 {
            still_serves(serving.local_addr());
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
fn a_connection_too_many_is_told_so_and_makes_room_when_another_ends() {
    for options in
        [FrontOptions::new().max_connections(2), FrontOptions::new().max_connections_per_address(2)]
    {
        let front = Noting::start_with(options);
        let mut held: Vec<Connection> = (0..2)
            .map(|_| {
                let mut connection = front.connect();
                connection.write(GET);
                assert_eq!(connection.read_response().status, 200);
                connection
            })
            .collect();
        let mut another = front.connect();
        let refused = another.read_response();
        assert_eq!((refused.status, refused.field("retry-after")), (503, Some("1")));
        assert_eq!(refused.field("forwardcache-error"), Some("unavailable"));
        assert!(another.read_to_end().is_empty());
        held.pop();
        // The front learns of the end in its own time.
        wait_until("there is room and nobody is let in", || {
            TcpStream::connect(front.address()).is_ok_and(|socket| is_served(&socket))
        });
        held[0].write(GET);
        assert_eq!(held[0].read_response().status, 200);
    }
}

/// Whether a request on this connection is answered with anything but 503.
fn is_served(mut socket: &TcpStream) -> bool {
    use std::io::{Read, Write};
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut answer = [0; 12];
    let asked = socket.write_all(GET.as_bytes()).and_then(|()| socket.read_exact(&mut answer));
    asked.is_ok() && !answer.ends_with(b"503")
}

#[test]
fn requests_too_many_are_turned_away_and_the_others_answered() {
    let (gate, begun) = (Gate::new(), Gate::new());
    let (waits, begins) = (gate.clone(), begun.clone());
    let options = FrontOptions::new().workers(1).queue_length(1).io_threads(1);
    let serving = front(options, move |_: Request<Body>| {
        begins.open();
        waits.wait();
        Response::new(Body::from("done"))
    });
    let asked = || {
        let mut connection = Connection::open(serving.local_addr());
        connection.write(GET);
        connection
    };
    let mut first = asked();
    begun.wait();
    let mut others: Vec<Connection> = (0..5).map(|_| asked()).collect();
    // Of these one waits, and four are told not to: the gate opens when those have been.
    let turned_away = |connection: &mut Connection| {
        let response = connection.read_response();
        let retry = response.field("retry-after").map(str::to_owned);
        assert_eq!(response.status == 503, retry.as_deref() == Some("1"));
        response.status == 503
    };
    let waiting = {
        let mut last = asked();
        assert!(turned_away(&mut last));
        last.write(GET);
        assert!(turned_away(&mut last), "its connection stays");
        gate.open();
        others.iter_mut().map(turned_away).filter(|is_turned_away| !is_turned_away).count()
    };
    assert_eq!(waiting, 1);
    assert_eq!(first.read_response().body, b"done");
}

/// The command, where so many files may be open at first, and so many when it asks for more.
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
fn the_limit_of_open_files_is_raised_and_connections_keep_to_it() {
    let process = serve_with_open_files(30, 100, "");
    process.wait_for_line("this process may open 100 files, not 30");
    // Of a hundred files half are for the fetches of as many threads, and a quarter for others.
    process.wait_for_line("25 connections at most, not 16384");
    let address = address_of(&process);
    let many: Vec<TcpStream> = (0..30).map(|_| TcpStream::connect(address).unwrap()).collect();
    let served = many.iter().filter(|socket| is_served(socket)).count();
    assert_eq!(served, 25);
    drop(many);
    wait_until("it does not serve again", || {
        TcpStream::connect(address).is_ok_and(|socket| is_served(&socket))
    });
    assert!(!process.stderr().contains("no connection can be accepted"), "{}", process.stderr());
}

#[test]
fn a_process_without_file_descriptors_lives_and_serves_again() {
    // It finds twenty files open that it knows nothing of.
    let process =
        serve_with_open_files(40, 40, "for file in {10..29}; do eval \"exec $file</dev/null\"; done;");
    let address = address_of(&process);
    still_serves(address);
    let many: Vec<TcpStream> = (0..100).map(|_| TcpStream::connect(address).unwrap()).collect();
    process.wait_for_line("no connection can be accepted");
    drop(many);
    wait_until("it does not serve again", || {
        TcpStream::connect(address).is_ok_and(|socket| is_served(&socket))
    });
    still_serves(address);
}
