use super::*;

fn prepared(request: http::request::Builder, body: Body) -> Result<Request<()>> {
    prepare(request.body(body).unwrap()).map(|(head, _)| head)
}

#[test]
fn hop_by_hop_fields_are_not_sent() {
    let request = Request::get("http://example.com/")
        .header("host", "elsewhere")
        .header("content-length", "5")
        .header("transfer-encoding", "chunked")
        .header("expect", "100-continue")
        .header("connection", "x-hop")
        .header("x-hop", "1")
        .header("accept", "text/plain")
        .version(Version::HTTP_2);
    let head = prepared(request, Body::empty()).unwrap();
    assert_eq!(head.headers().keys().collect::<Vec<_>>(), ["accept"]);
    assert_eq!(head.version(), Version::HTTP_11);
}

#[test]
fn content_length_is_sent_if_it_is_meaningful() {
    let length = |method: &str, body: Body| {
        let head = prepared(Request::builder().method(method).uri("http://h/"), body).unwrap();
        head.headers().get(header::CONTENT_LENGTH).map(|value| value.to_str().unwrap().to_owned())
    };
    assert_eq!(length("GET", Body::empty()), None);
    assert_eq!(length("DELETE", Body::empty()), None);
    assert_eq!(length("POST", Body::empty()).as_deref(), Some("0"));
    assert_eq!(length("GET", Body::from("abc")).as_deref(), Some("3"));
    assert_eq!(length("PUT", Body::from_reader(&b"abc"[..], None)), None);
}

#[test]
fn only_absolute_http_urls_without_userinfo_are_fetched() {
    for url in [
        "/path",
        "ftp://example.com/",
        "example.com:80",
        "http://user:pass@example.com/",
        "http://user@example.com/",
        "http://example.com:99999/",
        "http://example.com:0/",
    ] {
        let error = prepared(Request::get(url), Body::empty()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::BadUrl, "{url}");
        assert!(!error.to_string().contains("pass"), "{error}");
    }
    for url in ["http://example.com", "HTTPS://example.com:/", "http://[::1]:8080/?q"] {
        assert!(prepared(Request::get(url), Body::empty()).is_ok(), "{url}");
    }
}

#[test]
fn unsendable_requests_are_bad_requests() {
    let long = "x".repeat(OUTPUT_BUFFER_BYTES);
    let obs_text = HeaderValue::from_bytes(b"Basic \xff").unwrap();
    for request in [
        Request::connect("http://example.com:443"),
        Request::get(format!("http://example.com/{long}")),
        Request::get("http://example.com/").header("x-long", &long),
        Request::get("http://example.com/").header("authorization", obs_text),
    ] {
        let error = prepared(request, Body::empty()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::BadRequest, "{error}");
    }
}

#[test]
fn request_body_has_exactly_the_announced_length() {
    let read = |bytes: &'static [u8], length| {
        let body = Body::from_reader(bytes, Some(length));
        let mut out = Vec::new();
        RequestBody { body, left: Some(length) }.read_to_end(&mut out).map(|_| out)
    };
    assert_eq!(read(b"abcdef", 4).unwrap(), b"abcd");
    let error = Error::from(read(b"ab", 4).unwrap_err());
    assert_eq!(error.kind(), ErrorKind::IncompleteBody);
    assert_eq!(error.to_string(), "the body of the request ended 2 bytes before its announced length");
}

#[test]
fn failure_of_the_request_body_is_not_a_connection_failure() {
    struct Broken;
    impl Read for Broken {
        fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
            Err(io::ErrorKind::ConnectionReset.into())
        }
    }
    let mut body = RequestBody { body: Body::from_reader(Broken, None), left: None };
    let error = Error::from(body.read(&mut [0; 8]).unwrap_err());
    assert_eq!(error.kind(), ErrorKind::Io);
    assert!(error.to_string().starts_with("cannot read the body of the request"));
}
