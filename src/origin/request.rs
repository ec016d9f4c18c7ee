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
use crate::pool::protocol::SentToPeer;

/// Returns the head to send and the body, if there is one. The head contains `Content-Length` if the length
/// is known.
///
/// Rejects requests that cannot be sent. A protocol error that ureq reports later is therefore the origin's
/// fault.
pub(super) fn prepare(request: Request<Body>) -> Result<(Request<()>, Option<RequestBody>)> {
    let (mut parts, body) = request.into_parts();
    check_url(&parts.uri).map_err(|text| Error::new(ErrorKind::BadUrl, text).with_url(&parts.uri))?;

    let for_peer = parts.extensions.get::<SentToPeer>().is_some();
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
                let message =
                    format!("the body of the request ended {left} bytes before its announced length");
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
        Err(error) => Error::new(ErrorKind::Io, "cannot read the body of the request").with_source(error),
    }
}

#[cfg(test)]
mod tests;
