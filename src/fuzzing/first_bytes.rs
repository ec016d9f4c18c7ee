//! Invariants of the first bytes of a connection: the ClientHello in a tunnel, and the header of the PROXY protocol.

use std::sync::Arc;

use rustls::{ClientConfig, ClientConnection, RootCertStore};

use super::mutate::Random;
use crate::server::{Header, Hello, read_header, read_hello};

/// Returns the first bytes that a client for this host sends.
pub(super) fn hello() -> Vec<u8> {
    let config = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("the provider supports the default versions")
        .with_root_certificates(RootCertStore::empty())
        .with_no_client_auth();
    let name = "www.example.com".try_into().expect("the name is valid");
    let mut client = ClientConnection::new(Arc::new(config), name).expect("the configuration is complete");
    let mut bytes = Vec::new();
    client.write_tls(&mut bytes).expect("a vector accepts all bytes");
    bytes
}

/// Changes, removes, repeats and inserts some bytes.
pub(super) fn mutated(bytes: &[u8], random: &mut Random) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    for _ in 0..random.below(4) {
        let at = random.below(bytes.len().max(1));
        let end = (at + random.below(8)).min(bytes.len());
        match random.below(4) {
            0 => drop(bytes.drain(at.min(end)..end)),
            1 => bytes.insert(at.min(bytes.len()), u8::try_from(random.below(256)).expect("a byte")),
            2 => {
                let copied = bytes[at.min(end)..end].to_vec();
                bytes.extend(copied);
            }
            _ => {
                if let Some(byte) = bytes.get_mut(at) {
                    *byte ^= 1 << random.below(8);
                }
            }
        }
    }
    bytes
}

/// Checks that more bytes do not change a decision, and that rustls reads the same name.
pub(super) fn check_hello(bytes: &[u8], random: &mut Random) {
    let whole = read_hello(bytes);
    match read_hello(&bytes[..random.below(bytes.len() + 1)]) {
        Hello::Incomplete => {}
        decided => assert_eq!(decided, whole, "{}", bytes.escape_ascii()),
    }
    let Hello::Complete { server_name } = whole else { return };
    let mut acceptor = rustls::server::Acceptor::default();
    let mut rest = bytes;
    while !rest.is_empty() && acceptor.read_tls(&mut rest).is_ok_and(|count| count > 0) {
        match acceptor.accept() {
            Ok(None) => {}
            Ok(Some(accepted)) => {
                let seen = accepted.client_hello().server_name().map(str::to_ascii_lowercase);
                // rustls ignores names that are addresses, or not valid.
                let own = server_name.map(|name| name.to_ascii_lowercase());
                assert!(seen.is_none() || seen == own, "{seen:?} {own:?}: {}", bytes.escape_ascii());
                return;
            }
            Err(_) => return,
        }
    }
}

/// Checks that more bytes do not change a decision, and that a header has at most its length.
pub(super) fn check_header(bytes: &[u8], random: &mut Random) {
    let whole = read_header(bytes);
    match read_header(&bytes[..random.below(bytes.len() + 1)]) {
        Header::Incomplete => {}
        decided => assert_eq!(decided, whole, "{}", bytes.escape_ascii()),
    }
    if let Header::Complete { length, .. } = whole {
        assert!(length > 0 && length <= bytes.len());
        assert_eq!(read_header(&bytes[..length]), whole);
    }
}
