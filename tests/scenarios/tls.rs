//! Peers that serve TLS.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use forwardcache::client::OnNoPeers;
use forwardcache::server::{ServerConfig, ServerTls};
use forwardcache::{Client, ErrorKind, Outcome};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, ClientConnection, HandshakeKind, RootCertStore, StreamOwned};

use crate::local::{LocalPeer, escaped};
use crate::support::origin::{Origin, Reply};
use crate::support::port::Port;
use crate::support::process::{Process, run};
use crate::support::raw::Connection;
use crate::support::tls::Authority;
use crate::support::{TEST_TIMEOUT, wait_until};

fn origin() -> Origin {
    Origin::start(Reply::target)
}

fn served_over(tls: ServerTls) -> LocalPeer {
    LocalPeer::start_on(ServerConfig::new().tls(tls).io_threads(1), |builder| builder)
}

fn tls_of(authority: &Authority) -> ServerTls {
    let file = authority.server_file();
    ServerTls::from_files(file, file).unwrap()
}

/// A TLS connection that trusts this authority, optionally with a client certificate of another authority.
fn connect(
    address: SocketAddr,
    authority: &Authority,
    client: Option<&Authority>,
) -> StreamOwned<ClientConnection, TcpStream> {
    connect_with(address, &client_config(authority, client))
}

/// A TLS configuration that trusts this authority, optionally with a client certificate of another authority.
pub(crate) fn client_config(authority: &Authority, client: Option<&Authority>) -> Arc<ClientConfig> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(authority.ca_file()).unwrap()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots);
    Arc::new(match client {
        None => builder.with_no_client_auth(),
        Some(authority) => {
            let file = authority.client_file();
            let chain = vec![CertificateDer::from_pem_file(file).unwrap()];
            builder.with_client_auth_cert(chain, PrivateKeyDer::from_pem_file(file).unwrap()).unwrap()
        }
    })
}

/// A TLS connection with this configuration; earlier sessions are resumed.
pub(crate) fn connect_with(
    address: SocketAddr,
    config: &Arc<ClientConfig>,
) -> StreamOwned<ClientConnection, TcpStream> {
    let name = ServerName::try_from("localhost").unwrap();
    let socket = TcpStream::connect(address).unwrap();
    socket.set_read_timeout(Some(TEST_TIMEOUT)).unwrap();
    StreamOwned::new(ClientConnection::new(Arc::clone(config), name).unwrap(), socket)
}

/// Sends a request for a URL and reads the response to the end of the connection.
fn exchange(stream: &mut StreamOwned<ClientConnection, TcpStream>, url: &str) -> io::Result<String> {
    let target = format!("/proxy?q={}", escaped(url));
    stream.write_all(
        format!("GET {target} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").as_bytes(),
    )?;
    let mut text = Vec::new();
    stream.read_to_end(&mut text)?;
    Ok(String::from_utf8_lossy(&text).into_owned())
}

#[test]
fn hits_are_served_over_tls() {
    let (origin, authority) = (origin(), Authority::new());
    let peer = served_over(tls_of(&authority));
    let client = Client::builder()
        .pool([format!("https://{}", peer.address())])
        .root_certificates_file(authority.ca_file())
        .build()
        .unwrap();
    for round in 0..3 {
        let response = client.get(&origin.url("/a")).send().unwrap();
        assert_eq!(Outcome::of(response.headers()) == Some(Outcome::Hit), round > 0);
        assert_eq!(response.into_body().into_text().unwrap(), "/a");
    }
    assert_eq!(origin.count(), 1);
}

#[test]
fn large_and_pipelined_messages_work_over_tls() {
    const LARGE: usize = 5 << 20;
    let origin = Origin::start(|received| {
        let body = if received.target == "/large" { vec![b'x'; LARGE] } else { received.body.clone() };
        Reply::ok(body).field("Cache-Control", "max-age=60")
    });
    let authority = Authority::new();
    let peer = served_over(tls_of(&authority));
    for _ in 0..2 {
        let text = exchange(&mut connect(peer.address(), &authority, None), &origin.url("/large")).unwrap();
        assert_eq!(text.split_once("\r\n\r\n").unwrap().1.len(), LARGE);
    }
    // Two requests sent with one write are answered in order.
    let mut stream = connect(peer.address(), &authority, None);
    let target = format!("/proxy?q={}", escaped(&origin.url("/echo")));
    let body = "y".repeat(100_000);
    let one =
        format!("POST {target} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {}\r\n\r\n{body}", body.len());
    let last = format!("GET {target} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    stream.write_all((one + &last).as_bytes()).unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    assert_eq!(text.matches("HTTP/1.1 200").count(), 2);
    assert!(text.contains(&body));
    assert_eq!(origin.count_of("/large"), 1);
}

#[test]
fn last_bytes_arrive_after_a_full_socket_buffer() {
    let origin = Origin::start(|received| {
        let kibibytes: usize = received.target.trim_start_matches('/').parse().unwrap();
        Reply::ok(vec![b'x'; kibibytes << 10]).field("Cache-Control", "max-age=60")
    });
    let authority = Authority::new();
    let peer = served_over(tls_of(&authority));
    // One of these sizes exactly fills the socket buffers while the client does not read.
    for kibibytes in (100..4000).step_by(60) {
        let url = origin.url(&format!("/{kibibytes}"));
        let mut stream = connect(peer.address(), &authority, None);
        let target = format!("/proxy?q={}", escaped(&url));
        stream.write_all(format!("GET {target} HTTP/1.1\r\nHost: localhost\r\n\r\n").as_bytes()).unwrap();
        // Once another request is answered, the server has written as much as the socket takes.
        assert!(exchange(&mut connect(peer.address(), &authority, None), &origin.url("/1")).is_ok());
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            stream.read_exact(&mut byte).unwrap();
            head.push(byte[0]);
        }
        stream.read_exact(&mut vec![0; kibibytes << 10]).unwrap();
    }
}

#[test]
fn missing_client_certificate_is_rejected() {
    let (origin, authority, other) = (origin(), Authority::new(), Authority::new());
    let tls = tls_of(&authority).client_certificates_from(authority.ca_file()).unwrap();
    let peer = served_over(tls);
    for client in [None, Some(&other)] {
        let mut stream = connect(peer.address(), &authority, client);
        assert!(exchange(&mut stream, &origin.url("/a")).is_err());
    }
    let mut stream = connect(peer.address(), &authority, Some(&authority));
    assert!(exchange(&mut stream, &origin.url("/a")).unwrap().ends_with("/a"));

    let pool = [format!("https://{}", peer.address())];
    let client = || Client::builder().pool(pool.clone()).root_certificates_file(authority.ca_file());
    let me = authority.client_file();
    let known = client().client_certificate_files(me, me).build().unwrap();
    assert_eq!(known.get(&origin.url("/b")).send().unwrap().status(), 200);
    let unknown = client().on_no_peers(OnNoPeers::Fail).build().unwrap();
    let unknown = unknown.get(&origin.url("/c")).send().unwrap_err();
    assert!(matches!(unknown.kind(), ErrorKind::Tls | ErrorKind::Unreachable), "{unknown}");
    assert_eq!(origin.count(), 2);
}

#[test]
fn session_is_resumed_until_the_client_certificate_expires() {
    let (origin, authority) = (origin(), Authority::with_client_for(Duration::from_secs(3)));
    let tls = tls_of(&authority).client_certificates_from(authority.ca_file()).unwrap();
    let peer = served_over(tls);
    let client = client_config(&authority, Some(&authority));
    let ask = || {
        let mut stream = connect_with(peer.address(), &client);
        let exchange = exchange(&mut stream, &origin.url("/a"))?;
        assert!(exchange.ends_with("/a"), "{exchange}");
        Ok::<_, io::Error>(stream.conn.handshake_kind())
    };
    assert_eq!(ask().unwrap(), Some(HandshakeKind::Full));
    assert_eq!(ask().unwrap(), Some(HandshakeKind::Resumed));
    wait_until("the client is still served after its certificate has expired", || ask().is_err());
    // Neither the session nor the certificate is accepted.
    assert!(ask().is_err() && ask().is_err());
}

#[test]
fn reloaded_certificate_applies_to_new_connections() {
    let (origin, old, new) = (origin(), Authority::new(), Authority::new());
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::copy(old.server_file(), file.path()).unwrap();
    let tls = ServerTls::from_files(file.path(), file.path()).unwrap();
    let peer = served_over(tls.clone());
    let mut before = connect(peer.address(), &old, None);
    before.write_all(b"GET ").unwrap();
    std::fs::copy(new.server_file(), file.path()).unwrap();
    assert!(exchange(&mut connect(peer.address(), &old, None), &origin.url("/a")).is_ok());
    tls.reload().unwrap();
    assert!(exchange(&mut connect(peer.address(), &old, None), &origin.url("/a")).is_err());
    assert!(exchange(&mut connect(peer.address(), &new, None), &origin.url("/a")).is_ok());
    before.write_all(b"/other HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").unwrap();
    let mut text = String::new();
    before.read_to_string(&mut text).unwrap();
    assert!(text.starts_with("HTTP/1.1 404"), "{text}");
    std::fs::write(file.path(), "nothing").unwrap();
    assert_eq!(tls.reload().unwrap_err().kind(), ErrorKind::BadOption);
    assert!(exchange(&mut connect(peer.address(), &new, None), &origin.url("/a")).is_ok());
}

#[test]
fn plain_http_on_a_tls_port_is_closed() {
    let (origin, authority) = (origin(), Authority::new());
    let peer = served_over(tls_of(&authority));
    let mut plain = Connection::open(peer.address());
    plain.write("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n");
    assert!(!plain.read_to_end().starts_with(b"HTTP"));
    assert!(exchange(&mut connect(peer.address(), &authority, None), &origin.url("/a")).is_ok());
}

#[test]
fn oversized_handshake_is_rejected() {
    let (origin, authority) = (origin(), Authority::new());
    let options = ServerConfig::new().tls(tls_of(&authority)).handshake_timeout(10 * TEST_TIMEOUT);
    let peer = LocalPeer::start_on(options, |builder| builder);
    let mut socket = TcpStream::connect(peer.address()).unwrap();
    socket.set_read_timeout(Some(TEST_TIMEOUT)).unwrap();
    // The first half of a handshake message of 60,000 bytes.
    let mut record = vec![22, 3, 1, 0x40, 0, 1, 0, 0xea, 0x60];
    record.resize(5 + 0x4000, 0);
    let sent = [&record[..], &record[..5], &[0; 0x4000]].concat();
    // The server may reject it before everything has been written.
    let _ = socket.write_all(&sent);
    let ended = socket.read_to_end(&mut Vec::new());
    assert!(!matches!(&ended, Err(error) if error.kind() == io::ErrorKind::WouldBlock), "{ended:?}");
    assert!(exchange(&mut connect(peer.address(), &authority, None), &origin.url("/a")).is_ok());
}

#[test]
fn missing_handshake_times_out() {
    let authority = Authority::new();
    let options = ServerConfig::new().tls(tls_of(&authority)).handshake_timeout(Duration::from_millis(100));
    let peer = LocalPeer::start_on(options, |builder| builder);
    let mut silent = Connection::open(peer.address());
    assert!(silent.read_to_end().is_empty());
    let mut slow = Connection::open(peer.address());
    slow.write([0x16, 0x03, 0x01]);
    assert!(slow.read_to_end().is_empty());
}

#[test]
fn command_serves_tls_and_reloads_its_files() {
    let (origin, authority, other) = (origin(), Authority::new(), Authority::new());
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("peer.pem");
    std::fs::copy(authority.server_file(), &file).unwrap();
    let path = file.to_str().unwrap();
    let mut serving = Process::spawn([
        "serve",
        "--listen",
        "127.0.0.1:0",
        "--tls-cert",
        path,
        "--tls-key",
        path,
        "--tls-client-ca",
        authority.ca_file().to_str().unwrap(),
    ]);
    let line = serving.wait_for_line("serving on https://");
    let url = line.split(' ').nth(2).unwrap().to_owned();
    let get = |trusted: &Authority, shown: Option<&Authority>| {
        let ca = trusted.ca_file().to_str().unwrap().to_owned();
        let mut arguments =
            ["get", "--peers-only", "--peer", &url, "--cacert", &ca].map(str::to_owned).to_vec();
        if let Some(shown) = shown {
            let file = shown.client_file().to_str().unwrap();
            arguments.extend(["--cert", file, "--key", file].map(str::to_owned));
        }
        arguments.push(origin.url("/a"));
        run(arguments)
    };
    let answered = get(&authority, Some(&authority));
    assert_eq!((answered.status.code(), &answered.stdout[..]), (Some(0), &b"/a"[..]));
    assert_eq!(get(&authority, None).status.code(), Some(1));
    assert_eq!(get(&authority, Some(&other)).status.code(), Some(1));

    std::fs::copy(other.server_file(), &file).unwrap();
    serving.signal("HUP");
    // The signal is handled on another thread, so repeat until it has taken effect.
    wait_until("the certificates are not reloaded", || {
        get(&other, Some(&authority)).status.code() == Some(0)
    });
    assert_eq!(get(&authority, Some(&authority)).status.code(), Some(1));
    serving.terminate();
    assert!(serving.wait().success());
}

#[test]
fn command_reloads_outgoing_certificate_and_roots() {
    let (authority, other) = (Authority::new(), Authority::new());
    let tls = tls_of(&authority).client_certificates_from(authority.ca_file()).unwrap();
    let other_peer = served_over(tls);
    let folder = tempfile::tempdir().unwrap();
    let (identity, roots) = (folder.path().join("peer.pem"), folder.path().join("roots.pem"));
    std::fs::copy(other.server_file(), &identity).unwrap();
    std::fs::copy(other.ca_file(), &roots).unwrap();
    let address = SocketAddr::from(([127, 0, 0, 1], Port::hold().release()));
    let (own, another) = (format!("https://{address}"), format!("https://{}", other_peer.address()));
    let identity_path = identity.to_str().unwrap();
    let mut serving = Process::spawn([
        "serve",
        "-v",
        "--listen",
        &address.to_string(),
        "--peer",
        &own,
        "--peer",
        &another,
        "--tls-cert",
        identity_path,
        "--tls-key",
        identity_path,
        "--cacert",
        roots.to_str().unwrap(),
    ]);
    serving.wait_for_line("serving on https://");
    // A purge of the pool is sent to the other peer too, which requires a client certificate.
    let purge = |trusted: &Authority| -> Option<String> {
        let mut stream = connect(address, trusted, None);
        let head = "PURGE /proxy?all HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
        stream.write_all(head.as_bytes()).ok()?;
        let mut text = Vec::new();
        stream.read_to_end(&mut text).ok()?;
        Some(String::from_utf8_lossy(&text).into_owned())
    };
    assert!(purge(&other).unwrap().starts_with("HTTP/1.1 502 "));
    std::fs::copy(authority.ca_file(), &roots).unwrap();
    std::fs::copy(authority.server_file(), &identity).unwrap();
    serving.signal("HUP");
    serving.wait_for_line("reloaded the certificates for other peers and origins");
    let response = purge(&authority).unwrap();
    assert!(response.starts_with("HTTP/1.1 200 "), "{response}");
    for file in [&roots, &identity] {
        let good = std::fs::read(file).unwrap();
        std::fs::write(file, "nothing").unwrap();
        serving.signal("HUP");
        let expected = "cannot reload the certificates for other peers and origins: there is no";
        let path = file.to_str().unwrap();
        wait_until("the error is not logged", || {
            serving.stderr().lines().any(|line| line.contains(expected) && line.contains(path))
        });
        assert!(purge(&authority).unwrap().starts_with("HTTP/1.1 200 "));
        std::fs::write(file, good).unwrap();
    }
    serving.terminate();
    assert!(serving.wait().success());
}
