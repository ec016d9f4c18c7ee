//! Which framing of a response is trusted, and its body.

use std::io::{self, Read};

use http::header::{self, HeaderMap, HeaderValue};
use http::{Extensions, Method, Response, StatusCode, Uri, Version};
use ureq::BodyReader;

use super::failure;
use crate::body::Body;
use crate::error::{Error, ErrorKind, Result};
use crate::header::hop_by_hop;

/// The response as it came, without what ends at this hop. One that is refused is dropped with its
/// body unread, which closes its connection.
pub(super) fn receive(answer: Response<ureq::Body>, method: &Method, url: &Uri) -> Result<Response<Body>> {
    let (mut parts, body) = answer.into_parts();
    let framing = framing(parts.status, parts.version, &parts.headers, method)
        .map_err(|says| Error::new(ErrorKind::BadResponse, says).with_url(url))?;
    let reader = |left| BodyStream { reader: Some(body.into_reader()), left, failed: None, url: url.clone() };
    let body = match framing {
        Framing::Nothing => Body::empty(),
        Framing::Length(length) => Body::from_reader(reader(Some(length)), Some(length)),
        Framing::Chunked => Body::from_reader(reader(None), None),
        Framing::Connection => Body::until_close(reader(None)),
    };
    hop_by_hop::remove(&mut parts.headers);
    keep_one_length(&mut parts.headers);
    parts.extensions = Extensions::new();
    Ok(Response::from_parts(parts, body))
}

/// What says where the body ends (RFC 9112 section 6.3).
#[derive(Debug, PartialEq, Eq)]
enum Framing {
    Nothing,
    Length(u64),
    Chunked,
    Connection,
}

fn framing(
    status: StatusCode,
    version: Version,
    headers: &HeaderMap,
    method: &Method,
) -> Result<Framing, &'static str> {
    if status == StatusCode::SWITCHING_PROTOCOLS {
        return Err("the response switches protocols, which nobody asked for");
    }
    let mut codings = headers.get_all(header::TRANSFER_ENCODING).iter();
    let coding = codings.next();
    if let Some(coding) = coding {
        // Where two recipients may see two ends, a third may hide a response of its own between them.
        if headers.contains_key(header::CONTENT_LENGTH) {
            return Err("the response has both Transfer-Encoding and Content-Length");
        }
        if version < Version::HTTP_11 {
            return Err("the response has Transfer-Encoding in HTTP/1.0");
        }
        if codings.next().is_some() || !coding.as_bytes().trim_ascii().eq_ignore_ascii_case(b"chunked") {
            return Err("the response has a Transfer-Encoding other than chunked");
        }
    }
    if method == Method::HEAD || matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED) {
        return Ok(Framing::Nothing);
    }
    if coding.is_some() {
        return Ok(Framing::Chunked);
    }
    match headers.get(header::CONTENT_LENGTH).map(content_length) {
        Some(Some(0)) => Ok(Framing::Nothing),
        Some(Some(length)) => Ok(Framing::Length(length)),
        Some(None) => Err("the response has a bad Content-Length"),
        None => Ok(Framing::Connection),
    }
}

/// Repetitions were found to be identical when the head was parsed, so the first one says it all.
fn content_length(value: &HeaderValue) -> Option<u64> {
    let first = value.as_bytes().split(|byte| *byte == b',').next()?.trim_ascii();
    let digits = !first.is_empty() && first.iter().all(u8::is_ascii_digit);
    digits.then(|| str::from_utf8(first).ok()?.parse().ok())?
}

/// A repeated length is passed on once (RFC 9110 section 8.6).
fn keep_one_length(headers: &mut HeaderMap) {
    if let Some(length) = headers.get(header::CONTENT_LENGTH).and_then(content_length) {
        headers.insert(header::CONTENT_LENGTH, HeaderValue::from(length));
    }
}

/// The body on its way in. `Ok(0)` only at the end that the framing announced; once it failed it
/// fails for good, where ureq's reader would go on to say that it ended.
struct BodyStream {
    /// Gone when the body has ended, so that the connection is free before the body is dropped.
    reader: Option<BodyReader<'static>>,
    left: Option<u64>,
    failed: Option<(ErrorKind, String)>,
    url: Uri,
}

impl BodyStream {
    fn fail(&mut self, error: Error) -> io::Error {
        self.reader = None;
        self.failed = Some((error.kind(), error.to_string()));
        error.with_url(&self.url).into()
    }
}

impl Read for BodyStream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if let Some((kind, message)) = &self.failed {
            return Err(Error::new(*kind, message.clone()).with_url(&self.url).into());
        }
        let Some(reader) = &mut self.reader else { return Ok(0) };
        if buffer.is_empty() {
            return Ok(0);
        }
        let count = match reader.read(buffer) {
            Ok(count) => count,
            Err(error) => {
                let error = failure::within_body(error, self.left);
                return Err(self.fail(error));
            }
        };
        match &mut self.left {
            Some(left) => {
                *left = left.saturating_sub(count as u64);
                if *left > 0 && count == 0 {
                    let error = failure::incomplete(self.left);
                    return Err(self.fail(error));
                }
                if *left == 0 {
                    // This read takes nothing from the wire: it lets ureq have its connection back.
                    let _ = reader.read(&mut [0]);
                    self.reader = None;
                }
            }
            None if count == 0 => self.reader = None,
            None => {}
        }
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn framing_of(version: Version, status: u16, fields: &[(&'static str, &'static str)]) -> Option<Framing> {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.append(*name, HeaderValue::from_static(value));
        }
        framing(StatusCode::from_u16(status).unwrap(), version, &headers, &Method::GET).ok()
    }

    #[test]
    fn framing_is_trusted_only_where_it_is_unambiguous() {
        let te = "transfer-encoding";
        let cl = "content-length";
        let (v10, v11) = (Version::HTTP_10, Version::HTTP_11);
        for (version, status, fields, expected) in [
            (v11, 200, &[(te, "Chunked ")][..], Some(Framing::Chunked)),
            (v11, 200, &[(cl, "7")], Some(Framing::Length(7))),
            (v11, 200, &[(cl, "7, 7")], Some(Framing::Length(7))),
            (v11, 200, &[(cl, "0")], Some(Framing::Nothing)),
            (v11, 200, &[], Some(Framing::Connection)),
            (v10, 200, &[], Some(Framing::Connection)),
            (v10, 200, &[(cl, "7")], Some(Framing::Length(7))),
            (v11, 204, &[(cl, "7")], Some(Framing::Nothing)),
            (v11, 304, &[(cl, "7")], Some(Framing::Nothing)),
            (v11, 200, &[(te, "chunked"), (cl, "7")], None),
            (v11, 200, &[(te, "gzip, chunked")], None),
            (v11, 200, &[(te, "gzip"), (te, "chunked")], None),
            (v11, 200, &[(te, "chunked"), (te, "chunked")], None),
            (v11, 200, &[(te, "identity")], None),
            (v11, 200, &[(te, "")], None),
            (v11, 200, &[(cl, "+7")], None),
            (v10, 200, &[(te, "chunked")], None),
            (v11, 101, &[], None),
        ] {
            assert_eq!(framing_of(version, status, fields), expected, "{version:?} {status} {fields:?}");
        }
    }

    #[test]
    fn a_repeated_length_is_passed_on_once() {
        let mut headers = HeaderMap::new();
        headers.append(header::CONTENT_LENGTH, HeaderValue::from_static("7, 7"));
        headers.append(header::CONTENT_LENGTH, HeaderValue::from_static("7"));
        keep_one_length(&mut headers);
        assert_eq!(headers.get_all(header::CONTENT_LENGTH).iter().collect::<Vec<_>>(), ["7"]);
    }
}
