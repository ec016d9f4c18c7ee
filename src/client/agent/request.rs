//! From the bytes that ureq writes to a request.

use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::uri::{Authority, Scheme};
use http::{Method, Request, Uri};

use super::chunked::{ChunkedDecoder, too_large};
use crate::base::error::{Error, ErrorKind, Result};
use crate::message::body::Body;
use crate::message::header::hop_by_hop;

/// The announced length is believed up to here when memory is set aside.
const BODY_CAPACITY: usize = 1 << 20;

/// A request on its way in.
#[derive(Debug)]
pub(super) struct IncomingRequest {
    url: Uri,
    limit: usize,
    head_bytes: Vec<u8>,
    /// There once the empty line has come.
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
    /// So many bytes are to come.
    Sized(usize),
    Chunked(ChunkedDecoder),
}

impl IncomingRequest {
    /// A request for `url`, with a body of no more than `limit` bytes.
    pub(super) fn new(url: Uri, limit: usize) -> Self {
        Self { url, limit, head_bytes: Vec::new(), head: None, body: Vec::new() }
    }

    /// Takes what ureq writes.
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
            // ureq writes nothing, again and again, when a body ends before its announced length.
            Framing::Sized(left) if input.is_empty() && *left > 0 => {
                Err(bad("the body is shorter than announced"))
            }
            Framing::Sized(left) => {
                *left =
                    left.checked_sub(input.len()).ok_or_else(|| bad("the body is longer than announced"))?;
                self.body.extend_from_slice(input);
                Ok(())
            }
        }
    }

    /// Whether ureq holds the body back until it is told to go on. Said once.
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

    /// The request, for a round trip.
    pub(super) fn finish(self) -> Result<Request<Body>> {
        let url = self.url.clone();
        self.into_request().map_err(|error| error.with_url(url))
    }

    fn into_request(self) -> Result<Request<Body>> {
        if !self.is_whole() {
            return Err(bad("a response was asked for before the request was written"));
        }
        let Some(Head { method, mut headers, .. }) = self.head else {
            return Err(bad("no request was written"));
        };
        if method == Method::CONNECT {
            return Err(bad("CONNECT asks for a tunnel, and there is none here"));
        }
        let url = without_userinfo(self.url)?;
        if let Some(host) = headers.remove(header::HOST)
            && !names_host_of(&host, &url)
        {
            return Err(bad("the Host field names another host than the URL"));
        }
        hop_by_hop::remove(&mut headers);
        headers.remove(header::CONTENT_LENGTH);
        // Answered here.
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
        let not_http = || bad("the request is not HTTP");
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
    /// As ureq frames it: chunked wins over a length.
    fn of(headers: &HeaderMap, limit: usize) -> Result<Self> {
        let mut codings = headers.get_all(header::TRANSFER_ENCODING).into_iter();
        if let Some(coding) = codings.next() {
            if !coding.as_bytes().eq_ignore_ascii_case(b"chunked") || codings.next().is_some() {
                return Err(bad("the only transfer coding of requests is chunked"));
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
            .ok_or_else(|| bad("the Content-Length field is not a number"))?;
        match usize::try_from(length) {
            Ok(length) if length <= limit => Ok(Self::Sized(length)),
            _ => Err(too_large(limit)),
        }
    }
}

/// ureq has made an `Authorization` field of it.
fn without_userinfo(url: Uri) -> Result<Uri> {
    let unusable = || Error::new(ErrorKind::BadUrl, "the URL cannot be used");
    let mut parts = url.into_parts();
    if let Some(authority) = &parts.authority
        && let Some((_, host)) = authority.as_str().rsplit_once('@')
    {
        parts.authority = Some(host.parse::<Authority>().map_err(|error| unusable().with_source(error))?);
    }
    Uri::from_parts(parts).map_err(|error| unusable().with_source(error))
}

/// A round trip goes by the URL alone. A `Host` field that says something else would be lost without
/// a word.
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
