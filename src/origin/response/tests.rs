use std::time::Duration;

use http::header;

use super::super::Origin;
use super::super::testing::{ScriptedOrigin, accept, get, send};
use super::*;
use crate::base::error::Result;

fn answered(answer: impl Into<Vec<u8>>) -> Result<Response<Body>> {
    let server = ScriptedOrigin::answering(answer);
    let response = get(&Origin::new(), &server.url());
    server.finish();
    response
}

#[test]
fn encoded_body_is_not_decoded() {
    let gzip = b"\x1f\x8b\x08\0\0\0\0\0\x02\x03\xcbH\xcd\xc9\xc9\x07\0\x86\xa6\x106\x05\0\0\0";
    let mut answer =
        format!("HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: {}\r\n\r\n", gzip.len())
            .into_bytes();
    answer.extend(gzip);
    let response = answered(answer).unwrap();
    assert_eq!(response.headers()[header::CONTENT_ENCODING], "gzip");
    assert_eq!(response.headers()[header::CONTENT_LENGTH], "25");
    assert_eq!(response.into_body().into_bytes().unwrap(), &gzip[..]);
}

#[test]
fn any_status_is_a_response() {
    for (answer, status) in [
        ("HTTP/1.1 302 Found\r\nLocation: http://192.0.2.1/\r\nContent-Length: 4\r\n\r\ngone", 302),
        ("HTTP/1.1 500 Oh\r\nContent-Length: 4\r\n\r\ngone", 500),
        ("HTTP/1.1 404 No\r\nTransfer-Encoding: chunked\r\n\r\n4\r\ngone\r\n0\r\n\r\n", 404),
        ("HTTP/1.1 103 Hints\r\nLink: a\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\ngone", 200),
    ] {
        let response = answered(answer).unwrap();
        assert_eq!(response.status(), status);
        assert!(response.body().is_end_proven());
        assert_eq!(response.into_body().into_text().unwrap(), "gone");
    }
}

#[test]
fn end_to_end_fields_are_unchanged() {
    let response = answered(
        &b"HTTP/1.1 200 OK\r\nSet-Cookie: a=1\r\nX-Name: caf\xe9\r\nSet-Cookie: b=2\r\nConnection: close, x-hop\r\n\
           X-Hop: 1\r\nKeep-Alive: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"[..],
    )
    .unwrap();
    let headers = response.headers();
    assert_eq!(headers.get_all("set-cookie").iter().collect::<Vec<_>>(), ["a=1", "b=2"]);
    assert_eq!(headers["x-name"].as_bytes(), b"caf\xe9");
    assert_eq!(headers.len(), 3);
    assert!(response.extensions().is_empty());
}

#[test]
fn response_to_head_keeps_its_content_length() {
    let server = ScriptedOrigin::answering(&b"HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\n"[..]);
    let response = send(&Origin::new(), http::Request::head(server.url()), Body::empty()).unwrap();
    assert_eq!(server.finish().line, "HEAD /a?b=c HTTP/1.1");
    assert_eq!(response.headers()[header::CONTENT_LENGTH], "7");
    assert!(response.body().is_empty());
}

#[test]
fn truncated_body_is_an_error() {
    for (answer, text) in [
        ("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabcd", "6 bytes before"),
        ("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n", "10 bytes before"),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nabcd\r\n", "last chunk"),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nab", "last chunk"),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4", "last chunk"),
    ] {
        let mut body = answered(answer).unwrap().into_body();
        let mut taken = Vec::new();
        let error = Error::from(body.read_to_end(&mut taken).unwrap_err());
        assert_eq!(error.kind(), ErrorKind::IncompleteBody, "{answer}");
        assert!(error.to_string().contains(text), "{error}");
        assert!(error.url().is_some_and(|url| url.ends_with("/a")));
        let again = Error::from(body.read(&mut [0; 8]).unwrap_err());
        assert_eq!(again.kind(), ErrorKind::IncompleteBody, "it ended when asked again: {answer}");
        assert_eq!(again.to_string(), error.to_string());
    }
}

#[test]
fn invalid_chunks_are_a_bad_response() {
    let response =
        answered("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\nabcd\r\n0\r\n\r\n").unwrap();
    assert_eq!(response.into_body().into_bytes().unwrap_err().kind(), ErrorKind::BadResponse);
}

#[test]
fn end_of_the_connection_does_not_prove_the_end_of_the_body() {
    for answer in ["HTTP/1.1 200 OK\r\n\r\nabcd", "HTTP/1.0 200 OK\r\n\r\nabcd"] {
        let body = answered(answer).unwrap().into_body();
        assert!(!body.is_end_proven());
        assert_eq!(body.length(), None);
        assert_eq!(body.into_text().unwrap(), "abcd");
    }
}

#[test]
fn ambiguous_framing_is_rejected() {
    for answer in [
        "HTTP/1.1 200 OK\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
        "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 4\r\nContent-Length: 5\r\n\r\nabcde",
        "HTTP/1.1 200 OK\r\nContent-Length: -4\r\n\r\nabcd",
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n",
        "HTTP/2.0 200 OK\r\n\r\n",
        "220 smtp.example ready\r\n",
    ] {
        let error = answered(answer).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::BadResponse, "{answer}: {error}");
    }
}

#[test]
fn stalled_body_times_out() {
    let server = ScriptedOrigin::new(|listener| {
        let mut connection = accept(listener);
        connection.receive();
        connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabcd");
        connection.wait_for_close();
    });
    let origin = Origin::builder().read_timeout(Duration::from_millis(300)).build().unwrap();
    let mut body = get(&origin, &server.url()).unwrap().into_body();
    let mut taken = Vec::new();
    let error = Error::from(body.read_to_end(&mut taken).unwrap_err());
    assert_eq!(error.kind(), ErrorKind::Timeout);
    assert_eq!(taken, b"abcd");
    server.finish();
}

#[test]
fn connection_is_free_after_the_last_byte_of_the_body() {
    let server = ScriptedOrigin::new(|listener| {
        let mut connection = accept(listener);
        for _ in 0..2 {
            connection.receive();
            connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nabcd");
        }
    });
    let origin = Origin::new();
    let mut held = get(&origin, &server.url()).unwrap().into_body();
    held.read_exact(&mut [0; 4]).unwrap();
    assert_eq!(get(&origin, &server.url()).unwrap().into_body().into_text().unwrap(), "abcd");
    assert_eq!(held.read(&mut [0; 4]).unwrap(), 0);
    server.finish();
}
