//! Prepares a request for sending: its header fields and the framing of its body.

use std::io::{self, Read};

use http::header::{self, HeaderMap, HeaderValue};
use http::uri::Scheme;
use http::{Method, Request, Uri, Version};
use ureq::SendBody;

use super::options::OUTPUT_BUFFER_BYTES;
use crate::base::error::{Error, ErrorKind, Result};
use crate::message::body::Body;
use crate::message::header::hop_by_hop;
use crate::pool::protocol::ForPeer;

/// Returns the head to send and the body, if there is one. The head contains `Content-Length` if the length
/// is known.
///
/// Rejects requests that cannot be sent. A protocol error that ureq reports later is therefore the origin's
/// fault.
pub(super) fn prepare(request: Request<Body>) -> Result<(Request<()>, Option<RequestBody>)> {
    let (mut parts, body) = request.into_parts();
    check_url(&parts.uri).map_err(|text| Error::new(ErrorKind::BadUrl, text).with_url(&parts.uri))?;

    let for_peer = parts.extensions.get::<ForPeer>().is_some();
    let credential = parts.headers.get(header::PROXY_AUTHORIZATION).filter(|_| for_peer).cloned();
    hop_by_hop::remove(&mut parts.headers);
    if let Some(credential) = credential {
        parts.headers.insert(header::PROXY_AUTHORIZATION, credential);
    }
    // The framing belongs to this connection, `Host` follows from the URL, and this client never waits for
    // 100 (Continue).
    for name in [header::CONTENT_LENGTH, header::EXPECT, header::HOST] {
        parts.headers.remove(name);
    }
    let length = body.length();
    if length.is_some_and(|length| length > 0 || expects_content(&parts.method)) {
        parts.headers.insert(header::CONTENT_LENGTH, HeaderValue::from(length.unwrap_or(0)));
    }
    check_head(&parts.method, &parts.uri, &parts.headers)
        .map_err(|text| Error::new(ErrorKind::BadRequest, text).with_url(&parts.uri))?;

    let mut head = Request::new(());
    *head.method_mut() = parts.method;
    *head.uri_mut() = parts.uri;
    *head.headers_mut() = parts.headers;
    *head.version_mut() = Version::HTTP_11;
    let body = (!body.is_empty()).then(|| RequestBody { left: length, body });
    Ok((head, body))
}

fn check_url(url: &Uri) -> Result<(), &'static str> {
    if url.scheme() != Some(&Scheme::HTTP) && url.scheme() != Some(&Scheme::HTTPS) {
        return Err("the URL is not an absolute http or https URL");
    }
    let Some(authority) = url.authority() else {
        return Err("the URL has no host");
    };
    if authority.as_str().contains('@') {
        return Err("the URL has userinfo, which is not supported");
    }
    if authority.host().is_empty() {
        return Err("the URL has no host");
    }
    // ureq would silently replace an invalid port by the default port of the scheme.
    let port = authority.as_str()[authority.host().len()..].trim_start_matches(':');
    if !port.is_empty() && !port.parse::<u16>().is_ok_and(|port| port > 0) {
        return Err("the URL has an invalid port");
    }
    Ok(())
}

fn check_head(method: &Method, url: &Uri, headers: &HeaderMap) -> Result<(), &'static str> {
    if method == Method::CONNECT {
        return Err("CONNECT is not supported: this client opens no tunnels");
    }
    // " HTTP/1.1", a slash that may be added, and line endings.
    const LINE_OVERHEAD: usize = 20;
    let target = url.path_and_query().map_or(1, |target| target.as_str().len());
    if method.as_str().len() + target + LINE_OVERHEAD > OUTPUT_BUFFER_BYTES {
        return Err("the URL is too long: a request line has at most 32 KiB");
    }
    if headers
        .iter()
        .any(|(name, value)| name.as_str().len() + value.len() + LINE_OVERHEAD > OUTPUT_BUFFER_BYTES)
    {
        return Err("a header field is too long: a field line has at most 32 KiB");
    }
    if headers.get(header::AUTHORIZATION).is_some_and(|value| value.to_str().is_err()) {
        return Err("the header field Authorization is not ASCII");
    }
    Ok(())
}

/// Whether requests with this method announce `Content-Length: 0` if they have no content (RFC 9110 section
/// 8.6).
fn expects_content(method: &Method) -> bool {
    matches!(*method, Method::POST | Method::PUT | Method::PATCH)
}

/// The body of a request while it is sent: yields exactly the announced length, or fails with an [`Error`] of
/// this crate.
///
/// Without this wrapper, a failure of the body would look like a failure of the connection, and the origin
/// would wait without limit for a body that is too short.
pub(super) struct RequestBody {
    body: Body,
    left: Option<u64>,
}

impl RequestBody {
    pub(super) fn into_send_body(self) -> SendBody<'static> {
        SendBody::from_owned_reader(self)
    }
}

impl Read for RequestBody {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let most = self.left.map_or(buffer.len(), |left| {
            usize::try_from(left).map_or(buffer.len(), |left| left.min(buffer.len()))
        });
        if most == 0 {
            return Ok(0);
        }
        let count = loop {
            match self.body.read(&mut buffer[..most]) {
                Ok(count) => break count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(unreadable(error).into()),
            }
        };
        if let Some(left) = &mut self.left {
            if count == 0 {
                let message = format!("the body of the request ended {left} bytes before its announced length");
                return Err(Error::new(ErrorKind::IncompleteBody, message).into());
            }
            *left -= count as u64;
        }
        Ok(count)
    }
}

fn unreadable(error: io::Error) -> Error {
    match error.downcast::<Error>() {
        Ok(ours) => ours,
        Err(error) => Error::new(ErrorKind::Io, format!("cannot read the body of the request: {error}"))
            .with_source(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn prepared(request: http::request::Builder, body: Body) -> Result<Request<()>> {
        prepare(request.body(body).unwrap()).map(|(head, _)| head)
    }

    #[test]
    fn what_ends_at_this_hop_is_not_sent() {
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
    fn a_length_is_announced_where_it_says_something() {
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
    fn only_plain_absolute_urls_are_fetched() {
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
    fn what_cannot_be_sent_is_the_requests_fault() {
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
    fn a_body_is_exactly_as_long_as_announced() {
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
    fn a_body_that_cannot_be_read_is_told_from_a_broken_connection() {
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
}
