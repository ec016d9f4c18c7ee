use std::sync::Arc;

use rustls::{ClientConfig, ClientConnection, RootCertStore};

use super::*;

/// Returns the first bytes that a rustls client sends.
fn hello(name: &'static str) -> Vec<u8> {
    let config = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(RootCertStore::empty())
        .with_no_client_auth();
    let mut client = ClientConnection::new(Arc::new(config), name.try_into().unwrap()).unwrap();
    let mut bytes = Vec::new();
    client.write_tls(&mut bytes).unwrap();
    bytes
}

fn complete(name: Option<&str>) -> Hello {
    Hello::Complete { server_name: name.map(str::to_owned) }
}

/// Puts the message of a single record into records of this length.
fn fragmented(hello: &[u8], length: usize) -> Vec<u8> {
    let records = hello[5..].chunks(length).map(|fragment| {
        let length = u16::try_from(fragment.len()).unwrap().to_be_bytes();
        [&[HANDSHAKE, 3, 1], &length[..], fragment].concat()
    });
    records.collect::<Vec<_>>().concat()
}

/// Returns a message with these extensions, in one record.
fn with_extensions(extensions: &[u8]) -> Vec<u8> {
    let length = |bytes: &[u8]| u16::try_from(bytes.len()).unwrap().to_be_bytes();
    let start = [&[3, 3][..], &[7; 32], &[0, 0, 2, 0x13, 1, 1, 0]].concat();
    let content = [&start[..], &length(extensions), extensions].concat();
    let message = [&[CLIENT_HELLO, 0][..], &length(&content), &content].concat();
    [&[HANDSHAKE, 3, 1][..], &length(&message), &message].concat()
}

#[test]
fn the_name_of_a_real_client_is_read() {
    assert_eq!(read_hello(&hello("example.com")), complete(Some("example.com")));
    assert_eq!(read_hello(&hello("127.0.0.1")), complete(None), "an address is not a name");
    let bytes = hello("example.com");
    for end in 0..bytes.len() {
        assert_eq!(read_hello(&bytes[..end]), Hello::Incomplete, "{end}");
    }
    let followed = [&bytes[..], b"\x14\x03\x03\0\x01\x01more"].concat();
    assert_eq!(read_hello(&followed), complete(Some("example.com")));
    for length in [1, 3, 4, 5, 100] {
        let bytes = fragmented(&bytes, length);
        assert_eq!(read_hello(&bytes), complete(Some("example.com")), "records of {length} bytes");
        assert_eq!(read_hello(&bytes[..bytes.len() - 1]), Hello::Incomplete);
    }
}

#[test]
fn extensions_are_optional_and_strict() {
    let name = b"\0\0\0\x06\0\x04\0\0\x01a".as_slice();
    assert_eq!(read_hello(&with_extensions(name)), complete(Some("a")));
    assert_eq!(read_hello(&with_extensions(b"")), complete(None));
    assert_eq!(read_hello(&with_extensions(b"\0\x17\0\0")), complete(None));
    for bad in [
        [name, name].concat(),
        b"\0\0\0\0".to_vec(),
        b"\0\0\0\x07\0\x04\0\0\x01ax".to_vec(),
        b"\0\0\0\x05\0\x03\0\0\0".to_vec(),
        b"\0\0\0\x06\0\x04\x01\0\x01a".to_vec(),
        b"\0\0\0\x06\0\x04\0\0\x01\xff".to_vec(),
        b"\0\0\0\x06\0\x04\0\0\x02a".to_vec(),
        b"\0\x17\0".to_vec(),
        b"\0\x17\0\x09".to_vec(),
    ] {
        assert_eq!(read_hello(&with_extensions(&bad)), Hello::Invalid, "{}", bad.escape_ascii());
    }
}

#[test]
fn other_bytes_are_invalid_as_soon_as_they_differ() {
    let bytes = hello("example.com");
    let change = |at: usize, to: u8| {
        let mut changed = bytes.clone();
        changed[at] = to;
        changed
    };
    for bad in [
        b"G".to_vec(),
        b"SSH-2.0-OpenSSH".to_vec(),
        b"\x16G".to_vec(),
        b"\x16\x03\x09".to_vec(),
        b"\x16\x03\x01\0\0".to_vec(),
        b"\x16\x03\x01\xff\xff".to_vec(),
        b"\x16\x03\x01\0\x04\x02".to_vec(),
        b"\x80\x2e\x01\x03\x01".to_vec(),
        change(0, 23),
        change(5, 2),
        change(6, 1),
        change(8, bytes[8] - 1),
        change(43, 33),
    ] {
        assert_eq!(read_hello(&bad), Hello::Invalid, "{}", bad.escape_ascii());
    }
}

#[test]
fn the_message_is_bounded() {
    let record = [&[HANDSHAKE, 3, 1, 0x10, 0][..], &[CLIENT_HELLO, 0, 0x3f, 0xfc], &vec![0; 4092]].concat();
    let more = [&[HANDSHAKE, 3, 1, 0x10, 0][..], &vec![0; 4096]].concat();
    let mut bytes = record;
    while bytes.len() < MAX_HELLO {
        bytes.extend_from_slice(&more);
    }
    assert_eq!(read_hello(&bytes), Hello::Invalid);
    // Records of a single byte reach the limit of the connection's buffer first.
    let tiny = fragmented(&hello("example.com"), 1);
    assert!(tiny.len() < MAX_HELLO);
}
