use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};

use forwardcache::origin::OriginRules;
use forwardcache::pool::Tokens;
use forwardcache::server::ServerConfig;

use super::{Proxy, hello, open, request, start_echo};
use crate::local::LocalPeer;
use crate::support::raw::exchange;
use crate::support::wait_until;

/// Returns the status of the response to a CONNECT request.
fn status(proxy: &Proxy, target: &str, fields: &str) -> u16 {
    let (_, head) = request(proxy.address(), target, fields);
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok());
    status.unwrap_or_else(|| panic!("{target}: {head:?}"))
}

#[test]
fn requests_are_refused_by_port_credential_and_form() {
    let echo = start_echo();
    let proxy = Proxy::start(&[echo.port()]);
    let target = format!("localhost:{}", echo.port());
    assert_eq!(status(&proxy, &target, ""), 200);
    assert_eq!(status(&proxy, "localhost:1", ""), 403);
    assert_eq!(status(&proxy, "localhost:443", ""), 403, "only the listed ports");
    assert_eq!(status(&proxy, &target, "Content-Length: 5\r\n"), 400);
    assert_eq!(status(&proxy, &target, "Content-Length: 0\r\n"), 200);
    assert_eq!(status(&proxy, &target, "Transfer-Encoding: chunked\r\n"), 400);
    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let unreachable = Proxy::start(&[closed.port()]);
    assert_eq!(status(&unreachable, &closed.to_string(), ""), 502);
    assert_eq!(status(&unreachable, &format!("no-such-host.invalid:{}", closed.port()), ""), 502);
    assert_eq!(unreachable.metric("tunnels_rejected_total{reason=\"unreachable\"}"), 2);

    let tokens = Tokens::new(["correct-horse-battery"]).unwrap();
    let closed = Proxy::start_with(&[echo.port()], ServerConfig::new(), |builder| builder.tokens(tokens));
    assert_eq!(status(&closed, &target, ""), 407);
    assert_eq!(status(&closed, &target, "Proxy-Authorization: Bearer wrong-horse-battery\r\n"), 407);
    assert_eq!(status(&closed, &target, "Authorization: Bearer correct-horse-battery\r\n"), 407);
    assert_eq!(status(&closed, &target, "Proxy-Authorization: Bearer correct-horse-battery\r\n"), 200);
    let basic = "Proxy-Authorization: Basic eDpjb3JyZWN0LWhvcnNlLWJhdHRlcnk=\r\n";
    assert_eq!(status(&closed, &target, basic), 200);
    assert_eq!(closed.metric("tunnels_rejected_total{reason=\"unauthorized\"}"), 3);

    // Without the option, a peer is no proxy.
    let peer = LocalPeer::start();
    let answer = exchange(peer.address(), format!("CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n\r\n"));
    assert!(answer.starts_with(b"HTTP/1.1 405 "), "{}", answer.escape_ascii());
}

#[test]
fn own_and_forbidden_addresses_are_refused_by_name_and_literal() {
    let admin = TcpListener::bind("127.0.0.1:0").unwrap();
    let other = TcpListener::bind("127.0.0.1:0").unwrap();
    let (admin_port, other_port) = (admin.local_addr().unwrap().port(), other.local_addr().unwrap().port());
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let own = listener.local_addr().unwrap();
    let pool = [format!("http://{own}"), format!("http://127.0.0.1:{other_port}")];
    let builder = forwardcache::Peer::builder(&pool[0]).pool(pool.clone());
    let peer = builder.connect_ports([own.port(), admin_port, other_port, 443]).build().unwrap();
    let server = peer.serve_on(listener, ServerConfig::new().http_proxy(true)).unwrap();
    let _admin = peer.serve_admin_on(admin, ServerConfig::new().io_threads(1)).unwrap();
    let proxy = Proxy { peer, server };
    for port in [own.port(), admin_port, other_port] {
        for host in ["127.0.0.1", "localhost", "[::ffff:127.0.0.1]", "0.0.0.0"] {
            let got = status(&proxy, &format!("{host}:{port}"), "");
            assert!(matches!(got, 403 | 508), "{host}:{port}: {got}");
        }
    }
    // The member may be bound to all addresses of this machine.
    for host in ["127.0.0.2", "127.255.0.1", "[::1]", "[::ffff:127.0.0.2]"] {
        assert_eq!(status(&proxy, &format!("{host}:{other_port}"), ""), 508, "{host}");
    }
    for metadata in ["169.254.169.254:443", "[fd00:ec2::254]:443", "[::ffff:169.254.169.254]:443"] {
        assert_eq!(status(&proxy, metadata, ""), 403, "{metadata}");
    }
    let echo = start_echo();
    let public = Proxy::start_with(&[echo.port()], ServerConfig::new(), |builder| {
        builder.origins(OriginRules::public())
    });
    for host in ["127.0.0.1", "localhost", "10.0.0.1", "[::1]", "192.168.0.1", "0.0.0.0"] {
        assert_eq!(status(&public, &format!("{host}:{}", echo.port()), ""), 403, "{host}");
    }
    let refused = public.metric("tunnels_rejected_total{reason=\"forbidden\"}");
    assert_eq!(refused, 6);
}

#[test]
fn only_tls_for_the_host_of_the_request_passes() {
    let echo = start_echo();
    let proxy = Proxy::start(&[echo.port()]);
    let open = |host: &str| open(proxy.address(), &format!("{host}:{}", echo.port()));
    let send = |host: &str, bytes: &[u8]| {
        let mut socket = open(host);
        let _ = socket.write_all(bytes);
        let mut back = [0; 16];
        matches!(socket.read(&mut back), Ok(1..))
    };
    assert!(send("localhost", &hello("localhost")));
    assert!(send("127.0.0.1", &hello("127.0.0.1")), "an address needs no name");
    assert!(send("localhost", &hello("127.0.0.1")), "a client without SNI");
    assert!(!send("localhost", &hello("other.example")));
    assert!(!send("127.0.0.1", &hello("localhost")));
    assert_eq!(proxy.metric("tunnels_rejected_total{reason=\"wrong_name\"}"), 2);
    let mut half = hello("localhost");
    half.truncate(100);
    let mut socket = open("localhost");
    socket.write_all(&half).unwrap();
    socket.shutdown(std::net::Shutdown::Write).unwrap();
    assert!(!matches!(socket.read(&mut [0; 16]), Ok(1..)));
    for bytes in [
        b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n".as_slice(),
        b"SSH-2.0-client\r\n",
        b"EHLO localhost\r\n",
        b"\x16\x03\x01\x00\x00",
        b"\x16\x03\x01\xff\xff",
        b"\x15\x03\x01\x00\x02\x01\x00",
        b"\x00",
    ] {
        assert!(!send("localhost", bytes), "{}", bytes.escape_ascii());
    }
    assert_eq!(proxy.metric("tunnels_rejected_total{reason=\"not_tls\"}"), 8);
    wait_until("a tunnel stays open", || proxy.metric("tunnels_open") == 0);
}

#[test]
fn a_tunnel_carries_nothing_before_the_hello() {
    let server = super::start_server(|mut socket| {
        let _ = socket.write_all(b"220 greeting\r\n");
        let _ = socket.read(&mut [0; 16]);
    });
    let proxy = Proxy::start(&[server.port()]);
    let mut socket = open(proxy.address(), &format!("localhost:{}", server.port()));
    socket.set_read_timeout(Some(std::time::Duration::from_millis(300))).unwrap();
    assert!(socket.read(&mut [0; 16]).is_err(), "a greeting does not pass");
}

#[test]
fn bad_requests_are_refused_and_leave_the_proxy_working() {
    let echo = start_echo();
    let port = echo.port();
    // The ports are allowed, so that only the form of the target is a reason to refuse it.
    let proxy = Proxy::start(&[port, 443]);
    let targets = [
        "",
        "localhost",
        "localhost:",
        "localhost:0",
        "localhost:00",
        "localhost:65536",
        "localhost:-1",
        "localhost:+443",
        "localhost:443:443",
        ":443",
        "/",
        "/localhost:443",
        "*",
        "http://localhost:443",
        "https://localhost:443/",
        "localhost:443/",
        "localhost:443/path",
        "localhost:443?query",
        "localhost:443#fragment",
        "user@localhost:443",
        "user:password@localhost:443",
        "local host:443",
        "localhost:4 43",
        "[::1",
        "[::1]",
        "::1:443",
        "[::1]443",
        "[]:443",
        "[localhost]:443",
        "[::1%25lo]:443",
        "127.1:443",
        "0x7f.1:443",
        "0177.0.0.1:443",
        "2130706433:443",
        "%6cocalhost:443",
        "localhost%00:443",
        "localhost\\:443",
        "<localhost>:443",
        "localhost..:443",
        "local[host:443",
        "..:443",
        "localhost%:443",
        "\u{e9}.example:443",
        "localhost:443,other:443",
        "localhost;443",
        "localhost\t:443",
        "a\x00b:443",
        "a\x7f:443",
        "localhost:99999999999999999999",
        "localhost:https",
    ];
    assert_eq!(targets.len(), 50);
    for target in targets {
        let answer = exchange(proxy.address(), format!("CONNECT {target} HTTP/1.1\r\nHost: a\r\n\r\n"));
        let is_refused = answer.starts_with(b"HTTP/1.1 400 ");
        assert!(is_refused, "{target:?}: {}", answer.escape_ascii());
    }
    let long = format!("{}.example:{port}", "a".repeat(300));
    let answer = exchange(proxy.address(), format!("CONNECT {long} HTTP/1.1\r\nHost: a\r\n\r\n"));
    assert!(!answer.starts_with(b"HTTP/1.1 200"), "{}", answer.escape_ascii());
    let mut socket = open(proxy.address(), &format!("localhost:{port}"));
    let hello = hello("localhost");
    socket.write_all(&hello).unwrap();
    socket.read_exact(&mut vec![0; hello.len()]).unwrap();
    drop::<TcpStream>(socket);
}
