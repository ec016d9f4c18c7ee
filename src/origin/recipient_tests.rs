//! The requirements of RFC 9112 for recipients of responses, section by section, over real sockets.

use std::sync::{Arc, Mutex};

use http::Request;

use super::Origin;
use super::testing::{ScriptedOrigin, accept, get, send};
use crate::base::error::{ErrorKind, Result};
use crate::message::body::Body;
use crate::message::interim::OnInterim;

/// Status, value of the field `A`, and body; or the error kind.
type Read = Result<(u16, String, String), ErrorKind>;

fn ok(status: u16, field: &str, body: &str) -> Read {
    Ok((status, field.to_owned(), body.to_owned()))
}

fn read(method: &str, answer: &[u8]) -> Read {
    let server = ScriptedOrigin::answering(answer);
    let request = Request::builder().method(method).uri(server.url());
    let response = send(&Origin::new(), request, Body::empty());
    server.finish();
    let response = response.map_err(|error| error.kind())?;
    let field =
        response.headers().get("a").map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned());
    assert!(!response.headers().contains_key("transfer-encoding"));
    let status = response.status().as_u16();
    let body = response.into_body().into_text().map_err(|error| error.kind())?;
    Ok((status, field.unwrap_or_default(), body))
}

#[test]
fn every_requirement_on_recipients_holds() {
    const BAD: Read = Err(ErrorKind::BadResponse);
    const CUT: Read = Err(ErrorKind::IncompleteBody);
    let head = |fields: &str| format!("HTTP/1.1 200 OK\r\n{fields}\r\n\r\nok");
    let chunked = |body: &str| format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{body}");
    let rows: Vec<(&str, String, Read)> = vec![
        (
            "2.2: octets, not characters",
            head("A: caf\u{e9}\r\nContent-Length: 2"),
            ok(200, "caf\u{e9}", "ok"),
        ),
        (
            "2.2: a bare LF ends a line",
            "HTTP/1.1 200 OK\nA: 1\nContent-Length: 2\n\nok".to_owned(),
            ok(200, "1", "ok"),
        ),
        ("2.2: a bare CR is a space", head("A: 1\r2\r\nContent-Length: 2"), ok(200, "1 2", "ok")),
        ("2.2: a bare CR in framing", head("Content-Length: 2\r1"), BAD),
        (
            "2.2: white space before the first field",
            head(" X: 1\r\nA: 2\r\nContent-Length: 2"),
            ok(200, "2", "ok"),
        ),
        (
            "2.2: empty lines before the head",
            format!("\r\n\r\n{}", head("Content-Length: 2")),
            ok(200, "", "ok"),
        ),
        ("2.3: a later minor version", head("Content-Length: 2").replace("1.1", "1.2"), ok(200, "", "ok")),
        ("2.3: another major version", head("Content-Length: 2").replace("1.1", "2.0"), BAD),
        ("2.3: the name is case-sensitive", head("Content-Length: 2").replace("HTTP", "http"), BAD),
        ("4: no reason phrase", head("Content-Length: 2").replace(" OK", ""), ok(200, "", "ok")),
        (
            "4: an odd reason phrase",
            head("Content-Length: 2").replace(" OK", " \u{e9}\t!"),
            ok(200, "", "ok"),
        ),
        (
            "4: words further apart",
            head("Content-Length: 2").replace(" 200 ", " \t 200  "),
            ok(200, "", "ok"),
        ),
        ("4: no status", head("Content-Length: 2").replace("200", "2x0"), BAD),
        ("5.1: space before the colon", head("A : 1\r\nContent-Length\t: 2"), ok(200, "1", "ok")),
        ("5.1: space around the value", head("A:\t 1 \t\r\nContent-Length:2"), ok(200, "1", "ok")),
        ("5.1: no colon", head("A 1\r\nContent-Length: 2"), BAD),
        ("5.1: no name", head(": 1\r\nContent-Length: 2"), BAD),
        ("5.2: obs-fold", head("A: 1\r\n 2\r\n\t3\r\nContent-Length:\r\n 2"), ok(200, "1 2 3", "ok")),
        ("5.2: obs-fold makes two lengths", head("Content-Length: 2\r\n 1"), BAD),
        (
            "RFC 9110 5.5: NUL and other control characters",
            head("A: 1\x002\x013\r\nContent-Length: 2"),
            ok(200, "1 2 3", "ok"),
        ),
        ("RFC 9110 5.6.1: empty members", head("Content-Length: ,2,, 2"), ok(200, "", "ok")),
        ("6.1: coding and length", head("Content-Length: 2\r\nTransfer-Encoding: chunked"), BAD),
        ("6.1: coding in HTTP/1.0", chunked("0\r\n\r\n").replace("1.1", "1.0"), BAD),
        (
            "6.1: names of codings have no case",
            chunked("2\r\nok\r\n0\r\n\r\n").replace("chunked", "CHUNKED"),
            ok(200, "", "ok"),
        ),
        ("6.1: chunked twice", chunked("0\r\n\r\n").replace("chunked", "chunked, chunked"), BAD),
        ("6.3: another coding", chunked("0\r\n\r\n").replace("chunked", "gzip, chunked"), BAD),
        ("6.3: chunked is not the last", chunked("ok").replace("chunked", "chunked, gzip"), BAD),
        (
            "6.3: a 204 has no body",
            "HTTP/1.1 204 No\r\nTransfer-Encoding: chunked\r\nA: 1\r\n\r\n".to_owned(),
            ok(204, "1", ""),
        ),
        (
            "6.3: a 304 has no body",
            "HTTP/1.1 304 No\r\nContent-Length: x\r\nA: 1\r\n\r\n".to_owned(),
            ok(304, "1", ""),
        ),
        ("6.3: a bad length", head("Content-Length: 2x"), BAD),
        ("6.3: a huge length", head("Content-Length: 99999999999999999999"), BAD),
        ("6.3: two lengths", head("Content-Length: 2\r\nContent-Length: 1"), BAD),
        ("6.3: the same length twice", head("Content-Length: 2\r\nContent-Length: 2, 2"), ok(200, "", "ok")),
        ("6.3: neither", head("A: 1"), ok(200, "1", "ok")),
        ("7.1: sizes", chunked("0002\r\nok\r\nA\r\n0123456789\r\n00\r\n\r\n"), ok(200, "", "ok0123456789")),
        ("7.1: overflow", chunked("ffffffffffffffffff\r\nok\r\n0\r\n\r\n"), BAD),
        ("7.1: a sign", chunked("+2\r\nok\r\n0\r\n\r\n"), BAD),
        (
            "7.1.1: extensions",
            chunked(&format!("2 ;a;b=\"{}\"\r\nok\r\n0;c\r\n\r\n", "x".repeat(2000))),
            ok(200, "", "ok"),
        ),
        (
            "7.1.1: extensions without end",
            chunked(&format!("2;{}\r\nok\r\n0\r\n\r\n", "x".repeat(9000))),
            BAD,
        ),
        ("7.1.2: trailers", chunked("2\r\nok\r\n0\r\nA: 1\r\nContent-Length: 9\r\n\r\n"), ok(200, "", "ok")),
        ("8: less than the length", head("Content-Length: 3"), CUT),
        ("8: no last chunk", chunked("2\r\nok\r\n"), CUT),
        ("8: no end of the head", "HTTP/1.1 200 OK\r\nA: 1\r\n".to_owned(), Err(ErrorKind::Unreachable)),
    ];
    for (duty, answer, expected) in rows {
        assert_eq!(read("GET", answer.as_bytes()), expected, "{duty}: {answer:?}");
    }
    for fields in
        ["Content-Length: 2\r\nTransfer-Encoding: chunked", "Transfer-Encoding: gzip", "Content-Length: x"]
    {
        let answer = format!("HTTP/1.1 200 OK\r\nA: 1\r\n{fields}\r\n\r\n");
        assert_eq!(read("HEAD", answer.as_bytes()), ok(200, "1", ""), "6.3: HEAD has no content, {fields}");
    }
}

/// Section 9.2: bytes after a response are not the response to the next request.
#[test]
fn bytes_after_a_response_are_not_another_response() {
    for (ok, extra) in [
        ("Content-Length: 2\r\n\r\nok", "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil"),
        (
            "Transfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil",
        ),
        ("Transfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n", "x"),
    ] {
        let server = ScriptedOrigin::new(move |listener| {
            let mut first = accept(listener);
            first.receive();
            first.send(format!("HTTP/1.1 200 OK\r\n{ok}{extra}").as_bytes());
            let mut second = accept(listener);
            second.receive();
            second.send(format!("HTTP/1.1 200 OK\r\n{ok}").as_bytes());
        });
        let origin = Origin::new();
        for _ in 0..2 {
            assert_eq!(get(&origin, &server.url()).unwrap().into_body().into_text().unwrap(), "ok");
        }
        server.finish();
    }
}

#[test]
fn connection_is_reused_after_a_chunked_body() {
    let server = ScriptedOrigin::new(|listener| {
        let mut connection = accept(listener);
        for _ in 0..3 {
            connection.receive();
            connection
                .send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2;x\r\nok\r\n0\r\nA: 1\r\n\r\n");
        }
    });
    let origin = Origin::new();
    for _ in 0..3 {
        assert_eq!(get(&origin, &server.url()).unwrap().into_body().into_text().unwrap(), "ok");
    }
    server.finish();
}

/// RFC 9110 section 15.2: interim responses are passed on as they arrive, before the final response.
#[test]
fn interim_responses_are_passed_on() {
    let told = Arc::new(Mutex::new(Vec::new()));
    let server = ScriptedOrigin::new({
        let told = Arc::clone(&told);
        move |listener| {
            let mut connection = accept(listener);
            connection.receive();
            connection.send(
                b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink : </a>\r\nConnection: x\r\nX: 1\r\n\r\n",
            );
            while told.lock().unwrap().is_empty() {
                std::thread::yield_now();
            }
            connection.send(b"HTTP/1.1 102 Processing\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
        }
    });
    let tell = Arc::clone(&told);
    let on_interim = OnInterim::new(move |status, headers| {
        let link = headers.get("link").map(|link| link.to_str().unwrap().to_owned());
        tell.lock().unwrap().push((status.as_u16(), link, headers.len()));
    });
    let response =
        send(&Origin::new(), Request::get(server.url()).extension(on_interim), Body::empty()).unwrap();
    assert_eq!(response.into_body().into_text().unwrap(), "ok");
    server.finish();
    assert_eq!(*told.lock().unwrap(), [(103, Some("</a>".to_owned()), 1), (102, None, 0)]);
}
