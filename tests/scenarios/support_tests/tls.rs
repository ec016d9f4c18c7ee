//! The origin behind TLS.

use std::io;
use std::net::TcpStream;
use std::sync::Arc;

use ureq::tls::{Certificate, RootCerts, TlsConfig};

use crate::support::origin::{Gate, Reply};
use crate::support::tls::TlsOrigin;

fn agent_trusting(pem: &[u8]) -> ureq::Agent {
    let roots = RootCerts::new_with_certs(&[Certificate::from_pem(pem).unwrap()]);
    let tls = TlsConfig::builder().root_certs(roots).build();
    ureq::Agent::config_builder().tls_config(tls).proxy(None).build().into()
}

fn body_of(agent: &ureq::Agent, url: &str) -> Result<String, ureq::Error> {
    agent.get(url).call()?.body_mut().read_to_string()
}

#[test]
fn trusting_client_connects_by_address_and_by_name() {
    let origin = TlsOrigin::start(|received| Reply::ok(received.target.clone()));
    let agent = agent_trusting(origin.ca_pem().as_bytes());
    assert_eq!(body_of(&agent, &origin.url("/address")).unwrap(), "/address");
    assert_eq!(body_of(&agent, &origin.url_by_name("/name")).unwrap(), "/name");
    assert_eq!(origin.count(), 2);
}

#[test]
fn ca_file_contains_the_authority_certificate() {
    let origin = TlsOrigin::replies([Reply::ok("from the file")]);
    let agent = agent_trusting(&std::fs::read(origin.ca_file()).unwrap());
    assert_eq!(body_of(&agent, &origin.url("/")).unwrap(), "from the file");
}

#[test]
fn client_of_another_authority_sends_no_request() {
    let other = TlsOrigin::replies([]).may_be_unused();
    let origin = TlsOrigin::replies([Reply::ok("secret")]).may_be_unused();
    let agent = agent_trusting(other.ca_pem().as_bytes());
    assert!(body_of(&agent, &origin.url("/")).is_err());
    assert_eq!(origin.count(), 0);
}

#[test]
fn tls_connection_is_kept_for_every_framing() {
    let origin = TlsOrigin::replies([
        Reply::ok("by length"),
        Reply::ok("by chunks").chunked(),
        Reply::ok("by the end").until_close(),
    ]);
    let agent = agent_trusting(origin.ca_pem().as_bytes());
    for expected in ["by length", "by chunks", "by the end"] {
        assert_eq!(body_of(&agent, &origin.url("/")).unwrap(), expected);
    }
    assert!(origin.seen().iter().all(|received| received.connection == 0));
}

#[test]
fn gate_pauses_a_tls_reply() {
    let gate = Gate::new();
    let origin = TlsOrigin::replies([Reply::ok("in two parts").gate_body(3, &gate)]);
    let agent = agent_trusting(origin.ca_pem().as_bytes());
    let mut response = agent.get(origin.url("/")).call().unwrap();
    gate.open();
    assert_eq!(response.body_mut().read_to_string().unwrap(), "in two parts");
}

/// Sends a request with rustls, which distinguishes truncation from an orderly end. Returns the bytes and the end.
fn end_of(origin: &TlsOrigin) -> (Vec<u8>, io::Result<usize>) {
    use std::io::{Read, Write};

    let certificate = Certificate::from_pem(origin.ca_pem().as_bytes()).unwrap();
    let mut roots = rustls::RootCertStore::empty();
    roots.add(rustls::pki_types::CertificateDer::from(certificate.der().to_vec())).unwrap();
    let config = rustls::ClientConfig::builder_with_provider(rustls::crypto::ring::default_provider().into())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let session = rustls::ClientConnection::new(Arc::new(config), "localhost".try_into().unwrap()).unwrap();
    let mut stream = rustls::StreamOwned::new(session, TcpStream::connect(origin.address()).unwrap());
    stream.write_all(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
    let mut bytes = Vec::new();
    let end = stream.read_to_end(&mut bytes);
    (bytes, end)
}

#[test]
fn only_an_orderly_end_sends_close_notify() {
    let origin = TlsOrigin::replies([
        Reply::ok("whole").until_close(),
        Reply::ok("whole").until_close().cut_after(2),
        Reply::ok("whole").reset_after(2),
    ]);
    let (bytes, end) = end_of(&origin);
    assert!(bytes.ends_with(b"\r\n\r\nwhole") && end.is_ok(), "{end:?}");
    let (bytes, end) = end_of(&origin);
    assert!(bytes.ends_with(b"\r\n\r\nwh"));
    assert_eq!(end.unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
    let (bytes, end) = end_of(&origin);
    assert!(bytes.ends_with(b"\r\n\r\nwh"));
    assert_eq!(end.unwrap_err().kind(), io::ErrorKind::ConnectionReset);
}
