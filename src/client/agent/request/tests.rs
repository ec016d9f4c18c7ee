use super::*;

fn read(url: &'static str, pieces: &[&[u8]], limit: usize) -> Result<Request<Body>> {
    let mut incoming = IncomingRequest::new(Uri::from_static(url), limit);
    for piece in pieces {
        incoming.push(piece)?;
    }
    incoming.finish()
}

#[test]
fn input_may_be_split_anywhere() {
    let bytes = b"PUT /a?b HTTP/1.1\r\nhost: h:81\r\ncontent-length: 3\r\nx-a: 1\r\nx-a: 2\r\n\r\nabc";
    for step in 1..=bytes.len() {
        let pieces: Vec<&[u8]> = bytes.chunks(step).collect();
        let request = read("http://h:81/a?b", &pieces, 3).unwrap();
        assert_eq!(request.method(), Method::PUT);
        assert_eq!(request.uri(), "http://h:81/a?b");
        assert_eq!(request.headers().get_all("x-a").iter().collect::<Vec<_>>(), ["1", "2"]);
        assert_eq!(request.headers().len(), 2);
        assert_eq!(request.into_body().into_text().unwrap(), "abc");
    }
}

#[test]
fn connection_fields_are_not_passed_on() {
    let bytes = b"POST / HTTP/1.1\r\nhost: h\r\nconnection: close, x-hop\r\nx-hop: 1\r\nte: trailers\r\n\
        transfer-encoding: chunked\r\nexpect: 100-continue\r\naccept-encoding: gzip\r\n\r\n0\r\n\r\n";
    let request = read("http://h/", &[bytes], 3).unwrap();
    assert_eq!(request.headers().keys().collect::<Vec<_>>(), ["accept-encoding"]);
    assert!(request.body().is_empty());
}

#[test]
fn userinfo_is_removed_from_the_url() {
    let request = read("https://me:secret@h:8443/a?b", &[b"GET /a?b HTTP/1.1\r\n\r\n"], 0).unwrap();
    assert_eq!(request.uri(), "https://h:8443/a?b");
}

#[test]
fn host_field_must_match_the_url() {
    for (url, host, is_good) in [
        ("http://h/", "H:80", true),
        ("https://h:443/", "h", true),
        ("http://[::1]:8080/", "[::1]:8080", true),
        ("http://h/", "h:443", false),
        ("http://h/", "other", false),
        ("http://h/", "", false),
    ] {
        let head = format!("GET / HTTP/1.1\r\nhost: {host}\r\n\r\n");
        assert_eq!(read(url, &[head.as_bytes()], 0).is_ok(), is_good, "{url} {host}");
    }
}

#[test]
fn body_over_the_limit_is_rejected_before_it_is_read() {
    let mut incoming = IncomingRequest::new(Uri::from_static("http://h/"), 3);
    let error = incoming.push(b"POST / HTTP/1.1\r\ncontent-length: 4\r\n\r\n").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::BadRequest);
    assert_eq!(error.url(), Some("http://h/"));
    let pieces = [&b"POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n"[..], b"4\r\nabcd"];
    assert_eq!(read("http://h/", &pieces, 3).unwrap_err().kind(), ErrorKind::BadRequest);
}

#[test]
fn incomplete_request_is_rejected() {
    for bytes in [
        &b""[..],
        b"GET / HTTP/1.1\r\n",
        b"no http\r\n\r\n",
        b"CONNECT h:1 HTTP/1.1\r\n\r\n",
        b"POST / HTTP/1.1\r\ncontent-length: 4\r\n\r\nabc",
        b"POST / HTTP/1.1\r\ncontent-length: 2\r\n\r\nabc",
        b"POST / HTTP/1.1\r\ncontent-length: x\r\n\r\n",
        b"POST / HTTP/1.1\r\ntransfer-encoding: gzip, chunked\r\n\r\n",
        b"POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n2\r\nab\r\n",
    ] {
        let error = read("http://h/", &[bytes], 10).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::BadRequest, "{}", bytes.escape_ascii());
    }
}

#[test]
fn continue_is_sent_once_and_only_if_ureq_waits_for_it() {
    let head = b"POST / HTTP/1.1\r\nexpect: 100-Continue\r\ncontent-length: 3\r\n\r\n";
    let mut incoming = IncomingRequest::new(Uri::from_static("http://h/"), 3);
    assert!(!incoming.awaits_continue());
    incoming.push(head).unwrap();
    assert!(incoming.awaits_continue());
    assert!(!incoming.awaits_continue());

    let mut incoming = IncomingRequest::new(Uri::from_static("http://h/"), 3);
    incoming.push(&[&head[..], b"abc"].concat()).unwrap();
    assert!(!incoming.awaits_continue());
}
