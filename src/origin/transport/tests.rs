use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};

use super::super::testing::{Received, ScriptedOrigin, accept, get, send};
use super::*;
use crate::base::tls::testing::{self, Authority, server_config};

const OK: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

fn received(head: impl FnOnce(String) -> http::request::Builder, body: Body) -> Received {
    let server = ScriptedOrigin::answering(OK);
    let response = send(&Origin::new(), head(server.url()), body).unwrap();
    assert_eq!(response.into_body().into_text().unwrap(), "ok");
    server.finish()
}

#[test]
fn only_host_and_user_agent_are_added() {
    for (origin, user_agent) in [
        (Origin::new(), Some("forwardcache/0.1")),
        (Origin::builder().build().unwrap(), Some("forwardcache/0.1")),
        (Origin::builder().user_agent("me").build().unwrap(), Some("me")),
        (Origin::builder().user_agent("").build().unwrap(), None),
    ] {
        let server = ScriptedOrigin::answering(OK);
        let address = server.address();
        get(&origin, &server.url()).unwrap();
        let mut received = server.finish();
        assert_eq!(received.line, "GET /a?b=c HTTP/1.1");
        let mut expected = vec![format!("host: {address}")];
        expected.extend(user_agent.map(|value| format!("user-agent: {value}")));
        received.fields.sort();
        assert_eq!(received.fields, expected);
    }
    assert_eq!(Origin::builder().user_agent("a\nb").build().unwrap_err().kind(), ErrorKind::BadOption);
}

#[test]
fn request_fields_are_sent_unchanged() {
    let obs_text = HeaderValue::from_bytes(b"caf\xc3\xa9").unwrap();
    let received = received(
        |url| {
            Request::get(url)
                .header("x-list", "1")
                .header("user-agent", "me")
                .header("x-list", "2")
                .header("x-name", obs_text)
                .header("host", "elsewhere")
                .header("connection", "x-hop")
                .header("x-hop", "1")
        },
        Body::empty(),
    );
    let (hosts, others): (Vec<_>, Vec<_>) =
        received.fields.into_iter().partition(|field| field.starts_with("host:"));
    assert_eq!(others, ["x-list: 1", "x-list: 2", "user-agent: me", "x-name: caf\u{e9}"]);
    assert_eq!(hosts.len(), 1);
    assert!(hosts[0].starts_with("host: 127.0.0.1:"));
}

#[test]
fn every_method_may_have_a_body() {
    for method in ["POST", "PUT", "PATCH", "DELETE", "GET", "OPTIONS", "PROPFIND"] {
        let received = received(|url| Request::builder().method(method).uri(url), Body::from("abc"));
        assert_eq!(received.line, format!("{method} /a?b=c HTTP/1.1"));
        assert!(received.fields.contains(&"content-length: 3".to_owned()), "{method}");
        assert_eq!(received.body, b"abc");
    }
}

#[test]
fn every_method_may_have_no_body() {
    for method in ["POST", "PUT", "PATCH", "DELETE", "GET", "OPTIONS", "PROPFIND"] {
        let received = received(|url| Request::builder().method(method).uri(url), Body::empty());
        let announces = received.fields.contains(&"content-length: 0".to_owned());
        assert_eq!(announces, method.starts_with('P') && method != "PROPFIND", "{method}");
        assert_eq!(received.fields.len(), 2 + usize::from(announces));
    }
}

#[test]
fn body_of_unknown_length_is_chunked() {
    for method in ["POST", "GET", "PROPFIND"] {
        let text = "x".repeat(100_000);
        let body = Body::from_reader(std::io::Cursor::new(text.clone()), None);
        let received = received(|url| Request::builder().method(method).uri(url), body);
        assert!(received.fields.contains(&"transfer-encoding: chunked".to_owned()), "{method}");
        assert_eq!(received.body, text.as_bytes());
    }
}

#[test]
fn large_body_of_known_length_is_sent_completely() {
    let text = "x".repeat(1_000_000);
    let received = received(Request::post, Body::from(text.clone()));
    assert!(received.body == text.as_bytes());
}

#[test]
fn truncated_request_body_is_not_an_origin_failure() {
    let server = ScriptedOrigin::new(|listener| accept(listener).wait_for_close());
    let body = Body::from_reader(&b"abc"[..], Some(5));
    let error = send(&Origin::new(), Request::post(server.url()), body).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::IncompleteBody);
    server.finish();
}

#[test]
fn dead_idle_connection_causes_one_retry() {
    let server = ScriptedOrigin::new(|listener| {
        let mut first = accept(listener);
        first.receive();
        first.send(OK);
        first.receive();
        drop(first);
        let mut second = accept(listener);
        second.receive();
        second.send(OK);
    });
    let origin = Origin::new();
    for _ in 0..2 {
        let response = get(&origin, &server.url()).unwrap();
        assert_eq!(response.into_body().into_text().unwrap(), "ok");
    }
    server.finish();
}

#[test]
fn origin_that_closes_every_connection_is_tried_twice() {
    let server = ScriptedOrigin::new(|listener| {
        for _ in 0..2 {
            accept(listener).receive();
        }
        listener.try_clone().unwrap()
    });
    let error = get(&Origin::new(), &server.url()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unreachable);
    assert!(no_more_connections(&server.finish()));
}

#[test]
fn retry_shares_the_deadline_of_the_first_attempt() {
    let second = Duration::from_secs(1);
    let begun = Instant::now();
    let deadline = Deadline::of_remaining(Some(5 * second), None, begun).unwrap();
    let origin = Origin::builder().response_timeout(9 * second).build().unwrap();
    let at = |seconds: Option<u32>| seconds.map(|seconds| begun + seconds * second);
    for (deadline, within, head, whole) in [
        (None, None, Some(9), None),
        (Some(deadline), None, Some(9), Some(5)),
        (Some(deadline.for_head()), None, Some(5), None),
        (None, Some(3), Some(3), None),
        (Some(deadline.for_head()), Some(3), Some(3), None),
    ] {
        let mut request = Request::get("http://a/").body(Body::empty()).unwrap();
        if let Some(deadline) = deadline {
            request.extensions_mut().insert(deadline);
        }
        if let Some(seconds) = within {
            request.extensions_mut().insert(HeadTimeout(seconds * second));
        }
        let terms = origin.inner.terms(&request, begun);
        assert_eq!(
            (terms.head_deadline, terms.whole_deadline),
            (at(head), at(whole)),
            "{deadline:?} {within:?}"
        );
        let sending = request.map(|_| Body::from("content"));
        let terms = origin.inner.terms(&sending, begun);
        assert_eq!(terms.head_timeout_after_content, Some(9 * second));
    }

    let limit = Duration::from_millis(100);
    let server = ScriptedOrigin::new(move |listener| {
        accept(listener).receive();
        let mut second = accept(listener);
        second.receive();
        second.wait_for_close();
        listener.try_clone().unwrap()
    });
    let origin = Origin::builder().response_timeout(limit).build().unwrap();
    let error = get(&origin, &server.url()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Timeout, "{error}");
    assert!((limit..10 * limit).contains(&begun.elapsed()));
    assert!(no_more_connections(&server.finish()));
}

#[test]
fn unrepeatable_requests_are_sent_once() {
    for (method, body) in [("POST", Body::from("abc")), ("POST", Body::empty()), ("GET", Body::from("abc"))] {
        let server = ScriptedOrigin::new(|listener| {
            let mut connection = accept(listener);
            connection.receive();
            connection.send(OK);
            connection.receive();
            listener.try_clone().unwrap()
        });
        let origin = Origin::new();
        get(&origin, &server.url()).unwrap().into_body().into_bytes().unwrap();
        let error = send(&origin, Request::builder().method(method).uri(server.url()), body).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unreachable);
        assert!(no_more_connections(&server.finish()), "{method}");
    }
}

fn no_more_connections(listener: &TcpListener) -> bool {
    listener.set_nonblocking(true).unwrap();
    listener.accept().is_err()
}

#[test]
fn endless_head_is_rejected() {
    const ENDLESS: u64 = 300 << 20;
    let server = ScriptedOrigin::new(|listener| {
        let mut connection = accept(listener);
        connection.receive();
        connection.send(b"HTTP/1.1 200 OK\r\nX-Long: ");
        let piece = [b'a'; 64 * 1024];
        let mut sent = 0;
        while sent < ENDLESS && connection.try_send(&piece).is_ok() {
            sent += piece.len() as u64;
        }
        sent
    });
    let error = get(&Origin::new(), &server.url()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::BadResponse);
    assert!(server.finish() < ENDLESS);
}

#[test]
fn too_many_fields_are_a_bad_response() {
    let mut answer = b"HTTP/1.1 200 OK\r\n".to_vec();
    answer.extend(b"a: b\r\n".repeat(1000));
    answer.extend(b"\r\n");
    let server = ScriptedOrigin::answering(answer);
    assert_eq!(get(&Origin::new(), &server.url()).unwrap_err().kind(), ErrorKind::BadResponse);
    server.finish();
}

#[test]
fn closed_port_is_unreachable() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/a?secret", listener.local_addr().unwrap());
    drop(listener);
    let error = get(&Origin::new(), &url).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unreachable);
    assert_eq!(error.url(), url.strip_suffix("?secret"));
    assert!(std::error::Error::source(&error).is_some());
}

#[test]
fn impossible_name_is_unresolved() {
    // Longer than a DNS label may be, so that no name server is queried.
    let error = get(&Origin::new(), &format!("http://{}.invalid/", "x".repeat(64))).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unresolved);
    assert!(error.to_string().starts_with("cannot resolve the host name: "));
}

#[test]
fn silent_origin_times_out() {
    let server = ScriptedOrigin::new(|listener| {
        let mut connection = accept(listener);
        connection.receive();
        connection.wait_for_close();
    });
    let limit = Duration::from_millis(50);
    let origin = Origin::builder().response_timeout(limit).build().unwrap();
    let error = get(&origin, &server.url()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Timeout);
    assert!(error.to_string().starts_with("no response in time: http://127.0.0.1"), "{error}");
    server.finish();
}

#[test]
fn origin_without_tls_fails_the_handshake() {
    let server = ScriptedOrigin::new(|listener| {
        let (mut stream, _) = listener.accept().unwrap();
        stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").unwrap();
        std::io::copy(&mut stream, &mut std::io::sink()).ok();
    });
    let url = server.url().replace("http:", "https:");
    assert_eq!(get(&Origin::new(), &url).unwrap_err().kind(), ErrorKind::Tls);
    server.finish();
}

/// Starts an origin with a certificate of this authority. If `of_clients` is given, the origin requires a
/// client certificate of that authority. The script returns whether a response was sent.
fn tls_origin(authority: &Authority, of_clients: Option<&Authority>) -> ScriptedOrigin<bool> {
    let config = server_config(authority, of_clients.map(|authority| (authority, true)));
    ScriptedOrigin::new(move |listener| {
        let (stream, _) = listener.accept().unwrap();
        answer_over_tls(stream, config).is_ok()
    })
}

fn answer_over_tls(stream: TcpStream, config: rustls::ServerConfig) -> std::io::Result<()> {
    let connection = rustls::ServerConnection::new(Arc::new(config)).unwrap();
    let mut stream = rustls::StreamOwned::new(connection, stream);
    if let Err(error) = stream.read(&mut [0; 4096]) {
        // Closing a socket with unread bytes resets the connection, and the TLS alert may be lost.
        stream.sock.shutdown(Shutdown::Write)?;
        std::io::copy(&mut stream.sock, &mut std::io::sink())?;
        return Err(error);
    }
    stream.write_all(OK)
}

fn https(server: &ScriptedOrigin<bool>) -> String {
    format!("https://localhost:{}/", server.address().port())
}

#[test]
fn configured_root_is_trusted() {
    let authority = Authority::new();
    let server = tls_origin(&authority, None);
    let origin = Origin::builder().root_certificates_pem(authority.certificate).build().unwrap();
    assert_eq!(get(&origin, &https(&server)).unwrap().into_body().into_text().unwrap(), "ok");
    assert!(server.finish());
}

#[test]
fn certificate_with_unknown_issuer_fails_the_handshake() {
    let server = tls_origin(&Authority::new(), None);
    let error = get(&Origin::new(), &https(&server)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Tls);
    assert!(error.reason().contains("UnknownIssuer"), "{error:#}");
    assert!(!server.finish());
}

#[test]
fn client_certificate_is_sent_to_servers_that_request_one() {
    let (authority, of_clients) = (Authority::new(), Authority::new());
    let made = of_clients.sign("a client");
    let directory = tempfile::tempdir().unwrap();
    let (certificates, key) = (directory.path().join("client.pem"), directory.path().join("client.key"));
    std::fs::write(&certificates, &made.certificate).unwrap();
    std::fs::write(&key, &made.key).unwrap();
    let builder = Origin::builder().root_certificates_pem(authority.certificate.clone());
    for builder in [
        builder.clone().client_certificate_files(certificates, key),
        builder.client_certificate_pem(made.certificate, made.key),
    ] {
        let origin = builder.build().unwrap();
        for of_clients in [Some(&of_clients), None] {
            let server = tls_origin(&authority, of_clients);
            assert_eq!(get(&origin, &https(&server)).unwrap().into_body().into_text().unwrap(), "ok");
            assert!(server.finish());
        }
    }
}

#[test]
fn client_key_may_have_every_supported_format() {
    let authority = Authority::new();
    for text in [testing::PKCS1, testing::SEC1] {
        let server = tls_origin(&authority, None);
        let builder = Origin::builder().root_certificates_pem(authority.certificate.clone());
        let origin = builder.client_certificate_pem(text, text).build().unwrap();
        get(&origin, &https(&server)).unwrap();
        assert!(server.finish());
    }
}

#[test]
fn reload_applies_to_new_connections_and_keeps_old_certificates_on_error() {
    let (authority, of_clients) = (Authority::new(), Authority::new());
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name);
    let write = |roots: &str, made: &testing::Made| {
        std::fs::write(path("roots"), roots).unwrap();
        std::fs::write(path("certificate"), &made.certificate).unwrap();
        std::fs::write(path("key"), &made.key).unwrap();
    };
    let ask = |origin: &Origin| {
        let server = tls_origin(&authority, Some(&of_clients));
        let answer = get(origin, &https(&server)).map(|response| response.status().as_u16());
        assert_eq!(server.finish(), answer.is_ok());
        answer.ok()
    };
    let other = Authority::new();
    write(&other.certificate, &other.sign("a client"));
    let builder = Origin::builder().root_certificates_file(path("roots"));
    let origin = builder.client_certificate_files(path("certificate"), path("key")).build().unwrap();
    origin.set_rules(OriginRules::trusting());
    assert_eq!(ask(&origin), None);
    write(&authority.certificate, &of_clients.sign("a client"));
    assert_eq!(ask(&origin), None, "the files were not read again yet");
    origin.clone().reload_certificates().unwrap();
    assert_eq!(ask(&origin), Some(200));
    assert_eq!(origin.rules(), OriginRules::trusting());
    for name in ["roots", "certificate", "key"] {
        let good = std::fs::read(path(name)).unwrap();
        std::fs::write(path(name), "nothing").unwrap();
        let error = origin.reload_certificates().unwrap_err();
        assert!(error.to_string().contains(path(name).to_str().unwrap()), "{error}");
        assert_eq!(ask(&origin), Some(200));
        std::fs::write(path(name), good).unwrap();
    }
}

#[test]
fn reload_closes_idle_connections() {
    let server = ScriptedOrigin::new(|listener| {
        for _ in 0..2 {
            let mut connection = accept(listener);
            connection.receive();
            connection.send(OK);
            connection.wait_for_close();
        }
    });
    let origin = Origin::new();
    for _ in 0..2 {
        get(&origin, &server.url()).unwrap().into_body().into_bytes().unwrap();
        origin.reload_certificates().unwrap();
    }
    server.finish();
}

#[test]
fn handshake_fails_without_the_requested_certificate() {
    let (authority, of_clients) = (Authority::new(), Authority::new());
    let builder = Origin::builder().root_certificates_pem(authority.certificate.clone());
    let made = authority.sign("a client of another authority");
    for builder in [builder.clone(), builder.client_certificate_pem(made.certificate, made.key)] {
        let server = tls_origin(&authority, Some(&of_clients));
        let error = get(&builder.build().unwrap(), &https(&server)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Tls, "{error}");
        assert!(!server.finish());
    }
}

#[test]
fn origin_is_send_sync_and_clone() {
    fn shared<T: Send + Sync + Clone + 'static>(_: &T) {}
    shared(&Origin::new());
}
