use std::io::{Read, Write};
use std::net::TcpListener;
use std::thread;

use super::*;
use crate::base::tls::testing::{Authority, server_config};

/// Whether a server that asks for a certificate, and does not insist, is shown one by this client.
fn is_shown_it(authority: &Authority, client: impl FnOnce(String) -> Client) -> bool {
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
    client(url.clone()).get(&url).unwrap();
    server.join().unwrap()
}

#[test]
fn what_does_not_go_together_is_refused() {
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
fn its_certificate_is_for_peers_and_not_for_origins() {
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
    assert!(is_shown_it(&authority, |url| builder().pool([url]).build().unwrap()));
    assert!(!is_shown_it(&authority, |_| builder().build().unwrap()));
}
