use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::sync::mpsc;
use std::time::Duration;

use forwardcache::Body;
use forwardcache::server::{
    AccessLog, AccessRecord, RemoteAddress, Server, ServerConfig, ServerHandle, ServerTls,
};
use http::{Request, Response};

use super::{exchange, get};
use crate::processes::PeerProcess;
use crate::support::origin::{Origin, Reply};
use crate::support::raw::Connection;
use crate::support::tls::Authority;

const HEADER: &str = "PROXY TCP4 192.0.2.7 10.0.0.1 40000 80\r\n";
const REQUEST: &str = "GET /a HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";

/// Returns a header of version 2.
fn v2(command: u8, client: [u8; 4]) -> Vec<u8> {
    let [a, b, c, d] = client;
    [b"\r\n\r\n\0\r\nQUIT\n", &[command, 0x11, 0, 12, a, b, c, d, 10, 0, 0, 1, 0x9C, 0x40, 0, 80][..]]
        .concat()
}

/// Starts a server that responds with the client's address.
fn start(options: ServerConfig) -> ServerHandle {
    let handler = |request: Request<Body>| {
        let RemoteAddress(address) = request.extensions().get().unwrap();
        Response::new(Body::from(address.to_string()))
    };
    Server::bind("127.0.0.1:0", options, handler).unwrap()
}

fn trusting(proxies: &str) -> ServerConfig {
    ServerConfig::new().proxy_protocol_from(proxies.parse().unwrap())
}

#[derive(Debug)]
struct Clients(mpsc::Sender<SocketAddr>);

impl AccessLog for Clients {
    fn log(&self, record: &AccessRecord<'_>) {
        self.0.send(record.remote).unwrap();
    }
}

#[test]
fn handler_and_log_know_the_client_that_a_proxy_names() {
    let (send, logged) = mpsc::channel();
    let server = start(trusting("127.0.0.1").access_log(Clients(send)));
    let connect = || TcpStream::connect(server.local_addr()).unwrap();
    for (header, client) in [
        (HEADER.as_bytes().to_vec(), "192.0.2.7:40000"),
        (b"PROXY TCP6 2001:db8::7 ::1 40000 80\r\n".to_vec(), "[2001:db8::7]:40000"),
        (v2(0x21, [192, 0, 2, 7]), "192.0.2.7:40000"),
    ] {
        let response = exchange(connect(), [&header, REQUEST.as_bytes()].concat());
        assert!(response.ends_with(&format!("\r\n\r\n{client}")), "{response}");
        assert_eq!(logged.recv().unwrap(), client.parse().unwrap());
    }
    // The proxy's own connections keep its address.
    for header in [v2(0x20, [192, 0, 2, 7]), b"PROXY UNKNOWN\r\n".to_vec()] {
        let response = exchange(connect(), [&header, REQUEST.as_bytes()].concat());
        assert!(response.contains("\r\n\r\n127.0.0.1:"), "{response}");
    }
    // The header may arrive byte by byte.
    let mut connection = Connection::open(server.local_addr());
    for byte in HEADER.bytes().chain(REQUEST.bytes()) {
        connection.write([byte]);
    }
    assert_eq!(connection.read_response().body, b"192.0.2.7:40000");
}

#[test]
fn a_proxy_must_send_a_header_and_others_must_not() {
    let server = start(trusting("127.0.0.2"));
    let refused = exchange(TcpStream::connect(server.local_addr()).unwrap(), [HEADER, REQUEST].concat());
    assert!(refused.starts_with("HTTP/1.1 400 "), "{refused}");
    let refused = exchange(
        TcpStream::connect(server.local_addr()).unwrap(),
        [v2(0x21, [192, 0, 2, 7]), REQUEST.into()].concat(),
    );
    assert!(refused.starts_with("HTTP/1.1 400 "), "{refused}");
    let plain = exchange(TcpStream::connect(server.local_addr()).unwrap(), REQUEST);
    assert!(plain.contains("\r\n\r\n127.0.0.1:"), "{plain}");
    let from_proxy = |bytes: &[u8]| {
        let mut connection = Connection::open_from(Ipv4Addr::new(127, 0, 0, 2), server.local_addr());
        connection.write(bytes);
        connection.read_to_end()
    };
    assert!(
        String::from_utf8(from_proxy([HEADER, REQUEST].concat().as_bytes()))
            .unwrap()
            .ends_with("192.0.2.7:40000")
    );
    assert_eq!(from_proxy(REQUEST.as_bytes()), b"", "a proxy without a header is cut off");
    assert_eq!(from_proxy(b"PROXY TCP4 bad\r\n"), b"");
    let endless = [b"PROXY UNKNOWN ".to_vec(), vec![b'x'; 4096]].concat();
    assert_eq!(from_proxy(&endless), b"");
}

#[test]
fn a_late_header_ends_the_connection() {
    let server = start(trusting("127.0.0.1").handshake_timeout(Duration::from_millis(200)));
    let mut connection = Connection::open(server.local_addr());
    connection.write(&HEADER[..HEADER.len() - 1]);
    assert_eq!(connection.read_to_end(), b"");
    let mut silent = Connection::open(server.local_addr());
    assert_eq!(silent.read_to_end(), b"");
}

#[test]
fn connections_count_for_the_client_behind_the_proxy() {
    let server = start(trusting("127.0.0.1").max_connections_per_address(2));
    let open = |client: &str| {
        let mut connection = Connection::open(server.local_addr());
        connection.write(format!("PROXY TCP4 {client} 10.0.0.1 1 80\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n"));
        connection
    };
    let mut held: Vec<_> = ["192.0.2.1", "192.0.2.1", "192.0.2.2", "192.0.2.3"].map(open).into();
    assert!(held.iter_mut().all(|connection| connection.read_response().status == 200));
    assert_eq!(open("192.0.2.1").read_to_end(), b"", "the client has two connections");
    assert_eq!(open("192.0.2.2").read_response().status, 200);
}

#[test]
fn tls_follows_the_header() {
    let authority = Authority::new();
    let tls = ServerTls::from_files(authority.server_file(), authority.server_file()).unwrap();
    let server = start(trusting("127.0.0.1").tls(tls));
    let mut socket = TcpStream::connect(server.local_addr()).unwrap();
    std::io::Write::write_all(&mut socket, HEADER.as_bytes()).unwrap();
    let stream = rustls::StreamOwned::new(authority.client("localhost"), socket);
    let response = exchange(stream, REQUEST);
    assert!(response.ends_with("192.0.2.7:40000"), "{response}");
}

#[test]
fn clients_behind_a_proxy_are_not_programs_of_this_machine() {
    let origin = Origin::start(|_| Reply::ok("content").field("Cache-Control", "max-age=60"));
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("log");
    let options = [
        "--proxy-protocol-from",
        "127.0.0.1",
        "--allow-anyone",
        "--origins",
        "any",
        "--http-proxy",
        "--access-log",
        log.to_str().unwrap(),
    ];
    let peer = PeerProcess::start_as("127.0.0.1:0", &options);
    let send =
        |request: String| exchange(TcpStream::connect(peer.address).unwrap(), [HEADER, &request].concat());
    assert!(send(get(&origin.url("/a"))).starts_with("HTTP/1.1 200 "));
    let refused = send(get(&origin.url("/a")).replacen("GET", "PURGE", 1));
    assert!(refused.starts_with("HTTP/1.1 403 "), "{refused}");
    crate::support::wait_until("the request is never logged", || {
        std::fs::read_to_string(&log).is_ok_and(|text| text.starts_with("192.0.2.7 - - ["))
    });
    // A loopback address is that of the proxy's own machine.
    let url = origin.url("/a");
    for header in ["PROXY UNKNOWN\r\n", "PROXY TCP4 127.0.0.1 10.0.0.1 40000 80\r\n"] {
        for target in [&url, &format!("/fetch/{url}")] {
            let request =
                format!("{header}GET {target} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n");
            let refused = exchange(TcpStream::connect(peer.address).unwrap(), request);
            assert!(refused.starts_with("HTTP/1.1 403 "), "{header:?} {target}: {refused}");
        }
    }
}
