//! A strict parser for HTTP/1.1 messages. The origins and the raw client reject messages that violate RFC 9112, so
//! that a test fails on them.

use std::fmt;
use std::io::{self, Read};

use http::{HeaderMap, HeaderName, HeaderValue, Method};

const MAX_FIELDS: usize = 128;

/// A stream with a buffer of bytes that have been read but not consumed.
pub(crate) struct Reader<S> {
    stream: S,
    unused: Vec<u8>,
}

/// How the length of a body is determined.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Framing {
    Nothing,
    Length(u64),
    Chunked,
    UntilClose,
}

/// The head of a request.
pub(crate) struct RequestHead {
    pub(crate) method: Method,
    pub(crate) target: String,
    /// The minor version: 0 or 1.
    pub(crate) minor: u8,
    pub(crate) headers: HeaderMap,
}

/// A violation of RFC 9112, carried inside an [`io::Error`].
#[derive(Debug)]
pub(crate) struct Malformed(String);

impl Malformed {
    /// Returns the violation that this error carries, if any.
    pub(crate) fn within(error: &io::Error) -> Option<&Self> {
        error.get_ref()?.downcast_ref()
    }
}

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Malformed {}

pub(crate) fn malformed(what: impl Into<String>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, Malformed(what.into()))
}

impl<S: Read> Reader<S> {
    pub(crate) fn new(stream: S) -> Self {
        Self { stream, unused: Vec::new() }
    }

    pub(crate) fn stream(&self) -> &S {
        &self.stream
    }

    pub(crate) fn stream_mut(&mut self) -> &mut S {
        &mut self.stream
    }

    /// Returns the bytes that have been read but not consumed.
    pub(crate) fn unused(&self) -> &[u8] {
        &self.unused
    }

    /// Reads a head including the empty line at its end. Returns `None` if the stream ends before its first byte.
    pub(crate) fn head(&mut self) -> io::Result<Option<Vec<u8>>> {
        loop {
            if let Some(at) = find(&self.unused, b"\r\n\r\n") {
                return Ok(Some(self.unused.drain(..at + 4).collect()));
            }
            if self.fill()? == 0 {
                return if self.unused.is_empty() { Ok(None) } else { Err(ended_early()) };
            }
        }
    }

    /// Appends the whole body to `body` and returns the trailers. After an error, `body` contains the bytes received.
    pub(crate) fn body(&mut self, framing: Framing, body: &mut Vec<u8>) -> io::Result<HeaderMap> {
        match framing {
            Framing::Nothing => {}
            Framing::Length(length) => self.exactly(length, body)?,
            Framing::UntilClose => self.rest(body)?,
            Framing::Chunked => return self.chunks(body),
        }
        Ok(HeaderMap::new())
    }

    /// Appends everything up to the end of the stream.
    pub(crate) fn rest(&mut self, into: &mut Vec<u8>) -> io::Result<()> {
        loop {
            into.append(&mut self.unused);
            if self.fill()? == 0 {
                return Ok(());
            }
        }
    }

    fn exactly(&mut self, length: u64, into: &mut Vec<u8>) -> io::Result<()> {
        let mut missing = length;
        while missing > 0 {
            if self.unused.is_empty() && self.fill()? == 0 {
                return Err(ended_early());
            }
            let taken = usize::try_from(missing).map_or(self.unused.len(), |n| n.min(self.unused.len()));
            into.extend(self.unused.drain(..taken));
            missing -= taken as u64;
        }
        Ok(())
    }

    fn chunks(&mut self, into: &mut Vec<u8>) -> io::Result<HeaderMap> {
        loop {
            let line = self.line()?;
            let digits = line.split(';').next().unwrap_or_default().trim_end();
            if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_hexdigit()) {
                return Err(malformed(format!("invalid chunk size {line:?}")));
            }
            let size = u64::from_str_radix(digits, 16).map_err(|error| malformed(error.to_string()))?;
            if size == 0 {
                return self.trailers();
            }
            self.exactly(size, into)?;
            if !self.line()?.is_empty() {
                return Err(malformed("a chunk is longer than its size"));
            }
        }
    }

    fn trailers(&mut self) -> io::Result<HeaderMap> {
        let mut trailers = HeaderMap::new();
        loop {
            let line = self.line()?;
            if line.is_empty() {
                return Ok(trailers);
            }
            let (name, value) = line.split_once(':').ok_or_else(|| malformed("a trailer has no colon"))?;
            add_field(&mut trailers, name, value.trim().as_bytes())?;
        }
    }

    fn line(&mut self) -> io::Result<String> {
        loop {
            if let Some(at) = find(&self.unused, b"\r\n") {
                let line = self.unused.drain(..at + 2).take(at).collect();
                return String::from_utf8(line).map_err(|_| malformed("a line is not valid UTF-8"));
            }
            if self.fill()? == 0 {
                return Err(ended_early());
            }
        }
    }

    /// Reads more bytes. Returns how many, or 0 at the end of the stream.
    pub(crate) fn fill(&mut self) -> io::Result<usize> {
        let mut block = [0; 16 * 1024];
        loop {
            match self.stream.read(&mut block) {
                Ok(read) => {
                    self.unused.extend_from_slice(&block[..read]);
                    return Ok(read);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }
}

/// Parses the head of a request and checks its `Host` field (RFC 9112, section 3.2).
pub(crate) fn request_head(bytes: &[u8]) -> io::Result<RequestHead> {
    let mut fields = [httparse::EMPTY_HEADER; MAX_FIELDS];
    let mut parsed = httparse::Request::new(&mut fields);
    match parsed.parse(bytes) {
        Ok(httparse::Status::Complete(used)) if used == bytes.len() => {}
        Ok(_) => return Err(malformed("the head contains an empty line")),
        Err(error) => return Err(malformed(error.to_string())),
    }
    let method = Method::from_bytes(parsed.method.unwrap_or_default().as_bytes())
        .map_err(|error| malformed(error.to_string()))?;
    let minor = parsed.version.unwrap_or_default();
    let target = parsed.path.unwrap_or_default().to_owned();
    let headers = header_map(parsed.headers)?;
    let hosts = headers.get_all(http::header::HOST).iter().count();
    if hosts > 1 || (hosts == 0 && minor == 1) {
        return Err(malformed(format!("{hosts} Host fields")));
    }
    Ok(RequestHead { method, target, minor, headers })
}

/// Parses the status and the fields of a response.
pub(crate) fn response_head(bytes: &[u8]) -> io::Result<(u16, HeaderMap)> {
    let mut fields = [httparse::EMPTY_HEADER; MAX_FIELDS];
    let mut parsed = httparse::Response::new(&mut fields);
    match parsed.parse(bytes) {
        Ok(httparse::Status::Complete(used)) if used == bytes.len() => {}
        Ok(_) => return Err(malformed("the head contains an empty line")),
        Err(error) => return Err(malformed(error.to_string())),
    }
    Ok((parsed.code.unwrap_or_default(), header_map(parsed.headers)?))
}

/// Determines the framing of a request's body (RFC 9112, section 6.3).
pub(crate) fn request_framing(headers: &HeaderMap) -> io::Result<Framing> {
    Ok(declared_framing(headers)?.unwrap_or(Framing::Nothing))
}

/// Determines the framing of a response's body from its status and fields, and whether it answers a `HEAD`.
pub(crate) fn response_framing(status: u16, to_head: bool, headers: &HeaderMap) -> io::Result<Framing> {
    let declared = declared_framing(headers)?;
    if has_no_body(status, to_head) {
        return Ok(Framing::Nothing);
    }
    Ok(declared.unwrap_or(Framing::UntilClose))
}

/// Whether a response with this status never has a body (RFC 9110, section 6.4.1).
pub(crate) fn has_no_body(status: u16, to_head: bool) -> bool {
    to_head || matches!(status, 100..=199 | 204 | 304)
}

/// Returns the first value of a field, or `None` if the field is missing or is not text.
pub(crate) fn field<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}

/// Returns whether a field that holds a list of tokens contains `token`.
pub(crate) fn has_token(headers: &HeaderMap, name: &str, token: &str) -> bool {
    let values = headers.get_all(name).iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).any(|member| member.trim().eq_ignore_ascii_case(token))
}

pub(crate) fn find(bytes: &[u8], needle: &[u8]) -> Option<usize> {
    bytes.windows(needle.len()).position(|window| window == needle)
}

fn declared_framing(headers: &HeaderMap) -> io::Result<Option<Framing>> {
    let lengths: Vec<_> = headers.get_all(http::header::CONTENT_LENGTH).iter().collect();
    let codings: Vec<_> = headers.get_all(http::header::TRANSFER_ENCODING).iter().collect();
    match (lengths.as_slice(), codings.as_slice()) {
        ([], []) => Ok(None),
        ([], [coding]) if coding.as_bytes().eq_ignore_ascii_case(b"chunked") => Ok(Some(Framing::Chunked)),
        ([length], []) => {
            let digits = length.to_str().unwrap_or_default();
            if !digits.bytes().all(|byte| byte.is_ascii_digit()) {
                return Err(malformed(format!("invalid Content-Length {length:?}")));
            }
            let length =
                digits.parse().map_err(|_| malformed(format!("invalid Content-Length {length:?}")))?;
            Ok(Some(Framing::Length(length)))
        }
        _ => Err(malformed(format!("Content-Length {lengths:?} with Transfer-Encoding {codings:?}"))),
    }
}

fn header_map(fields: &[httparse::Header<'_>]) -> io::Result<HeaderMap> {
    let mut headers = HeaderMap::new();
    for field in fields {
        add_field(&mut headers, field.name, field.value)?;
    }
    Ok(headers)
}

fn add_field(headers: &mut HeaderMap, name: &str, value: &[u8]) -> io::Result<()> {
    let name = HeaderName::from_bytes(name.as_bytes()).map_err(|error| malformed(error.to_string()))?;
    let value = HeaderValue::from_bytes(value).map_err(|error| malformed(error.to_string()))?;
    headers.append(name, value);
    Ok(())
}

fn ended_early() -> io::Error {
    io::Error::new(io::ErrorKind::UnexpectedEof, "the stream ended inside a message")
}
