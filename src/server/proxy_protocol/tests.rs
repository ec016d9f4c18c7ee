use super::*;

fn client(text: &str) -> Option<SocketAddr> {
    Some(text.parse().unwrap())
}

fn v2(command: u8, family: u8, content: &[u8]) -> Vec<u8> {
    let length = u16::try_from(content.len()).unwrap().to_be_bytes();
    [V2_START, &[command, family], &length, content].concat()
}

/// Checks that every strict prefix is incomplete, and that bytes after the header do not belong to it.
fn check(header: &[u8], expected: Option<SocketAddr>) {
    for end in 0..header.len() {
        assert_eq!(read_header(&header[..end]), Header::Incomplete, "{}", header[..end].escape_ascii());
    }
    let complete = Header::Complete { length: header.len(), client: expected };
    assert_eq!(read_header(header), complete, "{}", header.escape_ascii());
    assert_eq!(read_header(&[header, b"GET / HTTP/1.1\r\n\r\n"].concat()), complete);
}

#[test]
fn both_versions_name_the_client() {
    check(b"PROXY TCP4 192.0.2.7 10.0.0.1 40000 443\r\n", client("192.0.2.7:40000"));
    check(b"PROXY TCP6 2001:db8::7 2001:db8::1 40000 443\r\n", client("[2001:db8::7]:40000"));
    check(b"PROXY UNKNOWN\r\n", None);
    check(b"PROXY UNKNOWN anything at all\r\n", None);
    let v4 = [192, 0, 2, 7, 10, 0, 0, 1, 0x9C, 0x40, 1, 0xBB];
    check(&v2(0x21, 0x11, &v4), client("192.0.2.7:40000"));
    check(&v2(0x21, 0x11, &[&v4[..], &[3, 0, 4, 1, 2, 3, 4]].concat()), client("192.0.2.7:40000"));
    let mut v6 = [0; 36];
    v6[..4].copy_from_slice(&[0x20, 1, 0x0d, 0xb8]);
    v6[15] = 7;
    v6[32..34].copy_from_slice(&[0x9C, 0x40]);
    check(&v2(0x21, 0x21, &v6), client("[2001:db8::7]:40000"));
    check(&v2(0x20, 0x11, &v4), None);
    check(&v2(0x20, 0x00, b""), None);
    check(&v2(0x21, 0x31, &[0; 216]), None);
}

#[test]
fn what_is_not_exactly_a_header_is_invalid() {
    let long = [b"PROXY UNKNOWN ".to_vec(), vec![b'x'; 200]].concat();
    let large = v2(0x21, 0x11, &vec![0; MAX_V2]);
    for bytes in [
        b"GET / HTTP/1.1\r\n".as_slice(),
        b"PROXYTCP4 192.0.2.7 10.0.0.1 1 2\r\n",
        b"PROXY TCP4\r\n",
        b"PROXY TCP4 192.0.2.7 10.0.0.1 1\r\n",
        b"PROXY TCP4 192.0.2.7 10.0.0.1 1 2 3\r\n",
        b"PROXY TCP4 192.0.2.7 10.0.0.1  1 2\r\n",
        b"PROXY TCP4 192.0.2.7 10.0.0.1 +1 2\r\n",
        b"PROXY TCP4 192.0.2.7 10.0.0.1 65536 2\r\n",
        b"PROXY TCP4 2001:db8::7 2001:db8::1 1 2\r\n",
        b"PROXY TCP6 192.0.2.7 10.0.0.1 1 2\r\n",
        b"PROXY TCP4 192.0.2.777 10.0.0.1 1 2\r\n",
        b"PROXY UDP4 192.0.2.7 10.0.0.1 1 2\r\n",
        b"proxy tcp4 192.0.2.7 10.0.0.1 1 2\r\n",
        b"PROXY TCP4 \xff\r\n",
        b"\r\n\r\n\0\r\nQUIX\n",
        b"\x16\x03\x01\0\x05",
        &long,
        &large,
        &v2(0x11, 0x11, &[0; 12]),
        &v2(0x22, 0x11, &[0; 12]),
        &v2(0x21, 0x11, &[0; 11]),
        &v2(0x21, 0x21, &[0; 35]),
        &v2(0x21, 0x12, &[0; 12]),
        &v2(0x21, 0x44, &[0; 12]),
    ] {
        assert_eq!(read_header(bytes), Header::Invalid, "{}", bytes.escape_ascii());
    }
}

#[test]
fn trusted_proxies_are_networks_addresses_or_unix_sockets() {
    let proxies = |text: &str| text.parse::<TrustedProxies>().unwrap();
    let address = |text: &str| Some(text.parse().unwrap());
    assert!(proxies("10.0.0.0/8").contain(address("::ffff:10.1.2.3")));
    assert!(!proxies("10.0.0.0/8").contain(address("11.0.0.1")) && !proxies("10.0.0.0/8").contain(None));
    assert!(proxies("fd00::/8").contain(address("fd00::1")));
    assert!(proxies("unix").contain(None) && !proxies("unix").contain(address("127.0.0.1")));
    for bad in
        ["", "10.0.0.1/8", "10.0.0.0/33", "10.0.0.0/", "balancer.example", "unix:/run/socket", "10.0.0.0/+8"]
    {
        let error = bad.parse::<TrustedProxies>().unwrap_err().to_string();
        assert!(error.contains(&format!("{bad:?}")) && error.contains("specify an address"), "{error}");
    }
}
