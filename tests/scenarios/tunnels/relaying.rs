use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use forwardcache::pool::Tokens;
use forwardcache::server::{ServerConfig, ServerTls};

use super::{Proxy, hello, open, read_head, start_echo, start_server};
use crate::processes::PeerProcess;
use crate::support::origin::Reply;
use crate::support::tls::{Authority, TlsOrigin, client};
use crate::support::wait_until;

#[test]
fn curl_reaches_an_https_origin_through_a_tunnel() {
    let origin = TlsOrigin::start(|received| Reply::ok(received.target.clone()));
    let port = origin.address().port();
    let folder = tempfile::tempdir().unwrap();
    let (token, log) = (folder.path().join("token"), folder.path().join("log"));
    std::fs::write(&token, "correct-horse-battery\n").unwrap();
    let options = [
        "--http-proxy",
        "--connect-ports",
        &format!("443,{port}"),
        "--token-file",
        token.to_str().unwrap(),
        "--access-log",
        log.to_str().unwrap(),
    ];
    let peer = PeerProcess::start_as("127.0.0.1:0", &options);
    let curl = |user: Option<&str>| {
        let mut curl = Command::new("curl");
        curl.args(["--silent", "--show-error", "--max-time", "20", "--noproxy", "", "--proxy", &peer.url()]);
        curl.arg("--cacert").arg(origin.ca_file());
        if let Some(user) = user {
            curl.args(["--proxy-user", user]);
        }
        curl.arg(origin.url_by_name("/a?b"));
        let output = curl.output().expect("curl is installed");
        (output.status.success(), [output.stdout, output.stderr].concat())
    };
    assert_eq!(curl(Some("any:correct-horse-battery")), (true, b"/a?b".to_vec()));
    let (succeeded, text) = curl(None);
    assert!(!succeeded && String::from_utf8_lossy(&text).contains("407"), "{text:?}");
    wait_until("the tunnel is never logged", || {
        std::fs::read_to_string(&log)
            .is_ok_and(|text| text.contains(&format!("\"CONNECT localhost:{port} HTTP\" 200 ")))
    });
}

#[test]
fn a_proxy_over_tls_opens_tunnels_too() {
    let origin = TlsOrigin::start(|_| Reply::ok("content"));
    let (authority, port) = (Authority::new(), origin.address().port());
    let tls = ServerTls::from_files(authority.server_file(), authority.server_file()).unwrap();
    let tokens = Tokens::new(["correct-horse-battery"]).unwrap();
    let proxy = Proxy::start_with(&[port], ServerConfig::new().tls(tls), |builder| builder.tokens(tokens));
    let mut outer =
        rustls::StreamOwned::new(authority.client("localhost"), TcpStream::connect(proxy.address()).unwrap());
    let fields = "Proxy-Authorization: Bearer correct-horse-battery\r\n";
    write!(outer, "CONNECT localhost:{port} HTTP/1.1\r\nHost: localhost:{port}\r\n{fields}\r\n").unwrap();
    let mut head = [0; 39];
    outer.read_exact(&mut head).unwrap();
    assert_eq!(head, *b"HTTP/1.1 200 Connection established\r\n\r\n");
    let mut inner = rustls::StreamOwned::new(client(origin.ca_file(), "localhost"), outer);
    inner.write_all(b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").unwrap();
    let mut response = String::new();
    inner.read_to_string(&mut response).unwrap();
    assert!(response.ends_with("content"), "{response}");
}

#[test]
fn bytes_that_follow_the_request_at_once_belong_to_the_tunnel() {
    let (echo, hello) = (start_echo(), hello("localhost"));
    let proxy = Proxy::start(&[echo.port()]);
    let mut socket = TcpStream::connect(proxy.address()).unwrap();
    let head = format!("CONNECT localhost:{0} HTTP/1.1\r\nHost: localhost:{0}\r\n\r\n", echo.port());
    socket.write_all(&[head.as_bytes(), &hello].concat()).unwrap();
    assert_eq!(read_head(&mut socket), "HTTP/1.1 200 Connection established\r\n\r\n");
    let mut back = vec![0; hello.len()];
    socket.read_exact(&mut back).unwrap();
    assert_eq!(back, hello);
}

#[test]
fn each_side_may_end_before_the_other() {
    let (echo, hello) = (start_echo(), hello("localhost"));
    let proxy = Proxy::start(&[echo.port()]);
    let mut socket = open(proxy.address(), &format!("localhost:{}", echo.port()));
    // The hello may arrive in pieces.
    for byte in &hello {
        socket.write_all(&[*byte]).unwrap();
    }
    let content: Vec<u8> = (0..3_000_000_u32).map(|number| (number % 251) as u8).collect();
    let mut writer = socket.try_clone().unwrap();
    let sent = content.clone();
    let writing = thread::spawn(move || {
        writer.write_all(&sent).unwrap();
        writer.shutdown(Shutdown::Write).unwrap();
    });
    let mut back = Vec::new();
    socket.read_to_end(&mut back).unwrap();
    writing.join().unwrap();
    assert!(back == [hello.clone(), content].concat(), "{} bytes came back", back.len());

    // The server ends first, and the client still sends.
    let (send, received) = std::sync::mpsc::channel();
    let early = start_server(move |mut socket| {
        socket.write_all(b"bye").unwrap();
        socket.shutdown(Shutdown::Write).unwrap();
        let mut all = Vec::new();
        socket.read_to_end(&mut all).unwrap();
        send.send(all.len()).unwrap();
    });
    let proxy = Proxy::start(&[early.port()]);
    let mut socket = open(proxy.address(), &format!("localhost:{}", early.port()));
    socket.write_all(&hello).unwrap();
    let mut bye = Vec::new();
    socket.read_to_end(&mut bye).unwrap();
    assert_eq!(bye, b"bye");
    socket.write_all(&[0; 1000]).unwrap();
    socket.shutdown(Shutdown::Write).unwrap();
    assert_eq!(received.recv().unwrap(), hello.len() + 1000);
    wait_until("the tunnel stays open", || proxy.metric("tunnels_open") == 0);
    assert_eq!(proxy.metric("tunnel_bytes_total{direction=\"to_client\"}"), 3);
    assert_eq!(proxy.metric("tunnel_bytes_total{direction=\"to_server\"}"), hello.len() as u64 + 1000);
}

#[test]
fn a_reset_is_passed_on() {
    let server = start_server(|mut socket| {
        let _ = socket.read(&mut [0; 64 << 10]);
        socket2::SockRef::from(&socket).set_linger(Some(Duration::ZERO)).unwrap();
    });
    let proxy = Proxy::start(&[server.port()]);
    let mut socket = open(proxy.address(), &format!("localhost:{}", server.port()));
    socket.write_all(&hello("localhost")).unwrap();
    let error = socket.read(&mut [0; 16]).unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
}

#[test]
fn a_silent_or_idle_tunnel_ends() {
    let echo = start_echo();
    let config = ServerConfig::new()
        .handshake_timeout(Duration::from_millis(200))
        .tunnel_idle_timeout(Duration::from_millis(400));
    let proxy = Proxy::start_with(&[echo.port()], config, |builder| builder);
    let target = format!("localhost:{}", echo.port());
    let mut silent = open(proxy.address(), &target);
    assert!(silent.read(&mut [0; 16]).is_err());
    assert_eq!(proxy.metric("tunnels_rejected_total{reason=\"not_tls\"}"), 1);
    let mut idle = open(proxy.address(), &target);
    idle.write_all(&hello("localhost")).unwrap();
    let started = Instant::now();
    while idle.read(&mut [0; 4096]).is_ok() {}
    assert!(started.elapsed() >= Duration::from_millis(400));
    wait_until("the tunnel stays open", || proxy.metric("tunnels_open") == 0);
}

#[test]
fn a_shutdown_leaves_tunnels_their_drain_time() {
    let echo = start_echo();
    let config = ServerConfig::new().drain_deadline(Duration::from_secs(1));
    let proxy = Proxy::start_with(&[echo.port()], config, |builder| builder);
    let mut socket = open(proxy.address(), &format!("localhost:{}", echo.port()));
    let hello = hello("localhost");
    socket.write_all(&hello).unwrap();
    socket.read_exact(&mut vec![0; hello.len()]).unwrap();
    let (shutdown, started) = (proxy.server.shutdown_handle(), Instant::now());
    shutdown.shutdown();
    wait_until("the proxy still listens", || TcpStream::connect(proxy.address()).is_err());
    socket.write_all(b"still here").unwrap();
    let mut back = [0; 10];
    socket.read_exact(&mut back).unwrap();
    assert_eq!(&back, b"still here");
    proxy.server.join();
    assert!(started.elapsed() >= Duration::from_secs(1));
    assert!(!matches!(socket.read(&mut back), Ok(1..)), "the tunnel has ended");
    // Without a tunnel, the server ends at once.
    let proxy = Proxy::start(&[echo.port()]);
    drop(open(proxy.address(), &format!("localhost:{}", echo.port())));
    wait_until("the tunnel stays open", || proxy.metric("tunnels_open") == 0);
    let started = Instant::now();
    proxy.server.shutdown();
    proxy.server.join();
    assert!(started.elapsed() < Duration::from_secs(5));
    drop(TcpListener::bind("127.0.0.1:0"));
}
