//! [`BodyIdentity`]: continues a body that broke off.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use http::header::{
    CONTENT_LENGTH, CONTENT_RANGE, DATE, ETAG, IF_MATCH, IF_MODIFIED_SINCE, IF_NONE_MATCH, IF_RANGE,
    IF_UNMODIFIED_SINCE, LAST_MODIFIED, RANGE,
};
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode};

use super::body::Body;
use super::header::date;
use super::header::entity_tag::EntityTag;
use super::header::range::ContentRange;
use crate::base::error::{Error, ErrorKind};

/// A `Last-Modified` date is a strong validator if the response is at least this much younger (RFC 9110
/// section 8.8.2.2), since the clocks that set the two dates may differ.
const STRONG_AFTER: Duration = Duration::from_secs(60);

/// The identity of the bytes of a response: another response with the same identity can continue them.
///
/// [`Client`](crate::Client) continues a broken body from another peer by itself. A program that keeps a part of a body
/// for later also keeps this as text:
///
/// ```
/// use forwardcache::client::BodyIdentity;
/// use forwardcache::http::{HeaderMap, Response, StatusCode};
/// use forwardcache::Body;
///
/// let response = Response::builder().header("etag", "\"a\"").body(Body::from("0123456789"))?;
/// let identity: BodyIdentity = BodyIdentity::of(&response).expect("the tag is strong").to_string().parse()?;
///
/// let mut headers = HeaderMap::new();
/// identity.request_rest(4, &mut headers);
/// assert_eq!((&headers["range"], &headers["if-range"]), (&"bytes=4-".parse()?, &"\"a\"".parse()?));
///
/// let rest = Response::builder().status(206).header("etag", "\"a\"").header("content-range", "bytes 4-9/10").body(())?;
/// assert_eq!(identity.bytes_before_rest(4, rest.status(), rest.headers()), Some(0));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BodyIdentity {
    field: HeaderName,
    validator: HeaderValue,
    length: Option<u64>,
}

impl BodyIdentity {
    /// Returns the identity of the body of a response to a GET request without `Range`. `None` if the status is not 200,
    /// the response has no strong validator, or a truncated body would look complete.
    #[must_use]
    pub fn of(response: &Response<Body>) -> Option<Self> {
        if response.status() != StatusCode::OK || !response.body().is_end_proven() {
            return None;
        }
        let (field, validator) = strong_validator(response.headers())?;
        let length = response.body().length().or_else(|| length(response.headers()));
        Some(Self { field, validator, length })
    }

    /// Returns the length of the complete body in bytes, if known.
    #[must_use]
    pub fn length(&self) -> Option<u64> {
        self.length
    }

    /// Changes the header fields of a request into those of a request for the bytes from `offset` on: sets `Range` and
    /// `If-Range`, and removes other conditions, which must not apply to the rest.
    pub fn request_rest(&self, offset: u64, headers: &mut HeaderMap) {
        for name in [IF_MATCH, IF_NONE_MATCH, IF_MODIFIED_SINCE, IF_UNMODIFIED_SINCE] {
            headers.remove(name);
        }
        let range = HeaderValue::try_from(format!("bytes={offset}-"));
        headers.insert(RANGE, range.expect("digits are valid in a header value"));
        headers.insert(IF_RANGE, self.validator.clone());
    }

    /// Returns how many bytes of this response precede the offset: zero, or all bytes before it if the origin
    /// does not support ranges and sends the whole body again. `None` if the bytes may differ.
    #[must_use]
    pub fn bytes_before_rest(&self, offset: u64, status: StatusCode, headers: &HeaderMap) -> Option<u64> {
        if headers.get(&self.field) != Some(&self.validator) {
            return None;
        }
        let (start, complete) = match status {
            StatusCode::PARTIAL_CONTENT => {
                let range = ContentRange::parse(headers.get(CONTENT_RANGE)?.as_bytes())?;
                (range.start, range.complete.filter(|complete| *complete == range.end))
            }
            StatusCode::OK => (0, length(headers)),
            _ => return None,
        };
        let is_same = match (self.length, complete) {
            (Some(length), Some(complete)) => length == complete,
            // A partial response must specify the complete length.
            (_, None) => status == StatusCode::OK,
            (None, Some(_)) => true,
        };
        (is_same && (start == offset || start == 0)).then(|| offset - start)
    }
}

/// Formats the identity as one line: the name of the validator's field, the length or `-`, and the validator.
impl fmt::Display for BodyIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let length = self.length.map_or_else(|| "-".to_owned(), |length| length.to_string());
        // Tags that are not UTF-8 are not equal to what is read again, so that nothing is continued.
        write!(f, "{} {length} {}", self.field, String::from_utf8_lossy(self.validator.as_bytes()))
    }
}

/// Reads a line that `Display` has formatted.
///
/// # Errors
///
/// [`ErrorKind::BadOption`] for any other text.
impl FromStr for BodyIdentity {
    type Err = Error;

    fn from_str(line: &str) -> Result<Self, Error> {
        let parse = || {
            let mut parts = line.splitn(3, ' ');
            let (field, length, validator) = (parts.next()?, parts.next()?, parts.next()?);
            let field = [ETAG, LAST_MODIFIED].into_iter().find(|known| known == field)?;
            let length = if length == "-" { None } else { Some(length.parse().ok()?) };
            let validator =
                HeaderValue::try_from(validator).ok().filter(|validator| !validator.is_empty())?;
            Some(Self { field, validator, length })
        };
        parse().ok_or_else(|| Error::new(ErrorKind::BadOption, "not the identity of a body"))
    }
}

fn length(headers: &HeaderMap) -> Option<u64> {
    headers.get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

/// Returns the header field that identifies the exact bytes of the body.
fn strong_validator(headers: &HeaderMap) -> Option<(HeaderName, HeaderValue)> {
    if let Some(tag) = headers.get(ETAG) {
        // `If-Range` requires a quoted entity tag.
        let is_strong = tag.as_bytes().starts_with(b"\"")
            && EntityTag::parse(tag.as_bytes()).is_some_and(EntityTag::is_strong);
        return is_strong.then(|| (ETAG, tag.clone()));
    }
    let modified = date::of(headers, &LAST_MODIFIED)?;
    let answered = date::of(headers, &DATE)?;
    let is_strong = answered.duration_since(modified).is_ok_and(|between| between >= STRONG_AFTER);
    is_strong.then(|| headers.get(LAST_MODIFIED).cloned().map(|value| (LAST_MODIFIED, value)))?
}

#[cfg(test)]
mod tests;
