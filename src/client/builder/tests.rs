use std::io::{Read, Write};
use std::net::TcpListener;
use std::thread;

use super::*;
use crate::base::tls::testing::{Authority, server_config};

/// Returns whether the client presents a certificate to a server that requests one without requiring it.
fn presents_certificate(authority: &Authority, client: impl FnOnce(String) -> Client) -> bool {
    let config = Arc::new(server_config(authority, Some((authority, false))));
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("https://localhost:{}", listener.local_addr().unwrap().port());
    let server = thread::spawn(move || {
        let connection = rustls::ServerConnection::new(config).unwrap();
        let mut stream = rustls::StreamOwned::new(connection, listener.accept().unwrap().0);
        let _ = stream.read(&mut [0; 4096]).unwrap();
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").unwrap();
        stream.conn.peer_certificates().is_some()
    });
    client(url.clone()).get(&url).send().unwrap();
    server.join().unwrap()
}

#[test]
fn contradictory_ring_options_are_rejected() {
    let rendezvous = || Client::builder().ring(RingKind::Rendezvous).pool(["http://a", "http://b"]);
    for (builder, words) in [
        (rendezvous().replicas(50), "replicas"),
        (rendezvous().hash(HashFunction::default()), "hash"),
        (Client::builder().replicas(0), "at least one replica"),
        (Client::builder().replicas(10_001), "at most 10000"),
    ] {
        let error = builder.build().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::BadOption);
        assert!(error.message().contains(words), "{error}");
    }
    rendezvous().build().unwrap();
}

#[test]
fn client_certificate_goes_to_peers_and_not_to_origins() {
    let authority = Authority::new();
    let made = authority.sign("a client");
    let roots = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(roots.path(), &authority.certificate).unwrap();
    let builder = || {
        Client::builder()
            .root_certificates_file(roots.path())
            .client_certificate_pem(made.certificate.clone(), made.key.clone())
            .on_no_peers(OnNoPeers::FetchDirectly)
    };
    assert!(presents_certificate(&authority, |url| builder().pool([url]).build().unwrap()));
    assert!(!presents_certificate(&authority, |_| builder().build().unwrap()));
}
