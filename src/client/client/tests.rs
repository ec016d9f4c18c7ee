use super::*;
#[cfg(feature = "peer")]
use crate::message::round_trip::Offline;
use crate::message::round_trip::RoundTripFn;

fn client(transport: impl RoundTrip + 'static) -> Client {
    Client::builder().pool(["http://peer:1/base"]).transport(transport).build().unwrap()
}

fn explain(client: &Client, method: &str) -> Result<String> {
    let request = Request::builder().method(method).uri("http://h/a").header("accept-language", "de");
    client.explain(&request.body(()).unwrap())
}

#[test]
fn explain_asks_the_owner() {
    let client = client(RoundTripFn(|request: Request<Body>| {
        assert_eq!(request.headers()["accept-language"], "de");
        Ok(Response::new(Body::from(format!("{}\n\u{1b}[2J", request.uri()))))
    }));
    let text = explain(&client, "GET").unwrap();
    assert_eq!(text, "http://peer:1/base/proxy/why?q=http%3A%2F%2Fh%2Fa\n?[2J");
    assert_eq!(explain(&client, "POST").unwrap_err().kind(), ErrorKind::BadRequest);
    client.set_pool([""; 0]).unwrap();
    assert_eq!(explain(&client, "GET").unwrap_err().kind(), ErrorKind::NoPeers);
}

#[test]
fn explain_error_names_the_peer() {
    for (mark, kind) in [(None, ErrorKind::BadResponse), (Some(ErrorKind::Loop), ErrorKind::Loop)] {
        let client = client(RoundTripFn(move |_| {
            let mut response = Response::new(Body::from("404 page not found\n"));
            *response.status_mut() = StatusCode::NOT_FOUND;
            if let Some(kind) = mark {
                protocol::mark_failure(response.headers_mut(), kind);
            }
            Ok(response)
        }));
        let error = explain(&client, "GET").unwrap_err();
        assert_eq!((error.kind(), error.peer()), (kind, Some("http://peer:1/base")));
    }
}

#[cfg(feature = "peer")]
#[test]
fn urls_of_peer_endpoints_are_recognised() {
    let client = client(Offline);
    for (url, is_peer) in [
        ("http://peer:1/base/proxy?q=a", true),
        ("http://peer:1/base/proxy/why?q=a", true),
        ("http://peer:1/base/proxy/leaving?q=a", true),
        ("HTTP://Peer:1/base/proxy", true),
        ("http://peer:1/proxy", false),
        ("http://peer:1/base/other", false),
    ] {
        assert_eq!(client.is_peer(&CanonicalUrl::parse(url).unwrap()), is_peer, "{url}");
    }
}
