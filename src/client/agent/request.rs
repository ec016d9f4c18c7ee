//! Parses the bytes that ureq writes into a request.

use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::uri::{Authority, Scheme};
use http::{Method, Request, Uri};

use super::chunked::{ChunkedDecoder, too_large};
use crate::base::error::{Error, ErrorKind, Result};
use crate::message::body::Body;
use crate::message::header::hop_by_hop;

/// Maximum memory reserved for an announced length before data arrives.
const BODY_CAPACITY: usize = 1 << 20;

/// A request that ureq is writing.
#[derive(Debug)]
pub(super) struct IncomingRequest {
    url: Uri,
    limit: usize,
    head_bytes: Vec<u8>,
    /// Set once the empty line after the head has arrived.
    head: Option<Head>,
    body: Vec<u8>,
}

#[derive(Debug)]
struct Head {
    method: Method,
    headers: HeaderMap,
    framing: Framing,
    expects_continue: bool,
}

#[derive(Debug)]
enum Framing {
    /// This many bytes are left.
    Sized(usize),
    Chunked(ChunkedDecoder),
}

impl IncomingRequest {
    /// Starts a request for `url`, with a body of at most `limit` bytes.
    pub(super) fn new(url: Uri, limit: usize) -> Self {
        Self { url, limit, head_bytes: Vec::new(), head: None, body: Vec::new() }
    }

    /// Parses the next bytes that ureq writes.
    pub(super) fn push(&mut self, input: &[u8]) -> Result<()> {
        self.push_parts(input).map_err(|error| error.with_url(&self.url))
    }

    fn push_parts(&mut self, input: &[u8]) -> Result<()> {
        if self.head.is_some() {
            return self.push_body(input);
        }
        self.head_bytes.extend_from_slice(input);
        let Some(length) = self.head_bytes.windows(4).position(|end| end == b"\r\n\r\n").map(|at| at + 4)
        else {
            return Ok(());
        };
        let rest = self.head_bytes.split_off(length);
        let head = Head::parse(&self.head_bytes, self.limit)?;
        self.head_bytes = Vec::new();
        if let Framing::Sized(size) = head.framing {
            self.body.reserve_exact(size.min(BODY_CAPACITY));
        }
        self.head = Some(head);
        if rest.is_empty() { Ok(()) } else { self.push_body(&rest) }
    }

    fn push_body(&mut self, input: &[u8]) -> Result<()> {
        let Some(head) = &mut self.head else {
            return Ok(());
        };
        match &mut head.framing {
            Framing::Chunked(decoder) => decoder.push(input, &mut self.body, self.limit),
            // ureq repeats empty writes when a body ends before its announced length.
            Framing::Sized(left) if input.is_empty() && *left > 0 => {
                Err(bad("the request body is shorter than its announced length"))
            }
            Framing::Sized(left) => {
                *left = left
                    .checked_sub(input.len())
                    .ok_or_else(|| bad("the request body is longer than its announced length"))?;
                self.body.extend_from_slice(input);
                Ok(())
            }
        }
    }

    /// Returns `true` once if ureq waits for `100 Continue` before it sends the body.
    pub(super) fn awaits_continue(&mut self) -> bool {
        let is_whole = self.is_whole();
        match &mut self.head {
            Some(head) if !is_whole => std::mem::take(&mut head.expects_continue),
            _ => false,
        }
    }

    fn is_whole(&self) -> bool {
        self.head.as_ref().is_some_and(|head| match &head.framing {
            Framing::Sized(left) => *left == 0,
            Framing::Chunked(decoder) => decoder.is_complete(),
        })
    }

    /// Returns the request, complete, for the round trip.
    pub(super) fn finish(self) -> Result<Request<Body>> {
        let url = self.url.clone();
        self.into_request().map_err(|error| error.with_url(url))
    }

    fn into_request(self) -> Result<Request<Body>> {
        if !self.is_whole() {
            return Err(bad("ureq read the response before it had written the whole request"));
        }
        let Some(Head { method, mut headers, .. }) = self.head else {
            return Err(bad("ureq read the response before it had written a request"));
        };
        if method == Method::CONNECT {
            return Err(bad("the CONNECT method is not supported by this agent"));
        }
        let url = without_userinfo(self.url)?;
        if let Some(host) = headers.remove(header::HOST)
            && !names_host_of(&host, &url)
        {
            return Err(bad("the Host field does not match the host of the URL"));
        }
        hop_by_hop::remove(&mut headers);
        headers.remove(header::CONTENT_LENGTH);
        // This transport handles `Expect` itself.
        headers.remove(header::EXPECT);
        let mut request = Request::new(Body::from(self.body));
        *request.method_mut() = method;
        *request.uri_mut() = url;
        *request.headers_mut() = headers;
        Ok(request)
    }
}

impl Head {
    fn parse(bytes: &[u8], limit: usize) -> Result<Self> {
        let lines = bytes.iter().filter(|byte| **byte == b'\n').count();
        let mut fields = vec![httparse::EMPTY_HEADER; lines];
        let mut parsed = httparse::Request::new(&mut fields);
        let not_http = || bad("ureq wrote an invalid HTTP request head");
        if parsed.parse(bytes).map_err(|error| not_http().with_source(error))?.is_partial() {
            return Err(not_http());
        }
        let method = parsed.method.and_then(|method| method.parse().ok()).ok_or_else(not_http)?;
        let mut headers = HeaderMap::with_capacity(parsed.headers.len());
        for field in parsed.headers {
            let name = HeaderName::from_bytes(field.name.as_bytes())
                .map_err(|error| not_http().with_source(error))?;
            let value =
                HeaderValue::from_bytes(field.value).map_err(|error| not_http().with_source(error))?;
            headers.append(name, value);
        }
        let framing = Framing::of(&headers, limit)?;
        let expects_continue = headers
            .get_all(header::EXPECT)
            .into_iter()
            .any(|value| value.as_bytes().eq_ignore_ascii_case(b"100-continue"));
        Ok(Self { method, headers, framing, expects_continue })
    }
}

impl Framing {
    /// Follows ureq: chunked takes precedence over a length.
    fn of(headers: &HeaderMap, limit: usize) -> Result<Self> {
        let mut codings = headers.get_all(header::TRANSFER_ENCODING).into_iter();
        if let Some(coding) = codings.next() {
            if !coding.as_bytes().eq_ignore_ascii_case(b"chunked") || codings.next().is_some() {
                return Err(bad("unsupported transfer coding in the request: only chunked is supported"));
            }
            return Ok(Self::Chunked(ChunkedDecoder::new()));
        }
        let Some(length) = headers.get(header::CONTENT_LENGTH) else {
            return Ok(Self::Sized(0));
        };
        let length: u64 = length
            .to_str()
            .ok()
            .and_then(|length| length.trim().parse().ok())
            .ok_or_else(|| bad("the Content-Length field of the request is not a number"))?;
        match usize::try_from(length) {
            Ok(length) if length <= limit => Ok(Self::Sized(length)),
            _ => Err(too_large(limit)),
        }
    }
}

/// Removes userinfo, from which ureq has made an `Authorization` field.
fn without_userinfo(url: Uri) -> Result<Uri> {
    let unusable = || Error::new(ErrorKind::BadUrl, "the URL is not valid without its userinfo");
    let mut parts = url.into_parts();
    if let Some(authority) = &parts.authority
        && let Some((_, host)) = authority.as_str().rsplit_once('@')
    {
        parts.authority = Some(host.parse::<Authority>().map_err(|error| unusable().with_source(error))?);
    }
    Uri::from_parts(parts).map_err(|error| unusable().with_source(error))
}

/// Returns whether a `Host` field names the host of the URL. A round trip uses only the URL, so that a
/// different `Host` field would be lost silently.
fn names_host_of(field: &HeaderValue, url: &Uri) -> bool {
    let default = if url.scheme() == Some(&Scheme::HTTPS) { 443 } else { 80 };
    let Some(named) = field.to_str().ok().and_then(|host| host.trim().parse::<Authority>().ok()) else {
        return false;
    };
    url.authority().is_some_and(|authority| {
        authority.host().eq_ignore_ascii_case(named.host())
            && authority.port_u16().unwrap_or(default) == named.port_u16().unwrap_or(default)
    })
}

fn bad(message: &str) -> Error {
    Error::new(ErrorKind::BadRequest, message)
}

#[cfg(test)]
mod tests;
